//! Snapshots of several processes: as bytes and back, and added up as if one process had counted everything.
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hiq_core::metric::merge::{Part, merge};
use hiq_core::metric::pack::{pack, unpack};
use hiq_core::metric::record::{CollectOptions, Registry, Spec};
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::metric::{MetricBatch, PointValue};
use hiq_core::pipeline::Pipeline;
use hiq_testkit::PATIENCE;
use hiq_testkit::metrics::arbitrary;
use hiq_testkit::trees::tree_of;
use proptest::prelude::*;

/// What one process measured: which function, and what.
type Measured = Vec<(u8, f64)>;

fn count(measured: &[(u8, f64)]) -> Registry {
    let registry = Registry::new();
    let calls = registry.counter("calls").unwrap();
    let sizes = registry.exponential_histogram("sizes").unwrap();
    let steps = registry
        .histogram(Spec::new("steps").with_bounds([0.5, 2.0]))
        .unwrap();
    let times = registry.summary("times").unwrap();
    for (function, value) in measured {
        let labels = [("function", function.to_string())];
        calls.with(labels.clone()).add(1);
        sizes.with(labels.clone()).observe(*value);
        steps.with(labels.clone()).observe(*value);
        times.with(labels).observe(*value);
    }
    registry
}

fn to_merge(registry: &Registry) -> MetricBatch {
    let mut bytes = Vec::new();
    pack(&registry.collect(&CollectOptions::to_merge()), &mut bytes);
    unpack(&bytes, Arc::default(), Arc::default()).unwrap()
}

/// Everything but times, sums rounded, by family and labels.
fn read(batch: &MetricBatch) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    let mut cursor = batch.cursor();
    while let Some((family, point)) = cursor.next_point() {
        let name = format!("{} {:?}", family.descriptor().name(), point.labels());
        let value = match point.value() {
            PointValue::Number(number) => format!("{number:?}"),
            PointValue::Histogram(one) => {
                format!("{} {:.6?} {:?}", one.count, one.sum, one.counts)
            }
            PointValue::ExponentialHistogram(one) => {
                let (above, below) = (&one.positive, &one.negative);
                format!(
                    "{} {:.6?} {} {above:?} {below:?}",
                    one.count, one.sum, one.scale
                )
            }
            PointValue::Summary(one) => {
                format!("{} {:.6} {:.9?}", one.count, one.sum, one.quantiles)
            }
            other => panic!("{other:?}"),
        };
        assert!(read.insert(name, value).is_none(), "twice");
    }
    read
}

proptest! {
    #[test]
    fn what_was_packed_is_unpacked_and_nothing_else(batch in arbitrary(), cut in 0.0..1.0_f64) {
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        pack(&batch, &mut bytes);
        let read = unpack(&bytes, Arc::default(), Arc::default()).unwrap();
        pack(&read, &mut again);
        prop_assert_eq!(&bytes, &again);
        prop_assert_eq!(read.families().len(), batch.families().len());
        for (one, other) in read.families().iter().zip(batch.families()) {
            prop_assert_eq!(one.descriptor(), other.descriptor());
            for (one, other) in one.points().iter().zip(other.points()) {
                prop_assert_eq!(one.labels(), other.labels());
                prop_assert_eq!((one.start(), one.time()), (other.start(), other.time()));
                let debugged = (format!("{:?}", one.value()), format!("{:?}", other.value()));
                prop_assert_eq!(debugged.0, debugged.1);
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place")]
        let end = (bytes.len() as f64 * cut) as usize;
        prop_assert!(unpack(&bytes[..end], Arc::default(), Arc::default()).is_none());
    }

    #[test]
    fn processes_together_show_what_one_would_have(
        parts in prop::collection::vec(
            prop::collection::vec((0..3_u8, prop_oneof![1e-3..1e3_f64, -1e3..-1e-3_f64]), 0..60), 1..5),
    ) {
        let batches: Vec<_> = parts.iter().map(|part: &Measured| to_merge(&count(part))).collect();
        let together = merge((1..).zip(&batches).map(|(pid, batch)| Part::living(batch, pid)));
        let all: Measured = parts.into_iter().flatten().collect();
        let alone = count(&all).collect(&CollectOptions::default());
        prop_assert_eq!(read(&together), read(&alone));
    }
}

#[test]
fn of_processes_that_have_ended_only_what_adds_up_is_left() {
    let registry = Registry::new();
    registry.counter("c").unwrap().plain().add(3);
    registry.gauge("g").unwrap().plain().set(5.0);
    registry.up_down_counter("u").unwrap().plain().add(7);
    registry.summary("s").unwrap().plain().observe(2.0);
    let batch = to_merge(&registry);
    let living = read(&merge([Part::living(&batch, 8), Part::living(&batch, 9)]));
    assert_eq!(living["c {}"], "Int(6)");
    assert_eq!(living["u {}"], "Int(14)");
    assert_eq!(living["g {\"pid\": \"8\"}"], "F64(5.0)");
    assert_eq!(living["g {\"pid\": \"9\"}"], "F64(5.0)");
    let folded = merge([Part::ended(&batch), Part::ended(&batch)]);
    let ended = read(&folded);
    assert_eq!(ended["c {}"], "Int(6)");
    assert!(ended["s {}"].starts_with("2 4.0"), "{}", ended["s {}"]);
    assert_eq!(ended.len(), 2, "{ended:?}");
    let again = read(&merge([Part::ended(&folded), Part::living(&batch, 8)]));
    assert_eq!(again["c {}"], "Int(9)");
    assert_eq!(again["u {}"], "Int(7)");
}

#[test]
fn what_is_merged_is_the_recent_part_of_a_summary() {
    let registry = Registry::new();
    let spec = Spec::new("s").with_max_age(Duration::from_secs(10));
    let summary = registry.summary(spec).unwrap().plain();
    summary.observe(1.0);
    let later = |seconds| {
        let mut options = CollectOptions::to_merge();
        options.now = Some(Instant::now() + Duration::from_secs(seconds));
        registry.collect(&options)
    };
    later(3);
    summary.observe(64.0);
    let batch = later(11);
    let PointValue::Summary(read) = batch.families()[0].points()[0].value() else {
        panic!("{batch:?}");
    };
    let recent = read.sketch.as_deref().unwrap();
    assert_eq!((read.count, recent.count), (2, 1));
    assert_eq!(
        recent.positive.offset,
        6 * 64 - 1,
        "64 is the upper bound of its bucket"
    );
}

#[test]
fn spans_that_are_offered_are_mirrored_and_those_counted_are_in_the_snapshot() {
    static MIRROR: AtomicU64 = AtomicU64::new(0);
    let registry = Registry::new();
    let counted = TreeMetrics::new(&registry, TreeMetricsOptions::default()).unwrap();
    let pipeline = Pipeline::builder()
        .exporter_before_sampling("metrics", counted.builder())
        .build();
    pipeline.offer(tree_of(3).0);
    assert!(pipeline.flush(PATIENCE).is_complete());
    registry.mirror_offered_spans(&MIRROR);
    assert_eq!(MIRROR.load(Ordering::Relaxed), 3, "those of before as well");
    pipeline.offer(tree_of(4).0);
    assert_eq!(MIRROR.load(Ordering::Relaxed), 7, "at once");
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    let snapshot = registry.collect(&CollectOptions::to_merge());
    assert_eq!(registry.spans_in(&snapshot), 7);
    assert_eq!(
        registry.spans_in(&merge([Part::ended(&snapshot), Part::ended(&snapshot)])),
        14
    );
}

#[test]
fn a_gauges_own_label_pid_keeps_its_value_beside_the_process() {
    let registry = Registry::new();
    let connections = registry.gauge("connections").unwrap();
    connections.with([("pid", "1")]).set(1.0);
    connections.with([("pid", "2")]).set(2.0);
    // What would then be called the same moves on as well.
    connections.with([("exported_pid", "1")]).set(3.0);
    connections
        .with([("pid", "1"), ("exported_pid", "2"), ("zone", "b")])
        .set(4.0);
    let batch = to_merge(&registry);
    let together = read(&merge([Part::living(&batch, 8), Part::living(&batch, 9)]));
    let expected = [
        r#"connections {"exported_pid": "1", "pid": "8"} F64(1.0)"#,
        r#"connections {"exported_pid": "1", "pid": "9"} F64(1.0)"#,
        r#"connections {"exported_pid": "2", "pid": "8"} F64(2.0)"#,
        r#"connections {"exported_pid": "2", "pid": "9"} F64(2.0)"#,
        r#"connections {"exported_exported_pid": "1", "pid": "8"} F64(3.0)"#,
        r#"connections {"exported_exported_pid": "1", "pid": "9"} F64(3.0)"#,
        r#"connections {"exported_exported_pid": "2", "exported_pid": "1", "pid": "8", "zone": "b"} F64(4.0)"#,
        r#"connections {"exported_exported_pid": "2", "exported_pid": "1", "pid": "9", "zone": "b"} F64(4.0)"#,
    ];
    let lines = together
        .iter()
        .map(|(series, value)| format!("{series} {value}"));
    let lines: BTreeSet<String> = lines.collect();
    assert_eq!(lines, expected.map(str::to_owned).into());
}
