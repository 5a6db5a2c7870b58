//! Requests in JSON, one after the other.

use hiq_core::decode::{DecodeError, LooseEvent, LooseLink, LooseSpan};
use hiq_core::span::{Dropped, Kind, Status};
use serde::Deserialize;

use super::model::{ResourceSpans, ScopeSpans};
use crate::flags::set_flags;
use crate::json::Uint64;

pub(super) mod metrics;
mod parts;

use parts::{
    JsonOrigin, KeyValue, Made, attributes, each_document, small, span_id, text, trace_id,
};

/// Hands the spans of each resource to `take`, request after request.
pub(super) fn each_resource_spans(
    payload: &[u8],
    mut take: impl FnMut(ResourceSpans<'_>),
) -> Result<(), DecodeError> {
    each_document(payload, |request: Request| {
        for spans in request.resource_spans() {
            take(spans?);
        }
        Ok(())
    })
}

/// Every field may be missing or `null`, and called as in protobuf; unknown ones are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(alias = "resource_spans")]
    resource_spans: Option<Vec<JsonResourceSpans>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResourceSpans {
    resource: Option<JsonOrigin>,
    #[serde(alias = "scope_spans")]
    scope_spans: Option<Vec<JsonScopeSpans>>,
    #[serde(alias = "schema_url")]
    schema_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScopeSpans {
    scope: Option<JsonOrigin>,
    spans: Option<Vec<JsonSpan>>,
    #[serde(alias = "schema_url")]
    schema_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan {
    #[serde(alias = "trace_id")]
    trace_id: Option<String>,
    #[serde(alias = "span_id")]
    span_id: Option<String>,
    #[serde(alias = "trace_state")]
    trace_state: Option<String>,
    #[serde(alias = "parent_span_id")]
    parent_span_id: Option<String>,
    flags: Option<u32>,
    name: Option<String>,
    kind: Option<i64>,
    #[serde(alias = "start_time_unix_nano")]
    start_time_unix_nano: Option<Uint64>,
    #[serde(alias = "end_time_unix_nano")]
    end_time_unix_nano: Option<Uint64>,
    attributes: Option<Vec<KeyValue>>,
    #[serde(alias = "dropped_attributes_count")]
    dropped_attributes_count: Option<u32>,
    events: Option<Vec<JsonEvent>>,
    #[serde(alias = "dropped_events_count")]
    dropped_events_count: Option<u32>,
    links: Option<Vec<JsonLink>>,
    #[serde(alias = "dropped_links_count")]
    dropped_links_count: Option<u32>,
    status: Option<JsonStatus>,
}

#[derive(Default, Deserialize)]
struct JsonStatus {
    message: Option<String>,
    code: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonEvent {
    #[serde(alias = "time_unix_nano")]
    time_unix_nano: Option<Uint64>,
    name: Option<String>,
    attributes: Option<Vec<KeyValue>>,
    #[serde(alias = "dropped_attributes_count")]
    dropped_attributes_count: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonLink {
    #[serde(alias = "trace_id")]
    trace_id: Option<String>,
    #[serde(alias = "span_id")]
    span_id: Option<String>,
    #[serde(alias = "trace_state")]
    trace_state: Option<String>,
    flags: Option<u32>,
    attributes: Option<Vec<KeyValue>>,
    #[serde(alias = "dropped_attributes_count")]
    dropped_attributes_count: Option<u32>,
}

impl Request {
    fn resource_spans(self) -> impl Iterator<Item = Made<ResourceSpans<'static>>> {
        let groups = self.resource_spans.unwrap_or_default().into_iter();
        groups.map(JsonResourceSpans::make)
    }
}

impl JsonResourceSpans {
    fn make(self) -> Made<ResourceSpans<'static>> {
        let resource = self.resource.unwrap_or_default().make()?;
        let scopes = self.scope_spans.unwrap_or_default().into_iter();
        Ok(ResourceSpans {
            resource: resource.into_resource(&self.schema_url.unwrap_or_default()),
            scopes: scopes.map(JsonScopeSpans::make).collect::<Made<_>>()?,
        })
    }
}

impl JsonScopeSpans {
    fn make(self) -> Made<ScopeSpans<'static>> {
        let scope = self.scope.unwrap_or_default().make()?;
        let spans = self.spans.unwrap_or_default().into_iter();
        Ok(ScopeSpans {
            scope: scope.into_scope(&self.schema_url.unwrap_or_default()),
            spans: spans.map(JsonSpan::make).collect::<Made<_>>()?,
        })
    }
}

impl JsonSpan {
    fn make(self) -> Made<LooseSpan<'static>> {
        let status = self.status.unwrap_or_default();
        let events = self.events.unwrap_or_default().into_iter();
        let links = self.links.unwrap_or_default().into_iter();
        let mut span = LooseSpan {
            trace_id: trace_id(self.trace_id)?,
            id: span_id(self.span_id)?,
            parent: span_id(self.parent_span_id)?,
            trace_state: text(self.trace_state),
            name: text(self.name),
            kind: Kind::from_otlp(small(self.kind)),
            start: self.start_time_unix_nano.unwrap_or_default().0,
            end: self.end_time_unix_nano.unwrap_or_default().0,
            attributes: attributes(self.attributes)?,
            events: events.map(JsonEvent::make).collect::<Made<_>>()?,
            links: links.map(JsonLink::make).collect::<Made<_>>()?,
            status: Status::from_otlp(small(status.code)),
            message: text(status.message),
            dropped: Dropped {
                attributes: self.dropped_attributes_count.unwrap_or_default(),
                events: self.dropped_events_count.unwrap_or_default(),
                links: self.dropped_links_count.unwrap_or_default(),
            },
            ..LooseSpan::default()
        };
        set_flags(&mut span, self.flags.unwrap_or_default());
        Ok(span)
    }
}

impl JsonEvent {
    fn make(self) -> Made<LooseEvent<'static>> {
        Ok(LooseEvent {
            time: self.time_unix_nano.unwrap_or_default().0,
            name: text(self.name),
            attributes: attributes(self.attributes)?,
            dropped_attributes: self.dropped_attributes_count.unwrap_or_default(),
        })
    }
}

impl JsonLink {
    fn make(self) -> Made<LooseLink<'static>> {
        Ok(LooseLink {
            trace_id: trace_id(self.trace_id)?,
            span_id: span_id(self.span_id)?,
            trace_state: text(self.trace_state),
            flags: self.flags.unwrap_or_default(),
            attributes: attributes(self.attributes)?,
            dropped_attributes: self.dropped_attributes_count.unwrap_or_default(),
        })
    }
}
