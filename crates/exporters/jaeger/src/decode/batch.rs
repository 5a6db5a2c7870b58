//! What a batch says, whatever its form, and how it becomes fragments.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use hiq_core::decode::{self, LooseAttributes, LooseEvent, LooseLink, LooseSpan, LooseValue};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::resource::{Resource, Scope};
use hiq_core::tree::SpanTree;
use hiq_core::value::Value;

use super::tags::{count, take, text};
use crate::process::NO_SERVICE_NAME;

/// Spans of one process.
#[derive(Debug, Default)]
pub(super) struct Batch<'p> {
    pub(super) process: Process<'p>,
    pub(super) spans: Vec<Span<'p>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Process<'p> {
    pub(super) name: Cow<'p, str>,
    pub(super) tags: LooseAttributes<'p>,
}

#[derive(Debug, Default)]
pub(super) struct Span<'p> {
    pub(super) trace_id: TraceId,
    pub(super) id: SpanId,
    /// [`SpanId::INVALID`] where only references say it.
    pub(super) parent: SpanId,
    pub(super) parent_is_remote: bool,
    pub(super) name: Cow<'p, str>,
    pub(super) references: Vec<Reference>,
    pub(super) flags: u64,
    pub(super) start_nanos: u64,
    pub(super) duration_nanos: u64,
    pub(super) tags: LooseAttributes<'p>,
    pub(super) logs: Vec<Log<'p>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) follows_from: bool,
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
}

#[derive(Debug, Default)]
pub(super) struct Log<'p> {
    pub(super) nanos: u64,
    pub(super) fields: LooseAttributes<'p>,
}

const NANOS_PER_MICRO: u64 = 1_000;
const DEBUG: u64 = 2;

/// What is too long ago or too far off becomes the end of time.
pub(super) fn nanos_of_micros(micros: i64) -> u64 {
    u64::try_from(micros)
        .unwrap_or(0)
        .saturating_mul(NANOS_PER_MICRO)
}

impl Batch<'_> {
    pub(super) fn hand_out(self, sink: &mut dyn FnMut(Arc<SpanTree>)) {
        let resource = Arc::new(self.process.into_resource());
        let mut scopes = HashMap::new();
        let spans = self
            .spans
            .into_iter()
            .map(|span| span.into_loose(&mut scopes));
        decode::hand_out(&resource, spans, sink);
    }
}

impl Process<'_> {
    fn into_resource(mut self) -> Resource {
        let dropped = take(&mut self.tags, "otel.dropped_attributes_count", count);
        let is_named = !self.name.is_empty() && self.name != NO_SERVICE_NAME;
        let name = is_named.then(|| ("service.name".to_owned(), Value::from(&*self.name)));
        let tags = self.tags.into_iter();
        let tags = tags.map(|(key, value)| (key.into_owned(), value.into_value()));
        Resource::new(name.into_iter().chain(tags)).with_dropped_attributes(dropped.unwrap_or(0))
    }
}

/// By name and version.
type Scopes = HashMap<(String, String), Arc<Scope>>;

impl<'p> Span<'p> {
    fn into_loose(mut self, scopes: &mut Scopes) -> (Arc<Scope>, LooseSpan<'p>) {
        self.find_parent();
        let tags = &mut self.tags;
        let mut span = LooseSpan {
            trace_id: self.trace_id,
            id: self.id,
            parent: self.parent,
            parent_is_remote: self.parent_is_remote,
            trace_flags: u8::from(self.flags & 1 != 0),
            is_debug: self.flags & DEBUG != 0,
            name: self.name,
            start: self.start_nanos,
            end: self.start_nanos.saturating_add(self.duration_nanos),
            events: self.logs.into_iter().map(event).collect(),
            links: self.references.into_iter().map(link).collect(),
            ..LooseSpan::default()
        };
        super::tags::describe(&mut span, tags);
        let scope = scope(tags, scopes);
        span.attributes = self.tags;
        (scope, span)
    }

    /// The first reference to a parent in the trace is what no field says; it is no link then.
    pub(super) fn find_parent(&mut self) {
        let trace_id = self.trace_id;
        let is_parent =
            |reference: &Reference| !reference.follows_from && reference.trace_id == trace_id;
        if !self.parent.is_valid()
            && let Some(place) = self.references.iter().position(is_parent)
        {
            self.parent = self.references.remove(place).span_id;
        }
    }
}

fn event(mut log: Log<'_>) -> LooseEvent<'_> {
    let name = take(&mut log.fields, "event", text);
    let dropped = take(&mut log.fields, "otel.dropped_attributes_count", count);
    LooseEvent {
        dropped_attributes: dropped.unwrap_or(0),
        time: log.nanos,
        name: name.unwrap_or_default().into(),
        attributes: log.fields,
    }
}

fn link<'p>(reference: Reference) -> LooseLink<'p> {
    let kind = (!reference.follows_from).then_some("child_of");
    let attribute = kind.map(|kind| ("opentracing.ref_type".into(), LooseValue::Text(kind)));
    LooseLink {
        trace_id: reference.trace_id,
        span_id: reference.span_id,
        attributes: attribute.into_iter().collect(),
        ..LooseLink::default()
    }
}

fn scope(tags: &mut LooseAttributes<'_>, scopes: &mut Scopes) -> Arc<Scope> {
    let [name, version] = ["otel.scope.name", "otel.scope.version"]
        .map(|key| take(tags, key, text).unwrap_or_default());
    let scope = scopes.entry((name, version));
    let made = scope.or_insert_with_key(|(name, version)| Arc::new(Scope::new(name, version)));
    Arc::clone(made)
}
