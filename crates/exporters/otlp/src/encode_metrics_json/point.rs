//! One data point.

use hiq_core::metric::{
    Buckets, Exemplar, ExponentialHistogram, Histogram, LabelSet, Number, Point, PointValue,
    Summary,
};
use hiq_core::wire::{Decimal, Hex, JsonStr, Piece, SignedDecimal, Writer};

use crate::encode_json::{double_value, hex};
use crate::metric_form::{Form, start_of};

/// Appends `point`; false, and nothing appended, when it is none of `form`.
pub(super) fn write_point(out: &mut Vec<u8>, point: &Point, form: Form) -> bool {
    let mut writer = Writer::new(out);
    let mut object = Object::new(&mut writer);
    object.labels(b"\"attributes\":[", point.labels());
    let start = start_of(point, form);
    if start != 0 {
        object.put((b"\"startTimeUnixNano\":\"", Decimal(start), b'"'));
    }
    object.put((b"\"timeUnixNano\":\"", Decimal(point.time().0), b'"'));
    match (point.value(), form) {
        (PointValue::Number(value), _) => object.number(*value),
        (PointValue::Histogram(value), _) => histogram(&mut object, value),
        (PointValue::ExponentialHistogram(value), _) => exponential(&mut object, value),
        (PointValue::Summary(value), Form::ExponentialHistogram) => match &value.sketch {
            Some(sketch) => exponential(&mut object, sketch),
            None => return false,
        },
        (PointValue::Summary(value), _) => summary(&mut object, value),
        _ => return false,
    }
    if form != Form::Summary {
        exemplars(&mut object, point.exemplars());
    }
    object.end();
    true
}

fn histogram(object: &mut Object<'_, '_>, value: &Histogram) {
    object.put((b"\"count\":\"", Decimal(value.count), b'"'));
    object.optional(b"\"sum\":", value.sum);
    object.list(b"\"bucketCounts\":[", &value.counts, |writer, &count| {
        writer.put((b'"', Decimal(count), b'"'));
    });
    object.list(b"\"explicitBounds\":[", &value.bounds, |writer, &bound| {
        double_value(writer, bound);
    });
    object.optional(b"\"min\":", value.min);
    object.optional(b"\"max\":", value.max);
}

fn exponential(object: &mut Object<'_, '_>, value: &ExponentialHistogram) {
    object.put((b"\"count\":\"", Decimal(value.count), b'"'));
    object.optional(b"\"sum\":", value.sum);
    object.put((b"\"scale\":", SignedDecimal(value.scale.into())));
    object.put((b"\"zeroCount\":\"", Decimal(value.zero_count), b'"'));
    buckets(object, b"\"positive\":{", &value.positive);
    buckets(object, b"\"negative\":{", &value.negative);
    object.optional(b"\"min\":", value.min);
    object.optional(b"\"max\":", value.max);
    let threshold = Some(value.zero_threshold).filter(|threshold| *threshold != 0.0);
    object.optional(b"\"zeroThreshold\":", threshold);
}

fn buckets(object: &mut Object<'_, '_>, key: &'static [u8; 12], buckets: &Buckets) {
    if buckets.counts.is_empty() {
        return;
    }
    object.put((key, b"\"offset\":", SignedDecimal(buckets.offset.into())));
    object.list(b"\"bucketCounts\":[", &buckets.counts, |writer, &count| {
        writer.put((b'"', Decimal(count), b'"'));
    });
    object.writer.put(b'}');
}

fn summary(object: &mut Object<'_, '_>, value: &Summary) {
    object.put((b"\"count\":\"", Decimal(value.count), b'"'));
    object.optional(b"\"sum\":", Some(value.sum));
    object.list(b"\"quantileValues\":[", &value.quantiles, |writer, each| {
        writer.put(b"{\"quantile\":");
        double_value(writer, each.quantile);
        writer.put(b",\"value\":");
        double_value(writer, each.value);
        writer.put(b'}');
    });
}

fn exemplars(object: &mut Object<'_, '_>, exemplars: &[Exemplar]) {
    object.list(b"\"exemplars\":[", exemplars, |writer, each| {
        let mut object = Object::new(writer);
        if let Some(labels) = &each.labels {
            object.labels(b"\"filteredAttributes\":[", labels);
        }
        object.put((b"\"timeUnixNano\":\"", Decimal(each.time.0), b'"'));
        object.number(each.value);
        if each.span_id.is_valid() {
            object.put((b"\"spanId\":\"", Hex(each.span_id.0), b'"'));
        }
        if each.trace_id.is_valid() {
            object.put((b"\"traceId\":\"", hex(each.trace_id), b'"'));
        }
        object.end();
    });
}

/// An object that is being written, field by field.
struct Object<'o, 'w> {
    writer: &'o mut Writer<'w>,
    separator: u8,
}

impl<'o, 'w> Object<'o, 'w> {
    fn new(writer: &'o mut Writer<'w>) -> Self {
        Self {
            writer,
            separator: b'{',
        }
    }

    fn put(&mut self, field: impl Piece) {
        self.writer.put((self.separator, field));
        self.separator = b',';
    }

    fn optional(&mut self, key: &'static [u8], value: Option<f64>) {
        if let Some(value) = value {
            self.put(key);
            double_value(self.writer, value);
        }
    }

    fn number(&mut self, value: Number) {
        match value {
            Number::Int(int) => self.put((b"\"asInt\":\"", SignedDecimal(int), b'"')),
            Number::F64(double) => self.optional(b"\"asDouble\":", Some(double)),
        }
    }

    fn labels(&mut self, key: &'static [u8], labels: &LabelSet) {
        if labels.is_empty() {
            return;
        }
        self.put(key);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.writer.put((index > 0).then_some(b','));
            self.writer.put((b"{\"key\":\"", JsonStr(name)));
            self.writer
                .put((b"\",\"value\":{\"stringValue\":\"", JsonStr(value)));
            self.writer.put(b"\"}}");
        }
        self.writer.put(b']');
    }

    /// A list, absent when it is empty.
    fn list<T>(
        &mut self,
        key: &'static [u8],
        items: &[T],
        mut write: impl FnMut(&mut Writer<'_>, &T),
    ) {
        for (index, item) in items.iter().enumerate() {
            if index == 0 {
                self.put(key);
            } else {
                self.writer.put(b',');
            }
            write(self.writer, item);
        }
        if !items.is_empty() {
            self.writer.put(b']');
        }
    }

    fn end(self) {
        self.writer.put(b'}');
    }
}
