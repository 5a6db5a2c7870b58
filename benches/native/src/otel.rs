//! The spans as the OpenTelemetry SDK's, and what its exporters make of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::spans::{Kind, RESOURCE, SCOPE, Span, Tree, Value};

/// One batch for each of [`crate::spans::batches`].
pub fn batches(batches: &[Vec<Tree>]) -> Vec<Vec<SpanData>> {
    let scope = InstrumentationScope::builder(SCOPE.0)
        .with_version(SCOPE.1)
        .build();
    let spans = |tree: &Tree| -> Vec<SpanData> {
        tree.spans
            .iter()
            .map(|span| span_data(tree, span, &scope))
            .collect()
    };
    batches
        .iter()
        .map(|trees| trees.iter().flat_map(spans).collect())
        .collect()
}

/// [`RESOURCE`].
pub fn resource() -> Resource {
    let attributes = RESOURCE.map(|(key, value)| KeyValue::new(key, value));
    Resource::builder_empty()
        .with_attributes(attributes)
        .build()
}

/// What the exporters do first with a batch, which they own.
pub fn request(
    batch: Vec<SpanData>,
    resource: &ResourceAttributesWithSchema,
) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: group_spans_by_resource_and_scope(batch, resource),
    }
}

fn span_data(tree: &Tree, span: &Span, scope: &InstrumentationScope) -> SpanData {
    let trace_id = TraceId::from(tree.trace_id);
    let id = SpanId::from(span.id);
    let state = TraceState::default();
    let mut events = SpanEvents::default();
    if let Some(failure) = &span.failure {
        let attributes = failure.exception.iter().map(key_value).collect();
        events
            .events
            .push(Event::new("exception", time(failure.nanos), attributes, 0));
    }
    SpanData {
        span_context: SpanContext::new(trace_id, id, TraceFlags::SAMPLED, false, state),
        parent_span_id: span
            .parent
            .map_or(SpanId::INVALID, |at| SpanId::from(tree.spans[at].id)),
        parent_span_is_remote: false,
        span_kind: match span.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
        },
        name: span.name.into(),
        start_time: time(span.start_nanos),
        end_time: time(span.end_nanos),
        attributes: span.attributes.iter().map(key_value).collect(),
        dropped_attributes_count: 0,
        events,
        links: SpanLinks::default(),
        status: match &span.failure {
            Some(failure) => Status::error(failure.status.clone()),
            None => Status::Unset,
        },
        instrumentation_scope: scope.clone(),
    }
}

fn key_value((key, value): &(&'static str, Value)) -> KeyValue {
    match value {
        Value::Literal(text) => KeyValue::new(*key, *text),
        Value::Text(text) => KeyValue::new(*key, text.clone()),
        Value::Int(int) => KeyValue::new(*key, *int),
        Value::Bool(bool) => KeyValue::new(*key, *bool),
        Value::F64(f64) => KeyValue::new(*key, *f64),
    }
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}
