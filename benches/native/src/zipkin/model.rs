//! `zipkin.proto3` as generated code has it, and the spans in it: written from the specification, not by way of hiq.

use std::collections::HashMap;

use prost::{Enumeration, Message};

use crate::spans::{Failure, Kind, RESOURCE, SCOPE, Span, Tree, Value};

#[derive(Clone, PartialEq, Message)]
pub struct ListOfSpans {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<ZipkinSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct ZipkinSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parent_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(enumeration = "ZipkinKind", tag = "4")]
    kind: i32,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "6")]
    timestamp: u64,
    #[prost(uint64, tag = "7")]
    duration: u64,
    #[prost(message, optional, tag = "8")]
    local_endpoint: Option<Endpoint>,
    #[prost(message, optional, tag = "9")]
    remote_endpoint: Option<Endpoint>,
    #[prost(message, repeated, tag = "10")]
    annotations: Vec<Annotation>,
    #[prost(map = "string, string", tag = "11")]
    tags: HashMap<String, String>,
    #[prost(bool, tag = "12")]
    debug: bool,
    #[prost(bool, tag = "13")]
    shared: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Endpoint {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(bytes = "vec", tag = "2")]
    ipv4: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    ipv6: Vec<u8>,
    #[prost(int32, tag = "4")]
    port: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Annotation {
    #[prost(fixed64, tag = "1")]
    timestamp: u64,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
enum ZipkinKind {
    Unspecified = 0,
    Client = 1,
    Server = 2,
    Producer = 3,
    Consumer = 4,
}

/// The list with all spans of `trees`, each with the attributes of the resource.
pub fn list(trees: &[Tree]) -> ListOfSpans {
    let of_tree = |tree: &Tree| {
        let spans = tree.spans.iter().map(|span| zipkin_span(tree, span));
        spans.collect::<Vec<_>>()
    };
    ListOfSpans {
        spans: trees.iter().flat_map(of_tree).collect(),
    }
}

fn zipkin_span(tree: &Tree, span: &Span) -> ZipkinSpan {
    let parent = span.parent.map(|parent| tree.spans[parent].id);
    let kind = match span.kind {
        Kind::Internal => ZipkinKind::Unspecified,
        Kind::Server => ZipkinKind::Server,
        Kind::Client => ZipkinKind::Client,
    };
    ZipkinSpan {
        trace_id: tree.trace_id.to_be_bytes().to_vec(),
        parent_id: parent.map_or(Vec::new(), |parent| parent.to_be_bytes().to_vec()),
        id: span.id.to_be_bytes().to_vec(),
        kind: kind as i32,
        name: span.name.to_owned(),
        timestamp: span.start_nanos / 1_000,
        duration: ((span.end_nanos - span.start_nanos) / 1_000).max(1),
        local_endpoint: Some(endpoint(RESOURCE[0].1)),
        remote_endpoint: far_side(span).map(endpoint),
        annotations: annotations(span),
        tags: tags(span),
        debug: false,
        shared: false,
    }
}

fn endpoint(service: &str) -> Endpoint {
    Endpoint {
        service_name: service.to_owned(),
        ..Endpoint::default()
    }
}

/// OpenTelemetry's specification: the address of the server stands for the remote endpoint of a client.
fn far_side(span: &Span) -> Option<&'static str> {
    let is_address = |(key, _): &&(&str, Value)| *key == "server.address";
    let found = span.attributes.iter().find(is_address)?;
    match (span.kind, &found.1) {
        (Kind::Client, Value::Literal(address)) => Some(address),
        _ => None,
    }
}

fn tags(span: &Span) -> HashMap<String, String> {
    let scope = [
        ("otel.scope.name", SCOPE.0),
        ("otel.scope.version", SCOPE.1),
    ];
    let constants = RESOURCE[1..].iter().copied().chain(scope);
    let mut tags: HashMap<_, _> = constants
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    for (key, value) in &span.attributes {
        tags.insert((*key).to_owned(), text(value));
    }
    let mut add = |key: &str, value: &str| tags.insert(key.to_owned(), value.to_owned());
    if span.kind == Kind::Internal {
        add("span.kind", "internal");
    }
    if let Some(failure) = &span.failure {
        add("otel.status_code", "ERROR");
        add("error", &failure.status);
        add("otel.status_description", &failure.status);
    }
    tags
}

fn annotations(span: &Span) -> Vec<Annotation> {
    let annotation = |failure: &Failure| {
        let pairs = failure.exception.iter();
        let pairs = pairs.map(|(key, value)| format!("\"{key}\":\"{}\"", text(value)));
        let pairs = pairs.collect::<Vec<_>>().join(",");
        Annotation {
            timestamp: failure.nanos / 1_000,
            value: format!("\"exception\": {{{pairs}}}"),
        }
    };
    span.failure.iter().map(annotation).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Literal(text) => (*text).to_owned(),
        Value::Text(text) => text.clone(),
        Value::Int(int) => int.to_string(),
        Value::Bool(bool) => bool.to_string(),
        Value::F64(f64) => zmij::Buffer::new().format(*f64).to_owned(),
    }
}
