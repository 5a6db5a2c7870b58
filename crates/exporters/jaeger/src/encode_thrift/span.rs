//! One `Span` of `jaeger.thrift`, in either protocol.

use hiq_core::id::{SpanId, TraceId};
use hiq_core::span::{Event, Link, Span};
use hiq_core::time::{UnixNanos, duration_micros};
use hiq_core::wire::{Text, Writer};

use crate::follows::is_child_of;
use crate::form::Form;
use crate::payload::Parts;
use crate::tags;

/// What the two protocols write differently. Numbers of fields are those of `jaeger.thrift`.
pub(super) trait Protocol: Form {
    /// Begins a `Span`: fields 1 to 5.
    fn head<'w>(
        writer: Writer<'w>,
        trace: Self::Trace,
        id: SpanId,
        parent: SpanId,
        name: Text<'_>,
    ) -> Writer<'w>;

    /// Field 6: begins the list of `count` references.
    fn references(writer: Writer<'_>, count: usize) -> Writer<'_>;

    /// A `SpanRef`.
    fn reference(writer: Writer<'_>, kind: u8, trace: TraceId, span: SpanId) -> Writer<'_>;

    /// Fields 7 to 9. `behind`: the number of the field before them.
    fn times(
        writer: Writer<'_>,
        behind: u8,
        flags: u8,
        start_micros: u64,
        duration_micros: u64,
    ) -> Writer<'_>;

    /// Field 11: begins the list of `count` logs. `behind`: the number of the field before it.
    fn logs(writer: Writer<'_>, behind: u8, count: usize) -> Writer<'_>;

    /// Begins a `Log` of so many fields.
    fn log(writer: Writer<'_>, micros: u64, fields: usize) -> Writer<'_>;

    /// Ends a struct.
    fn stop(writer: Writer<'_>) -> Writer<'_>;
}

const CHILD_OF: u8 = 0;
const FOLLOWS_FROM: u8 = 1;

/// Bit 0 of the W3C flags means the same; bit 1 does not: here it is *debug*.
const SAMPLED: u8 = 1;

/// Appends `span`.
#[inline(always)]
pub(super) fn write_span<P: Protocol>(out: &mut Vec<u8>, parts: Parts<'_, P>, span: Span<'_>) {
    let mut writer = Writer::new(out);
    let parent = span.parent_id().unwrap_or(SpanId::INVALID);
    writer = P::head(writer, *parts.trace, span.id(), parent, span.name());
    let links = span.links();
    let mut last = 5;
    if links.len() > 0 {
        writer = writer.elsewhere(|out| references::<P>(out, links));
        last = 6;
    }
    let flags = span.trace_flags() & SAMPLED | u8::from(span.is_debug()) << 1;
    let duration = duration_micros(span.duration_nanos());
    writer = P::times(writer, last, flags, span.start().micros(), duration);
    let before = writer.position();
    writer = tags::of_span(writer, parts, span);
    let last = if writer.position() == before { 9 } else { 10 };
    let events = span.events();
    if events.len() > 0 {
        writer = writer.elsewhere(|out| logs::<P>(out, last, events));
    }
    drop(P::stop(writer));
}

#[cold]
#[inline(never)]
fn references<'a, P: Protocol>(out: &mut Vec<u8>, links: impl ExactSizeIterator<Item = Link<'a>>) {
    let mut writer = P::references(Writer::new(out), links.len());
    for link in links {
        let kind = if is_child_of(&link) {
            CHILD_OF
        } else {
            FOLLOWS_FROM
        };
        writer = P::reference(writer, kind, link.trace_id(), link.span_id());
    }
}

#[inline(never)]
fn logs<'a, P: Protocol>(
    out: &mut Vec<u8>,
    behind: u8,
    events: impl ExactSizeIterator<Item = Event<'a>>,
) {
    let mut writer = P::logs(Writer::new(out), behind, events.len());
    for event in events {
        let micros = UnixNanos::micros(event.time());
        let names_itself = tags::names_itself(&event);
        writer = P::log(writer, micros, tags::count_of_event(&event, names_itself));
        writer = P::stop(tags::of_event::<P>(writer, &event, names_itself));
    }
}
