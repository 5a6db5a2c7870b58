//! Servers that speak something else, and what is said of them. None of them gets to see spans.

use hiq_core::transport::TransportErrorKind;

use crate::authority::{Authority, Identity};
use crate::client::failure;
use crate::server::{Server, response};

/// Reads whatever comes first, says `words`, and waits for the client to go.
fn saying(words: impl Into<Vec<u8>>) -> Server {
    let words = words.into();
    Server::start(move |talk| {
        let seen = talk.raw(24);
        assert!(!seen.windows(5).any(|part| part == b"spans"));
        talk.say(&words);
        talk.until_closed();
    })
}

#[test]
fn a_port_of_http_is_recognised() {
    let pages = [
        response("400 Bad Request", "connection: close\r\n", "").clone(),
        b"HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n".to_vec(),
        // Python's http.server, which takes our greeting for HTTP/0.9.
        b"<!DOCTYPE HTML>\n<html lang=\"en\">".to_vec(),
    ];
    for page in pages {
        let server = saying(page);
        let message = failure(&server.url(""), TransportErrorKind::Protocol);
        assert!(
            message.contains("speaks HTTP/1, not gRPC") && message.contains("4317"),
            "{message}"
        );
    }
}

#[test]
fn a_port_of_tls_is_recognised() {
    // What OpenSSL and Go send: a fatal alert.
    let server = saying(*b"\x15\x03\x01\x00\x02\x02\x46");
    let message = failure(&server.url(""), TransportErrorKind::Protocol);
    assert!(message.contains("expects TLS; write https://"), "{message}");

    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(|talk| {
        talk.request();
    });
    let message = failure(&server.url(""), TransportErrorKind::Protocol);
    assert!(message.contains("write https://"), "{message}");
}

#[test]
fn a_server_that_hangs_up_may_expect_tls() {
    let server = Server::start(|talk| _ = talk.raw(24));
    let message = failure(&server.url(""), TransportErrorKind::Connect);
    assert!(
        message.contains("without a word") && message.contains("https://"),
        "{message}"
    );
}

#[test]
fn other_protocols_are_told_apart_from_http() {
    for words in [&b"SSH-2.0-OpenSSH_9.9\r\n"[..], b"220 mail ESMTP\r\n"] {
        let server = saying(words);
        let message = failure(&server.url(""), TransportErrorKind::Protocol);
        assert!(
            message.contains("does not answer as HTTP/2 does"),
            "{message}"
        );
    }
}
