//! What a request says, whatever its form.

use std::borrow::Cow;

use hiq_core::id::{SpanId, TraceId};
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Dropped, Kind, Status};
use hiq_core::value::Value;

pub(super) type Attributes<'p> = Vec<(Cow<'p, str>, Value)>;

/// The spans of one resource.
#[derive(Debug, Default)]
pub(super) struct ResourceSpans<'p> {
    pub(super) resource: Resource,
    pub(super) scopes: Vec<ScopeSpans<'p>>,
}

/// The spans of one scope.
#[derive(Debug, Default)]
pub(super) struct ScopeSpans<'p> {
    pub(super) scope: Scope,
    pub(super) spans: Vec<SpanIn<'p>>,
}

#[derive(Debug)]
pub(super) struct SpanIn<'p> {
    pub(super) trace_id: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: SpanId,
    pub(super) trace_state: Cow<'p, str>,
    pub(super) flags: u32,
    pub(super) name: Cow<'p, str>,
    pub(super) kind: Kind,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Attributes<'p>,
    pub(super) events: Vec<EventIn<'p>>,
    pub(super) links: Vec<LinkIn<'p>>,
    pub(super) status: Status,
    pub(super) message: Cow<'p, str>,
    pub(super) dropped: Dropped,
}

impl Default for SpanIn<'_> {
    fn default() -> Self {
        Self {
            trace_id: TraceId::INVALID,
            id: SpanId::INVALID,
            parent: SpanId::INVALID,
            trace_state: Cow::default(),
            flags: 0,
            name: Cow::default(),
            kind: Kind::Unspecified,
            start: 0,
            end: 0,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
            message: Cow::default(),
            dropped: Dropped::default(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct EventIn<'p> {
    pub(super) time: u64,
    pub(super) name: Cow<'p, str>,
    pub(super) attributes: Attributes<'p>,
}

#[derive(Debug, Default)]
pub(super) struct LinkIn<'p> {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) trace_state: Cow<'p, str>,
    pub(super) flags: u32,
    pub(super) attributes: Attributes<'p>,
}

/// What a resource or scope says of itself.
#[derive(Debug, Default)]
pub(super) struct Origin<'p> {
    pub(super) name: Cow<'p, str>,
    pub(super) version: Cow<'p, str>,
    pub(super) attributes: Attributes<'p>,
    pub(super) dropped: u32,
}

impl Origin<'_> {
    pub(super) fn into_resource(self, schema_url: &str) -> Resource {
        let attributes = self.attributes.into_iter();
        let resource = Resource::new(attributes.map(|(key, value)| (key.into_owned(), value)))
            .with_dropped_attributes(self.dropped);
        if schema_url.is_empty() {
            return resource;
        }
        resource.with_schema_url(schema_url)
    }

    pub(super) fn into_scope(self, schema_url: &str) -> Scope {
        let attributes = self.attributes.into_iter();
        let scope = Scope::new(&self.name, &self.version)
            .with_attributes(attributes.map(|(key, value)| (key.into_owned(), value)))
            .with_dropped_attributes(self.dropped);
        if schema_url.is_empty() {
            return scope;
        }
        scope.with_schema_url(schema_url)
    }
}
