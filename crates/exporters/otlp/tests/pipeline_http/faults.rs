//! Far sides that do not answer, or not in HTTP: spans are kept as long as somebody waits, and counted when nobody can.

use std::time::{Duration, Instant};

use hiq_core::encode::DropReason;

use crate::authority::{Authority, Identity};
use crate::run::Run;
use crate::server::{Server, deserted_address, response};

const SPANS: u64 = 20;

/// What is said of a far side that never takes anything; the spans are lost at the exit, which is not held up.
fn never_delivered(endpoint: &str) -> String {
    let run = Run::to(endpoint);
    run.offer(20);
    run.begin();
    let line = run.first_line();
    assert!(
        line.starts_with("hiq: otlp exporter: 20 spans wait: "),
        "{line}"
    );
    let ledger = run.ledger();
    assert_eq!((ledger.offered, ledger.unsettled()), (SPANS, SPANS));
    assert_eq!(run.ended().dropped[DropReason::Shutdown], SPANS);
    line
}

#[test]
fn where_nobody_listens_the_line_asks_for_a_collector() {
    let line = never_delivered(&format!("http://{}/v1/traces", deserted_address()));
    assert!(line.contains("is a collector listening there?"), "{line}");
}

#[test]
fn https_to_a_plain_port_is_told() {
    let server = Server::answering(response("400 Bad Request", "", ""));
    let line = never_delivered(&format!("https://{}/v1/traces", server.address));
    assert!(line.contains("http://"), "{line}");
}

/// What such a port answers is no HTTP, and will be none the next time.
#[test]
fn http_to_a_tls_port_is_given_up_with_the_fix() {
    let authority = Authority::new("somebody");
    let identity = Identity::of(&authority.sign("localhost", |_| {}));
    let server = identity.serve(|talk| {
        talk.request();
    });
    let line = given_up(&server);
    assert!(line.contains("write https://"), "{line}");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_told() {
    let authority = Authority::new("somebody");
    let identity = Identity::of(&authority.sign("localhost", |_| {}));
    let server = identity.serve(|talk| {
        talk.request();
    });
    let line = never_delivered(&format!(
        "https://localhost:{}/v1/traces",
        server.address.port()
    ));
    assert!(line.contains("certificate"), "{line}");
}

#[test]
fn tls_with_a_certificate_from_a_file_delivers() {
    let authority = Authority::new("somebody");
    let identity = Identity::of(&authority.sign("localhost", |_| {}));
    let server = identity.serve(|talk| {
        while talk.request().is_some() {
            talk.say(response("200 OK", "", ""));
        }
    });
    let endpoint = format!("https://localhost:{}/v1/traces", server.address.port());
    let trust = |settings: &mut hiq_core::config::OtlpSettings| {
        settings.certificate = Some(authority.certificate_file());
    };
    let run = Run::with(&endpoint, trust, |_| {});
    run.offer(20);
    assert_eq!(run.settled().exported, SPANS);
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again_and_may_be_a_repeat() {
    let server = Server::start(|talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
    });
    let address = server.address;
    let run = Run::to(&server.url("/v1/traces"));
    run.offer(20);
    run.begin();
    let line = run.first_line();
    assert!(
        line.contains(&format!("http://{address}/v1/traces")),
        "{line}"
    );
    server.request();
    server.request();
    let ledger = run.ledger();
    assert_eq!((ledger.unsettled(), ledger.exported), (SPANS, 0));
    assert_eq!(run.ended().dropped[DropReason::Shutdown], SPANS);
}

#[test]
fn after_a_break_the_next_attempt_delivers_and_counts_the_possible_repeat() {
    let (broken, whole) = (
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        response("200 OK", "", ""),
    );
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |talk| {
        while talk.request().is_some() {
            if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                talk.say(broken);
                return;
            }
            talk.say(&whole);
        }
    });
    let run = Run::to(&server.url("/v1/traces"));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.possible_repeats), (SPANS, SPANS));
}

#[test]
fn a_server_that_stalls_holds_up_neither_the_next_series_nor_the_exit() {
    let server = Server::start(|talk| {
        talk.request();
        talk.until_closed();
    });
    let in_series_of_300_ms = |settings: &mut hiq_core::config::OtlpSettings| {
        settings.timeout = Some(Duration::from_millis(300));
    };
    let run = Run::with(&server.url("/v1/traces"), in_series_of_300_ms, |_| {});
    run.offer(20);
    run.begin();
    server.request();
    server.wait_for_close();
    server.request();
    assert_eq!(
        run.ledger().unsettled(),
        SPANS,
        "a series that ended is not the end"
    );
    let began = Instant::now();
    assert_eq!(run.ended().dropped[DropReason::Shutdown], SPANS);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    server.wait_for_close();
}

#[test]
fn a_byte_now_and_then_does_not_keep_an_attempt_alive() {
    let server = Server::start(|talk| {
        talk.request();
        let began = Instant::now();
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
            .iter()
            .chain([&b'x'; 400])
        {
            if !talk.say([*byte]) || began.elapsed() > Duration::from_secs(20) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        talk.until_closed();
    });
    let in_series_of_400_ms = |settings: &mut hiq_core::config::OtlpSettings| {
        settings.timeout = Some(Duration::from_millis(400));
    };
    let run = Run::with(&server.url("/v1/traces"), in_series_of_400_ms, |_| {});
    run.offer(20);
    let began = Instant::now();
    run.begin();
    server.request();
    let line = run.first_line();
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(line.contains("spans wait"), "{line}");
    assert_eq!(run.ended().dropped[DropReason::Shutdown], SPANS);
}

#[test]
fn a_server_that_speaks_something_else_is_given_up() {
    let line = given_up(&Server::answering("SSH-2.0-OpenSSH_9.9\r\n"));
    assert!(line.contains("is it the right port?"), "{line}");
}

/// What is said of a server whose answer nobody can understand.
fn given_up(server: &Server) -> String {
    let run = Run::to(&server.url("/v1/traces"));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!(ledger.dropped[DropReason::Refused], SPANS);
    let line = run.first_line();
    assert!(line.contains(&server.url("/v1/traces")), "{line}");
    line
}

#[test]
fn a_pause_that_a_server_asked_for_does_not_hold_up_the_exit() {
    let server = Server::answering(response("503 Later", "retry-after: 60\r\n", ""));
    let run = Run::to(&server.url("/v1/traces"));
    run.offer(20);
    run.begin();
    let line = run.first_line();
    assert!(line.contains("503 service unavailable"), "{line}");
    let began = Instant::now();
    assert_eq!(run.ended().dropped[DropReason::Shutdown], SPANS);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
