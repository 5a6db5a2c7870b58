//! One span: a complete event, its arguments, and the events that go with it.

use std::sync::Arc;

use hiq_core::id::TraceId;
use hiq_core::span::{Event, Link, Span, Status};
use hiq_core::time::UnixNanos;
use hiq_core::tree::Column;
use hiq_core::wire::{Decimal, Hex, JsonStr, JsonText, Piece, Writer};

use super::event::{END_EVENT, Place, begin, category};
use crate::counter::{is_counter, series};
use crate::json::{micros, number, object, value};
use crate::keys;

/// Writes `span`; `is_inside` when its parent is drawn around it, so that what it shares with the parent need not be said.
pub(super) fn write_span(writer: &mut Writer<'_>, span: Span<'_>, place: Place, is_inside: bool) {
    let kind = category(span.kind());
    begin(writer, b"X", kind, span.name(), span.start(), place);
    writer.put(b",\"dur\":");
    micros(writer, span.duration_nanos(), false);
    writer.put(b",\"args\":{");
    identity(writer, span, is_inside);
    state(writer, span);
    for (key, attribute) in keys::attributes(span) {
        writer.put((b",\"", JsonText(key), b"\":"));
        value(writer, attribute, 0);
    }
    for each in span.measurements() {
        let [before, name, after] = each.key.map(JsonStr);
        writer.put((b",\"", before, name, after, b"\":"));
        number(writer, each.value);
    }
    links(writer, span);
    writer.put((b'}', END_EVENT));
}

/// Writes what goes with `span` as events of their own.
pub(super) fn write_parts(writer: &mut Writer<'_>, span: Span<'_>, place: Place) {
    for event in span.events() {
        if is_counter(event) {
            sample_of_counter(writer, event, place);
        } else {
            instant(writer, span, event, place);
        }
    }
    for column in span.tree().columns() {
        samples(writer, span, column, place);
    }
}

/// The ids; of what a parent around it says, nothing again.
#[inline]
fn identity(writer: &mut Writer<'_>, span: Span<'_>, is_inside: bool) {
    writer.put((
        b'"',
        JsonStr(keys::SPAN_ID),
        b"\":\"",
        Hex(span.id().0),
        b'"',
    ));
    if let Some(parent) = span.parent_id() {
        text(writer, keys::PARENT_ID, Hex(parent.0));
    }
    if span.has_remote_parent() {
        field(writer, keys::PARENT_IS_REMOTE, b"true");
    }
    if !is_inside {
        text(writer, keys::TRACE_ID, trace_id(span.trace_id()));
    }
    if span.trace_flags() != 1 {
        field(
            writer,
            keys::TRACE_FLAGS,
            Decimal(span.trace_flags().into()),
        );
    }
    if let Some(state) = span.trace_state() {
        text(writer, keys::TRACE_STATE, JsonText(state));
    }
    scope(writer, span, is_inside);
}

fn scope(writer: &mut Writer<'_>, span: Span<'_>, is_inside: bool) {
    let scope = span.scope();
    let parent = span.parent_index().filter(|_| is_inside);
    let of_parent = parent.and_then(|parent| span.tree().span(parent as usize));
    if of_parent.is_some_and(|parent| Arc::ptr_eq(parent.scope(), scope)) {
        return;
    }
    if let Some(name) = scope.name() {
        text(writer, keys::SCOPE_NAME, JsonText(name));
    }
    if let Some(version) = scope.version().filter(|version| !version.is_empty()) {
        text(writer, keys::SCOPE_VERSION, JsonText(version));
    }
    if scope.attributes().len() > 0 {
        field(writer, keys::SCOPE_ATTRIBUTES, None::<u8>);
        object(writer, scope.attributes());
    }
}

/// Status and what was dropped.
#[inline]
fn state(writer: &mut Writer<'_>, span: Span<'_>) {
    match span.status() {
        Status::Unset => {}
        Status::Ok => field(writer, keys::STATUS, b"\"OK\""),
        Status::Error => {
            field(writer, keys::STATUS, b"\"ERROR\"");
            if let Some(message) = span.status_message() {
                text(writer, keys::STATUS_MESSAGE, JsonText(message));
            }
        }
    }
    let dropped = span.dropped();
    let counts = [dropped.attributes, dropped.events, dropped.links];
    for (key, count) in keys::DROPPED.into_iter().zip(counts) {
        if count > 0 {
            field(writer, key, Decimal(count.into()));
        }
    }
}

fn links(writer: &mut Writer<'_>, span: Span<'_>) {
    if span.links().len() == 0 {
        return;
    }
    field(writer, keys::LINKS, b'[');
    for (index, each) in span.links().enumerate() {
        writer.put((index > 0).then_some(b','));
        link(writer, each);
    }
    writer.put(b']');
}

fn link(writer: &mut Writer<'_>, link: Link<'_>) {
    writer.put((b"{\"trace_id\":\"", trace_id(link.trace_id())));
    writer.put((b"\",\"span_id\":\"", Hex(link.span_id().0), b'"'));
    if let Some(state) = link.trace_state() {
        text(writer, "trace_state", JsonText(state));
    }
    if link.flags() != 0 {
        field(writer, "flags", Decimal(link.flags().into()));
    }
    if link.attributes().len() > 0 {
        field(writer, "attributes", None::<u8>);
        object(writer, link.attributes());
    }
    if link.dropped_attributes() > 0 {
        field(
            writer,
            keys::DROPPED[0],
            Decimal(link.dropped_attributes().into()),
        );
    }
    writer.put(b'}');
}

/// An event of a span, by the span's id, because others may begin at the same time.
fn instant(writer: &mut Writer<'_>, span: Span<'_>, event: Event<'_>, place: Place) {
    let time = event.time().clamp(span.start(), span.end());
    begin(writer, b"i", "event", event.name(), time, place);
    writer.put((b",\"s\":\"t\",\"args\":{\"", JsonStr(keys::SPAN_ID)));
    writer.put((b"\":\"", Hex(span.id().0), b'"'));
    if time != event.time() {
        text(writer, keys::TIME, Decimal(event.time().0));
    }
    for (key, attribute) in event.attributes() {
        if !keys::is_ours(key) {
            writer.put((b",\"", JsonText(key), b"\":"));
            value(writer, attribute, 0);
        }
    }
    if event.dropped_attributes() > 0 {
        field(
            writer,
            keys::DROPPED[0],
            Decimal(event.dropped_attributes().into()),
        );
    }
    writer.put((b'}', END_EVENT));
}

/// A sample as it was read: of another category than those of extra metrics, which are said by their spans.
fn sample_of_counter(writer: &mut Writer<'_>, event: Event<'_>, place: Place) {
    begin(writer, b"C", "counter", event.name(), event.time(), place);
    writer.put(b",\"args\":");
    for (at, (series, value)) in series(event).enumerate() {
        writer.put((if at == 0 { b'{' } else { b',' }, b'"', JsonText(series)));
        writer.put(b"\":");
        number(writer, value);
    }
    writer.put((b'}', END_EVENT));
}

/// What an extra metric was at the span's start and end, for the counter that viewers draw.
fn samples(writer: &mut Writer<'_>, span: Span<'_>, column: &Column, place: Place) {
    let Some((start, end)) = column.values.get(span.index() as usize) else {
        return;
    };
    for (time, sample) in [(span.start(), start), (span.end(), end)] {
        if sample.is_finite() {
            counter(writer, column, time, *sample, place);
        }
    }
}

fn counter(writer: &mut Writer<'_>, column: &Column, time: UnixNanos, sample: f64, place: Place) {
    let unit = match column.metric.unit.as_str() {
        "" => "value",
        unit => unit,
    };
    writer.put(b"{\"ph\":\"C\",\"cat\":\"hiq\",\"name\":\"");
    writer.put((JsonStr(&column.metric.name), b"\",\"pid\":"));
    let tid = (b",\"tid\":", Decimal(place.tid.into()));
    writer.put((Decimal(place.pid.into()), tid, b",\"ts\":"));
    micros(writer, time.0.abs_diff(place.base.0), time < place.base);
    writer.put((b",\"args\":{\"", JsonStr(unit), b"\":"));
    number(writer, sample);
    writer.put((b'}', END_EVENT));
}

fn field(writer: &mut Writer<'_>, key: &str, value: impl Piece) {
    writer.put((b",\"", key.as_bytes(), b"\":"));
    writer.put(value);
}

fn text(writer: &mut Writer<'_>, key: &str, text: impl Piece) {
    writer.put((b",\"", key.as_bytes(), b"\":\""));
    writer.put((text, b'"'));
}

fn trace_id(id: TraceId) -> (Hex, Hex) {
    let id = u128::from_be_bytes(id.0);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    (Hex((id >> 64) as u64), Hex(id as u64))
}
