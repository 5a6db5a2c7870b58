//! Servers whose answer is final: each refusal is counted once, said once, and never sent again.

use hiq_core::config::Secret;
use hiq_core::encode::DropReason;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;

use crate::run::Run;
use crate::server::{Server, response};

const SPANS: u64 = 20;

/// Offers spans to a server that always answers so, and returns what was said of it. The spans count as rejected.
fn rejected_by(path: &str, answer: Vec<u8>) -> String {
    let server = Server::answering(answer);
    let run = Run::to(&server.url(path));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.offered, ledger.rejected), (SPANS, SPANS));
    server.request();
    let line = run.first_line();
    assert_eq!(run.ended().rejected, SPANS);
    assert_eq!(server.further_requests(), 0, "a refusal is final");
    assert!(
        line.starts_with("hiq: otlp exporter: 20 spans lost: "),
        "{line}"
    );
    line
}

#[test]
fn a_wrong_path_is_said_with_the_fix() {
    let not_found = || {
        response(
            "404 Not Found",
            "content-type: text/plain\r\n",
            "no such page",
        )
    };
    let line = rejected_by("/", not_found());
    assert!(
        line.contains("/ answered 404 not found: no such page"),
        "{line}"
    );
    assert!(line.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{line}");
    let line = rejected_by("/v1/traces", not_found());
    assert!(line.contains("is this an OTLP server"), "{line}");
}

#[test]
fn client_errors_and_server_errors_that_do_not_pass_are_final() {
    let cases = [
        ("400 Bad Request", "400 bad request"),
        ("401 Unauthorized", "401 unauthorized"),
        ("403 Forbidden", "403 forbidden"),
        ("405 Method Not Allowed", "405 method not allowed"),
        ("415 Unsupported Media Type", "415 unsupported media type"),
        ("500 Internal Server Error", "500 internal server error"),
        ("501 Not Implemented", "501 not implemented"),
    ];
    for (status, words) in cases {
        let line = rejected_by("/v1/traces", response(status, "", ""));
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = "location: http://127.0.0.1:1/v1/traces\r\n";
    let line = rejected_by("/v1/traces", response("301 Moved", elsewhere, ""));
    assert!(line.contains("redirects are not followed"), "{line}");
}

#[test]
fn the_servers_reason_is_passed_on() {
    let status = b"\x08\x03\x12\x12trace id is absent";
    let proto = "content-type: application/x-protobuf\r\n";
    let line = rejected_by("/v1/traces", response("400 Bad Request", proto, status));
    assert!(
        line.ends_with("400 bad request: trace id is absent"),
        "{line}"
    );
}

#[test]
fn a_login_page_with_200_is_no_success() {
    let page = "<!DOCTYPE html><title>Please sign in</title>";
    let html = "content-type: text/html; charset=utf-8\r\n";
    let line = rejected_by("/v1/traces", response("200 OK", html, page));
    assert!(line.contains("answered 200 with an HTML page"), "{line}");
}

fn answer_200(body: &[u8]) -> Vec<u8> {
    response("200 OK", "content-type: application/x-protobuf\r\n", body)
}

#[test]
fn of_a_partial_success_only_the_rest_is_lost() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 3,
            error_message: "too old".to_owned(),
        }),
    };
    let server = Server::answering(answer_200(&partial.encode_to_vec()));
    let run = Run::to(&server.url("/v1/traces"));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.rejected), (17, 3));
    let line = run.first_line();
    assert!(
        line.ends_with("the server rejected 3 of 20: too old"),
        "{line}"
    );
    server.request();
    drop(run);
    assert_eq!(
        server.further_requests(),
        0,
        "partial success is never sent again"
    );
}

#[test]
fn garbage_behind_a_200_is_delivered_with_a_warning() {
    let server = Server::answering(answer_200(b"\x0a\xff\xffgarbage"));
    let run = Run::to(&server.url("/v1/traces"));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.rejected), (SPANS, 0));
    let line = run.first_line();
    assert!(
        line.contains("warning: ") && line.contains("is no OTLP response"),
        "{line}"
    );
}

/// What is said of a server that always answers so; the spans count as given up.
fn refused_after(answer: Vec<u8>) -> String {
    let server = Server::answering(answer);
    let run = Run::to(&server.url("/v1/traces"));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!(ledger.dropped[DropReason::Refused], SPANS);
    server.request();
    let line = run.first_line();
    drop(run);
    assert_eq!(server.further_requests(), 0, "no storm");
    line
}

#[test]
fn a_reply_larger_than_anybody_needs_is_not_read() {
    let line = refused_after(answer_200(&vec![0; 5 << 20]));
    assert!(line.contains("4 MiB") || line.contains("4194304"), "{line}");
}

#[test]
fn a_reply_that_unpacks_to_more_than_anybody_needs_is_not_unpacked() {
    use std::io::Write as _;
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    zip.write_all(&vec![0; 64 << 20]).unwrap();
    let bomb = zip.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "small on the wire");
    let headers = "content-type: application/x-protobuf\r\ncontent-encoding: gzip\r\n";
    refused_after(response("200 OK", headers, bomb));
}

#[test]
fn a_server_that_echoes_our_token_does_not_get_it_into_the_log() {
    let token = "canary-7f3d9a";
    let echo = Server::start(|talk| {
        while let Some(request) = talk.request() {
            let said = format!("bad token: {}", request.all("authorization").join(" "));
            talk.say(response(
                "401 Unauthorized",
                "content-type: text/plain\r\n",
                said,
            ));
        }
    });
    let with_token = |settings: &mut hiq_core::config::OtlpSettings| {
        let value = Secret::new(format!("Bearer {token}"));
        settings.headers = vec![("authorization".to_owned(), value)];
    };
    let run = Run::with(&echo.url("/v1/traces"), with_token, |_| {});
    run.offer(20);
    assert_eq!(run.settled().rejected, SPANS);
    let sent = echo.request().all("authorization").join(" ");
    assert_eq!(sent, format!("Bearer {token}"));
    let lines = run.lines().join("\n");
    assert!(lines.contains("401 unauthorized"), "{lines}");
    assert!(!lines.contains(token), "{lines}");
}
