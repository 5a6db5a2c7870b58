//! Values as text and as JSON, for formats that know no lists, maps or bytes.
//!
//! Source: OpenTelemetry's [mapping to non-OTLP formats](https://opentelemetry.io/docs/specs/otel/common/#anyvalue-representation-for-non-otlp-protocols).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Value, ValueRef};
use crate::wire::{JsonStr, JsonText, SignedDecimal, Writer};

/// Lists and maps inside each other that encoders write; what lies deeper becomes [`TOO_DEEP`].
///
/// Receivers that guard against deep messages refuse the whole request, so one odd value would cost all its neighbours.
pub const MAX_VALUE_DEPTH: usize = 64;

/// What stands for a list or map at a depth that is not written.
pub const TOO_DEEP: &str = "(nested deeper than 64 levels)";

impl<'a> ValueRef<'a> {
    /// The value as text: numbers in the shortest form, bytes in base64, lists and maps in JSON, nothing for no value.
    /// What is not a text yet is put together in `scratch`.
    ///
    /// ```
    /// use hiq_core::value::Value;
    ///
    /// let mut scratch = Vec::new();
    /// let list = Value::from(vec![Value::from(1), Value::from("a\"b"), Value::from(f64::NAN)]);
    /// assert_eq!(list.as_ref().text(&mut scratch), r#"[1,"a\"b","NaN"]"#);
    /// assert_eq!(Value::from(0.1).as_ref().text(&mut scratch), "0.1");
    /// assert_eq!(Value::from(vec![1_u8, 2]).as_ref().text(&mut scratch), "AQI=");
    /// ```
    pub fn text<'s>(self, scratch: &'s mut Vec<u8>) -> &'s str
    where
        'a: 's,
    {
        scratch.clear();
        match self {
            Self::Text(text) => return text.as_str(),
            Self::Str(text) => return text,
            Self::Bool(true) => return "true",
            Self::Bool(false) => return "false",
            Self::Int(int) => Writer::new(scratch).put(SignedDecimal(int)),
            Self::F64(double) => put_double(&mut Writer::new(scratch), double),
            Self::Bytes(bytes) => put_base64(&mut Writer::new(scratch), bytes),
            Self::Array(_) | Self::Map(_) => put_json(&mut Writer::new(scratch), self),
            Self::Empty => return "",
        }
        // Only whole texts are ever put into it.
        std::str::from_utf8(scratch).unwrap_or_default()
    }
}

/// Writes `value` as JSON: bytes as base64 in quotes, doubles that are no numbers as `"NaN"`, `"Infinity"` and `"-Infinity"`, no value
/// as `null`.
pub fn put_json(writer: &mut Writer<'_>, value: ValueRef<'_>) {
    put_nested(writer, value, 0);
}

/// The shortest digits that read back as the same double; `NaN`, `Infinity` and `-Infinity` for the others.
pub fn put_double(writer: &mut Writer<'_>, double: f64) {
    if double.is_finite() {
        writer.put(zmij::Buffer::new().format_finite(double).as_bytes());
    } else {
        writer.put(not_finite(double).as_bytes());
    }
}

/// What stands for a double that is no number.
pub fn not_finite(double: f64) -> &'static str {
    if double.is_nan() {
        "NaN"
    } else if double > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Bytes in base64, with padding. By pieces: the text of a large value is never held twice.
pub fn put_base64(writer: &mut Writer<'_>, bytes: &[u8]) {
    const PIECE_BYTES: usize = 768;
    let mut text = [0; PIECE_BYTES / 3 * 4];
    for piece in bytes.chunks(PIECE_BYTES) {
        // Cannot fail: four bytes of text for each three are there.
        let length = STANDARD.encode_slice(piece, &mut text).unwrap_or(0);
        writer.put(&text[..length]);
    }
}

/// Writes `value` as JSON, `depth` lists and maps deep.
fn put_nested(writer: &mut Writer<'_>, value: ValueRef<'_>, depth: usize) {
    match value {
        ValueRef::Text(text) => writer.put((b'"', JsonText(text), b'"')),
        ValueRef::Str(text) => writer.put((b'"', JsonStr(text), b'"')),
        ValueRef::Bool(true) => writer.put(b"true"),
        ValueRef::Bool(false) => writer.put(b"false"),
        ValueRef::Int(int) => writer.put(SignedDecimal(int)),
        ValueRef::F64(double) if double.is_finite() => put_double(writer, double),
        ValueRef::F64(double) => writer.put((b'"', JsonStr(not_finite(double)), b'"')),
        ValueRef::Bytes(bytes) => {
            writer.put(b'"');
            put_base64(writer, bytes);
            writer.put(b'"');
        }
        ValueRef::Array(_) | ValueRef::Map(_) if depth == MAX_VALUE_DEPTH => {
            writer.put((b'"', JsonStr(TOO_DEEP), b'"'));
        }
        ValueRef::Array(items) => put_array(writer, items, depth + 1),
        ValueRef::Map(pairs) => put_map(writer, pairs, depth + 1),
        ValueRef::Empty => writer.put(b"null"),
    }
}

fn put_array(writer: &mut Writer<'_>, items: &[Value], depth: usize) {
    writer.put(b'[');
    for (index, item) in items.iter().enumerate() {
        writer.put((index > 0).then_some(b','));
        put_nested(writer, item.as_ref(), depth);
    }
    writer.put(b']');
}

fn put_map(writer: &mut Writer<'_>, pairs: &[(String, Value)], depth: usize) {
    writer.put(b'{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        writer.put(((index > 0).then_some(b','), b'"', JsonStr(key), b"\":"));
        put_nested(writer, value.as_ref(), depth);
    }
    writer.put(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json_that_a_strict_reader_takes() {
        let map = Value::Map(vec![
            ("a \"quoted\" key".to_owned(), Value::from(vec![0_u8, 255])),
            ("empty".to_owned(), Value::Empty),
            (
                "numbers".to_owned(),
                Value::from(vec![Value::from(-5), Value::from(1e300)]),
            ),
            (
                "no numbers".to_owned(),
                Value::from(vec![Value::from(f64::NEG_INFINITY)]),
            ),
            ("nothing".to_owned(), Value::Map(Vec::new())),
        ]);
        let mut scratch = Vec::new();
        let read: serde_json::Value =
            serde_json::from_str(map.as_ref().text(&mut scratch)).unwrap();
        let expected = serde_json::json!({
            "a \"quoted\" key": "AP8=", "empty": null, "numbers": [-5, 1e300], "no numbers": ["-Infinity"], "nothing": {},
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn large_bytes_are_one_base64() {
        let bytes: Vec<u8> = (0..5_000_u16).map(|n| n.to_le_bytes()[0]).collect();
        let mut scratch = Vec::new();
        let value = Value::from(bytes.clone());
        let text = value.as_ref().text(&mut scratch);
        assert_eq!(STANDARD.decode(text).unwrap(), bytes);
    }

    #[test]
    fn below_64_levels_a_sentence_stands() {
        let mut deep = Value::from("bottom");
        for _ in 0..70 {
            deep = Value::from(vec![deep]);
        }
        let mut scratch = Vec::new();
        let text = deep.as_ref().text(&mut scratch);
        assert_eq!(
            text,
            format!("{}\"{TOO_DEEP}\"{}", "[".repeat(64), "]".repeat(64))
        );
    }
}
