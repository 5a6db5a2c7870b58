//! What went wrong, in one sentence that helps and holds no secret: no header value, no password.

use std::error::Error;
use std::io;
use std::time::Instant;

use hiq_core::config::ConfigError;
use hiq_core::export::Deadline;
use hiq_core::transport::{TransportError, TransportErrorKind as Kind};
use hiq_net::explain::{self, find, innermost_io};
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
            Trouble::Unconnected(error) => self.unconnected(error.as_ref()),
            Trouble::ProxyTls(error) => self.no_tls(&self.peer(), error),
            Trouble::Tls(error) => self.no_tls(&self.server(), error),
            Trouble::NoTunnel(error) => self.no_tunnel(error.as_ref()),
            Trouble::TunnelRefused(status) => self.tunnel_refused(*status),
            Trouble::NotHttp2(stranger) => self.not_http2(stranger),
            Trouble::NotGrpc(what) => self.not_grpc(what),
            Trouble::Broken(error) => self.broken(error),
            Trouble::CutShort(error) => self.cut_short(error.as_ref()),
            Trouble::ReplyTooLarge => {
                let what = format!(
                    "the reply is larger than {MAX_REPLY_BYTES} bytes; is it the right server?"
                );
                self.says(Kind::ReplyTooLarge, &what)
            }
            Trouble::NotConnectedInTime => self.no_connection_in_time(),
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
            "{peer} did not begin to speak HTTP/2 within {seconds:.1} s; is the address right, and no firewall in between?"
        );
        self.says(Kind::Connect, &what)
    }

    fn unconnected(&self, error: &(dyn Error + 'static)) -> TransportError {
        let peer = self.peer();
        let why = innermost_io(error);
        if self.stage == Stage::LookingUp {
            let why = why.map_or_else(String::new, |io| format!(" ({io})"));
            let what = format!(
                "the name of {peer} is not known{why}; is it spelled right, and does DNS work here?"
            );
            return self.says(Kind::Dns, &what);
        }
        let what = match why {
            Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
                let who = if self.target.proxy.is_some() {
                    "proxy"
                } else {
                    "collector"
                };
                format!("connection refused by {peer}; is a {who} listening there?")
            }
            Some(io) => format!("no connection to {peer}: {io}"),
            None => format!("no connection to {peer}"),
        };
        self.says(Kind::Connect, &what)
    }

    fn no_tls(&self, peer: &str, error: &io::Error) -> TransportError {
        let what = match (find::<rustls::Error>(error), error.kind()) {
            (Some(tls), _) => explain::tls(peer, self.has_identity(), tls),
            (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => format!(
                "{peer} closed the connection instead of agreeing on TLS; is it a plain-text port? then write http://"
            ),
            (None, _) => format!("no TLS with {peer}: {error}"),
        };
        self.says(Kind::Tls, &what)
    }

    fn has_identity(&self) -> bool {
        let files = self.target.tls_files.as_ref();
        files.is_some_and(|files| files.identity.is_some())
    }

    fn no_tunnel(&self, error: Option<&hyper::Error>) -> TransportError {
        let peer = self.peer();
        let what = match error {
            Some(error) if error.is_parse() => format!("{peer} does not answer as a proxy does"),
            _ => format!("{peer} closed the connection when asked to connect to the server"),
        };
        self.says(Kind::Connect, &what)
    }

    fn tunnel_refused(&self, status: StatusCode) -> TransportError {
        let peer = self.peer();
        let what = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            format!(
                "{peer} asks for a user and a password; write it as http://user:password@host:port"
            )
        } else {
            format!("{peer} refuses to connect to the server: {status}")
        };
        self.says(Kind::Connect, &what)
    }

    fn not_http2(&self, stranger: &Stranger) -> TransportError {
        let server = self.server();
        match stranger {
            Stranger::Http1 => {
                let what = format!(
                    "{server} speaks HTTP/1, not gRPC; is it the right port? OTLP over HTTP usually has 4318, gRPC 4317"
                );
                self.says(Kind::Protocol, &what)
            }
            Stranger::Tls => {
                let what = format!("{server} expects TLS; write https://");
                self.says(Kind::Protocol, &what)
            }
            Stranger::EndedTls(error) => {
                let what = explain::tls(&server, self.has_identity(), error);
                self.says(Kind::Tls, &what)
            }
            Stranger::Silent => {
                let hint = if self.target.endpoint.is_https() {
                    "is it a port for gRPC?"
                } else {
                    "is it a port for gRPC? if it expects TLS, write https://"
                };
                let what = format!("{server} closed the connection without a word; {hint}");
                self.says(Kind::Connect, &what)
            }
            Stranger::Unknown => {
                let what =
                    format!("{server} does not answer as HTTP/2 does; is it the right port?");
                self.says(Kind::Protocol, &what)
            }
        }
    }

    fn not_grpc(&self, what: &str) -> TransportError {
        let what = if what.is_empty() {
            "something without a content type"
        } else {
            what
        };
        let what = format!(
            "{} answers over HTTP/2 with {}, not as gRPC does; is it the right port?",
            self.server(),
            what.escape_debug()
        );
        self.says(Kind::Protocol, &what)
    }

    fn broken(&self, error: &hyper::Error) -> TransportError {
        let server = self.server();
        if find::<h2::Error>(error).is_some_and(was_not_taken) {
            let what = format!("{server} refused the call before taking it; is it shutting down?");
            return self.says(Kind::Connect, &what);
        }
        if self.stage != Stage::Sending {
            let what = format!("{server} closed the connection before the call was made");
            return self.says(Kind::Connect, &what);
        }
        self.reset(error)
    }

    fn cut_short(&self, error: Option<&Status>) -> TransportError {
        match error {
            Some(error) => self.reset(error),
            None => {
                let what = format!(
                    "{} ended its answer before the status of the call",
                    self.server()
                );
                self.says(Kind::Reset, &what)
            }
        }
    }

    fn reset(&self, error: &(dyn Error + 'static)) -> TransportError {
        let server = self.server();
        let what = match find::<h2::Error>(error).and_then(h2::Error::reason) {
            Some(reason) => {
                format!("{server} broke the call off before the reply was whole: {reason}")
            }
            None => {
                let why = innermost_io(error).map_or_else(String::new, |io| format!(": {io}"));
                format!("{server} closed the connection before the reply was whole{why}")
            }
        };
        self.says(Kind::Reset, &what)
    }

    /// Who is at the other end of the socket.
    fn peer(&self) -> String {
        match &self.target.proxy {
            Some(proxy) => format!("the proxy {}", proxy.endpoint),
            None => self.server(),
        }
    }

    fn server(&self) -> String {
        let endpoint = &self.target.endpoint;
        format!("{}:{}", endpoint.host(), endpoint.port())
    }

    fn says(&self, kind: Kind, what: &str) -> TransportError {
        TransportError::new(kind, format!("{}: {what}", self.target.shown))
    }
}

/// The far side promises that it has not looked at the call.
fn was_not_taken(error: &h2::Error) -> bool {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

/// The call cannot be made, now or ever.
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

#[cfg(test)]
mod tests {
    use hiq_core::config::Endpoint;

    use super::*;
    use crate::GrpcOptions;

    /// A name server that does not answer cannot be had in a test; the others are under `tests`.
    #[test]
    fn a_name_that_is_not_found_in_time_is_told_apart_from_a_server_that_is_not() {
        let endpoint = Endpoint::parse("test", "http://collector.example:4317").unwrap();
        let target = Target::new(&GrpcOptions::new(endpoint, "/a.B/C")).unwrap();
        let deadline = Deadline::never();
        let at = |stage| Attempt::new(&target, &deadline, Instant::now(), stage).out_of_time();
        let lookup = at(Stage::LookingUp);
        assert_eq!(lookup.kind, Kind::Dns);
        assert!(
            lookup
                .message
                .contains("the name of collector.example:4317 was not looked up")
        );
        assert_eq!(at(Stage::Connecting).kind, Kind::Connect);
        assert_eq!(at(Stage::Sending).kind, Kind::Timeout);
    }
}
