//! The reader: snapshots leave in time, newer ones take the place of older ones, and every point is accounted for.
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use hiq_core::config::{Env, MetricSettings};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::DropReason;
use hiq_core::export::Exporter;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::MetricBatch;
use hiq_core::metric::reader::{MetricReader, MetricReaderBuilder};
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::transport::TransportErrorKind;
use hiq_testkit::metrics::PointLineEncoder;
use hiq_testkit::script::{Answer, Script};
use hiq_testkit::{PATIENCE, assert_balances, recorded_status};

fn every(interval: Duration) -> MetricSettings {
    let mut settings = MetricSettings::default();
    settings.export_interval = interval;
    settings
}

const NEVER: Duration = Duration::from_secs(3_600);

/// A reader whose exporter sends lines to `script`, and how often that was built.
fn reading(
    registry: &Registry,
    script: &Script,
    interval: Duration,
) -> (MetricReaderBuilder, Arc<AtomicUsize>) {
    let (script, built) = (script.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&built);
    let builder = move || -> Result<_, Infallible> {
        count.fetch_add(1, Ordering::Relaxed);
        let mut options = DeliveryOptions::default();
        options.retry.jitter = || 0.0;
        let exporter = EncodedExporter::new(PointLineEncoder, script.transport(), options);
        Ok(Box::new(exporter) as Box<dyn Exporter<MetricBatch>>)
    };
    let reader = MetricReader::builder(registry.clone())
        .settings(every(interval))
        .exporter("lines", CollectOptions::default(), builder);
    (reader, built)
}

fn texts(script: &Script) -> Vec<String> {
    let text = |attempt: &hiq_testkit::script::Attempt| String::from_utf8(attempt.body.clone());
    let attempts = script.attempts();
    attempts
        .iter()
        .map(|attempt| text(attempt).unwrap())
        .collect()
}

#[track_caller]
fn finish(reader: &MetricReader) -> LedgerSnapshot {
    reader.shutdown(PATIENCE);
    let stats = reader.stats();
    let ledger = stats.ledger("lines").unwrap().clone();
    assert_balances(&ledger);
    assert_eq!(ledger.unsettled(), 0, "{ledger:?}");
    ledger
}

#[test]
fn nothing_starts_before_the_first_series_and_a_last_snapshot_leaves_at_the_end() {
    let (registry, script) = (Registry::new(), Script::accepting());
    let (builder, built) = reading(&registry, &script, NEVER);
    let reader = builder.build();
    let counter = registry.counter("c").unwrap();
    assert_eq!(built.load(Ordering::Relaxed), 0);
    counter.plain().add(3);
    let ledger = finish(&reader);
    assert_eq!(built.load(Ordering::Relaxed), 1);
    assert_eq!(texts(&script), ["c 3\n"]);
    assert_eq!((ledger.offered, ledger.exported), (1, 1));
}

#[test]
fn a_reader_of_series_that_exist_starts_at_once() {
    let (registry, script) = (Registry::new(), Script::accepting());
    registry.counter("c").unwrap().plain().add(1);
    let (builder, _) = reading(&registry, &script, Duration::from_millis(1));
    let reader = builder.build();
    script.wait_for_attempts(1);
    finish(&reader);
}

#[test]
fn a_snapshot_leaves_every_interval_without_being_asked_for() {
    let (registry, script) = (Registry::new(), Script::accepting());
    let (builder, _) = reading(&registry, &script, Duration::from_millis(20));
    let start = Instant::now();
    let reader = builder.build();
    let counter = registry.counter("c").unwrap().plain();
    counter.add(1);
    script.wait_for_attempts(3);
    assert!(
        start.elapsed() >= Duration::from_millis(55),
        "{:?}",
        start.elapsed()
    );
    counter.add(1);
    let ledger = finish(&reader);
    let texts = texts(&script);
    assert_eq!(texts.first().unwrap(), "c 1\n");
    assert_eq!(texts.last().unwrap(), "c 2\n");
    assert_eq!(ledger.exported, texts.len() as u64);
}

#[test]
fn a_flush_sends_what_is_true_now() {
    let (registry, script) = (Registry::new(), Script::accepting());
    let (builder, _) = reading(&registry, &script, NEVER);
    let reader = builder.build();
    let counter = registry.counter("c").unwrap().plain();
    for expected in 1..4 {
        counter.add(1);
        assert!(reader.flush(PATIENCE).is_complete());
        assert_eq!(texts(&script).len(), expected);
        assert_eq!(texts(&script)[expected - 1], format!("c {expected}\n"));
    }
    finish(&reader);
}

#[test]
fn a_newer_snapshot_takes_the_place_of_one_that_waits() {
    let registry = Registry::new();
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    // The first attempt hangs until it is let go.
    let script = Script::new(move |attempt| {
        if attempt.number == 0 {
            held.lock().unwrap().recv().unwrap();
            return Answer::Error(TransportErrorKind::Reset);
        }
        match attempt.number {
            1 => Answer::retry_after(503, Duration::from_millis(60)),
            2 => Answer::status(503),
            _ => Answer::status(200),
        }
    });
    let (builder, _) = reading(&registry, &script, Duration::from_millis(1));
    let reader = builder.status(recorded_status().0).build();
    let counter = registry.counter("c").unwrap().plain();
    counter.add(1);
    script.wait_for_attempts(1);
    counter.add(41);
    release.send(()).unwrap();
    script.wait_for_attempts(5);
    let ledger = finish(&reader);
    let texts = texts(&script);
    assert_eq!(
        texts[..4],
        ["c 1\n"; 4],
        "the same bytes until they are taken"
    );
    assert!(texts[4..].iter().all(|text| text == "c 42\n"), "{texts:?}");
    assert_eq!(
        ledger.offered,
        ledger.exported + ledger.dropped[DropReason::Superseded]
    );
}

#[test]
fn a_dead_backend_does_not_hold_up_the_end() {
    let (registry, script) = (Registry::new(), Script::refusing_connections());
    let (builder, _) = reading(&registry, &script, NEVER);
    let reader = builder.status(recorded_status().0).build();
    registry.counter("c").unwrap().plain().add(1);
    let start = Instant::now();
    assert!(!reader.flush(Duration::from_millis(50)).is_complete());
    assert!(!reader.shutdown(Duration::from_millis(300)).is_complete());
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let ledger = reader.stats().ledger("lines").unwrap().clone();
    assert_balances(&ledger);
    assert_eq!((ledger.unsettled(), ledger.exported), (0, 0));
    assert!(ledger.dropped[DropReason::Shutdown] >= 1, "{ledger:?}");
}

#[test]
fn an_exporter_that_cannot_be_built_loses_points_by_count_and_says_so() {
    let registry = Registry::new();
    let (sink, lines) = recorded_status();
    let reader = MetricReader::builder(registry.clone())
        .settings(every(NEVER))
        .status(sink)
        .exporter("lines", CollectOptions::default(), || Err("no such host"))
        .build();
    registry.counter("c").unwrap().plain().add(1);
    reader.flush(PATIENCE);
    let ledger = finish(&reader);
    assert_eq!(ledger.offered, ledger.dropped[DropReason::ExporterFailed]);
    assert!(ledger.offered >= 1);
    let said = lines.with(|lines| lines.join("\n"));
    assert!(said.contains("cannot start: no such host"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
#[expect(unsafe_code, reason = "fork")]
fn a_forked_child_sends_its_own_counts_with_a_worker_of_its_own() {
    let (registry, script) = (Registry::new(), Script::accepting());
    let (builder, _) = reading(&registry, &script, NEVER);
    let reader = builder.build();
    let counter = registry.counter("c").unwrap().plain();
    counter.add(100);
    assert!(reader.flush(PATIENCE).is_complete());
    // SAFETY: the child runs what must work there, and leaves by `_exit` or is ended by the alarm.
    let status = unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(20);
                counter.add(7);
                let complete = reader.shutdown(Duration::from_secs(10)).is_complete();
                let ledger = reader.stats().ledger("lines").unwrap().clone();
                let sent = texts(&script).last().is_some_and(|text| text == "c 7\n");
                let held = complete && sent && ledger.balances() && ledger.exported == 1;
                libc::_exit(i32::from(!held))
            }
            pid => {
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                status
            }
        }
    };
    assert_eq!(status, 0, "the child did not hold");
    assert_eq!(finish(&reader).exported, 2);
    assert_eq!(texts(&script), ["c 100\n", "c 100\n"]);
}

#[test]
fn the_environment_says_how_often_and_how_long() {
    let env = Env::from_pairs([
        ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "0"),
        ("HIQ_EXPORTER_METRICS", "False"),
        ("HIQ_METRIC_MAX_SERIES", "12"),
        ("HIQ_METRIC_MAX_AGE", "none"),
    ]);
    let (settings, warnings) = MetricSettings::from_env(&env);
    assert_eq!(settings.export_interval, Duration::from_millis(1_500));
    assert_eq!(settings.export_timeout, None);
    assert_eq!(settings.exporter_metrics, Some(false));
    assert_eq!(
        (settings.max_series, settings.max_age),
        (12, Duration::from_secs(600))
    );
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].place, "HIQ_METRIC_MAX_AGE");
    let (unset, _) = MetricSettings::from_env(&Env::default());
    assert_eq!(unset, MetricSettings::default());
    assert_eq!(unset.export_interval, Duration::from_secs(60));
    assert_eq!(unset.export_timeout, Some(Duration::from_secs(30)));
}
