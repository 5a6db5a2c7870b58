//! Thrift's compact protocol.

use hiq_core::encode::cache::{self, Group};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Number, Span};
use hiq_core::wire::{
    Fixed64, LongVarint, Piece, Prefixed, Text, Varint, VarintOrFixed64, Writer, varint_len,
};

use super::span::{Protocol, write_span};
use crate::form::{Any, Form};
use crate::payload::Parts;
use crate::tags;
use hiq_core::value::text::put_json;

/// Types of fields, as they stand in the low half of a field's first byte.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;
const STOP: u8 = 0;

/// A one-way call of `emitBatch` with sequence number 0; its first argument is the batch, which begins with the process.
const ENVELOPE: &[u8; 14] = b"\x82\x81\x00\x09emitBatch\x1c";

/// The first byte of field `number` behind field `behind`.
const fn field(number: u8, behind: u8, of_type: u8) -> u8 {
    (number - behind) << 4 | of_type
}

/// The protocol, for the writers that are shared.
#[derive(Debug, Default)]
pub(super) struct Compact;

impl cache::Form for Compact {
    /// Processes are kept by the payload: there is one in each.
    fn resource(_resource: &Resource, _group: &mut Group) {}

    fn scope(scope: &Scope, group: &mut Group) {
        tags::of_scope::<Self>(scope, &mut group.head);
    }

    fn site(site: SiteId, out: &mut Vec<u8>) {
        tags::of_site::<Self>(site, out);
    }
}

/// A batch whose list of spans is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// Where the list's size stands, and the bytes that were left for it.
    at: usize,
    width: usize,
}

/// Bytes of a list's head for so many structs.
fn head_width(items: usize) -> usize {
    if items < 15 {
        1
    } else {
        1 + varint_len(items as u64)
    }
}

/// The fields that a list's head is made of.
#[expect(clippy::cast_possible_truncation, reason = "below 15")]
fn list_head(items: usize) -> (u8, Option<Varint>) {
    if items < 15 {
        (((items as u8) << 4) | STRUCT, None)
    } else {
        (0xf0 | STRUCT, Some(Varint(items as u64)))
    }
}

/// What ends a payload: the batch, and the call's arguments.
const fn stops(envelope: bool) -> usize {
    1 + envelope as usize
}

impl Form for Compact {
    type Open = Open;
    /// Fields 1 and 2 of a span, and how many bytes of them count.
    type Trace = ([u8; 24], usize);

    const OF_SPAN: u8 = 0;
    const OF_PROCESS: u8 = 0;
    const OF_LOG: u8 = 0;

    fn trace(trace: TraceId) -> Self::Trace {
        let [high, low] = halves(trace);
        let mut bytes = [0; 24];
        let mut at = 0;
        for (number, half) in [(1, low), (2, high)] {
            bytes[at] = field(number, number - 1, I64);
            at += 1 + put_varint(&mut bytes[at + 1..], LongVarint::zigzag(half).0);
        }
        (bytes, at)
    }

    fn process(
        out: &mut Vec<u8>,
        name: &str,
        count: usize,
        tags: impl FnOnce(Writer<'_>) -> Writer<'_>,
    ) {
        let mut writer = Writer::new(out);
        writer.put((field(1, 0, BINARY), text(name)));
        if count > 0 {
            writer.put((field(2, 1, LIST), list_head(count)));
            writer = tags(writer);
        }
        writer.put(STOP);
    }

    fn open(out: &mut Vec<u8>, envelope: bool, process: &[u8], last: Option<Open>) -> Open {
        let width = last.map_or(1, |last| last.width);
        let mut writer = Writer::new(out);
        writer.put(envelope.then_some(ENVELOPE));
        writer.put((field(1, 0, STRUCT), process, field(2, 1, LIST)));
        let at = writer.position();
        writer.put(&[0; 8][..width]);
        Open { at, width }
    }

    #[inline(always)]
    fn end(open: Open, envelope: bool, _process: &[u8], spans: usize, position: usize) -> usize {
        position - open.width + head_width(spans) + stops(envelope)
    }

    fn close(out: &mut Vec<u8>, open: Open, envelope: bool, _process: &[u8], spans: usize) -> Open {
        let mut head = [0; 12];
        let width = head_width(spans);
        let (first, size) = list_head(spans);
        head[0] = first;
        if let Some(size) = size {
            put_varint(&mut head[1..], size.0);
        }
        out.splice(open.at..open.at + open.width, head[..width].iter().copied());
        out.extend_from_slice(&[STOP; 2][..stops(envelope)]);
        Open { width, ..open }
    }

    #[inline(never)]
    fn span(out: &mut Vec<u8>, parts: Parts<'_, Self>, span: Span<'_>) {
        write_span(out, parts, span);
    }

    #[inline(always)]
    fn tags(mut writer: Writer<'_>, count: usize) -> Writer<'_> {
        writer.put((field(10, 9, LIST), list_head(count)));
        writer
    }

    #[inline(always)]
    fn text<'w>(mut writer: Writer<'w>, _of: u8, key: Text<'_>, value: Text<'_>) -> Writer<'w> {
        let key = (field(1, 0, BINARY), Prefixed(key));
        let head = [field(2, 1, I32), 0, field(3, 2, BINARY)];
        writer.put((key, head, Prefixed(value), STOP));
        writer
    }

    #[inline(always)]
    fn number<'w>(mut writer: Writer<'w>, _of: u8, key: Text<'_>, value: Number) -> Writer<'w> {
        const INT: [u8; 2] = [6, field(6, 2, I64)];
        const BOOL: [u8; 2] = [4, field(5, 2, FALSE)];
        const F64: [u8; 2] = [2, field(4, 2, DOUBLE)];
        let [kind, head] = value.choose(&[INT, BOOL, F64, F64]);
        let (is_bool, bits) = (value.choose(&[0, 1, 0, 0]), value.bits());
        // A truth value is in the head itself; the byte that is written behind it is taken back.
        let head = head - is_bool * u8::from(bits != 0) * (FALSE - TRUE);
        let int = LongVarint::zigzag(bits.cast_signed()).0;
        let bits = std::hint::select_unpredictable(value.is_f64(), bits, int);
        let value = VarintOrFixed64 {
            value: std::hint::select_unpredictable(is_bool == 0, bits, 0),
            fixed: value.is_f64(),
        };
        let key = (field(1, 0, BINARY), Prefixed(key));
        writer.put((key, [field(2, 1, I32), kind, head], value, STOP));
        writer.rewind(writer.position() - usize::from(is_bool));
        writer
    }

    #[inline(always)]
    fn named<'w>(
        mut writer: Writer<'w>,
        _of: u8,
        key: &'static str,
        value: Text<'_>,
    ) -> Writer<'w> {
        let key = (field(1, 0, BINARY), text(key));
        let head = [field(2, 1, I32), 0, field(3, 2, BINARY)];
        writer.put((key, head, Prefixed(value), STOP));
        writer
    }

    fn any<'w>(mut writer: Writer<'w>, _of: u8, key: [&str; 3], value: Any<'_>) -> Writer<'w> {
        let bytes = key.iter().map(|part| part.len()).sum::<usize>();
        let [a, b, c] = key.map(str::as_bytes);
        writer.put((field(1, 0, BINARY), Varint(bytes as u64), (a, b, c)));
        let mut head = |kind: u8, number, of_type| {
            writer.put([field(2, 1, I32), kind, field(number, 2, of_type)]);
        };
        match value {
            Any::Str(value) => {
                head(0, 3, BINARY);
                writer.put(text(value));
            }
            Any::Bool(value) => head(4, 5, if value { TRUE } else { FALSE }),
            Any::Int(value) => {
                head(6, 6, I64);
                writer.put(LongVarint::zigzag(value));
            }
            Any::F64(value) => {
                head(2, 4, DOUBLE);
                writer.put(Fixed64(value.to_bits()));
            }
            Any::Bytes(value) => {
                head(8, 7, BINARY);
                writer.put((Varint(value.len() as u64), value));
            }
            Any::Json(value) => {
                writer.put([field(2, 1, I32), 0]);
                let length = writer.open(field(3, 2, BINARY), 100);
                put_json(&mut writer, value);
                writer.close(length);
            }
        }
        writer.put(STOP);
        writer
    }
}

impl Protocol for Compact {
    #[inline(always)]
    fn head<'w>(
        mut writer: Writer<'w>,
        (trace, bytes): Self::Trace,
        id: SpanId,
        parent: SpanId,
        name: Text<'_>,
    ) -> Writer<'w> {
        writer.put(trace);
        writer.rewind(writer.position() - trace.len() + bytes);
        let next = field(2, 1, I64);
        writer.put((
            (next, LongVarint::zigzag(id.0.cast_signed())),
            (next, LongVarint::zigzag(parent.0.cast_signed())),
            (field(5, 4, BINARY), Prefixed(name)),
        ));
        writer
    }

    fn references(mut writer: Writer<'_>, count: usize) -> Writer<'_> {
        writer.put((field(6, 5, LIST), list_head(count)));
        writer
    }

    fn reference(mut writer: Writer<'_>, kind: u8, trace: TraceId, span: SpanId) -> Writer<'_> {
        let [high, low] = halves(trace);
        let next = field(2, 1, I64);
        writer.put((
            [field(1, 0, I32), kind << 1],
            (next, LongVarint::zigzag(low)),
            (next, LongVarint::zigzag(high)),
            (next, LongVarint::zigzag(span.0.cast_signed())),
            STOP,
        ));
        writer
    }

    #[inline(always)]
    fn times(
        mut writer: Writer<'_>,
        behind: u8,
        flags: u8,
        start_micros: u64,
        duration_micros: u64,
    ) -> Writer<'_> {
        let next = field(2, 1, I64);
        writer.put((
            [field(7, behind, I32), flags << 1],
            (next, LongVarint::zigzag(start_micros.cast_signed())),
            (next, LongVarint::zigzag(duration_micros.cast_signed())),
        ));
        writer
    }

    fn logs(mut writer: Writer<'_>, behind: u8, count: usize) -> Writer<'_> {
        writer.put((field(11, behind, LIST), list_head(count)));
        writer
    }

    fn log(mut writer: Writer<'_>, micros: u64, fields: usize) -> Writer<'_> {
        let time = LongVarint::zigzag(micros.cast_signed());
        writer.put((
            (field(1, 0, I64), time),
            (field(2, 1, LIST), list_head(fields)),
        ));
        writer
    }

    #[inline(always)]
    fn stop(mut writer: Writer<'_>) -> Writer<'_> {
        writer.put(STOP);
        writer
    }
}

/// Returns how many bytes it took.
#[expect(clippy::cast_possible_truncation, reason = "seven bits are meant")]
fn put_varint(to: &mut [u8], value: u64) -> usize {
    let bytes = varint_len(value);
    for (place, byte) in to[..bytes].iter_mut().enumerate() {
        let more_follow = u8::from(place + 1 < bytes) << 7;
        *byte = (value >> (7 * place)) as u8 & 0x7f | more_follow;
    }
    bytes
}

/// High and low half, as thrift's signed numbers.
pub(super) fn halves(trace: TraceId) -> [i64; 2] {
    let number = u128::from_be_bytes(trace.0);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    [(number >> 64) as u64, number as u64].map(u64::cast_signed)
}

fn text(text: &str) -> impl Piece {
    (Varint(text.len() as u64), text.as_bytes())
}
