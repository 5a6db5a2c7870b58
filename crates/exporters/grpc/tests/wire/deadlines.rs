//! An attempt ends with its deadline, wherever that is.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use hiq_core::export::Deadline;
use hiq_core::transport::{Transport, TransportErrorKind};
use hiq_testkit::timing::{assert_says, at_once, timed};

use crate::client::{options, send, send_within, transport, within};
use crate::grpc_server::{Answer, GrpcServer, framed};
use crate::server::{Server, unanswering_address};

#[test]
fn a_server_that_does_not_answer_costs_no_more_than_the_deadline_and_sees_the_call_end() {
    for body in [Vec::new(), framed(b"half")] {
        let server = GrpcServer::start(move |_| Answer::Stall(body.clone()));
        let mut transport = transport(&server.url());
        let error = timed(300, 400, TransportErrorKind::Timeout, || {
            send_within(&mut transport, b"spans", &within(300))
        });
        assert_says(&error, "no whole reply within", ["0.3", "0.4"]);
        server.call();
        server.wait_for_close();
    }
}

#[test]
fn a_deadline_pulled_forward_ends_the_wait_for_an_answer_at_once() {
    let server = GrpcServer::start(|_| Answer::Stall(Vec::new()));
    at_once(|| {
        let url = server.url();
        let deadline = Deadline::never();
        let theirs = deadline.clone();
        let sender =
            std::thread::spawn(move || send_within(&mut transport(&url), b"spans", &theirs));
        server.call();
        let pulled = Instant::now();
        deadline.pull_forward(pulled);
        let error = sender.join().unwrap().unwrap_err();
        assert_eq!(error.kind, TransportErrorKind::Cancelled);
        server.wait_for_close();
        pulled.elapsed()
    });
}

#[test]
fn a_deadline_pulled_forward_to_a_later_moment_leaves_that_time() {
    let (answer, may_answer) = channel::<()>();
    let may_answer = std::sync::Mutex::new(may_answer);
    let server = GrpcServer::start(move |_| {
        may_answer.lock().unwrap().recv().unwrap();
        Answer::Ok(b"in time".to_vec())
    });
    let url = server.url();
    let deadline = Deadline::never();
    let theirs = deadline.clone();
    let (tell, told) = channel();
    let sender = std::thread::spawn(move || {
        let mut transport = transport(&url);
        tell.send(()).unwrap();
        send_within(&mut transport, b"spans", &theirs)
    });
    told.recv().unwrap();
    deadline.pull_forward(Instant::now() + Duration::from_secs(60));
    answer.send(()).unwrap();
    assert_eq!(sender.join().unwrap().unwrap().body, b"in time");
}

#[test]
fn a_connection_that_is_not_accepted_ends_after_the_connect_timeout() {
    let (address, _keep) = unanswering_address();
    let mut options = options(&format!("http://{address}"));
    options.connect_timeout = Duration::from_millis(400);
    let mut transport = options.build().unwrap();
    let error = timed(400, 500, TransportErrorKind::Connect, || {
        send(&mut transport, b"spans")
    });
    assert_says(
        &error,
        "did not begin to speak HTTP/2 within",
        ["0.4", "0.5"],
    );
}

#[test]
fn a_server_that_accepts_and_says_nothing_gets_no_spans() {
    let server = Server::start(|talk| {
        let seen = talk.raw(24);
        assert_eq!(seen, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        talk.until_closed();
    });
    let mut options = options(&server.url(""));
    options.connect_timeout = Duration::from_secs(600);
    let mut transport = options.build().unwrap();
    timed(300, 400, TransportErrorKind::Connect, || {
        send_within(&mut transport, b"spans", &within(300))
    });
    server.wait_for_close();
}

#[test]
fn a_deadline_that_is_over_already_sends_nothing() {
    let server = GrpcServer::answering(b"");
    let mut transport = transport(&server.url());
    let error = send_within(&mut transport, b"spans", &within(0)).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Connect, "{error}");
    transport.shutdown(&within(0));
    assert_eq!(server.further_calls(), 0);
}

#[test]
fn after_a_timeout_the_next_attempt_gets_a_connection_and_an_answer_of_its_own() {
    let server = GrpcServer::start(|call| match call.number {
        0 => Answer::Stall(framed(b"to the first")),
        _ => Answer::Ok(b"to the second".to_vec()),
    });
    let mut transport = transport(&server.url());
    send_within(&mut transport, b"first", &within(200)).unwrap_err();
    let reply = send(&mut transport, b"second").unwrap();
    assert_eq!(reply.body, b"to the second");
    assert_eq!(server.connections(), 2);
}
