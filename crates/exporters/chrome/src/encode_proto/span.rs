//! One span: the beginning of a slice with its annotations, and an instant for each of its events.

use std::sync::Arc;

use hiq_core::id::{SpanId, TraceId};
use hiq_core::span::{Link, Span, Status};
use hiq_core::value::ValueRef;
use hiq_core::wire::{OpenLength, Varint, Writer};

use super::annotation::{Names, annotate, annotate_text, entry, open_entry, open_item, open_list};
use super::packet::{EVENT_CATEGORY, Packets, Type, category};
use crate::keys;

/// Begins the packet that begins the slice of `span`.
pub(super) fn begin_span(
    writer: &mut Writer<'_>,
    packets: Packets,
    names: &mut Names,
    span: Span<'_>,
    track: u64,
) -> (OpenLength, OpenLength) {
    let open = packets.open_event(writer, Type::Begin, span.start(), track);
    let name = names.event(span.name().as_bytes());
    writer.put((0x50_u8, Varint(name), 0x18_u8, category(span.kind())));
    open
}

/// Ends that packet, with all that is known of `span`; `is_inside` when its parent is drawn around it.
pub(super) fn end_span(
    writer: &mut Writer<'_>,
    names: &mut Names,
    span: Span<'_>,
    is_inside: bool,
    open: (OpenLength, OpenLength),
) {
    identity(writer, names, span, is_inside);
    state(writer, names, span);
    for (key, value) in keys::attributes(span) {
        annotate(writer, names, key.as_bytes(), value);
    }
    for each in span.measurements() {
        let mut key = KeyBuffer::default();
        each.key.iter().for_each(|part| key.push(part));
        annotate(writer, names, key.bytes(), ValueRef::F64(each.value));
    }
    links(writer, names, span);
    names.close(writer, open);
}

/// Writes the events of `span`, by its id, because others may begin at the same time.
pub(super) fn write_instants(
    writer: &mut Writer<'_>,
    packets: Packets,
    names: &mut Names,
    span: Span<'_>,
    track: u64,
) {
    for event in span.events() {
        let time = event.time().clamp(span.start(), span.end());
        let open = packets.open_event(writer, Type::Instant, time, track);
        let name = names.event(event.name().as_bytes());
        writer.put((0x50_u8, Varint(name), 0x18_u8, EVENT_CATEGORY));
        annotate_text(writer, names, keys::SPAN_ID, &hex(span.id()));
        if time != event.time() {
            let exact = ValueRef::Int(event.time().0.cast_signed());
            annotate(writer, names, keys::TIME.as_bytes(), exact);
        }
        for (key, value) in event.attributes() {
            if !keys::is_ours(key) {
                annotate(writer, names, key.as_bytes(), value);
            }
        }
        count(writer, names, keys::DROPPED[0], event.dropped_attributes());
        names.close(writer, open);
    }
}

fn identity(writer: &mut Writer<'_>, names: &mut Names, span: Span<'_>, is_inside: bool) {
    annotate_text(writer, names, keys::SPAN_ID, &hex(span.id()));
    if let Some(parent) = span.parent_id() {
        annotate_text(writer, names, keys::PARENT_ID, &hex(parent));
    }
    if span.has_remote_parent() {
        let name = keys::PARENT_IS_REMOTE.as_bytes();
        annotate(writer, names, name, ValueRef::Bool(true));
    }
    if !is_inside {
        annotate_text(writer, names, keys::TRACE_ID, &trace_hex(span.trace_id()));
    }
    if span.trace_flags() != 1 {
        let flags = ValueRef::Int(span.trace_flags().into());
        annotate(writer, names, keys::TRACE_FLAGS.as_bytes(), flags);
    }
    if let Some(state) = span.trace_state() {
        annotate(
            writer,
            names,
            keys::TRACE_STATE.as_bytes(),
            ValueRef::Text(state),
        );
    }
    scope(writer, names, span, is_inside);
}

fn scope(writer: &mut Writer<'_>, names: &mut Names, span: Span<'_>, is_inside: bool) {
    let scope = span.scope();
    let parent = span.parent_index().filter(|_| is_inside);
    let of_parent = parent.and_then(|parent| span.tree().span(parent as usize));
    if of_parent.is_some_and(|parent| Arc::ptr_eq(parent.scope(), scope)) {
        return;
    }
    if let Some(name) = scope.name() {
        annotate(
            writer,
            names,
            keys::SCOPE_NAME.as_bytes(),
            ValueRef::Text(name),
        );
    }
    if let Some(version) = scope.version().filter(|version| !version.is_empty()) {
        let version = ValueRef::Text(version);
        annotate(writer, names, keys::SCOPE_VERSION.as_bytes(), version);
    }
    if scope.attributes().len() > 0 {
        let attributes = open_list(writer, names, keys::SCOPE_ATTRIBUTES);
        for (key, value) in scope.attributes() {
            entry(writer, key.as_bytes(), value, 1);
        }
        writer.close(attributes);
    }
}

fn state(writer: &mut Writer<'_>, names: &mut Names, span: Span<'_>) {
    match span.status() {
        Status::Unset => {}
        Status::Ok => annotate_text(writer, names, keys::STATUS, b"OK"),
        Status::Error => {
            annotate_text(writer, names, keys::STATUS, b"ERROR");
            if let Some(message) = span.status_message() {
                let message = ValueRef::Text(message);
                annotate(writer, names, keys::STATUS_MESSAGE.as_bytes(), message);
            }
        }
    }
    let dropped = span.dropped();
    let counts = [dropped.attributes, dropped.events, dropped.links];
    for (key, dropped) in keys::DROPPED.into_iter().zip(counts) {
        count(writer, names, key, dropped);
    }
}

fn count(writer: &mut Writer<'_>, names: &mut Names, key: &str, count: u32) {
    if count > 0 {
        annotate(writer, names, key.as_bytes(), ValueRef::Int(count.into()));
    }
}

fn links(writer: &mut Writer<'_>, names: &mut Names, span: Span<'_>) {
    if span.links().len() == 0 {
        return;
    }
    let list = open_list(writer, names, keys::LINKS);
    for each in span.links() {
        let item = open_item(writer);
        link(writer, each);
        writer.close(item);
    }
    writer.close(list);
}

fn link(writer: &mut Writer<'_>, link: Link<'_>) {
    text_entry(writer, b"trace_id", &trace_hex(link.trace_id()));
    text_entry(writer, b"span_id", &hex(link.span_id()));
    if let Some(state) = link.trace_state() {
        entry(writer, b"trace_state", ValueRef::Text(state), 2);
    }
    if link.flags() != 0 {
        entry(writer, b"flags", ValueRef::Int(link.flags().into()), 2);
    }
    if link.attributes().len() > 0 {
        let attributes = open_entry(writer, b"attributes");
        for (key, value) in link.attributes() {
            entry(writer, key.as_bytes(), value, 3);
        }
        writer.close(attributes);
    }
    if link.dropped_attributes() > 0 {
        let dropped = ValueRef::Int(link.dropped_attributes().into());
        entry(writer, keys::DROPPED[0].as_bytes(), dropped, 2);
    }
}

fn text_entry(writer: &mut Writer<'_>, key: &[u8], text: &[u8]) {
    let entry = open_entry(writer, key);
    writer.put((0x32_u8, Varint(text.len() as u64), text));
    writer.close(entry);
}

fn hex(id: SpanId) -> [u8; 16] {
    let mut digits = [0; 16];
    for (place, digit) in (0_u32..).zip(&mut digits) {
        *digit = hex_digit(id.0 >> (60 - place * 4));
    }
    digits
}

fn trace_hex(id: TraceId) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_mut(2).zip(id.0) {
        pair[0] = hex_digit(u64::from(byte >> 4));
        pair[1] = hex_digit(byte.into());
    }
    digits
}

fn hex_digit(number: u64) -> u8 {
    b"0123456789abcdef"[(number & 15) as usize]
}

/// The key of a measurement, put together without asking for memory; what is longer is cut.
struct KeyBuffer {
    bytes: [u8; 256],
    length: usize,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        Self {
            bytes: [0; 256],
            length: 0,
        }
    }
}

impl KeyBuffer {
    fn push(&mut self, text: &str) {
        let room = self.bytes.len() - self.length;
        let fitting = text.floor_char_boundary(room);
        let end = self.length + fitting;
        self.bytes[self.length..end].copy_from_slice(&text.as_bytes()[..fitting]);
        self.length = end;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
