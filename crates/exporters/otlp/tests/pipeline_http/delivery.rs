//! What arrives when all goes well, or well in the end.

use std::io::Read as _;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant, UNIX_EPOCH};

use flate2::read::GzDecoder;
use hiq_core::config::{Compression, OtlpSettings, Protocol};
use hiq_core::encode::DropReason;
use hiq_core::id::SpanId;
use hiq_core::time::Clock;

use crate::run::Run;
use crate::server::{Request, Server, response};
use crate::support::{SpanOut, read_json, read_proto};

fn ids(spans: &[SpanOut]) -> Vec<SpanId> {
    let id = |span: &SpanOut| SpanId(u64::from_be_bytes(span.span_id[..].try_into().unwrap()));
    let mut ids: Vec<_> = spans.iter().map(id).collect();
    ids.sort();
    ids
}

fn sorted(mut ids: Vec<SpanId>) -> Vec<SpanId> {
    ids.sort();
    ids
}

fn unzipped(request: &Request) -> Vec<u8> {
    assert_eq!(request.all("content-encoding"), ["gzip"]);
    let mut body = Vec::new();
    GzDecoder::new(&request.body[..])
        .read_to_end(&mut body)
        .unwrap();
    body
}

#[test]
fn spans_arrive_as_protobuf_with_the_headers_that_otlp_asks_for() {
    let server = Server::answering(response("200 OK", "", ""));
    let run = Run::to(&server.url("/v1/traces"));
    let offered = run.offer(300);
    let ledger = run.settled();
    assert_eq!((ledger.offered, ledger.exported), (300, 300));
    let request = server.request();
    assert_eq!(request.first_line, "POST /v1/traces HTTP/1.1");
    assert_eq!(request.all("content-type"), ["application/x-protobuf"]);
    assert_eq!(request.all("content-encoding"), [""; 0]);
    let agent = request.all("user-agent")[0];
    assert!(agent.starts_with("OTel-OTLP-Exporter-hiq/0."), "{agent}");
    assert_eq!(ids(&read_proto::spans(&request.body)), sorted(offered));
    assert_eq!(run.lines(), [""; 0]);
}

#[test]
fn json_and_gzip_are_a_setting_each() {
    let server = Server::answering(response("200 OK", "", ""));
    let configure = |settings: &mut OtlpSettings| {
        settings.protocol = Protocol::HttpJson;
        settings.compression = Compression::Gzip;
    };
    let run = Run::with(&server.url("/v1/traces"), configure, |_| {});
    let offered = run.offer(300);
    assert_eq!(run.settled().exported, 300);
    let request = server.request();
    assert_eq!(request.all("content-type"), ["application/json"]);
    assert_eq!(ids(&read_json::spans(&unzipped(&request))), sorted(offered));
}

#[test]
fn one_connection_serves_all_batches() {
    let server = Server::answering(response("200 OK", "", ""));
    let run = Run::to(&server.url("/v1/traces"));
    for _ in 0..5 {
        run.offer(10);
        run.settled();
    }
    assert_eq!(run.ended().exported, 50);
    assert_eq!(server.connections(), 1);
}

#[test]
fn the_same_bytes_are_sent_again_until_the_server_is_well() {
    for status in [
        "429 Slow Down",
        "502 Bad Gateway",
        "503 Later",
        "504 Too Late",
    ] {
        let answers = [response(status, "", ""), response("200 OK", "", "")];
        let server = Server::start(move |talk| {
            for answer in &answers {
                talk.request();
                talk.say(answer);
            }
        });
        let run = Run::with(
            &server.url("/v1/traces"),
            |settings| settings.compression = Compression::Gzip,
            |_| {},
        );
        run.offer(50);
        let ledger = run.settled();
        assert_eq!(
            (ledger.exported, ledger.possible_repeats),
            (50, 0),
            "{status}"
        );
        let (first, second) = (server.request(), server.request());
        assert!(first.body == second.body, "{status}: other bytes");
    }
}

/// Time between the two requests of a server that asks for a pause in this form, by the server's clock: it looks at it before
/// it asks.
fn pause_asked_by(retry_after: impl Fn() -> String + Send + Sync + 'static) -> Duration {
    let (tell, requests) = channel();
    let server = Server::start(move |talk| {
        for (status, asks) in [("503 Later", true), ("200 OK", false)] {
            talk.request();
            let _ = tell.send(Instant::now());
            let wish = asks.then(|| format!("retry-after: {}\r\n", retry_after()));
            talk.say(response(status, &wish.unwrap_or_default(), ""));
        }
    });
    let limit_wish = |otlp: &mut hiq_otlp::OtlpExporter| {
        otlp.delivery_mut().retry.max_server_wish = Duration::from_millis(1_500);
    };
    let run = Run::with(&server.url("/v1/traces"), |_| {}, limit_wish);
    run.offer(1);
    run.begin();
    let (first, second) = (requests.recv().unwrap(), requests.recv().unwrap());
    assert_eq!(run.settled().exported, 1);
    second - first
}

#[test]
fn a_servers_wish_for_a_pause_is_granted_up_to_a_limit() {
    let second = Duration::from_millis(900);
    assert!(pause_asked_by(|| "1".to_owned()) >= second);
    // Dates have whole seconds: two from now is at least one away.
    let date = || {
        let now = Duration::from_nanos(Clock::unix_nanos().0);
        httpdate::fmt_http_date(UNIX_EPOCH + now + Duration::from_secs(2))
    };
    assert!(pause_asked_by(date) >= second);
    let absurd = pause_asked_by(|| "1000000000".to_owned());
    assert!(
        absurd >= second && absurd < Duration::from_secs(20),
        "{absurd:?}"
    );
}

#[test]
fn payloads_become_smaller_until_the_server_takes_them() {
    let server = Server::start(|talk| {
        while let Some(request) = talk.request() {
            let is_small = request.body.len() <= 3_000;
            talk.say(if is_small {
                response("200 OK", "", "")
            } else {
                response("413 Too Large", "", "")
            });
        }
    });
    let run = Run::to(&server.url("/v1/traces"));
    let offered = run.offer(500);
    assert_eq!(run.settled().exported, 500);
    let mut arrived = Vec::new();
    while arrived.len() < offered.len() {
        let request = server.request();
        if request.body.len() <= 3_000 {
            arrived.extend(ids(&read_proto::spans(&request.body)));
        }
    }
    assert_eq!(sorted(arrived), sorted(offered), "each once");
}

#[test]
fn a_span_that_no_payload_can_hold_is_the_only_one_lost() {
    let server = Server::answering(response("200 OK", "", ""));
    let tiny = |otlp: &mut hiq_otlp::OtlpExporter| {
        otlp.delivery_mut().max_payload_bytes = 60;
    };
    let run = Run::with(&server.url("/v1/traces"), |_| {}, tiny);
    run.offer(3);
    let ledger = run.settled();
    assert_eq!(ledger.dropped[DropReason::TooLarge], 3);
    let line = run.first_line();
    assert!(line.contains("left out of otlp_proto: too_large"), "{line}");
    drop(run);
    assert_eq!(server.connections(), 0);
}
