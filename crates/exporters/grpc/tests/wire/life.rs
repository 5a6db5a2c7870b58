//! Connections that end: while nobody looks, in the middle, and in between.

use std::path::PathBuf;

use hiq_core::transport::TransportErrorKind;

use crate::authority::{Authority, Identity};
use crate::client::{failure, failure_of, options, send, transport};
use crate::grpc_server::{Answer, GrpcServer};
use crate::server::deserted_address;

/// Of a server that ends the connection after each answer.
fn nothing_is_lost_or_repeated(server: &GrpcServer, url: &str, certificate: Option<PathBuf>) {
    let mut options = options(url);
    options.certificate = certificate;
    let mut transport = options.build().unwrap();
    for number in 0..20 {
        send(&mut transport, b"spans").unwrap();
        assert_eq!(server.call().number, number);
        server.wait_for_close();
    }
    assert_eq!(server.connections(), 20);
    assert_eq!(server.further_calls(), 0);
}

#[test]
fn a_server_that_goes_between_two_calls_loses_and_repeats_nothing() {
    for answer in [Answer::OkAndGoAway, Answer::OkAndHangUp] {
        let plain = answer.clone();
        let server = GrpcServer::start(move |_| plain.clone());
        nothing_is_lost_or_repeated(&server, &server.url(), None);

        let authority = Authority::new("ours");
        let identity = Identity::of(&authority.sign("127.0.0.1", |_| ()));
        let server = GrpcServer::tls(&identity.config(), move |_| answer.clone());
        let url = format!("https://{}", server.address);
        let certificate = Some(authority.certificate_file());
        nothing_is_lost_or_repeated(&server, &url, certificate);
    }
}

#[test]
fn after_a_connection_broke_the_next_attempt_makes_a_new_one() {
    let server = GrpcServer::start(|call| match call.number {
        1 => Answer::HangUp,
        _ => Answer::Ok(Vec::new()),
    });
    let mut transport = transport(&server.url());
    send(&mut transport, b"first").unwrap();
    failure_of(&mut transport, TransportErrorKind::Reset);
    send(&mut transport, b"third").unwrap();
    assert_eq!(server.connections(), 2);
    let messages: Vec<_> = (0..3).map(|_| server.call().message).collect();
    assert_eq!(messages, [&b"first"[..], b"spans", b"third"]);
}

#[test]
fn where_nobody_listens_the_sentence_asks_for_a_collector() {
    let url = format!("http://{}", deserted_address());
    let message = failure(&url, TransportErrorKind::Connect);
    assert!(message.starts_with(&url), "{message}");
    assert!(
        message.contains("is a collector listening there?"),
        "{message}"
    );
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    let message = failure("http://no-such-host.invalid:4317", TransportErrorKind::Dns);
    assert!(
        message.contains("the name of no-such-host.invalid:4317 is not known"),
        "{message}"
    );
}

#[test]
fn a_name_is_looked_up_and_stands_in_the_authority() {
    let server = GrpcServer::answering(b"");
    let port = server.address.port();
    send(
        &mut transport(&format!("http://localhost:{port}")),
        b"spans",
    )
    .unwrap();
    assert_eq!(server.call().authority, format!("localhost:{port}"));
}
