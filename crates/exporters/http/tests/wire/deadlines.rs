//! An attempt ends with its deadline, wherever that is.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use hiq_core::export::Deadline;
use hiq_core::transport::TransportErrorKind;
use hiq_testkit::timing::{assert_says, at_once, timed};

use crate::client::{options, send, send_within, transport};
use crate::server::{Server, fill_queue, narrow_listener, response, unanswering_address};

fn within(millis: u64) -> Deadline {
    Deadline::never().within(Duration::from_millis(millis))
}

/// A server that reads requests and says nothing.
fn silent() -> Server {
    Server::start(|talk| {
        talk.request();
        talk.until_closed();
    })
}

#[test]
fn a_server_that_does_not_answer_costs_no_more_than_the_deadline() {
    let server = silent();
    let mut transport = transport(&server.url("/"));
    let error = timed(500, 600, TransportErrorKind::Timeout, || {
        send_within(&mut transport, b"spans", &within(500))
    });
    assert!(error.kind.may_have_arrived());
    assert_says(&error, "within", ["0.5", "0.6"]);
    server.wait_for_close();
}

#[test]
fn a_reply_of_one_byte_a_second_ends_at_the_deadline() {
    let (stop, stopped) = channel::<()>();
    let stopped = Mutex::new(stopped);
    let server = Server::start(move |talk| {
        talk.request();
        let reply = response("200 OK", "", [b'x'; 100]);
        for byte in reply.chunks(1) {
            if !talk.say(byte) || !tick(&stopped.lock().unwrap()) {
                return;
            }
        }
    });
    let mut transport = transport(&server.url("/"));
    timed(2500, 2750, TransportErrorKind::Timeout, || {
        send_within(&mut transport, b"spans", &within(2500))
    });
    drop(stop);
}

/// The pace of a slow server; false when the test is over.
fn tick(stopped: &Receiver<()>) -> bool {
    stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout)
}

#[test]
fn a_body_that_is_not_taken_ends_at_the_deadline() {
    let (stop, stopped) = channel::<()>();
    let stopped = Mutex::new(stopped);
    let server = Server::start(move |talk| {
        talk.head();
        let _ = stopped.lock().unwrap().recv();
    });
    let mut transport = transport(&server.url("/"));
    let payload = vec![7; 30_000_000];
    timed(400, 500, TransportErrorKind::Timeout, || {
        send_within(&mut transport, &payload, &within(400))
    });
    drop(stop);
}

#[test]
fn a_connection_that_is_not_accepted_ends_after_the_connect_timeout() {
    let (address, _keep) = unanswering_address();
    let mut options = options(&format!("http://{address}/"));
    options.connect_timeout = Duration::from_millis(400);
    let mut transport = options.build().unwrap();
    let error = timed(400, 500, TransportErrorKind::Connect, || {
        send(&mut transport, b"spans")
    });
    assert!(!error.kind.may_have_arrived());
    assert_says(&error, "did not accept a connection within", ["0.4", "0.5"]);
}

#[test]
fn a_connection_that_is_not_accepted_ends_with_the_deadline_when_that_is_sooner() {
    let (address, _keep) = unanswering_address();
    let mut transport = transport(&format!("http://{address}/"));
    timed(300, 400, TransportErrorKind::Connect, || {
        send_within(&mut transport, b"spans", &within(300))
    });
}

#[test]
fn what_the_last_attempt_sent_is_not_held_against_the_next() {
    let listener = narrow_listener();
    let mut transport = transport(&format!("http://{}/", listener.local_addr().unwrap()));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let read = stream.read(&mut [0; 4096]).unwrap();
        let last = response("200 OK", "connection: close\r\n", "");
        stream.write_all(&last).unwrap();
        assert!(read > 0);
        listener
    });
    send(&mut transport, b"spans").unwrap();
    let listener = server.join().unwrap();
    let _queue = fill_queue(&listener);
    let error = send_within(&mut transport, b"spans", &within(300)).unwrap_err();
    assert_eq!(error.kind, TransportErrorKind::Connect, "nothing was sent");
}

#[test]
fn a_deadline_pulled_forward_ends_the_wait_for_an_answer_at_once() {
    let server = silent();
    at_once(|| {
        let url = server.url("/");
        let deadline = Deadline::never();
        let theirs = deadline.clone();
        let sender = std::thread::spawn(move || {
            let result = send_within(&mut transport(&url), b"spans", &theirs);
            (result, Instant::now())
        });
        server.request();
        let pulled = Instant::now();
        deadline.pull_forward(pulled);
        let (result, ended) = sender.join().unwrap();
        assert_eq!(result.unwrap_err().kind, TransportErrorKind::Cancelled);
        server.wait_for_close();
        ended - pulled
    });
}

#[test]
fn a_deadline_pulled_forward_to_a_later_moment_leaves_that_time() {
    let (answer, may_answer) = channel::<()>();
    let may_answer = Mutex::new(may_answer);
    let server = Server::start(move |talk| {
        talk.request();
        may_answer.lock().unwrap().recv().unwrap();
        talk.say(response("200 OK", "", "in time"));
    });
    let url = server.url("/");
    let deadline = Deadline::never();
    let theirs = deadline.clone();
    let sender = std::thread::spawn(move || send_within(&mut transport(&url), b"spans", &theirs));
    server.request();
    deadline.pull_forward(Instant::now() + Duration::from_secs(60));
    answer.send(()).unwrap();
    assert_eq!(sender.join().unwrap().unwrap().body, b"in time");
}

#[test]
fn a_deadline_pulled_forward_ends_connecting_at_once() {
    let (address, _keep) = unanswering_address();
    at_once(|| {
        let deadline = Deadline::never();
        let theirs = deadline.clone();
        let (tell, told) = channel();
        let sender = std::thread::spawn(move || {
            let mut options = options(&format!("http://{address}/"));
            options.connect_timeout = Duration::from_secs(600);
            let mut transport = options.build().unwrap();
            tell.send(()).unwrap();
            send_within(&mut transport, b"spans", &theirs)
        });
        told.recv().unwrap();
        let pulled = Instant::now();
        deadline.pull_forward(pulled);
        let error = sender.join().unwrap().unwrap_err();
        assert_eq!(error.kind, TransportErrorKind::Cancelled);
        pulled.elapsed()
    });
}

#[test]
fn after_a_timeout_the_next_attempt_gets_a_connection_and_an_answer_of_its_own() {
    let (stop, stopped) = channel::<()>();
    let stopped = Mutex::new(stopped);
    let server = Server::start(move |talk| {
        let request = talk.request().unwrap();
        if request.body == b"first" {
            let _ = stopped.lock().unwrap().recv();
            talk.say(response("200 OK", "", "to the first"));
        } else {
            talk.say(response("200 OK", "", "to the second"));
        }
    });
    let mut transport = transport(&server.url("/"));
    send_within(&mut transport, b"first", &within(200)).unwrap_err();
    drop(stop);
    let reply = send(&mut transport, b"second").unwrap();
    assert_eq!(reply.body, b"to the second");
    assert_eq!(server.connections(), 2);
}
