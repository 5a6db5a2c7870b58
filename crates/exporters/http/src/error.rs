//! What went wrong, in one sentence that helps and holds no secret: no header value, no query, no password.

use std::io;
use std::time::Instant;

use hiq_core::config::ConfigError;
use hiq_core::export::Deadline;
use hiq_core::transport::{TransportError, TransportErrorKind as Kind};
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

/// An attempt that has ended, for telling what became of it.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    target: &'a Target,
    deadline: &'a Deadline,
    began: Instant,
    stage: Stage,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(
        target: &'a Target,
        deadline: &'a Deadline,
        began: Instant,
        stage: Stage,
    ) -> Self {
        Self {
            target,
            deadline,
            began,
            stage,
        }
    }

    pub(crate) fn error(&self, trouble: &Trouble) -> TransportError {
        match trouble {
            Trouble::Broken(error) => self.broken(error),
            Trouble::ReplyTooLarge => reply_too_large(&self.target.shown),
            Trouble::OutOfTime => self.out_of_time(),
        }
    }

    fn out_of_time(&self) -> TransportError {
        let seconds = self.began.elapsed().as_secs_f64();
        if self.deadline.is_pulled() {
            let what =
                format!("given up after {seconds:.1} s, because the exporter is told to stop");
            return self.says(Kind::Cancelled, &what);
        }
        if self.stage == Stage::Sending {
            let what = format!(
                "no whole reply within {seconds:.1} s; the server is slow, or the timeout too short"
            );
            return self.says(Kind::Timeout, &what);
        }
        self.no_connection_in_time()
    }

    fn no_connection_in_time(&self) -> TransportError {
        let seconds = self.began.elapsed().as_secs_f64();
        let peer = self.peer();
        if self.stage == Stage::LookingUp {
            let what = format!(
                "the name of {peer} was not looked up within {seconds:.1} s; does DNS work here?"
            );
            return self.says(Kind::Dns, &what);
        }
        let what = format!(
            "{peer} did not accept a connection within {seconds:.1} s; is the address right, and no firewall in between?"
        );
        self.says(Kind::Connect, &what)
    }

    fn broken(&self, error: &reqwest::Error) -> TransportError {
        if let Some(tls) = find::<rustls::Error>(error) {
            return self.says(Kind::Tls, &self.tls_problem(tls));
        }
        if error.is_connect() {
            return self.not_connected(error);
        }
        match find::<hyper::Error>(error) {
            Some(hyper) if hyper.is_parse() => self.not_http(hyper),
            _ if error.is_builder() => self.says(Kind::Invalid, "the request cannot be made"),
            _ => self.says(Kind::Reset, &self.reset_problem(error)),
        }
    }

    fn not_connected(&self, error: &reqwest::Error) -> TransportError {
        let peer = self.peer();
        if error.is_dns() {
            let why = innermost_io(error).map_or_else(String::new, |io| format!(" ({io})"));
            let what = format!(
                "the name of {peer} is not known{why}; is it spelled right, and does DNS work here?"
            );
            return self.says(Kind::Dns, &what);
        }
        if let Some(refusal) = tunnel_refusal(error) {
            return self.says(Kind::Connect, &format!("{peer} {refusal}"));
        }
        if error.is_timeout() {
            return self.no_connection_in_time();
        }
        let Some(io) = innermost_io(error) else {
            return self.says(Kind::Connect, &format!("no connection to {peer}"));
        };
        match io.kind() {
            io::ErrorKind::ConnectionRefused => {
                let who = if self.target.proxy.is_some() {
                    "proxy"
                } else {
                    "collector"
                };
                let what = format!("connection refused by {peer}; is a {who} listening there?");
                self.says(Kind::Connect, &what)
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                if self.target.tls_files.is_some() =>
            {
                let what = format!(
                    "{peer} closed the connection instead of agreeing on TLS; is it a plain-text port? then write http://"
                );
                self.says(Kind::Tls, &what)
            }
            _ => self.says(Kind::Connect, &format!("no connection to {peer}: {io}")),
        }
    }

    fn tls_problem(&self, error: &rustls::Error) -> String {
        let files = self.target.tls_files.as_ref();
        let has_identity = files.is_some_and(|files| files.identity.is_some());
        explain::tls(&self.peer(), has_identity, error)
    }

    fn not_http(&self, error: &hyper::Error) -> TransportError {
        let hint = if self.target.endpoint.is_https() {
            "is it the right port?"
        } else {
            "is it the right port? if it expects TLS, write https://"
        };
        let what = format!(
            "{} does not answer as HTTP/1.1 does ({error}); {hint}",
            self.peer()
        );
        self.says(Kind::Protocol, &what)
    }

    fn reset_problem(&self, error: &reqwest::Error) -> String {
        let when = if self.stage == Stage::Sending {
            "before the reply was whole"
        } else {
            "before the request was sent"
        };
        let why = innermost_io(error).map_or_else(String::new, |io| format!(": {io}"));
        format!("{} closed the connection {when}{why}", self.peer())
    }

    /// Who is at the other end of the socket.
    fn peer(&self) -> String {
        match &self.target.proxy {
            Some(proxy) => format!("the proxy {proxy}"),
            None => format!(
                "{}:{}",
                self.target.endpoint.host(),
                self.target.endpoint.port()
            ),
        }
    }

    fn says(&self, kind: Kind, what: &str) -> TransportError {
        TransportError::new(kind, format!("{}: {what}", self.target.shown))
    }
}

pub(crate) fn reply_too_large(url: &str) -> TransportError {
    let what =
        format!("{url}: the reply is larger than {MAX_REPLY_BYTES} bytes; is it the right server?");
    TransportError::new(Kind::ReplyTooLarge, what)
}

/// The request cannot be made, now or ever.
pub(crate) fn invalid(target: &Target, problem: &str) -> TransportError {
    TransportError::new(Kind::Invalid, format!("{}: {problem}", target.shown))
}

/// A certificate file changed for the worse while the program runs: it may change again.
pub(crate) fn tls_files(target: &Target, wrong: &ConfigError) -> TransportError {
    TransportError::new(Kind::Tls, format!("{}: {wrong}", target.shown))
}

pub(crate) fn no_runtime(target: &Target, error: &io::Error) -> TransportError {
    TransportError::new(
        Kind::Io,
        format!("{}: no event loop: {error}", target.shown),
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

#[cfg(test)]
mod tests {
    use hiq_core::config::Endpoint;

    use super::*;
    use crate::HttpOptions;

    /// A name server that does not answer cannot be had in a test; the others are under `tests`.
    #[test]
    fn a_name_that_is_not_found_in_time_is_told_apart_from_a_server_that_is_not() {
        let endpoint = Endpoint::parse("test", "http://collector.example:4318/").unwrap();
        let target = Target::new(&HttpOptions::new(endpoint)).unwrap();
        let deadline = Deadline::never();
        let at = |stage| Attempt::new(&target, &deadline, Instant::now(), stage).out_of_time();
        let lookup = at(Stage::LookingUp);
        assert_eq!(lookup.kind, Kind::Dns);
        assert!(
            lookup
                .message
                .contains("the name of collector.example:4318 was not looked up")
        );
        assert_eq!(at(Stage::Connecting).kind, Kind::Connect);
        assert_eq!(at(Stage::Sending).kind, Kind::Timeout);
    }
}
