//! `KeyValue`.

use std::hint::select_unpredictable;

use hiq_core::span::Number;
use hiq_core::wire::{Fixed64, Piece, Prefixed, Text, Varint, VarintOrFixed64, Writer, varint_len};

use crate::form::Any;
use hiq_core::value::text::put_json;

/// Fields.
const KEY: u8 = 0x0a;
const TYPE: u8 = 0x10;
const STR: u8 = 0x1a;
const BOOL: u8 = 0x20;
const INT64: u8 = 0x28;
const FLOAT64: u8 = 0x31;
const BINARY: u8 = 0x3a;

/// Types; texts have the first, which is left out.
const IS_BOOL: u8 = 1;
const IS_INT64: u8 = 2;
const IS_FLOAT64: u8 = 3;
const IS_BINARY: u8 = 4;

/// One with a text.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "below 128")]
pub(super) fn text<'w>(
    mut writer: Writer<'w>,
    of: u8,
    key: Text<'_>,
    value: Text<'_>,
) -> Writer<'w> {
    let length = 2 + key.prefixed_len() + value.prefixed_len();
    if length < 128 && !key.is_empty() && !value.is_empty() {
        let head = (of, length as u8, KEY, Prefixed(key));
        writer.put((head, STR, Prefixed(value)));
        return writer;
    }
    writer.elsewhere(|out| sparse_or_long_text(out, of, key, value))
}

/// One with a text, whose key is not empty.
#[inline(always)]
pub(super) fn named<'w>(
    mut writer: Writer<'w>,
    of: u8,
    key: &'static str,
    value: Text<'_>,
) -> Writer<'w> {
    let key = (KEY, Varint(key.len() as u64), key.as_bytes());
    let length = writer.open(of, 100);
    writer.put((key, (!value.is_empty()).then_some((STR, Prefixed(value)))));
    writer.close(length);
    writer
}

/// The same for any length; what is empty is left out.
#[cold]
#[inline(never)]
fn sparse_or_long_text(out: &mut Vec<u8>, of: u8, key: Text<'_>, value: Text<'_>) {
    let key = (!key.is_empty()).then_some((KEY, Prefixed(key)));
    let value = (!value.is_empty()).then_some((STR, Prefixed(value)));
    let bytes =
        |field: Option<(u8, Prefixed<'_>)>| field.map_or(0, |(_, text)| 1 + text.0.prefixed_len());
    let length = bytes(key) + bytes(value);
    Writer::new(out).put((of, Varint(length as u64), key, value));
}

/// One with a number or truth value.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "below 128")]
pub(super) fn number<'w>(
    mut writer: Writer<'w>,
    of: u8,
    key: Text<'_>,
    value: Number,
) -> Writer<'w> {
    let [kind, field] = value.choose(&[
        [IS_INT64, INT64],
        [IS_BOOL, BOOL],
        [IS_FLOAT64, FLOAT64],
        [IS_FLOAT64, FLOAT64],
    ]);
    let bits = VarintOrFixed64 {
        value: value.bits(),
        fixed: value.is_f64(),
    };
    // Zero is left out: what is written of it is taken back.
    let not_counted = select_unpredictable(value.bits() == 0, 1 + bits.len(), 0);
    let value_bytes = 2 + 1 + bits.len() - not_counted;
    let length = 1 + key.prefixed_len() + value_bytes;
    if length < 128 && !key.is_empty() {
        let head = (of, length as u8, KEY, Prefixed(key));
        writer.put((head, [TYPE, kind, field], bits));
    } else {
        writer = writer.elsewhere(|out| long_head(out, of, key, value_bytes));
        writer.put(([TYPE, kind, field], bits));
    }
    writer.rewind(writer.position() - not_counted);
    writer
}

#[cold]
#[inline(never)]
fn long_head(out: &mut Vec<u8>, of: u8, key: Text<'_>, value_bytes: usize) {
    let key = (!key.is_empty()).then_some((KEY, Prefixed(key)));
    let key_bytes = key.map_or(0, |(_, text)| 1 + text.0.prefixed_len());
    Writer::new(out).put((of, Varint((key_bytes + value_bytes) as u64), key));
}

/// Any. The key is its parts together.
pub(super) fn any<'w>(
    mut writer: Writer<'w>,
    of: u8,
    key: [&str; 3],
    value: Any<'_>,
) -> Writer<'w> {
    let length = writer.open(of, 100);
    let key_bytes: usize = key.iter().map(|part| part.len()).sum();
    let [a, b, c] = key.map(str::as_bytes);
    writer.put((key_bytes > 0).then_some((KEY, Varint(key_bytes as u64), (a, b, c))));
    match value {
        Any::Str(value) => writer.put(bytes(STR, value.as_bytes())),
        Any::Bool(value) => writer.put(([TYPE, IS_BOOL], value.then_some([BOOL, 1]))),
        Any::Int(value) => {
            let number = (INT64, Varint(value.cast_unsigned()));
            writer.put(([TYPE, IS_INT64], (value != 0).then_some(number)));
        }
        Any::F64(value) => {
            let bits = value.to_bits();
            let number = (bits != 0).then_some((FLOAT64, Fixed64(bits)));
            writer.put(([TYPE, IS_FLOAT64], number));
        }
        Any::Bytes(value) => writer.put(([TYPE, IS_BINARY], bytes(BINARY, value))),
        Any::Json(value) => {
            let text = writer.open(STR, 100);
            put_json(&mut writer, value);
            writer.close(text);
        }
    }
    writer.close(length);
    writer
}

/// A field of bytes, left out when empty.
fn bytes(field: u8, bytes: &[u8]) -> impl Piece {
    let head = (field, Varint(bytes.len() as u64), bytes);
    (!bytes.is_empty()).then_some(head)
}

/// Bytes of a `Timestamp` or `Duration`.
#[inline(always)]
pub(super) fn time_len(seconds: u64, nanos: u64) -> usize {
    let field = |value| select_unpredictable(value == 0, 0, 1 + varint_len(value));
    field(seconds) + field(nanos)
}
