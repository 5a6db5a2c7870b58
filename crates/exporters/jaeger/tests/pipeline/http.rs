//! HTTP: a server that follows a script.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hiq_core::encode::DropReason;
use hiq_core::id::SpanId;

use crate::run::Run;
use crate::server::{Server, response};
use crate::support::{self, read_thrift};

fn run_to(server: &Server) -> Run {
    Run::under(&[
        ("OTEL_EXPORTER_JAEGER_ENDPOINT", &server.url("/")),
        ("OTEL_EXPORTER_JAEGER_USER", "user"),
        ("OTEL_EXPORTER_JAEGER_PASSWORD", "pass"),
    ])
}

fn accepted() -> Vec<u8> {
    response("202 Accepted", "", "")
}

fn ids(body: &[u8]) -> Vec<SpanId> {
    let spans = read_thrift::binary(body);
    let mut ids: Vec<SpanId> = spans.iter().map(|span| SpanId(span.id)).collect();
    ids.sort();
    ids
}

#[test]
fn a_batch_is_posted_as_thrift_with_credentials() {
    let server = Server::answering(accepted());
    let run = run_to(&server);
    let offered = run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.sent_unconfirmed), (20, 0));
    let request = server.request();
    assert_eq!(request.first_line, "POST /api/traces HTTP/1.1");
    assert_eq!(request.all("content-type"), ["application/x-thrift"]);
    assert_eq!(request.all("authorization"), ["Basic dXNlcjpwYXNz"]);
    assert_eq!(ids(&request.body), offered);
}

#[test]
fn a_busy_collector_gets_the_same_bytes_again() {
    for status in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "429 Too Many Requests",
    ] {
        let answers = Arc::new(AtomicUsize::new(0));
        let server = Server::start(move |talk| {
            while talk.request().is_some() {
                let first = answers.fetch_add(1, Ordering::SeqCst) == 0;
                talk.say(if first {
                    response(status, "", "busy")
                } else {
                    accepted()
                });
            }
        });
        let run = run_to(&server);
        run.offer(20);
        assert_eq!(run.settled().exported, 20, "{status}");
        assert_eq!(server.request().body, server.request().body);
        assert_eq!(server.further_requests(), 0);
    }
}

/// It does not take one of them, and says so of any batch that holds it.
#[test]
fn of_a_batch_with_a_bad_span_only_that_is_lost() {
    let bad = SpanId::next();
    let server = Server::start(move |talk| {
        while let Some(request) = talk.request() {
            let is_bad = ids(&request.body).contains(&bad);
            let refused = response("400 Bad Request", "", "Unable to process request body");
            talk.say(if is_bad { refused } else { accepted() });
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
fn a_refusal_is_final_and_said_without_the_password() {
    let server = Server::answering(response("403 Forbidden", "", "no"));
    let run = run_to(&server);
    run.offer(20);
    assert_eq!(run.settled().rejected, 20);
    server.request();
    let line = run.first_line();
    assert!(
        line.contains("403 forbidden: no; check OTEL_EXPORTER_JAEGER_USER"),
        "{line}"
    );
    assert!(
        !line.contains("pass") || line.contains("PASSWORD"),
        "{line}"
    );
    assert!(!line.contains("dXNlcjpwYXNz"), "{line}");
    assert_eq!(run.ended().dropped[DropReason::Shutdown], 0);
    assert_eq!(server.further_requests(), 0, "a refusal is final");
}

#[test]
fn jaegers_own_names_fill_what_the_resource_leaves_open() {
    use hiq_core::resource::Resource;
    use hiq_core::value::Value;

    let cases = [
        (vec![], "named", vec!["a=1", "b=2"]),
        (
            vec![("service.name", "unknown_service:python")],
            "named",
            vec!["a=1", "b=2"],
        ),
        (
            vec![("service.name", "own"), ("b", "mine")],
            "own",
            vec!["a=1", "b=mine"],
        ),
    ];
    for (resource, service, tags) in cases {
        let server = Server::answering(accepted());
        let run = Run::under(&[
            ("JAEGER_ENDPOINT", &server.url("/api/traces")),
            ("JAEGER_SERVICE_NAME", "named"),
            ("JAEGER_TAGS", "a=1, b = 2"),
        ]);
        let resource = resource.into_iter();
        let resource = resource.map(|(key, value)| (key, Value::from(value)));
        run.offer_tree(one_span_of(Resource::new(resource)));
        assert_eq!(run.settled().exported, 1);
        let found = read_thrift::binary(&server.request().body);
        assert_eq!(found[0].service, service);
        let shown = |(key, value): &(String, support::Value)| match value {
            support::Value::Str(text) => format!("{key}={text}"),
            other => format!("{key}: {other:?}"),
        };
        assert_eq!(found[0].process.iter().map(shown).collect::<Vec<_>>(), tags);
    }
}

fn one_span_of(resource: hiq_core::resource::Resource) -> hiq_core::tree::SpanTree {
    use hiq_core::id::TraceId;
    use hiq_core::intern::{SiteId, symbol};
    use hiq_core::tree::{SpanLimits, TreeBuilder, TreeStart};

    let start = TreeStart::new(TraceId::random(), Arc::new(resource), Arc::default());
    let mut builder = TreeBuilder::new(start, SpanLimits::default());
    let span = builder.start(symbol("op").unwrap(), SiteId::NONE, None, 5);
    builder.end(span, 9);
    builder.finish()
}
