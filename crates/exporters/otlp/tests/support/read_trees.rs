//! Reads trees through the view that encoders have.

use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Span, Status};
use hiq_core::tree::SpanTree;
use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::Text;

use super::{Attributes, EventIn, LinkIn, Origin, Plain, SpanOut};

pub(crate) fn spans(tree: &SpanTree) -> Vec<SpanOut> {
    let resource = resource(tree.resource());
    tree.spans().map(|each| span(&resource, each)).collect()
}

fn span(resource: &Origin, span: Span<'_>) -> SpanOut {
    let remote = if span.has_remote_parent() { 0x200 } else { 0 };
    let events = span.events().map(|event| EventIn {
        time: event.time().0,
        name: event.name().as_str().to_owned(),
        attributes: attributes(event.attributes()),
    });
    let links = span.links().map(|link| LinkIn {
        trace_id: link.trace_id().0,
        span_id: link.span_id().0,
        trace_state: text(link.trace_state()),
        flags: link.flags(),
        attributes: attributes(link.attributes()),
    });
    let status = (span.status() as i32, text(span.status_message()));
    let dropped = span.dropped();
    SpanOut {
        resource: resource.clone(),
        scope: scope(span.scope()),
        trace_id: span.trace_id().0.to_vec(),
        span_id: span.id().to_bytes().to_vec(),
        parent_id: span
            .parent_id()
            .map_or(Vec::new(), |id| id.to_bytes().to_vec()),
        trace_state: text(span.trace_state()),
        flags: 0x100 | remote | u32::from(span.trace_flags()),
        name: span.name().as_str().to_owned(),
        kind: span.kind() as i32,
        start: span.start().0,
        end: span.end().0,
        attributes: attributes(span.attributes()),
        events: events.collect(),
        links: links.collect(),
        status: (span.status() != Status::Unset).then_some(status),
        dropped: [dropped.attributes, dropped.events, dropped.links],
    }
}

fn resource(resource: &Resource) -> Origin {
    Origin {
        attributes: attributes(resource.attributes()),
        dropped: resource.dropped_attributes(),
        schema_url: resource.schema_url().unwrap_or_default().to_owned(),
        ..Origin::default()
    }
}

fn scope(scope: &Scope) -> Origin {
    Origin {
        name: text(scope.name()),
        version: text(scope.version()),
        attributes: attributes(scope.attributes()),
        dropped: scope.dropped_attributes(),
        schema_url: scope.schema_url().unwrap_or_default().to_owned(),
    }
}

fn attributes<'a>(attributes: impl Iterator<Item = (Text<'a>, ValueRef<'a>)>) -> Attributes {
    attributes
        .map(|(key, value)| (key.as_str().to_owned(), plain(value.to_value())))
        .collect()
}

fn plain(value: Value) -> Plain {
    match value {
        Value::Str(text) => Plain::Str(text),
        Value::Bool(bool) => Plain::Bool(bool),
        Value::Int(int) => Plain::Int(int),
        Value::F64(double) => Plain::f64(double),
        Value::Bytes(bytes) => Plain::Bytes(bytes),
        Value::Array(items) => Plain::Array(items.into_iter().map(plain).collect()),
        Value::Map(pairs) => Plain::Map(
            pairs
                .into_iter()
                .map(|(key, value)| (key, plain(value)))
                .collect(),
        ),
        Value::Empty => Plain::Empty,
        other => panic!("a value that these tests do not know: {other:?}"),
    }
}

fn text(text: Option<Text<'_>>) -> String {
    text.map_or(String::new(), |text| text.as_str().to_owned())
}
