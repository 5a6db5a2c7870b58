//! Whatever comes back is handed on, read whole and not interpreted.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use hiq_core::config::Secret;
use hiq_core::transport::{HttpReply, TransportErrorKind};
use hiq_http::MAX_REPLY_BYTES;

use crate::client::{failure, options, send, transport};
use crate::server::{Server, response};

fn answer(bytes: impl Into<Vec<u8>>) -> HttpReply {
    let server = Server::answering(bytes);
    send(&mut transport(&server.url("/")), b"spans").unwrap()
}

#[test]
fn every_status_is_a_reply() {
    for status in [
        200, 202, 400, 401, 403, 404, 408, 413, 415, 429, 500, 501, 502, 503, 504, 599,
    ] {
        let body = format!("words about {status}");
        let reply = answer(response(&format!("{status} Whatever"), "", &body));
        assert_eq!(reply.status, status);
        assert_eq!(reply.body, body.as_bytes());
        assert_eq!(reply.retry_after, None);
    }
}

#[test]
fn a_reply_that_has_no_body_by_definition_does_not_wait_for_one() {
    for status in ["204 No Content", "304 Not Modified"] {
        let reply = answer(format!("HTTP/1.1 {status}\r\n\r\n"));
        assert_eq!(reply.body, b"");
    }
}

#[test]
fn the_content_type_is_in_lower_case_and_without_parameters() {
    for (sent, expected) in [
        (
            "content-type: Application/X-Protobuf\r\n",
            "application/x-protobuf",
        ),
        (
            "Content-Type: application/json; charset=UTF-8\r\n",
            "application/json",
        ),
        ("content-type:  text/html ;q=1\r\n", "text/html"),
        ("", ""),
        ("content-type: \r\n", ""),
    ] {
        let reply = answer(response("200 OK", sent, "{}"));
        assert_eq!(reply.content_type, expected, "{sent:?}");
    }
}

#[test]
fn a_login_page_with_status_200_is_told_by_its_type() {
    let page = "<!doctype html><title>Sign in</title>";
    let reply = answer(response("200 OK", "content-type: text/html\r\n", page));
    assert_eq!(
        (reply.status, reply.content_type.as_str()),
        (200, "text/html")
    );
    assert_eq!(reply.body, page.as_bytes());
}

#[test]
fn a_wait_is_read_as_seconds_or_as_a_date_by_the_servers_own_clock() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (headers, expected) in [
        ("retry-after: 30\r\n", seconds(30)),
        ("retry-after:   7  \r\n", seconds(7)),
        ("retry-after: 0\r\n", seconds(0)),
        ("retry-after: 1000000000\r\n", seconds(1_000_000_000)),
        (
            "retry-after: 99999999999999999999999\r\n",
            seconds(u64::MAX),
        ),
        // RFC 9110, section 5.6.7: the three forms of a date.
        (
            &format!("{date}retry-after: Sun, 06 Nov 1994 08:50:07 GMT\r\n"),
            seconds(30),
        ),
        (
            &format!("{date}retry-after: Sunday, 06-Nov-94 08:50:07 GMT\r\n"),
            seconds(30),
        ),
        (
            &format!("{date}retry-after: Sun Nov  6 08:50:07 1994\r\n"),
            seconds(30),
        ),
        (
            &format!("{date}retry-after: Sun, 06 Nov 1994 08:49:00 GMT\r\n"),
            seconds(0),
        ),
        ("retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n", seconds(0)),
        ("retry-after: -1\r\n", None),
        ("retry-after: 1.5\r\n", None),
        ("retry-after: soon\r\n", None),
        ("retry-after: \r\n", None),
        ("", None),
    ] {
        for status in ["429 Too Many Requests", "503 Service Unavailable"] {
            let reply = answer(response(status, headers, ""));
            assert_eq!(reply.retry_after, expected, "{headers:?}");
        }
    }
}

#[test]
fn a_date_is_compared_with_our_clock_when_the_server_does_not_tell_its_own() {
    #[expect(clippy::disallowed_methods, reason = "the clock to compare with")]
    let then = SystemTime::now() + Duration::from_secs(3600);
    let header = format!("retry-after: {}\r\n", httpdate::fmt_http_date(then));
    let wait = answer(response("503 Service Unavailable", &header, ""))
        .retry_after
        .unwrap();
    assert!(
        wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600),
        "{wait:?}"
    );
}

#[test]
fn a_redirect_is_handed_on_and_its_goal_sees_nothing() {
    for status in [301, 302, 303, 307, 308] {
        let goal = Server::answering(response("200 OK", "", ""));
        let location = format!("location: {}\r\n", goal.url("/stolen"));
        let server =
            Server::answering(response(&format!("{status} Elsewhere"), &location, "moved"));
        let mut options = options(&server.url("/"));
        options.headers = vec![("authorization".to_owned(), Secret::new("Bearer secret"))];
        let reply = send(&mut options.build().unwrap(), b"spans").unwrap();
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (status, b"moved".as_slice())
        );
        assert_eq!((server.connections(), goal.connections()), (1, 0));
    }
}

#[test]
fn a_chunked_reply_is_put_together() {
    let reply = answer(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(reply.body, b"abcde");
}

#[test]
fn a_reply_that_ends_with_the_connection_is_read_to_its_end() {
    let server = Server::start(|talk| {
        talk.request();
        talk.say("HTTP/1.0 200 OK\r\n\r\nto the end");
    });
    let reply = send(&mut transport(&server.url("/")), b"spans").unwrap();
    assert_eq!(reply.body, b"to the end");
}

#[test]
fn interim_replies_are_skipped() {
    let final_one = response("200 OK", "", "done");
    let whole = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        &final_one[..],
    ];
    let reply = answer(whole.concat());
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, b"done".as_slice())
    );
}

#[test]
fn an_answer_that_comes_before_the_whole_payload_was_taken_is_read() {
    // As servers do that look at Content-Length first: they answer, and read no further.
    let (stop, stopped) = channel::<()>();
    let stopped = Mutex::new(stopped);
    let server = Server::start(move |talk| {
        talk.head();
        let refusal = "connection: close\r\n";
        talk.say(response("413 Content Too Large", refusal, "too large"));
        let _ = stopped.lock().unwrap().recv();
    });
    let mut transport = transport(&server.url("/"));
    let payload = vec![7; 30_000_000];
    for number in 1..=3 {
        let reply = send(&mut transport, &payload).unwrap();
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (413, b"too large".as_slice())
        );
        assert_eq!(server.connections(), number);
    }
    drop(stop);
}

/// `{"partialSuccess":{}}`, by Python's gzip.
const GZIPPED: &str =
    "1f8b08000000000002ffab562a482c2ac94ccc092e4d4e4e2d2e56b2aaaead0500f4b5cd0615000000";

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[test]
fn a_gzipped_reply_is_decompressed() {
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        let header = format!("content-encoding: {encoding}\r\n");
        let reply = answer(response("200 OK", &header, unhex(GZIPPED)));
        assert_eq!(reply.body, b"{\"partialSuccess\":{}}");
    }
    let reply = answer(response("200 OK", "content-encoding: gzip\r\n", ""));
    assert_eq!(reply.body, b"", "nothing is nothing");
    let reply = answer(response(
        "200 OK",
        "content-encoding: identity\r\n",
        "as is",
    ));
    assert_eq!(reply.body, b"as is");
}

#[test]
fn a_reply_that_cannot_be_decompressed_is_no_protocol_of_ours() {
    let kind = TransportErrorKind::Protocol;
    let whole = unhex(GZIPPED);
    for (encoding, body, words) in [
        ("gzip", b"no gzip at all".as_slice(), "and is not"),
        ("gzip", &whole[..whole.len() - 9], "ends in its middle"),
        ("br", b"\x0b\x02\x80hello\x03", "`br`"),
    ] {
        let header = format!("content-encoding: {encoding}\r\n");
        let server = Server::answering(response("200 OK", &header, body));
        let message = failure(&server.url("/"), kind);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_reply_of_4_mib_is_read_and_one_byte_more_is_refused() {
    let whole = vec![b'x'; MAX_REPLY_BYTES + 1];
    assert_eq!(
        answer(response("200 OK", "", &whole[1..])).body.len(),
        4 << 20
    );
    let server = Server::answering(response("200 OK", "", &whole));
    let message = failure(&server.url("/"), TransportErrorKind::ReplyTooLarge);
    assert!(message.contains("4194304 bytes"), "{message}");
}

#[test]
fn a_reply_without_an_end_is_refused_at_4_mib() {
    let server = Server::start(|talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 1 << 16], b"\r\n"].concat();
        while talk.say(&chunk) {}
    });
    failure(&server.url("/"), TransportErrorKind::ReplyTooLarge);
}

#[test]
fn a_small_reply_that_decompresses_to_more_than_4_mib_is_refused_before_its_end() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let mut bomb = bomb.finish().unwrap();
    // Whoever decompresses it all complains about its end instead.
    bomb.truncate(bomb.len() - 20);
    assert!(bomb.len() < 1 << 17, "64 MiB in {} bytes", bomb.len());
    let server = Server::answering(response("200 OK", "content-encoding: gzip\r\n", bomb));
    failure(&server.url("/"), TransportErrorKind::ReplyTooLarge);
}

#[test]
fn how_far_the_servers_clock_is_ahead_is_told_where_it_sends_a_date() {
    let of = |head: &str| {
        let server = Server::answering(response("401 Unauthorized", head, ""));
        send(&mut transport(&server.url("/")), b"spans")
            .unwrap()
            .clock_ahead_seconds
    };
    // 2026-01-01 00:00:00 is 1767225600.
    #[expect(clippy::disallowed_methods, reason = "the clock to compare with")]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .cast_signed();
    let ahead = of("Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n").unwrap();
    assert!((ahead - (1_767_225_600 - now)).abs() <= 5, "{ahead}");
    assert_eq!(of("Date: yesterday\r\n"), None);
    assert_eq!(of(""), None);
}
