use std::time::Duration;

use super::*;

fn http(status: u16, body: &str) -> Verdict {
    let mut reply = HttpReply::new(status);
    reply.body = body.into();
    reply.retry_after = Some(Duration::from_secs(7));
    judge(&Reply::Http(reply))
}

fn grpc(code: u8, message: &str) -> Verdict {
    let mut reply = GrpcReply::default();
    (reply.code, reply.message) = (code, message.to_owned());
    judge(&Reply::Grpc(reply))
}

#[test]
fn what_a_busy_collector_answers_is_worth_another_attempt() {
    for status in [429, 500, 501, 502, 503, 504, 599] {
        let verdict = http(status, "");
        let wished =
            matches!(verdict, Verdict::Retry { after: Some(after), .. } if after.as_secs() == 7);
        assert!(wished, "{status}: {verdict:?}");
    }
    for code in [1, 2, 4, 8, 10, 13, 14] {
        let verdict = grpc(code, "queue is full");
        assert!(matches!(verdict, Verdict::Retry { .. }), "{code}");
    }
}

#[test]
fn what_it_cannot_read_is_halved_and_what_is_too_large_made_smaller() {
    assert!(matches!(http(400, "bad"), Verdict::Split { .. }));
    assert!(matches!(grpc(3, "bad"), Verdict::Split { .. }));
    assert!(matches!(http(413, ""), Verdict::TooLarge { .. }));
    let too_large = "grpc: received message larger than max (5000000 vs. 4194304)";
    assert!(matches!(grpc(8, too_large), Verdict::TooLarge { .. }));
}

#[test]
fn any_other_refusal_is_final() {
    for status in [301, 402, 403, 404, 405, 415] {
        let verdict = http(status, "");
        assert!(matches!(verdict, Verdict::Rejected { .. }), "{status}");
    }
    for code in [5, 6, 7, 9, 11, 12, 15] {
        let verdict = grpc(code, "");
        assert!(matches!(verdict, Verdict::Rejected { .. }), "{code}");
    }
    assert!(matches!(http(401, ""), Verdict::Unauthorized { .. }));
    assert!(matches!(grpc(16, ""), Verdict::Unauthorized { .. }));
}

#[test]
fn success_is_a_success_unless_it_is_a_login_page() {
    for status in [200, 202, 204] {
        assert_eq!(http(status, ""), DELIVERED);
    }
    assert_eq!(grpc(0, ""), DELIVERED);
    let page = http(200, "\n<!doctype html><title>Sign in</title>");
    assert!(
        matches!(&page, Verdict::Rejected { message } if message.contains("HTML page")),
        "{page:?}"
    );
}

#[test]
fn a_wire_that_never_answers_confirms_nothing() {
    assert_eq!(judge(&Reply::Unconfirmed), Verdict::SentUnconfirmed);
}

#[test]
fn messages_name_the_place_the_words_and_what_to_do() {
    let mut reply = HttpReply::new(404);
    reply.url = "http://jaeger:16686/api/traces".into();
    reply.body = b"404 page\nnot found".to_vec();
    let Verdict::Rejected { message } = judge(&Reply::Http(reply)) else {
        panic!("404 is final");
    };
    assert_eq!(
        message,
        "http://jaeger:16686/api/traces answered 404 not found: 404 page not found; Jaeger takes thrift at /api/traces, \
         usually on port 14268: set OTEL_EXPORTER_JAEGER_ENDPOINT to that"
    );
}
