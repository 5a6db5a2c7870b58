//! Thrift's binary protocol, in its strict form.

use hiq_core::encode::cache::{self, Group};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Number, Span};
use hiq_core::wire::{Piece, Text, Word, Writer};

use super::compact::halves;
use super::span::{Protocol, write_span};
use crate::form::{Any, Form};
use crate::payload::Parts;
use crate::tags;
use hiq_core::value::text::put_json;

/// Types of fields.
const BOOL: u8 = 2;
const DOUBLE: u8 = 4;
const I32: u8 = 8;
const I64: u8 = 10;
const STRING: u8 = 11;
const STRUCT: u8 = 12;
const LIST: u8 = 15;
const STOP: u8 = 0;

/// A one-way call of `emitBatch` with sequence number 0; its first argument is the batch.
const ENVELOPE: &[u8; 24] = b"\x80\x01\x00\x04\0\0\0\x09emitBatch\0\0\0\0\x0c\0\x01";

/// The first bytes of a field.
const fn field(of_type: u8, number: u8) -> [u8; 3] {
    [of_type, 0, number]
}

/// What stands between a key and its value: the value's type, and the head of its field.
const TEXT_HEAD: [u8; 10] = [I32, 0, 2, 0, 0, 0, 0, STRING, 0, 3];

/// The same of numbers and truth values, as `Number::pick` wants it.
static NUMBER_HEADS: [Word<16>; 4] = {
    let double = Word::new(&[I32, 0, 2, 0, 0, 0, 1, DOUBLE, 0, 4]);
    let int = Word::new(&[I32, 0, 2, 0, 0, 0, 3, I64, 0, 6]);
    let truth = Word::new(&[I32, 0, 2, 0, 0, 0, 2, BOOL, 0, 5]);
    [int, truth, double, double]
};

/// The protocol, for the writers that are shared.
#[derive(Debug, Default)]
pub(super) struct Binary;

impl cache::Form for Binary {
    /// Processes are kept by the payload: there is one in each.
    fn resource(_resource: &Resource, _group: &mut Group) {}

    fn scope(scope: &Scope, group: &mut Group) {
        tags::of_scope::<Self>(scope, &mut group.head);
    }

    fn site(site: SiteId, out: &mut Vec<u8>) {
        tags::of_site::<Self>(site, out);
    }
}

/// Where the size of the open list of spans stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open(usize);

/// What ends a payload: the batch, and the call's arguments.
const fn stops(envelope: bool) -> usize {
    1 + envelope as usize
}

impl Form for Binary {
    type Open = Open;
    /// Fields 1 and 2 of a span.
    type Trace = [u8; 22];

    const OF_SPAN: u8 = 0;
    const OF_PROCESS: u8 = 0;
    const OF_LOG: u8 = 0;

    fn trace(trace: TraceId) -> [u8; 22] {
        let [high, low] = halves(trace);
        let mut bytes = [0; 22];
        let (first, second) = bytes.split_at_mut(11);
        for (to, number, half) in [(first, 1, low), (second, 2, high)] {
            to[..3].copy_from_slice(&field(I64, number));
            to[3..].copy_from_slice(&half.to_be_bytes());
        }
        bytes
    }

    fn process(
        out: &mut Vec<u8>,
        name: &str,
        count: usize,
        tags: impl FnOnce(Writer<'_>) -> Writer<'_>,
    ) {
        let mut writer = Writer::new(out);
        writer.put((field(STRING, 1), bytes(name.as_bytes())));
        if count > 0 {
            writer.put(list(2, count));
            writer = tags(writer);
        }
        writer.put(STOP);
    }

    fn open(out: &mut Vec<u8>, envelope: bool, process: &[u8], _last: Option<Open>) -> Open {
        let mut writer = Writer::new(out);
        writer.put(envelope.then_some(ENVELOPE));
        writer.put((field(STRUCT, 1), process, list(2, 0)));
        Open(writer.position() - 4)
    }

    #[inline(always)]
    fn end(_open: Open, envelope: bool, _process: &[u8], _spans: usize, position: usize) -> usize {
        position + stops(envelope)
    }

    fn close(out: &mut Vec<u8>, open: Open, envelope: bool, _process: &[u8], spans: usize) -> Open {
        let mut writer = Writer::new(out);
        writer.patch(open.0, length(spans));
        writer.put(&[STOP; 2][..stops(envelope)]);
        open
    }

    #[inline(never)]
    fn span(out: &mut Vec<u8>, parts: Parts<'_, Self>, span: Span<'_>) {
        write_span(out, parts, span);
    }

    #[inline(always)]
    fn tags(mut writer: Writer<'_>, count: usize) -> Writer<'_> {
        writer.put(list(10, count));
        writer
    }

    #[inline(always)]
    fn text<'w>(mut writer: Writer<'w>, _of: u8, key: Text<'_>, value: Text<'_>) -> Writer<'w> {
        let key = (field(STRING, 1), length(key.len()), key);
        writer.put((key, TEXT_HEAD, length(value.len()), value, STOP));
        writer
    }

    #[inline(always)]
    fn number<'w>(mut writer: Writer<'w>, _of: u8, key: Text<'_>, value: Number) -> Writer<'w> {
        let key = (field(STRING, 1), length(key.len()), key);
        let bits = value.bits() << value.choose(&[0, 56, 0, 0]);
        // A truth value is one byte: the first of eight.
        let bits = Word::first(bits.to_be_bytes(), value.choose(&[8, 1, 8, 8]));
        writer.put((key, value.pick(&NUMBER_HEADS), bits, STOP));
        writer
    }

    #[inline(always)]
    fn named<'w>(
        mut writer: Writer<'w>,
        _of: u8,
        key: &'static str,
        value: Text<'_>,
    ) -> Writer<'w> {
        let key = (field(STRING, 1), length(key.len()), key.as_bytes());
        writer.put((key, TEXT_HEAD, length(value.len()), value, STOP));
        writer
    }

    fn any<'w>(mut writer: Writer<'w>, _of: u8, key: [&str; 3], value: Any<'_>) -> Writer<'w> {
        let key_bytes = key.iter().map(|part| part.len()).sum();
        let [a, b, c] = key.map(str::as_bytes);
        writer.put((field(STRING, 1), length(key_bytes), (a, b, c)));
        let mut head = |kind: u8, of_type, number| {
            writer.put((field(I32, 2), [0, 0, 0, kind], field(of_type, number)));
        };
        match value {
            Any::Str(value) => {
                head(0, STRING, 3);
                writer.put(bytes(value.as_bytes()));
            }
            Any::Bool(value) => {
                head(2, BOOL, 5);
                writer.put(u8::from(value));
            }
            Any::Int(value) => {
                head(3, I64, 6);
                writer.put(value.to_be_bytes());
            }
            Any::F64(value) => {
                head(1, DOUBLE, 4);
                writer.put(value.to_bits().to_be_bytes());
            }
            Any::Bytes(value) => {
                head(4, STRING, 7);
                writer.put(bytes(value));
            }
            Any::Json(value) => {
                head(0, STRING, 3);
                writer.put(length(0));
                let start = writer.position();
                put_json(&mut writer, value);
                writer.patch(start - 4, length(writer.position() - start));
            }
        }
        writer.put(STOP);
        writer
    }
}

impl Protocol for Binary {
    #[inline(always)]
    fn head<'w>(
        mut writer: Writer<'w>,
        trace: [u8; 22],
        id: SpanId,
        parent: SpanId,
        name: Text<'_>,
    ) -> Writer<'w> {
        writer.put((
            trace,
            (field(I64, 3), id.to_bytes()),
            (field(I64, 4), parent.to_bytes()),
            (field(STRING, 5), length(name.len()), name),
        ));
        writer
    }

    fn references(mut writer: Writer<'_>, count: usize) -> Writer<'_> {
        writer.put(list(6, count));
        writer
    }

    fn reference(mut writer: Writer<'_>, kind: u8, trace: TraceId, span: SpanId) -> Writer<'_> {
        let [high, low] = halves(trace);
        writer.put((
            (field(I32, 1), [0, 0, 0, kind]),
            (field(I64, 2), low.to_be_bytes()),
            (field(I64, 3), high.to_be_bytes()),
            (field(I64, 4), span.to_bytes()),
            STOP,
        ));
        writer
    }

    #[inline(always)]
    fn times(
        mut writer: Writer<'_>,
        _behind: u8,
        flags: u8,
        start_micros: u64,
        duration_micros: u64,
    ) -> Writer<'_> {
        writer.put((
            (field(I32, 7), [0, 0, 0, flags]),
            (field(I64, 8), start_micros.to_be_bytes()),
            (field(I64, 9), duration_micros.to_be_bytes()),
        ));
        writer
    }

    fn logs(mut writer: Writer<'_>, _behind: u8, count: usize) -> Writer<'_> {
        writer.put(list(11, count));
        writer
    }

    fn log(mut writer: Writer<'_>, micros: u64, fields: usize) -> Writer<'_> {
        writer.put((field(I64, 1), micros.to_be_bytes(), list(2, fields)));
        writer
    }

    #[inline(always)]
    fn stop(mut writer: Writer<'_>) -> Writer<'_> {
        writer.put(STOP);
        writer
    }
}

/// Begins field `number`: a list of `items` structs.
#[inline(always)]
fn list(number: u8, items: usize) -> impl Piece {
    (field(LIST, number), STRUCT, length(items))
}

fn bytes(bytes: &[u8]) -> impl Piece {
    (length(bytes.len()), bytes)
}

/// Sizes are signed numbers of 32 bits. Nothing that a payload holds comes near 2 GiB.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "below 2^31")]
fn length(length: usize) -> [u8; 4] {
    (length as u32).to_be_bytes()
}
