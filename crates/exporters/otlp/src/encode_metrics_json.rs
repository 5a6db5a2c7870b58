//! Metrics to `ExportMetricsServiceRequest` in OTLP's JSON, in one pass, straight from the snapshot.

use std::ptr;

use hiq_core::encode::cache::{Cache, give_back_excess};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::metric::{Family, MetricBatch, MetricCursor, Point, PointPage, fill_points};
use hiq_core::transport::Reply;
use hiq_core::wire::{JsonStr, Writer};

use crate::encode_json::JsonMetrics;
use crate::judge::judge;
use crate::metric_form::Form;
use crate::signal::METRICS;

mod point;

use point::write_point;

/// OTLP's metrics in JSON, for servers that do not take protobuf, and for files that people read.
///
/// One line, without spaces. 64-bit integers are texts, defaults left out. All points are cumulative. A summary that
/// comes with its sketch is sent as an exponential histogram, else as a summary.
#[derive(Debug, Default)]
pub struct OtlpMetricsJsonEncoder {
    cache: Cache<JsonMetrics>,
}

impl OtlpMetricsJsonEncoder {
    /// An encoder with nothing in its cache.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Encoder<MetricBatch> for OtlpMetricsJsonEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("otlp_json", "application/json")
    }

    fn encode(
        &mut self,
        cursor: &mut MetricCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let mut request = Request::new(&mut self.cache, cursor.batch(), out);
        let encoded = fill_points(cursor, limits, &mut request);
        give_back_excess(out, limits);
        encoded
    }

    fn judge(&self, reply: &Reply, items: usize) -> Verdict {
        judge(reply, items, self.encoding(), &METRICS)
    }
}

/// One `ExportMetricsServiceRequest` that is being written.
#[derive(Debug)]
struct Request<'a, 'e> {
    out: &'e mut Vec<u8>,
    cache: &'e mut Cache<JsonMetrics>,
    start: usize,
    /// Where the cache holds what begins and ends resource and scope.
    entries: [usize; 2],
    /// The metric that more points may be added to.
    metric: Option<Metric<'a>>,
    /// How things stood before the last point.
    before: (usize, Option<Metric<'a>>),
}

#[derive(Clone, Copy, Debug)]
struct Metric<'a> {
    family: &'a Family,
    form: Form,
}

const BEGIN: &[u8; 20] = b"{\"resourceMetrics\":[";
const END: &[u8; 2] = b"]}";

impl<'a> PointPage<'a> for Request<'a, '_> {
    fn push(&mut self, family: &'a Family, point: &'a Point) -> bool {
        let is_next = self.metric.is_some_and(|open| ptr::eq(open.family, family));
        let Some(form) = self.enter(family) else {
            return false;
        };
        if is_next {
            Writer::new(self.out).put(b',');
        }
        let is_written = write_point(self.out, point, form);
        if !is_written {
            self.pop();
        }
        is_written
    }

    fn fits(&self, max_bytes: usize) -> bool {
        let Some(metric) = self.metric else {
            return true;
        };
        let [resource, scope] = self.entries;
        let end_bytes = data_tail(metric.form).len()
            + self.cache.scopes.group(scope).tail.len()
            + self.cache.resources.group(resource).tail.len()
            + END.len();
        self.out.len() - self.start + end_bytes <= max_bytes
    }

    fn pop(&mut self) {
        let (position, metric) = self.before;
        self.out.truncate(position);
        self.metric = metric;
    }

    fn finish(&mut self) {
        self.close_metric();
        let [resource, scope] = self.entries;
        let mut writer = Writer::new(self.out);
        writer.put((
            &self.cache.scopes.group(scope).tail[..],
            &self.cache.resources.group(resource).tail[..],
            END,
        ));
    }
}

impl<'a, 'e> Request<'a, 'e> {
    fn new(cache: &'e mut Cache<JsonMetrics>, batch: &MetricBatch, out: &'e mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            start,
            entries: [cache.resource(batch.resource()), cache.scope(batch.scope())],
            cache,
            metric: None,
            before: (start, None),
        }
    }

    /// Opens what `family`'s points belong to, and tells what they become. `None`: nothing that OTLP has.
    fn enter(&mut self, family: &'a Family) -> Option<Form> {
        if let Some(open) = self.metric.filter(|open| ptr::eq(open.family, family)) {
            self.before = (self.out.len(), self.metric);
            return Some(open.form);
        }
        let form = Form::of(family)?;
        self.close_metric();
        self.before = (self.out.len(), None);
        let [resource, scope] = self.entries;
        let mut writer = Writer::new(self.out);
        if writer.position() == self.start {
            writer.put(BEGIN);
            writer.put(&self.cache.resources.group(resource).head[..]);
            writer.put(&self.cache.scopes.group(scope).head[..]);
        } else {
            writer.put(b',');
        }
        open_metric(&mut writer, family, form);
        self.metric = Some(Metric { family, form });
        Some(form)
    }

    fn close_metric(&mut self) {
        if let Some(metric) = self.metric.take() {
            Writer::new(self.out).put(data_tail(metric.form));
        }
    }
}

fn open_metric(writer: &mut Writer<'_>, family: &Family, form: Form) {
    let descriptor = family.descriptor();
    writer.put((b"{\"name\":\"", JsonStr(descriptor.name()), b'"'));
    for (key, text) in [
        (&b",\"description\":\""[..], descriptor.description()),
        (b",\"unit\":\"", descriptor.unit()),
    ] {
        writer.put((!text.is_empty()).then_some((key, JsonStr(text), b'"')));
    }
    let data: &[u8] = match form {
        Form::Gauge => b",\"gauge\":",
        Form::Sum { .. } => b",\"sum\":",
        Form::Histogram => b",\"histogram\":",
        Form::ExponentialHistogram => b",\"exponentialHistogram\":",
        Form::Summary => b",\"summary\":",
    };
    writer.put((data, b"{\"dataPoints\":["));
}

/// What ends the points, their data and the metric; the 2 is `AGGREGATION_TEMPORALITY_CUMULATIVE`.
fn data_tail(form: Form) -> &'static [u8] {
    match form {
        Form::Gauge | Form::Summary => b"]}}",
        Form::Sum { monotonic: true } => b"],\"aggregationTemporality\":2,\"isMonotonic\":true}}",
        Form::Sum { monotonic: false } | Form::Histogram | Form::ExponentialHistogram => {
            b"],\"aggregationTemporality\":2}}"
        }
    }
}
