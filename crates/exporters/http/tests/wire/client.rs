//! Sending, as a pipeline's worker does it.

use std::time::Duration;

use hiq_core::config::Endpoint;
use hiq_core::export::Deadline;
use hiq_core::transport::{
    HttpReply, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
};
use hiq_http::{HttpOptions, HttpTransport};

pub(crate) fn options(url: &str) -> HttpOptions {
    HttpOptions::new(Endpoint::parse("test", url).unwrap())
}

pub(crate) fn transport(url: &str) -> HttpTransport {
    options(url).build().unwrap()
}

/// Longer than any test takes, so that only what is under test ends an attempt.
pub(crate) fn patient() -> Deadline {
    Deadline::never().within(Duration::from_secs(60))
}

pub(crate) fn send(
    transport: &mut HttpTransport,
    body: &[u8],
) -> Result<HttpReply, TransportError> {
    send_within(transport, body, &patient())
}

pub(crate) fn send_within(
    transport: &mut HttpTransport,
    body: &[u8],
    deadline: &Deadline,
) -> Result<HttpReply, TransportError> {
    let payload = Payload::new(body, "application/x-protobuf", 1);
    submit(transport, &payload, deadline)
}

pub(crate) fn submit(
    transport: &mut HttpTransport,
    payload: &Payload<'_>,
    deadline: &Deadline,
) -> Result<HttpReply, TransportError> {
    let mut outcomes = Vec::new();
    transport.submit(PayloadId(7), payload, deadline);
    transport.poll(deadline, &mut outcomes);
    assert_eq!(outcomes.len(), 1, "one outcome for one payload");
    let outcome = outcomes.pop().unwrap();
    assert_eq!(outcome.id, PayloadId(7));
    outcome.result.map(|reply| match reply {
        Reply::Http(reply) => reply,
        other => panic!("no HTTP reply: {other:?}"),
    })
}

/// The error of one attempt to `url`, and that it is of this kind.
pub(crate) fn failure(url: &str, kind: TransportErrorKind) -> String {
    failure_of(&mut transport(url), kind)
}

pub(crate) fn failure_of(transport: &mut HttpTransport, kind: TransportErrorKind) -> String {
    let error = send(transport, b"spans").expect_err("the attempt fails");
    assert_eq!(error.kind, kind, "{error}");
    assert_eq!(error.message.lines().count(), 1, "one line: {error}");
    error.message
}
