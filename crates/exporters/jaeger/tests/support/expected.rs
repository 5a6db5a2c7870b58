//! What must be read back, by the mapping that the crate documents, without a look at any tree.

use hiq_core::span::{Kind, Status};
use hiq_testkit::spans::{Attributes, BatchIn, Origin, Plain, SpanIn, TreeIn};

use super::{Reference, Span, Tags, Value, normal};

/// Times in microseconds: a duration is at least one.
pub(crate) fn in_micros(batch: &BatchIn) -> Vec<Span> {
    let mut spans = in_nanos(batch);
    for span in &mut spans {
        span.start /= 1_000;
        span.duration = (span.duration / 1_000).max(1);
        for (time, _) in &mut span.logs {
            *time /= 1_000;
        }
    }
    spans
}

pub(crate) fn in_nanos(batch: &BatchIn) -> Vec<Span> {
    let spans = batch.trees.iter().flat_map(|tree| {
        let indices = 0..tree.spans.len();
        indices.map(move |index| span(batch, tree, index))
    });
    normal(spans.collect())
}

fn span(batch: &BatchIn, tree: &TreeIn, index: usize) -> Span {
    let span = &tree.spans[index];
    let resource = &batch.resources[tree.resource];
    let inner = span.parent.map(|parent| tree.spans[parent].id);
    Span {
        service: service(resource),
        process: process(resource),
        trace_id: tree.trace_id,
        id: span.id,
        parent: inner.unwrap_or(span.outer_parent.unwrap_or(tree.parent)),
        name: span.name.clone(),
        references: references(span),
        flags: i64::from(span.own_flags.unwrap_or(tree.flags) & 1),
        start: span.start,
        duration: span.end.saturating_sub(span.start),
        tags: tags(batch, tree, span),
        logs: logs(span),
    }
}

fn of(attributes: &Attributes) -> impl Iterator<Item = (String, Value)> {
    attributes
        .iter()
        .map(|(key, value)| (key.clone(), Value::of(value)))
}

fn text(key: &str, text: &str) -> (String, Value) {
    (key.to_owned(), Value::text(text))
}

fn count(key: &str, count: u32) -> Option<(String, Value)> {
    (count > 0).then(|| (key.to_owned(), Value::Int(count.into())))
}

fn service(resource: &Origin) -> String {
    let name = resource
        .attributes
        .iter()
        .find(|(key, _)| key == "service.name");
    match name {
        Some((_, Plain::Str(name))) if !name.is_empty() => name.clone(),
        _ => "OTLPResourceNoServiceName".to_owned(),
    }
}

fn process(resource: &Origin) -> Tags {
    let is_name = |(key, value): &(String, Value)| {
        key == "service.name" && matches!(value, Value::Str(_) | Value::Json(_))
    };
    of(&resource.attributes)
        .filter(|tag| !is_name(tag))
        .chain(count("otel.dropped_attributes_count", resource.dropped))
        .collect()
}

fn references(span: &SpanIn) -> Vec<Reference> {
    let child_of = ("opentracing.ref_type".to_owned(), Plain::text("child_of"));
    let references = span.links.iter().map(|link| Reference {
        follows_from: !link.attributes.contains(&child_of),
        trace_id: link.trace_id,
        span_id: link.span_id,
    });
    references.collect()
}

fn tags(batch: &BatchIn, tree: &TreeIn, span: &SpanIn) -> Tags {
    let scope = &batch.scopes[span.own_scope.unwrap_or(tree.scope)];
    let state = span.own_trace_state.as_ref().unwrap_or(&tree.trace_state);
    let mut tags: Tags = of(&span.attributes).chain(of(&scope.attributes)).collect();
    let texts = [
        ("otel.scope.name", &scope.name),
        ("otel.scope.version", &scope.version),
        ("w3c.tracestate", state),
    ];
    let texts = texts.into_iter().filter(|(_, value)| !value.is_empty());
    tags.extend(texts.map(|(key, value)| text(key, value)));
    match span.kind {
        Kind::Unspecified => {}
        kind => tags.push(text("span.kind", &format!("{kind:?}").to_lowercase())),
    }
    match span.status {
        Status::Unset => {}
        Status::Ok => tags.push(text("otel.status_code", "OK")),
        Status::Error => {
            tags.push(text("otel.status_code", "ERROR"));
            tags.push(("error".to_owned(), Value::Bool(true)));
            if !span.message.is_empty() {
                tags.push(text("otel.status_description", &span.message));
            }
        }
    }
    let dropped = span.dropped;
    tags.extend(count("otel.dropped_attributes_count", dropped.attributes));
    tags.extend(count("otel.dropped_events_count", dropped.events));
    tags.extend(count("otel.dropped_links_count", dropped.links));
    tags
}

fn logs(span: &SpanIn) -> Vec<(u64, Tags)> {
    let logs = span.events.iter().map(|event| {
        let named = event.attributes.iter().any(|(key, _)| key == "event");
        let name = (!named).then(|| text("event", &event.name));
        (event.time, of(&event.attributes).chain(name).collect())
    });
    logs.collect()
}
