//! `Span`, `SpanRef` and `Log`.

use hiq_core::id::SpanId;
use hiq_core::span::{Event, Link, Span};
use hiq_core::wire::{LongVarint, Piece, Prefixed, Writer};

use super::attribute::time_len;
use super::request::Proto;
use crate::follows::is_child_of;
use crate::form::Form;
use crate::payload::Parts;
use crate::tags;

/// Most spans are of this size, give or take: their length takes two bytes.
const USUAL_SPAN_BYTES: usize = 300;
const USUAL_LOG_BYTES: usize = 200;

/// Field 1 of `Batch`.
const SPAN: u8 = 0x0a;

/// Fields of `Span`.
const NAME: u8 = 0x1a;
const REFERENCE: u8 = 0x22;
const FLAGS: u8 = 0x28;
const START: u8 = 0x32;
const DURATION: u8 = 0x3a;
const LOG: u8 = 0x4a;

/// Bit 0 of the W3C flags means the same; bit 1 does not: here it is *debug*.
const SAMPLED: u8 = 1;

/// Appends `span`.
#[inline(always)]
pub(super) fn write_span(out: &mut Vec<u8>, parts: Parts<'_, Proto>, span: Span<'_>) {
    let mut writer = Writer::new(out);
    let length = writer.open(SPAN, USUAL_SPAN_BYTES);
    writer = write_fields(writer, parts, span);
    writer.close(length);
}

/// The fields of `span`, without the head of their message.
#[inline(always)]
pub(crate) fn write_fields<'w, F: Form<Trace = [u8; 18]>>(
    mut writer: Writer<'w>,
    parts: Parts<'_, F>,
    span: Span<'_>,
) -> Writer<'w> {
    writer.put((*parts.trace, [0x12, 8], span.id().to_bytes()));
    let name = span.name();
    writer.put((!name.is_empty()).then_some((NAME, Prefixed(name))));
    let parent = span.parent_id().filter(|parent| *parent != SpanId::INVALID);
    if let Some(parent) = parent {
        writer.put(([REFERENCE, 28], *parts.trace, [0x12, 8], parent.to_bytes()));
    }
    for each in span.links() {
        writer = writer.elsewhere(|out| reference(out, &each));
    }
    let flags = span.trace_flags() & SAMPLED | u8::from(span.is_debug()) << 1;
    writer.put((flags != 0).then_some([FLAGS, flags]));
    writer.put((
        time(START, span.start().0),
        time(DURATION, span.duration_nanos()),
    ));
    writer = tags::of_span(writer, parts, span);
    for each in span.events() {
        writer = writer.elsewhere(|out| log(out, &each));
    }
    writer
}

#[cold]
#[inline(never)]
fn reference(out: &mut Vec<u8>, link: &Link<'_>) {
    let follows_from = !is_child_of(link);
    let length = 28 + 2 * u8::from(follows_from);
    let ids = (
        Proto::trace(link.trace_id()),
        [0x12, 8],
        link.span_id().to_bytes(),
    );
    Writer::new(out).put(([REFERENCE, length], ids, follows_from.then_some([0x18, 1])));
}

#[inline(never)]
fn log(out: &mut Vec<u8>, event: &Event<'_>) {
    let mut writer = Writer::new(out);
    let length = writer.open(LOG, USUAL_LOG_BYTES);
    writer.put(time(0x0a, event.time().0));
    writer = tags::of_event::<Proto>(writer, event, tags::names_itself(event));
    writer.close(length);
}

/// A `Timestamp` or `Duration`: seconds, and the nanoseconds of the last.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most twelve bytes")]
fn time(field: u8, nanos: u64) -> impl Piece {
    const SECOND: u64 = 1_000_000_000;
    let (seconds, nanos) = (nanos / SECOND, nanos % SECOND);
    let part = |field: u8, value: u64| (value != 0).then_some((field, LongVarint(value)));
    let length = time_len(seconds, nanos) as u8;
    (field, length, part(0x08, seconds), part(0x10, nanos))
}
