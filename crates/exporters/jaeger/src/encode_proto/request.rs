//! What stands around the spans: `PostSpansRequest`, `Batch` and `Process`.

use hiq_core::encode::cache::{self, Group};
use hiq_core::id::TraceId;
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Number, Span};
use hiq_core::wire::{OpenLength, Text, Varint, Writer, varint_len};

use super::attribute::{any, named, number, text};
use super::span::write_span;
use crate::form::{Any, Form};
use crate::payload::Parts;
use crate::tags;

/// Protobuf, for the writers that are shared.
#[derive(Debug, Default)]
pub(crate) struct Proto;

impl cache::Form for Proto {
    /// Processes are kept by the payload: there is one in each.
    fn resource(_resource: &Resource, _group: &mut Group) {}

    fn scope(scope: &Scope, group: &mut Group) {
        tags::of_scope::<Self>(scope, &mut group.head);
    }

    fn site(site: SiteId, out: &mut Vec<u8>) {
        tags::of_site::<Self>(site, out);
    }
}

/// A batch that is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    length: OpenLength,
    /// How long it is expected to be; once it is closed, how long it was.
    bytes: usize,
}

/// Most payloads are larger than 16 KiB and smaller than 2 MiB.
const USUAL_BATCH_BYTES: usize = 100_000;

/// Field 1 of `PostSpansRequest`.
const BATCH: u8 = 0x0a;
/// Field 2 of `Batch`.
const PROCESS: u8 = 0x12;

impl Form for Proto {
    type Open = Open;
    /// The field `trace_id`, number 1 of a span and of a reference.
    type Trace = [u8; 18];

    const OF_SPAN: u8 = 0x42;
    const OF_PROCESS: u8 = 0x12;
    const OF_LOG: u8 = 0x12;

    fn trace(trace: TraceId) -> [u8; 18] {
        let mut field = [0; 18];
        field[..2].copy_from_slice(&[0x0a, 16]);
        field[2..].copy_from_slice(&trace.0);
        field
    }

    fn process(
        out: &mut Vec<u8>,
        name: &str,
        _count: usize,
        tags: impl FnOnce(Writer<'_>) -> Writer<'_>,
    ) {
        let mut writer = Writer::new(out);
        writer.put((0x0a, Varint(name.len() as u64), name.as_bytes()));
        drop(tags(writer));
    }

    fn open(out: &mut Vec<u8>, _envelope: bool, _process: &[u8], last: Option<Open>) -> Open {
        let bytes = last.map_or(USUAL_BATCH_BYTES, |last| last.bytes);
        let length = Writer::new(out).open(BATCH, bytes);
        Open { length, bytes }
    }

    #[inline(always)]
    fn end(open: Open, _envelope: bool, process: &[u8], _spans: usize, position: usize) -> usize {
        let start = open.length.body() - open.length.width();
        let process = 1 + varint_len(process.len() as u64) + process.len();
        let body = position + process - open.length.body();
        start + varint_len(body as u64) + body
    }

    fn close(
        out: &mut Vec<u8>,
        open: Open,
        _envelope: bool,
        process: &[u8],
        _spans: usize,
    ) -> Open {
        let mut writer = Writer::new(out);
        writer.put((PROCESS, Varint(process.len() as u64), process));
        let bytes = writer.position() - open.length.body();
        writer.close(open.length);
        Open { bytes, ..open }
    }

    #[inline(never)]
    fn span(out: &mut Vec<u8>, parts: Parts<'_, Self>, span: Span<'_>) {
        write_span(out, parts, span);
    }

    /// Repeated fields have no head.
    #[inline(always)]
    fn tags(writer: Writer<'_>, _count: usize) -> Writer<'_> {
        writer
    }

    #[inline(always)]
    fn text<'w>(writer: Writer<'w>, of: u8, key: Text<'_>, value: Text<'_>) -> Writer<'w> {
        text(writer, of, key, value)
    }

    #[inline(always)]
    fn number<'w>(writer: Writer<'w>, of: u8, key: Text<'_>, value: Number) -> Writer<'w> {
        number(writer, of, key, value)
    }

    #[inline(always)]
    fn named<'w>(writer: Writer<'w>, of: u8, key: &'static str, value: Text<'_>) -> Writer<'w> {
        named(writer, of, key, value)
    }

    fn any<'w>(writer: Writer<'w>, of: u8, key: [&str; 3], value: Any<'_>) -> Writer<'w> {
        any(writer, of, key, value)
    }
}
