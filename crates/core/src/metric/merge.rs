//! Snapshots of several processes as one.
//!
//! | kind | of a process that lives | of one that has ended |
//! |---|---|---|
//! | counter, histograms, count and sum of a summary | added up | added up |
//! | up-down counter | added up | left out: what it held is gone |
//! | gauge | by itself, with its label `pid`; one of its own by that name becomes `exported_pid` | left out |
//! | quantiles of a summary | of all recent measurements together | left out |

use std::collections::HashMap;
use std::sync::Arc;

use super::labels::exported;
use super::record::{Counts, Distribution, to_histogram};
use super::{
    Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, LabelSet, MetricBatch,
    Number, Point, PointValue, QuantileValue, Summary,
};
use crate::time::UnixNanos;

/// What one process, or those that have ended, counted. Summaries have their
/// [recent measurements](super::record::CollectOptions::recent) as sketches.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Part<'b> {
    /// Its snapshot.
    pub batch: &'b MetricBatch,
    /// The process, as long as it lives.
    pub pid: Option<u32>,
}

impl<'b> Part<'b> {
    /// Of a process that lives.
    pub fn living(batch: &'b MetricBatch, pid: u32) -> Self {
        let pid = Some(pid);
        Self { batch, pid }
    }

    /// Of processes that have ended.
    pub fn ended(batch: &'b MetricBatch) -> Self {
        Self { batch, pid: None }
    }
}

/// The parts as one snapshot, of the resource of the first. A family that has another kind in a later part is left out there.
pub fn merge<'b>(parts: impl IntoIterator<Item = Part<'b>>) -> MetricBatch {
    let mut merged = Merged::default();
    let mut first: Option<&MetricBatch> = None;
    for part in parts {
        first.get_or_insert(part.batch);
        for family in part.batch.families() {
            merged.add(family, part.pid);
        }
    }
    let Some(first) = first else {
        return MetricBatch::default();
    };
    let families = merged.families.into_iter().map(MergedFamily::finish);
    MetricBatch::new(
        Arc::clone(first.resource()),
        Arc::clone(first.scope()),
        families.collect(),
    )
}

#[derive(Default)]
struct Merged {
    families: Vec<MergedFamily>,
    places: HashMap<String, usize>,
}

struct MergedFamily {
    descriptor: Arc<Descriptor>,
    points: Vec<MergedPoint>,
    places: HashMap<Arc<LabelSet>, usize>,
}

struct MergedPoint {
    labels: Arc<LabelSet>,
    start: UnixNanos,
    time: UnixNanos,
    exemplars: Vec<Exemplar>,
    value: Value,
}

enum Value {
    Number(Number),
    Histogram(Histogram),
    Exponential(Box<Distribution>, f64),
    Summary(Box<MergedSummary>),
}

#[derive(Default)]
struct MergedSummary {
    count: u64,
    sum: f64,
    shares: Vec<f64>,
    recent: Distribution,
}

impl Merged {
    fn add(&mut self, family: &Family, pid: Option<u32>) {
        let descriptor = family.descriptor();
        let place = *self
            .places
            .entry(descriptor.name().to_owned())
            .or_insert_with(|| {
                self.families.push(MergedFamily {
                    descriptor: Arc::clone(descriptor),
                    points: Vec::new(),
                    places: HashMap::new(),
                });
                self.families.len() - 1
            });
        let merged = &mut self.families[place];
        let ends_with_process = matches!(
            descriptor.kind(),
            Kind::Gauge | Kind::Sum { monotonic: false }
        );
        let is_left_out = pid.is_none() && ends_with_process;
        if merged.descriptor.kind() == descriptor.kind() && !is_left_out {
            for point in family.points() {
                merged.add(point, pid);
            }
        }
    }
}

impl MergedFamily {
    fn add(&mut self, point: &Point, pid: Option<u32>) {
        let labels = match pid {
            Some(pid) if self.descriptor.kind() == Kind::Gauge => with_pid(point.labels(), pid),
            _ => Arc::clone(point.labels()),
        };
        match self.places.get(&labels) {
            Some(&place) => self.points[place].add(point),
            None => {
                self.places.insert(Arc::clone(&labels), self.points.len());
                self.points.push(MergedPoint::new(labels, point));
            }
        }
    }

    fn finish(self) -> Family {
        let points = self.points.into_iter().map(MergedPoint::finish).collect();
        Family::new(self.descriptor, points)
    }
}

const PID: &str = "pid";

fn with_pid(labels: &LabelSet, pid: u32) -> Arc<LabelSet> {
    let own = labels
        .iter()
        .map(|(name, value)| (exported(name, PID).into_owned(), value.to_owned()));
    LabelSet::new(own.chain([(PID.to_owned(), pid.to_string())]))
}

impl MergedPoint {
    fn new(labels: Arc<LabelSet>, point: &Point) -> Self {
        let value = match point.value() {
            PointValue::Number(number) => Value::Number(*number),
            PointValue::Histogram(histogram) => Value::Histogram(histogram.clone()),
            PointValue::ExponentialHistogram(histogram) => {
                let mut all = Distribution::default();
                add_to(&mut all, histogram);
                Value::Exponential(Box::new(all), histogram.sum.unwrap_or_default())
            }
            PointValue::Summary(summary) => {
                let mut merged = MergedSummary::default();
                merged.add(summary);
                Value::Summary(Box::new(merged))
            }
        };
        Self {
            labels,
            start: point.start(),
            time: point.time(),
            exemplars: point.exemplars().to_vec(),
            value,
        }
    }

    fn add(&mut self, point: &Point) {
        self.start = self.start.min(point.start());
        self.time = self.time.max(point.time());
        let newest = |exemplars: &[Exemplar]| exemplars.iter().map(|one| one.time).max();
        if newest(point.exemplars()) > newest(&self.exemplars) {
            self.exemplars = point.exemplars().to_vec();
        }
        match (&mut self.value, point.value()) {
            (Value::Number(sum), PointValue::Number(number)) => *sum = add(*sum, *number),
            (Value::Histogram(sum), PointValue::Histogram(histogram)) => {
                add_histogram(sum, histogram);
            }
            (Value::Exponential(all, sum), PointValue::ExponentialHistogram(histogram)) => {
                add_to(all, histogram);
                *sum += histogram.sum.unwrap_or_default();
            }
            (Value::Summary(merged), PointValue::Summary(summary)) => merged.add(summary),
            // A family has values of one kind.
            _ => {}
        }
    }

    fn finish(self) -> Point {
        let value: PointValue = match self.value {
            Value::Number(number) => number.into(),
            Value::Histogram(histogram) => histogram.into(),
            Value::Exponential(mut all, sum) => to_histogram(&mut all, sum).into(),
            Value::Summary(merged) => merged.finish().into(),
        };
        Point::new(self.labels, self.start, self.time, value).with_exemplars(self.exemplars)
    }
}

impl MergedSummary {
    fn add(&mut self, summary: &Summary) {
        self.count += summary.count;
        self.sum += summary.sum;
        if self.shares.is_empty() {
            self.shares = summary.quantiles.iter().map(|one| one.quantile).collect();
        }
        if let Some(recent) = &summary.sketch {
            add_to(&mut self.recent, recent);
        }
    }

    fn finish(&self) -> Summary {
        let mut quantiles: Vec<QuantileValue> = Vec::with_capacity(self.shares.len());
        self.recent.quantiles(&self.shares, &mut quantiles);
        Summary {
            count: self.count,
            sum: self.sum,
            quantiles,
            sketch: None,
        }
    }
}

fn add(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Number::Int(a.saturating_add(b)),
        (a, b) => Number::F64(a.as_f64() + b.as_f64()),
    }
}

/// Histograms of other bounds (another version of the program) are left out.
fn add_histogram(sum: &mut Histogram, histogram: &Histogram) {
    if sum.bounds != histogram.bounds || sum.counts.len() != histogram.counts.len() {
        return;
    }
    sum.count += histogram.count;
    sum.sum = sum.sum.zip(histogram.sum).map(|(a, b)| a + b);
    sum.min = sum.min.zip(histogram.min).map(|(a, b)| a.min(b));
    sum.max = sum.max.zip(histogram.max).map(|(a, b)| a.max(b));
    for (sum, count) in sum.counts.iter_mut().zip(&histogram.counts) {
        *sum += count;
    }
}

fn add_to(all: &mut Distribution, histogram: &ExponentialHistogram) {
    let add = |counts: &mut Counts, buckets| counts.add_buckets(histogram.scale, buckets);
    add(&mut all.positive, &histogram.positive);
    add(&mut all.negative, &histogram.negative);
    all.zeros += histogram.zero_count;
}
