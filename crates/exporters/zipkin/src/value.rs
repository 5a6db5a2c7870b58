//! Events and links as text: Zipkin knows nothing else.

use std::io::Write as _;

use hiq_core::span::{Attributes, Event, Link};
use hiq_core::value::ValueRef;
use hiq_core::value::text::put_json;
use hiq_core::wire::{JsonStr, JsonText, Text, Word, Writer};

use crate::mapping::AnnotationForm;

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
            put_without_bar(text, buffer, |writer| {
                writer.put((b'"', JsonStr(name), b'"'));
            });
            if has_attributes {
                text.extend_from_slice(b": ");
                put_without_bar(text, buffer, |writer| object(writer, event.attributes()));
            }
        }
        AnnotationForm::Collector if has_attributes || dropped > 0 => {
            put_name(text, name);
            text.push(b'|');
            put_without_bar(text, buffer, |writer| object(writer, event.attributes()));
            let _ = write!(text, "|{dropped}");
        }
        _ => put_name(text, name),
    }
    as_text(text)
}

/// Writes what [`annotation`] says of `event` where nothing in it has to be escaped or put otherwise, with `quote` for its quotation
/// marks. False, and nothing written, for any other.
pub(crate) fn put_plain_annotation(
    writer: &mut Writer<'_>,
    event: &Event<'_>,
    form: AnnotationForm,
    quote: Word,
) -> bool {
    let (name, mut attributes) = (event.name(), event.attributes());
    let is_plain = form == AnnotationForm::Specification
        && attributes.len() > 0
        && is_plain(name)
        && attributes.all(|(key, value)| {
            is_plain(key) && matches!(value, ValueRef::Text(text) if is_plain(text))
        });
    if !is_plain {
        return false;
    }
    writer.put((quote, name, quote, b": {"));
    let mut separator = None;
    for (key, value) in event.attributes() {
        let ValueRef::Text(value) = value else {
            continue;
        };
        writer.put((separator, (quote, key, quote), b':', (quote, value, quote)));
        separator = Some(b',');
    }
    writer.put(b'}');
    true
}

fn is_plain(text: Text<'_>) -> bool {
    !text.needs_escape() && !text.as_bytes().contains(&b'|')
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
    put_without_bar(text, buffer, |writer| object(writer, link.attributes()));
    let _ = write!(text, "|{}", link.dropped_attributes());
    as_text(text)
}

fn put_name(text: &mut Vec<u8>, name: &str) {
    if !name.contains('|') {
        return text.extend_from_slice(name.as_bytes());
    }
    for (place, part) in name.split('|').enumerate() {
        if place > 0 {
            text.extend_from_slice(BROKEN_BAR.as_bytes());
        }
        text.extend_from_slice(part.as_bytes());
    }
}

/// Appends JSON without a `|`, which can stand in its texts only.
fn put_without_bar(text: &mut Vec<u8>, buffer: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    buffer.clear();
    write(&mut Writer::new(buffer));
    if !buffer.contains(&b'|') {
        return text.extend_from_slice(buffer);
    }
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
        put_json(writer, value);
    }
    writer.put(b'}');
}
