use hiq_core::encode::Verdict;
use hiq_core::transport::Reply;

use super::*;

fn http(status: u16, body: &str) -> Verdict {
    let mut reply = HttpReply::new(status);
    reply.body = body.into();
    reply.url = "http://jaeger:16686/api/traces".into();
    JUDGE.judge(&Reply::Http(reply))
}

fn grpc(code: u8) -> Verdict {
    JUDGE.judge(&Reply::Grpc(GrpcReply::new(code)))
}

fn message(verdict: Verdict) -> String {
    match verdict {
        Verdict::Rejected { message } | Verdict::Unauthorized { message } => message,
        other => panic!("{other:?} is not final"),
    }
}

#[test]
fn what_it_cannot_read_is_halved() {
    assert!(matches!(http(400, "bad"), Verdict::Split { .. }));
    assert!(matches!(grpc(3), Verdict::Split { .. }));
}

#[test]
fn messages_name_the_place_the_words_and_what_to_do() {
    assert_eq!(
        message(http(404, "404 page\nnot found")),
        "http://jaeger:16686/api/traces answered 404 not found: 404 page not found; Jaeger takes thrift at /api/traces, \
         usually on port 14268: set OTEL_EXPORTER_JAEGER_ENDPOINT to that"
    );
    assert!(
        message(http(415, "")).ends_with("is this the collector's port for it, usually 14268?")
    );
    assert!(message(grpc(12)).ends_with("is this a Jaeger collector's gRPC port, usually 14250?"));
}

#[test]
fn refused_credentials_are_said_with_their_variables() {
    let advice = "; check OTEL_EXPORTER_JAEGER_USER and OTEL_EXPORTER_JAEGER_PASSWORD";
    for verdict in [http(401, ""), http(403, ""), grpc(7), grpc(16)] {
        let message = message(verdict);
        assert!(message.ends_with(advice), "{message}");
    }
}

#[test]
fn a_login_page_is_no_collector() {
    let page = message(http(200, "\n<!doctype html><title>Sign in</title>"));
    assert!(page.contains("this is no Jaeger collector"), "{page}");
}
