//! Spans to messages of a queue: each a `jaeger.api_v2.Span` by itself, with its process in it.

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::cache::{self, Group};
use hiq_core::encode::{Cut, Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::id::TraceId;
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Number, Span};
use hiq_core::transport::Reply;
use hiq_core::wire::{Text, Varint, Writer, varint_len};

use crate::encode_proto::{Proto, write_fields};
use crate::form::{Any, Form};
use crate::judge::JUDGE;
use crate::payload::{Parts, State};

/// Jaeger's protobuf as its ingester and Collectors take it from Kafka: **one span a payload**, whatever the limits allow, with its
/// process. The key, where keys are by trace or span, is the trace id's text: 32 digits, or 16 where the upper half is zero.
#[derive(Debug)]
pub struct JaegerMessageEncoder {
    state: State<Message>,
}

impl JaegerMessageEncoder {
    /// An encoder with nothing in its cache.
    pub fn new() -> Self {
        Self {
            state: State::new(false),
        }
    }
}

impl Default for JaegerMessageEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder<TreeBatch> for JaegerMessageEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("jaeger_proto", "application/x-protobuf")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let mut one = *limits;
        one.max_items = 1;
        let mut encoded = self.state.encode(cursor, &one, out);
        if matches!(limits.cut, Cut::Trace | Cut::Span)
            && let Some(short) = encoded.key.as_deref().and_then(without_zeros)
        {
            encoded.key = Some(short);
        }
        encoded
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}

/// As Jaeger writes a trace id whose upper half is zero.
fn without_zeros(key: &str) -> Option<String> {
    key.strip_prefix("0000000000000000").map(str::to_owned)
}

/// Field 10 of `Span`.
const PROCESS: u8 = 0x52;

/// The protobuf of a span, with nothing around it.
#[derive(Debug, Default)]
pub(crate) struct Message;

impl cache::Form for Message {
    fn resource(resource: &Resource, group: &mut Group) {
        Proto::resource(resource, group);
    }

    fn scope(scope: &Scope, group: &mut Group) {
        Proto::scope(scope, group);
    }

    fn site(site: SiteId, out: &mut Vec<u8>) {
        <Proto as cache::Form>::site(site, out);
    }
}

impl Form for Message {
    type Open = ();
    type Trace = <Proto as Form>::Trace;

    const OF_SPAN: u8 = Proto::OF_SPAN;
    const OF_PROCESS: u8 = Proto::OF_PROCESS;
    const OF_LOG: u8 = Proto::OF_LOG;

    fn trace(trace: TraceId) -> Self::Trace {
        Proto::trace(trace)
    }

    fn process(
        out: &mut Vec<u8>,
        name: &str,
        count: usize,
        tags: impl FnOnce(Writer<'_>) -> Writer<'_>,
    ) {
        Proto::process(out, name, count, tags);
    }

    fn open(_out: &mut Vec<u8>, _envelope: bool, _process: &[u8], _last: Option<()>) {}

    fn end(_open: (), _envelope: bool, process: &[u8], _spans: usize, position: usize) -> usize {
        position + 1 + varint_len(process.len() as u64) + process.len()
    }

    fn close(out: &mut Vec<u8>, _open: (), _envelope: bool, process: &[u8], _spans: usize) {
        Writer::new(out).put((PROCESS, Varint(process.len() as u64), process));
    }

    fn span(out: &mut Vec<u8>, parts: Parts<'_, Self>, span: Span<'_>) {
        drop(write_fields(Writer::new(out), parts, span));
    }

    fn tags(writer: Writer<'_>, _count: usize) -> Writer<'_> {
        writer
    }

    #[inline(always)]
    fn text<'w>(writer: Writer<'w>, of: u8, key: Text<'_>, value: Text<'_>) -> Writer<'w> {
        Proto::text(writer, of, key, value)
    }

    #[inline(always)]
    fn number<'w>(writer: Writer<'w>, of: u8, key: Text<'_>, value: Number) -> Writer<'w> {
        Proto::number(writer, of, key, value)
    }

    fn named<'w>(writer: Writer<'w>, of: u8, key: &'static str, value: Text<'_>) -> Writer<'w> {
        Proto::named(writer, of, key, value)
    }

    fn any<'w>(writer: Writer<'w>, of: u8, key: [&str; 3], value: Any<'_>) -> Writer<'w> {
        Proto::any(writer, of, key, value)
    }
}
