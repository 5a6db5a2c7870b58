use std::time::Duration;

use super::*;

fn reply(status: u16, content_type: &str, body: &[u8]) -> HttpReply {
    let mut reply = HttpReply::new(status);
    reply.content_type = content_type.to_owned();
    reply.body = body.to_vec();
    reply.url = "http://zipkin:9411/api/v2/spans".into();
    reply
}

fn verdict(reply: HttpReply) -> Verdict {
    judge(&Reply::Http(reply))
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
    for status in 100..600 {
        let verdict = verdict(reply(status, "text/plain", b""));
        let as_expected = match status {
            200..=299 => verdict == DELIVERED,
            429 | 500..=599 => matches!(verdict, Verdict::Retry { after: None, .. }),
            400 => matches!(verdict, Verdict::Split { .. }),
            413 => matches!(verdict, Verdict::TooLarge { .. }),
            401 => matches!(verdict, Verdict::Unauthorized { .. }),
            _ => matches!(verdict, Verdict::Rejected { .. }),
        };
        assert!(as_expected, "{status}: {verdict:?}");
    }
}

#[test]
fn the_servers_wish_for_a_pause_is_passed_on() {
    let mut busy = reply(503, "", b"");
    busy.retry_after = Some(Duration::from_secs(30));
    match verdict(busy) {
        Verdict::Retry { after, message } => {
            assert_eq!(after, Some(Duration::from_secs(30)));
            assert_eq!(
                message,
                "http://zipkin:9411/api/v2/spans answered 503 service unavailable"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_is_said_in_the_servers_words_with_the_fix() {
    let words = b"Expected a JSON_V2 encoded list, but received: JSON_V1\n";
    assert_eq!(
        message(verdict(reply(400, "text/plain", words))),
        "http://zipkin:9411/api/v2/spans answered 400 bad request: Expected a JSON_V2 encoded list, but received: JSON_V1"
    );
    let lost = message(verdict(reply(404, "text/html", b"<html>nginx</html>")));
    assert!(
        lost.contains("404 not found: an HTML page; Zipkin takes spans at /api/v2/spans"),
        "{lost}"
    );
}

#[test]
fn a_port_that_speaks_tls_is_not_searched_for_a_bad_span() {
    let words = b"Client sent an HTTP request to an HTTPS server.\n";
    match verdict(reply(400, "text/plain", words)) {
        Verdict::Rejected { message } => {
            assert!(message.contains("write the endpoint with https://"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_login_page_is_no_success() {
    for (content_type, body) in [("text/html", &b""[..]), ("", b"\n<!DOCTYPE html>")] {
        match verdict(reply(200, content_type, body)) {
            Verdict::Rejected { message } => {
                assert!(message.contains("no Zipkin server"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_brokers_word_is_enough() {
    assert_eq!(judge(&Reply::Acknowledged), DELIVERED);
    assert_eq!(judge(&Reply::Unconfirmed), Verdict::SentUnconfirmed);
}
