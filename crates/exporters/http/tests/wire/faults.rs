//! Servers that are not there, break off, or are something else.

use hiq_core::transport::TransportErrorKind;

use crate::client::{failure, send, transport};
use crate::server::{Conversation, Server, deserted_address, response};

/// The error of an attempt whose request is answered by `script`.
fn failure_after(
    kind: TransportErrorKind,
    script: impl Fn(&mut Conversation) + Send + Sync + 'static,
) -> String {
    let server = Server::start(script);
    let message = failure(&server.url("/v1/traces"), kind);
    assert!(
        message.starts_with(&server.url("/v1/traces: ")),
        "{message}"
    );
    message
}

#[test]
fn where_nobody_listens_the_error_asks_for_a_collector() {
    let address = deserted_address();
    let message = failure(
        &format!("http://{address}/v1/traces"),
        TransportErrorKind::Connect,
    );
    let expected = format!(
        "http://{address}/v1/traces: connection refused by {address}; is a collector listening there?"
    );
    assert_eq!(message, expected);
}

#[test]
fn an_unknown_name_is_told_apart_from_a_server_that_is_down() {
    // RFC 6761, section 6.4: never a known name.
    let message = failure("http://no-such-host.invalid:4318/", TransportErrorKind::Dns);
    assert!(message.contains("no-such-host.invalid:4318"), "{message}");
}

#[test]
fn a_name_is_looked_up_and_a_server_found_behind_it() {
    let server = Server::answering(response("200 OK", "", ""));
    let url = format!("http://localhost:{}/", server.address.port());
    assert_eq!(send(&mut transport(&url), b"spans").unwrap().status, 200);
}

#[test]
fn a_server_that_comes_back_is_found_by_the_next_attempt() {
    let address = deserted_address();
    let mut transport = transport(&format!("http://{address}/"));
    send(&mut transport, b"spans").unwrap_err();
    let listener = std::net::TcpListener::bind(address).unwrap();
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let read = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(&response("200 OK", "", "back")).unwrap();
        read
    });
    assert_eq!(send(&mut transport, b"spans").unwrap().body, b"back");
    assert!(server.join().unwrap() > 0);
}

#[test]
fn a_connection_that_closes_without_an_answer_may_have_taken_the_payload() {
    let message = failure_after(TransportErrorKind::Reset, |talk| {
        talk.request();
    });
    assert!(
        message.contains("closed the connection before the reply was whole"),
        "{message}"
    );
}

#[test]
fn a_connection_that_closes_before_it_reads_anything_is_a_reset() {
    failure_after(TransportErrorKind::Reset, |_| {});
}

#[test]
fn a_connection_that_is_reset_in_the_middle_of_the_payload_is_a_reset() {
    let server = Server::start(|talk| {
        talk.head();
        talk.raw(100_000);
        // Dropped with unread bytes: the kernel sends a reset.
    });
    let mut transport = transport(&server.url("/"));
    let error = send(&mut transport, &vec![7; 30_000_000]).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Reset, "{error}");
}

#[test]
fn an_answer_that_stops_in_its_head_is_a_reset() {
    failure_after(TransportErrorKind::Reset, |talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\ncontent-le");
    });
}

#[test]
fn an_answer_shorter_than_its_length_is_a_reset() {
    failure_after(TransportErrorKind::Reset, |talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this");
    });
}

#[test]
fn a_chunked_answer_without_its_last_chunk_is_a_reset() {
    failure_after(TransportErrorKind::Reset, |talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    });
}

#[test]
fn bytes_after_an_answer_do_not_become_the_next_answer() {
    let server = Server::start(|talk| {
        talk.request();
        let first = response("200 OK", "", "first");
        talk.say([&first, &response("200 OK", "", "stray")[..]].concat());
        if talk.request().is_some() {
            talk.say(response("200 OK", "", "second"));
        }
    });
    let mut transport = transport(&server.url("/"));
    assert_eq!(send(&mut transport, b"one").unwrap().body, b"first");
    let second = send(&mut transport, b"two");
    assert!(second.is_err() || second.is_ok_and(|reply| reply.body == b"first"));
}

#[test]
fn what_is_no_http_is_said_to_be_none() {
    for words in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "220 mail.example ESMTP\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        let message = failure_after(TransportErrorKind::Protocol, move |talk| {
            talk.request();
            talk.say(words);
            talk.until_closed();
        });
        assert!(
            message.contains("does not answer as HTTP/1.1 does"),
            "{message}"
        );
        assert!(message.contains("is it the right port?"), "{message}");
    }
}

#[test]
fn a_head_without_an_end_is_not_read_for_ever() {
    failure_after(TransportErrorKind::Protocol, |talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\n");
        let mut number = 0_u32;
        while talk.say(format!("x-{number}: {}\r\n", "y".repeat(1000))) {
            number += 1;
        }
    });
}
