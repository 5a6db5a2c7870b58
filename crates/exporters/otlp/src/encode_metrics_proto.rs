//! Metrics to `ExportMetricsServiceRequest` in protobuf, in one pass, straight from the snapshot.

use std::ptr;

use hiq_core::encode::cache::{Cache, give_back_excess};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::metric::{Family, MetricBatch, MetricCursor, Point, PointPage, fill_points};
use hiq_core::transport::Reply;
use hiq_core::wire::{OpenLength, Varint, Writer, varint_len};

use crate::encode_proto::Proto;
use crate::judge::judge;
use crate::metric_form::{CUMULATIVE, Form};
use crate::signal::METRICS;

mod point;

use point::write_point;

/// OTLP's metrics in protobuf: the encoding to prefer.
///
/// Fields are written in the order of their numbers, defaults left out, every length as short as it can be. All
/// points are cumulative. A summary that comes with its sketch is sent as an exponential histogram, else as a summary.
#[derive(Debug, Default)]
pub struct OtlpMetricsProtoEncoder {
    cache: Cache<Proto>,
}

impl OtlpMetricsProtoEncoder {
    /// An encoder with nothing in its cache.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Encoder<MetricBatch> for OtlpMetricsProtoEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("otlp_proto", "application/x-protobuf")
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
    cache: &'e mut Cache<Proto>,
    batch: &'a MetricBatch,
    start: usize,
    open: Open<'a>,
    /// How things stood before the last point.
    before: (usize, Open<'a>),
}

/// What more may be added to.
#[derive(Clone, Copy, Debug, Default)]
struct Open<'a> {
    groups: Option<Groups>,
    metric: Option<Metric<'a>>,
}

/// A `ResourceMetrics` and its `ScopeMetrics`.
#[derive(Clone, Copy, Debug)]
struct Groups {
    resource: Level,
    scope: Level,
    /// Where the cache holds what ends them.
    entries: [usize; 2],
}

/// A `Metric`, with the message that holds its points.
#[derive(Clone, Copy, Debug)]
struct Metric<'a> {
    family: &'a Family,
    form: Form,
    whole: Level,
    data: Level,
}

/// A message whose length is not known yet.
#[derive(Clone, Copy, Debug)]
struct Level {
    length: OpenLength,
    /// What still comes behind what is in it.
    tail_bytes: usize,
}

impl Level {
    /// Where it would end if what is in it ends at `position`.
    fn end(&self, position: usize) -> usize {
        let body = position + self.tail_bytes - self.length.body();
        self.length.body() - self.length.width() + varint_len(body as u64) + body
    }
}

impl<'a> PointPage<'a> for Request<'a, '_> {
    fn push(&mut self, family: &'a Family, point: &'a Point) -> bool {
        let Some(form) = self.enter(family) else {
            return false;
        };
        let is_written = write_point(self.out, point, form);
        if !is_written {
            self.pop();
        }
        is_written
    }

    fn fits(&self, max_bytes: usize) -> bool {
        let (Some(groups), Some(metric)) = (self.open.groups, self.open.metric) else {
            return true;
        };
        let levels = [metric.data, metric.whole, groups.scope, groups.resource];
        let end = levels
            .iter()
            .fold(self.out.len(), |end, level| level.end(end));
        end - self.start <= max_bytes
    }

    fn pop(&mut self) {
        let (position, open) = self.before;
        self.out.truncate(position);
        self.open = open;
    }

    fn finish(&mut self) {
        self.close_metric();
        let Some(groups) = self.open.groups.take() else {
            return;
        };
        let [resource, scope] = groups.entries;
        let mut writer = Writer::new(self.out);
        writer.put(&self.cache.scopes.group(scope).tail[..]);
        writer.close(groups.scope.length);
        writer.put(&self.cache.resources.group(resource).tail[..]);
        writer.close(groups.resource.length);
    }
}

/// What most payloads come to: their lengths take three bytes, and nothing moves when they are filled in.
const USUAL_GROUP_BYTES: usize = 20_000;
const USUAL_METRIC_BYTES: usize = 1_000;

impl<'a, 'e> Request<'a, 'e> {
    fn new(cache: &'e mut Cache<Proto>, batch: &'a MetricBatch, out: &'e mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            cache,
            batch,
            start,
            open: Open::default(),
            before: (start, Open::default()),
        }
    }

    /// Opens what `family`'s points belong to, and tells what they become. `None`: nothing that OTLP has.
    fn enter(&mut self, family: &'a Family) -> Option<Form> {
        if let Some(open) = self.open.metric.filter(|open| ptr::eq(open.family, family)) {
            self.before = (self.out.len(), self.open);
            return Some(open.form);
        }
        let form = Form::of(family)?;
        self.close_metric();
        self.before = (self.out.len(), self.open);
        if self.open.groups.is_none() {
            self.open.groups = Some(self.open_groups());
        }
        self.open.metric = Some(open_metric(self.out, family, form));
        Some(form)
    }

    fn open_groups(&mut self) -> Groups {
        let resource = self.cache.resource(self.batch.resource());
        let scope = self.cache.scope(self.batch.scope());
        let resources = self.cache.resources.group(resource);
        let scopes = self.cache.scopes.group(scope);
        let mut writer = Writer::new(self.out);
        let resource_length = writer.open(0x0a, USUAL_GROUP_BYTES);
        writer.put(&resources.head[..]);
        let scope_length = writer.open(0x12, USUAL_GROUP_BYTES);
        writer.put(&scopes.head[..]);
        Groups {
            resource: Level {
                length: resource_length,
                tail_bytes: resources.tail.len(),
            },
            scope: Level {
                length: scope_length,
                tail_bytes: scopes.tail.len(),
            },
            entries: [resource, scope],
        }
    }

    fn close_metric(&mut self) {
        if let Some(metric) = self.open.metric.take() {
            let mut writer = Writer::new(self.out);
            writer.put(data_tail(metric.form));
            writer.close(metric.data.length);
            writer.close(metric.whole.length);
        }
    }
}

fn open_metric<'a>(out: &mut Vec<u8>, family: &'a Family, form: Form) -> Metric<'a> {
    let descriptor = family.descriptor();
    let mut writer = Writer::new(out);
    let whole = writer.open(0x12, USUAL_METRIC_BYTES);
    for (tag, text) in [
        (0x0a, descriptor.name()),
        (0x12, descriptor.description()),
        (0x1a, descriptor.unit()),
    ] {
        writer.put((!text.is_empty()).then_some((tag, Varint(text.len() as u64), text.as_bytes())));
    }
    let data = writer.open(data_tag(form), USUAL_METRIC_BYTES);
    Metric {
        family,
        form,
        whole: Level {
            length: whole,
            tail_bytes: 0,
        },
        data: Level {
            length: data,
            tail_bytes: data_tail(form).len(),
        },
    }
}

/// The field of `Metric`'s `data`.
fn data_tag(form: Form) -> u8 {
    match form {
        Form::Gauge => 0x2a,
        Form::Sum { .. } => 0x3a,
        Form::Histogram => 0x4a,
        Form::ExponentialHistogram => 0x52,
        Form::Summary => 0x5a,
    }
}

/// `aggregation_temporality` and `is_monotonic`.
fn data_tail(form: Form) -> &'static [u8] {
    match form {
        Form::Gauge | Form::Summary => &[],
        Form::Sum { monotonic: true } => &[0x10, CUMULATIVE, 0x18, 1],
        Form::Sum { monotonic: false } | Form::Histogram | Form::ExponentialHistogram => {
            &[0x10, CUMULATIVE]
        }
    }
}
