use std::time::Duration;

use super::*;

const FINAL: Judge = Judge::of("test server");
const SPLITS: Judge = FINAL.splits();

fn reply(status: u16, content_type: &str, body: &str) -> HttpReply {
    let mut reply = HttpReply::new(status);
    reply.content_type = content_type.to_owned();
    reply.body = body.into();
    reply.url = "http://zipkin:9411/api/v2/spans".into();
    reply
}

fn http(judge: Judge, reply: HttpReply) -> Verdict {
    judge.judge(&Reply::Http(reply))
}

fn grpc(judge: Judge, code: u8, message: &str) -> Verdict {
    let mut reply = GrpcReply::new(code);
    reply.message = message.to_owned();
    reply.url = "http://jaeger:14250".into();
    judge.judge(&Reply::Grpc(reply))
}

fn message(verdict: Verdict) -> String {
    match verdict {
        Verdict::Rejected { message }
        | Verdict::Retry { message, .. }
        | Verdict::TooLarge { message }
        | Verdict::Split { message }
        | Verdict::Unauthorized { message } => message,
        other => panic!("{other:?} says nothing"),
    }
}

#[test]
fn each_status_has_its_verdict() {
    for (judge, splits) in [(FINAL, false), (SPLITS, true)] {
        for status in 100..600 {
            let verdict = http(judge, reply(status, "text/plain", ""));
            let as_expected = match status {
                200..=299 => verdict == DELIVERED,
                429 | 500..=599 => matches!(verdict, Verdict::Retry { after: None, .. }),
                400 if splits => matches!(verdict, Verdict::Split { .. }),
                413 => matches!(verdict, Verdict::TooLarge { .. }),
                401 => matches!(verdict, Verdict::Unauthorized { .. }),
                _ => matches!(verdict, Verdict::Rejected { .. }),
            };
            assert!(as_expected, "{status}: {verdict:?}");
        }
    }
}

#[test]
fn each_code_has_its_verdict() {
    for (judge, splits) in [(FINAL, false), (SPLITS, true)] {
        for code in 0..20 {
            let verdict = grpc(judge, code, "queue is full");
            let as_expected = match code {
                0 => verdict == DELIVERED,
                1 | 2 | 4 | 8 | 10 | 13 | 14 => {
                    matches!(verdict, Verdict::Retry { after: None, .. })
                }
                3 if splits => matches!(verdict, Verdict::Split { .. }),
                16 => matches!(verdict, Verdict::Unauthorized { .. }),
                _ => matches!(verdict, Verdict::Rejected { .. }),
            };
            assert!(as_expected, "{code}: {verdict:?}");
        }
    }
}

#[test]
fn the_servers_wish_for_a_pause_is_passed_on() {
    let mut busy = reply(503, "", "");
    busy.retry_after = Some(Duration::from_secs(30));
    let expected = Verdict::Retry {
        after: Some(Duration::from_secs(30)),
        message: "http://zipkin:9411/api/v2/spans answered 503 service unavailable".to_owned(),
    };
    assert_eq!(http(FINAL, busy), expected);

    let mut busy = GrpcReply::new(14);
    busy.retry_delay = Some(Duration::from_secs(7));
    let expected = Verdict::Retry {
        after: Some(Duration::from_secs(7)),
        message: "the server answered UNAVAILABLE".to_owned(),
    };
    assert_eq!(FINAL.judge(&Reply::Grpc(busy)), expected);
}

/// The words of grpc-go, grpc-java and tonic.
#[test]
fn a_message_over_the_servers_limit_is_made_smaller() {
    for (code, words) in [
        (
            8,
            "grpc: received message larger than max (5000000 vs. 4194304)",
        ),
        (8, "gRPC message exceeds maximum size 4194304: 5000000"),
        (
            11,
            "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes",
        ),
    ] {
        let verdict = grpc(FINAL, code, words);
        assert!(matches!(verdict, Verdict::TooLarge { .. }), "{verdict:?}");
    }
}

#[test]
fn a_refusal_is_said_in_the_servers_words_on_one_line() {
    let words = "Expected a JSON_V2 encoded list,\n but received: JSON_V1\n";
    assert_eq!(
        message(http(SPLITS, reply(400, "text/plain", words))),
        "http://zipkin:9411/api/v2/spans answered 400 bad request: Expected a JSON_V2 encoded list, but received: JSON_V1"
    );
    assert_eq!(
        message(grpc(FINAL, 12, "unknown\nservice")),
        "http://jaeger:14250 answered UNIMPLEMENTED: unknown service"
    );
    assert_eq!(
        message(http(FINAL, reply(404, "text/html", "<html>nginx</html>"))),
        "http://zipkin:9411/api/v2/spans answered 404 not found: an HTML page"
    );
}

#[test]
fn the_fix_follows_the_formats_own_before_the_usual_one() {
    let judge = FINAL
        .advises_http(|reply| (reply.status == 301).then_some("ask the porter"))
        .advises_grpc(|reply| (reply.code == 12).then_some("usually 14250"));
    let said = |status| message(http(judge, reply(status, "", "")));
    assert!(said(301).ends_with("answered 301 redirect; ask the porter"));
    assert!(
        said(302).ends_with("; redirects are not followed: set the endpoint to the final address")
    );
    assert!(said(407).ends_with("; put user and password into HTTPS_PROXY"));
    assert!(said(404).ends_with("answered 404 not found"));
    assert!(message(grpc(judge, 12, "")).ends_with("answered UNIMPLEMENTED; usually 14250"));
    assert!(message(grpc(judge, 5, "")).ends_with("answered NOT_FOUND"));
}

/// Go's words.
#[test]
fn a_port_that_speaks_tls_is_not_searched_for_a_bad_item() {
    let words = "Client sent an HTTP request to an HTTPS server.\n";
    match http(SPLITS, reply(400, "text/plain", words)) {
        Verdict::Rejected { message } => {
            assert!(message.contains("write the endpoint with https://"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_login_page_is_no_success() {
    for (content_type, body) in [("text/html", ""), ("", "\n<!DOCTYPE html>")] {
        match http(FINAL, reply(200, content_type, body)) {
            Verdict::Rejected { message } => {
                assert!(message.contains("this is no test server"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_brokers_word_is_enough_and_silence_confirms_nothing() {
    assert_eq!(FINAL.judge(&Reply::Acknowledged), DELIVERED);
    assert_eq!(FINAL.judge(&Reply::Unconfirmed), Verdict::SentUnconfirmed);
}
