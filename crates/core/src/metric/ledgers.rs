//! The ledgers of exporters as metrics: what became of every item, and where the others are.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `hiq.exporter.items` | counter, `{item}` | `exporter`, `outcome` (`exported`, `sent_unconfirmed`, `rejected`, `dropped`), `reason` of a drop |
//! | `hiq.exporter.held` | up-down counter, `{item}` | `exporter`, `place` (`queued`, `in_flight`, `spooled`) |
//!
//! ```
//! use hiq_core::metric::ledgers::show_ledgers;
//! use hiq_core::metric::record::Registry;
//! use hiq_core::pipeline::Pipeline;
//!
//! let (registry, pipeline) = (Registry::new(), Pipeline::builder().build());
//! let stats = pipeline.clone();
//! show_ledgers(&registry, move || stats.stats());
//! ```

use std::sync::Arc;

use super::record::{Reading, Registry};
use super::{Descriptor, Family, Kind, LabelSet, Number, Point};
use crate::ledger::LedgerSnapshot;
use crate::pipeline::{ExporterStats, PipelineStats};
use crate::time::{Clock, UnixNanos};

/// Has every reading of `registry` show the ledgers that `stats` tells of: those of a pipeline or of a reader.
pub fn show_ledgers(
    registry: &Registry,
    stats: impl Fn() -> PipelineStats + Send + Sync + 'static,
) {
    let items = Descriptor::new("hiq.exporter.items", Kind::COUNTER)
        .with_unit("{item}")
        .with_description("What became of spans and data points that were offered to an exporter.");
    let held = Descriptor::new("hiq.exporter.held", Kind::UP_DOWN_COUNTER)
        .with_unit("{item}")
        .with_description("Spans and data points that an exporter holds.");
    let (items, held, start) = (Arc::new(items), Arc::new(held), Clock::unix_nanos());
    registry.add_source(move |reading| {
        let stats = stats();
        let points = |points: fn(&ExporterStats, Times) -> Vec<Point>| {
            let times = Times::of(start, reading);
            let exporters = stats.exporters().iter();
            exporters.flat_map(|one| points(one, times)).collect()
        };
        vec![
            Family::new(Arc::clone(&items), points(settled)),
            Family::new(Arc::clone(&held), points(unsettled)),
        ]
    });
}

#[derive(Clone, Copy)]
struct Times {
    start: UnixNanos,
    now: UnixNanos,
}

impl Times {
    fn of(start: UnixNanos, reading: &Reading) -> Self {
        let now = reading.time();
        Self { start, now }
    }

    fn point(self, labels: Vec<(&str, &str)>, items: u64) -> Point {
        let items = Number::Int(i64::try_from(items).unwrap_or(i64::MAX));
        Point::new(LabelSet::new(labels), self.start, self.now, items)
    }
}

fn settled(stats: &ExporterStats, times: Times) -> Vec<Point> {
    let ledger: &LedgerSnapshot = &stats.ledger;
    let outcomes = [
        ("exported", ledger.exported),
        ("sent_unconfirmed", ledger.sent_unconfirmed),
        ("rejected", ledger.rejected),
    ];
    let outcomes = outcomes.into_iter().map(|(outcome, items)| {
        times.point(vec![("exporter", &stats.name), ("outcome", outcome)], items)
    });
    let dropped = ledger.dropped.iter().map(|(reason, items)| {
        let outcome = ("outcome", "dropped");
        let labels = vec![
            ("exporter", &*stats.name),
            outcome,
            ("reason", reason.name()),
        ];
        times.point(labels, items)
    });
    outcomes.chain(dropped).collect()
}

fn unsettled(stats: &ExporterStats, times: Times) -> Vec<Point> {
    let ledger = &stats.ledger;
    let places = [
        ("queued", ledger.queued),
        ("in_flight", ledger.in_flight),
        ("spooled", ledger.spooled),
    ];
    let point =
        |(place, items)| times.point(vec![("exporter", &stats.name), ("place", place)], items);
    places.into_iter().map(point).collect()
}
