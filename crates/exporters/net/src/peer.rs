//! Who is at the other end, as messages name it.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use hiq_core::config::{ConfigError, Endpoint};
use hiq_core::transport::{TransportError, TransportErrorKind as Kind};

use crate::explain;
use crate::tls;

/// The server of a transport, and the proxy before it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address for messages: without user, password and query.
    pub shown: Arc<str>,
    server: String,
    proxy: Option<String>,
    has_identity: bool,
    connects: &'static str,
    who: &'static str,
}

impl Peer {
    /// The server at `endpoint`, shown in messages as `shown`, behind `proxy`. `files`: for TLS, where it is spoken.
    /// `connects`: what it must do first, for messages: `accept a connection`.
    pub fn new(
        shown: impl Into<Arc<str>>,
        endpoint: &Endpoint,
        proxy: Option<&Endpoint>,
        files: Option<&tls::Files>,
        connects: &'static str,
    ) -> Self {
        Self {
            shown: shown.into(),
            server: format!("{}:{}", endpoint.host(), endpoint.port()),
            proxy: proxy.map(|proxy| format!("the proxy {proxy}")),
            has_identity: files.is_some_and(|files| files.identity.is_some()),
            connects,
            who: "a collector",
        }
    }

    /// The same, where `who` should listen: `a collector` unless said otherwise.
    #[must_use]
    pub fn called(self, who: &'static str) -> Self {
        Self { who, ..self }
    }

    /// Who should listen at [`Self::nearest`].
    pub fn nearest_is(&self) -> &'static str {
        if self.is_behind_proxy() {
            "a proxy"
        } else {
            self.who
        }
    }

    /// Who is at the other end of the socket: the proxy, or the server.
    pub fn nearest(&self) -> &str {
        self.proxy.as_deref().unwrap_or(&self.server)
    }

    /// Host and port of the server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// True when connections go through a proxy.
    pub fn is_behind_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// What it must do first: `accept a connection`.
    pub fn connects(&self) -> &'static str {
        self.connects
    }

    /// Why there is no TLS with `who`, one of the two.
    pub fn tls_problem(&self, who: &str, error: &rustls::Error) -> String {
        explain::tls(who, self.has_identity, error)
    }

    /// An error in one sentence: `address: what`.
    pub fn says(&self, kind: Kind, what: impl Display) -> TransportError {
        TransportError::new(kind, format!("{}: {what}", self.shown))
    }

    /// The request cannot be made, now or ever.
    pub fn invalid(&self, problem: impl Display) -> TransportError {
        self.says(Kind::Invalid, problem)
    }

    /// A certificate file changed for the worse while the program runs: it may change again.
    pub fn wrong_tls_files(&self, wrong: &ConfigError) -> TransportError {
        self.says(Kind::Tls, wrong)
    }

    /// The runtime could not be made.
    pub fn no_runtime(&self, error: &io::Error) -> TransportError {
        self.says(Kind::Io, format_args!("no event loop: {error}"))
    }

    /// The reply was larger than the `limit` in bytes.
    pub fn reply_too_large(&self, limit: usize) -> TransportError {
        let what = format_args!("the reply is larger than {limit} bytes; is it the right server?");
        self.says(Kind::ReplyTooLarge, what)
    }
}
