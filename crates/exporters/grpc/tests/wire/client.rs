//! Sending, as a pipeline's worker does it.

use std::time::Duration;

use hiq_core::config::Endpoint;
use hiq_core::export::Deadline;
use hiq_core::transport::{
    GrpcReply, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
};
use hiq_grpc::{GrpcOptions, GrpcTransport};

pub(crate) const METHOD: &str = "/hiq.test.Spans/Export";

pub(crate) fn options(url: &str) -> GrpcOptions {
    GrpcOptions::new(Endpoint::parse("test", url).unwrap(), METHOD)
}

pub(crate) fn transport(url: &str) -> GrpcTransport {
    options(url).build().unwrap()
}

pub(crate) fn within(millis: u64) -> Deadline {
    Deadline::never().within(Duration::from_millis(millis))
}

pub(crate) fn send(
    transport: &mut GrpcTransport,
    body: &[u8],
) -> Result<GrpcReply, TransportError> {
    // Longer than any test takes, so that only what is under test ends an attempt.
    send_within(transport, body, &within(60_000))
}

pub(crate) fn send_within(
    transport: &mut GrpcTransport,
    body: &[u8],
    deadline: &Deadline,
) -> Result<GrpcReply, TransportError> {
    submit(
        transport,
        &Payload::new(body, "application/x-protobuf", 1),
        deadline,
    )
}

pub(crate) fn submit(
    transport: &mut GrpcTransport,
    payload: &Payload<'_>,
    deadline: &Deadline,
) -> Result<GrpcReply, TransportError> {
    let mut outcomes = Vec::new();
    transport.submit(PayloadId(7), payload, deadline);
    transport.poll(deadline, &mut outcomes);
    assert_eq!(outcomes.len(), 1, "one outcome for one payload");
    let outcome = outcomes.pop().unwrap();
    assert_eq!(outcome.id, PayloadId(7));
    outcome.result.map(|reply| match reply {
        Reply::Grpc(reply) => reply,
        other => panic!("no gRPC reply: {other:?}"),
    })
}

/// The error of one attempt to `url`, and that it is of this kind.
pub(crate) fn failure(url: &str, kind: TransportErrorKind) -> String {
    failure_of(&mut transport(url), kind)
}

pub(crate) fn failure_of(transport: &mut GrpcTransport, kind: TransportErrorKind) -> String {
    let error = send(transport, b"spans").expect_err("the attempt fails");
    assert_eq!(error.kind, kind, "{error}");
    assert_eq!(error.message.lines().count(), 1, "one line: {error}");
    error.message
}
