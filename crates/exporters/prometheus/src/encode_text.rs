//! Prometheus's text format 0.0.4 and OpenMetrics 1.0, which differ in their heads, exemplars and end.
//!
//! Sources: prometheus/docs, `exposition_formats.md`; the OpenMetrics specification 1.0.

use std::borrow::Cow;
use std::ops::Range;

use hiq_core::metric::{
    Exemplar, ExponentialHistogram, Histogram, LabelForm, LabelSet, Number, Point, PointValue,
    Summary,
};
use hiq_core::resource::Resource;
use hiq_core::time::UnixNanos;

use crate::clash::{Group, TARGET_INFO};
use crate::form::{Form, Format};
use crate::names::{Alphabet, label_number};
use crate::octaves::octaves;
use crate::series::{FamilyKind, exemplar_labels};
use crate::target::{Naming, point_labels, resource_labels};

/// A page that is being written.
pub(crate) struct TextPage<'o> {
    out: &'o mut Vec<u8>,
    form: Form,
    integers: itoa::Buffer,
    floats: zmij::Buffer,
    /// Numbers as the label that a point's series differ in, up to the blank before a value: those of one family are the same.
    ends: Vec<(f64, String)>,
}

/// Series of a point that differ in the label `key` alone.
struct Alike<'p> {
    name: &'p str,
    suffix: &'static str,
    labels: &'p [u8],
    key: &'static str,
    /// Where the first one stands in the page, up to that label.
    start: Option<Range<usize>>,
}

impl<'p> Alike<'p> {
    fn new(name: &'p str, suffix: &'static str, labels: &'p [u8], key: &'static str) -> Self {
        Self {
            name,
            suffix,
            labels,
            key,
            start: None,
        }
    }
}

impl<'o> TextPage<'o> {
    pub(crate) fn new(form: Form, out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            form,
            integers: itoa::Buffer::new(),
            floats: zmij::Buffer::new(),
            ends: Vec::new(),
        }
    }

    fn is_open_metrics(&self) -> bool {
        self.form.format == Format::OpenMetrics
    }

    fn naming(&self) -> Naming<'static> {
        Naming {
            alphabet: self.form.alphabet,
            taken: &[],
        }
    }

    /// What the resource says, as the labels of `target_info`. `is_taken`: a metric is called `target`.
    pub(crate) fn target_info(&mut self, resource: &Resource, is_taken: bool) {
        let labels = resource_labels(resource, self.naming());
        if labels.is_empty() {
            return;
        }
        if self.is_open_metrics() && !is_taken {
            self.head("target", "info", "Target metadata", "");
        } else {
            self.head(TARGET_INFO, "gauge", "Target metadata", "");
        }
        let mut rendered = Vec::new();
        for (name, value) in &labels {
            write_label(&mut rendered, name, value);
        }
        self.open(TARGET_INFO, "", &rendered);
        self.put(b"1\n");
    }

    /// The families of one name.
    pub(crate) fn group(&mut self, group: &Group<'_>) {
        let names = &group.names;
        let is_untyped = group.is_untyped && self.is_open_metrics();
        let kind = match names.kind {
            FamilyKind::Counter if is_untyped => "unknown",
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            // What is no classic histogram is shown as one, except for summaries.
            FamilyKind::Histogram if group.points().all(is_summary) => "summary",
            FamilyKind::Histogram => "histogram",
            FamilyKind::Summary => "summary",
        };
        let is_counter = names.kind == FamilyKind::Counter;
        let name: Cow<'_, str> = if is_counter && (is_untyped || !self.is_open_metrics()) {
            format!("{}_total", names.name).into()
        } else {
            names.name.as_str().into()
        };
        self.head(&name, kind, &names.help, &names.unit);
        self.ends.clear();
        for point in group.points() {
            self.point(group, point);
        }
    }

    /// What the page ends with.
    pub(crate) fn finish(self) {
        if self.is_open_metrics() {
            self.out.extend_from_slice(b"# EOF\n");
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str, unit: &str) {
        let mut quoted = Vec::new();
        write_name(&mut quoted, name, "");
        self.put(b"# TYPE ");
        self.put(&quoted);
        self.put(b" ");
        self.put(kind.as_bytes());
        if self.is_open_metrics() && !unit.is_empty() && ends_with_word(name, unit) {
            self.put(b"\n# UNIT ");
            self.put(&quoted);
            self.put(b" ");
            self.put(unit.as_bytes());
        }
        if !help.is_empty() {
            self.put(b"\n# HELP ");
            self.put(&quoted);
            self.put(b" ");
            let escapes_quotes = self.is_open_metrics();
            escape(self.out, help, escapes_quotes);
        }
        self.put(b"\n");
    }

    fn point(&mut self, group: &Group<'_>, point: &Point) {
        let names = &group.names;
        let (naming, mut own) = (self.naming(), Vec::new());
        let form = match naming.alphabet {
            Alphabet::Classic => LabelForm::PrometheusText,
            Alphabet::Utf8 => LabelForm::PrometheusUtf8Text,
        };
        let write = |labels: &LabelSet, out: &mut Vec<u8>| {
            for (name, value) in point_labels(labels, names.kind, naming) {
                write_label(out, &name, &value);
            }
        };
        let labels = if naming.is_of_any_kind(point.labels(), names.kind) {
            point.labels().rendered(form, write)
        } else {
            write(point.labels(), &mut own);
            &own
        };
        let name = names.name.as_str();
        match point.value() {
            PointValue::Number(number) if names.kind == FamilyKind::Counter => {
                self.open(name, "_total", labels);
                self.number(*number);
                if group.is_untyped {
                    return self.put(b"\n");
                }
                self.exemplar(point.exemplars().last());
                self.created(name, labels, point.start());
            }
            PointValue::Number(number) => {
                self.open(name, "", labels);
                self.number(*number);
                self.put(b"\n");
            }
            PointValue::Histogram(histogram) => self.histogram(name, labels, point, histogram),
            PointValue::ExponentialHistogram(histogram) => {
                self.exponential(name, labels, point, histogram);
            }
            PointValue::Summary(summary) => self.summary(name, labels, point, summary),
            _ => {}
        }
    }

    fn histogram(&mut self, name: &str, labels: &[u8], point: &Point, histogram: &Histogram) {
        let infinity = std::iter::once(f64::INFINITY);
        let bounds = histogram.bounds.iter().copied().chain(infinity);
        self.buckets(
            name,
            labels,
            point,
            bounds.zip(cumulated(&histogram.counts)),
        );
        let lowest = histogram.bounds.first().copied();
        self.total(name, labels, point, lowest, histogram.sum, histogram.count);
    }

    /// With a bucket for each power of two: bounds that stay what they are when the range grows.
    fn exponential(
        &mut self,
        name: &str,
        labels: &[u8],
        point: &Point,
        histogram: &ExponentialHistogram,
    ) {
        let infinity = std::iter::once((f64::INFINITY, histogram.count));
        let buckets: Vec<_> = octaves(histogram).into_iter().chain(infinity).collect();
        let lowest = buckets.first().map(|(bound, _)| *bound);
        self.buckets(name, labels, point, buckets.into_iter());
        self.total(name, labels, point, lowest, histogram.sum, histogram.count);
    }

    /// Sum and count of a histogram whose lowest bound is `lowest`. `OpenMetrics` bars the sum where a bound is negative, as it
    /// could fall, and then the count beside it; the bucket `+Inf` has that too.
    fn total(
        &mut self,
        name: &str,
        labels: &[u8],
        point: &Point,
        lowest: Option<f64>,
        sum: Option<f64>,
        count: u64,
    ) {
        let may_fall = lowest.is_some_and(|bound| bound < 0.0);
        if self.is_open_metrics() && (may_fall || sum.is_none()) {
            self.created(name, labels, point.start());
        } else {
            self.sum_and_count(name, labels, point, sum, count);
        }
    }

    fn buckets(
        &mut self,
        name: &str,
        labels: &[u8],
        point: &Point,
        buckets: impl Iterator<Item = (f64, u64)>,
    ) {
        let mut above = f64::NEG_INFINITY;
        let mut series = Alike::new(name, "_bucket", labels, "le");
        for (place, (bound, count)) in buckets.enumerate() {
            self.open_next(&mut series, place, bound);
            self.integer(count);
            let is_here = |exemplar: &&Exemplar| {
                let value = exemplar.value.as_f64();
                value > above && value <= bound
            };
            self.exemplar(point.exemplars().iter().rev().find(is_here));
            above = bound;
        }
    }

    fn summary(&mut self, name: &str, labels: &[u8], point: &Point, summary: &Summary) {
        let mut series = Alike::new(name, "", labels, "quantile");
        for (place, one) in summary.quantiles.iter().enumerate() {
            self.open_next(&mut series, place, one.quantile);
            self.float(one.value);
            self.put(b"\n");
        }
        self.sum_and_count(name, labels, point, Some(summary.sum), summary.count);
    }

    fn sum_and_count(
        &mut self,
        name: &str,
        labels: &[u8],
        point: &Point,
        sum: Option<f64>,
        count: u64,
    ) {
        if let Some(sum) = sum {
            self.open(name, "_sum", labels);
            self.float(sum);
            self.put(b"\n");
        }
        self.open(name, "_count", labels);
        self.integer(count);
        self.put(b"\n");
        self.created(name, labels, point.start());
    }

    /// When the point began to count, where the format has a place for it.
    fn created(&mut self, name: &str, labels: &[u8], start: UnixNanos) {
        if self.is_open_metrics() && start.0 > 0 {
            self.open(name, "_created", labels);
            self.time(start);
            self.put(b"\n");
        }
    }

    /// Ends a line, with an example if there is one and the format has a place for it.
    fn exemplar(&mut self, exemplar: Option<&Exemplar>) {
        if let Some(exemplar) = exemplar.filter(|_| self.is_open_metrics()) {
            self.put(b" # {");
            let mut labels = Vec::new();
            for (name, value) in exemplar_labels(exemplar, self.form.alphabet) {
                write_label(&mut labels, &name, &value);
            }
            self.put(&labels);
            self.put(b"} ");
            self.number(exemplar.value);
            self.put(b" ");
            self.time(exemplar.time);
        }
        self.put(b"\n");
    }

    /// A series' name and labels, up to the blank before its value.
    #[inline]
    fn open(&mut self, name: &str, suffix: &str, labels: &[u8]) {
        let is_plain = self.is_plain(name);
        if is_plain && labels.is_empty() {
            self.put(name.as_bytes());
            self.put(suffix.as_bytes());
            return self.put(b" ");
        }
        self.begin(name, suffix, is_plain, labels);
        self.put(b"} ");
    }

    /// The same of the one of `series` whose label is `number`, the `place`th of its point.
    #[inline]
    fn open_next(&mut self, series: &mut Alike<'_>, place: usize, number: f64) {
        if let Some(start) = &series.start {
            self.out.extend_from_within(start.clone());
        } else {
            let start = self.out.len();
            let is_plain = self.is_plain(series.name);
            self.begin(series.name, series.suffix, is_plain, series.labels);
            if !(is_plain && series.labels.is_empty()) {
                self.put(b",");
            }
            series.start = Some(start..self.out.len());
        }
        let end = end(&mut self.ends, place, series.key, number);
        self.out.extend_from_slice(end.as_bytes());
    }

    /// A series' name and labels, up to the brace behind them.
    #[inline]
    fn begin(&mut self, name: &str, suffix: &str, is_plain: bool, labels: &[u8]) {
        if is_plain {
            self.put(name.as_bytes());
            self.put(suffix.as_bytes());
            self.put(b"{");
        } else {
            self.put(b"{");
            write_name(self.out, name, suffix);
            if !labels.is_empty() {
                self.put(b",");
            }
        }
        self.put(labels);
    }

    /// True when `name` stands before the braces.
    #[inline]
    fn is_plain(&self, name: &str) -> bool {
        self.form.alphabet == Alphabet::Classic || is_classic(name)
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn number(&mut self, number: Number) {
        match number {
            Number::Int(int) => self
                .out
                .extend_from_slice(self.integers.format(int).as_bytes()),
            Number::F64(float) => self.float(float),
        }
    }

    fn integer(&mut self, count: u64) {
        self.out
            .extend_from_slice(self.integers.format(count).as_bytes());
    }

    /// Seconds since 1970, to the millisecond: as exact as Prometheus stores times.
    fn time(&mut self, time: UnixNanos) {
        let millis = time.micros() / 1_000;
        self.integer(millis / 1_000);
        let digit = |power: u64| b'0' + u8::try_from(millis / power % 10).unwrap_or(0);
        self.put(&[b'.', digit(100), digit(10), digit(1)]);
    }

    fn float(&mut self, value: f64) {
        let text = if value.is_finite() {
            self.floats.format_finite(value)
        } else if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// The label `key` of `number` and what follows up to the value, kept for the next point of the family.
#[inline]
fn end<'e>(ends: &'e mut Vec<(f64, String)>, place: usize, key: &str, number: f64) -> &'e str {
    let is_known = (ends.get(place)).is_some_and(|(known, _)| known.to_bits() == number.to_bits());
    if !is_known {
        ends.truncate(place);
        ends.push((number, format!("{key}=\"{}\"}} ", label_number(number))));
    }
    &ends[place].1
}

fn is_summary(point: &Point) -> bool {
    matches!(point.value(), PointValue::Summary(_))
}

/// The counts up to each bucket.
pub(crate) fn cumulated(counts: &[u64]) -> impl Iterator<Item = u64> {
    counts.iter().scan(0_u64, |sum, count| {
        *sum += count;
        Some(*sum)
    })
}

fn ends_with_word(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit)
        .is_some_and(|rest| rest.ends_with('_'))
}

/// True for names that need no quotes.
fn is_classic(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let mut chars = name.chars();
    chars.next().is_some_and(is_letter) && chars.all(|c| is_letter(c) || c.is_ascii_digit())
}

/// A name, in quotes where it needs them.
fn write_name(out: &mut Vec<u8>, name: &str, suffix: &str) {
    if is_classic(name) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
    } else {
        out.push(b'"');
        escape(out, name, true);
        out.extend_from_slice(suffix.as_bytes());
        out.push(b'"');
    }
}

/// A label, after a comma if it is not the first.
fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(b',');
    }
    if is_classic(name) && !name.contains(':') {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.push(b'"');
        escape(out, name, true);
        out.push(b'"');
    }
    out.extend_from_slice(b"=\"");
    escape(out, value, true);
    out.push(b'"');
}

/// `\` and line ends, and quotes where they end the text.
fn escape(out: &mut Vec<u8>, text: &str, in_quotes: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if in_quotes => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}
