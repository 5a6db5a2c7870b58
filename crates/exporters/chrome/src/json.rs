//! JSON as viewers read it: values by their own types, texts for what JSON has no number for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::{Decimal, JsonStr, JsonText, SignedDecimal, Text, Writer};

/// Lists and maps inside each other, at most; what lies deeper is [`TOO_DEEP`].
pub(crate) const MAX_VALUE_DEPTH: usize = 64;
/// Stands for what is nested too deeply.
pub(crate) const TOO_DEEP: &str = "(nested deeper than 64 levels)";

/// Writes `attributes` as an object.
pub(crate) fn object<'a>(
    writer: &mut Writer<'_>,
    attributes: impl Iterator<Item = (Text<'a>, ValueRef<'a>)>,
) {
    let mut separator = b'{';
    for (key, attribute) in attributes {
        writer.put((separator, b'"', JsonText(key), b"\":"));
        value(writer, attribute, 0);
        separator = b',';
    }
    if separator == b'{' {
        writer.put(b'{');
    }
    writer.put(b'}');
}

/// Writes a value that lies in `depth` lists and maps.
pub(crate) fn value(writer: &mut Writer<'_>, value: ValueRef<'_>, depth: usize) {
    match value {
        ValueRef::Text(text) => writer.put((b'"', JsonText(text), b'"')),
        ValueRef::Str(text) => writer.put((b'"', JsonStr(text), b'"')),
        ValueRef::Bool(true) => writer.put(b"true"),
        ValueRef::Bool(false) => writer.put(b"false"),
        ValueRef::Int(int) => writer.put(SignedDecimal(int)),
        ValueRef::F64(double) => number(writer, double),
        ValueRef::Bytes(bytes) => base64(writer, bytes),
        ValueRef::Array(_) | ValueRef::Map(_) if depth == MAX_VALUE_DEPTH => {
            writer.put((b'"', JsonStr(TOO_DEEP), b'"'));
        }
        ValueRef::Array(items) => array(writer, items, depth + 1),
        ValueRef::Map(pairs) => map(writer, pairs, depth + 1),
        _ => writer.put(b"null"),
    }
}

/// The shortest digits that read back as the same double; JSON has none for the others.
pub(crate) fn number(writer: &mut Writer<'_>, double: f64) {
    if double.is_finite() {
        writer.put(zmij::Buffer::new().format_finite(double).as_bytes());
    } else if double.is_nan() {
        writer.put(b"\"NaN\"");
    } else if double > 0.0 {
        writer.put(b"\"Infinity\"");
    } else {
        writer.put(b"\"-Infinity\"");
    }
}

/// Writes nanoseconds as microseconds, with all three decimals.
#[inline]
pub(crate) fn micros(writer: &mut Writer<'_>, nanos: u64, is_negative: bool) {
    let rest = nanos % 1_000;
    let digit = |number: u64| b'0' + (number % 10) as u8;
    let decimals = [b'.', digit(rest / 100), digit(rest / 10), digit(rest)];
    writer.put((
        is_negative.then_some(b'-'),
        Decimal(nanos / 1_000),
        decimals,
    ));
}

fn array(writer: &mut Writer<'_>, items: &[Value], depth: usize) {
    writer.put(b'[');
    for (index, item) in items.iter().enumerate() {
        writer.put((index > 0).then_some(b','));
        value(writer, item.as_ref(), depth);
    }
    writer.put(b']');
}

fn map(writer: &mut Writer<'_>, pairs: &[(String, Value)], depth: usize) {
    writer.put(b'{');
    for (index, (key, item)) in pairs.iter().enumerate() {
        writer.put(((index > 0).then_some(b','), b'"', JsonStr(key), b"\":"));
        value(writer, item.as_ref(), depth);
    }
    writer.put(b'}');
}

fn base64(writer: &mut Writer<'_>, bytes: &[u8]) {
    writer.put(b'"');
    bytes_as_base64(writer, bytes);
    writer.put(b'"');
}

/// By pieces: the text of a large value is never held twice.
pub(crate) fn bytes_as_base64(writer: &mut Writer<'_>, bytes: &[u8]) {
    const PIECE_BYTES: usize = 768;
    let mut text = [0; PIECE_BYTES / 3 * 4];
    for piece in bytes.chunks(PIECE_BYTES) {
        // Cannot fail: four bytes of text for each three are there.
        let length = STANDARD.encode_slice(piece, &mut text).unwrap_or(0);
        writer.put(&text[..length]);
    }
}
