//! Reads OTLP/JSON by the rules of its specification, from what `serde_json` makes of the bytes. Strict: what a rule does not
//! allow, a number where a text belongs or an unknown field, is a failure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{Attributes, EventIn, LinkIn, Origin, Plain, SpanOut};

pub(crate) fn value(payload: &[u8]) -> Value {
    use serde::Deserialize as _;
    let mut reader = serde_json::Deserializer::from_slice(payload);
    reader.disable_recursion_limit();
    let value = Value::deserialize(&mut reader).expect("JSON");
    reader.end().expect("nothing behind it");
    value
}

/// The same document with its keys as protobuf has them: `resourceSpans` is `resource_spans`.
pub(crate) fn with_protobufs_names(json: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&renamed(value(json))).expect("JSON")
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(renamed).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            Value::Object(
                fields
                    .map(|(key, value)| (snake(&key), renamed(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

fn snake(key: &str) -> String {
    let letters = key.chars().map(|letter| match letter {
        'A'..='Z' => format!("_{}", letter.to_ascii_lowercase()),
        other => other.to_string(),
    });
    letters.collect()
}

/// All spans of a payload, in its order.
pub(crate) fn spans(payload: &[u8]) -> Vec<SpanOut> {
    let mut spans = Vec::new();
    let mut request = Object::of(value(payload));
    for resource_spans in request.list("resourceSpans") {
        let mut resource_spans = Object::of(resource_spans);
        let mut resource = Object::of(resource_spans.take("resource").expect("a resource"));
        let resource = Origin {
            attributes: resource.attributes(),
            dropped: resource.done(|r| r.u32("droppedAttributesCount")),
            schema_url: resource_spans.text("schemaUrl"),
            ..Origin::default()
        };
        for scope_spans in resource_spans.list("scopeSpans") {
            let mut scope_spans = Object::of(scope_spans);
            let mut scope = Object::of(scope_spans.take("scope").expect("a scope"));
            let scope = Origin {
                name: scope.text("name"),
                version: scope.text("version"),
                attributes: scope.attributes(),
                dropped: scope.done(|s| s.u32("droppedAttributesCount")),
                schema_url: scope_spans.text("schemaUrl"),
            };
            let group = scope_spans.done(|s| s.list("spans"));
            assert!(!group.is_empty(), "a group without spans");
            spans.extend(group.into_iter().map(|each| span(&resource, &scope, each)));
        }
        resource_spans.done(|_| ());
    }
    request.done(|_| ());
    spans
}

fn span(resource: &Origin, scope: &Origin, span: Value) -> SpanOut {
    let mut span = Object::of(span);
    let status = span.take("status").map(|status| {
        let mut status = Object::of(status);
        let message = status.text("message");
        (status.done(|s| s.integer("code")), message)
    });
    let out = SpanOut {
        resource: resource.clone(),
        scope: scope.clone(),
        trace_id: span.hex("traceId"),
        span_id: span.hex("spanId"),
        parent_id: span.hex("parentSpanId"),
        trace_state: span.text("traceState"),
        flags: span.u32("flags"),
        name: span.text("name"),
        kind: span.integer("kind"),
        start: span.u64("startTimeUnixNano"),
        end: span.u64("endTimeUnixNano"),
        attributes: span.attributes(),
        events: span.list("events").into_iter().map(event).collect(),
        links: span.list("links").into_iter().map(link).collect(),
        status,
        dropped: [
            span.u32("droppedAttributesCount"),
            span.u32("droppedEventsCount"),
            span.u32("droppedLinksCount"),
        ],
    };
    span.done(|_| ());
    out
}

fn event(event: Value) -> EventIn {
    let mut event = Object::of(event);
    let out = EventIn {
        time: event.u64("timeUnixNano"),
        name: event.text("name"),
        attributes: event.attributes(),
    };
    event.done(|_| ());
    out
}

fn link(link: Value) -> LinkIn {
    let mut link = Object::of(link);
    let out = LinkIn {
        trace_id: link.hex("traceId").try_into().expect("sixteen bytes"),
        span_id: u64::from_be_bytes(link.hex("spanId").try_into().expect("eight bytes")),
        trace_state: link.text("traceState"),
        flags: link.u32("flags"),
        attributes: link.attributes(),
    };
    link.done(|_| ());
    out
}

fn key_value(pair: Value) -> (String, Plain) {
    let mut pair = Object::of(pair);
    let key = pair.text("key");
    let value = pair.done(|p| p.take("value"));
    (key, value.map_or(Plain::Empty, any_value))
}

fn any_value(value: Value) -> Plain {
    let mut value = Object::of(value);
    let Some((form, inner)) = value.only() else {
        return Plain::Empty;
    };
    match (form.as_str(), inner) {
        ("stringValue", Value::String(text)) => Plain::Str(text),
        ("boolValue", Value::Bool(bool)) => Plain::Bool(bool),
        ("intValue", Value::String(text)) => Plain::Int(text.parse().expect("an integer")),
        ("doubleValue", Value::Number(number)) => Plain::f64(number.as_f64().expect("a double")),
        ("doubleValue", Value::String(text)) => Plain::f64(match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            other => panic!("{other} is no double"),
        }),
        ("bytesValue", Value::String(text)) => Plain::Bytes(STANDARD.decode(text).expect("base64")),
        ("arrayValue", list) => {
            let items = Object::of(list).done(|list| list.list("values"));
            Plain::Array(items.into_iter().map(any_value).collect())
        }
        ("kvlistValue", list) => {
            let pairs = Object::of(list).done(|list| list.list("values"));
            Plain::Map(pairs.into_iter().map(key_value).collect())
        }
        (form, inner) => panic!("{form} cannot be {inner}"),
    }
}

/// An object whose fields are taken one by one.
pub(crate) struct Object(Map<String, Value>);

impl Object {
    pub(crate) fn of(value: Value) -> Self {
        match value {
            Value::Object(fields) => Self(fields),
            other => panic!("{other} is no object"),
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// Takes the last fields and makes sure that there are no others.
    pub(crate) fn done<T>(mut self, last: impl FnOnce(&mut Self) -> T) -> T {
        let taken = last(&mut self);
        assert!(self.0.is_empty(), "unknown fields: {:?}", self.0);
        taken
    }

    pub(crate) fn only(&mut self) -> Option<(String, Value)> {
        assert!(self.0.len() <= 1, "several values: {:?}", self.0);
        std::mem::take(&mut self.0).into_iter().next()
    }

    pub(crate) fn text(&mut self, key: &str) -> String {
        match self.take(key) {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => panic!("{key} is {other}, not a text"),
        }
    }

    pub(crate) fn hex(&mut self, key: &str) -> Vec<u8> {
        let text = self.text(key);
        assert!(
            !text.bytes().any(|b| b.is_ascii_uppercase()),
            "{text} is not lower case"
        );
        let digits = text.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("hex");
        digits.map(byte).collect()
    }

    pub(crate) fn integer(&mut self, key: &str) -> i32 {
        match self.take(key) {
            None => 0,
            Some(Value::Number(number)) => {
                i32::try_from(number.as_i64().expect("an integer")).expect("32 bits")
            }
            Some(other) => panic!("{key} is {other}, not a number"),
        }
    }

    pub(crate) fn u32(&mut self, key: &str) -> u32 {
        match self.take(key) {
            None => 0,
            Some(Value::Number(number)) => {
                u32::try_from(number.as_u64().expect("an integer")).expect("32 bits")
            }
            Some(other) => panic!("{key} is {other}, not a number"),
        }
    }

    pub(crate) fn u64(&mut self, key: &str) -> u64 {
        self.text(key)
            .parse()
            .unwrap_or_else(|_| panic!("{key} is no integer"))
    }

    pub(crate) fn list(&mut self, key: &str) -> Vec<Value> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => panic!("{key} is {other}, not a list"),
        }
    }

    pub(crate) fn attributes(&mut self) -> Attributes {
        self.attributes_at("attributes")
    }

    pub(crate) fn attributes_at(&mut self, key: &str) -> Attributes {
        self.list(key).into_iter().map(key_value).collect()
    }
}
