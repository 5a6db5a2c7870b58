//! One `Span`.

use hiq_core::intern::SiteId;
use hiq_core::span::{Event, Kind, Link, Span, Status};
use hiq_core::wire::{Fixed32, Fixed64, Prefixed, Text, Varint, Writer};

use super::attribute::{KeyValues, attribute, attributes, measurement};
use super::group::{Proto, SPAN_ATTRIBUTE};
use crate::flags::span_flags;
use hiq_core::encode::cache::{Cache, SiteBytes, WatchSite, not_overridden};

/// Most spans are of this size, give or take: their length takes two bytes.
const USUAL_SPAN_BYTES: usize = 300;
const USUAL_EVENT_BYTES: usize = 200;
const USUAL_LINK_BYTES: usize = 50;

/// Field 2 of `ScopeSpans`.
const SPAN: u8 = 0x12;

/// Appends `span`.
#[inline(never)]
pub(super) fn write_span(out: &mut Vec<u8>, cache: &mut Cache<Proto>, span: Span<'_>) {
    let mut writer = Writer::new(out);
    let length = writer.open(SPAN, USUAL_SPAN_BYTES);
    writer = identity(writer, span);
    writer = all_attributes(writer, cache, span);
    writer = parts(writer, span);
    writer = status(writer, span);
    writer.put(([0x85, 0x01], Fixed32(span_flags(span))));
    writer.close(length);
}

/// Fields 1 to 8.
#[inline(always)]
fn identity<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    writer.put((
        [0x0a, 16],
        span.trace_id().0,
        [0x12, 8],
        span.id().to_bytes(),
    ));
    if let Some(state) = span.trace_state() {
        writer.put((0x1a, Prefixed(state)));
    }
    if let Some(parent) = span.parent_id() {
        writer.put(([0x22, 8], parent.to_bytes()));
    }
    let (name, kind) = (span.name(), span.kind());
    let (start, end) = (span.start().0, span.end().0);
    if name.is_empty() || kind == Kind::Unspecified || start == 0 || end == 0 {
        return sparse_identity(writer, span);
    }
    let name = (0x2a, Prefixed(name));
    let times = (0x39, Fixed64(start), 0x41, Fixed64(end));
    writer.put((name, [0x30, kind as u8], times));
    writer
}

/// Fields 5 to 8 when one of them is at its default, and so absent.
#[cold]
#[inline(never)]
fn sparse_identity<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let kind = span.kind() as u8;
    writer.put((
        text(0x2a, span.name()),
        (kind != 0).then_some([0x30, kind]),
        fixed64(0x39, span.start().0),
        fixed64(0x41, span.end().0),
    ));
    writer
}

/// Fields 9 and 10: the site's attributes, the span's own, and what extra metrics say.
#[inline(always)]
fn all_attributes<'w>(
    mut writer: Writer<'w>,
    cache: &mut Cache<Proto>,
    span: Span<'_>,
) -> Writer<'w> {
    if span.site() == SiteId::NONE {
        writer = attributes(writer, SPAN_ATTRIBUTE, span.own_attributes());
    } else {
        writer = attributes_with_site(writer, cache.site(span.site()), span);
    }
    if !span.tree().columns().is_empty() {
        for each in span.measurements() {
            writer = measurement(writer, SPAN_ATTRIBUTE, &each);
        }
    }
    writer
}

#[inline(always)]
fn attributes_with_site<'w>(
    mut writer: Writer<'w>,
    site: SiteBytes<'_>,
    span: Span<'_>,
) -> Writer<'w> {
    let start = writer.position();
    writer.put(site.bytes);
    let own = KeyValues {
        writer,
        tag: SPAN_ATTRIBUTE,
    };
    let watched = WatchSite::new(own, site.keys, span);
    let watched = span.own_attributes().visit(watched);
    if watched.overrides_site {
        return attributes_one_by_one(watched.inner.writer, start, span);
    }
    watched.inner.writer
}

/// Writes them anew from `start`, without those of the site that the span has values of its own for.
#[cold]
#[inline(never)]
fn attributes_one_by_one<'w>(mut writer: Writer<'w>, start: usize, span: Span<'_>) -> Writer<'w> {
    writer.rewind(start);
    for (key, value) in not_overridden(span) {
        writer = attribute(writer, SPAN_ATTRIBUTE, key, value);
    }
    attributes(writer, SPAN_ATTRIBUTE, span.own_attributes())
}

/// Fields 10 to 14.
#[inline(always)]
fn parts<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let dropped = span.dropped();
    if let Some(field) = number(0x50, dropped.attributes) {
        writer.put(field);
    }
    for each in span.events() {
        writer = event(writer, each);
    }
    if let Some(field) = number(0x60, dropped.events) {
        writer.put(field);
    }
    for each in span.links() {
        writer = link(writer, each);
    }
    if let Some(field) = number(0x70, dropped.links) {
        writer.put(field);
    }
    writer
}

#[inline(never)]
fn event<'w>(mut writer: Writer<'w>, event: Event<'_>) -> Writer<'w> {
    let length = writer.open(0x5a, USUAL_EVENT_BYTES);
    writer.put((fixed64(0x09, event.time().0), text(0x12, event.name())));
    writer = attributes(writer, 0x1a, event.attributes());
    writer.put(number(0x20, event.dropped_attributes()));
    writer.close(length);
    writer
}

#[inline(never)]
fn link<'w>(mut writer: Writer<'w>, link: Link<'_>) -> Writer<'w> {
    let length = writer.open(0x6a, USUAL_LINK_BYTES);
    writer.put((
        [0x0a, 16],
        link.trace_id().0,
        [0x12, 8],
        link.span_id().to_bytes(),
    ));
    writer.put(link.trace_state().map(|state| (0x1a, Prefixed(state))));
    writer = attributes(writer, 0x22, link.attributes());
    writer.put(number(0x28, link.dropped_attributes()));
    let flags = link.flags();
    writer.put((flags != 0).then_some((0x35, Fixed32(flags))));
    writer.close(length);
    writer
}

/// Field 15, absent when nobody set it.
#[inline(always)]
fn status<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let code = span.status();
    if code != Status::Unset {
        let message = span
            .status_message()
            .and_then(|message| text(0x12, message));
        let bytes = message.map_or(0, |(_, message)| 1 + message.0.prefixed_len()) + 2;
        writer.put((0x7a, Varint(bytes as u64), message, [0x18, code as u8]));
    }
    writer
}

/// A `fixed64` field, absent when zero.
#[inline(always)]
fn fixed64(tag: u8, value: u64) -> Option<(u8, Fixed64)> {
    (value != 0).then_some((tag, Fixed64(value)))
}

/// A string field, absent when empty.
#[inline(always)]
fn text(tag: u8, text: Text<'_>) -> Option<(u8, Prefixed<'_>)> {
    (!text.is_empty()).then_some((tag, Prefixed(text)))
}

/// A number field, absent when zero.
#[inline(always)]
fn number(tag: u8, value: u32) -> Option<(u8, Varint)> {
    (value != 0).then_some((tag, Varint(value.into())))
}
