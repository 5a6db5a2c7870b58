//! What is on the wire.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings, Secret};
use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, Transport, TransportError, TransportErrorKind};
use hiq_http::{Authorizer, Draft, HttpOptions, Method};

use crate::client::{failure_of, options, patient, send, submit, transport};
use crate::server::{Server, response};

#[test]
fn a_request_carries_the_payload_and_the_headers_it_was_given_and_no_others() {
    let server = Server::answering(response("200 OK", "", ""));
    let mut options = options(&server.url("/v1/traces?tenant=a%20b"));
    options.headers = vec![("X-Scope".to_owned(), Secret::new("caf\u{e9}"))];
    let mut transport = options.build().unwrap();
    let mut payload = Payload::new(b"\x00\r\n\xff", "application/x-protobuf", 1);
    payload.content_encoding = Some("gzip");
    let reply = submit(&mut transport, &payload, &patient()).unwrap();

    let request = server.request();
    assert_eq!(request.first_line, "POST /v1/traces?tenant=a%20b HTTP/1.1");
    assert_eq!(request.body, b"\x00\r\n\xff");
    let mut headers = request.headers.clone();
    headers.sort();
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        ("accept", "*/*"),
        ("accept-encoding", "gzip"),
        ("content-encoding", "gzip"),
        ("content-length", "4"),
        ("content-type", "application/x-protobuf"),
        ("host", &server.address.to_string()),
        ("user-agent", &format!("hiq/{version}")),
        ("x-scope", "caf\u{e9}"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, expected);
    assert_eq!(
        &*reply.url,
        format!("http://{}/v1/traces?***", server.address)
    );
}

#[test]
fn an_empty_payload_is_sent_as_an_empty_body() {
    let server = Server::answering(response("200 OK", "", ""));
    send(&mut transport(&server.url("/")), b"").unwrap();
    let request = server.request();
    assert_eq!(request.body, b"");
    assert_eq!(request.all("transfer-encoding"), [""; 0]);
}

#[test]
fn a_payload_of_many_socket_buffers_arrives_byte_for_byte() {
    let server = Server::answering(response("200 OK", "", ""));
    let payload: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut transport = transport(&server.url("/"));
    send(&mut transport, &payload).unwrap();
    assert!(server.request().body == payload);
    send(&mut transport, &payload[..7]).unwrap();
    assert_eq!(server.request().body, payload[..7]);
}

#[test]
fn settings_of_otlp_become_a_request() {
    let server = Server::answering(response("200 OK", "", ""));
    let base = server.url("");
    let env = Env::from_pairs([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k%3D1"),
    ]);
    let settings =
        OtlpSettings::for_traces(&OtlpOptions::default(), &env, &mut Vec::new()).unwrap();
    let options = HttpOptions::for_otlp(&settings, &ProxySettings::default());
    send(&mut options.build().unwrap(), b"spans").unwrap();
    let request = server.request();
    assert_eq!(request.first_line, "POST /v1/traces HTTP/1.1");
    assert_eq!(request.all("api-key"), ["k=1"]);
    let agent = format!("OTel-OTLP-Exporter-hiq/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.all("user-agent"), [agent]);
}

#[test]
fn a_user_in_the_address_becomes_basic_authorization_and_leaves_the_address() {
    let server = Server::answering(response("200 OK", "", ""));
    let url = format!("http://Aladdin:open%20sesame@{}/x", server.address);
    send(&mut transport(&url), b"spans").unwrap();
    let request = server.request();
    assert_eq!(request.first_line, "POST /x HTTP/1.1");
    // RFC 7617, section 2.
    assert_eq!(
        request.all("authorization"),
        ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
    );
    assert_eq!(request.all("host"), [server.address.to_string()]);
}

#[test]
fn a_given_header_is_stronger_than_our_own() {
    let server = Server::answering(response("200 OK", "", ""));
    let mut options = options(&format!("http://user:pass@{}/", server.address));
    options.headers = vec![
        ("authorization".to_owned(), Secret::new("Bearer t")),
        ("user-agent".to_owned(), Secret::new("mine/1")),
        ("host".to_owned(), Secret::new("inside.example")),
    ];
    send(&mut options.build().unwrap(), b"spans").unwrap();
    let request = server.request();
    assert_eq!(request.all("authorization"), ["Bearer t"]);
    assert_eq!(request.all("user-agent"), ["mine/1"]);
    assert_eq!(request.all("host"), ["inside.example"]);
}

#[test]
fn the_method_can_be_put() {
    let server = Server::answering(response("202 Accepted", "", ""));
    let mut options = options(&server.url("/metrics/job/a"));
    options.method = Method::Put;
    let reply = send(&mut options.build().unwrap(), b"a 1\n").unwrap();
    assert_eq!(reply.status, 202);
    assert_eq!(server.request().first_line, "PUT /metrics/job/a HTTP/1.1");
}

#[test]
fn a_hundred_requests_share_one_connection() {
    let server = Server::answering(response("200 OK", "", "{}"));
    let mut transport = transport(&server.url("/"));
    for _ in 0..100 {
        send(&mut transport, b"spans").unwrap();
    }
    assert_eq!(server.further_requests(), 100);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_connection_that_the_server_closed_meanwhile_costs_no_request() {
    // Answers as if it kept the connection, and closes it when the client is idle.
    let (close, may_close) = channel::<()>();
    let may_close = Mutex::new(may_close);
    let server = Server::start(move |talk| {
        talk.request();
        talk.say(response("200 OK", "", ""));
        may_close.lock().unwrap().recv().unwrap();
    });
    let mut transport = transport(&server.url("/"));
    for number in 1..=20 {
        let reply = send(&mut transport, b"spans").unwrap();
        assert_eq!(reply.status, 200, "request {number}");
        close.send(()).unwrap();
        wait_until_half_closed(server.address.port());
    }
    assert_eq!(server.connections(), 20);
    assert_eq!(server.further_requests(), 20, "each request was sent once");
}

/// Until the kernel says that the far side of our connection to `port` has been closed, and ours not.
fn wait_until_half_closed(port: u16) {
    const CLOSE_WAIT: &str = "08";
    let far = format!(":{port:04X}");
    loop {
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let mut sockets = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        if sockets.any(|socket| socket[2].ends_with(&far) && socket[3] == CLOSE_WAIT) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_server_that_says_close_gets_a_new_connection() {
    let server = Server::start(|talk| {
        talk.request();
        talk.say(response("200 OK", "connection: close\r\n", ""));
    });
    let mut transport = transport(&server.url("/"));
    for _ in 0..5 {
        send(&mut transport, b"spans").unwrap();
    }
    assert_eq!(server.connections(), 5);
}

/// Counts, and signs with what it was shown.
#[derive(Clone, Debug, Default)]
struct Signer(Arc<Mutex<Vec<String>>>);

impl Authorizer for Signer {
    fn headers(&mut self, draft: &Draft<'_>) -> Result<Vec<(String, Secret)>, TransportError> {
        let mut seen = self.0.lock().unwrap();
        let (method, url) = (draft.method.name(), draft.endpoint.expose());
        let body = String::from_utf8_lossy(draft.body);
        seen.push(format!("{method} {url} {} {body}", draft.content_type));
        let value = Secret::new(format!("Signature {}", seen.len()));
        Ok(vec![("Authorization".to_owned(), value)])
    }

    fn renew(&mut self, _deadline: &Deadline) -> bool {
        self.0.lock().unwrap().push("renewed".to_owned());
        true
    }
}

#[test]
fn an_authorizer_signs_each_attempt_anew() {
    let server = Server::answering(response("401 Unauthorized", "", ""));
    let url = server.url("/x?y=z");
    let signer = Signer::default();
    let mut options = options(&url);
    options.headers = vec![("authorization".to_owned(), Secret::new("stale"))];
    let mut transport = options
        .build()
        .unwrap()
        .with_authorizer(Box::new(signer.clone()));
    send(&mut transport, b"one").unwrap();
    assert!(transport.renew_credentials(&patient()));
    send(&mut transport, b"two").unwrap();
    assert_eq!(server.request().all("authorization"), ["Signature 1"]);
    assert_eq!(server.request().all("authorization"), ["Signature 3"]);
    let expected = [
        format!("POST {url} application/x-protobuf one"),
        "renewed".to_owned(),
        format!("POST {url} application/x-protobuf two"),
    ];
    assert_eq!(*signer.0.lock().unwrap(), expected);
}

#[test]
fn an_authorizer_that_cannot_sign_ends_the_attempt_before_the_wire() {
    #[derive(Debug)]
    struct Broken(&'static str);
    impl Authorizer for Broken {
        fn headers(&mut self, _draft: &Draft<'_>) -> Result<Vec<(String, Secret)>, TransportError> {
            match self.0 {
                "" => Err(TransportError::new(TransportErrorKind::Io, "no key file")),
                value => Ok(vec![("authorization".to_owned(), Secret::new(value))]),
            }
        }
    }
    let server = Server::answering(response("200 OK", "", ""));
    let transport = |value| {
        let plain = transport(&server.url("/"));
        plain.with_authorizer(Box::new(Broken(value)))
    };
    assert_eq!(
        failure_of(&mut transport(""), TransportErrorKind::Io),
        "no key file"
    );
    let message = failure_of(&mut transport("se\ncret"), TransportErrorKind::Invalid);
    assert!(
        message.contains("`authorization`") && !message.contains("cret"),
        "{message}"
    );
    assert_eq!(server.connections(), 0);
}

#[test]
fn without_an_authorizer_there_are_no_credentials_to_renew() {
    let mut transport = transport("http://localhost/");
    assert!(!transport.renew_credentials(&patient()));
}

#[test]
fn nothing_is_opened_before_the_first_payload_and_nothing_stays_open_after_shutdown() {
    let server = Server::start(|talk| {
        talk.request();
        talk.say(response("200 OK", "", ""));
        talk.until_closed();
    });
    let mut transport = transport(&server.url("/"));
    transport.poll(&patient(), &mut Vec::new());
    assert_eq!(server.connections(), 0);
    send(&mut transport, b"spans").unwrap();
    transport.shutdown(&Deadline::never().within(Duration::ZERO));
    server.wait_for_close();
    send(&mut transport, b"spans").unwrap();
    drop(transport);
    server.wait_for_close();
}

#[test]
fn a_reply_keeps_the_headers_that_were_asked_for_and_no_others() {
    let more = "X-Written: 7\r\nX-Other: 8\r\n";
    let server = Server::answering(response("200 OK", more, ""));
    let mut options = options(&server.url("/"));
    options.kept_headers = &["x-written", "x-missing"];
    let payload = Payload::new(b"x", "text/plain", 1);
    let reply = submit(&mut options.build().unwrap(), &payload, &patient()).unwrap();
    assert_eq!(reply.headers, [("x-written", "7".to_owned())]);
    assert_eq!(reply.header("x-written"), Some("7"));
    assert_eq!(reply.header("x-other"), None);
}

#[test]
fn a_get_carries_no_payload() {
    let server = Server::answering(response("200 OK", "", "here"));
    let mut options = options(&server.url("/opc/v2/instance/region"));
    options.method = Method::Get;
    let mut transport = options.build().unwrap();
    let reply = send(&mut transport, b"not this").unwrap();
    let request = server.request();
    assert_eq!(request.first_line, "GET /opc/v2/instance/region HTTP/1.1");
    assert_eq!(request.body, b"");
    assert_eq!(request.all("content-type"), [""; 0]);
    assert_eq!(reply.body, b"here");
}

#[test]
fn an_authorizer_is_told_how_long_the_attempt_may_take() {
    #[derive(Debug)]
    struct Hurried(Arc<Mutex<Option<Duration>>>);
    impl Authorizer for Hurried {
        fn headers(&mut self, draft: &Draft<'_>) -> Result<Vec<(String, Secret)>, TransportError> {
            *self.0.lock().unwrap() = draft.deadline.remaining();
            Ok(Vec::new())
        }
    }
    let seen = Arc::default();
    let server = Server::answering(response("200 OK", "", ""));
    let mut transport =
        transport(&server.url("/")).with_authorizer(Box::new(Hurried(Arc::clone(&seen))));
    let payload = Payload::new(b"spans", "text/plain", 1);
    let deadline = Deadline::never().within(Duration::from_secs(20));
    submit(&mut transport, &payload, &deadline).unwrap();
    let left = seen.lock().unwrap().unwrap();
    assert!(left <= Duration::from_secs(20) && left > Duration::from_secs(5));
}
