//! Snapshots that others took: each arrives, in their order, whatever the far side does meanwhile.
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use hiq_core::config::PipelineSettings;
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::DropReason;
use hiq_core::export::Exporter;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::{Descriptor, Family, Kind, LabelSet, MetricBatch, Number, Point};
use hiq_core::pipeline::{MetricPipeline, MetricPipelineBuilder};
use hiq_core::resource::Scope;
use hiq_core::time::UnixNanos;
use hiq_core::transport::TransportErrorKind;
use hiq_testkit::metrics::PointLineEncoder;
use hiq_testkit::script::{Answer, Script};
use hiq_testkit::{PATIENCE, assert_balances, recorded_status};

const SNAPSHOTS: i64 = 50;

/// A counter at `value`, and a second one beside it.
fn snapshot(value: i64) -> MetricBatch {
    let family = |name: &str| {
        let labels = LabelSet::new([("of", "it")]);
        let time = UnixNanos(u64::try_from(value).unwrap());
        let point = Point::new(labels, UnixNanos(0), time, Number::Int(value));
        Family::new(Arc::new(Descriptor::new(name, Kind::COUNTER)), vec![point])
    };
    let families = vec![family("a"), family("b")];
    MetricBatch::new(Arc::default(), Arc::<Scope>::default(), families)
}

fn lines(values: impl IntoIterator<Item = i64>) -> Vec<String> {
    let of = |value: i64| format!("a {value}\nb {value}\n");
    values.into_iter().map(of).collect()
}

fn sending(builder: MetricPipelineBuilder, name: &str, script: &Script) -> MetricPipelineBuilder {
    let script = script.clone();
    builder.exporter(name, move || -> Result<_, Infallible> {
        let mut options = DeliveryOptions::default();
        options.retry.jitter = || 0.0;
        let exporter = EncodedExporter::new(PointLineEncoder, script.transport(), options);
        Ok(Box::new(exporter) as Box<dyn Exporter<MetricBatch>>)
    })
}

/// With a queue of `most_points` that lets go of what it has at once.
fn pipeline(script: &Script, most_points: usize) -> MetricPipelineBuilder {
    let mut settings = PipelineSettings::default();
    settings.schedule_delay = Duration::from_millis(1);
    settings.max_queue_spans = most_points;
    let builder = MetricPipeline::builder().settings(settings);
    sending(builder, "lines", script)
}

#[track_caller]
fn ledger(pipeline: &MetricPipeline, name: &str) -> LedgerSnapshot {
    let ledger = pipeline.stats().ledger(name).unwrap().clone();
    assert_balances(&ledger);
    ledger
}

#[track_caller]
fn finish(pipeline: &MetricPipeline) -> LedgerSnapshot {
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    let ledger = ledger(pipeline, "lines");
    assert_eq!(ledger.unsettled(), 0, "{ledger:?}");
    ledger
}

/// What was taken, attempt by attempt.
fn taken(script: &Script, is_taken: impl Fn(usize) -> bool) -> Vec<String> {
    let attempts = script.attempts().into_iter();
    let taken = attempts.filter(|attempt| is_taken(attempt.number));
    taken
        .map(|attempt| String::from_utf8(attempt.body).unwrap())
        .collect()
}

#[test]
fn every_snapshot_arrives_once_and_in_order_though_attempts_fail() {
    let fails = |number: usize| number.is_multiple_of(3);
    let script = Script::new(move |attempt| match attempt.number {
        number if !fails(number) => Answer::status(200),
        number if number.is_multiple_of(2) => Answer::status(503),
        _ => Answer::Error(TransportErrorKind::Connect),
    });
    let pipeline = pipeline(&script, 1_000).build();
    for value in 0..SNAPSHOTS {
        pipeline.offer(snapshot(value));
    }
    let ledger = finish(&pipeline);
    let points = 2 * u64::try_from(SNAPSHOTS).unwrap();
    assert_eq!((ledger.offered, ledger.exported), (points, points));
    assert_eq!(ledger.dropped.total(), 0);
    assert_eq!(taken(&script, |number| !fails(number)), lines(0..SNAPSHOTS));
}

#[test]
fn snapshots_that_come_while_the_far_side_hangs_wait_and_none_gives_way() {
    let (release, held) = mpsc::channel::<()>();
    let script = Script::new(move |attempt| {
        if attempt.number == 0 {
            held.recv().unwrap();
        }
        Answer::status(200)
    });
    let pipeline = pipeline(&script, 1_000).build();
    pipeline.offer(snapshot(0));
    script.wait_for_attempts(1);
    for value in 1..SNAPSHOTS {
        pipeline.offer(snapshot(value));
    }
    assert!(!pipeline.flush(Duration::ZERO).is_complete());
    assert_eq!(
        ledger(&pipeline, "lines").unsettled(),
        2 * u64::try_from(SNAPSHOTS).unwrap()
    );
    release.send(()).unwrap();
    assert!(pipeline.flush(PATIENCE).is_complete());
    assert_eq!(taken(&script, |_| true), lines(0..SNAPSHOTS));
    let ledger = finish(&pipeline);
    assert_eq!(ledger.dropped[DropReason::Superseded], 0);
}

#[test]
fn a_snapshot_that_is_refused_costs_no_other_and_is_counted_in_points() {
    let script = Script::answers([200, 400].map(Answer::status));
    let (sink, said) = recorded_status();
    let pipeline = pipeline(&script, 1_000).status(sink).build();
    (0..3).for_each(|value| pipeline.offer(snapshot(value)));
    let ledger = finish(&pipeline);
    assert_eq!((ledger.exported, ledger.rejected), (4, 2));
    assert_eq!(script.attempts().len(), 3);
    let said = said.with(|lines| lines.join("\n"));
    assert!(said.contains("2 points"), "{said}");
}

#[test]
fn a_full_queue_lets_the_oldest_go_and_counts_its_points() {
    let (release, held) = mpsc::channel::<()>();
    let script = Script::new(move |attempt| {
        if attempt.number == 0 {
            held.recv().unwrap();
        }
        Answer::status(200)
    });
    let pipeline = pipeline(&script, 4).build();
    pipeline.offer(snapshot(0));
    script.wait_for_attempts(1);
    (1..5).for_each(|value| pipeline.offer(snapshot(value)));
    release.send(()).unwrap();
    let ledger = finish(&pipeline);
    assert_eq!(ledger.dropped[DropReason::QueueFull], 4);
    assert_eq!(taken(&script, |_| true), lines([0, 3, 4]));
}

#[test]
fn each_exporter_has_a_ledger_of_its_own_and_a_dead_one_delays_no_other() {
    let (alive, dead) = (Script::accepting(), Script::refusing_connections());
    let pipeline = sending(pipeline(&alive, 1_000), "dead", &dead).build();
    (0..SNAPSHOTS).for_each(|value| pipeline.offer(snapshot(value)));
    let points = 2 * u64::try_from(SNAPSHOTS).unwrap();
    alive.wait_for_attempts(usize::try_from(SNAPSHOTS).unwrap());
    assert_eq!(taken(&alive, |_| true), lines(0..SNAPSHOTS));
    dead.wait_for_attempts(1);
    let report = pipeline.shutdown(Duration::from_millis(100));
    assert!(!report.is_complete());
    assert_eq!(ledger(&pipeline, "lines").exported, points);
    let of_dead = ledger(&pipeline, "dead");
    assert_eq!(
        (of_dead.exported, of_dead.dropped[DropReason::Shutdown]),
        (0, points)
    );
}

#[test]
fn what_is_empty_starts_nothing_and_what_comes_after_the_end_is_dropped() {
    let script = Script::accepting();
    let pipeline = pipeline(&script, 1_000).build();
    pipeline.offer(MetricBatch::default());
    assert_eq!(ledger(&pipeline, "lines").offered, 0);
    finish(&pipeline);
    pipeline.offer(snapshot(1));
    let ledger = ledger(&pipeline, "lines");
    assert_eq!((ledger.offered, ledger.dropped.total()), (2, 2));
    assert!(script.attempts().is_empty());
}
