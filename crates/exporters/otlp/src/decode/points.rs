//! From the points of a request to those of a family: which of them a snapshot can hold.

use std::ops::RangeInclusive;
use std::sync::Arc;

use hiq_core::decode::LooseAttributes;
use hiq_core::metric::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, LabelSet, Point,
    PointValue, QuantileValue, Summary,
};
use hiq_core::time::UnixNanos;

use super::left_out::LeftOutPoints;

/// What the points of a metric are measured from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Temporality {
    #[default]
    Unknown,
    Delta,
    /// From a start that stays; also what gauges and summaries are, which have no temporality.
    Cumulative,
}

impl Temporality {
    /// The number in `AggregationTemporality`.
    pub(super) fn from_otlp(number: u8) -> Self {
        match number {
            1 => Self::Delta,
            2 => Self::Cumulative,
            _ => Self::Unknown,
        }
    }
}

/// A point as a request says it.
#[derive(Debug, Default)]
pub(super) struct LoosePoint<'p> {
    pub(super) attributes: LooseAttributes<'p>,
    pub(super) start: u64,
    pub(super) time: u64,
    /// `None` where a number is not there.
    pub(super) value: Option<PointValue>,
    pub(super) exemplars: Vec<Exemplar>,
    pub(super) flags: u64,
}

/// The points of one metric, as they come.
#[derive(Debug)]
pub(super) struct Points<'l> {
    temporality: Temporality,
    left_out: &'l mut LeftOutPoints,
    kept: Vec<Point>,
    /// The last histogram's, which the next one usually has as well.
    bounds: Arc<[f64]>,
}

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u64 = 1;

impl<'l> Points<'l> {
    pub(super) fn new(temporality: Temporality, left_out: &'l mut LeftOutPoints) -> Self {
        Self {
            temporality,
            left_out,
            kept: Vec::new(),
            bounds: Arc::default(),
        }
    }

    /// Takes `point`, or counts it where a snapshot cannot hold it.
    pub(super) fn take(&mut self, point: LoosePoint<'_>) {
        match self.temporality {
            Temporality::Cumulative => {}
            Temporality::Delta => return self.left_out.deltas += 1,
            Temporality::Unknown => return self.left_out.without_temporality += 1,
        }
        let Some(mut value) = point.value.filter(|_| point.flags & NO_RECORDED_VALUE == 0) else {
            return self.left_out.without_value += 1;
        };
        if !self.is_sound(&mut value) {
            return self.left_out.malformed += 1;
        }
        let mut exemplars = point.exemplars;
        exemplars.sort_by_key(|exemplar| exemplar.time);
        let (start, time) = (UnixNanos(point.start), UnixNanos(point.time));
        let point = Point::new(labels(&point.attributes), start, time, value);
        self.kept.push(point.with_exemplars(exemplars));
    }

    pub(super) fn into_family(self, descriptor: Descriptor) -> Family {
        Family::new(Arc::new(descriptor), self.kept)
    }

    /// Brings `value` into the form of a snapshot; false where it has none.
    fn is_sound(&mut self, value: &mut PointValue) -> bool {
        match value {
            PointValue::Histogram(histogram) => {
                drop_infinite_bound(histogram);
                self.share_bounds(histogram);
                is_sound_histogram(histogram)
            }
            PointValue::ExponentialHistogram(histogram) => is_sound_exponential(histogram),
            PointValue::Summary(summary) => is_sound_summary(summary),
            _ => true,
        }
    }

    fn share_bounds(&mut self, histogram: &mut Histogram) {
        if histogram.bounds == self.bounds {
            histogram.bounds = Arc::clone(&self.bounds);
        } else {
            self.bounds = Arc::clone(&histogram.bounds);
        }
    }
}

/// Texts of `attributes`.
pub(super) fn labels(attributes: &LooseAttributes<'_>) -> Arc<LabelSet> {
    if attributes.is_empty() {
        return LabelSet::empty();
    }
    let mut scratch = Vec::new();
    let pairs = attributes.iter().map(|(key, value)| {
        let text: Box<str> = value.as_ref().text(&mut scratch).into();
        (&**key, text)
    });
    LabelSet::new(pairs)
}

/// What is above infinity is nothing: the last two buckets are one.
fn drop_infinite_bound(histogram: &mut Histogram) {
    if let Some((last, bounds)) = histogram.bounds.split_last()
        && *last == f64::INFINITY
        && let [counts @ .., below, above] = &histogram.counts[..]
        && let Some(both) = below.checked_add(*above)
    {
        histogram.counts = [counts, &[both]].concat();
        histogram.bounds = bounds.into();
    }
}

fn is_sound_histogram(histogram: &Histogram) -> bool {
    let (bounds, counts) = (&histogram.bounds, &histogram.counts);
    let fit = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
    let are_finite = bounds.iter().all(|bound| bound.is_finite());
    fit && are_finite && bounds.is_sorted_by(|a, b| a < b) && adds_up(counts)
}

/// Scales at which OTLP's senders count: beyond, all doubles are in two buckets, or bucket numbers do not fit.
const SCALES: RangeInclusive<i32> = -11..=20;
/// The bucket of the smallest double at the finest scale; that of the largest is nearer to zero.
const FARTHEST_BUCKET: i64 = 1_075 << 20;

fn is_sound_exponential(histogram: &ExponentialHistogram) -> bool {
    let (positive, negative) = (&histogram.positive, &histogram.negative);
    let counts = positive.counts.iter().chain(&negative.counts);
    SCALES.contains(&histogram.scale)
        && is_in_reach(positive)
        && is_in_reach(negative)
        && histogram.zero_threshold >= 0.0
        && adds_up(counts.chain([&histogram.zero_count]))
}

fn is_in_reach(buckets: &Buckets) -> bool {
    let first = i64::from(buckets.offset);
    let behind = i64::try_from(buckets.counts.len()).map_or(i64::MAX, |length| first + length);
    buckets.counts.is_empty() || (first >= -FARTHEST_BUCKET && behind <= FARTHEST_BUCKET)
}

fn is_sound_summary(summary: &mut Summary) -> bool {
    let by_share = |a: &QuantileValue, b: &QuantileValue| a.quantile.total_cmp(&b.quantile);
    summary.quantiles.sort_by(by_share);
    let mut shares = summary.quantiles.iter().map(|each| each.quantile);
    shares.all(|share| (0.0..=1.0).contains(&share))
}

/// True when the sum of `counts` is a number: what counts them together would overflow otherwise.
fn adds_up<'c>(counts: impl IntoIterator<Item = &'c u64>) -> bool {
    let mut counts = counts.into_iter();
    counts
        .try_fold(0_u64, |sum, count| sum.checked_add(*count))
        .is_some()
}
