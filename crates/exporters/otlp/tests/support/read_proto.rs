//! Reads protobuf with the message types that the OpenTelemetry project generates.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::{Attributes, EventIn, LinkIn, Origin, Plain, SpanOut};

pub(crate) fn request(payload: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(payload).expect("protobuf that prost reads")
}

/// All spans of a payload, in its order.
pub(crate) fn spans(payload: &[u8]) -> Vec<SpanOut> {
    spans_of(request(payload))
}

pub(crate) fn spans_of(request: ExportTraceServiceRequest) -> Vec<SpanOut> {
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.expect("a resource");
        let resource = Origin {
            attributes: attributes(resource.attributes),
            dropped: resource.dropped_attributes_count,
            schema_url: resource_spans.schema_url,
            ..Origin::default()
        };
        for scope_spans in resource_spans.scope_spans {
            let scope = scope_spans.scope.expect("a scope");
            let scope = Origin {
                name: scope.name,
                version: scope.version,
                attributes: attributes(scope.attributes),
                dropped: scope.dropped_attributes_count,
                schema_url: scope_spans.schema_url,
            };
            assert!(!scope_spans.spans.is_empty(), "a group without spans");
            for each in scope_spans.spans {
                spans.push(span(&resource, &scope, each));
            }
        }
    }
    spans
}

fn span(resource: &Origin, scope: &Origin, span: Span) -> SpanOut {
    let events = span.events.into_iter().map(|event| EventIn {
        time: event.time_unix_nano,
        name: event.name,
        attributes: attributes(event.attributes),
    });
    let links = span.links.into_iter().map(|link| LinkIn {
        trace_id: link.trace_id.try_into().expect("sixteen bytes"),
        span_id: u64::from_be_bytes(link.span_id.try_into().expect("eight bytes")),
        trace_state: link.trace_state,
        flags: link.flags,
        attributes: attributes(link.attributes),
    });
    SpanOut {
        resource: resource.clone(),
        scope: scope.clone(),
        trace_id: span.trace_id,
        span_id: span.span_id,
        parent_id: span.parent_span_id,
        trace_state: span.trace_state,
        flags: span.flags,
        name: span.name,
        kind: span.kind,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: attributes(span.attributes),
        events: events.collect(),
        links: links.collect(),
        status: span.status.map(|status| (status.code, status.message)),
        dropped: [
            span.dropped_attributes_count,
            span.dropped_events_count,
            span.dropped_links_count,
        ],
    }
}

fn attributes(attributes: Vec<KeyValue>) -> Attributes {
    let pair = |pair: KeyValue| (pair.key, plain(pair.value.unwrap_or_default()));
    attributes.into_iter().map(pair).collect()
}

fn plain(value: AnyValue) -> Plain {
    use any_value::Value;
    match value.value {
        None => Plain::Empty,
        Some(Value::StringValue(text)) => Plain::Str(text),
        Some(Value::BoolValue(bool)) => Plain::Bool(bool),
        Some(Value::IntValue(int)) => Plain::Int(int),
        Some(Value::DoubleValue(double)) => Plain::f64(double),
        Some(Value::BytesValue(bytes)) => Plain::Bytes(bytes),
        Some(Value::ArrayValue(array)) => {
            Plain::Array(array.values.into_iter().map(plain).collect())
        }
        Some(Value::KvlistValue(map)) => Plain::Map(attributes(map.values)),
        Some(other) => panic!("a value that OTLP traces do not have: {other:?}"),
    }
}
