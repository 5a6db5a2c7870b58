//! Lists and maps as JSON: Jaeger's tags have no such types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::{JsonStr, JsonText, SignedDecimal, Writer};

/// Lists and maps inside each other that are written; what lies deeper becomes [`TOO_DEEP`].
pub(crate) const MAX_VALUE_DEPTH: usize = 64;

/// What stands for a list or map at a depth that is not written.
pub(crate) const TOO_DEEP: &str = "(nested deeper than 64 levels)";

/// Writes `value` as JSON.
pub(crate) fn json(writer: &mut Writer<'_>, value: ValueRef<'_>) {
    any(writer, value, 0);
}

/// The same, `depth` lists and maps deep.
fn any(writer: &mut Writer<'_>, value: ValueRef<'_>, depth: usize) {
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

fn array(writer: &mut Writer<'_>, items: &[Value], depth: usize) {
    writer.put(b'[');
    for (index, item) in items.iter().enumerate() {
        writer.put((index > 0).then_some(b','));
        any(writer, item.as_ref(), depth);
    }
    writer.put(b']');
}

fn map(writer: &mut Writer<'_>, pairs: &[(String, Value)], depth: usize) {
    writer.put(b'{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        writer.put(((index > 0).then_some(b','), b'"', JsonStr(key), b"\":"));
        any(writer, value.as_ref(), depth);
    }
    writer.put(b'}');
}

/// The shortest digits that read back as the same double; JSON has no number for the others.
fn number(writer: &mut Writer<'_>, double: f64) {
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

/// By pieces: the text of a large value is never held twice.
fn base64(writer: &mut Writer<'_>, bytes: &[u8]) {
    const PIECE_BYTES: usize = 768;
    let mut text = [0; PIECE_BYTES / 3 * 4];
    writer.put(b'"');
    for piece in bytes.chunks(PIECE_BYTES) {
        // Cannot fail: four bytes of text for each three are there.
        let length = STANDARD.encode_slice(piece, &mut text).unwrap_or(0);
        writer.put(&text[..length]);
    }
    writer.put(b'"');
}
