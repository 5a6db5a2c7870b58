//! What went wrong, in one sentence that helps and holds no secret: no header value, no password.

use std::error::Error;
use std::io;

use hiq_core::transport::{TransportError, TransportErrorKind as Kind};
use hiq_net::attempt::Attempt;
use hiq_net::explain::{self, find, innermost_io};
use hiq_net::peer::Peer;
use hiq_net::progress::Stage;
use http::StatusCode;
use tonic::Status;

use crate::MAX_REPLY_BYTES;
use crate::config::Target;
use crate::greeting::Stranger;

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Trouble {
    Unconnected(Box<dyn Error + Send + Sync>),
    ProxyTls(io::Error),
    Tls(io::Error),
    /// The proxy did not answer.
    NoTunnel(Option<hyper::Error>),
    TunnelRefused(StatusCode),
    NotHttp2(Stranger),
    /// HTTP/2 without gRPC: what came instead.
    NotGrpc(String),
    Broken(hyper::Error),
    /// The answer ended before its status.
    CutShort(Option<Status>),
    ReplyTooLarge,
    NotConnectedInTime,
    OutOfTime,
}

impl Trouble {
    /// What became of `attempt`.
    pub(crate) fn error(&self, attempt: &Attempt<'_>, target: &Target) -> TransportError {
        let peer = &target.peer;
        match self {
            Self::Unconnected(error) => unconnected(attempt, error.as_ref()),
            Self::ProxyTls(error) => no_tls(attempt, peer.nearest(), error),
            Self::Tls(error) => no_tls(attempt, peer.server(), error),
            Self::NoTunnel(error) => no_tunnel(peer, error.as_ref()),
            Self::TunnelRefused(status) => tunnel_refused(peer, *status),
            Self::NotHttp2(stranger) => not_http2(target, stranger),
            Self::NotGrpc(what) => not_grpc(peer, what),
            Self::Broken(error) => broken(attempt, error),
            Self::CutShort(error) => cut_short(peer, error.as_ref()),
            Self::ReplyTooLarge => peer.reply_too_large(MAX_REPLY_BYTES),
            Self::NotConnectedInTime => attempt.no_connection_in_time(),
            Self::OutOfTime => attempt.out_of_time(),
        }
    }
}

fn unconnected(attempt: &Attempt<'_>, error: &(dyn Error + 'static)) -> TransportError {
    if attempt.stage() == Stage::LookingUp {
        return attempt.unknown_name(error);
    }
    attempt.unconnected(innermost_io(error))
}

fn no_tls(attempt: &Attempt<'_>, who: &str, error: &io::Error) -> TransportError {
    let peer = attempt.peer();
    match find::<rustls::Error>(error) {
        Some(tls) => peer.says(Kind::Tls, peer.tls_problem(who, tls)),
        None if explain::is_hang_up(error) => attempt.no_tls_wanted(who),
        None => peer.says(Kind::Tls, format_args!("no TLS with {who}: {error}")),
    }
}

fn no_tunnel(peer: &Peer, error: Option<&hyper::Error>) -> TransportError {
    let who = peer.nearest();
    let what = match error {
        Some(error) if error.is_parse() => format!("{who} does not answer as a proxy does"),
        _ => format!("{who} closed the connection when asked to connect to the server"),
    };
    peer.says(Kind::Connect, what)
}

fn tunnel_refused(peer: &Peer, status: StatusCode) -> TransportError {
    let who = peer.nearest();
    let what = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        format!("{who} asks for a user and a password; write it as http://user:password@host:port")
    } else {
        format!("{who} refuses to connect to the server: {status}")
    };
    peer.says(Kind::Connect, what)
}

fn not_http2(target: &Target, stranger: &Stranger) -> TransportError {
    let peer = &target.peer;
    let server = peer.server();
    match stranger {
        Stranger::Http1 => {
            let what = format!(
                "{server} speaks HTTP/1, not gRPC; is it the right port? OTLP over gRPC usually has 4317, Jaeger 14250"
            );
            peer.says(Kind::Protocol, what)
        }
        Stranger::Tls => peer.says(
            Kind::Protocol,
            format_args!("{server} expects TLS; write https://"),
        ),
        Stranger::EndedTls(error) => peer.says(Kind::Tls, peer.tls_problem(server, error)),
        Stranger::Silent => {
            let hint = if target.endpoint.is_https() {
                "is it a port for gRPC?"
            } else {
                "is it a port for gRPC? if it expects TLS, write https://"
            };
            let what = format!("{server} closed the connection without a word; {hint}");
            peer.says(Kind::Connect, what)
        }
        Stranger::Unknown => {
            let what = format!("{server} does not answer as HTTP/2 does; is it the right port?");
            peer.says(Kind::Protocol, what)
        }
    }
}

fn not_grpc(peer: &Peer, what: &str) -> TransportError {
    let what = if what.is_empty() {
        "something without a content type"
    } else {
        what
    };
    let what = format!(
        "{} answers over HTTP/2 with {}, not as gRPC does; is it the right port?",
        peer.server(),
        what.escape_debug()
    );
    peer.says(Kind::Protocol, what)
}

fn broken(attempt: &Attempt<'_>, error: &hyper::Error) -> TransportError {
    let peer = attempt.peer();
    let server = peer.server();
    if find::<h2::Error>(error).is_some_and(was_not_taken) {
        let what = format!("{server} refused the call before taking it; is it shutting down?");
        return peer.says(Kind::Connect, what);
    }
    if attempt.stage() != Stage::Sending {
        let what = format!("{server} closed the connection before the call was made");
        return peer.says(Kind::Connect, what);
    }
    reset(peer, error)
}

fn cut_short(peer: &Peer, error: Option<&Status>) -> TransportError {
    match error {
        Some(error) => reset(peer, error),
        None => {
            let server = peer.server();
            let what = format!("{server} ended its answer before the status of the call");
            peer.says(Kind::Reset, what)
        }
    }
}

fn reset(peer: &Peer, error: &(dyn Error + 'static)) -> TransportError {
    let server = peer.server();
    let what = match find::<h2::Error>(error).and_then(h2::Error::reason) {
        Some(reason) => {
            format!("{server} broke the call off before the reply was whole: {reason}")
        }
        None => {
            let why = innermost_io(error).map_or_else(String::new, |io| format!(": {io}"));
            format!("{server} closed the connection before the reply was whole{why}")
        }
    };
    peer.says(Kind::Reset, what)
}

/// The far side promises that it has not looked at the call.
fn was_not_taken(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}
