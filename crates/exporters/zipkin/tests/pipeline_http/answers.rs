//! Servers that refuse: what is lost, what is said, and how often they are asked.

use crate::run::Run;
use crate::server::{Server, response};
use crate::support::read_json;

const SPANS: u64 = 20;

/// Offers spans to a server that always answers so, and returns what was said of it. The spans count as rejected.
fn rejected_by(answer: Vec<u8>) -> String {
    let server = Server::answering(answer);
    let run = Run::to(&server.url("/api/v2/spans"));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.offered, ledger.rejected), (SPANS, SPANS));
    server.request();
    let line = run.first_line();
    assert_eq!(run.ended().rejected, SPANS);
    assert_eq!(server.further_requests(), 0, "a refusal is final");
    assert!(
        line.starts_with("hiq: zipkin exporter: 20 spans lost: "),
        "{line}"
    );
    line
}

#[test]
fn refusals_are_final_and_said_with_the_fix() {
    let cases = [
        ("401 Unauthorized", "check the credentials"),
        ("403 Forbidden", "check the credentials"),
        ("404 Not Found", "Zipkin takes spans at /api/v2/spans"),
        ("405 Method Not Allowed", "OTEL_EXPORTER_ZIPKIN_ENDPOINT"),
        (
            "415 Unsupported Media Type",
            "try another of v2, v1 and proto",
        ),
        ("301 Moved", "redirects are not followed"),
    ];
    for (status, words) in cases {
        let line = rejected_by(response(status, "", "the server's words"));
        assert!(line.contains(words), "{line}");
        assert!(line.contains("the server's words"), "{line}");
    }
}

#[test]
fn a_login_page_with_200_is_no_success() {
    let page = "<!DOCTYPE html><title>Please sign in</title>";
    let line = rejected_by(response("200 OK", "content-type: text/html\r\n", page));
    assert!(
        line.contains("with an HTML page: this is no Zipkin server"),
        "{line}"
    );
}

#[test]
fn a_tls_port_is_asked_once() {
    let words = "Client sent an HTTP request to an HTTPS server.\n";
    let line = rejected_by(response("400 Bad Request", "", words));
    assert!(line.contains("write the endpoint with https://"), "{line}");
}

/// A server that refuses requests in which one of `bad` stands, whatever else is in them.
fn picky(bad: &'static [&'static str]) -> Server {
    Server::start(move |talk| {
        while let Some(request) = talk.request() {
            let spans = read_json::spans(&request.body);
            let is_bad = spans.iter().any(|span| bad.contains(&span.name.as_str()));
            talk.say(if is_bad {
                response("400 Bad Request", "", "Cannot decode spans")
            } else {
                response("202 Accepted", "", "")
            });
        }
    })
}

#[test]
fn one_bad_span_costs_one_span() {
    let server = picky(&["bad"]);
    let run = Run::to(&server.url("/api/v2/spans"));
    let mut names = vec!["good"; 100];
    names[70] = "bad";
    run.offer_named(&names);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.rejected), (99, 1));
    let line = run.first_line();
    assert!(
        line.contains("400 bad request: Cannot decode spans"),
        "{line}"
    );
    assert_eq!(run.ended().exported, 99);
    // Halving 100 down to one: seven times two halves, at the most.
    assert!(server.further_requests() <= 15);
}

#[test]
fn two_bad_spans_cost_two() {
    let server = picky(&["bad", "worse"]);
    let run = Run::to(&server.url("/api/v2/spans"));
    let mut names = vec!["good"; 30];
    (names[0], names[29]) = ("bad", "worse");
    run.offer_named(&names);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.rejected), (28, 2));
}
