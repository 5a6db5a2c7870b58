//! From the first tree to the exit: what starts when, and how long the end may take.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers as well")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hiq_core::batch::TreeBatch;
use hiq_core::config::PipelineSettings;
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::DropReason;
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::{Custody, LedgerSnapshot};
use hiq_core::pipeline::{Pipeline, PipelineBuilder};
use hiq_core::pool;
use hiq_core::status::StatusSink;
use hiq_testkit::lines::{LineEncoder, span_ids};
use hiq_testkit::script::{Answer, Script};
use hiq_testkit::timing::within;
use hiq_testkit::trees::tree_of;
use hiq_testkit::{PATIENCE, Watched, assert_balances, recorded_status};

type BoxedExporter = Box<dyn Exporter<TreeBatch>>;

/// Builds exporters to the far side of `script`.
fn to(
    script: &Script,
    options: DeliveryOptions,
) -> impl Fn() -> Result<BoxedExporter, Infallible> + use<> {
    let script = script.clone();
    move || {
        let exporter =
            EncodedExporter::new(LineEncoder::new(), script.transport(), options.clone());
        Ok(Box::new(exporter) as BoxedExporter)
    }
}

/// Waits as long as the policy allows.
fn patiently() -> DeliveryOptions {
    let mut options = DeliveryOptions::default();
    options.retry.jitter = || 1.0;
    options
}

fn at_once() -> DeliveryOptions {
    let mut options = DeliveryOptions::default();
    options.retry.jitter = || 0.0;
    options
}

fn silent() -> PipelineBuilder {
    Pipeline::builder().status(StatusSink::silent())
}

fn one_exporter(script: &Script, options: DeliveryOptions) -> Pipeline {
    silent().exporter("lines", to(script, options)).build()
}

fn ledger(pipeline: &Pipeline, name: &str) -> LedgerSnapshot {
    let ledger = pipeline.stats().ledger(name).unwrap().clone();
    assert_balances(&ledger);
    ledger
}

/// The room that an exit has beyond its deadline.
const SLACK: Duration = Duration::from_millis(250);

#[test]
fn nothing_starts_before_the_first_tree() {
    let built = Arc::new(AtomicUsize::new(0));
    let builds = Arc::clone(&built);
    let script = Script::accepting();
    let build = to(&script, at_once());
    let build = move || {
        builds.fetch_add(1, Ordering::SeqCst);
        build()
    };
    let pipeline = silent().exporter("lazy", build).build();
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(
        (built.load(Ordering::SeqCst), threads_named("hiq-lazy")),
        (0, 0)
    );
    pipeline.offer(tree_of(1).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(
        (built.load(Ordering::SeqCst), threads_named("hiq-lazy")),
        (1, 1)
    );
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    assert_eq!(threads_named("hiq-lazy"), 0);
    assert_eq!(ledger(&pipeline, "lazy").exported, 1);
}

/// Threads of this process with this name, by the kernel's list.
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|comm| comm.trim() == name).count()
}

#[test]
fn started_by_hand_an_exporter_is_built_without_a_tree() {
    let built = Watched::new(0);
    let builds = Arc::clone(&built);
    let build = to(&Script::accepting(), at_once());
    let build = move || {
        builds.with(|built| *built += 1);
        build()
    };
    let pipeline = silent().exporter("eager", build).build();
    pipeline.start();
    built.wait_for(|built| (*built == 1).then_some(()));
    assert!(pipeline.shutdown(PATIENCE).is_complete());
}

#[test]
fn a_flush_does_not_wait_for_the_schedule_and_says_whether_all_arrived() {
    let script = Script::accepting();
    let pipeline = one_exporter(&script, at_once());
    let (tree, ids) = tree_of(3);
    pipeline.offer(tree);
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(span_ids(&script.attempts()[0].body), ids);
    let report = pipeline.shutdown(PATIENCE);
    assert!(report.is_complete());
    assert_eq!(report.exporters()[0].ledger.exported, 3);
}

#[test]
fn a_flush_to_a_dead_far_side_ends_in_time_and_keeps_the_spans() {
    let timeout = Duration::from_millis(50);
    within(timeout + SLACK, || {
        let script = Script::refusing_connections();
        let pipeline = one_exporter(&script, patiently());
        pipeline.offer(tree_of(3).0);
        let before = Instant::now();
        let report = pipeline.flush(timeout);
        let took = before.elapsed();
        assert!(!report.is_complete());
        assert_eq!(ledger(&pipeline, "lines").unsettled(), 3);
        let _ = pipeline.shutdown(Duration::ZERO);
        took
    });
}

#[test]
fn a_flush_cuts_the_backoff_short() {
    let script = Script::answers([Answer::Error(
        hiq_core::transport::TransportErrorKind::Connect,
    )]);
    let mut options = patiently();
    (options.retry.initial, options.retry.max) =
        (Duration::from_secs(3_600), Duration::from_secs(3_600));
    options.max_age = Duration::from_secs(7_200);
    let pipeline = one_exporter(&script, options);
    pipeline.offer(tree_of(3).0);
    assert!(!pipeline.flush(Duration::from_millis(1)).is_complete());
    script.wait_for_attempts(1);
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(ledger(&pipeline, "lines").exported, 3);
    assert!(pipeline.shutdown(PATIENCE).is_complete());
}

#[test]
fn a_dead_far_side_and_a_full_queue_do_not_delay_the_exit() {
    let timeout = Duration::from_millis(300);
    within(timeout + SLACK, || {
        let script = Script::refusing_connections();
        let mut options = at_once();
        options.retry.initial = Duration::from_millis(1);
        options.retry.jitter = || 1.0;
        options.retry.max = Duration::from_millis(5);
        let pipeline = one_exporter(&script, options);
        for _ in 0..70 {
            pipeline.offer(tree_of(1_000).0);
        }
        script.wait_for_attempts(1);
        let before = Instant::now();
        let report = pipeline.shutdown(timeout);
        assert!(before.elapsed() > timeout / 2, "it tries until the end");
        let took = before.elapsed();
        assert!(!report.is_complete());
        let end = ledger(&pipeline, "lines");
        assert_eq!(end.offered, 70_000);
        assert_eq!(end.unsettled(), 0);
        assert_eq!(
            end.dropped[DropReason::Shutdown] + end.dropped[DropReason::QueueFull],
            70_000
        );
        assert!(end.dropped[DropReason::Shutdown] >= 64_000);
        took
    });
}

#[test]
fn shutdown_interrupts_a_backoff_for_one_last_attempt_and_does_not_wait_in_vain() {
    let script = Script::refusing_connections();
    let mut options = patiently();
    options.retry.initial = Duration::from_secs(600);
    options.retry.max = Duration::from_secs(600);
    options.max_age = Duration::from_secs(3_600);
    let pipeline = one_exporter(&script, options);
    pipeline.offer(tree_of(2).0);
    assert!(!pipeline.flush(Duration::ZERO).is_complete());
    script.wait_for_attempts(1);
    let before = Instant::now();
    let report = pipeline.shutdown(PATIENCE);
    assert!(
        before.elapsed() < PATIENCE / 2,
        "nothing more would have happened"
    );
    assert!(!report.is_complete());
    assert!(script.attempts().len() >= 2, "one last attempt");
    assert_eq!(ledger(&pipeline, "lines").dropped[DropReason::Shutdown], 2);
}

#[test]
fn shutdown_delivers_what_is_queued() {
    let script = Script::answers([Answer::status(503), Answer::status(503)]);
    let pipeline = one_exporter(&script, at_once());
    for _ in 0..20 {
        pipeline.offer(tree_of(100).0);
    }
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    assert_eq!(ledger(&pipeline, "lines").exported, 2_000);
}

#[test]
fn a_stalled_far_side_hears_of_the_shutdown() {
    let timeout = Duration::from_millis(100);
    within(timeout + SLACK, || {
        let script = Script::new(|_| Answer::Stall);
        let mut options = patiently();
        options.timeout = Some(Duration::from_secs(600));
        let pipeline = one_exporter(&script, options);
        pipeline.offer(tree_of(2).0);
        let _ = pipeline.flush(Duration::ZERO);
        script.wait_for_attempts(1);
        let before = Instant::now();
        let _ = pipeline.shutdown(timeout);
        let took = before.elapsed();
        assert_eq!(ledger(&pipeline, "lines").dropped[DropReason::Shutdown], 2);
        took
    });
}

#[test]
fn an_exporter_that_hangs_is_left_behind_and_what_it_holds_is_counted_once() {
    let timeout = Duration::from_millis(50);
    within(timeout + SLACK, || {
        let (release, hang) = mpsc::channel::<()>();
        let returned = Watched::new(false);
        let returning = Arc::clone(&returned);
        let script = Script::new(move |_| {
            let _ = hang.recv();
            returning.with(|returned| *returned = true);
            Answer::status(200)
        });
        let pipeline = one_exporter(&script, at_once());
        pipeline.offer(tree_of(5).0);
        let _ = pipeline.flush(Duration::ZERO);
        script.wait_for_attempts(1);
        pipeline.offer(tree_of(7).0);
        let before = Instant::now();
        let report = pipeline.shutdown(timeout);
        let took = before.elapsed();
        assert!(!report.is_complete());
        let end = ledger(&pipeline, "lines");
        assert_eq!(end.dropped[DropReason::Shutdown], 12);
        release.send(()).unwrap();
        returned.wait_for(|returned| returned.then_some(()));
        assert_eq!(
            ledger(&pipeline, "lines"),
            end,
            "what it does later changes nothing"
        );
        took
    });
}

#[test]
fn a_dead_exporter_does_not_keep_a_healthy_one_from_its_work() {
    let timeout = Duration::from_millis(1_000);
    within(timeout + SLACK, || {
        let (dead, healthy) = (Script::new(|_| Answer::Stall), Script::accepting());
        let pipeline = silent()
            .exporter("dead", to(&dead, at_once()))
            .exporter("healthy", to(&healthy, at_once()))
            .build();
        for _ in 0..10 {
            pipeline.offer(tree_of(512).0);
        }
        healthy.wait_for_attempts(10);
        let before = Instant::now();
        let report = pipeline.shutdown(timeout);
        let took = before.elapsed();
        assert_eq!(
            report
                .exporters()
                .iter()
                .map(|e| e.complete)
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(ledger(&pipeline, "healthy").exported, 5_120);
        assert_eq!(
            ledger(&pipeline, "dead").dropped[DropReason::Shutdown],
            5_120
        );
        took
    });
}

#[test]
fn trees_offered_after_the_shutdown_are_counted() {
    let pipeline = silent()
        .exporter("late", to(&Script::accepting(), at_once()))
        .build();
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    pipeline.offer(tree_of(4).0);
    let end = ledger(&pipeline, "late");
    assert_eq!((end.offered, end.dropped[DropReason::Shutdown]), (4, 4));
    assert_eq!(threads_named("hiq-late"), 0, "nothing starts any more");
    let again = pipeline.shutdown(PATIENCE);
    assert!(!again.is_complete(), "these were lost");
}

#[test]
fn the_last_handle_takes_the_pipeline_down_with_it() {
    let script = Script::accepting();
    let pipeline = one_exporter(&script, at_once());
    let other = pipeline.clone();
    pipeline.offer(tree_of(6).0);
    drop(pipeline);
    drop(other);
    assert_eq!(script.attempts()[0].items, 6);
}

#[test]
fn an_exporter_can_be_attached_and_detached_while_the_pipeline_runs() {
    let (first, second) = (Script::accepting(), Script::accepting());
    let pipeline = silent().exporter("first", to(&first, at_once())).build();
    pipeline.offer(tree_of(1).0);
    let id = pipeline.attach("second", to(&second, at_once()));
    pipeline.offer(tree_of(2).0);
    let report = pipeline.detach(id, PATIENCE).unwrap();
    assert!(report.complete);
    assert_eq!((&*report.name, report.ledger.exported), ("second", 2));
    pipeline.offer(tree_of(4).0);
    assert!(pipeline.detach(id, PATIENCE).is_none());
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    assert_eq!(ledger(&pipeline, "first").exported, 7);
    assert_eq!(pipeline.stats().exporters().len(), 1);
}

#[test]
fn an_exporter_that_cannot_be_built_loses_its_spans_aloud_and_is_asked_again() {
    let (sink, lines) = recorded_status();
    let script = Script::accepting();
    let working = to(&script, at_once());
    let attempts = AtomicUsize::new(0);
    let build = move || match attempts.fetch_add(1, Ordering::SeqCst) {
        // Once with the worker, once with the first batch.
        0 | 1 => Err("no such certificate: ca.pem"),
        _ => working().map_err(|never| match never {}),
    };
    let pipeline = Pipeline::builder()
        .status(sink)
        .exporter("lines", build)
        .build();
    pipeline.offer(tree_of(3).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(
        ledger(&pipeline, "lines").dropped[DropReason::ExporterFailed],
        3
    );
    pipeline.offer(tree_of(2).0);
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    assert_eq!(ledger(&pipeline, "lines").exported, 2);
    let lines = lines.with(|lines| lines.clone());
    assert_eq!(
        lines,
        ["hiq: lines exporter: cannot start: no such certificate: ca.pem"]
    );
}

/// Panics at the first batch.
#[derive(Debug)]
struct Defective;

impl Exporter<TreeBatch> for Defective {
    fn export(&mut self, _: Arc<TreeBatch>, _custody: Custody, _: &Deadline) -> Progress {
        panic!("a defect of an exporter");
    }
}

#[test]
fn an_exporter_that_panics_costs_its_batch_and_is_built_anew() {
    let built = AtomicUsize::new(0);
    let script = Script::accepting();
    let working = to(&script, at_once());
    let build = move || match built.fetch_add(1, Ordering::SeqCst) {
        0 => Ok(Box::new(Defective) as BoxedExporter),
        _ => working(),
    };
    let pipeline = silent().exporter("defective", build).build();
    pipeline.offer(tree_of(3).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(
        ledger(&pipeline, "defective").dropped[DropReason::ExporterFailed],
        3
    );
    pipeline.offer(tree_of(2).0);
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    assert_eq!(ledger(&pipeline, "defective").exported, 2);
}

/// Says that it is done and keeps what it was given.
#[derive(Debug, Default)]
struct Forgetful(Vec<Custody>);

impl Exporter<TreeBatch> for Forgetful {
    fn export(&mut self, _: Arc<TreeBatch>, custody: Custody, _: &Deadline) -> Progress {
        self.0.push(custody);
        Progress::Done
    }
}

#[test]
fn an_exporter_that_never_settles_stops_neither_the_flow_nor_the_count() {
    let build = || Ok::<_, Infallible>(Box::new(Forgetful::default()) as BoxedExporter);
    let pipeline = silent().exporter("forgetful", build).build();
    pipeline.offer(tree_of(3).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    pipeline.offer(tree_of(2).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(ledger(&pipeline, "forgetful").in_flight, 5);
    let _ = pipeline.shutdown(PATIENCE);
    let end = ledger(&pipeline, "forgetful");
    assert_eq!(end.dropped[DropReason::ExporterFailed], 5);
}

#[test]
fn a_tree_that_was_exported_is_filled_again() {
    let pipeline = one_exporter(&Script::accepting(), at_once());
    for _ in 0..100 {
        pipeline.offer(tree_of(2).0);
    }
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    // Another test may hold the pool's lock for a moment.
    let used = (0..1_000_000).find_map(|_| pool::take());
    assert!(used.is_some_and(|tree| tree.is_empty()));
}

#[test]
fn spans_that_were_sampled_out_are_counted_apart() {
    let pipeline = one_exporter(&Script::accepting(), at_once());
    pipeline.sample_out(9);
    pipeline.offer(tree_of(1).0);
    let _ = pipeline.shutdown(PATIENCE);
    let end = ledger(&pipeline, "lines");
    assert_eq!((end.sampled_out, end.offered, end.exported), (9, 1, 1));
}

#[test]
fn a_worker_takes_no_signals() {
    let masks = Watched::new(Vec::new());
    let seen = Arc::clone(&masks);
    let script = Script::new(move |_| {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:\t"))
            .unwrap()
            .to_owned();
        seen.with(|masks| masks.push(blocked));
        Answer::status(200)
    });
    let pipeline = one_exporter(&script, at_once());
    pipeline.offer(tree_of(1).0);
    let _ = pipeline.shutdown(PATIENCE);
    let mask = masks.with(|masks| u64::from_str_radix(&masks[0], 16).unwrap());
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGPROF, libc::SIGCHLD] {
        assert!(
            mask & 1 << (signal - 1) != 0,
            "signal {signal} is not blocked: {mask:x}"
        );
    }
    let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:\t"))
        .unwrap()
        .to_owned();
    assert_eq!(
        u64::from_str_radix(&own, 16).unwrap() & 1 << (libc::SIGTERM - 1),
        0,
        "ours is as before"
    );
}

#[test]
fn the_last_word_is_what_was_lost_and_not_that_it_waits() {
    let (sink, lines) = recorded_status();
    let script = Script::refusing_connections();
    let pipeline = Pipeline::builder()
        .status(sink)
        .exporter("lines", to(&script, at_once()))
        .build();
    pipeline.offer(tree_of(12).0);
    let _ = pipeline.flush(Duration::ZERO);
    script.wait_for_attempts(50);
    let _ = pipeline.shutdown(Duration::from_millis(10));
    let lines = lines.with(|lines| lines.clone());
    assert_eq!(
        lines,
        ["hiq: lines exporter: 12 spans lost at shutdown: Connect by script"]
    );
}

#[test]
fn who_is_told_of_starts_is_told_before_the_first_offer_returns_and_once_for_each_worker() {
    let script = Script::accepting();
    let starts = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&starts);
    let pipeline = silent()
        .exporter("lines", to(&script, at_once()))
        .exporter("more", to(&script, at_once()))
        .on_start(move || {
            told.fetch_add(1, Ordering::SeqCst);
        })
        .build();
    assert_eq!(starts.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        pipeline.offer(tree_of(1).0);
        assert_eq!(starts.load(Ordering::SeqCst), 2);
    }
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    assert_balances(pipeline.stats().ledger("lines").unwrap());
}

#[test]
fn a_settings_schedule_reaches_the_queue() {
    let script = Script::accepting();
    let mut settings = PipelineSettings::default();
    settings.schedule_delay = Duration::ZERO;
    let pipeline = silent()
        .settings(settings)
        .exporter("lines", to(&script, at_once()))
        .build();
    pipeline.offer(tree_of(1).0);
    script.wait_for_attempts(1);
    assert!(pipeline.shutdown(pipeline.shutdown_timeout()).is_complete());
    ledger(&pipeline, "lines");
}
