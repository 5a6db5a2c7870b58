//! `KeyValue` and `AnyValue`.

use hiq_core::span::{Attributes, Measurement, Number, Visitor};
use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::{Fixed64, Piece, Prefixed, Text, Varint, VarintOrFixed64, Writer, varint_len};

use hiq_core::value::{MAX_VALUE_DEPTH, TOO_DEEP};

/// Fields of `KeyValue`.
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;

/// Fields of `AnyValue`.
const STRING: u8 = 0x0a;
const BOOL: u8 = 0x10;
const INT: u8 = 0x18;
const DOUBLE: u8 = 0x21;
const ARRAY: u8 = 0x2a;
const MAP: u8 = 0x32;
const BYTES: u8 = 0x3a;

/// The only field of `ArrayValue` and `KeyValueList`.
const ITEM: u8 = 0x0a;

/// Writes the `KeyValue`s of a span, event or link in field `tag`.
///
/// Takes the writer by value, as all of the hot path: so it stays in registers.
pub(super) struct KeyValues<'w> {
    pub(super) writer: Writer<'w>,
    pub(super) tag: u8,
}

impl<'a> Visitor<'a> for KeyValues<'_> {
    #[inline(always)]
    fn text(mut self, key: Text<'a>, value: Text<'a>) -> Self {
        self.writer = text_attribute(self.writer, self.tag, key, value);
        self
    }

    #[inline(always)]
    fn number(mut self, key: Text<'a>, value: Number) -> Self {
        let field = value.choose(&[INT, BOOL, DOUBLE, DOUBLE]);
        let value = VarintOrFixed64 {
            value: value.bits(),
            fixed: value.is_f64(),
        };
        self.writer = key_value(self.writer, self.tag, key, 1 + value.len(), (field, value));
        self
    }

    #[inline(always)]
    fn other(mut self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        self.writer = rich_attribute(self.writer, self.tag, key, value);
        self
    }
}

/// Writes all of `attributes` in field `tag`.
#[inline(always)]
pub(super) fn attributes<'w>(
    writer: Writer<'w>,
    tag: u8,
    attributes: Attributes<'_>,
) -> Writer<'w> {
    attributes.visit(KeyValues { writer, tag }).writer
}

/// Writes one `KeyValue` in field `tag`.
pub(super) fn attribute<'w>(
    writer: Writer<'w>,
    tag: u8,
    key: Text<'_>,
    value: ValueRef<'_>,
) -> Writer<'w> {
    match value {
        ValueRef::Text(text) => text_attribute(writer, tag, key, text),
        other => rich_attribute(writer, tag, key, other),
    }
}

#[inline(always)]
fn text_attribute<'w>(writer: Writer<'w>, tag: u8, key: Text<'_>, value: Text<'_>) -> Writer<'w> {
    let value_bytes = 1 + value.prefixed_len();
    key_value(writer, tag, key, value_bytes, (STRING, Prefixed(value)))
}

/// Writes one `KeyValue` of plain texts in field `tag`.
pub(crate) fn str_attribute(writer: &mut Writer<'_>, tag: u8, key: &str, value: &str) {
    let value_bytes = 1 + varint_len(value.len() as u64) + value.len();
    let key_bytes = match key.len() {
        0 => 0,
        length => 1 + varint_len(length as u64) + length,
    };
    let length = key_bytes + 1 + varint_len(value_bytes as u64) + value_bytes;
    writer.put((tag, Varint(length as u64)));
    if !key.is_empty() {
        bytes_field(writer, KEY, key.as_bytes());
    }
    writer.put((VALUE, Varint(value_bytes as u64)));
    bytes_field(writer, STRING, value.as_bytes());
}

/// Writes a `KeyValue` whose `AnyValue` is `value`, of `value_bytes` bytes.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "both lengths are below 128"
)]
fn key_value<'w>(
    mut writer: Writer<'w>,
    tag: u8,
    key: Text<'_>,
    value_bytes: usize,
    value: impl Piece,
) -> Writer<'w> {
    let length = 1 + key.prefixed_len() + 2 + value_bytes;
    if length < 128 && !key.is_empty() {
        let head = (tag, length as u8, KEY, Prefixed(key));
        writer.put((head, VALUE, value_bytes as u8, value));
        return writer;
    }
    long_key_value(writer, tag, key, value_bytes, value)
}

/// The same for any length.
#[inline(never)]
fn long_key_value<'w>(
    mut writer: Writer<'w>,
    tag: u8,
    key: Text<'_>,
    value_bytes: usize,
    value: impl Piece,
) -> Writer<'w> {
    let key = (!key.is_empty()).then_some((KEY, Prefixed(key)));
    let key_bytes = key.map_or(0, |(_, key)| 1 + key.0.prefixed_len());
    let length = key_bytes + 1 + varint_len(value_bytes as u64) + value_bytes;
    let head = (tag, Varint(length as u64), key);
    writer.put((head, VALUE, Varint(value_bytes as u64), value));
    writer
}

/// An attribute with any other value.
#[cold]
#[inline(never)]
fn rich_attribute<'w>(
    mut writer: Writer<'w>,
    tag: u8,
    key: Text<'_>,
    value: ValueRef<'_>,
) -> Writer<'w> {
    let length = writer.open(tag, 100);
    writer.put((!key.is_empty()).then_some((KEY, Prefixed(key))));
    any_value(&mut writer, VALUE, value, 0);
    writer.close(length);
    writer
}

/// What an extra metric says of a span.
#[cold]
#[inline(never)]
pub(super) fn measurement<'w>(
    mut writer: Writer<'w>,
    tag: u8,
    measurement: &Measurement<'_>,
) -> Writer<'w> {
    let [before, name, after] = measurement.key.map(str::as_bytes);
    let length = writer.open(tag, 100);
    let key_bytes = before.len() + name.len() + after.len();
    writer.put((KEY, Varint(key_bytes as u64), (before, name, after)));
    writer.put((VALUE, 9, DOUBLE, Fixed64(measurement.value.to_bits())));
    writer.close(length);
    writer
}

/// Writes an `AnyValue` in field `tag`, `depth` lists and maps deep.
fn any_value(writer: &mut Writer<'_>, tag: u8, value: ValueRef<'_>, depth: usize) {
    let length = writer.open(tag, 0);
    match value {
        ValueRef::Text(text) => writer.put((STRING, Prefixed(text))),
        ValueRef::Str(text) => bytes_field(writer, STRING, text.as_bytes()),
        ValueRef::Bool(bool) => writer.put([BOOL, bool.into()]),
        ValueRef::Int(int) => writer.put((INT, Varint(int.cast_unsigned()))),
        ValueRef::F64(double) => writer.put((DOUBLE, Fixed64(double.to_bits()))),
        ValueRef::Bytes(bytes) => bytes_field(writer, BYTES, bytes),
        ValueRef::Array(_) | ValueRef::Map(_) if depth == MAX_VALUE_DEPTH => {
            bytes_field(writer, STRING, TOO_DEEP.as_bytes());
        }
        ValueRef::Array(items) => array(writer, items, depth + 1),
        ValueRef::Map(pairs) => map(writer, pairs, depth + 1),
        _ => {}
    }
    writer.close(length);
}

fn array(writer: &mut Writer<'_>, items: &[Value], depth: usize) {
    let length = writer.open(ARRAY, 100);
    for item in items {
        any_value(writer, ITEM, item.as_ref(), depth);
    }
    writer.close(length);
}

fn map(writer: &mut Writer<'_>, pairs: &[(String, Value)], depth: usize) {
    let length = writer.open(MAP, 100);
    for (key, value) in pairs {
        let item = writer.open(ITEM, 100);
        if !key.is_empty() {
            bytes_field(writer, KEY, key.as_bytes());
        }
        any_value(writer, VALUE, value.as_ref(), depth);
        writer.close(item);
    }
    writer.close(length);
}

fn bytes_field(writer: &mut Writer<'_>, tag: u8, bytes: &[u8]) {
    writer.put((tag, Varint(bytes.len() as u64), bytes));
}
