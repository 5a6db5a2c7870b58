use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;

use super::*;
use crate::signal::{METRICS, TRACES};

const PROTO: Encoding = Encoding::new("otlp_proto", "application/x-protobuf");
const JSON: Encoding = Encoding::new("otlp_json", "application/json");
const ITEMS: usize = 512;

fn reply(status: u16, content_type: &str, body: &[u8]) -> HttpReply {
    let mut reply = HttpReply::new(status);
    reply.content_type = content_type.to_owned();
    reply.body = body.to_vec();
    reply.url = "http://collector:4318/v1/traces".into();
    reply
}

fn verdict(reply: HttpReply, encoding: Encoding) -> Verdict {
    judge(&Reply::Http(reply), ITEMS, encoding, &TRACES)
}

fn message(verdict: Verdict) -> String {
    match verdict {
        Verdict::Rejected { message }
        | Verdict::Retry { message, .. }
        | Verdict::TooLarge { message }
        | Verdict::Unauthorized { message } => message,
        other => panic!("{other:?} says nothing"),
    }
}

fn partial_success(rejected_spans: i64, error_message: &str) -> Vec<u8> {
    let response = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans,
            error_message: error_message.to_owned(),
        }),
    };
    response.encode_to_vec()
}

/// `google.rpc.Status`: code 3, and a message below 128 bytes.
fn status_body(message: &str) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap();
    assert!(length < 128);
    [&[0x08, 3, 0x12, length], message.as_bytes()].concat()
}

#[test]
fn only_the_four_codes_of_the_specification_are_tried_again() {
    for status in 100..600 {
        let verdict = verdict(reply(status, "text/plain", b""), PROTO);
        let as_expected = match status {
            200..=299 => matches!(
                verdict,
                Verdict::Delivered {
                    rejected: 0,
                    message: None
                }
            ),
            429 | 502 | 503 | 504 => matches!(verdict, Verdict::Retry { after: None, .. }),
            413 => matches!(verdict, Verdict::TooLarge { .. }),
            401 => matches!(verdict, Verdict::Unauthorized { .. }),
            _ => matches!(verdict, Verdict::Rejected { .. }),
        };
        assert!(as_expected, "{status}: {verdict:?}");
    }
}

#[test]
fn the_servers_wish_for_a_pause_is_passed_on() {
    let mut busy = reply(429, "", b"");
    busy.retry_after = Some(Duration::from_secs(30));
    match verdict(busy, PROTO) {
        Verdict::Retry { after, message } => {
            assert_eq!(after, Some(Duration::from_secs(30)));
            assert_eq!(
                message,
                "http://collector:4318/v1/traces answered 429 too many requests"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn partial_success_is_delivered_but_for_what_the_server_counts() {
    let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
    let json_with_number = br#"{"partialSuccess":{"rejectedSpans":3,"errorMessage":"too old"}}"#;
    let expected = Verdict::Delivered {
        rejected: 3,
        message: Some("too old".to_owned()),
    };
    let proto = partial_success(3, "too old");
    let proto = reply(200, "application/x-protobuf", &proto);
    assert_eq!(verdict(proto, PROTO), expected);
    for body in [&json[..], json_with_number] {
        assert_eq!(
            verdict(reply(200, "application/json", body), JSON),
            expected
        );
    }
}

#[test]
fn a_server_that_rejects_more_than_it_got_or_less_than_nothing_is_not_believed() {
    for (claim, expected) in [(i64::MAX, ITEMS), (-1, 0), (i64::MIN, 0), (512, 512)] {
        let body = partial_success(claim, "so it says");
        match verdict(reply(200, "application/x-protobuf", &body), PROTO) {
            Verdict::Delivered { rejected, .. } => assert_eq!(rejected, expected, "{claim}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn all_forms_of_plain_success_are_silent() {
    let silent = Verdict::Delivered {
        rejected: 0,
        message: None,
    };
    let mut bodies = vec![
        ("application/x-protobuf", partial_success(0, "")),
        ("application/x-protobuf", Vec::new()),
        ("", partial_success(0, "")),
        ("", Vec::new()),
        ("text/html", Vec::new()),
    ];
    for json in [
        r#"{"partialSuccess":{}}"#,
        r#"{"partialSuccess":null}"#,
        "{}",
    ] {
        bodies.push(("application/json", json.as_bytes().to_vec()));
    }
    for (content_type, body) in bodies {
        assert_eq!(
            verdict(reply(200, content_type, &body), PROTO),
            silent,
            "{content_type}"
        );
    }
}

#[test]
fn rejections_without_a_word_are_still_told() {
    let body = partial_success(7, "");
    let expected = Verdict::Delivered {
        rejected: 7,
        message: Some("it gave no reason".to_owned()),
    };
    let reply = reply(200, "application/x-protobuf", &body);
    assert_eq!(verdict(reply, PROTO), expected);
}

#[test]
fn a_login_page_is_no_success() {
    for content_type in ["text/html", ""] {
        let page = reply(
            200,
            content_type,
            b"\n<!DOCTYPE html><title>Sign in</title>",
        );
        let message = message(verdict(page, PROTO));
        assert!(
            message.starts_with("http://collector:4318/v1/traces answered 200"),
            "{message}"
        );
        assert!(message.contains("asks for a login"), "{message}");
    }
    let plain = message(verdict(reply(200, "text/plain", b"welcome"), JSON));
    assert!(plain.contains("text/plain"), "{plain}");
}

#[test]
fn garbage_in_the_right_form_counts_as_delivered_with_a_warning() {
    let cases: [(&str, &[u8]); 3] = [
        ("application/x-protobuf", b"\x0a\xff\xff"),
        ("application/json", b"{\"partialSuccess\":[1"),
        ("", b"\xff\xff\xff\xff"),
    ];
    for (content_type, body) in cases {
        match verdict(reply(200, content_type, body), PROTO) {
            Verdict::Delivered {
                rejected: 0,
                message: Some(message),
            } => {
                assert!(message.contains("is no OTLP response"), "{message}");
            }
            other => panic!("{content_type}: {other:?}"),
        }
    }
}

#[test]
fn the_servers_words_are_found_in_every_form() {
    let proto = status_body("span 3 has no name");
    let cases: [(&str, &[u8]); 5] = [
        ("application/x-protobuf", &proto),
        (
            "application/json",
            br#"{"code":3,"message":"span 3 has no name"}"#,
        ),
        ("application/json", b"span 3 has no name"),
        ("text/plain", b"span 3 has no name\n"),
        ("", b"span 3 has no name"),
    ];
    for (content_type, body) in cases {
        let message = message(verdict(reply(400, content_type, body), PROTO));
        let expected =
            "http://collector:4318/v1/traces answered 400 bad request: span 3 has no name";
        assert_eq!(message, expected, "{content_type}");
    }
}

#[test]
fn the_servers_words_are_one_short_line_without_control_characters() {
    let words = format!(
        "\x1b[31mred\x1b[0m\r\n\ttext\0 \u{202e}{}",
        "long ".repeat(1_000)
    );
    let message = message(verdict(reply(500, "text/plain", words.as_bytes()), PROTO));
    let words = message.split_once("error: ").unwrap().1;
    assert!(words.starts_with("[31mred [0m text long long"), "{words}");
    assert!(
        !message.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{message:?}"
    );
    assert_eq!(words.chars().count(), 201);
    assert!(words.ends_with('…'));
}

#[test]
fn a_wrong_path_is_named_with_the_fix() {
    let mut base = reply(404, "text/plain", b"404 page not found");
    base.url = "http://collector:4318/".into();
    let message_of_base = message(verdict(base, PROTO));
    assert!(message_of_base.starts_with("http://collector:4318/ answered 404 not found"));
    assert!(message_of_base.contains("/v1/traces"), "{message_of_base}");
    assert!(
        message_of_base.contains("OTEL_EXPORTER_OTLP_ENDPOINT"),
        "{message_of_base}"
    );
    let right_path = message(verdict(reply(404, "text/html", b"<html>"), PROTO));
    assert!(right_path.contains("an HTML page"), "{right_path}");
    assert!(
        right_path.contains("is this an OTLP server"),
        "{right_path}"
    );
}

#[test]
fn advice_goes_with_what_users_get_wrong() {
    let go = b"Client sent an HTTP request to an HTTPS server.\n";
    let cases: [(u16, &[u8], &str); 5] = [
        (400, go, "write the endpoint with https://"),
        (301, b"", "set the endpoint to the final address"),
        (403, b"", "OTEL_EXPORTER_OTLP_HEADERS"),
        (407, b"", "HTTPS_PROXY"),
        (415, b"", "application/x-protobuf"),
    ];
    for (status, body, advice) in cases {
        let message = message(verdict(reply(status, "text/plain", body), PROTO));
        assert!(message.contains(advice), "{status}: {message}");
    }
}

#[test]
fn other_wires_have_their_own_answers() {
    let delivered = Verdict::Delivered {
        rejected: 0,
        message: None,
    };
    assert_eq!(judge(&Reply::Acknowledged, ITEMS, JSON, &TRACES), delivered);
    assert_eq!(
        judge(&Reply::Unconfirmed, ITEMS, JSON, &TRACES),
        Verdict::SentUnconfirmed
    );
}

#[test]
fn grpc_codes_are_judged_by_the_specification() {
    for code in 0..=17 {
        let mut reply = GrpcReply::default();
        reply.code = code;
        let verdict = judge(&Reply::Grpc(reply), ITEMS, PROTO, &TRACES);
        let as_expected = match code {
            0 => matches!(verdict, Verdict::Delivered { .. }),
            1 | 4 | 10 | 11 | 14 | 15 => matches!(verdict, Verdict::Retry { .. }),
            16 => matches!(verdict, Verdict::Unauthorized { .. }),
            _ => matches!(verdict, Verdict::Rejected { .. }),
        };
        assert!(as_expected, "{code}: {verdict:?}");
    }
    let mut exhausted = GrpcReply::default();
    exhausted.code = 8;
    exhausted.retry_delay = Some(Duration::from_secs(2));
    let wait = judge(&Reply::Grpc(exhausted.clone()), ITEMS, PROTO, &TRACES);
    assert!(
        matches!(wait, Verdict::Retry { after: Some(_), .. }),
        "{wait:?}"
    );
    let text = "grpc: received message larger than max (9 vs. 4)";
    assert!(!is_too_large(exhausted, text), "it says when to come again");
}

fn is_too_large(mut reply: GrpcReply, message: &str) -> bool {
    reply.message = message.to_owned();
    matches!(
        judge(&Reply::Grpc(reply), ITEMS, PROTO, &TRACES),
        Verdict::TooLarge { .. }
    )
}

/// As the libraries of gRPC word it: Go, Python, Java, Rust.
#[test]
fn a_server_whose_limit_is_lower_gets_smaller_messages() {
    let cases = [
        (
            8,
            "grpc: received message larger than max (5000000 vs. 4194304)",
        ),
        (
            8,
            "SERVER: Received message larger than max (5000000 vs. 4194304)",
        ),
        (8, "gRPC message exceeds maximum size 4194304: 5000000"),
        (
            11,
            "Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes",
        ),
    ];
    for (code, message) in cases {
        assert!(is_too_large(GrpcReply::new(code), message), "{message}");
    }
    assert!(!is_too_large(GrpcReply::new(8), "quota of spans used up"));
    assert!(!is_too_large(GrpcReply::new(13), "larger than max"));
}

#[test]
fn messages_of_grpc_name_server_code_words_and_fix() {
    let cases = [
        (16, "no token", "OTEL_EXPORTER_OTLP_HEADERS"),
        (7, "not you", "OTEL_EXPORTER_OTLP_HEADERS"),
        (12, "unknown service", "its gRPC receiver on"),
        (
            12,
            "no decompressor for gzip",
            "unset OTEL_EXPORTER_OTLP_COMPRESSION",
        ),
        (3, "bad\u{1b}[31m span", "bad"),
    ];
    let names = [
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "UNIMPLEMENTED",
        "UNIMPLEMENTED",
        "INVALID_ARGUMENT",
    ];
    for ((code, words, fix), name) in cases.into_iter().zip(names) {
        let mut reply = GrpcReply::new(code);
        reply.message = words.to_owned();
        reply.url = "http://collector:4317".into();
        let message = message(judge(&Reply::Grpc(reply), ITEMS, PROTO, &TRACES));
        let begins = format!("http://collector:4317 answered {name}: ");
        assert!(message.starts_with(&begins), "{message}");
        assert!(message.contains(fix), "{message}");
        assert!(!message.contains('\u{1b}'), "{message}");
    }
}

#[test]
fn an_ok_of_grpc_whose_message_is_none_of_otlp_counts_and_warns() {
    let mut reply = GrpcReply::new(0);
    reply.body = b"\x0a\xff".to_vec();
    let Verdict::Delivered {
        rejected: 0,
        message: Some(words),
    } = judge(&Reply::Grpc(reply), ITEMS, PROTO, &TRACES)
    else {
        panic!("not delivered with a warning");
    };
    assert!(words.contains("not with an OTLP response"), "{words}");
}

#[test]
fn points_that_are_refused_are_counted_and_named() {
    let response = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "out of order".to_owned(),
        }),
    };
    let expected = Verdict::Delivered {
        rejected: 3,
        message: Some("out of order".to_owned()),
    };
    let proto = reply(200, "application/x-protobuf", &response.encode_to_vec());
    assert_eq!(judge(&Reply::Http(proto), ITEMS, PROTO, &METRICS), expected);
    let text = br#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"out of order"}}"#;
    let json = reply(200, "application/json", text);
    assert_eq!(judge(&Reply::Http(json), ITEMS, JSON, &METRICS), expected);
    let mut grpc = GrpcReply::new(0);
    grpc.body = response.encode_to_vec();
    assert_eq!(judge(&Reply::Grpc(grpc), ITEMS, PROTO, &METRICS), expected);
}

#[test]
fn metrics_on_a_wrong_path_are_told_the_path_of_metrics() {
    let verdict = judge(
        &Reply::Http(reply(404, "text/plain", b"404 page not found")),
        ITEMS,
        PROTO,
        &METRICS,
    );
    let message = message(verdict);
    assert!(
        message.contains("/v1/metrics") && message.contains("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
        "{message}"
    );
}
