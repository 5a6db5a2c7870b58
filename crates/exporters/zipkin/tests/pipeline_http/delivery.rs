//! What arrives when all goes well, or well in the end.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hiq_core::config::{Compression, PipelineSettings, Secret, SpoolSettings};
use hiq_core::encode::DropReason;
use hiq_core::id::SpanId;
use hiq_zipkin::ZipkinFormat;

use crate::run::Run;
use crate::server::{Server, deserted_address, response};
use crate::support::{ZipkinSpan, read_json, read_proto, read_v1};

fn accepted() -> Vec<u8> {
    response("202 Accepted", "", "")
}

fn ids(spans: &[ZipkinSpan]) -> Vec<SpanId> {
    sorted(spans.iter().map(|span| span.id.parse().unwrap()).collect())
}

fn sorted(mut ids: Vec<SpanId>) -> Vec<SpanId> {
    ids.sort();
    ids
}

#[test]
fn each_format_arrives_at_its_path_with_its_content_type() {
    type Read = fn(&[u8]) -> Vec<ZipkinSpan>;
    let json = "application/json";
    let cases: [(ZipkinFormat, &str, &str, Read); 3] = [
        (
            ZipkinFormat::JsonV2,
            "/api/v2/spans",
            json,
            read_json::spans,
        ),
        (ZipkinFormat::JsonV1, "/api/v1/spans", json, read_v1::spans),
        (
            ZipkinFormat::Protobuf,
            "/api/v2/spans",
            "application/x-protobuf",
            read_proto::spans,
        ),
    ];
    for (format, path, content_type, read) in cases {
        let server = Server::answering(accepted());
        let configure = |options: &mut hiq_zipkin::ZipkinOptions| {
            options.format = Some(format);
            options.headers = vec![("x-key".to_owned(), Secret::new("s3cret"))];
        };
        let run = Run::with(&server.url(""), configure, |_| {});
        let offered = run.offer(300);
        let ledger = run.settled();
        assert_eq!((ledger.offered, ledger.exported), (300, 300));
        let request = server.request();
        assert_eq!(request.first_line, format!("POST {path} HTTP/1.1"));
        assert_eq!(request.all("content-type"), [content_type]);
        assert_eq!(request.all("x-key"), ["s3cret"]);
        assert_eq!(ids(&read(&request.body)), sorted(offered));
        assert_eq!(run.lines(), [""; 0]);
    }
}

#[test]
fn gzip_is_a_setting() {
    let server = Server::answering(accepted());
    let gzip = |options: &mut hiq_zipkin::ZipkinOptions| options.compression = Compression::Gzip;
    let run = Run::with(&server.url("/api/v2/spans"), gzip, |_| {});
    run.offer(300);
    assert_eq!(run.settled().exported, 300);
    let request = server.request();
    assert_eq!(request.all("content-encoding"), ["gzip"]);
    assert_eq!(request.body[..2], [0x1f, 0x8b]);
}

#[test]
fn the_same_bytes_are_sent_again_until_the_server_is_well() {
    let busy = [
        "429 Slow Down",
        "500 Oh",
        "501 Not",
        "502 Bad",
        "503 Later",
        "504 Too Late",
    ];
    for status in busy {
        let answers = [response(status, "", ""), accepted()];
        let server = Server::start(move |talk| {
            for answer in &answers {
                talk.request();
                talk.say(answer);
            }
        });
        let run = Run::to(&server.url("/api/v2/spans"));
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

#[test]
fn a_servers_wish_for_a_pause_is_granted() {
    let answers = [response("503 Later", "retry-after: 1\r\n", ""), accepted()];
    let (tell, requests) = channel();
    let server = Server::start(move |talk| {
        for answer in &answers {
            talk.request();
            let _ = tell.send(Instant::now());
            talk.say(answer);
        }
    });
    let run = Run::to(&server.url("/api/v2/spans"));
    run.offer(1);
    run.begin();
    // By the server's clock, which it looked at before it asked.
    let (first, second) = (requests.recv().unwrap(), requests.recv().unwrap());
    assert!(second - first >= Duration::from_millis(900));
    assert_eq!(run.settled().exported, 1);
}

#[test]
fn an_answer_that_is_lost_makes_a_possible_repeat() {
    let attempts = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |talk| {
        while talk.request().is_some() {
            // The first answer breaks off.
            if attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                talk.say(b"HTTP/1.1 202 Acc");
                return;
            }
            talk.say(accepted());
        }
    });
    let run = Run::to(&server.url("/api/v2/spans"));
    run.offer(5);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.possible_repeats), (5, 5));
    let (first, second) = (server.request(), server.request());
    assert!(first.body == second.body);
}

#[test]
fn payloads_become_smaller_until_the_server_takes_them() {
    let server = Server::start(|talk| {
        while let Some(request) = talk.request() {
            let is_small = request.body.len() <= 3_000;
            talk.say(if is_small {
                accepted()
            } else {
                response("413 Too Large", "", "")
            });
        }
    });
    let run = Run::to(&server.url("/api/v2/spans"));
    let offered = run.offer(200);
    assert_eq!(run.settled().exported, 200);
    let mut arrived = Vec::new();
    while arrived.len() < offered.len() {
        let request = server.request();
        if request.body.len() <= 3_000 {
            arrived.extend(ids(&read_json::spans(&request.body)));
        }
    }
    assert_eq!(sorted(arrived), sorted(offered), "each once");
}

#[test]
fn a_span_that_no_payload_can_hold_is_the_only_one_lost() {
    let server = Server::answering(accepted());
    let small = |zipkin: &mut hiq_zipkin::ZipkinExporter| {
        zipkin.delivery_mut().max_payload_bytes = 1_000;
    };
    let run = Run::with(&server.url("/api/v2/spans"), |_| {}, small);
    let long = "x".repeat(2_000);
    run.offer_named(&["a", "b", &long, "c"]);
    let ledger = run.settled();
    assert_eq!(
        (ledger.exported, ledger.dropped[DropReason::TooLarge]),
        (3, 1)
    );
    let line = run.first_line();
    assert!(
        line.contains("left out of zipkin_json: too_large"),
        "{line}"
    );
}

#[test]
fn ids_of_zeros_are_counted_as_invalid() {
    let server = Server::answering(accepted());
    let run = Run::to(&server.url("/api/v2/spans"));
    run.offer_with_ids(&[SpanId(7), SpanId(0), SpanId(8)]);
    let ledger = run.settled();
    assert_eq!(
        (ledger.exported, ledger.dropped[DropReason::Invalid]),
        (2, 1)
    );
    assert_eq!(
        ids(&read_json::spans(&server.request().body)),
        [SpanId(7), SpanId(8)]
    );
}

#[test]
fn where_nobody_listens_spans_wait_in_the_spool_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = PipelineSettings::default();
    settings.spool = Some(SpoolSettings::new(folder.path()));
    let nowhere = format!("http://{}/api/v2/spans", deserted_address());
    let before = Run::in_pipeline(settings.clone(), &nowhere, |_| {}, |_| {});
    let offered = before.offer(20);
    before.begin();
    let line = before.first_line();
    assert!(
        line.starts_with("hiq: zipkin exporter: 20 spans wait: "),
        "{line}"
    );
    assert_eq!(before.ended_with_spool().spooled, 20);
    drop(before);
    let server = Server::answering(accepted());
    let after = Run::in_pipeline(settings, &server.url("/api/v2/spans"), |_| {}, |_| {});
    after.start();
    let request = server.request();
    assert_eq!(ids(&read_json::spans(&request.body)), sorted(offered));
    let ledger = after.ended_patiently();
    assert_eq!((ledger.recovered, ledger.exported), (20, 20));
}
