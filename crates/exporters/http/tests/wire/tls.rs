//! TLS: who is trusted, and what is said of everybody else. Nothing is sent to a server that is not verified.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use hiq_core::config::{ClientIdentity, ConfigError};
use hiq_core::transport::{Transport, TransportErrorKind};
use hiq_http::{HttpOptions, HttpTransport};
use rcgen::date_time_ymd;

use crate::authority::{Authority, Identity, Signed};
use crate::client::{failure, failure_of, options, patient, send};
use crate::server::{Conversation, Server, response};

/// Answers every request.
fn answers(talk: &mut Conversation) {
    while talk.request().is_some() {
        talk.say(response("200 OK", "", "safe"));
    }
}

fn https(server: &Server) -> String {
    format!("https://127.0.0.1:{}/v1/traces", server.address.port())
}

/// A client that trusts `authority`.
fn trusting(authority: &Authority, server: &Server) -> HttpTransport {
    let mut options = options(&https(server));
    options.certificate = Some(authority.certificate_file());
    options.build().unwrap()
}

#[test]
fn a_server_signed_by_the_named_authority_is_trusted() {
    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(answers);
    let mut transport = trusting(&authority, &server);
    for _ in 0..3 {
        assert_eq!(send(&mut transport, b"spans").unwrap().body, b"safe");
        assert_eq!(server.request().first_line, "POST /v1/traces HTTP/1.1");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_large_payload_passes_through_tls_unchanged() {
    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(answers);
    let payload: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 249) as u8).collect();
    send(&mut trusting(&authority, &server), &payload).unwrap();
    assert!(server.request().body == payload);
}

#[test]
fn a_server_signed_by_somebody_else_gets_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Identity::of(&theirs.sign("127.0.0.1", |_| ())).serve(answers);
    let message = failure_of(&mut trusting(&ours, &server), TransportErrorKind::Tls);
    assert!(
        message.contains("authority that is not trusted here"),
        "{message}"
    );
    assert!(message.contains("PEM file"), "{message}");
    assert_eq!(server.further_requests(), 0);
}

#[test]
fn the_systems_authorities_are_used_where_none_is_named() {
    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(answers);
    failure(&https(&server), TransportErrorKind::Tls);
    assert_eq!(server.further_requests(), 0);
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
    let cases: [(&Signed, &str); 3] = [
        (&expired, "has expired"),
        (&early, "is not valid yet"),
        (&other, "is for another name"),
    ];
    for (signed, words) in cases {
        let server = Identity::of(signed).serve(answers);
        let message = failure_of(&mut trusting(&authority, &server), TransportErrorKind::Tls);
        assert!(message.contains(words), "{message}");
        assert_eq!(server.further_requests(), 0);
    }
}

#[test]
fn a_plain_server_at_an_https_address_sees_no_plain_text() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let server = Server::start(move |talk| {
        let bytes = talk.raw(200);
        tell.lock().unwrap().send(bytes).unwrap();
        talk.say(
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n",
        );
        talk.until_closed();
    });
    let message = failure(&https(&server), TransportErrorKind::Tls);
    assert!(
        message.contains("does not speak TLS") && message.contains("http://"),
        "{message}"
    );
    let seen = told.recv().unwrap();
    assert_eq!(seen[..2], [0x16, 0x03], "a TLS handshake");
    assert!(!seen.windows(5).any(|part| part == b"spans"));
}

#[test]
fn a_server_that_hangs_up_on_a_handshake_may_be_a_plain_one() {
    let server = Server::start(|_| ());
    let message = failure(&https(&server), TransportErrorKind::Tls);
    assert!(message.contains("instead of agreeing on TLS"), "{message}");
}

#[test]
fn a_tls_server_at_an_http_address_is_guessed() {
    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(answers);
    let error = send(&mut crate::client::transport(&server.url("/")), b"spans").unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Protocol, "{error}");
    assert!(error.message.contains("write https://"), "{error}");
}

/// A client that trusts `authority` and shows `signed`.
fn showing(signed: &Signed, authority: &Authority, server: &Server) -> HttpTransport {
    let mut options = options(&https(server));
    options.certificate = Some(authority.certificate_file());
    options.client_identity = Some(ClientIdentity {
        certificate: authority.file("client.pem", &signed.certificate),
        key: authority.file("client.key", &signed.key),
    });
    options.build().unwrap()
}

#[test]
fn a_client_certificate_opens_a_server_that_asks_for_one() {
    let authority = Authority::new("ours");
    let signed = authority.sign("127.0.0.1", |_| ());
    let server = Identity::asking(&signed, &authority).serve(answers);
    let client = authority.sign("client", |_| ());
    let reply = send(&mut showing(&client, &authority, &server), b"spans").unwrap();
    assert_eq!(reply.body, b"safe");
}

#[test]
fn without_a_client_certificate_the_error_says_that_one_is_asked_for() {
    let authority = Authority::new("ours");
    let signed = authority.sign("127.0.0.1", |_| ());
    let server = Identity::asking(&signed, &authority).serve(answers);
    let message = failure_of(&mut trusting(&authority, &server), TransportErrorKind::Tls);
    assert!(
        message.contains("asks for a client certificate"),
        "{message}"
    );
    assert_eq!(server.further_requests(), 0);
}

#[test]
fn a_client_certificate_of_a_stranger_is_refused_by_the_server() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("theirs"));
    let signed = authority.sign("127.0.0.1", |_| ());
    let server = Identity::asking(&signed, &authority).serve(answers);
    let client = stranger.sign("client", |_| ());
    let message = failure_of(
        &mut showing(&client, &authority, &server),
        TransportErrorKind::Tls,
    );
    assert!(
        message.contains("does it accept our client certificate?"),
        "{message}"
    );
    assert_eq!(server.further_requests(), 0);
}

#[test]
fn a_new_authority_in_the_same_file_is_trusted_by_the_attempt_after_the_one_that_failed() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let identity = Identity::of(&old.sign("127.0.0.1", |_| ()));
    let server = identity.serve(|talk| {
        // One request a connection, so that each attempt shakes hands.
        talk.request();
        talk.say(response("200 OK", "connection: close\r\n", "safe"));
    });
    let mut transport = trusting(&old, &server);
    send(&mut transport, b"spans").unwrap();
    identity.becomes(&new.sign("127.0.0.1", |_| ()));
    old.file("authority.pem", new.pem());
    failure_of(&mut transport, TransportErrorKind::Tls);
    assert_eq!(send(&mut transport, b"spans").unwrap().body, b"safe");
}

#[test]
fn a_certificate_file_that_goes_away_is_an_error_until_it_is_back() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let identity = Identity::of(&theirs.sign("127.0.0.1", |_| ()));
    let server = identity.serve(answers);
    let mut transport = trusting(&ours, &server);
    failure_of(&mut transport, TransportErrorKind::Tls);
    std::fs::remove_file(ours.certificate_file()).unwrap();
    let message = failure_of(&mut transport, TransportErrorKind::Tls);
    assert!(
        message.contains("authority.pem") && message.contains("cannot be read"),
        "{message}"
    );
    ours.file("authority.pem", theirs.pem());
    send(&mut transport, b"spans").unwrap();
}

fn refused(change: impl FnOnce(&mut HttpOptions)) -> ConfigError {
    let mut options = options("https://localhost:4318/");
    change(&mut options);
    options.build().expect_err("the files are refused")
}

#[test]
fn a_certificate_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let authority = Authority::new("ours");
    let pem = authority.pem();
    let der = rustls::pki_types::CertificateDer::from_slice(&[0x30, 0x82, 1, 2]).to_vec();
    let cut = pem.lines().take(3).collect::<Vec<_>>().join("\n");
    let garbled = pem.replace(
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!",
    );
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, problem, fix) in [
        (b"".as_slice(), "holds no PEM certificate", "-----BEGIN"),
        (&der, "holds no PEM certificate", "looks like DER"),
        (cut.as_bytes(), "without an end", "again"),
        (garbled.as_bytes(), "base64 is broken", "again"),
        (hollow.as_bytes(), "cannot be used", "X.509"),
    ] {
        let path = authority.file("broken.pem", content);
        let error = refused(|options| options.certificate = Some(path.clone()));
        assert_eq!(error.place, "certificate");
        assert!(
            error.problem.contains(&path.display().to_string()),
            "{error}"
        );
        assert!(error.problem.contains(problem), "{error}");
        assert!(error.fix.contains(fix), "{error}");
    }
    let missing = PathBuf::from("no/such/file.pem");
    let error = refused(|options| options.certificate = Some(missing));
    assert!(error.problem.contains("no/such/file.pem"), "{error}");
    assert!(error.problem.contains("No such file"), "{error}");
}

#[test]
fn a_clients_key_that_cannot_be_used_is_named_with_what_is_wrong_and_never_shown() {
    let authority = Authority::new("ours");
    let client = authority.sign("client", |_| ());
    let certificate = authority.file("client.pem", &client.certificate);
    let other = authority.sign("other", |_| ()).key;
    let locked = client.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let cut = client.key.replace("-----END PRIVATE KEY-----", "");
    let secret = client.key.lines().nth(1).unwrap();
    for (content, problem) in [
        (other.as_str(), "is not the key of the certificate"),
        (&locked, "is protected by a password"),
        (&cut, "without an end"),
        (&client.certificate, "holds no PEM private key"),
        (&client.key.replacen("-----BEGIN", "-----BEGIN\n", 1), "PEM"),
    ] {
        let key = authority.file("client.key", content);
        let identity = ClientIdentity {
            certificate: certificate.clone(),
            key,
        };
        let error = refused(|options| options.client_identity = Some(identity));
        assert_eq!(error.place, "client_key");
        assert!(error.problem.contains("client.key"), "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert!(!error.to_string().contains(secret), "{error}");
    }
}

#[test]
fn files_are_not_asked_for_where_there_is_no_tls() {
    let server = Server::answering(response("200 OK", "", ""));
    let mut options = options(&server.url("/"));
    options.certificate = Some(PathBuf::from("no/such/file.pem"));
    send(&mut options.build().unwrap(), b"spans").unwrap();
}

#[test]
fn shutdown_says_goodbye_so_that_the_server_sees_no_cut() {
    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(|talk| {
        talk.request();
        talk.say(response("200 OK", "", ""));
        talk.until_closed();
    });
    let mut transport = trusting(&authority, &server);
    send(&mut transport, b"spans").unwrap();
    transport.shutdown(&patient());
    assert!(server.wait_for_close(), "no close_notify");
}
