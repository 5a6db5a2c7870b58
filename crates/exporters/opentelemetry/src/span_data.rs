//! Spans of a tree as the SDK has them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Kind, Link, Measurement, Span, Status};
use hiq_core::time::UnixNanos;
use hiq_core::value::ValueRef;
use hiq_core::wire::Text;
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::value::to_sdk;

pub(crate) fn span_data(span: Span<'_>, scope: InstrumentationScope) -> SpanData {
    let dropped = span.dropped();
    let readings = span.measurements().map(|reading| key_value_of(&reading));
    let mut events = SpanEvents::default();
    events.events = span.events().map(|event| self::event(&event)).collect();
    events.dropped_count = dropped.events;
    let mut links = SpanLinks::default();
    links.links = span.links().map(|link| self::link(&link)).collect();
    links.dropped_count = dropped.links;
    SpanData {
        span_context: context(
            (span.trace_id().0, span.id().0),
            span.trace_flags(),
            false,
            span.trace_state(),
        ),
        parent_span_id: span
            .parent_id()
            .map_or(SpanId::INVALID, |parent| span_id(parent.0)),
        parent_span_is_remote: span.has_remote_parent(),
        span_kind: kind(span.kind()),
        name: Cow::Owned(span.name().as_str().to_owned()),
        start_time: system_time(span.start()),
        end_time: system_time(span.end()),
        attributes: key_values(span.attributes()).chain(readings).collect(),
        dropped_attributes_count: dropped.attributes,
        events,
        links,
        status: status(span),
        instrumentation_scope: scope,
    }
}

pub(crate) fn sdk_scope(scope: &Scope) -> InstrumentationScope {
    let text = |text: Option<Text<'_>>| text.map(|text| text.as_str().to_owned());
    let mut builder = InstrumentationScope::builder(text(scope.name()).unwrap_or_default())
        .with_attributes(key_values(scope.attributes()));
    if let Some(version) = text(scope.version()).filter(|version| !version.is_empty()) {
        builder = builder.with_version(version);
    }
    if let Some(url) = scope.schema_url() {
        builder = builder.with_schema_url(url.to_owned());
    }
    builder.build()
}

pub(crate) fn sdk_resource(resource: &Resource) -> opentelemetry_sdk::Resource {
    let attributes = key_values(resource.attributes());
    let builder = opentelemetry_sdk::Resource::builder_empty();
    match resource.schema_url() {
        Some(url) => builder.with_schema_url(attributes, url.to_owned()),
        None => builder.with_attributes(attributes),
    }
    .build()
}

fn key_values<'a>(
    attributes: impl Iterator<Item = (Text<'a>, ValueRef<'a>)>,
) -> impl Iterator<Item = KeyValue> {
    attributes.map(|(key, value)| KeyValue::new(key.as_str().to_owned(), to_sdk(value)))
}

fn key_value_of(reading: &Measurement<'_>) -> KeyValue {
    KeyValue::new(reading.key.concat(), reading.value)
}

fn event(event: &hiq_core::span::Event<'_>) -> Event {
    Event::new(
        event.name().as_str().to_owned(),
        system_time(event.time()),
        key_values(event.attributes()).collect(),
        event.dropped_attributes(),
    )
}

fn link(link: &Link<'_>) -> opentelemetry::trace::Link {
    const IS_REMOTE: u32 = 0x200;
    opentelemetry::trace::Link::new(
        context(
            (link.trace_id().0, link.span_id().0),
            link.flags().to_le_bytes()[0],
            link.flags() & IS_REMOTE != 0,
            link.trace_state(),
        ),
        key_values(link.attributes()).collect(),
        link.dropped_attributes(),
    )
}

fn context(
    (trace, span): ([u8; 16], u64),
    flags: u8,
    is_remote: bool,
    state: Option<Text<'_>>,
) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(trace),
        span_id(span),
        TraceFlags::new(flags),
        is_remote,
        state.map_or_else(TraceState::default, |state| trace_state(state.as_str())),
    )
}

/// A state that the SDK does not take is left out as a whole, as the specification asks.
fn trace_state(header: &str) -> TraceState {
    let members = header
        .split(',')
        .filter_map(|member| member.split_once('='));
    TraceState::from_key_value(members).unwrap_or_default()
}

fn span_id(id: u64) -> SpanId {
    SpanId::from_bytes(id.to_be_bytes())
}

fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
        Kind::Unspecified | Kind::Internal => SpanKind::Internal,
    }
}

fn status(span: Span<'_>) -> opentelemetry::trace::Status {
    match span.status() {
        Status::Unset => opentelemetry::trace::Status::Unset,
        Status::Ok => opentelemetry::trace::Status::Ok,
        Status::Error => {
            let message = span.status_message();
            let message = message.map(|text| text.as_str().to_owned());
            opentelemetry::trace::Status::error(message.unwrap_or_default())
        }
    }
}

fn system_time(time: UnixNanos) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(time.0)
}
