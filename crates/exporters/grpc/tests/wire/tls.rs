//! TLS: who is trusted, and what is said of everybody else. Nothing is sent to a server that is not verified.

use hiq_core::config::ClientIdentity;
use hiq_core::transport::TransportErrorKind;
use hiq_grpc::{GrpcOptions, GrpcTransport};
use rcgen::date_time_ymd;

use crate::authority::{Authority, Identity, Signed};
use crate::client::{failure, failure_of, options, send};
use crate::grpc_server::{Answer, Call, GrpcServer};
use crate::server::{Server, response};

fn answers(_call: &Call) -> Answer {
    Answer::Ok(b"safe".to_vec())
}

fn served_by(identity: &Identity) -> GrpcServer {
    GrpcServer::tls(&identity.config(), answers)
}

fn https(server: &GrpcServer) -> String {
    format!("https://{}", server.address)
}

fn trusting(authority: &Authority, server: &GrpcServer) -> GrpcOptions {
    let mut options = options(&https(server));
    options.certificate = Some(authority.certificate_file());
    options
}

#[test]
fn a_server_signed_by_the_named_authority_is_trusted() {
    let authority = Authority::new("ours");
    let server = served_by(&Identity::of(&authority.sign("127.0.0.1", |_| ())));
    let mut transport = trusting(&authority, &server).build().unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 249) as u8).collect();
    for message in [&b"spans"[..], &large, b"again"] {
        assert_eq!(send(&mut transport, message).unwrap().body, b"safe");
        assert!(server.call().message == message);
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_signed_by_somebody_else_gets_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = served_by(&Identity::of(&theirs.sign("127.0.0.1", |_| ())));
    let mut transport = trusting(&ours, &server).build().unwrap();
    let message = failure_of(&mut transport, TransportErrorKind::Tls);
    assert!(
        message.contains("authority that is not trusted here") && message.contains("PEM file"),
        "{message}"
    );
    // And neither does one that the system's authorities do not know.
    failure(&https(&server), TransportErrorKind::Tls);
    assert_eq!(server.further_calls(), 0);
}

#[test]
fn certificates_out_of_time_or_for_another_name_are_told_apart() {
    let authority = Authority::new("ours");
    let expired = authority.sign("127.0.0.1", |params| {
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let early = authority.sign("127.0.0.1", |params| {
        params.not_before = date_time_ymd(3001, 1, 1);
    });
    let other = authority.sign("collector.example", |_| ());
    let cases = [
        (&expired, "has expired"),
        (&early, "is not valid yet"),
        (&other, "is for another name"),
    ];
    for (signed, words) in cases {
        let server = served_by(&Identity::of(signed));
        let mut transport = trusting(&authority, &server).build().unwrap();
        let message = failure_of(&mut transport, TransportErrorKind::Tls);
        assert!(message.contains(words), "{message}");
        assert_eq!(server.further_calls(), 0);
    }
}

/// A client that trusts `authority` and shows `signed`.
fn showing(signed: &Signed, authority: &Authority, server: &GrpcServer) -> GrpcTransport {
    let mut options = trusting(authority, server);
    options.client_identity = Some(ClientIdentity {
        certificate: authority.file("client.pem", &signed.certificate),
        key: authority.file("client.key", &signed.key),
    });
    options.build().unwrap()
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_one_of_the_right_authority_alone() {
    let (authority, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let signed = authority.sign("127.0.0.1", |_| ());
    let server = served_by(&Identity::asking(&signed, &authority));
    let client = authority.sign("client", |_| ());
    send(&mut showing(&client, &authority, &server), b"spans").unwrap();
    assert_eq!(server.call().message, b"spans");

    let mut nobody = trusting(&authority, &server).build().unwrap();
    let message = failure_of(&mut nobody, TransportErrorKind::Tls);
    assert!(
        message.contains("asks for a client certificate"),
        "{message}"
    );

    let stranger = theirs.sign("client", |_| ());
    let mut stranger = showing(&stranger, &authority, &server);
    let message = failure_of(&mut stranger, TransportErrorKind::Tls);
    assert!(
        message.contains("does it accept our client certificate?"),
        "{message}"
    );
    assert_eq!(server.further_calls(), 0);
}

#[test]
fn after_a_tls_error_the_files_are_read_again() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = served_by(&Identity::of(&theirs.sign("127.0.0.1", |_| ())));
    let mut transport = trusting(&ours, &server).build().unwrap();
    failure_of(&mut transport, TransportErrorKind::Tls);
    ours.file("authority.pem", theirs.pem());
    send(&mut transport, b"spans").unwrap();
}

#[test]
fn a_tls_port_for_http_is_told() {
    let authority = Authority::new("ours");
    let signed = authority.sign("127.0.0.1", |_| ());
    let mut config = (*Identity::of(&signed).config()).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = GrpcServer::tls_as_it_is(config, answers);
    let mut transport = trusting(&authority, &server).build().unwrap();
    let message = failure_of(&mut transport, TransportErrorKind::Tls);
    assert!(message.contains("but not HTTP/2"), "{message}");
}

#[test]
fn a_tls_server_that_knows_no_alpn_is_judged_by_what_it_says() {
    let authority = Authority::new("ours");
    let signed = authority.sign("127.0.0.1", |_| ());
    let config = (*Identity::of(&signed).config()).clone();
    let server = GrpcServer::tls_as_it_is(config, answers);
    send(
        &mut trusting(&authority, &server).build().unwrap(),
        b"spans",
    )
    .unwrap();
    let server = Identity::of(&signed).serve(|talk| {
        talk.raw(24);
        talk.say(response("400 Bad Request", "", ""));
        talk.until_closed();
    });
    let mut options = options(&format!("https://{}", server.address));
    options.certificate = Some(authority.certificate_file());
    let message = failure_of(&mut options.build().unwrap(), TransportErrorKind::Protocol);
    assert!(message.contains("speaks HTTP/1"), "{message}");
}

#[test]
fn a_plain_server_at_an_https_address_is_told() {
    let server = GrpcServer::answering(b"");
    let message = failure(&https(&server), TransportErrorKind::Tls);
    assert!(message.contains("http://"), "{message}");
    let server = Server::start(|_| ());
    let message = failure(
        &format!("https://{}", server.address),
        TransportErrorKind::Tls,
    );
    assert!(message.contains("instead of agreeing on TLS"), "{message}");
}

#[test]
fn files_that_cannot_be_used_are_told_before_anything_is_sent() {
    let mut options = options("https://localhost:4317");
    options.certificate = Some("no/such/file.pem".into());
    let error = options.build().unwrap_err();
    assert!(error.to_string().contains("no/such/file.pem"), "{error}");
    // Nobody looks at them where there is no TLS.
    options.endpoint = hiq_core::config::Endpoint::parse("test", "http://localhost:4317").unwrap();
    options.build().unwrap();
}
