//! A snapshot as bytes, from one process of a group to another: of the same version of this library, on one machine.

use std::sync::Arc;

use super::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, LabelSet,
    MetricBatch, Number, Point, PointValue, QuantileValue, Summary,
};
use crate::id::{SpanId, TraceId};
use crate::resource::{Resource, Scope};
use crate::time::UnixNanos;

/// Changes with the layout.
const VERSION: u32 = 1;

/// Appends the families of `batch` to `out`; not its resource, which the processes of a group have in common.
pub fn pack(batch: &MetricBatch, out: &mut Vec<u8>) {
    put_u32(out, VERSION);
    put_len(out, batch.families().len());
    for family in batch.families() {
        let descriptor = family.descriptor();
        put_text(out, descriptor.name());
        put_text(out, descriptor.description());
        put_text(out, descriptor.unit());
        out.push(kind_number(descriptor.kind()));
        put_len(out, family.points().len());
        for point in family.points() {
            put_point(out, point);
        }
    }
}

/// What [`pack`] wrote, as a snapshot of `resource`; `None` for anything else.
pub fn unpack(bytes: &[u8], resource: Arc<Resource>, scope: Arc<Scope>) -> Option<MetricBatch> {
    let mut reader = Reader { bytes };
    if reader.u32()? != VERSION {
        return None;
    }
    let families = reader.list(Reader::family)?;
    Some(MetricBatch::new(resource, scope, families))
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Gauge => 0,
        Kind::Sum { monotonic: true } => 1,
        Kind::Sum { monotonic: false } => 2,
        Kind::Histogram => 3,
        Kind::ExponentialHistogram => 4,
        Kind::Summary => 5,
    }
}

fn put_point(out: &mut Vec<u8>, point: &Point) {
    put_len(out, point.labels().len());
    for (name, value) in point.labels().iter() {
        put_text(out, name);
        put_text(out, value);
    }
    put_u64(out, point.start().0);
    put_u64(out, point.time().0);
    match point.value() {
        PointValue::Number(number) => put_number(out, *number),
        PointValue::Histogram(histogram) => {
            put_u64(out, histogram.count);
            put_option(out, histogram.sum);
            put_option(out, histogram.min);
            put_option(out, histogram.max);
            put_f64s(out, &histogram.bounds);
            put_u64s(out, &histogram.counts);
        }
        PointValue::ExponentialHistogram(histogram) => put_exponential(out, histogram),
        PointValue::Summary(summary) => {
            put_u64(out, summary.count);
            put_f64(out, summary.sum);
            put_len(out, summary.quantiles.len());
            for one in &summary.quantiles {
                put_f64(out, one.quantile);
                put_f64(out, one.value);
            }
            out.push(u8::from(summary.sketch.is_some()));
            if let Some(sketch) = &summary.sketch {
                put_exponential(out, sketch);
            }
        }
    }
    put_len(out, point.exemplars().len());
    for exemplar in point.exemplars() {
        put_u64(out, exemplar.time.0);
        put_number(out, exemplar.value);
        out.extend_from_slice(&exemplar.trace_id.0);
        put_u64(out, exemplar.span_id.0);
    }
}

fn put_exponential(out: &mut Vec<u8>, histogram: &ExponentialHistogram) {
    put_u64(out, histogram.count);
    put_option(out, histogram.sum);
    put_option(out, histogram.min);
    put_option(out, histogram.max);
    put_u32(out, histogram.scale.cast_unsigned());
    put_u64(out, histogram.zero_count);
    put_f64(out, histogram.zero_threshold);
    for buckets in [&histogram.positive, &histogram.negative] {
        put_u32(out, buckets.offset.cast_unsigned());
        put_u64s(out, &buckets.counts);
    }
}

fn put_number(out: &mut Vec<u8>, number: Number) {
    match number {
        Number::Int(int) => {
            out.push(0);
            put_u64(out, int.cast_unsigned());
        }
        Number::F64(float) => {
            out.push(1);
            put_f64(out, float);
        }
    }
}

fn put_option(out: &mut Vec<u8>, value: Option<f64>) {
    out.push(u8::from(value.is_some()));
    put_f64(out, value.unwrap_or_default());
}

fn put_u64s(out: &mut Vec<u8>, numbers: &[u64]) {
    put_len(out, numbers.len());
    for number in numbers {
        put_u64(out, *number);
    }
}

fn put_f64s(out: &mut Vec<u8>, numbers: &[f64]) {
    put_len(out, numbers.len());
    for number in numbers {
        put_f64(out, *number);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a snapshot of 4 GiB fits in no slot"
)]
fn put_len(out: &mut Vec<u8>, length: usize) {
    put_u32(out, length as u32);
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_f64(out: &mut Vec<u8>, number: f64) {
    put_u64(out, number.to_bits());
}

/// Takes what was put, and stops at the first thing that cannot be.
struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn f64(&mut self) -> Option<f64> {
        self.u64().map(f64::from_bits)
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.u32()? as usize;
        // A length that was made up does not make us ask for memory: every item takes a byte at least.
        if length > self.bytes.len() {
            return None;
        }
        (0..length).map(|_| one(self)).collect()
    }

    /// The outer one is `None` at the end of the bytes.
    #[expect(clippy::option_option, reason = "nothing there, or nothing known")]
    fn option(&mut self) -> Option<Option<f64>> {
        let is_some = self.u8()? != 0;
        let value = self.f64()?;
        Some(is_some.then_some(value))
    }

    fn number(&mut self) -> Option<Number> {
        match self.u8()? {
            0 => self.u64().map(|int| Number::Int(int.cast_signed())),
            1 => self.f64().map(Number::F64),
            _ => None,
        }
    }

    fn family(&mut self) -> Option<Family> {
        let (name, description, unit) = (self.text()?, self.text()?, self.text()?);
        let kind = match self.u8()? {
            0 => Kind::Gauge,
            1 => Kind::COUNTER,
            2 => Kind::UP_DOWN_COUNTER,
            3 => Kind::Histogram,
            4 => Kind::ExponentialHistogram,
            5 => Kind::Summary,
            _ => return None,
        };
        let descriptor = Descriptor::new(name, kind)
            .with_description(description)
            .with_unit(unit);
        let points = self.list(|reader| reader.point(kind))?;
        Some(Family::new(Arc::new(descriptor), points))
    }

    fn point(&mut self, kind: Kind) -> Option<Point> {
        let labels = self.list(|reader| Some((reader.text()?, reader.text()?)))?;
        let (start, time) = (UnixNanos(self.u64()?), UnixNanos(self.u64()?));
        let value = match kind {
            Kind::Gauge | Kind::Sum { .. } => PointValue::Number(self.number()?),
            Kind::Histogram => PointValue::Histogram(self.histogram()?),
            Kind::ExponentialHistogram => PointValue::ExponentialHistogram(self.exponential()?),
            Kind::Summary => PointValue::Summary(self.summary()?),
        };
        let exemplars = self.list(Self::exemplar)?;
        let point = Point::new(LabelSet::new(labels), start, time, value);
        Some(point.with_exemplars(exemplars))
    }

    fn histogram(&mut self) -> Option<Histogram> {
        Some(Histogram {
            count: self.u64()?,
            sum: self.option()?,
            min: self.option()?,
            max: self.option()?,
            bounds: self.list(Self::f64)?.into(),
            counts: self.list(Self::u64)?,
        })
    }

    fn exponential(&mut self) -> Option<ExponentialHistogram> {
        Some(ExponentialHistogram {
            count: self.u64()?,
            sum: self.option()?,
            min: self.option()?,
            max: self.option()?,
            scale: self.u32()?.cast_signed(),
            zero_count: self.u64()?,
            zero_threshold: self.f64()?,
            positive: self.buckets()?,
            negative: self.buckets()?,
        })
    }

    fn buckets(&mut self) -> Option<Buckets> {
        Some(Buckets {
            offset: self.u32()?.cast_signed(),
            counts: self.list(Self::u64)?,
        })
    }

    fn summary(&mut self) -> Option<Summary> {
        let (count, sum) = (self.u64()?, self.f64()?);
        let quantiles = self.list(|reader| {
            let (quantile, value) = (reader.f64()?, reader.f64()?);
            Some(QuantileValue { quantile, value })
        })?;
        let sketch = match self.u8()? {
            0 => None,
            _ => Some(Box::new(self.exponential()?)),
        };
        Some(Summary {
            count,
            sum,
            quantiles,
            sketch,
        })
    }

    fn exemplar(&mut self) -> Option<Exemplar> {
        let (time, value) = (UnixNanos(self.u64()?), self.number()?);
        let trace = TraceId(self.array()?);
        Some(Exemplar::new(time, value, trace, SpanId(self.u64()?)))
    }
}
