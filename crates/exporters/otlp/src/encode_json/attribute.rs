//! `KeyValue` and `AnyValue`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::span::{Attributes, Measurement, Number, NumberKind, Visitor};
use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::{JsonStr, JsonText, Piece, SignedDecimal, Text, Writer};

use hiq_core::value::{MAX_VALUE_DEPTH, TOO_DEEP};

/// Begins a `KeyValue`, up to its key.
const KEY: &[u8; 8] = b"{\"key\":\"";
/// Begins the value behind the key.
const VALUE: &[u8; 11] = b"\",\"value\":{";

/// Writes the `KeyValue`s of a span, event or link, each behind a separator.
pub(super) struct KeyValues<'w> {
    pub(super) writer: Writer<'w>,
    /// What stands before the next one.
    pub(super) separator: u8,
}

impl<'w> KeyValues<'w> {
    pub(super) fn new(writer: Writer<'w>) -> Self {
        Self {
            writer,
            separator: b'[',
        }
    }
}

impl<'a> Visitor<'a> for KeyValues<'_> {
    #[inline(always)]
    fn text(mut self, key: Text<'a>, value: Text<'a>) -> Self {
        self.writer = text_attribute(self.writer, self.separator, key, value);
        self.separator = b',';
        self
    }

    #[inline(always)]
    fn number(mut self, key: Text<'a>, value: Number) -> Self {
        self.writer = number_attribute(self.writer, self.separator, key, value);
        self.separator = b',';
        self
    }

    #[inline(always)]
    fn other(mut self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        self.writer = rich_attribute(self.writer, self.separator, key, value);
        self.separator = b',';
        self
    }
}

/// Writes all of `attributes` as a list.
#[inline(always)]
pub(super) fn attributes<'w>(writer: Writer<'w>, attributes: Attributes<'_>) -> Writer<'w> {
    let mut writer = attributes.visit(KeyValues::new(writer)).writer;
    writer.put(b']');
    writer
}

/// Writes one `KeyValue`.
pub(super) fn attribute<'w>(
    writer: Writer<'w>,
    separator: u8,
    key: Text<'_>,
    value: ValueRef<'_>,
) -> Writer<'w> {
    match value {
        ValueRef::Text(text) => text_attribute(writer, separator, key, text),
        other => rich_attribute(writer, separator, key, other),
    }
}

#[inline(always)]
fn text_attribute<'w>(
    mut writer: Writer<'w>,
    separator: u8,
    key: Text<'_>,
    value: Text<'_>,
) -> Writer<'w> {
    if key.needs_escape() | value.needs_escape() {
        return escaped_text_attribute(writer, separator, key, value);
    }
    let key = (separator, KEY, key);
    writer.put((key, VALUE, b"\"stringValue\":\"", value, b"\"}}"));
    writer
}

#[cold]
#[inline(never)]
fn escaped_text_attribute<'w>(
    mut writer: Writer<'w>,
    separator: u8,
    key: Text<'_>,
    value: Text<'_>,
) -> Writer<'w> {
    let key = (separator, KEY, JsonText(key));
    writer.put((key, VALUE, b"\"stringValue\":\"", JsonText(value), b"\"}}"));
    writer
}

#[inline(always)]
fn number_attribute<'w>(
    mut writer: Writer<'w>,
    separator: u8,
    key: Text<'_>,
    value: Number,
) -> Writer<'w> {
    let key = (separator, KEY, JsonText(key), VALUE);
    match value.kind() {
        NumberKind::Int => {
            let int = SignedDecimal(value.bits().cast_signed());
            writer.put((key, b"\"intValue\":\"", int, b"\"}}"));
            writer
        }
        NumberKind::Bool => {
            writer.put((key, b"\"boolValue\":"));
            bool_value(&mut writer, value.bits() != 0);
            writer.put(b"}}");
            writer
        }
        NumberKind::F64 => double_attribute(writer, key, f64::from_bits(value.bits())),
    }
}

#[inline(never)]
fn double_attribute(mut writer: Writer<'_>, key: impl Piece, value: f64) -> Writer<'_> {
    writer.put((key, b"\"doubleValue\":"));
    double_value(&mut writer, value);
    writer.put(b"}}");
    writer
}

/// An attribute with any other value; without one, where it has none: strict readers refuse an empty value.
#[cold]
#[inline(never)]
fn rich_attribute<'w>(
    mut writer: Writer<'w>,
    separator: u8,
    key: Text<'_>,
    value: ValueRef<'_>,
) -> Writer<'w> {
    writer.put((separator, KEY, JsonText(key)));
    value_behind_key(&mut writer, value, 0);
    writer
}

/// What an extra metric says of a span.
#[cold]
#[inline(never)]
pub(super) fn measurement<'w>(
    mut writer: Writer<'w>,
    separator: u8,
    measurement: &Measurement<'_>,
) -> Writer<'w> {
    let [before, name, after] = measurement.key.map(JsonStr);
    writer.put((separator, KEY, (before, name, after)));
    value_behind_key(&mut writer, ValueRef::F64(measurement.value), 0);
    writer
}

fn value_behind_key(writer: &mut Writer<'_>, value: ValueRef<'_>, depth: usize) {
    if value == ValueRef::Empty {
        writer.put(b"\"}");
        return;
    }
    writer.put(b"\",\"value\":");
    any_value(writer, value, depth);
    writer.put(b'}');
}

/// Writes an `AnyValue`, `depth` lists and maps deep.
fn any_value(writer: &mut Writer<'_>, value: ValueRef<'_>, depth: usize) {
    writer.put(b'{');
    match value {
        ValueRef::Text(text) => writer.put((b"\"stringValue\":\"", JsonText(text), b'"')),
        ValueRef::Str(text) => writer.put((b"\"stringValue\":\"", JsonStr(text), b'"')),
        ValueRef::Bool(bool) => {
            writer.put(b"\"boolValue\":");
            bool_value(writer, bool);
        }
        ValueRef::Int(int) => writer.put((b"\"intValue\":\"", SignedDecimal(int), b'"')),
        ValueRef::F64(double) => {
            writer.put(b"\"doubleValue\":");
            double_value(writer, double);
        }
        ValueRef::Bytes(bytes) => bytes_value(writer, bytes),
        ValueRef::Array(_) | ValueRef::Map(_) if depth == MAX_VALUE_DEPTH => {
            writer.put((b"\"stringValue\":\"", JsonStr(TOO_DEEP), b'"'));
        }
        ValueRef::Array(items) => array(writer, items, depth + 1),
        ValueRef::Map(pairs) => map(writer, pairs, depth + 1),
        _ => {}
    }
    writer.put(b'}');
}

fn array(writer: &mut Writer<'_>, items: &[Value], depth: usize) {
    writer.put(b"\"arrayValue\":{\"values\":[");
    for (index, item) in items.iter().enumerate() {
        writer.put((index > 0).then_some(b','));
        any_value(writer, item.as_ref(), depth);
    }
    writer.put(b"]}");
}

fn map(writer: &mut Writer<'_>, pairs: &[(String, Value)], depth: usize) {
    writer.put(b"\"kvlistValue\":{\"values\":[");
    for (index, (key, value)) in pairs.iter().enumerate() {
        writer.put(((index > 0).then_some(b','), KEY, JsonStr(key)));
        value_behind_key(writer, value.as_ref(), depth);
    }
    writer.put(b"]}");
}

fn bool_value(writer: &mut Writer<'_>, value: bool) {
    let text = if value { &b"true"[..] } else { &b"false"[..] };
    writer.put(text);
}

/// The shortest digits that read back as the same double.
pub(crate) fn double_value(writer: &mut Writer<'_>, value: f64) {
    if value.is_finite() {
        writer.put(zmij::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        writer.put(b"\"NaN\"");
    } else if value > 0.0 {
        writer.put(b"\"Infinity\"");
    } else {
        writer.put(b"\"-Infinity\"");
    }
}

/// Base64, by pieces: the text of a large value is never held twice.
fn bytes_value(writer: &mut Writer<'_>, bytes: &[u8]) {
    const PIECE_BYTES: usize = 768;
    let mut text = [0; PIECE_BYTES / 3 * 4];
    writer.put(b"\"bytesValue\":\"");
    for piece in bytes.chunks(PIECE_BYTES) {
        // Cannot fail: four bytes of text for each three are there.
        let length = STANDARD.encode_slice(piece, &mut text).unwrap_or(0);
        writer.put(&text[..length]);
    }
    writer.put(b'"');
}
