//! Prometheus's protobuf: `io.prometheus.client.MetricFamily`, each after its length, with native histograms.
//!
//! Source: prometheus/prometheus `prompb/io/prometheus/client/metrics.proto`.

use hiq_core::metric::{
    Buckets, Exemplar, ExponentialHistogram, Histogram, LabelForm, LabelSet, Number, Point,
    PointValue, Summary,
};
use hiq_core::resource::Resource;
use hiq_core::time::UnixNanos;
use hiq_core::wire::{Fixed64, LongVarint, Varint, Writer};

use crate::clash::Group;
use crate::encode_text::cumulated;
use crate::names::Alphabet;
use crate::native::{Sparse, schema_of};
use crate::octaves::octaves;
use crate::series::{FamilyKind, exemplar_labels};
use crate::target::{Naming, point_labels, resource_labels};

const USUAL_FAMILY_BYTES: usize = 4_096;
const USUAL_METRIC_BYTES: usize = 200;

// Fields of MetricFamily.
const NAME: u8 = 0x0a;
const HELP: u8 = 0x12;
const TYPE: u8 = 0x18;
const METRIC: u8 = 0x22;
const UNIT: u8 = 0x2a;
// Fields of Metric.
const LABEL: u8 = 0x0a;
const GAUGE: u8 = 0x12;
const COUNTER: u8 = 0x1a;
const SUMMARY: u8 = 0x22;
const HISTOGRAM: u8 = 0x3a;

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct ProtoPage<'o> {
    out: &'o mut Vec<u8>,
    naming: Naming<'o>,
    sparse: Sparse,
}

impl<'o> ProtoPage<'o> {
    pub(crate) fn new(naming: Naming<'o>, out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            naming,
            sparse: Sparse::default(),
        }
    }

    /// What the resource says, as the labels of `target_info`.
    pub(crate) fn target_info(&mut self, resource: &Resource) {
        let labels = resource_labels(resource, self.naming);
        if labels.is_empty() {
            return;
        }
        delimited(self.out, |writer| {
            head(
                writer,
                "target_info",
                "Target metadata",
                "",
                FamilyKind::Gauge,
            );
            let metric = writer.open(METRIC, USUAL_METRIC_BYTES);
            for (name, value) in &labels {
                label(writer, LABEL, name, value);
            }
            let gauge = writer.open(GAUGE, 9);
            writer.put((0x09_u8, Fixed64(1_f64.to_bits())));
            writer.close(gauge);
            writer.close(metric);
        });
    }

    /// The families of one name.
    pub(crate) fn group(&mut self, group: &Group<'_>) {
        let names = &group.names;
        let (sparse, naming) = (&mut self.sparse, self.naming);
        delimited(self.out, |writer| {
            if names.kind == FamilyKind::Counter {
                let name = format!("{}_total", names.name);
                head(writer, &name, &names.help, &names.unit, names.kind);
            } else {
                head(writer, &names.name, &names.help, &names.unit, names.kind);
            }
            for point in group.points() {
                let metric = writer.open(METRIC, USUAL_METRIC_BYTES);
                labels(writer, point.labels(), names.kind, naming);
                value(writer, point, names.kind, naming.alphabet, sparse);
                writer.close(metric);
            }
        });
    }
}

/// Appends a message after its length.
fn delimited(out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    // `open` writes a tag, which stands for nothing here and is taken out again.
    let start = out.len();
    let mut writer = Writer::new(out);
    let length = writer.open(0, USUAL_FAMILY_BYTES);
    write(&mut writer);
    writer.close(length);
    drop(writer);
    out.remove(start);
}

fn head(writer: &mut Writer<'_>, name: &str, help: &str, unit: &str, kind: FamilyKind) {
    text(writer, NAME, name);
    text(writer, HELP, help);
    let kind: u8 = match kind {
        FamilyKind::Counter => 0,
        FamilyKind::Gauge => 1,
        FamilyKind::Summary => 2,
        FamilyKind::Histogram => 4,
    };
    writer.put([TYPE, kind]);
    if !unit.is_empty() {
        text(writer, UNIT, unit);
    }
}

fn labels(writer: &mut Writer<'_>, set: &LabelSet, kind: FamilyKind, naming: Naming<'_>) {
    let write = |set: &LabelSet, out: &mut Vec<u8>| {
        let mut writer = Writer::new(out);
        for (name, value) in point_labels(set, kind, naming) {
            label(&mut writer, LABEL, &name, &value);
        }
    };
    if naming.alphabet == Alphabet::Classic && naming.is_of_any_kind(set, kind) {
        writer.put(set.rendered(LabelForm::PrometheusProto, write));
    } else {
        let mut bytes = Vec::new();
        write(set, &mut bytes);
        writer.put(bytes.as_slice());
    }
}

fn value(
    writer: &mut Writer<'_>,
    point: &Point,
    kind: FamilyKind,
    alphabet: Alphabet,
    sparse: &mut Sparse,
) {
    match point.value() {
        PointValue::Number(number) if kind == FamilyKind::Counter => {
            let counter = writer.open(COUNTER, USUAL_METRIC_BYTES);
            writer.put((0x09_u8, double(*number)));
            if let Some(example) = point.exemplars().last() {
                exemplar(writer, 0x12, example, alphabet);
            }
            timestamp(writer, 0x1a, point.start());
            writer.close(counter);
        }
        PointValue::Number(number) => {
            let gauge = writer.open(GAUGE, 9);
            writer.put((0x09_u8, double(*number)));
            writer.close(gauge);
        }
        PointValue::Histogram(value) => {
            let histogram = writer.open(HISTOGRAM, USUAL_METRIC_BYTES);
            classic(writer, point, value, alphabet);
            writer.close(histogram);
        }
        PointValue::ExponentialHistogram(value) => {
            let histogram = writer.open(HISTOGRAM, USUAL_METRIC_BYTES);
            native(writer, point, value, alphabet, sparse);
            writer.close(histogram);
        }
        PointValue::Summary(value) => match &value.sketch {
            Some(sketch) if kind == FamilyKind::Histogram => {
                let histogram = writer.open(HISTOGRAM, USUAL_METRIC_BYTES);
                native(writer, point, sketch, alphabet, sparse);
                writer.close(histogram);
            }
            _ => summary(writer, point, value),
        },
        _ => {}
    }
}

fn double(number: Number) -> Fixed64 {
    Fixed64(number.as_f64().to_bits())
}

fn summary(writer: &mut Writer<'_>, point: &Point, value: &Summary) {
    let summary = writer.open(SUMMARY, USUAL_METRIC_BYTES);
    writer.put((0x08_u8, LongVarint(value.count)));
    writer.put((0x11_u8, Fixed64(value.sum.to_bits())));
    for one in &value.quantiles {
        writer.put([0x1a_u8, 18]);
        writer.put((0x09_u8, Fixed64(one.quantile.to_bits())));
        writer.put((0x11_u8, Fixed64(one.value.to_bits())));
    }
    timestamp(writer, 0x22, point.start());
    writer.close(summary);
}

fn classic(writer: &mut Writer<'_>, point: &Point, value: &Histogram, alphabet: Alphabet) {
    count_and_sum(writer, value.count, value.sum);
    let infinity = std::iter::once(f64::INFINITY);
    let bounds = value.bounds.iter().copied().chain(infinity);
    let mut above = f64::NEG_INFINITY;
    for (bound, count) in bounds.zip(cumulated(&value.counts)) {
        let bucket = bucket(writer, bound, count);
        let is_here = |example: &&Exemplar| {
            let value = example.value.as_f64();
            value > above && value <= bound
        };
        if let Some(example) = point.exemplars().iter().rev().find(is_here) {
            exemplar(writer, 0x1a, example, alphabet);
        }
        writer.close(bucket);
        above = bound;
    }
    timestamp(writer, 0x7a, point.start());
}

fn native(
    writer: &mut Writer<'_>,
    point: &Point,
    value: &ExponentialHistogram,
    alphabet: Alphabet,
    sparse: &mut Sparse,
) {
    count_and_sum(writer, value.count, value.sum);
    let Some((schema, joins)) = schema_of(value.scale) else {
        // Wider than any native histogram: bounds are all that is left.
        let infinity = std::iter::once((f64::INFINITY, value.count));
        for (bound, count) in octaves(value).into_iter().chain(infinity) {
            let bucket = bucket(writer, bound, count);
            writer.close(bucket);
        }
        return timestamp(writer, 0x7a, point.start());
    };
    writer.put((0x28_u8, LongVarint::zigzag(i64::from(schema))));
    writer.put((0x31_u8, Fixed64(value.zero_threshold.to_bits())));
    writer.put((0x38_u8, LongVarint(value.zero_count)));
    buckets(writer, &value.negative, joins, sparse, [0x4a, 0x52]);
    buckets(writer, &value.positive, joins, sparse, [0x62, 0x6a]);
    timestamp(writer, 0x7a, point.start());
    for example in point.exemplars() {
        let length = open_two_byte_tag(writer);
        exemplar_body(writer, example, alphabet);
        writer.close(length);
    }
}

/// Field 16, whose tag takes two bytes.
fn open_two_byte_tag(writer: &mut Writer<'_>) -> hiq_core::wire::OpenLength {
    writer.put(0x82_u8);
    writer.open(0x01, USUAL_METRIC_BYTES)
}

fn count_and_sum(writer: &mut Writer<'_>, count: u64, sum: Option<f64>) {
    writer.put((0x08_u8, LongVarint(count)));
    writer.put((0x11_u8, Fixed64(sum.unwrap_or_default().to_bits())));
}

fn bucket(writer: &mut Writer<'_>, bound: f64, count: u64) -> hiq_core::wire::OpenLength {
    let bucket = writer.open(0x1a, 20);
    writer.put((0x08_u8, LongVarint(count)));
    writer.put((0x11_u8, Fixed64(bound.to_bits())));
    bucket
}

/// Spans and deltas of one sign. A histogram without any bucket has one empty span, by which it is told from a classic one.
fn buckets(
    writer: &mut Writer<'_>,
    given: &Buckets,
    joins: u32,
    sparse: &mut Sparse,
    [span_tag, delta_tag]: [u8; 2],
) {
    sparse.load(given, joins);
    for (offset, length) in &sparse.spans {
        let span = writer.open(span_tag, 8);
        writer.put((0x08_u8, LongVarint::zigzag(i64::from(*offset))));
        writer.put((0x10_u8, Varint(u64::from(*length))));
        writer.close(span);
    }
    if sparse.spans.is_empty() && span_tag == 0x62 {
        writer.put([span_tag, 0]);
    }
    for delta in &sparse.deltas {
        writer.put((delta_tag & !0x07, LongVarint::zigzag(*delta)));
    }
}

fn exemplar(writer: &mut Writer<'_>, tag: u8, example: &Exemplar, alphabet: Alphabet) {
    let length = writer.open(tag, USUAL_METRIC_BYTES);
    exemplar_body(writer, example, alphabet);
    writer.close(length);
}

fn exemplar_body(writer: &mut Writer<'_>, example: &Exemplar, alphabet: Alphabet) {
    for (name, value) in exemplar_labels(example, alphabet) {
        label(writer, LABEL, &name, &value);
    }
    writer.put((0x11_u8, double(example.value)));
    timestamp(writer, 0x1a, example.time);
}

/// A `google.protobuf.Timestamp`; nothing for a time that is not known.
fn timestamp(writer: &mut Writer<'_>, tag: u8, time: UnixNanos) {
    if time.0 == 0 {
        return;
    }
    let length = writer.open(tag, 12);
    writer.put((0x08_u8, LongVarint(time.0 / 1_000_000_000)));
    writer.put((0x10_u8, Varint(time.0 % 1_000_000_000)));
    writer.close(length);
}

fn label(writer: &mut Writer<'_>, tag: u8, name: &str, value: &str) {
    let length = writer.open(tag, name.len() + value.len() + 4);
    text(writer, 0x0a, name);
    text(writer, 0x12, value);
    writer.close(length);
}

fn text(writer: &mut Writer<'_>, tag: u8, text: &str) {
    writer.put((tag, Varint(text.len() as u64)));
    writer.put(text.as_bytes());
}
