//! Instruments: what is read is what was measured, from any number of threads, and in a forked child from zero.
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hiq_core::id::{SpanId, TraceId};
use hiq_core::metric::record::{CollectOptions, DEFAULT_BOUNDS, Registry, Spec, Summary};
use hiq_core::metric::{
    self, Exemplar, ExponentialHistogram, Family, Kind, LabelSet, MetricBatch, Number, Point,
    PointValue, QuantileValue,
};
use hiq_core::time::UnixNanos;
use proptest::prelude::*;

/// Half the width of a bucket at scale 6, relative to its middle.
const ERROR: f64 = 0.005_42;

fn point<'a>(batch: &'a MetricBatch, name: &str) -> &'a Point {
    &points(batch, name)[0]
}

fn points<'a>(batch: &'a MetricBatch, name: &str) -> &'a [Point] {
    let mut families = batch.families().iter();
    let family = families.find(|family| family.descriptor().name() == name);
    family.map_or(&[], |family| family.points())
}

fn summary_of(point: &Point) -> &metric::Summary {
    match point.value() {
        PointValue::Summary(summary) => summary,
        other => panic!("{other:?}"),
    }
}

fn number_of(point: &Point) -> Number {
    match point.value() {
        PointValue::Number(number) => *number,
        other => panic!("{other:?}"),
    }
}

fn exponential_of(point: &Point) -> &ExponentialHistogram {
    match point.value() {
        PointValue::ExponentialHistogram(histogram) => histogram,
        other => panic!("{other:?}"),
    }
}

fn quantile(quantiles: &[QuantileValue], wanted: f64) -> f64 {
    let mut known = quantiles
        .iter()
        .filter(|known| known.quantile.total_cmp(&wanted).is_eq());
    known.next().unwrap().value
}

/// The nearest-rank quantile of all values: what a summary without error would show.
fn exact(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few thousand values"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn at(now: Instant) -> CollectOptions {
    let mut options = CollectOptions::default();
    options.now = Some(now);
    options
}

fn registry_with_summary(spec: Spec) -> (Registry, Arc<Summary>) {
    let registry = Registry::new();
    let summary = registry.summary(spec).unwrap().plain();
    (registry, summary)
}

proptest! {
    #[test]
    fn quantiles_are_the_exact_ones_within_half_a_bucket(
        mut values in prop::collection::vec(prop_oneof![
            1e-6..1e3_f64, -1e2..-1e-4_f64, Just(0.0), 0.2..0.3_f64,
        ], 1..400),
    ) {
        let shares = [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0];
        let (registry, summary) = registry_with_summary(Spec::new("s").with_quantiles(shares));
        for value in &values {
            summary.observe(*value);
        }
        let batch = registry.collect(&CollectOptions::default());
        let read = summary_of(point(&batch, "s"));
        prop_assert_eq!(read.count, values.len() as u64);
        let sum: f64 = values.iter().sum();
        prop_assert!((read.sum - sum).abs() <= 1e-9 * sum.abs().max(1.0));
        values.sort_by(f64::total_cmp);
        for share in shares {
            let (shown, exact) = (quantile(&read.quantiles, share), exact(&values, share));
            prop_assert!((shown - exact).abs() <= exact.abs() * ERROR, "{share}: {shown} for {exact}");
        }
    }

    /// Whatever the range, every measurement is in the bucket of its value, and a scale no finer than needed is used.
    #[test]
    fn a_range_of_any_width_is_kept_in_full(exponents in prop::collection::vec(-1021..1022_i32, 1..200)) {
        let registry = Registry::new();
        let histogram = registry.exponential_histogram("h").unwrap().plain();
        let values: Vec<_> = exponents.iter().map(|exponent| 1.5 * 2_f64.powi(*exponent)).collect();
        for value in &values {
            histogram.observe(*value);
        }
        let batch = registry.collect(&CollectOptions::default());
        let read = exponential_of(point(&batch, "h"));
        prop_assert_eq!(read.count, values.len() as u64);
        let span = exponents.iter().max().unwrap() - exponents.iter().min().unwrap();
        prop_assert!(span >= 32 || read.scale == 6, "{span} octaves at scale {}", read.scale);
        prop_assert!(read.positive.counts.len() <= 2_048);
        let mut expected = vec![0_u64; read.positive.counts.len()];
        for value in &values {
            let index = (value.log2() * f64::from(read.scale).exp2()).ceil() - 1.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let place = (index - f64::from(read.positive.offset)) as usize;
            expected[place] += 1;
        }
        prop_assert_eq!(&read.positive.counts, &expected);
    }
}

/// What was counted on a finer scale before counts for the width of the range as well.
#[test]
fn what_is_shown_as_an_example_is_counted_from_then_on() {
    let registry = Registry::new();
    let (early, earlier) = (UnixNanos(1_000_000_000), UnixNanos(500_000_000));
    let counter = registry.counter("c").unwrap().plain();
    let histogram = registry.histogram("h").unwrap().plain();
    let wide = registry.exponential_histogram("e").unwrap().plain();
    let summary = registry.summary("s").unwrap().plain();
    let example = |time| Exemplar::new(time, Number::F64(1.0), TraceId([1; 16]), SpanId(1));
    let starts = || -> Vec<u64> {
        let batch = registry.collect(&CollectOptions::default());
        let points = batch.families().iter().flat_map(Family::points);
        points.map(|point| point.start().0).collect()
    };
    assert!(starts().iter().all(|start| *start > early.0));
    for (time, start) in [(early, early), (earlier, earlier), (early, earlier)] {
        counter.set_example(example(time));
        histogram.set_example(example(time));
        wide.set_example(example(time));
        summary.set_example(example(time));
        assert_eq!(starts(), [start.0; 4], "it never moves on again");
    }
}

#[test]
fn other_bounds_or_quantiles_of_a_known_name_are_refused_and_none_are_those_it_has() {
    let registry = Registry::new();
    let first = registry.histogram(Spec::new("h").with_bounds([1.0, 2.0]));
    first.unwrap().plain().observe(1.5);
    registry.histogram("h").unwrap().plain().observe(1.5);
    let same = registry.histogram(Spec::new("h").with_bounds([1.0, 2.0]));
    same.unwrap().plain().observe(1.5);
    let other = registry.histogram(Spec::new("h").with_bounds([1.0, 3.0]));
    assert_eq!(
        other.unwrap_err().to_string(),
        "metric `h`: its bounds are [1.0, 2.0] already, and cannot be [1.0, 3.0]; give the same ones, or none, or another name"
    );
    registry.histogram("plain").unwrap();
    let named = registry.histogram(Spec::new("plain").with_bounds(DEFAULT_BOUNDS));
    assert!(named.is_ok(), "the default, in words");
    registry.summary("s").unwrap();
    let other = registry.summary(Spec::new("s").with_quantiles([0.75]));
    assert_eq!(
        other.unwrap_err().to_string(),
        "metric `s`: its quantiles are [0.5, 0.9, 0.99] already, and cannot be [0.75]; give the same ones, or none, or \
         another name"
    );
    let batch = registry.collect(&CollectOptions::default());
    let PointValue::Histogram(histogram) = batch.families()[0].points()[0].value() else {
        panic!("no histogram");
    };
    assert_eq!(histogram.counts, [0, 3, 0]);
    let none = registry.counter(Spec::new("c").with_max_series(0));
    assert_eq!(
        none.unwrap_err().to_string(),
        "metric `c`: its max_series is 0; use a whole number from 1 on"
    );
}

#[test]
fn a_range_that_grows_in_steps_has_no_more_buckets_than_one_that_came_at_once() {
    let registry = Registry::new();
    let histogram = registry.exponential_histogram("h").unwrap().plain();
    for exponent in [274, 24, 0] {
        histogram.observe(1.5 * 2_f64.powi(exponent));
    }
    let batch = registry.collect(&CollectOptions::default());
    let read = exponential_of(point(&batch, "h"));
    // 275 octaves: 2^4 of them share the 64 buckets of one of 32 chunks.
    assert_eq!((read.count, read.scale), (3, 2));
    assert_eq!(read.positive.counts.len(), 274 * 4 + 1);
}

#[test]
fn quantiles_forget_what_is_older_than_the_window_but_count_and_sum_do_not() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let (registry, summary) = registry_with_summary(Spec::new("s").with_max_age(minutes(10)));
    let start = Instant::now();
    let median_at = |minute| {
        let batch = registry.collect(&at(start + minutes(minute)));
        let read = summary_of(point(&batch, "s")).clone();
        (read.count, read.sum, quantile(&read.quantiles, 0.5))
    };
    let near = |value: f64, exact: f64| (value - exact).abs() <= exact * ERROR;
    (0..100).for_each(|_| summary.observe(1.0));
    let (count, sum, median) = median_at(1);
    assert!(
        (count, sum) == (100, 100.0) && near(median, 1.0),
        "{median}"
    );
    assert_eq!(median_at(3).0, 100, "the first slice is complete");
    (0..30).for_each(|_| summary.observe(8.0));
    assert!(near(median_at(9).2, 1.0), "both are in the window");
    let (count, sum, median) = median_at(11);
    assert!(near(median, 8.0), "the first slice has slid out: {median}");
    assert_eq!((count, sum), (130, 340.0));
    let (count, sum, median) = median_at(30);
    assert!(median.is_nan(), "nothing is recent: {median}");
    assert_eq!((count, sum), (130, 340.0));
    summary.observe(2.0);
    assert!(near(median_at(31).2, 2.0));
}

/// A slice that was filled on a fine scale leaves a window that has become coarser; what is negative or zero leaves as well.
#[test]
fn what_slides_out_is_what_was_measured_whatever_came_after_it() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let spec = Spec::new("s").with_quantiles([0.0, 0.5, 1.0]);
    let (registry, summary) = registry_with_summary(spec);
    let start = Instant::now();
    let read_at = |minute| {
        let mut options = CollectOptions::with_sketches();
        options.now = Some(start + minutes(minute));
        let batch = registry.collect(&options);
        summary_of(point(&batch, "s")).clone()
    };
    for value in [-3.0, 0.0, 5.0] {
        (0..1_000).for_each(|_| summary.observe(value));
    }
    assert_eq!(read_at(3).count, 3_000, "the first slice is complete");
    for exponent in [-40, 0, 40] {
        summary.observe(1.5 * 2_f64.powi(exponent));
    }
    assert!(quantile(&read_at(9).quantiles, 0.5).abs() < 1e-300);
    let read = read_at(11);
    let near = |share: f64, exact: f64| {
        let shown = quantile(&read.quantiles, share);
        // 81 octaves want buckets four times as wide.
        (shown / exact - 1.0).abs() < 0.03
    };
    let lowest = 1.5 * 2_f64.powi(-40);
    assert!(near(0.0, lowest) && near(0.5, 1.5), "{read:?}");
    let sketch = read.sketch.as_deref().unwrap();
    assert_eq!(
        (read.count, sketch.count, sketch.zero_count),
        (3_003, 3_003, 1_000)
    );
    assert_eq!(sketch.negative.counts.iter().sum::<u64>(), 1_000);
    assert_eq!(sketch.positive.counts.iter().sum::<u64>(), 1_003);
}

/// More than the 16 bits of a counter, from threads that do not wait for each other.
#[test]
fn a_value_may_be_measured_as_often_as_one_likes() {
    const EACH: u64 = 200_000;
    let (registry, summary) = registry_with_summary(Spec::new("s"));
    let histogram = registry.exponential_histogram("h").unwrap().plain();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    summary.observe(0.25);
                    histogram.observe(0.25);
                }
            });
        }
    });
    let batch = registry.collect(&CollectOptions::default());
    assert_eq!(summary_of(point(&batch, "s")).count, 3 * EACH);
    let read = exponential_of(point(&batch, "h"));
    assert_eq!(
        (read.count, &*read.positive.counts),
        (3 * EACH, &[3 * EACH][..])
    );
}

#[test]
fn the_same_counters_are_quantiles_and_a_histogram() {
    let (registry, summary) = registry_with_summary(Spec::new("s"));
    for value in [0.25, 0.25, 0.5, 0.0, -4.0] {
        summary.observe(value);
    }
    let without = registry.collect(&CollectOptions::default());
    assert_eq!(summary_of(point(&without, "s")).sketch, None);
    let batch = registry.collect(&CollectOptions::with_sketches());
    let read = summary_of(point(&batch, "s"));
    let sketch = read.sketch.as_deref().unwrap();
    // 2^-2 and 2^-1 are upper bounds: of buckets -129 and -65 at 64 buckets an octave; 2^2 is that of bucket 127.
    assert_eq!((sketch.scale, sketch.positive.offset), (6, -129));
    assert_eq!(sketch.positive.counts.len(), 65);
    assert_eq!(
        (sketch.positive.counts[0], sketch.positive.counts[64]),
        (2, 1)
    );
    assert_eq!(
        (sketch.negative.offset, &*sketch.negative.counts),
        (127, &[1][..])
    );
    assert_eq!(
        (sketch.count, sketch.zero_count, sketch.sum),
        (5, 1, Some(-3.0))
    );
    assert_eq!((read.count, read.sum), (5, -3.0));
}

#[test]
fn what_is_not_a_number_is_not_measured() {
    let (registry, summary) = registry_with_summary(Spec::new("s"));
    let counter = registry.counter("c").unwrap().plain();
    let histogram = registry.histogram("h").unwrap().plain();
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        summary.observe(odd);
        counter.add_f64(odd);
        histogram.observe(odd);
    }
    counter.add_f64(-1.0);
    summary.observe(f64::MIN_POSITIVE / 2.0);
    let batch = registry.collect(&CollectOptions::default());
    let read = summary_of(point(&batch, "s"));
    assert_eq!((read.count, quantile(&read.quantiles, 0.5)), (1, 0.0));
    assert_eq!(number_of(point(&batch, "c")), Number::Int(0));
    assert!(matches!(point(&batch, "h").value(), PointValue::Histogram(h) if h.count == 0));
}

#[test]
fn a_bound_belongs_to_the_bucket_below_it() {
    let registry = Registry::new();
    let spec = Spec::new("h").with_bounds([1.0, 2.0]);
    let histogram = registry.histogram(spec).unwrap().plain();
    for value in [0.5, 1.0, 1.5, 2.0, 2.0, 2.5] {
        histogram.observe(value);
    }
    let batch = registry.collect(&CollectOptions::default());
    let PointValue::Histogram(read) = point(&batch, "h").value() else {
        panic!("{batch:?}");
    };
    assert_eq!(read.counts, [2, 3, 1]);
    assert_eq!((read.count, read.sum), (6, Some(9.5)));
}

#[test]
fn every_measurement_of_many_threads_is_counted_also_while_the_range_grows() {
    let registry = Registry::new();
    let counter = registry.counter("c").unwrap();
    let summary = registry.summary("s").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_i32 {
            let (counter, summary) = (counter.clone(), summary.clone());
            scope.spawn(move || {
                let (counter, summary) = (counter.with([("a", "1")]), summary.plain());
                for round in 0..20_000 {
                    counter.add(1);
                    counter.add_f64(0.5);
                    let exponent = (round / 100 + thread) % 120 - 60;
                    summary.observe(2_f64.powi(exponent));
                }
            });
        }
        for _ in 0..50 {
            registry.collect(&CollectOptions::with_sketches());
        }
    });
    let batch = registry.collect(&CollectOptions::with_sketches());
    assert_eq!(points(&batch, "c").len(), 1);
    assert_eq!(number_of(point(&batch, "c")), Number::F64(120_000.0));
    let read = summary_of(point(&batch, "s"));
    assert_eq!(read.count, 80_000);
    assert_eq!(read.sketch.as_ref().unwrap().count, 80_000);
    assert_eq!(
        read.sketch.as_ref().unwrap().scale,
        4,
        "120 octaves fit in 32 chunks by four"
    );
}

#[test]
fn beyond_the_limit_all_labels_share_the_overflow_series() {
    let registry = Registry::new();
    let counter = registry.counter(Spec::new("c").with_max_series(3)).unwrap();
    for user in 0..100 {
        counter.with([("user", user.to_string())]).add(1);
    }
    counter.with([("user", "1")]).add(10);
    let batch = registry.collect(&CollectOptions::default());
    let read: Vec<_> = points(&batch, "c")
        .iter()
        .map(|point| (format!("{:?}", point.labels()), number_of(point)))
        .collect();
    let expected = [
        ("{\"user\": \"0\"}", 1),
        ("{\"user\": \"1\"}", 11),
        ("{\"user\": \"2\"}", 1),
        ("{\"otel.metric.overflow\": \"true\"}", 97),
    ];
    assert_eq!(
        read,
        expected.map(|(labels, count)| (labels.to_owned(), Number::Int(count)))
    );
}

#[test]
fn a_name_is_one_instrument_and_of_one_kind() {
    let registry = Registry::new();
    registry.counter("größe.größer").unwrap().plain().add(1);
    registry.counter("größe.größer").unwrap().plain().add(2);
    let batch = registry.collect(&CollectOptions::default());
    assert_eq!(number_of(point(&batch, "größe.größer")), Number::Int(3));
    assert_eq!(batch.families()[0].descriptor().kind(), Kind::COUNTER);
    let error = registry.gauge("größe.größer").unwrap_err().to_string();
    assert!(
        error.contains("`größe.größer`") && error.contains("monotonic"),
        "{error}"
    );
    assert!(registry.counter("").is_err());
    assert!(
        registry
            .histogram(Spec::new("h").with_bounds([2.0, 1.0]))
            .is_err()
    );
    assert!(
        registry
            .summary(Spec::new("q").with_quantiles([0.5, 1.5]))
            .is_err()
    );
}

#[test]
fn gauges_and_up_down_counters_fall() {
    let registry = Registry::new();
    let gauge = registry.gauge("g").unwrap().plain();
    gauge.set(7.0);
    gauge.add(-9.5);
    let under_way = registry.up_down_counter("u").unwrap().plain();
    under_way.add(3);
    under_way.add(-5);
    let batch = registry.collect(&CollectOptions::default());
    assert_eq!(number_of(point(&batch, "g")), Number::F64(-2.5));
    assert_eq!(number_of(point(&batch, "u")), Number::Int(-2));
}

#[test]
fn what_somebody_else_counts_is_asked_for_at_every_reading() {
    let registry = Registry::new();
    let asked = Arc::new(AtomicI64::new(0));
    let answer = Arc::clone(&asked);
    let city = |name: &str| LabelSet::new([("city", name)]);
    let ask = move |_: &_| {
        answer.fetch_add(1, Ordering::Relaxed);
        let (oslo, rome) = (city("Oslo"), city("Rome"));
        vec![
            (Arc::clone(&oslo), Number::Int(1)),
            (rome, Number::F64(0.5)),
            (oslo, Number::Int(10)),
        ]
    };
    registry.observe(Kind::COUNTER, "sum", ask.clone()).unwrap();
    registry.observe(Kind::Gauge, "last", ask).unwrap();
    let read = |name: &str| -> Vec<Number> {
        let batch = registry.collect(&CollectOptions::default());
        points(&batch, name).iter().map(number_of).collect()
    };
    assert_eq!(read("sum"), [Number::Int(11), Number::F64(0.5)]);
    assert_eq!(read("last"), [Number::Int(10), Number::F64(0.5)]);
    assert_eq!(asked.load(Ordering::Relaxed), 4, "twice by each reading");
    let error = registry.observe(Kind::Gauge, "sum", |_| vec![]);
    assert!(error.unwrap_err().to_string().contains("`sum`"));
    assert!(registry.counter("sum").is_err());
    registry.counter("own").unwrap();
    assert!(registry.observe(Kind::COUNTER, "own", |_| vec![]).is_err());
    let summary = registry.observe(Kind::Summary, "s", |_| vec![]);
    assert!(summary.unwrap_err().to_string().contains("gauge or a sum"));
}

#[test]
fn of_what_somebody_else_counts_only_numbers_count_and_only_so_many_series() {
    let registry = Registry::new();
    let user = |user: usize| LabelSet::new([("user", user.to_string())]);
    let ask = move |_: &_| {
        let odd = [f64::NAN, f64::INFINITY, -1.0].map(|odd| (user(0), Number::F64(odd)));
        let more = (1..=5).map(|at| (user(at), Number::Int(1)));
        odd.into_iter().chain(more).collect()
    };
    let spec = |name: &str| Spec::new(name).with_max_series(2);
    registry.observe(Kind::COUNTER, spec("c"), ask).unwrap();
    registry.observe(Kind::Gauge, spec("g"), ask).unwrap();
    let batch = registry.collect(&CollectOptions::default());
    let read = |name: &str| -> Vec<(String, f64)> {
        let pair = |point: &Point| (format!("{:?}", point.labels()), number_of(point).as_f64());
        points(&batch, name).iter().map(pair).collect()
    };
    let overflow = "{\"otel.metric.overflow\": \"true\"}";
    let expected = [
        ("{\"user\": \"1\"}", 1.0),
        ("{\"user\": \"2\"}", 1.0),
        (overflow, 3.0),
    ];
    assert_eq!(
        read("c"),
        expected.map(|(labels, sum)| (labels.to_owned(), sum))
    );
    let expected = [
        ("{\"user\": \"0\"}", -1.0),
        ("{\"user\": \"1\"}", 1.0),
        (overflow, 1.0),
    ];
    assert_eq!(
        read("g"),
        expected.map(|(labels, last)| (labels.to_owned(), last))
    );
}
