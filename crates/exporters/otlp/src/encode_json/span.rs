//! One `Span`.

use hiq_core::id::TraceId;
use hiq_core::intern::SiteId;
use hiq_core::span::{Event, Link, Span, Status};
use hiq_core::wire::{Decimal, Hex, JsonText, Writer};

use super::attribute::{KeyValues, attribute, attributes, measurement};
use super::group::Json;
use crate::flags::span_flags;
use hiq_core::encode::cache::{Cache, SiteBytes, WatchSite, not_overridden};

/// Appends `span`, behind a comma unless it is the first of its group.
#[inline(never)]
pub(super) fn write_span(
    out: &mut Vec<u8>,
    cache: &mut Cache<Json>,
    span: Span<'_>,
    is_first: bool,
) {
    let mut writer = Writer::new(out);
    writer.put((!is_first).then_some(b','));
    writer = identity(writer, span);
    writer = all_attributes(writer, cache, span);
    writer = parts(writer, span);
    writer = status(writer, span);
    writer.put(b'}');
}

#[inline(always)]
fn identity<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let trace_id = (b"{\"traceId\":\"", hex(span.trace_id()));
    writer.put((trace_id, b"\",\"spanId\":\"", Hex(span.id().0)));
    if let Some(state) = span.trace_state() {
        writer.put((b"\",\"traceState\":\"", JsonText(state)));
    }
    if let Some(parent) = span.parent_id() {
        writer.put((b"\",\"parentSpanId\":\"", Hex(parent.0)));
    }
    writer.put((b"\",\"flags\":", Decimal(span_flags(span).into())));
    let name = span.name();
    if !name.is_empty() {
        writer.put((b",\"name\":\"", JsonText(name), b'"'));
    }
    let kind = span.kind() as u8;
    if kind != 0 {
        writer.put((b",\"kind\":", b'0' + kind));
    }
    let start = (b",\"startTimeUnixNano\":\"", Decimal(span.start().0));
    let end = (b"\",\"endTimeUnixNano\":\"", Decimal(span.end().0), b'"');
    writer.put((start, end));
    writer
}

#[inline(always)]
pub(crate) fn hex(id: TraceId) -> (Hex, Hex) {
    let id = u128::from_be_bytes(id.0);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    (Hex((id >> 64) as u64), Hex(id as u64))
}

const ATTRIBUTES: &[u8; 14] = b",\"attributes\":";

/// The site's attributes, the span's own, and what extra metrics say.
#[inline(always)]
fn all_attributes<'w>(
    mut writer: Writer<'w>,
    cache: &mut Cache<Json>,
    span: Span<'_>,
) -> Writer<'w> {
    let own = span.own_attributes();
    if span.site() != SiteId::NONE || !span.tree().columns().is_empty() {
        let site = cache.site(span.site());
        return attributes_with_more(writer, site, span);
    }
    if own.len() > 0 {
        writer.put(ATTRIBUTES);
        writer = attributes(writer, own);
    }
    writer
}

#[inline(never)]
fn attributes_with_more<'w>(
    mut writer: Writer<'w>,
    site: SiteBytes<'_>,
    span: Span<'_>,
) -> Writer<'w> {
    let before = writer.position();
    writer.put(ATTRIBUTES);
    let start = writer.position();
    writer.put(site.bytes);
    let mut own = KeyValues::new(writer);
    if !site.bytes.is_empty() {
        own.separator = b',';
    }
    let watched = WatchSite::new(own, site.keys, span);
    let watched = span.own_attributes().visit(watched);
    let mut all = watched.inner;
    if watched.overrides_site {
        all = attributes_one_by_one(all.writer, start, span);
    }
    for each in span.measurements() {
        all.writer = measurement(all.writer, all.separator, &each);
        all.separator = b',';
    }
    if all.separator == b'[' {
        all.writer.rewind(before);
    } else {
        all.writer.put(b']');
    }
    all.writer
}

/// Writes them anew from `start`, without those of the site that the span has values of its own for.
#[cold]
#[inline(never)]
fn attributes_one_by_one<'w>(
    mut writer: Writer<'w>,
    start: usize,
    span: Span<'_>,
) -> KeyValues<'w> {
    writer.rewind(start);
    let mut all = KeyValues::new(writer);
    for (key, value) in not_overridden(span) {
        all.writer = attribute(all.writer, all.separator, key, value);
        all.separator = b',';
    }
    span.own_attributes().visit(all)
}

#[inline(always)]
fn parts<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let dropped = span.dropped();
    if dropped.attributes > 0 {
        writer.put((DROPPED_ATTRIBUTES, Decimal(dropped.attributes.into())));
    }
    if span.events().len() > 0 {
        writer = events(writer, span);
    }
    if dropped.events > 0 {
        writer.put((b",\"droppedEventsCount\":", Decimal(dropped.events.into())));
    }
    if span.links().len() > 0 {
        writer = links(writer, span);
    }
    if dropped.links > 0 {
        writer.put((b",\"droppedLinksCount\":", Decimal(dropped.links.into())));
    }
    writer
}

const DROPPED_ATTRIBUTES: &[u8; 26] = b",\"droppedAttributesCount\":";

#[inline(never)]
fn events<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    writer.put(b",\"events\":");
    let mut separator = b'[';
    for each in span.events() {
        writer.put(separator);
        writer = event(writer, each);
        separator = b',';
    }
    writer.put(b']');
    writer
}

fn event<'w>(mut writer: Writer<'w>, event: Event<'_>) -> Writer<'w> {
    writer.put((b"{\"timeUnixNano\":\"", Decimal(event.time().0), b'"'));
    let name = event.name();
    if !name.is_empty() {
        writer.put((b",\"name\":\"", JsonText(name), b'"'));
    }
    if event.attributes().len() > 0 {
        writer.put(ATTRIBUTES);
        writer = attributes(writer, event.attributes());
    }
    let dropped = event.dropped_attributes();
    if dropped > 0 {
        writer.put((DROPPED_ATTRIBUTES, Decimal(dropped.into())));
    }
    writer.put(b'}');
    writer
}

#[inline(never)]
fn links<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    writer.put(b",\"links\":");
    let mut separator = b'[';
    for each in span.links() {
        writer.put(separator);
        writer = link(writer, each);
        separator = b',';
    }
    writer.put(b']');
    writer
}

fn link<'w>(mut writer: Writer<'w>, link: Link<'_>) -> Writer<'w> {
    let trace_id = (b"{\"traceId\":\"", hex(link.trace_id()));
    writer.put((trace_id, b"\",\"spanId\":\"", Hex(link.span_id().0), b'"'));
    if let Some(state) = link.trace_state() {
        writer.put((b",\"traceState\":\"", JsonText(state), b'"'));
    }
    if link.attributes().len() > 0 {
        writer.put(ATTRIBUTES);
        writer = attributes(writer, link.attributes());
    }
    let dropped = link.dropped_attributes();
    if dropped > 0 {
        writer.put((DROPPED_ATTRIBUTES, Decimal(dropped.into())));
    }
    let flags = link.flags();
    if flags > 0 {
        writer.put((b",\"flags\":", Decimal(flags.into())));
    }
    writer.put(b'}');
    writer
}

/// Absent when nobody set it.
#[inline(always)]
fn status<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let code = span.status();
    if code == Status::Unset {
        return writer;
    }
    writer.put(b",\"status\":{");
    if let Some(message) = span.status_message() {
        writer.put((b"\"message\":\"", JsonText(message), b"\","));
    }
    writer.put((b"\"code\":", b'0' + code as u8, b'}'));
    writer
}
