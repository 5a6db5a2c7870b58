//! Sentences about what went wrong on the way, the same for every protocol.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Why there is no TLS with `peer`. `has_identity`: the client shows a certificate when it is asked.
pub fn tls(peer: &str, has_identity: bool, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(problem) => certificate(peer, problem),
        rustls::Error::InvalidMessage(_) => {
            format!("{peer} does not speak TLS; is it a plain-text port? then write http://")
        }
        rustls::Error::AlertReceived(alert) => alert_problem(peer, has_identity, *alert),
        rustls::Error::PeerIncompatible(_) => {
            format!(
                "{peer} and this client have no version of TLS in common ({error}); it must speak 1.2 or 1.3"
            )
        }
        _ => format!("no TLS with {peer}: {error}"),
    }
}

fn alert_problem(peer: &str, has_identity: bool, alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => {
            format!(
                "{peer} and this client have no version of TLS in common; it must speak 1.2 or 1.3"
            )
        }
        AlertDescription::NoApplicationProtocol => {
            format!("{peer} speaks TLS, but not HTTP/2, which gRPC needs; is it a port for HTTP?")
        }
        AlertDescription::CertificateRequired => {
            format!(
                "{peer} asks for a client certificate; name the PEM files of certificate and key"
            )
        }
        _ if has_identity => {
            format!("{peer} ended TLS with `{alert:?}`; does it accept our client certificate?")
        }
        _ => {
            format!("{peer} ended TLS with `{alert:?}`; does it ask for a client certificate?")
        }
    }
}

fn certificate(peer: &str, problem: &CertificateError) -> String {
    use CertificateError as Wrong;
    match problem {
        Wrong::UnknownIssuer => format!(
            "the certificate of {peer} is signed by an authority that is not trusted here; name the authority's PEM file"
        ),
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            format!(
                "the certificate of {peer} has expired ({problem}); renew it, or set this machine's clock"
            )
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            format!(
                "the certificate of {peer} is not valid yet ({problem}); is this machine's clock right?"
            )
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            format!(
                "the certificate of {peer} is for another name ({problem}); use that name, or renew the certificate"
            )
        }
        _ => format!("the certificate of {peer} cannot be accepted: {problem}"),
    }
}

/// The far side closed the connection: what it does to TLS on a plain-text port.
pub fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

/// The first of the causes that is of this type.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(<dyn Error>::downcast_ref)
}

/// The innermost I/O error: the others pass its kind on at their own liking.
pub fn innermost_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    causes(error).filter_map(<dyn Error>::downcast_ref).last()
}

/// An error and what caused it. An I/O error's own `source` passes over the error that it holds.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(
        Some(error),
        |&error: &&'a (dyn Error + 'static)| match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(held) => Some(held as &(dyn Error + 'static)),
            None => error.source(),
        },
    )
}
