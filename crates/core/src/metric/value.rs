//! What a point holds.

use std::sync::Arc;

use super::labels::LabelSet;
use crate::id::{SpanId, TraceId};
use crate::time::UnixNanos;

/// A whole number or a double, as it was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the two that OpenTelemetry has")]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A double.
    F64(f64),
}

impl Number {
    /// The number as a double: exact below 2^53.
    #[expect(
        clippy::cast_precision_loss,
        reason = "formats without whole numbers lose it too"
    )]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::F64(float) => float,
        }
    }
}

/// What a point holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PointValue {
    /// Of a gauge or sum.
    Number(Number),
    /// Of a histogram with given bounds.
    Histogram(Histogram),
    /// Of a histogram whose bounds are powers of one base.
    ExponentialHistogram(ExponentialHistogram),
    /// Of a summary.
    Summary(Summary),
}

impl From<Number> for PointValue {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<Histogram> for PointValue {
    fn from(histogram: Histogram) -> Self {
        Self::Histogram(histogram)
    }
}

impl From<ExponentialHistogram> for PointValue {
    fn from(histogram: ExponentialHistogram) -> Self {
        Self::ExponentialHistogram(histogram)
    }
}

impl From<Summary> for PointValue {
    fn from(summary: Summary) -> Self {
        Self::Summary(summary)
    }
}

impl PointValue {
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Histogram(histogram) => size_of_val(histogram.counts.as_slice()),
            Self::ExponentialHistogram(histogram) => histogram.heap_bytes(),
            Self::Summary(summary) => {
                size_of_val(summary.quantiles.as_slice())
                    + summary
                        .sketch
                        .as_ref()
                        .map_or(0, |sketch| size_of_val(&**sketch) + sketch.heap_bytes())
            }
        }
    }
}

/// How many measurements fell between which bounds.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "OTLP's HistogramDataPoint")]
pub struct Histogram {
    /// Measurements.
    pub count: u64,
    /// Their sum; `None` where some may be negative.
    pub sum: Option<f64>,
    /// The smallest, where known.
    pub min: Option<f64>,
    /// The largest, where known.
    pub max: Option<f64>,
    /// Upper bounds, inclusive and rising, without infinity.
    pub bounds: Arc<[f64]>,
    /// Measurements up to each bound and above the one before; one more for those above the last.
    pub counts: Vec<u64>,
}

/// How many measurements fell between which powers of `2^(2^-scale)`.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "OTLP's ExponentialHistogramDataPoint"
)]
pub struct ExponentialHistogram {
    /// Measurements.
    pub count: u64,
    /// Their sum; `None` where unknown.
    pub sum: Option<f64>,
    /// The smallest, where known.
    pub min: Option<f64>,
    /// The largest, where known.
    pub max: Option<f64>,
    /// The base is `2^(2^-scale)`.
    pub scale: i32,
    /// Measurements that are zero, or nearer to it than `zero_threshold`.
    pub zero_count: u64,
    /// Distance from zero up to which a measurement counts as zero.
    pub zero_threshold: f64,
    /// Measurements above zero.
    pub positive: Buckets,
    /// Measurements below zero, by their distance from it.
    pub negative: Buckets,
}

impl ExponentialHistogram {
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(self.positive.counts.as_slice()) + size_of_val(self.negative.counts.as_slice())
    }
}

/// Counts of neighbouring buckets: bucket `offset + i` holds what is above `base^(offset + i)` and up to `base^(offset + i + 1)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "OTLP's Buckets")]
pub struct Buckets {
    /// Index of the first.
    pub offset: i32,
    /// Measurements in each.
    pub counts: Vec<u64>,
}

/// Count and sum since the start, quantiles over a recent while.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "OTLP's SummaryDataPoint, and where it comes from"
)]
pub struct Summary {
    /// Measurements since the start.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Quantiles of the recent measurements, rising; their values are NaN when there are none.
    pub quantiles: Vec<QuantileValue>,
    /// All measurements since the start as a histogram, where the collector was asked for it: for formats that would
    /// rather have that.
    pub sketch: Option<Box<ExponentialHistogram>>,
}

/// The value below which a share of the measurements lies.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct QuantileValue {
    /// The share, from 0 to 1.
    pub quantile: f64,
    /// The value.
    pub value: f64,
}

/// A single measurement, with the span that it was made in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exemplar {
    /// When it was made.
    pub time: UnixNanos,
    /// What was measured.
    pub value: Number,
    /// The trace; may be [`TraceId::INVALID`].
    pub trace_id: TraceId,
    /// The span; may be [`SpanId::INVALID`].
    pub span_id: SpanId,
    /// What the point's labels leave out.
    pub labels: Option<Arc<LabelSet>>,
}

impl Exemplar {
    /// `value`, measured at `time` in the span `span_id` of `trace_id`.
    pub fn new(time: UnixNanos, value: Number, trace_id: TraceId, span_id: SpanId) -> Self {
        Self {
            time,
            value,
            trace_id,
            span_id,
            labels: None,
        }
    }
}
