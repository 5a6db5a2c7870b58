//! What a call looks like on the wire.

use hiq_core::config::Secret;
use hiq_core::transport::{Payload, Transport};

use crate::client::{METHOD, options, send, send_within, submit, transport, within};
use crate::grpc_server::{Answer, GrpcServer};

#[test]
fn a_payload_is_one_framed_message_with_the_headers_that_grpc_wants() {
    let server = GrpcServer::answering(b"thanks");
    let mut options = options(&server.url());
    options.user_agent = "shop/1.0".to_owned();
    options.headers = vec![("api-key".to_owned(), Secret::new("for the server"))];
    let reply = send(&mut options.build().unwrap(), b"spans").unwrap();
    assert_eq!((reply.code, &reply.body[..]), (0, &b"thanks"[..]));
    assert_eq!(*reply.url, *server.url());

    let call = server.call();
    assert_eq!((call.flag, &call.message[..]), (0, &b"spans"[..]));
    assert_eq!(call.path, METHOD);
    assert_eq!(call.authority, server.address.to_string());
    let expected = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "shop/1.0"),
        ("api-key", "for the server"),
        ("grpc-encoding", ""),
        ("grpc-accept-encoding", "identity,gzip"),
    ];
    for (name, value) in expected {
        assert_eq!(call.header(name), value, "{name}");
    }
}

#[test]
fn the_server_is_told_how_long_the_client_waits() {
    let server = GrpcServer::answering(b"");
    let mut transport = transport(&server.url());
    send_within(&mut transport, b"spans", &within(30_000)).unwrap();
    let call = server.call();
    let timeout = call.header("grpc-timeout");
    let millis: u64 = timeout.strip_suffix('m').unwrap().parse().unwrap();
    assert!((20_000..=30_000).contains(&millis), "{timeout}");
    let forever = hiq_core::export::Deadline::never();
    send_within(&mut transport, b"spans", &forever).unwrap();
    assert_eq!(server.call().header("grpc-timeout"), "");
}

#[test]
fn what_is_gzip_already_travels_as_grpcs_own_compression() {
    let server = GrpcServer::answering(b"");
    let mut payload = Payload::new(b"zipped", "application/x-protobuf", 1);
    payload.content_encoding = Some("gzip");
    submit(&mut transport(&server.url()), &payload, &within(60_000)).unwrap();
    let call = server.call();
    assert_eq!((call.flag, &call.message[..]), (1, &b"zipped"[..]));
    assert_eq!(call.header("grpc-encoding"), "gzip");
    assert_eq!(call.header("content-encoding"), "");
}

#[test]
fn a_large_message_passes_unchanged_and_its_buffer_is_used_again() {
    let server = GrpcServer::answering(b"");
    let mut transport = transport(&server.url());
    let large: Vec<u8> = (0..4_000_000_u32).map(|at| (at % 249) as u8).collect();
    for message in [&large[..], b"small", &large[..1000]] {
        send(&mut transport, message).unwrap();
        assert!(server.call().message == message);
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn one_connection_serves_all_calls_and_ends_with_goodbye() {
    let server = GrpcServer::answering(b"");
    let mut transport = transport(&server.url());
    for number in 0..20 {
        send(&mut transport, b"spans").unwrap();
        assert_eq!(server.call().number, number);
    }
    transport.shutdown(&within(1_000));
    assert!(server.wait_for_close());
    assert_eq!(server.connections(), 1);
}

#[test]
fn nothing_is_opened_before_the_first_payload() {
    let server = GrpcServer::start(|_| Answer::HangUp);
    let mut transport = transport(&server.url());
    transport.shutdown(&within(1_000));
    drop(transport);
    assert_eq!(server.connections(), 0);
}
