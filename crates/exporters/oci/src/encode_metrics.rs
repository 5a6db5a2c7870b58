//! Metrics to `PostMetricDataDetails`, in one pass: a series for each number that a point holds.

use std::borrow::Cow;

use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::metric::{
    Descriptor, Family, MetricBatch, MetricCursor, Number, Point, PointPage, PointValue,
    fill_points,
};
use hiq_core::resource::Resource;
use hiq_core::transport::Reply;
use hiq_core::value::ValueRef;
use hiq_core::wire::{JsonStr, Writer};
use jiff::Timestamp;

use crate::config::MonitoringSettings;
use crate::judge::{Service, judge};

/// Series of one call.
const MAX_SERIES: usize = 50;
/// Dimensions of a series.
const MAX_DIMENSIONS: usize = 20;
/// Characters of a dimension's key.
const MAX_KEY: usize = 256;
/// Characters of a dimension's value.
const MAX_VALUE: usize = 512;
/// Characters of a metric's name. The service names no limit; it is the usual one.
const MAX_NAME: usize = 255;
/// Characters of the unit.
const MAX_UNIT: usize = 256;

/// `PostMetricData` of OCI Monitoring, at most 50 series a call.
///
/// | ours | there | rule |
/// |---|---|---|
/// | name | `name` | what is not a letter, digit or one of `. _ - $` becomes `_`; a letter first |
/// | labels | `dimensions` | spaces and what is not ASCII in keys become `_`; without empty values; values of at most 512 characters |
/// | the resource's `service.name`, `service.instance.id`, `host.name` | `dimensions` | where there is room for them |
/// | unit | `metadata.unit` | |
/// | gauge, sum | one datapoint | a sum as it stands since its start: `increment()` and `rate()` of a query take differences |
/// | histogram | `<name>_count`, `_sum`, `_min`, `_max` | as far as they are known |
/// | summary | `<name>_count`, `_sum`, and `<name>` with dimension `quantile` | |
/// | NaN, infinity | | left out |
/// | start, exemplars, buckets | | lost |
#[derive(Debug)]
pub struct MonitoringEncoder {
    /// What stands before the name in every series.
    head: Vec<u8>,
}

impl MonitoringEncoder {
    /// An encoder for the namespace, compartment and resource group of `settings`.
    pub fn new(settings: &MonitoringSettings) -> Self {
        let mut head = Vec::new();
        Writer::new(&mut head).put((
            b"{\"namespace\":\"",
            JsonStr(&settings.namespace),
            b"\",\"compartmentId\":\"",
            JsonStr(&settings.compartment),
            b'"',
        ));
        if let Some(group) = &settings.resource_group {
            Writer::new(&mut head).put((b",\"resourceGroup\":\"", JsonStr(group), b'"'));
        }
        Writer::new(&mut head).put(b",\"name\":\"");
        Self { head }
    }
}

impl Encoder<MetricBatch> for MonitoringEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("oci_monitoring", "application/json")
    }

    fn encode(
        &mut self,
        cursor: &mut MetricCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let resource = dimensions_of(cursor.batch().resource());
        let mut call = Call {
            head: &self.head,
            resource: &resource,
            start: out.len(),
            out,
            series: 0,
            before: (0, 0),
        };
        fill_points(cursor, limits, &mut call)
    }

    fn judge(&self, reply: &Reply, items: usize) -> Verdict {
        judge(Service::Monitoring, reply, items)
    }
}

type Dimensions<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A call that is being written.
struct Call<'e> {
    head: &'e [u8],
    resource: &'e Dimensions<'e>,
    start: usize,
    out: &'e mut Vec<u8>,
    series: usize,
    /// Bytes and series before the last point.
    before: (usize, usize),
}

const TAIL: &[u8] = b"],\"batchAtomicity\":\"NON_ATOMIC\"}";

impl<'a> PointPage<'a> for Call<'_> {
    fn push(&mut self, family: &'a Family, point: &'a Point) -> bool {
        self.before = (self.out.len(), self.series);
        let labels = dimensions(self.resource, point);
        let Some(labels) = labels.filter(|labels| labels.len() <= MAX_DIMENSIONS) else {
            return false;
        };
        let shape = Shape {
            descriptor: family.descriptor(),
            labels: &labels,
            time: point.time().0,
        };
        match point.value() {
            PointValue::Number(number) => self.series(&shape, "", None, *number),
            PointValue::Histogram(histogram) => {
                self.distribution(&shape, histogram.count, histogram.sum);
                self.extremes(&shape, histogram.min, histogram.max);
            }
            PointValue::ExponentialHistogram(histogram) => {
                self.distribution(&shape, histogram.count, histogram.sum);
                self.extremes(&shape, histogram.min, histogram.max);
            }
            PointValue::Summary(summary) => {
                self.distribution(&shape, summary.count, Some(summary.sum));
                for quantile in &summary.quantiles {
                    let value = Number::F64(quantile.value);
                    self.series(&shape, "", Some(quantile.quantile), value);
                }
            }
            _ => {}
        }
        self.series > self.before.1
    }

    fn fits(&self, max_bytes: usize) -> bool {
        self.series <= MAX_SERIES && self.out.len() - self.start + TAIL.len() <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before.0);
        self.series = self.before.1;
    }

    fn finish(&mut self) {
        Writer::new(self.out).put(TAIL);
    }
}

/// What the series of a point have in common.
struct Shape<'a> {
    descriptor: &'a Descriptor,
    labels: &'a Dimensions<'a>,
    /// Unix nanoseconds.
    time: u64,
}

impl Call<'_> {
    fn distribution(&mut self, shape: &Shape<'_>, count: u64, sum: Option<f64>) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.series(shape, "_count", None, Number::Int(count));
        if let Some(sum) = sum {
            self.series(shape, "_sum", None, Number::F64(sum));
        }
    }

    fn extremes(&mut self, shape: &Shape<'_>, min: Option<f64>, max: Option<f64>) {
        for (suffix, extreme) in [("_min", min), ("_max", max)] {
            if let Some(extreme) = extreme {
                self.series(shape, suffix, None, Number::F64(extreme));
            }
        }
    }

    /// Writes one series, unless JSON has no such number or the service no such time.
    fn series(&mut self, shape: &Shape<'_>, suffix: &str, quantile: Option<f64>, value: Number) {
        let Some(value) = digits(value) else { return };
        let micros = i64::try_from(shape.time / 1_000).unwrap_or(i64::MAX);
        let Ok(time) = Timestamp::from_microsecond(micros) else {
            return;
        };
        let name = metric_name(shape.descriptor.name(), suffix);
        let opening: &[u8] = if self.series == 0 {
            b"{\"metricData\":["
        } else {
            b","
        };
        let mut writer = Writer::new(self.out);
        writer.put((opening, self.head, JsonStr(&name), b"\",\"dimensions\":{"));
        let mut separator: &[u8] = b"\"";
        for (key, value) in shape.labels {
            writer.put((separator, JsonStr(key), b"\":\"", JsonStr(value), b'"'));
            separator = b",\"";
        }
        if let Some(quantile) = quantile {
            let quantile = quantile.to_string();
            writer.put((separator, b"quantile\":\"", JsonStr(&quantile), b'"'));
        }
        writer.put(b'}');
        let unit = shape.descriptor.unit();
        if !unit.is_empty() {
            let unit = cut(unit, MAX_UNIT);
            writer.put((b",\"metadata\":{\"unit\":\"", JsonStr(&unit), b"\"}"));
        }
        let time = format!("{time:.6}");
        writer.put((
            b",\"datapoints\":[{\"timestamp\":\"",
            time.as_bytes(),
            b"\",\"value\":",
        ));
        writer.put((value.as_bytes(), b"}]}"));
        self.series += 1;
    }
}

/// A point's own labels, then what there is room for of its resource. `None` when one cannot be written.
fn dimensions<'a>(resource: &'a Dimensions<'_>, point: &'a Point) -> Option<Dimensions<'a>> {
    let own = point.labels().iter().filter(|(_, value)| !value.is_empty());
    let mut all = Dimensions::new();
    for (key, value) in own {
        all.push((dimension_key(key)?, cut(value, MAX_VALUE)));
    }
    for (key, value) in resource {
        // One place is for a quantile.
        if all.len() + 1 < MAX_DIMENSIONS && !all.iter().any(|(known, _)| known == key) {
            all.push((Cow::Borrowed(key), Cow::Borrowed(value)));
        }
    }
    Some(all)
}

/// A number as JSON writes it.
fn digits(number: Number) -> Option<String> {
    match number {
        Number::Int(int) => Some(int.to_string()),
        Number::F64(float) if float.is_finite() => serde_json::to_string(&float).ok(),
        Number::F64(_) => None,
    }
}

fn dimensions_of(resource: &Resource) -> Dimensions<'_> {
    let mut dimensions = vec![(
        Cow::Borrowed("service.name"),
        cut(resource.service_name(), MAX_VALUE),
    )];
    for key in ["service.instance.id", "host.name"] {
        let value = match resource.attribute(key) {
            Some(ValueRef::Text(text)) => text.as_str(),
            Some(ValueRef::Str(text)) => text,
            _ => continue,
        };
        dimensions.push((Cow::Borrowed(key), cut(value, MAX_VALUE)));
    }
    dimensions.retain(|(_, value)| !value.is_empty());
    dimensions
}

fn dimension_key(key: &str) -> Option<Cow<'_, str>> {
    let length = key.chars().count();
    if length == 0 || length > MAX_KEY {
        return None;
    }
    Some(written(key, |c| c.is_ascii_graphic()))
}

fn metric_name(name: &str, suffix: &str) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '$');
    let letter = if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        ""
    } else {
        "m_"
    };
    let name = cut(name, MAX_NAME - suffix.len() - letter.len());
    format!("{letter}{}{suffix}", written(&name, is_of_name))
}

/// `text` with `_` for what may not be in it.
fn written(text: &str, may_be: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&may_be) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .map(|c| if may_be(c) { c } else { '_' })
            .collect(),
    )
}

/// The first `chars` characters of `text`.
fn cut(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        Some((end, _)) => Cow::Borrowed(&text[..end]),
        None => Cow::Borrowed(text),
    }
}
