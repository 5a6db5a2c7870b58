use hiq_core::encode::Verdict;
use hiq_core::transport::Reply;

use super::*;

fn verdict(status: u16, content_type: &str, body: &str) -> Verdict {
    let mut reply = HttpReply::new(status);
    reply.content_type = content_type.to_owned();
    reply.body = body.into();
    reply.url = "http://zipkin:9411/api/v2/spans".into();
    JUDGE.judge(&Reply::Http(reply))
}

fn message(verdict: Verdict) -> String {
    match verdict {
        Verdict::Rejected { message } | Verdict::Unauthorized { message } => message,
        other => panic!("{other:?} is not final"),
    }
}

#[test]
fn a_bad_span_is_searched_for() {
    let words = "Expected a JSON_V2 encoded list, but received: JSON_V1\n";
    let verdict = verdict(400, "text/plain", words);
    assert!(matches!(verdict, Verdict::Split { .. }), "{verdict:?}");
}

#[test]
fn a_refusal_is_said_with_the_fix() {
    assert_eq!(
        message(verdict(404, "text/html", "<html>nginx</html>")),
        "http://zipkin:9411/api/v2/spans answered 404 not found: an HTML page; Zipkin takes spans at /api/v2/spans \
         (v1: /api/v1/spans), usually on port 9411: set OTEL_EXPORTER_ZIPKIN_ENDPOINT to that"
    );
    for status in [401, 403] {
        let message = message(verdict(status, "", ""));
        assert!(
            message.ends_with("; check the credentials in the exporter's headers"),
            "{message}"
        );
    }
    assert!(
        message(verdict(415, "", ""))
            .ends_with("; it does not take this format: try another of v2, v1 and proto")
    );
}

#[test]
fn a_login_page_is_no_server() {
    let page = message(verdict(200, "text/html", ""));
    assert!(page.contains("this is no Zipkin server"), "{page}");
}
