//! Points to remote write's requests: what versions 1.0 and 2.0 have in common.

use std::cell::Cell;
use std::fmt;
use std::ptr;

use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::metric::{
    Family, MetricBatch, MetricCursor, MetricPosition, Point, PointPage, PointValue, fill_points,
};
use hiq_core::transport::Reply;

use crate::clash::{Groups, TARGET_INFO, told};
use crate::config::WriteVersion;
use crate::judge;
use crate::names::Alphabet;
use crate::native::schema_of;
use crate::series::{FamilyKind, FamilyNames, Label, Row, Sample, Target, labels_of, pairs, rows};

mod histogram;
mod metadata;
mod v1;
mod v2;

use metadata::Metadata;
use v1::WriteRequest;
use v2::RequestV2;

/// `Content-Type` of version 1.0.
pub(crate) const TYPE_V1: &str = "application/x-protobuf";
/// `Content-Type` of version 2.0.
pub(crate) const TYPE_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// Prometheus' remote write, version 2.0 with 1.0 to fall back to, or either alone.
///
/// Payloads are compressed as the protocol demands: snappy, block format. Each series has `job` and `instance` from the
/// resource; its other attributes are the labels of `target_info`, which comes with each snapshot but those that are older than the
/// last one of their target. An item is a point, however
/// many series it becomes.
#[derive(Debug)]
pub struct RemoteWriteEncoder {
    alphabet: Alphabet,
    /// Changed for good when the server turns out not to know it.
    version: Cell<WriteVersion>,
    /// False once the server has said that it takes no native histograms.
    natives: Cell<bool>,
    raw: Vec<u8>,
    scratch: Scratch,
    metadata: Metadata,
    snappy: Snappy,
    /// Why the last snapshot is not whole.
    clash: Option<String>,
}

/// Memory that is used again from payload to payload.
#[derive(Debug, Default)]
struct Scratch {
    v1: WriteRequest,
    v2: RequestV2,
}

impl RemoteWriteEncoder {
    /// An encoder of `version`. Names are written in `alphabet`.
    pub fn new(version: WriteVersion, alphabet: Alphabet) -> Self {
        Self {
            alphabet,
            version: Cell::new(version),
            natives: Cell::new(true),
            raw: Vec::new(),
            scratch: Scratch::default(),
            metadata: Metadata::default(),
            snappy: Snappy(snap::raw::Encoder::new()),
            clash: None,
        }
    }

    /// The version that it writes now.
    pub fn version(&self) -> WriteVersion {
        self.version.get()
    }
}

impl Encoder<MetricBatch> for RemoteWriteEncoder {
    fn encoding(&self) -> Encoding {
        match self.version.get() {
            WriteVersion::V1 => Encoding::new("remote_write_v1", TYPE_V1),
            WriteVersion::V2 | WriteVersion::V2OrV1 => Encoding::new("remote_write_v2", TYPE_V2),
        }
    }

    fn encode(
        &mut self,
        cursor: &mut MetricCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        self.raw.clear();
        let style = Style {
            alphabet: self.alphabet,
            natives: self.natives.get(),
        };
        let target = Target::of(cursor.batch().resource());
        let (batch, natives) = (cursor.batch(), style.natives);
        let groups = Groups::of(batch, target.naming(self.alphabet), natives);
        self.clash = told(&groups.clashes);
        let given = Given {
            target: &target,
            groups: &groups,
            style,
            metadata: &mut self.metadata,
        };
        let raw = &mut self.raw;
        let encoded = match self.version.get() {
            WriteVersion::V1 => fill_request(cursor, limits, given, &mut self.scratch.v1, raw),
            WriteVersion::V2 | WriteVersion::V2OrV1 => {
                fill_request(cursor, limits, given, &mut self.scratch.v2, raw)
            }
        };
        if encoded.items > 0 {
            self.snappy.compress(&self.raw, out);
        }
        encoded
    }

    fn why_left_out(&self) -> Option<String> {
        self.clash.clone()
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        if self.natives.get()
            && let Some(message) = judge::refuses_natives(reply)
        {
            self.natives.set(false);
            return Verdict::Reencode { message };
        }
        let verdict = judge::judge(reply, self.version.get());
        if matches!(verdict, Verdict::Reencode { .. }) {
            self.version.set(WriteVersion::V1);
        }
        verdict
    }
}

struct Snappy(snap::raw::Encoder);

impl fmt::Debug for Snappy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snappy")
    }
}

impl Snappy {
    /// Appends `raw`, compressed.
    fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + snap::raw::max_compress_len(raw.len()), 0);
        // Fails for inputs of 4 GiB alone, or too little room; limits and the line above see to both.
        let written = self.0.compress(raw, &mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }
}

/// A request that is being written, in either version.
trait Body: fmt::Debug {
    /// A place to go back to.
    type Mark: Copy + fmt::Debug;

    /// Begins a new request.
    fn clear(&mut self);
    /// Appends what says what a family is, where the version keeps that apart from its series.
    fn family(&mut self, names: &FamilyNames);
    /// Appends a series with one sample. `labels` are sorted and have the name among them.
    fn series(&mut self, series: &Series<'_>);
    fn mark(&self) -> Self::Mark;
    fn rewind(&mut self, mark: Self::Mark);
    /// Bytes of the request, were it to end here.
    fn bytes(&self) -> usize;
    /// Appends the request to `out`.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// A series with one sample.
#[derive(Debug)]
struct Series<'s> {
    labels: &'s [(&'s str, &'s str)],
    names: &'s FamilyNames,
    row: &'s Row<'s>,
    time_millis: u64,
    /// Nothing for what has no start.
    start_millis: u64,
    alphabet: Alphabet,
}

/// How points become series.
#[derive(Clone, Copy, Debug)]
struct Style {
    alphabet: Alphabet,
    /// The server takes native histograms. Else exponential ones have given bounds, and summaries keep their quantiles.
    natives: bool,
}

/// What a request is made with.
struct Given<'e> {
    target: &'e Target,
    groups: &'e Groups<'e>,
    style: Style,
    metadata: &'e mut Metadata,
}

fn fill_request<B: Body>(
    cursor: &mut MetricCursor<'_>,
    limits: &Limits,
    given: Given<'_>,
    body: &mut B,
    out: &mut Vec<u8>,
) -> Encoded {
    body.clear();
    let info_is_due = cursor.position() == MetricPosition::START && !given.target.info.is_empty();
    let mut page = Page {
        before: (body.mark(), info_is_due),
        body,
        out,
        target: given.target,
        groups: given.groups,
        style: given.style,
        metadata: given.metadata,
        info_is_due,
        family: None,
        names: FamilyNames::default(),
    };
    fill_points(cursor, limits, &mut page)
}

/// A request that takes points.
struct Page<'a, 'e, B: Body> {
    body: &'e mut B,
    out: &'e mut Vec<u8>,
    target: &'e Target,
    groups: &'e Groups<'e>,
    style: Style,
    metadata: &'e mut Metadata,
    /// The snapshot begins in this request, and `target_info` is not in it yet.
    info_is_due: bool,
    /// The one that `names` are of, when it is told in this request.
    family: Option<&'a Family>,
    names: FamilyNames,
    /// How things stood before the last point.
    before: (B::Mark, bool),
}

impl<'a, B: Body> PointPage<'a> for Page<'a, '_, B> {
    fn push(&mut self, family: &'a Family, point: &'a Point) -> bool {
        if !is_carried(point.value(), self.style.natives) || !self.groups.have(family, point) {
            return false;
        }
        self.before = (self.body.mark(), self.info_is_due);
        if self.family.is_none_or(|known| !ptr::eq(known, family)) {
            let Some(names) = FamilyNames::of(family, self.style.alphabet, self.style.natives)
            else {
                return false;
            };
            self.body.family(&names);
            self.names = names;
            self.family = Some(family);
        }
        if self.info_is_due {
            self.target_info(point);
        }
        let is_written = self.write(point);
        if !is_written {
            self.pop();
        }
        is_written
    }

    fn fits(&self, max_bytes: usize) -> bool {
        self.body.bytes() <= max_bytes
    }

    fn pop(&mut self) {
        let (mark, info_is_due) = self.before;
        self.body.rewind(mark);
        self.info_is_due = info_is_due;
        // Whether it was told before this point or with it, it may be told once more.
        self.family = None;
    }

    fn finish(&mut self) {
        self.body.finish(self.out);
    }
}

impl<B: Body> Page<'_, '_, B> {
    fn write(&mut self, point: &Point) -> bool {
        let (alphabet, mut base) = (self.style.alphabet, Vec::<Label<'_>>::new());
        let (own, kind) = (pairs(point.labels()), self.names.kind);
        labels_of(own, kind, self.target, alphabet, &mut base);
        let start = match self.names.kind {
            FamilyKind::Gauge => 0,
            _ => point.start().0,
        };
        let mut name = String::new();
        rows(point, self.names.kind, self.style.natives, |row| {
            name.clear();
            name.push_str(&self.names.name);
            name.push_str(row.suffix);
            let mut labels: Vec<(&str, &str)> = Vec::with_capacity(base.len() + 2);
            labels.push(("__name__", &name));
            labels.extend(
                row.extra
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            );
            labels.extend(base.iter().map(|(name, value)| (&**name, &**value)));
            labels.sort_unstable();
            self.body.series(&Series {
                labels: &labels,
                names: &self.names,
                row: &row,
                time_millis: point.time().0 / 1_000_000,
                start_millis: start / 1_000_000,
                alphabet,
            });
        })
    }

    /// What is known of the sender, beside its names.
    fn target_info(&mut self, point: &Point) {
        self.info_is_due = false;
        let time_millis = point.time().0 / 1_000_000;
        if !(self.metadata).is_to_be_written(self.target, time_millis) {
            return;
        }
        let names = FamilyNames {
            name: TARGET_INFO.to_owned(),
            help: "Target metadata".to_owned(),
            unit: String::new(),
            kind: FamilyKind::Gauge,
        };
        let (alphabet, mut base) = (self.style.alphabet, Vec::<Label<'_>>::new());
        let info = self.target.info.iter();
        let info = info.map(|(name, value)| (name.as_str(), value.as_str()));
        labels_of(info, names.kind, self.target, alphabet, &mut base);
        let mut labels: Vec<(&str, &str)> = vec![("__name__", &names.name)];
        labels.extend(base.iter().map(|(name, value)| (&**name, &**value)));
        labels.sort_unstable();
        self.body.family(&names);
        self.body.series(&Series {
            labels: &labels,
            names: &names,
            row: &Row {
                suffix: "",
                extra: None,
                value: Sample::Float(1.0),
                exemplars: Vec::new(),
            },
            time_millis,
            start_millis: 0,
            alphabet,
        });
    }
}

/// False for a native histogram whose buckets are wider than any that Prometheus has.
fn is_carried(value: &PointValue, natives: bool) -> bool {
    match value {
        PointValue::ExponentialHistogram(histogram) if natives => {
            schema_of(histogram.scale).is_some()
        }
        PointValue::Summary(summary) if natives => {
            let sketch = summary.sketch.as_ref();
            sketch.is_none_or(|sketch| schema_of(sketch.scale).is_some())
        }
        _ => true,
    }
}
