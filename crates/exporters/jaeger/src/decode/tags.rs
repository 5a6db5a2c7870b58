//! Tags that OpenTelemetry's mapping made of something else.

use hiq_core::decode::{LooseAttributes, LooseSpan};
use hiq_core::span::{Dropped, Kind, Status};
use hiq_core::value::ValueRef;

/// Takes out the first tag of `key` that `read` understands.
pub(super) fn take<T>(
    tags: &mut LooseAttributes<'_>,
    key: &str,
    read: impl Fn(ValueRef<'_>) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    let place = tags.iter().position(|(known, value)| {
        found = if known == key {
            read(value.as_ref())
        } else {
            None
        };
        found.is_some()
    });
    tags.remove(place?);
    found
}

pub(super) fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Str(text) => Some(text.to_owned()),
        _ => None,
    }
}

pub(super) fn count(value: ValueRef<'_>) -> Option<u32> {
    match value {
        ValueRef::Int(count) => u32::try_from(count).ok(),
        _ => None,
    }
}

/// Moves what is no attribute from `tags` into `span`.
pub(super) fn describe(span: &mut LooseSpan<'_>, tags: &mut LooseAttributes<'_>) {
    if let Some(kind) = take(tags, "span.kind", kind) {
        span.kind = kind;
    }
    if let Some(state) = take(tags, "w3c.tracestate", text) {
        span.trace_state = state.into();
    }
    describe_status(span, tags);
    let mut dropped = |key| take(tags, key, count).unwrap_or(0);
    span.dropped = Dropped {
        attributes: dropped("otel.dropped_attributes_count"),
        events: dropped("otel.dropped_events_count"),
        links: dropped("otel.dropped_links_count"),
    };
}

/// The tag `error` is the last word, as in Jaeger's page.
fn describe_status(span: &mut LooseSpan<'_>, tags: &mut LooseAttributes<'_>) {
    if let Some(status) = take(tags, "otel.status_code", status) {
        span.status = status;
    }
    let is_true = |value: ValueRef<'_>| (value == ValueRef::Bool(true)).then_some(());
    if take(tags, "error", is_true).is_some() {
        span.status = Status::Error;
    }
    if span.status == Status::Error
        && let Some(message) = take(tags, "otel.status_description", text)
    {
        span.message = message.into();
    }
}

fn kind(value: ValueRef<'_>) -> Option<Kind> {
    let names = [
        ("internal", Kind::Internal),
        ("server", Kind::Server),
        ("client", Kind::Client),
        ("producer", Kind::Producer),
        ("consumer", Kind::Consumer),
    ];
    let named = |(name, _): &&(&str, Kind)| value == ValueRef::Str(name);
    names.iter().find(named).map(|(_, kind)| *kind)
}

fn status(value: ValueRef<'_>) -> Option<Status> {
    let names = [("OK", Status::Ok), ("ERROR", Status::Error)];
    let named = |(name, _): &&(&str, Status)| value == ValueRef::Str(name);
    names.iter().find(named).map(|(_, status)| *status)
}
