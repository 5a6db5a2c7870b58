//! Far sides that do not answer, or not in gRPC: spans are kept as long as somebody waits, and counted when nobody can.

use std::time::{Duration, Instant};

use hiq_core::config::OtlpSettings;
use hiq_core::encode::DropReason;

use crate::authority::{Authority, Identity};
use crate::collector::{Answer, Collector, Manners};
use crate::delivery::{run_to, run_with};
use crate::server::{Server, deserted_address, response};

const SPANS: u64 = 20;

/// What is said of a far side that never takes anything; the spans are lost at the exit, which is not held up.
fn never_delivered(endpoint: &str) -> String {
    let run = run_to(endpoint);
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
    let line = never_delivered(&format!("http://{}", deserted_address()));
    assert!(line.contains("is a collector listening there?"), "{line}");
}

#[test]
fn a_server_that_the_system_does_not_trust_gets_nothing() {
    let authority = Authority::new("somebody");
    let identity = Identity::of(&authority.sign("localhost", |_| {}));
    let manners = Manners {
        tls: Some(identity.config()),
        ..Manners::default()
    };
    let collector = Collector::with(manners, |_| Answer::Full);
    let line = never_delivered(&format!("https://localhost:{}", collector.address.port()));
    assert!(line.contains("certificate"), "{line}");
    assert_eq!(collector.further().len(), 0);
}

#[test]
fn https_to_a_plain_port_is_told() {
    let collector = Collector::start(|_| Answer::Full);
    let line = never_delivered(&format!("https://{}", collector.address));
    assert!(line.contains("write http://"), "{line}");
}

#[test]
fn grpc_on_a_port_of_http_is_given_up_with_the_fix() {
    let server = Server::start(|talk| {
        talk.raw(24);
        talk.say(response("400 Bad Request", "connection: close\r\n", ""));
        talk.until_closed();
    });
    let run = run_to(&server.url(""));
    run.offer(20);
    let ledger = run.settled();
    assert_eq!(ledger.dropped[DropReason::Refused], SPANS);
    let line = run.first_line();
    assert!(
        line.contains("speaks HTTP/1, not gRPC") && line.contains("4317"),
        "{line}"
    );
}

#[test]
fn after_a_break_the_next_attempt_delivers_and_counts_the_possible_repeat() {
    let collector = Collector::first(Answer::HangUp);
    let run = run_to(&collector.url());
    run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.possible_repeats), (SPANS, SPANS));
    assert_eq!(collector.further().len(), 2);
    assert_eq!(collector.connections(), 2);
}

#[test]
fn a_server_that_stalls_holds_up_neither_the_next_series_nor_the_exit() {
    let collector = Collector::start(|_| Answer::Stall);
    let in_series_of_300_ms = |settings: &mut OtlpSettings| {
        settings.timeout = Some(Duration::from_millis(300));
    };
    let run = run_with(&collector.url(), &[], in_series_of_300_ms, |_| {});
    run.offer(20);
    run.begin();
    let timeout = collector.seen().metadata;
    let timeout = timeout.get("grpc-timeout").unwrap().to_str().unwrap();
    let millis: u64 = timeout.strip_suffix('m').unwrap().parse().unwrap();
    assert!((1..=300).contains(&millis), "{timeout}");
    collector.seen();
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
}

#[test]
fn a_long_timeout_does_not_hold_up_the_exit_either() {
    let collector = Collector::start(|_| Answer::Stall);
    let run = run_with(
        &collector.url(),
        &[("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")],
        |_| {},
        |_| {},
    );
    run.offer(20);
    run.begin();
    collector.seen();
    let began = Instant::now();
    assert_eq!(run.ended().dropped[DropReason::Shutdown], SPANS);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
