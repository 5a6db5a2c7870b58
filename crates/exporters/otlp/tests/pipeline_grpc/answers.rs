//! Every answer that a collector may give, and what it costs.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::collector::{Answer, Collector};
use crate::delivery::{run_to, run_with};

const SPANS: u64 = 20;

#[test]
fn codes_that_the_specification_calls_retryable_are_tried_again() {
    let codes = [
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unavailable,
        Code::DataLoss,
    ];
    for code in codes {
        let collector = Collector::first(Answer::Status(Status::new(code, "not now")));
        let run = run_to(&collector.url());
        run.offer(20);
        let ledger = run.settled();
        assert_eq!(
            (ledger.exported, ledger.possible_repeats),
            (SPANS, 0),
            "{code:?}"
        );
        let [first, second] = [collector.seen().ids, collector.seen().ids];
        assert_eq!(first, second, "{code:?}");
        assert_eq!(collector.further().len(), 0);
        assert_eq!(
            collector.connections(),
            1,
            "an answer is no reason to reconnect"
        );
    }
}

#[test]
fn other_codes_are_final() {
    let codes = [
        Code::Unknown,
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Unimplemented,
        Code::Internal,
        Code::Unauthenticated,
    ];
    for code in codes {
        let collector = Collector::start(move |_| Answer::Status(Status::new(code, "never")));
        let run = run_to(&collector.url());
        run.offer(20);
        let ledger = run.settled();
        assert_eq!(
            (ledger.rejected, ledger.unsettled()),
            (SPANS, 0),
            "{code:?}"
        );
        assert_eq!(collector.further().len(), 1, "{code:?}");
        let line = run.first_line();
        assert!(
            line.contains(&collector.url()) && line.contains(": never"),
            "{line}"
        );
    }
}

#[test]
fn an_exhausted_server_that_says_when_is_asked_again_then() {
    let wait = Duration::from_millis(300);
    let details = ErrorDetails::with_retry_info(Some(wait));
    let status = Status::with_error_details(Code::ResourceExhausted, "busy", details);
    let (tell, requests) = channel();
    let collector = Collector::start(move |number| {
        let _ = tell.send(Instant::now());
        match number {
            0 => Answer::Status(status.clone()),
            _ => Answer::Full,
        }
    });
    let run = run_to(&collector.url());
    run.offer(20);
    run.begin();
    // By the server's clock, which it looked at before it asked.
    let (first, second) = (requests.recv().unwrap(), requests.recv().unwrap());
    assert!(second - first >= wait * 9 / 10, "{:?}", second - first);
    assert_eq!(run.settled().exported, SPANS);
}

#[test]
fn a_pause_that_a_server_asked_for_does_not_hold_up_the_exit() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(60)));
    let status = Status::with_error_details(Code::Unavailable, "later", details);
    let collector = Collector::start(move |_| Answer::Status(status.clone()));
    let run = run_to(&collector.url());
    run.offer(20);
    run.begin();
    let line = run.first_line();
    assert!(line.contains("answered UNAVAILABLE: later"), "{line}");
    let began = Instant::now();
    let ledger = run.ended();
    assert_eq!(
        ledger.dropped[hiq_core::encode::DropReason::Shutdown],
        SPANS
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn partial_success_counts_what_was_refused_and_is_not_tried_again() {
    let partial = Answer::Partial {
        rejected: 5,
        words: "five are too old",
    };
    let collector = Collector::first(partial);
    let run = run_to(&collector.url());
    run.offer(20);
    let ledger = run.settled();
    assert_eq!((ledger.exported, ledger.rejected), (SPANS - 5, 5));
    assert_eq!(collector.further().len(), 1);
    let line = run.first_line();
    assert!(
        line.contains("rejected 5 of 20: five are too old"),
        "{line}"
    );
}

#[test]
fn a_warning_of_a_server_that_took_everything_is_passed_on() {
    let warning = Answer::Partial {
        rejected: 0,
        words: "use a newer version",
    };
    let collector = Collector::first(warning);
    let run = run_to(&collector.url());
    run.offer(20);
    assert_eq!(run.settled().exported, SPANS);
    assert!(run.first_line().contains("use a newer version"));
}

#[test]
fn credentials_that_are_not_accepted_are_never_shown() {
    let refusal = Status::unauthenticated("no access with Bearer c4n4ry-t0ken");
    let collector = Collector::start(move |_| Answer::Status(refusal.clone()));
    let headers = (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=Bearer%20c4n4ry-t0ken",
    );
    let run = run_with(&collector.url(), &[headers], |_| {}, |_| {});
    run.offer(20);
    assert_eq!(run.settled().rejected, SPANS);
    let sent = collector.seen().metadata;
    assert_eq!(sent.get("authorization").unwrap(), "Bearer c4n4ry-t0ken");
    let line = run.first_line();
    assert!(line.contains("UNAUTHENTICATED"), "{line}");
    assert!(line.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{line}");
    assert!(!line.contains("c4n4ry"), "{line}");
}
