//! What went wrong, in one sentence that helps and holds no secret: no header value, no query, no password.

use hiq_core::transport::{TransportError, TransportErrorKind as Kind};
use hiq_net::attempt::Attempt;
use hiq_net::explain::{self, causes, find, innermost_io};
use hiq_net::progress::Stage;

use crate::MAX_REPLY_BYTES;
use crate::config::Target;

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Trouble {
    Broken(reqwest::Error),
    ReplyTooLarge,
    OutOfTime,
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        Self::Broken(error)
    }
}

impl Trouble {
    /// What became of `attempt`.
    pub(crate) fn error(&self, attempt: &Attempt<'_>, target: &Target) -> TransportError {
        match self {
            Self::Broken(error) => broken(attempt, target, error),
            Self::ReplyTooLarge => target.peer.reply_too_large(MAX_REPLY_BYTES),
            Self::OutOfTime => attempt.out_of_time(),
        }
    }
}

fn broken(attempt: &Attempt<'_>, target: &Target, error: &reqwest::Error) -> TransportError {
    let peer = &target.peer;
    if let Some(tls) = find::<rustls::Error>(error) {
        return peer.says(Kind::Tls, peer.tls_problem(peer.nearest(), tls));
    }
    if error.is_connect() {
        return not_connected(attempt, target, error);
    }
    match find::<hyper::Error>(error) {
        Some(hyper) if hyper.is_parse() => not_http(target, hyper),
        _ if error.is_builder() => peer.invalid("the request cannot be made"),
        _ => peer.says(Kind::Reset, reset_problem(attempt, error)),
    }
}

fn not_connected(attempt: &Attempt<'_>, target: &Target, error: &reqwest::Error) -> TransportError {
    let peer = &target.peer;
    if error.is_dns() {
        return attempt.unknown_name(error);
    }
    if let Some(refusal) = tunnel_refusal(error) {
        return peer.says(Kind::Connect, format_args!("{} {refusal}", peer.nearest()));
    }
    if error.is_timeout() {
        return attempt.no_connection_in_time();
    }
    let why = innermost_io(error);
    if target.tls_files.is_some() && why.is_some_and(explain::is_hang_up) {
        return attempt.no_tls_wanted(peer.nearest());
    }
    attempt.unconnected(why)
}

fn not_http(target: &Target, error: &hyper::Error) -> TransportError {
    let hint = if target.endpoint.is_https() {
        "is it the right port?"
    } else {
        "is it the right port? if it expects TLS, write https://"
    };
    let peer = target.peer.nearest();
    let what = format!("{peer} does not answer as HTTP/1.1 does ({error}); {hint}");
    target.peer.says(Kind::Protocol, what)
}

fn reset_problem(attempt: &Attempt<'_>, error: &reqwest::Error) -> String {
    let when = if attempt.stage() == Stage::Sending {
        "before the reply was whole"
    } else {
        "before the request was sent"
    };
    let why = innermost_io(error).map_or_else(String::new, |io| format!(": {io}"));
    format!(
        "{} closed the connection {when}{why}",
        attempt.peer().nearest()
    )
}

/// The type of these errors has no name outside its crate.
fn tunnel_refusal(error: &reqwest::Error) -> Option<&'static str> {
    let mut texts = causes(error).map(ToString::to_string);
    let text = texts.find(|text| text.starts_with("tunnel error: "))?;
    Some(match text.as_str() {
        "tunnel error: proxy authorization required" => {
            "asks for a user and a password; write it as http://user:password@host:port"
        }
        "tunnel error: unsuccessful" => "refuses to connect to the server",
        "tunnel error: unexpected end of file" => {
            "closed the connection when asked to connect to the server"
        }
        "tunnel error: proxy response headers too long" => "does not answer as a proxy does",
        _ => return None,
    })
}
