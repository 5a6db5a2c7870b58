//! Delivery with a spool: what is on disk before it is sent, and outlives the process.
#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers as well")]

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use hiq_core::batch::TreeBatch;
use hiq_core::deliver::{Compression, DeliveryOptions, EncodedExporter};
use hiq_core::encode::{Cut, DropReason};
use hiq_core::export::{Exporter, Health, Progress};
use hiq_core::id::SpanId;
use hiq_core::pipeline::Pipeline;
use hiq_core::spool::{Record, Spool, SpoolLimits};
use hiq_core::status::StatusSink;
use hiq_core::transport::TransportErrorKind;
use hiq_testkit::delivery::Delivery;
use hiq_testkit::lines::{LineEncoder, span_ids};
use hiq_testkit::script::{Answer, Attempt, Script};
use hiq_testkit::trees::tree_of;
use hiq_testkit::{PATIENCE, assert_balances};

fn spool_in(dir: &Path, limits: SpoolLimits) -> Spool {
    Spool::open(dir, "lines", limits).unwrap()
}

/// One span a payload, no waits.
fn span_by_span() -> DeliveryOptions {
    let mut options = DeliveryOptions::default();
    options.retry.jitter = || 0.0;
    options.cut = Cut::Span;
    options
}

fn patiently() -> DeliveryOptions {
    let mut options = span_by_span();
    options.retry.jitter = || 1.0;
    options
}

fn ids_of(attempts: &[Attempt]) -> Vec<SpanId> {
    attempts
        .iter()
        .flat_map(|attempt| span_ids(&attempt.body))
        .collect()
}

/// The segments of a spool, wherever they lie under `dir`.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let nested = paths.flat_map(|path| {
        if path.is_dir() {
            segments(&path)
        } else {
            vec![path]
        }
    });
    nested
        .filter(|path| path.extension().is_some_and(|ending| ending == "spool"))
        .collect()
}

fn is_on_disk(dir: &Path, bytes: &[u8]) -> bool {
    let content = |path: PathBuf| fs::read(path).unwrap();
    segments(dir)
        .into_iter()
        .map(content)
        .any(|file| file.windows(bytes.len()).any(|part| part == bytes))
}

#[test]
fn a_payload_is_on_disk_before_its_first_attempt_and_gone_when_it_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let script = Script::new(move |attempt| {
        Answer::status(if is_on_disk(&path, &attempt.body) {
            200
        } else {
            500
        })
    });
    let mut options = span_by_span();
    options.compression = Compression::Gzip;
    let spool = spool_in(dir.path(), SpoolLimits::default());
    let mut delivery = Delivery::new(&script, options).with_spool(spool);
    let ledger = delivery.deliver(tree_of(20).0);
    assert_eq!((ledger.exported, ledger.rejected), (20, 0));
    drop(delivery);
    assert_eq!(segments(dir.path()), [] as [PathBuf; 0]);
}

#[test]
fn spans_of_an_outage_outlive_the_process_and_arrive_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline_to = |script: &Script, options: DeliveryOptions| {
        let (script, dir) = (script.clone(), dir.path().to_owned());
        let build = move || {
            let exporter =
                EncodedExporter::new(LineEncoder::new(), script.transport(), options.clone());
            let spool = spool_in(&dir, SpoolLimits::default());
            Ok::<_, Infallible>(Box::new(exporter.with_spool(spool)) as Box<dyn Exporter<TreeBatch>>)
        };
        Pipeline::builder()
            .status(StatusSink::silent())
            .exporter("lines", build)
            .build()
    };
    let mut offered = Vec::new();
    let dead = pipeline_to(&Script::refusing_connections(), patiently());
    for _ in 0..10 {
        let (tree, ids) = tree_of(30);
        dead.offer(tree);
        offered.extend(ids);
        assert!(
            dead.flush(PATIENCE).is_complete(),
            "on disk is as good as sent"
        );
    }
    // The flushes have brought the time between attempts to 30 s: none but one more falls into these 20.
    let (before, timeout) = (Instant::now(), Duration::from_secs(20));
    let report = dead.shutdown(timeout);
    assert!(report.is_complete());
    assert!(before.elapsed() < timeout / 2);
    assert!(dead.flush(PATIENCE).is_complete(), "nobody is left");
    let end = &report.exporters()[0].ledger;
    assert_balances(end);
    assert_eq!(
        (end.offered, end.spooled, end.dropped.total()),
        (300, 300, 0)
    );

    let healed = Script::accepting();
    let next = pipeline_to(&healed, patiently());
    next.start();
    healed.wait_for_attempts(300);
    let report = next.shutdown(PATIENCE);
    let end = &report.exporters()[0].ledger;
    assert_balances(end);
    assert_eq!((end.recovered, end.exported, end.spooled), (300, 300, 0));
    assert_eq!(ids_of(&healed.attempts()), offered);
    assert_eq!(segments(dir.path()), [] as [PathBuf; 0]);
}

/// A spool in `dir` with one tree of 30 spans that an earlier process could not deliver.
fn leave_thirty_spans_in(dir: &Path) {
    let dead = Script::refusing_connections();
    let mut delivery =
        Delivery::new(&dead, patiently()).with_spool(spool_in(dir, SpoolLimits::default()));
    delivery.export(tree_of(30).0);
    assert_eq!(delivery.ledger.snapshot().spooled, 30);
}

#[test]
fn a_flush_waits_for_what_an_earlier_process_left() {
    let dir = tempfile::tempdir().unwrap();
    leave_thirty_spans_in(dir.path());
    let (script, path) = (Script::accepting(), dir.path().to_owned());
    let (let_build, may_build) = mpsc::channel::<()>();
    let (transport_of, may_build) = (script.clone(), Mutex::new(may_build));
    let pipeline =
        Pipeline::builder()
            .status(StatusSink::silent())
            .exporter("lines", move || {
                may_build.lock().unwrap().recv().unwrap();
                let transport = transport_of.transport();
                let exporter = EncodedExporter::new(LineEncoder::new(), transport, patiently());
                let spool = spool_in(&path, SpoolLimits::default());
                Ok::<_, Infallible>(
                    Box::new(exporter.with_spool(spool)) as Box<dyn Exporter<TreeBatch>>
                )
            })
            .build();
    assert!(pipeline.flush(PATIENCE).is_complete(), "nothing has begun");
    pipeline.start();
    let early = pipeline.flush(Duration::from_millis(1));
    assert!(!early.is_complete(), "the exporter has not begun");
    let_build.send(()).unwrap();
    let report = pipeline.flush(PATIENCE);
    assert!(report.is_complete());
    let ledger = &report.exporters()[0].ledger;
    assert_eq!((ledger.recovered, ledger.exported), (30, 30));
    assert_eq!(script.attempts().len(), 30);
    let wake_ups = pipeline.stats().exporters()[0].wake_ups;
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(pipeline.stats().exporters()[0].wake_ups, wake_ups);
    let report = pipeline.shutdown(PATIENCE);
    assert_balances(&report.exporters()[0].ledger);
    assert!(pipeline.flush(PATIENCE).is_complete(), "nothing is left");
}

#[test]
fn a_flush_sends_what_the_spool_holds_without_waiting_for_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    leave_thirty_spans_in(dir.path());
    let script = Script::answers([Answer::Error(TransportErrorKind::Connect)]);
    let (transport_of, path) = (script.clone(), dir.path().to_owned());
    let pipeline =
        Pipeline::builder()
            .status(StatusSink::silent())
            .exporter("lines", move || {
                let mut options = patiently();
                options.retry.initial = 10 * PATIENCE;
                options.retry.max = 10 * PATIENCE;
                let exporter =
                    EncodedExporter::new(LineEncoder::new(), transport_of.transport(), options);
                let spool = spool_in(&path, SpoolLimits::default());
                Ok::<_, Infallible>(
                    Box::new(exporter.with_spool(spool)) as Box<dyn Exporter<TreeBatch>>
                )
            })
            .build();
    pipeline.start();
    script.wait_for_attempts(1);
    let report = pipeline.flush(PATIENCE);
    assert!(report.is_complete());
    let ledger = &report.exporters()[0].ledger;
    assert_eq!((ledger.recovered, ledger.exported), (30, 30));
    assert_balances(&pipeline.shutdown(PATIENCE).exporters()[0].ledger);
}

#[test]
fn an_outage_within_a_process_costs_no_span_and_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let connect = || Answer::Error(TransportErrorKind::Connect);
    let script = Script::answers((0..3).map(|_| connect()));
    let spool = spool_in(dir.path(), SpoolLimits::default());
    let mut delivery = Delivery::new(&script, patiently()).with_spool(spool);
    let mut offered = Vec::new();
    for _ in 0..10 {
        let (tree, ids) = tree_of(30);
        offered.extend(ids);
        let progress = delivery.export(tree);
        assert!(
            progress.has_room(),
            "{progress:?}: the next batch goes to disk as well"
        );
    }
    assert_eq!(delivery.ledger.snapshot().spooled, 300);
    delivery.wait_after_flush();
    delivery.wait_after_flush();
    let progress = delivery.exporter.flush(&delivery.deadline);
    let ledger = delivery.finish(progress);
    assert_eq!((ledger.exported, ledger.recovered), (300, 0));
    assert_eq!(
        ids_of(&script.attempts()[3..]),
        offered,
        "those read back from disk as well"
    );
}

#[test]
fn a_full_spool_counts_what_it_cannot_take() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::refusing_connections();
    let mut limits = SpoolLimits::default();
    limits.max_bytes = 8_000;
    let mut delivery = Delivery::new(&script, patiently()).with_spool(spool_in(dir.path(), limits));
    delivery.export(tree_of(200).0);
    let ledger = delivery.ledger.snapshot();
    let full = ledger.dropped[DropReason::SpoolFull];
    assert!(full > 0 && ledger.spooled > 0, "{ledger:?}");
    assert_eq!(full + ledger.spooled, 200);
    let on_disk: u64 = segments(dir.path())
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(on_disk <= 8_000, "{on_disk} bytes");
}

#[test]
fn when_the_disk_fails_spans_wait_in_memory_and_are_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("spool");
    let script = Script::accepting();
    let mut delivery = Delivery::new(&script, span_by_span())
        .with_spool(spool_in(&folder, SpoolLimits::default()));
    // A file where the folder was: nothing can be made in it.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    let ledger = delivery.deliver(tree_of(5).0);
    assert_eq!((ledger.exported, ledger.dropped.total()), (5, 0));
    assert!(
        matches!(delivery.exporter.health(), Health::Warned(why) if why.contains("memory only"))
    );
    // It comes back.
    fs::remove_file(&folder).unwrap();
    assert_eq!(delivery.deliver(tree_of(5).0).exported, 10);
    assert_eq!(delivery.exporter.health(), Health::Fine);
}

#[test]
fn a_failing_disk_does_not_let_memory_fill() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("spool");
    let script = Script::refusing_connections();
    let mut delivery =
        Delivery::new(&script, patiently()).with_spool(spool_in(&folder, SpoolLimits::default()));
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    let progress = delivery.export(tree_of(5).0);
    assert!(
        matches!(progress, Progress::Waiting { room: false, .. }),
        "{progress:?}"
    );
    assert_eq!(delivery.ledger.snapshot().in_flight, 5);
}

#[test]
fn a_record_that_was_damaged_on_disk_is_counted_and_the_others_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::answers([Answer::status(503)]);
    let spool = spool_in(dir.path(), SpoolLimits::default());
    let mut delivery = Delivery::new(&script, patiently()).with_spool(spool);
    let (tree, ids) = tree_of(100);
    delivery.export(tree);
    let victim = ids[90].to_string();
    for path in segments(dir.path()) {
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes.windows(16).position(|part| part == victim.as_bytes());
        if let Some(place) = found {
            bytes[place] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let progress = delivery.exporter.flush(&delivery.deadline);
    let ledger = delivery.finish(progress);
    assert_eq!(
        (ledger.exported, ledger.dropped[DropReason::SpoolCorrupt]),
        (99, 1)
    );
    assert!(!ids_of(&script.attempts()).contains(&ids[90]));
}

#[test]
fn what_is_divided_stays_on_disk_until_its_parts_are_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, ids) = tree_of(512);
    let (bad, path) = (ids[77], dir.path().to_owned());
    let script = Script::new(move |attempt| {
        let sent = span_ids(&attempt.body);
        assert!(is_on_disk(&path, &attempt.body));
        Answer::status(if sent.contains(&bad) { 400 } else { 200 })
    });
    let mut options = span_by_span();
    options.cut = Cut::Batch;
    let mut delivery = Delivery::over(script.transport(), LineEncoder::that_bisects(), options)
        .with_spool(spool_in(dir.path(), SpoolLimits::default()));
    let ledger = delivery.deliver(tree);
    assert_eq!((ledger.exported, ledger.rejected), (511, 1));
    drop(delivery);
    assert_eq!(segments(dir.path()), [] as [PathBuf; 0]);
}

#[test]
fn payloads_of_another_format_stay_for_a_process_that_speaks_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = spool_in(dir.path(), SpoolLimits::default());
    other
        .append(&Record::new("other", "text/other", 4, b"bytes"))
        .unwrap();
    drop(other);
    let script = Script::accepting();
    let spool = spool_in(dir.path(), SpoolLimits::default());
    let mut delivery = Delivery::new(&script, span_by_span()).with_spool(spool);
    while delivery.exporter.poll(&delivery.deadline) != Progress::Done {}
    let ledger = delivery.ledger.snapshot();
    assert_balances(&ledger);
    assert_eq!(
        (ledger.recovered, ledger.spooled, script.attempts().len()),
        (4, 4, 0)
    );
    assert!(matches!(delivery.exporter.health(), Health::Warned(_)));
    drop(delivery);
    assert!(is_on_disk(dir.path(), b"bytes"));
}

#[test]
fn records_grow_too_old_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut limits = SpoolLimits::default();
    limits.max_age = Duration::from_millis(1);
    let script = Script::answers([Answer::status(503)]);
    let mut delivery = Delivery::new(&script, patiently()).with_spool(spool_in(dir.path(), limits));
    delivery.export(tree_of(100).0);
    // Not a wait for something: the age itself.
    std::thread::sleep(Duration::from_millis(2));
    let progress = delivery.exporter.flush(&delivery.deadline);
    let ledger = delivery.finish(progress);
    assert_eq!(ledger.exported + ledger.dropped[DropReason::Expired], 100);
    assert!(ledger.dropped[DropReason::Expired] > 0, "{ledger:?}");
}
