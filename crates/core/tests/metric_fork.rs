//! Instruments in a forked child: it counts from zero with the handles that it inherited, whoever held which lock.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here, fails the test")]
#![allow(unsafe_code, reason = "fork")]

use std::sync::atomic::{AtomicBool, Ordering};

use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::metric::{Family, Kind, LabelSet, MetricBatch, Number, PointValue};

/// The longest that a child may live.
const CHILD_SECONDS: u32 = 20;

/// Whether `child`, run in a forked process, holds true.
fn holds_in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs only code that must work there, which is what is tested, and leaves by `_exit`, or is ended
    // by the alarm.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(CHILD_SECONDS);
                let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
                libc::_exit(i32::from(!held.unwrap_or(false)))
            }
            pid => {
                assert!(pid > 0, "fork failed");
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
            }
        }
    }
}

/// Families, points and what was counted in all of them.
fn read(registry: &Registry) -> (usize, usize, f64) {
    let batch: MetricBatch = registry.collect(&CollectOptions::with_sketches());
    let points = batch.families().iter().flat_map(Family::points);
    let count = |value: &PointValue| match value {
        PointValue::Number(number) => number.as_f64(),
        PointValue::Histogram(histogram) => as_f64(histogram.count) + histogram.sum.unwrap(),
        PointValue::ExponentialHistogram(histogram) => {
            as_f64(histogram.count) + histogram.sum.unwrap()
        }
        PointValue::Summary(summary) => as_f64(summary.count) + summary.sum,
        other => panic!("{other:?}"),
    };
    let points: Vec<_> = points.map(|point| count(point.value())).collect();
    (batch.families().len(), points.len(), points.iter().sum())
}

fn as_f64(count: u64) -> f64 {
    Number::Int(i64::try_from(count).unwrap()).as_f64()
}

#[test]
fn a_child_counts_from_zero_and_shows_only_what_it_counted() {
    let registry = Registry::new();
    let counters = registry.counter("c").unwrap();
    let (counter, idle) = (counters.plain(), counters.with([("only", "parent")]));
    let gauge = registry.gauge("g").unwrap().plain();
    let under_way = registry.up_down_counter("u").unwrap().plain();
    let histogram = registry.histogram("h").unwrap().plain();
    let exponential = registry.exponential_histogram("e").unwrap().plain();
    let summary = registry.summary("s").unwrap().plain();
    let measure = || {
        counter.add(1);
        gauge.add(1.0);
        under_way.add(1);
        histogram.observe(2.0);
        exponential.observe(2.0);
        summary.observe(2.0);
    };
    measure();
    measure();
    idle.add(5);
    let parents = read(&registry);
    assert_eq!(parents, (6, 7, 6.0 + 18.0 + 5.0));
    assert!(holds_in_child(|| {
        assert_eq!(read(&registry), (0, 0, 0.0), "nothing was counted here");
        measure();
        counters.with([("only", "child")]).add(7);
        assert_eq!(read(&registry), (6, 7, 3.0 + 9.0 + 7.0));
        true
    }));
    assert_eq!(read(&registry), parents);
}

#[test]
fn children_forked_while_threads_measure_read_and_make_series_go_on() {
    let registry = Registry::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (registry, over) = (registry.clone(), &over);
            scope.spawn(move || {
                let mut round = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    round += 1;
                    let labels = [("thread", format!("{thread}-{}", round % 500))];
                    registry.counter("c").unwrap().with(labels.clone()).add(1);
                    let value = Number::Int(i64::try_from(round % 1000).unwrap()).as_f64();
                    registry.summary("s").unwrap().with(labels).observe(value);
                    if round.is_multiple_of(100) {
                        registry.collect(&CollectOptions::with_sketches());
                    }
                }
            });
        }
        let all_held = (0..40).all(|_| {
            holds_in_child(|| {
                for thread in 0..3 {
                    let labels = [("thread", format!("{thread}-1"))];
                    registry.counter("c").unwrap().with(labels.clone()).add(3);
                    registry.summary("s").unwrap().with(labels).observe(1.0);
                }
                let (families, points, sum) = read(&registry);
                (families, points) == (2, 6) && (sum - (9.0 + 6.0)).abs() < 1e-9
            })
        });
        over.store(true, Ordering::Relaxed);
        assert!(all_held);
    });
}

#[test]
fn what_somebody_else_counts_is_known_to_a_child_since_it_first_asked() {
    let registry = Registry::new();
    let ask = |_: &_| vec![(LabelSet::empty(), Number::Int(1))];
    registry.observe(Kind::COUNTER, "c", ask).unwrap();
    let start = |registry: &Registry| {
        let batch = registry.collect(&CollectOptions::default());
        batch.families()[0].points()[0].start()
    };
    let parents = start(&registry);
    assert_eq!(start(&registry), parents);
    assert!(holds_in_child(|| {
        let own = start(&registry);
        own > parents && start(&registry) == own
    }));
}
