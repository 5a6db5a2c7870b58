//! A span in JSON of version 2. Every field but the ids may be missing or `null`; unknown ones are ignored.

use std::borrow::Cow;
use std::fmt;

use hiq_core::id::{SpanId, TraceId};
use hiq_core::span::Kind;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::model::{EndpointIn, SpanIn};
use super::words::{span_id_of, trace_id_of};

/// A text that is borrowed where it can be.
#[derive(Default, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'p>(#[serde(borrow)] pub(super) Cow<'p, str>);

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonSpan<'p> {
    #[serde(borrow)]
    trace_id: Text<'p>,
    #[serde(borrow)]
    id: Text<'p>,
    #[serde(borrow)]
    parent_id: Option<Text<'p>>,
    #[serde(borrow)]
    kind: Option<Text<'p>>,
    #[serde(borrow)]
    name: Option<Text<'p>>,
    timestamp: Option<u64>,
    duration: Option<u64>,
    #[serde(borrow)]
    local_endpoint: Option<JsonEndpoint<'p>>,
    #[serde(borrow)]
    remote_endpoint: Option<JsonEndpoint<'p>>,
    #[serde(borrow)]
    annotations: Option<Vec<Annotation<'p>>>,
    #[serde(borrow)]
    tags: Option<Tags<'p>>,
    debug: Option<bool>,
    shared: Option<bool>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonEndpoint<'p> {
    #[serde(borrow)]
    service_name: Option<Text<'p>>,
    #[serde(borrow)]
    ipv4: Option<Text<'p>>,
    #[serde(borrow)]
    ipv6: Option<Text<'p>>,
    port: Option<u16>,
}

impl<'p> JsonEndpoint<'p> {
    /// An address that is none is as good as none.
    pub(super) fn make(self) -> EndpointIn<'p> {
        let mut ip = [self.ipv6, self.ipv4].into_iter().flatten();
        EndpointIn {
            service: self.service_name.unwrap_or_default().0,
            ip: ip.find_map(|ip| ip.0.parse().ok()),
            port: self.port.unwrap_or_default(),
        }
    }
}

#[derive(serde::Deserialize)]
struct Annotation<'p> {
    timestamp: u64,
    #[serde(borrow)]
    value: Text<'p>,
}

/// All pairs in their order.
struct Tags<'p>(Vec<(Cow<'p, str>, Cow<'p, str>)>);

impl<'de: 'p, 'p> Deserialize<'de> for Tags<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Tags<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push((key.0, value.0));
                }
                Ok(Tags(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl<'p> JsonSpan<'p> {
    pub(super) fn make(self) -> Result<SpanIn<'p>, String> {
        let annotations = self.annotations.unwrap_or_default().into_iter();
        Ok(SpanIn {
            trace_id: trace_id(&self.trace_id.0)?,
            id: span_id("an id", &self.id.0)?,
            parent: parent(self.parent_id.as_ref())?,
            kind: self.kind.and_then(|kind| kind_of(&kind.0)),
            name: self.name.unwrap_or_default().0,
            timestamp: self.timestamp.unwrap_or_default(),
            duration: self.duration.unwrap_or_default(),
            local: self.local_endpoint.unwrap_or_default().make(),
            remote: self.remote_endpoint.unwrap_or_default().make(),
            annotations: annotations
                .map(|each| (each.timestamp, each.value.0))
                .collect(),
            tags: self.tags.map_or_else(Vec::new, |tags| tags.0),
            debug: self.debug.unwrap_or_default(),
            shared: self.shared.unwrap_or_default(),
        })
    }
}

/// Kinds that nobody knows are none.
fn kind_of(name: &str) -> Option<Kind> {
    Some(match name {
        "CLIENT" => Kind::Client,
        "SERVER" => Kind::Server,
        "PRODUCER" => Kind::Producer,
        "CONSUMER" => Kind::Consumer,
        _ => return None,
    })
}

pub(super) fn trace_id(text: &str) -> Result<TraceId, String> {
    trace_id_of(text).ok_or_else(|| wrong("a trace id", 32, text))
}

pub(super) fn span_id(what: &str, text: &str) -> Result<SpanId, String> {
    span_id_of(text).ok_or_else(|| wrong(what, 16, text))
}

pub(super) fn parent(text: Option<&Text<'_>>) -> Result<SpanId, String> {
    match text {
        Some(text) if !text.0.is_empty() => span_id("a parent's id", &text.0),
        _ => Ok(SpanId::INVALID),
    }
}

fn wrong(what: &str, digits: usize, text: &str) -> String {
    let shown: String = text.chars().take(64).collect();
    format!("{what} must be 1 to {digits} hex digits, not `{shown}`")
}
