//! What must be found of plain spans in a payload, by the rules of the crate's table, without a look at any tree.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::span::{Kind, Status};
use hiq_testkit::spans::{Attributes, BatchIn, EventIn, LinkIn, Plain, SpanIn, TreeIn, hex};
use serde_json::{Map, Number, Value};

use super::ZipkinSpan;

/// A text that is to be found.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    Text(String),
    /// A number that reads back as this double.
    Double(f64),
    Json(Value),
    /// `"name": {...}`
    Event(String, Value),
    /// `trace|span|state|{...}|0`
    Link(String, Value),
}

impl Want {
    fn of(value: &Plain) -> Self {
        match value {
            Plain::Str(text) => Self::Text(text.clone()),
            Plain::Bool(bool) => Self::Text(bool.to_string()),
            Plain::Int(int) => Self::Text(int.to_string()),
            Plain::F64(bits) => Self::Double(f64::from_bits(*bits)),
            Plain::Bytes(bytes) => Self::Text(STANDARD.encode(bytes)),
            Plain::Array(_) | Plain::Map(_) => Self::Json(json(value)),
            Plain::Empty => Self::Text(String::new()),
        }
    }

    #[track_caller]
    fn check(&self, found: &str) {
        match self {
            Self::Text(text) => assert_eq!(found, text),
            Self::Double(double) if double.is_finite() => {
                assert_eq!(found.parse::<f64>().unwrap().to_bits(), double.to_bits());
            }
            Self::Double(double) => assert_eq!(found, not_finite(*double)),
            Self::Json(value) => assert_eq!(read(found), *value),
            Self::Event(name, attributes) => {
                assert!(!found.contains('|'), "taken apart by a Collector: {found}");
                let mut values = serde_json::Deserializer::from_str(found).into_iter::<Value>();
                assert_eq!(values.next().unwrap().unwrap(), Value::from(name.as_str()));
                let rest = &found[values.byte_offset()..];
                assert_eq!(read(rest.strip_prefix(": ").unwrap()), *attributes);
            }
            Self::Link(ids, attributes) => {
                let parts: Vec<&str> = found.split('|').collect();
                assert_eq!(parts.len(), 5, "{found}");
                assert_eq!(parts[..3].join("|"), *ids);
                assert_eq!(read(parts[3]), *attributes);
                assert_eq!(parts[4], "0");
            }
        }
    }
}

fn read(text: &str) -> Value {
    let mut reader = serde_json::Deserializer::from_str(text);
    serde::Deserialize::deserialize(&mut reader).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn not_finite(double: f64) -> &'static str {
    match double {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

fn json(value: &Plain) -> Value {
    match value {
        Plain::Str(text) => Value::from(text.as_str()),
        Plain::Bool(bool) => Value::from(*bool),
        Plain::Int(int) => Value::from(*int),
        Plain::F64(bits) => {
            let double = f64::from_bits(*bits);
            let number = Number::from_f64(double).map(Value::Number);
            number.unwrap_or_else(|| Value::from(not_finite(double)))
        }
        Plain::Bytes(bytes) => Value::from(STANDARD.encode(bytes)),
        Plain::Array(items) => Value::Array(items.iter().map(json).collect()),
        Plain::Map(pairs) => object(pairs),
        Plain::Empty => Value::Null,
    }
}

fn object(pairs: &Attributes) -> Value {
    let pairs = pairs.iter().map(|(key, value)| (key.clone(), json(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// What must be found of a span.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Without tags and annotations.
    pub(crate) span: ZipkinSpan,
    pub(crate) tags: BTreeMap<String, Want>,
    pub(crate) annotations: Vec<(u64, Want)>,
}

impl Expected {
    #[track_caller]
    pub(crate) fn check(&self, found: &ZipkinSpan) {
        let mut bare = found.clone();
        let (tags, annotations) = (
            std::mem::take(&mut bare.tags),
            std::mem::take(&mut bare.annotations),
        );
        assert_eq!(bare, self.span);
        let keys: Vec<&str> = tags.iter().map(|(key, _)| key.as_str()).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted,
            self.tags.keys().map(String::as_str).collect::<Vec<_>>()
        );
        for (key, value) in &tags {
            self.tags[key].check(value);
        }
        assert_eq!(annotations.len(), self.annotations.len());
        for ((time, want), (found_time, found)) in self.annotations.iter().zip(&annotations) {
            assert_eq!(found_time, time);
            want.check(found);
        }
    }
}

/// All spans of `batch`, by their ids.
pub(crate) fn all(batch: &BatchIn) -> Vec<Expected> {
    let spans = |tree: &TreeIn| -> Vec<Expected> {
        (0..tree.spans.len())
            .map(|index| one(batch, tree, index))
            .collect()
    };
    let mut all: Vec<Expected> = batch.trees.iter().flat_map(spans).collect();
    all.sort_by(|a, b| a.span.id.cmp(&b.span.id));
    all
}

fn one(batch: &BatchIn, tree: &TreeIn, index: usize) -> Expected {
    let span = &tree.spans[index];
    let inner = span.parent.map(|parent| tree.spans[parent].id);
    let parent = inner.unwrap_or(span.outer_parent.unwrap_or(tree.parent));
    let kind = match span.kind {
        Kind::Client => Some("CLIENT"),
        Kind::Server => Some("SERVER"),
        Kind::Producer => Some("PRODUCER"),
        Kind::Consumer => Some("CONSUMER"),
        _ => None,
    };
    let nanos = span.end.saturating_sub(span.start);
    let mut expected = ZipkinSpan {
        trace_id: hex(&tree.trace_id),
        id: format!("{:016x}", span.id),
        parent: (parent != 0).then(|| format!("{parent:016x}")),
        kind: kind.map(str::to_owned),
        name: span.name.clone(),
        timestamp: Some(span.start / 1000).filter(|micros| *micros > 0),
        duration: Some((nanos / 1000).max(1)),
        ..ZipkinSpan::default()
    };
    let service = &batch.resources[tree.resource].attributes;
    let service = service.iter().find(|(key, _)| key == "service.name");
    if let Some((_, Plain::Str(name))) = service {
        expected.local.service.clone_from(name);
    }
    Expected {
        span: expected,
        tags: tags(batch, tree, span),
        annotations: span.events.iter().map(annotation).collect(),
    }
}

fn tags(batch: &BatchIn, tree: &TreeIn, span: &SpanIn) -> BTreeMap<String, Want> {
    let mut tags = BTreeMap::new();
    let mut add = |key: &str, want: Want| {
        tags.insert(key.to_owned(), want);
    };
    for (key, value) in &batch.resources[tree.resource].attributes {
        if key != "service.name" {
            add(key, Want::of(value));
        }
    }
    let scope = &batch.scopes[span.own_scope.unwrap_or(tree.scope)];
    for (key, text) in [
        ("otel.scope.name", &scope.name),
        ("otel.scope.version", &scope.version),
    ] {
        if !text.is_empty() {
            add(key, Want::Text(text.clone()));
        }
    }
    for (key, value) in scope.attributes.iter().chain(&span.attributes) {
        add(key, Want::of(value));
    }
    if span.kind == Kind::Internal {
        add("span.kind", Want::Text("internal".to_owned()));
    }
    match span.status {
        Status::Unset => {}
        Status::Ok => add("otel.status_code", Want::Text("OK".to_owned())),
        Status::Error => {
            add("otel.status_code", Want::Text("ERROR".to_owned()));
            add("error", Want::Text(span.message.clone()));
            if !span.message.is_empty() {
                add("otel.status_description", Want::Text(span.message.clone()));
            }
        }
    }
    let state = span.own_trace_state.as_ref().unwrap_or(&tree.trace_state);
    if !state.is_empty() {
        add("w3c.tracestate", Want::Text(state.clone()));
    }
    let counts = [
        ("attributes", span.dropped.attributes),
        ("events", span.dropped.events),
        ("links", span.dropped.links),
    ];
    for (what, count) in counts {
        if count > 0 {
            add(
                &format!("otel.dropped_{what}_count"),
                Want::Text(count.to_string()),
            );
        }
    }
    for (number, each) in span.links.iter().enumerate() {
        add(&format!("otlp.link.{number}"), link(each));
    }
    tags
}

fn link(link: &LinkIn) -> Want {
    let state = Some(&link.trace_state).filter(|state| !state.contains('|'));
    let state = state.map_or("", String::as_str);
    let ids = format!("{}|{:016x}|{state}", hex(&link.trace_id), link.span_id);
    Want::Link(ids, object(&link.attributes))
}

fn annotation(event: &EventIn) -> (u64, Want) {
    let want = if event.attributes.is_empty() {
        Want::Text(event.name.replace('|', "¦"))
    } else {
        Want::Event(event.name.clone(), object(&event.attributes))
    };
    (event.time / 1000, want)
}
