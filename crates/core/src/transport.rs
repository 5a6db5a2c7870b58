//! The contract of a wire: payloads in, raw replies out. A transport knows no format and never tries again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::export::Deadline;

mod words;

pub use words::one_line;

/// Carries payloads to one place.
///
/// Blocking, owned by one worker thread. A transport that needs an async runtime keeps a private one.
pub trait Transport: fmt::Debug + Send {
    /// What it can take; constant over its life.
    fn limits(&self) -> TransportLimits;

    /// Starts one attempt. Wires that answer at once settle in here; the outcome is handed out by [`Transport::poll`].
    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline);

    /// Appends what has settled; waits until `deadline` for the first when nothing has, and returns at once
    /// when nothing is in flight.
    fn poll(&mut self, deadline: &Deadline, outcomes: &mut Vec<Outcome>);

    /// The far side did not accept our credentials: fetches new ones for the next attempt. False when there are none to fetch.
    fn renew_credentials(&mut self, _deadline: &Deadline) -> bool {
        false
    }

    /// Lets go of what is still in flight and closes the wire.
    fn shutdown(&mut self, _deadline: &Deadline) {}
}

/// Names a payload between [`Transport::submit`] and its [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadId(pub u64);

/// One payload, ready to be sent. Its bytes stay the same over all attempts.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Payload<'a> {
    /// The bytes, compressed when `content_encoding` says so.
    pub body: &'a [u8],
    /// MIME type.
    pub content_type: &'static str,
    /// `gzip`, or nothing.
    pub content_encoding: Option<&'static str>,
    /// Partition key, for transports that have one.
    pub key: Option<&'a str>,
    /// Spans or points in it.
    pub items: usize,
}

impl<'a> Payload<'a> {
    /// An uncompressed payload without a key.
    pub fn new(body: &'a [u8], content_type: &'static str, items: usize) -> Self {
        Self {
            body,
            content_type,
            content_encoding: None,
            key: None,
            items,
        }
    }
}

/// What a transport can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportLimits {
    /// Bytes of one payload, uncompressed.
    pub max_payload_bytes: usize,
    /// Payloads under way at the same time; order is only promised at one.
    pub max_in_flight: usize,
    /// Payloads that share one call.
    pub max_payloads_per_call: usize,
}

impl TransportLimits {
    /// One payload at a time, of at most `max_payload_bytes`.
    pub const fn one_at_a_time(max_payload_bytes: usize) -> Self {
        Self {
            max_payload_bytes,
            max_in_flight: 1,
            max_payloads_per_call: 1,
        }
    }
}

/// How one attempt ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// Which payload.
    pub id: PayloadId,
    /// What came back, or what went wrong on the way.
    pub result: Result<Reply, TransportError>,
}

impl Outcome {
    /// An outcome.
    pub fn new(id: PayloadId, result: Result<Reply, TransportError>) -> Self {
        Self { id, result }
    }
}

/// A server's answer, uninterpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// An HTTP response.
    Http(HttpReply),
    /// A gRPC status.
    Grpc(GrpcReply),
    /// A broker acknowledged the message.
    Acknowledged,
    /// The wire never answers (UDP).
    Unconfirmed,
}

/// An HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpReply {
    /// Status code.
    pub status: u16,
    /// `Content-Type`, lower case, without parameters.
    pub content_type: String,
    /// `Retry-After`, already turned into a wait.
    pub retry_after: Option<Duration>,
    /// Seconds that the server's clock is ahead of ours, by its `Date`; negative: behind. `None`: it did not tell.
    pub clock_ahead_seconds: Option<i64>,
    /// The body, decompressed, at most 4 MiB.
    pub body: Vec<u8>,
    /// What was asked, for messages: without user, password and query.
    pub url: Arc<str>,
    /// Of the other headers those that the transport was told to keep, with the names that it was told.
    pub headers: Vec<(&'static str, String)>,
}

impl HttpReply {
    /// A response without a body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// The value of a header that the transport was told to keep.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A gRPC status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcReply {
    /// Status code, 0 for OK.
    pub code: u8,
    /// The server's words.
    pub message: String,
    /// `RetryInfo`'s delay.
    pub retry_delay: Option<Duration>,
    /// The response message of a call that succeeded.
    pub body: Vec<u8>,
    /// Who was asked, for messages: scheme, host and port.
    pub url: Arc<str>,
}

impl GrpcReply {
    /// A status without a message.
    pub fn new(code: u8) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }
}

/// An attempt that ended without an answer. Texts never hold a secret: no header value, no query.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct TransportError {
    /// What happened.
    pub kind: TransportErrorKind,
    /// One sentence: what, where, and what to do.
    pub message: String,
}

impl TransportError {
    /// An error of `kind`.
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Kinds of [`TransportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The host's name is unknown.
    Dns,
    /// Nobody listens there, or the network is down.
    Connect,
    /// TLS could not be agreed upon: certificates, versions, or plain text on a TLS port.
    Tls,
    /// No whole answer in time.
    Timeout,
    /// The connection broke after the request was (partly) sent: the server may have taken it.
    Reset,
    /// What came back is not the protocol.
    Protocol,
    /// A file or device did not take it.
    Io,
    /// The answer was larger than we read.
    ReplyTooLarge,
    /// We were told to stop.
    Cancelled,
    /// The payload is over a limit of the wire that was not known before: smaller ones may pass.
    TooLarge,
    /// The request cannot be made at all: it will not get better.
    Invalid,
}

impl TransportErrorKind {
    /// True when sending again may help.
    pub const fn is_temporary(self) -> bool {
        !matches!(self, Self::Invalid | Self::ReplyTooLarge | Self::Protocol)
    }

    /// True when the server may have taken the payload, so that sending again may repeat it.
    pub const fn may_have_arrived(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::Reset | Self::Protocol | Self::ReplyTooLarge | Self::Cancelled
        )
    }
}
