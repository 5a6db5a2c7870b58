//! Writes requests with the message types that the OpenTelemetry project generates.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::{Attributes, EventIn, LinkIn, Plain, SpanOut};

/// A request with a group for each span, in the order given.
pub(crate) fn request(spans: &[SpanOut]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: spans.iter().map(resource_spans).collect(),
    }
}

fn resource_spans(each: &SpanOut) -> ResourceSpans {
    let scope = InstrumentationScope {
        name: each.scope.name.clone(),
        version: each.scope.version.clone(),
        attributes: attributes(&each.scope.attributes),
        dropped_attributes_count: each.scope.dropped,
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: vec![span(each)],
        schema_url: each.scope.schema_url.clone(),
    };
    let resource = Resource {
        attributes: attributes(&each.resource.attributes),
        dropped_attributes_count: each.resource.dropped,
        ..Resource::default()
    };
    ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        schema_url: each.resource.schema_url.clone(),
    }
}

pub(crate) fn span(span: &SpanOut) -> Span {
    Span {
        trace_id: span.trace_id.clone(),
        span_id: span.span_id.clone(),
        trace_state: span.trace_state.clone(),
        parent_span_id: span.parent_id.clone(),
        flags: span.flags,
        name: span.name.clone(),
        kind: span.kind,
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: attributes(&span.attributes),
        dropped_attributes_count: span.dropped[0],
        events: span.events.iter().map(event).collect(),
        dropped_events_count: span.dropped[1],
        links: span.links.iter().map(link).collect(),
        dropped_links_count: span.dropped[2],
        status: span.status.as_ref().map(|(code, message)| Status {
            code: *code,
            message: message.clone(),
        }),
    }
}

fn event(event: &EventIn) -> Event {
    Event {
        time_unix_nano: event.time,
        name: event.name.clone(),
        attributes: attributes(&event.attributes),
        dropped_attributes_count: 0,
    }
}

fn link(link: &LinkIn) -> Link {
    Link {
        trace_id: link.trace_id.to_vec(),
        span_id: link.span_id.to_be_bytes().to_vec(),
        trace_state: link.trace_state.clone(),
        attributes: attributes(&link.attributes),
        dropped_attributes_count: 0,
        flags: link.flags,
    }
}

fn attributes(attributes: &Attributes) -> Vec<KeyValue> {
    attributes
        .iter()
        .map(|(key, value)| KeyValue {
            key: key.clone(),
            value: Some(any_value(value)),
            ..KeyValue::default()
        })
        .collect()
}

fn any_value(value: &Plain) -> AnyValue {
    use any_value::Value;
    let value = match value {
        Plain::Empty => None,
        Plain::Str(text) => Some(Value::StringValue(text.clone())),
        Plain::Bool(bool) => Some(Value::BoolValue(*bool)),
        Plain::Int(int) => Some(Value::IntValue(*int)),
        Plain::F64(bits) => Some(Value::DoubleValue(f64::from_bits(*bits))),
        Plain::Bytes(bytes) => Some(Value::BytesValue(bytes.clone())),
        Plain::Array(items) => Some(Value::ArrayValue(ArrayValue {
            values: items.iter().map(any_value).collect(),
        })),
        Plain::Map(pairs) => Some(Value::KvlistValue(KeyValueList {
            values: attributes(pairs),
        })),
    };
    AnyValue { value }
}
