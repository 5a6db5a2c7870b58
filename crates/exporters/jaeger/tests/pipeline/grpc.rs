//! gRPC: a server that follows a script.

use hiq_core::id::SpanId;

use crate::grpc_server::{Answer, GrpcServer};
use crate::run::Run;
use crate::support::read_proto;

fn run_to(server: &GrpcServer) -> Run {
    Run::under(&[
        ("OTEL_EXPORTER_JAEGER_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_JAEGER_ENDPOINT", &server.address.to_string()),
        ("OTEL_EXPORTER_JAEGER_USER", "user"),
        ("OTEL_EXPORTER_JAEGER_PASSWORD", "pass"),
    ])
}

fn ids(message: &[u8]) -> Vec<SpanId> {
    let spans = read_proto::spans(message);
    let mut ids: Vec<SpanId> = spans.iter().map(|span| SpanId(span.id)).collect();
    ids.sort();
    ids
}

#[test]
fn a_batch_is_posted_to_the_collectors_method_with_credentials() {
    let server = GrpcServer::start(|_| Answer::Ok(Vec::new()));
    let run = run_to(&server);
    let offered = run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.sent_unconfirmed), (20, 0));
    let call = server.call();
    assert_eq!(call.path, "/jaeger.api_v2.CollectorService/PostSpans");
    assert_eq!(call.header("authorization"), "Basic dXNlcjpwYXNz");
    assert_eq!(ids(&call.message), offered);
}

/// A full queue has many names.
#[test]
fn a_busy_collector_gets_the_same_message_again() {
    for (code, words) in [
        (2, "queue is full"),
        (8, "busy"),
        (13, "no storage"),
        (14, "starting"),
    ] {
        let server = GrpcServer::start(move |call| match call.number {
            0 => Answer::Status(code, words),
            _ => Answer::Ok(Vec::new()),
        });
        let run = run_to(&server);
        run.offer(20);
        assert_eq!(run.settled().exported, 20, "status {code}");
        assert_eq!(server.call().message, server.call().message);
    }
}

#[test]
fn of_a_batch_with_a_bad_span_only_that_is_lost() {
    let bad = SpanId::next();
    let server = GrpcServer::start(move |call| {
        if ids(&call.message).contains(&bad) {
            Answer::Status(3, "bad span")
        } else {
            Answer::Ok(Vec::new())
        }
    });
    let run = run_to(&server);
    let mut ids: Vec<SpanId> = (0..20).map(|_| SpanId::next()).collect();
    ids[13] = bad;
    run.offer_tree(hiq_testkit::trees::tree_with(&ids));
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.rejected), (19, 1));
}

#[test]
fn a_server_without_the_method_is_said_with_the_usual_port() {
    let server = GrpcServer::start(|_| Answer::Status(12, "unknown service"));
    let run = run_to(&server);
    run.offer(20);
    assert_eq!(run.settled().rejected, 20);
    let line = run.first_line();
    assert!(
        line.contains("unknown service") && line.contains("14250"),
        "{line}"
    );
}
