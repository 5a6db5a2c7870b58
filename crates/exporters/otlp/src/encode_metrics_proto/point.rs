//! One data point.

use hiq_core::metric::{
    Buckets, Exemplar, ExponentialHistogram, Histogram, LabelSet, Number, Point, PointValue,
    QuantileValue, Summary,
};
use hiq_core::wire::{Fixed64, LongVarint, Varint, Writer};

use crate::encode_proto::str_attribute;
use crate::metric_form::{Form, start_of};

/// The only repeated field of every kind of data, except for its temporality.
const POINT: u8 = 0x0a;
const USUAL_POINT_BYTES: usize = 100;

/// Appends `point`; false, and nothing appended, when it is none of `form`.
pub(super) fn write_point(out: &mut Vec<u8>, point: &Point, form: Form) -> bool {
    let mut writer = Writer::new(out);
    let before = writer.position();
    let length = writer.open(POINT, USUAL_POINT_BYTES);
    match (point.value(), form) {
        (PointValue::Number(value), _) => number(&mut writer, point, *value, form),
        (PointValue::Histogram(value), _) => histogram(&mut writer, point, value),
        (PointValue::ExponentialHistogram(value), _) => exponential(&mut writer, point, value),
        (PointValue::Summary(value), Form::ExponentialHistogram) if value.sketch.is_some() => {
            if let Some(sketch) = &value.sketch {
                exponential(&mut writer, point, sketch);
            }
        }
        (PointValue::Summary(value), _) => summary(&mut writer, point, value),
        _ => {
            writer.rewind(before);
            return false;
        }
    }
    writer.close(length);
    true
}

/// Fields 2 and 3 of every point.
fn times(writer: &mut Writer<'_>, point: &Point, form: Form) {
    writer.put(fixed64(0x11, start_of(point, form)));
    writer.put(fixed64(0x19, point.time().0));
}

fn number(writer: &mut Writer<'_>, point: &Point, value: Number, form: Form) {
    times(writer, point, form);
    if let Number::F64(double) = value {
        writer.put((0x21, Fixed64(double.to_bits())));
    }
    exemplars(writer, 0x2a, point);
    if let Number::Int(int) = value {
        writer.put((0x31, Fixed64(int.cast_unsigned())));
    }
    labels(writer, 0x3a, point.labels());
}

fn histogram(writer: &mut Writer<'_>, point: &Point, value: &Histogram) {
    times(writer, point, Form::Histogram);
    writer.put(fixed64(0x21, value.count));
    writer.put(double(0x29, value.sum));
    packed(writer, 0x32, value.counts.iter().copied());
    packed(
        writer,
        0x3a,
        value.bounds.iter().map(|bound| bound.to_bits()),
    );
    exemplars(writer, 0x42, point);
    labels(writer, 0x4a, point.labels());
    writer.put((double(0x59, value.min), double(0x61, value.max)));
}

fn exponential(writer: &mut Writer<'_>, point: &Point, value: &ExponentialHistogram) {
    labels(writer, 0x0a, point.labels());
    times(writer, point, Form::ExponentialHistogram);
    writer.put(fixed64(0x21, value.count));
    writer.put(double(0x29, value.sum));
    writer.put(zigzag(0x30, value.scale));
    writer.put(fixed64(0x39, value.zero_count));
    buckets(writer, 0x42, &value.positive);
    buckets(writer, 0x4a, &value.negative);
    exemplars(writer, 0x5a, point);
    writer.put((double(0x61, value.min), double(0x69, value.max)));
    writer.put(fixed64(0x71, value.zero_threshold.to_bits()));
}

fn summary(writer: &mut Writer<'_>, point: &Point, value: &Summary) {
    times(writer, point, Form::Summary);
    writer.put(fixed64(0x21, value.count));
    writer.put(fixed64(0x29, value.sum.to_bits()));
    for QuantileValue { quantile, value } in &value.quantiles {
        let length = writer.open(0x32, 18);
        writer.put(fixed64(0x09, quantile.to_bits()));
        writer.put(fixed64(0x11, value.to_bits()));
        writer.close(length);
    }
    labels(writer, 0x3a, point.labels());
}

fn labels(writer: &mut Writer<'_>, tag: u8, labels: &LabelSet) {
    for (key, value) in labels.iter() {
        str_attribute(writer, tag, key, value);
    }
}

fn exemplars(writer: &mut Writer<'_>, tag: u8, point: &Point) {
    for each in point.exemplars() {
        exemplar(writer, tag, each);
    }
}

fn exemplar(writer: &mut Writer<'_>, tag: u8, exemplar: &Exemplar) {
    let length = writer.open(tag, USUAL_POINT_BYTES);
    writer.put(fixed64(0x11, exemplar.time.0));
    if let Number::F64(double) = exemplar.value {
        writer.put((0x19, Fixed64(double.to_bits())));
    }
    let (span, trace) = (exemplar.span_id, exemplar.trace_id);
    writer.put(span.is_valid().then_some(([0x22, 8], span.to_bytes())));
    writer.put(trace.is_valid().then_some(([0x2a, 16], trace.0)));
    if let Number::Int(int) = exemplar.value {
        writer.put((0x31, Fixed64(int.cast_unsigned())));
    }
    if let Some(more) = &exemplar.labels {
        labels(writer, 0x3a, more);
    }
    writer.close(length);
}

/// A `Buckets`, absent when it is empty.
fn buckets(writer: &mut Writer<'_>, tag: u8, buckets: &Buckets) {
    if buckets.counts.is_empty() {
        return;
    }
    let length = writer.open(tag, USUAL_POINT_BYTES);
    writer.put(zigzag(0x08, buckets.offset));
    let counts = writer.open(0x12, USUAL_POINT_BYTES);
    for &count in &buckets.counts {
        writer.put(Varint(count));
    }
    writer.close(counts);
    writer.close(length);
}

/// Eight bytes for each number, absent when there are none.
fn packed(writer: &mut Writer<'_>, tag: u8, numbers: impl ExactSizeIterator<Item = u64>) {
    if numbers.len() == 0 {
        return;
    }
    writer.put((tag, Varint(numbers.len() as u64 * 8)));
    for number in numbers {
        writer.put(Fixed64(number));
    }
}

/// Absent when all its bits are zero.
fn fixed64(tag: u8, bits: u64) -> Option<(u8, Fixed64)> {
    (bits != 0).then_some((tag, Fixed64(bits)))
}

/// An `optional double`: present with zero.
fn double(tag: u8, value: Option<f64>) -> Option<(u8, Fixed64)> {
    value.map(|value| (tag, Fixed64(value.to_bits())))
}

/// A `sint32`, absent when zero.
fn zigzag(tag: u8, value: i32) -> Option<(u8, LongVarint)> {
    (value != 0).then_some((tag, LongVarint::zigzag(value.into())))
}
