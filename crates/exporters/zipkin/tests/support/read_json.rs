//! Reads JSON of version 2 with serde, as strictly as the API's definition.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{Endpoint, ZipkinSpan};

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Span {
    trace_id: String,
    id: String,
    parent_id: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    timestamp: Option<u64>,
    duration: Option<u64>,
    local_endpoint: Option<JsonEndpoint>,
    remote_endpoint: Option<JsonEndpoint>,
    annotations: Option<Vec<Annotation>>,
    tags: Option<Tags>,
    debug: Option<bool>,
    shared: Option<bool>,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JsonEndpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    port: Option<u64>,
}

impl JsonEndpoint {
    pub(super) fn plain(self) -> Endpoint {
        Endpoint {
            service: self.service_name.unwrap_or_default(),
            ip: self.ipv4.or(self.ipv6).unwrap_or_default(),
            port: self.port.unwrap_or_default(),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotation {
    timestamp: u64,
    value: String,
}

/// Every pair, also those whose key comes twice.
#[derive(Default)]
struct Tags(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Tags;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tags")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
                let mut tags = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    tags.push(pair);
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The spans of a payload.
pub(crate) fn spans(payload: &[u8]) -> Vec<ZipkinSpan> {
    let spans: Vec<Span> = serde_json::from_slice(payload).unwrap();
    spans.into_iter().map(Span::plain).collect()
}

impl Span {
    fn plain(self) -> ZipkinSpan {
        let annotations = self.annotations.unwrap_or_default().into_iter();
        assert_ne!(self.timestamp, Some(0), "0 means absent");
        assert_ne!(self.duration, Some(0), "0 means absent");
        for id in [Some(&self.id), self.parent_id.as_ref()]
            .into_iter()
            .flatten()
        {
            assert_eq!(id.len(), 16);
        }
        assert_eq!(self.trace_id.len(), 32);
        ZipkinSpan {
            trace_id: self.trace_id,
            id: self.id,
            parent: self.parent_id,
            kind: self.kind,
            name: self.name.unwrap_or_default(),
            timestamp: self.timestamp,
            duration: self.duration,
            local: self.local_endpoint.unwrap_or_default().plain(),
            remote: self.remote_endpoint.unwrap_or_default().plain(),
            annotations: annotations
                .map(|each| (each.timestamp, each.value))
                .collect(),
            tags: self.tags.unwrap_or_default().0,
            debug: self.debug.unwrap_or_default(),
            shared: self.shared.unwrap_or_default(),
        }
    }
}
