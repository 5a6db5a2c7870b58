//! `jaeger.api_v2` as generated code has it, and the spans in it: written from the specification, not by way of hiq.

use prost::{Enumeration, Message};

use crate::spans::{Kind, RESOURCE, SCOPE, Span, Tree, Value};

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(message, optional, tag = "1")]
    batch: Option<Batch>,
}

#[derive(Clone, PartialEq, Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<JaegerSpan>,
    #[prost(message, optional, tag = "2")]
    process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(message, repeated, tag = "2")]
    tags: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct JaegerSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    operation_name: String,
    #[prost(message, repeated, tag = "4")]
    references: Vec<SpanRef>,
    #[prost(uint32, tag = "5")]
    flags: u32,
    #[prost(message, optional, tag = "6")]
    start_time: Option<Time>,
    #[prost(message, optional, tag = "7")]
    duration: Option<Time>,
    #[prost(message, repeated, tag = "8")]
    tags: Vec<KeyValue>,
    #[prost(message, repeated, tag = "9")]
    logs: Vec<Log>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanRef {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(int32, tag = "3")]
    ref_type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Log {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Time>,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<KeyValue>,
}

/// `Timestamp` and `Duration` are alike.
#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(enumeration = "ValueType", tag = "2")]
    v_type: i32,
    #[prost(string, tag = "3")]
    v_str: String,
    #[prost(bool, tag = "4")]
    v_bool: bool,
    #[prost(int64, tag = "5")]
    v_int64: i64,
    #[prost(double, tag = "6")]
    v_float64: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
enum ValueType {
    String = 0,
    Bool = 1,
    Int64 = 2,
    Float64 = 3,
}

/// The request with all spans of `trees`.
pub fn request(trees: &[Tree]) -> Request {
    let of_tree = |tree: &Tree| {
        let spans = tree.spans.iter().map(|span| jaeger_span(tree, span));
        spans.collect::<Vec<_>>()
    };
    let (name, others) = RESOURCE.split_first().expect("a service");
    let process = Process {
        service_name: name.1.to_owned(),
        tags: others.iter().map(|(key, value)| text(key, value)).collect(),
    };
    Request {
        batch: Some(Batch {
            spans: trees.iter().flat_map(of_tree).collect(),
            process: Some(process),
        }),
    }
}

fn jaeger_span(tree: &Tree, span: &Span) -> JaegerSpan {
    let trace_id = tree.trace_id.to_be_bytes().to_vec();
    let kind = match span.kind {
        Kind::Internal => "internal",
        Kind::Server => "server",
        Kind::Client => "client",
    };
    let mut tags: Vec<_> = span.attributes.iter().map(key_value).collect();
    tags.extend([
        text("otel.scope.name", SCOPE.0),
        text("otel.scope.version", SCOPE.1),
        text("span.kind", kind),
    ]);
    let mut logs = Vec::new();
    if let Some(failure) = &span.failure {
        tags.extend([
            text("otel.status_code", "ERROR"),
            key_value(&("error", Value::Bool(true))),
            text("otel.status_description", &failure.status),
        ]);
        let mut fields = vec![text("event", "exception")];
        fields.extend(failure.exception.iter().map(key_value));
        logs.push(Log {
            timestamp: Some(time(failure.nanos)),
            fields,
        });
    }
    let parent = span.parent.map(|parent| SpanRef {
        trace_id: trace_id.clone(),
        span_id: tree.spans[parent].id.to_be_bytes().to_vec(),
        ref_type: 0,
    });
    JaegerSpan {
        trace_id,
        span_id: span.id.to_be_bytes().to_vec(),
        operation_name: span.name.to_owned(),
        references: parent.into_iter().collect(),
        flags: 1,
        start_time: Some(time(span.start_nanos)),
        duration: Some(time(span.end_nanos - span.start_nanos)),
        tags,
        logs,
    }
}

fn key_value((key, value): &(&'static str, Value)) -> KeyValue {
    let mut pair = KeyValue {
        key: (*key).to_owned(),
        ..KeyValue::default()
    };
    match value {
        Value::Literal(text) => pair.v_str = (*text).to_owned(),
        Value::Text(text) => pair.v_str.clone_from(text),
        Value::Int(int) => (pair.v_type, pair.v_int64) = (ValueType::Int64 as i32, *int),
        Value::Bool(bool) => (pair.v_type, pair.v_bool) = (ValueType::Bool as i32, *bool),
        Value::F64(f64) => (pair.v_type, pair.v_float64) = (ValueType::Float64 as i32, *f64),
    }
    pair
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        v_str: value.to_owned(),
        ..KeyValue::default()
    }
}

fn time(nanos: u64) -> Time {
    Time {
        seconds: (nanos / 1_000_000_000).cast_signed(),
        nanos: (nanos % 1_000_000_000) as i32,
    }
}
