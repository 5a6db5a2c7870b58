//! JSON texts and values, read leniently and in bounded depth.

use std::borrow::Cow;

use hiq_core::value::Value;

use super::scan::{end_of_text, end_of_value, skip_blanks};
use crate::json::{MAX_VALUE_DEPTH, TOO_DEEP};

/// The text between two quotes: escapes undone, lone surrogates and bytes that are no UTF-8 replaced.
pub(crate) fn text(raw: &[u8]) -> Cow<'_, str> {
    if !raw.contains(&b'\\') {
        return String::from_utf8_lossy(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        if *byte != b'\\' {
            out.push(*byte);
            at += 1;
            continue;
        }
        at += 2;
        match raw.get(at - 1) {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'u') => at += unicode(&raw[at..], &mut out),
            Some(other) => out.push(*other),
            None => {}
        }
    }
    Cow::Owned(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Reads the four digits behind `\u`, and the second half of a pair. Returns how many bytes that took.
fn unicode(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(first) = four_digits(rest) else {
        out.extend_from_slice("\u{fffd}".as_bytes());
        return rest.len().min(4);
    };
    let second = rest.get(4..6).filter(|next| next == b"\\u");
    let second = second.and_then(|_| four_digits(&rest[6..]));
    let (code, taken) = match (first, second) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
            (0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00), 10)
        }
        _ => (first, 4),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    taken
}

fn four_digits(bytes: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(bytes.get(..4)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// Hands the fields of an object to `take`; nothing for what is no object.
pub(crate) fn each_field<'a>(raw: &'a [u8], take: &mut dyn FnMut(Cow<'a, str>, &'a [u8])) {
    if raw.first() == Some(&b'{') {
        let _ = fields(raw, take);
    }
}

fn fields<'a>(raw: &'a [u8], take: &mut dyn FnMut(Cow<'a, str>, &'a [u8])) -> Option<()> {
    let mut at = skip_blanks(raw, 1).ok()?;
    while raw[at] == b'"' {
        let end = end_of_text(raw, at + 1).ok()?;
        let key = text(&raw[at + 1..end]);
        at = skip_blanks(raw, end + 1).ok()?;
        at = skip_blanks(raw, at + usize::from(raw[at] == b':')).ok()?;
        let end = end_of_value(raw, at).ok()?;
        take(key, &raw[at..end]);
        at = skip_blanks(raw, end).ok()?;
        if raw[at] != b',' {
            return None;
        }
        at = skip_blanks(raw, at + 1).ok()?;
    }
    None
}

fn each_item<'a>(raw: &'a [u8], take: &mut dyn FnMut(&'a [u8])) -> Option<()> {
    let mut at = skip_blanks(raw, 1).ok()?;
    while raw[at] != b']' {
        let end = end_of_value(raw, at).ok()?;
        take(&raw[at..end]);
        at = skip_blanks(raw, end).ok()?;
        if raw[at] == b',' {
            at = skip_blanks(raw, at + 1).ok()?;
        }
    }
    Some(())
}

/// Reads a whole value that lies `depth` lists and objects deep.
pub(crate) fn value(raw: &[u8], depth: usize) -> Value {
    match raw {
        [b'"', text_bytes @ .., b'"'] => Value::Str(text(text_bytes).into_owned()),
        b"true" => Value::Bool(true),
        b"false" => Value::Bool(false),
        [b'{' | b'[', ..] if depth == MAX_VALUE_DEPTH => Value::Str(TOO_DEEP.to_owned()),
        [b'[', ..] => {
            let mut items = Vec::new();
            let _ = each_item(raw, &mut |item| items.push(value(item, depth + 1)));
            Value::Array(items)
        }
        [b'{', ..] => {
            let mut pairs = Vec::new();
            each_field(raw, &mut |key, field| {
                pairs.push((key.into_owned(), value(field, depth + 1)));
            });
            Value::Map(pairs)
        }
        word => number(word),
    }
}

fn number(word: &[u8]) -> Value {
    let word = std::str::from_utf8(word).unwrap_or_default();
    if let Ok(int) = word.parse() {
        return Value::Int(int);
    }
    match word {
        "NaN" => Value::F64(f64::NAN),
        "Infinity" => Value::F64(f64::INFINITY),
        "-Infinity" => Value::F64(f64::NEG_INFINITY),
        "null" | "" => Value::Empty,
        other => match other.parse() {
            Ok(double) => Value::F64(double),
            Err(_) => Value::Str(other.to_owned()),
        },
    }
}

/// The number of an object's field; zero where there is none.
pub(crate) fn uint(raw: &[u8]) -> u64 {
    std::str::from_utf8(raw)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}
