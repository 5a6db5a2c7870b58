//! Statuses, wherever they stand, and answers that are none.

use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use h2::Reason;
use hiq_core::transport::{GrpcReply, TransportErrorKind};

use crate::client::{failure, send, transport};
use crate::grpc_server::{Answer, GrpcServer, Head, framed, grpc_head, status};

fn reply_to(answer: Answer) -> GrpcReply {
    let server = GrpcServer::start(move |_| answer.clone());
    send(&mut transport(&server.url()), b"spans").unwrap()
}

fn failure_after(answer: Answer, kind: TransportErrorKind) -> String {
    let server = GrpcServer::start(move |_| answer.clone());
    failure(&server.url(), kind)
}

fn with(mut head: Head, more: Head) -> Head {
    head.extend(more);
    head
}

#[test]
fn every_status_is_handed_over_with_its_words() {
    for code in 1..=16 {
        let reply = reply_to(Answer::Status(code, "no%20room%3A %E2%9C%93"));
        assert_eq!((reply.code, reply.message.as_str()), (code, "no room: ✓"));
        assert_eq!(reply.retry_delay, None);
    }
    // What is no code is UNKNOWN.
    let odd = Answer::Raw(with(grpc_head(), status("many")), Vec::new(), None);
    assert_eq!(reply_to(odd).code, 2);
}

#[test]
fn a_status_may_stand_behind_a_message_or_in_the_head() {
    let behind = |code| Answer::Raw(grpc_head(), framed(b"half done"), Some(status(code)));
    assert_eq!(reply_to(behind("0")).body, b"half done");
    assert_eq!(reply_to(behind("9")).code, 9);
    let nothing = Answer::Raw(grpc_head(), Vec::new(), Some(status("0")));
    assert_eq!(reply_to(nothing).body, b"");
    let in_head = Answer::Raw(with(grpc_head(), status("0")), framed(b"early"), None);
    assert_eq!(reply_to(in_head).body, b"early");
}

/// By hand from `google/rpc/status.proto`, `error_details.proto` and `duration.proto`.
fn details(seconds: u8, nanos: [u8; 5]) -> Vec<u8> {
    let duration = [&[0x08, seconds, 0x10][..], &nanos].concat();
    let info = [
        &[0x0a, u8::try_from(duration.len()).unwrap()][..],
        &duration,
    ]
    .concat();
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let any = [
        &[0x0a, u8::try_from(url.len()).unwrap()][..],
        url,
        &[0x12, u8::try_from(info.len()).unwrap()],
        &info,
    ]
    .concat();
    let other = b"\x1a\x09\x0a\x07a.b/C.D";
    let words = b"\x08\x0e\x12\x03why";
    [
        &words[..],
        other,
        &[0x1a, u8::try_from(any.len()).unwrap()],
        &any,
    ]
    .concat()
}

#[test]
fn retry_info_is_the_servers_wish() {
    // 500,000,000 as a varint.
    let details = details(7, [0x80, 0xca, 0xb5, 0xee, 0x01]);
    for text in [
        BASE64_STANDARD.encode(&details),
        BASE64_STANDARD_NO_PAD.encode(&details),
    ] {
        let detailed = with(status("8"), vec![("grpc-status-details-bin", text)]);
        for answer in [
            Answer::Raw(with(grpc_head(), detailed.clone()), Vec::new(), None),
            Answer::Raw(grpc_head(), Vec::new(), Some(detailed)),
        ] {
            let reply = reply_to(answer);
            assert_eq!(reply.code, 8);
            assert_eq!(reply.retry_delay, Some(Duration::from_millis(7_500)));
        }
    }
}

#[test]
fn details_that_cannot_be_read_say_nothing() {
    let whole = details(7, [0x80, 0xca, 0xb5, 0xee, 0x01]);
    let mut broken: Vec<String> = (0..whole.len())
        .map(|length| BASE64_STANDARD.encode(&whole[..length]))
        .collect();
    broken.extend(["?".to_owned(), "====".to_owned(), "a".to_owned()]);
    let server = GrpcServer::start(move |call| {
        let text = vec![("grpc-status-details-bin", broken[call.number / 2].clone())];
        let detailed = with(status("14"), text);
        if call.number.is_multiple_of(2) {
            Answer::Raw(with(grpc_head(), detailed), Vec::new(), None)
        } else {
            Answer::Raw(grpc_head(), Vec::new(), Some(detailed))
        }
    });
    let mut transport = transport(&server.url());
    for _ in 0..2 * (whole.len() + 3) {
        let reply = send(&mut transport, b"spans").unwrap();
        assert_eq!(reply.code, 14);
        assert!(
            reply
                .retry_delay
                .is_none_or(|delay| delay <= Duration::from_millis(7_500))
        );
    }
    assert_eq!(server.connections(), 1);
}

/// The table of `doc/http-grpc-status-mapping.md` of gRPC.
#[test]
fn a_status_of_http_alone_becomes_the_one_that_grpc_assigns_to_it() {
    let cases = [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (500, 2),
        (418, 2),
    ];
    for (http, grpc) in cases {
        let head = vec![
            (":status", http.to_string()),
            ("content-type", "text/html".to_owned()),
        ];
        let reply = reply_to(Answer::Raw(head, b"<html>".to_vec(), None));
        assert_eq!(reply.code, grpc, "{http}");
        assert!(
            reply.message.contains(&http.to_string()),
            "{}",
            reply.message
        );
    }
}

#[test]
fn a_web_page_is_no_answer() {
    let head = vec![
        (":status", "200".to_owned()),
        ("content-type", "text/html; charset=utf-8".to_owned()),
    ];
    let page = Answer::Raw(head, b"<html>welcome</html>".to_vec(), None);
    let message = failure_after(page, TransportErrorKind::Protocol);
    assert!(
        message.contains("text/html") && message.contains("right port"),
        "{message}"
    );
}

#[test]
fn an_answer_without_an_end_may_have_been_one() {
    let cut = [
        Answer::Raw(grpc_head(), framed(b"ok"), None),
        Answer::Raw(grpc_head(), framed(b"ok")[..6].to_vec(), None),
        Answer::Raw(grpc_head(), Vec::new(), Some(Vec::new())),
        Answer::Break(framed(b"ok"), Reason::INTERNAL_ERROR),
        Answer::Break(Vec::new(), Reason::CANCEL),
        Answer::Reset(Reason::INTERNAL_ERROR),
        Answer::Reset(Reason::ENHANCE_YOUR_CALM),
        Answer::HangUp,
    ];
    for answer in cut {
        let shown = format!("{answer:?}");
        let message = failure_after(answer, TransportErrorKind::Reset);
        assert!(message.contains("127.0.0.1:"), "{shown}: {message}");
    }
}

#[test]
fn a_call_that_was_refused_unseen_did_not_arrive() {
    let message = failure_after(
        Answer::Reset(Reason::REFUSED_STREAM),
        TransportErrorKind::Connect,
    );
    assert!(
        message.contains("refused the call before taking it"),
        "{message}"
    );
}

#[test]
fn a_message_beyond_four_mebibytes_is_not_read() {
    let length = u32::try_from((4 << 20) + 1).unwrap().to_be_bytes();
    let huge = [&[0], &length[..], &[7; 1000]].concat();
    let answer = Answer::Raw(grpc_head(), huge, Some(status("0")));
    failure_after(answer, TransportErrorKind::ReplyTooLarge);
}

/// A message as gRPC's own compression has it.
fn zipped(message: &[u8]) -> Answer {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(message).unwrap();
    let mut frame = framed(&gzip.finish().unwrap());
    frame[0] = 1;
    let head = with(grpc_head(), vec![("grpc-encoding", "gzip".to_owned())]);
    Answer::Raw(head, frame, Some(status("0")))
}

#[test]
fn a_compressed_message_is_read_as_far_as_it_is_not_a_bomb() {
    assert_eq!(reply_to(zipped(b"thanks")).body, b"thanks");
    let bomb = zipped(&vec![0; (4 << 20) + 1]);
    failure_after(bomb, TransportErrorKind::ReplyTooLarge);
}

#[test]
fn a_frame_that_breaks_the_rules_is_no_answer() {
    for frame in [&b"\x01\0\0\0\x02ok"[..], b"\x09\0\0\0\x02ok"] {
        let answer = Answer::Raw(grpc_head(), frame.to_vec(), None);
        let message = failure_after(answer, TransportErrorKind::Protocol);
        assert!(message.contains("a broken message"), "{message}");
    }
}
