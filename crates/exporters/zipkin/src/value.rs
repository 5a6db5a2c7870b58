//! Values, events and links as text: Zipkin knows nothing else.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::span::{Attributes, Event, Link};
use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::{JsonStr, JsonText, SignedDecimal, Writer};

use crate::mapping::AnnotationForm;

/// Lists and maps inside each other that are written; what lies deeper becomes [`TOO_DEEP`].
const MAX_VALUE_DEPTH: usize = 64;

/// What stands for a list or map at a depth that is not written.
const TOO_DEEP: &str = "(nested deeper than 64 levels)";

/// Stands for `|` in names: a Collector and Jaeger take an annotation apart at each `|`, and refuse the request when that fails.
const BROKEN_BAR: &str = "¦";

/// Buffers that texts are put together in.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) text: Vec<u8>,
    pub(crate) key: Vec<u8>,
    json: Vec<u8>,
}

/// A buffer of this size is never excessive.
const MAX_KEPT_BYTES: usize = 1 << 20;

impl Scratch {
    /// What an odd span has made grow does not stay so.
    pub(crate) fn give_back_excess(&mut self) {
        for buffer in [&mut self.text, &mut self.key, &mut self.json] {
            buffer.clear();
            if buffer.capacity() > MAX_KEPT_BYTES {
                buffer.shrink_to(MAX_KEPT_BYTES);
            }
        }
    }
}

/// `value` as text: numbers in the shortest form, bytes in base64, lists and maps in JSON, nothing for no value.
pub(crate) fn text_of<'s>(value: ValueRef<'s>, scratch: &'s mut Vec<u8>) -> &'s str {
    scratch.clear();
    match value {
        ValueRef::Text(text) => return text.as_str(),
        ValueRef::Str(text) => return text,
        ValueRef::Bool(true) => return "true",
        ValueRef::Bool(false) => return "false",
        ValueRef::Int(int) => Writer::new(scratch).put(SignedDecimal(int)),
        ValueRef::F64(double) => double_text(&mut Writer::new(scratch), double),
        ValueRef::Bytes(bytes) => base64(&mut Writer::new(scratch), bytes),
        ValueRef::Array(_) | ValueRef::Map(_) => json(&mut Writer::new(scratch), value, 0),
        _ => return "",
    }
    as_text(scratch)
}

/// The first `max` characters of `text`.
pub(crate) fn cut(text: &str, max: Option<usize>) -> &str {
    let max = max.unwrap_or(usize::MAX);
    if text.len() <= max {
        return text;
    }
    let end = text
        .char_indices()
        .nth(max)
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// What an annotation says of `event`. `is_taken` tells names that mean something else where they stand alone.
pub(crate) fn annotation<'s>(
    event: &Event<'_>,
    form: AnnotationForm,
    is_taken: impl Fn(&str) -> bool,
    scratch: &'s mut Scratch,
) -> &'s str {
    let (text, buffer) = (&mut scratch.text, &mut scratch.json);
    let (name, dropped) = (event.name().as_str(), event.dropped_attributes());
    text.clear();
    let has_attributes = event.attributes().len() > 0;
    match form {
        AnnotationForm::Specification if has_attributes || is_taken(name) => {
            put_json(text, buffer, |writer| {
                writer.put((b'"', JsonStr(name), b'"'));
            });
            if has_attributes {
                text.extend_from_slice(b": ");
                put_json(text, buffer, |writer| object(writer, event.attributes()));
            }
        }
        AnnotationForm::Collector if has_attributes || dropped > 0 => {
            put_name(text, name);
            text.push(b'|');
            put_json(text, buffer, |writer| object(writer, event.attributes()));
            let _ = write!(text, "|{dropped}");
        }
        _ => put_name(text, name),
    }
    as_text(text)
}

/// What a tag says of `link`: `trace|span|state|{attributes}|dropped`, as a Collector writes and reads it.
///
/// A trace state with a `|` would be taken for two fields, and the whole request be refused: it is left out.
pub(crate) fn link<'s>(link: &Link<'_>, scratch: &'s mut Scratch) -> &'s str {
    let (text, buffer) = (&mut scratch.text, &mut scratch.json);
    text.clear();
    let state = link.trace_state();
    let state = state.as_ref().map_or("", |state| state.as_str());
    let state = if state.contains('|') { "" } else { state };
    let _ = write!(text, "{}|{}|{state}|", link.trace_id(), link.span_id());
    put_json(text, buffer, |writer| object(writer, link.attributes()));
    let _ = write!(text, "|{}", link.dropped_attributes());
    as_text(text)
}

fn put_name(text: &mut Vec<u8>, name: &str) {
    for (place, part) in name.split('|').enumerate() {
        if place > 0 {
            text.extend_from_slice(BROKEN_BAR.as_bytes());
        }
        text.extend_from_slice(part.as_bytes());
    }
}

/// Appends JSON without a `|`, which can stand in its texts only.
fn put_json(text: &mut Vec<u8>, buffer: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    buffer.clear();
    write(&mut Writer::new(buffer));
    for (place, part) in buffer.split(|byte| *byte == b'|').enumerate() {
        if place > 0 {
            text.extend_from_slice(br"\u007c");
        }
        text.extend_from_slice(part);
    }
}

/// Only whole texts are ever put into a buffer.
fn as_text(buffer: &[u8]) -> &str {
    std::str::from_utf8(buffer).unwrap_or_default()
}

fn object(writer: &mut Writer<'_>, attributes: Attributes<'_>) {
    writer.put(b'{');
    for (index, (key, value)) in attributes.enumerate() {
        writer.put(((index > 0).then_some(b','), b'"', JsonText(key), b"\":"));
        json(writer, value, 0);
    }
    writer.put(b'}');
}

/// Writes `value` as JSON, `depth` lists and maps deep.
fn json(writer: &mut Writer<'_>, value: ValueRef<'_>, depth: usize) {
    match value {
        ValueRef::Text(text) => writer.put((b'"', JsonText(text), b'"')),
        ValueRef::Str(text) => writer.put((b'"', JsonStr(text), b'"')),
        ValueRef::Bool(true) => writer.put(b"true"),
        ValueRef::Bool(false) => writer.put(b"false"),
        ValueRef::Int(int) => writer.put(SignedDecimal(int)),
        ValueRef::F64(double) if double.is_finite() => double_text(writer, double),
        ValueRef::F64(double) => {
            writer.put(b'"');
            double_text(writer, double);
            writer.put(b'"');
        }
        ValueRef::Bytes(bytes) => {
            writer.put(b'"');
            base64(writer, bytes);
            writer.put(b'"');
        }
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
        json(writer, item.as_ref(), depth);
    }
    writer.put(b']');
}

fn map(writer: &mut Writer<'_>, pairs: &[(String, Value)], depth: usize) {
    writer.put(b'{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        writer.put(((index > 0).then_some(b','), b'"', JsonStr(key), b"\":"));
        json(writer, value.as_ref(), depth);
    }
    writer.put(b'}');
}

/// The shortest digits that read back as the same double; `NaN`, `Infinity` and `-Infinity` for the others.
fn double_text(writer: &mut Writer<'_>, double: f64) {
    if double.is_finite() {
        writer.put(zmij::Buffer::new().format_finite(double).as_bytes());
    } else {
        writer.put(not_finite(double).as_bytes());
    }
}

/// What stands for a double that is no number.
pub(crate) fn not_finite(double: f64) -> &'static str {
    if double.is_nan() {
        "NaN"
    } else if double > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// By pieces: the text of a large value is never held twice.
fn base64(writer: &mut Writer<'_>, bytes: &[u8]) {
    const PIECE_BYTES: usize = 768;
    let mut text = [0; PIECE_BYTES / 3 * 4];
    for piece in bytes.chunks(PIECE_BYTES) {
        // Cannot fail: four bytes of text for each three are there.
        let length = STANDARD.encode_slice(piece, &mut text).unwrap_or(0);
        writer.put(&text[..length]);
    }
}
