//! Spans as plain data: what a test puts into a tree, and what independent readers found in a payload.
#![allow(missing_docs, reason = "fields are named as those of OTLP")]
#![allow(clippy::missing_panics_doc, reason = "a test that cannot go on fails")]
#![allow(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "tests make them"
)]
#![allow(
    clippy::unwrap_used,
    clippy::return_self_not_must_use,
    reason = "as above"
)]

pub mod arbitrary;

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::{SiteId, Symbol};
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Dropped, Kind, Status};
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::Value;

/// A value, comparable: doubles by their bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    Str(String),
    Bool(bool),
    Int(i64),
    F64(u64),
    Bytes(Vec<u8>),
    Array(Vec<Plain>),
    Map(Vec<(String, Plain)>),
    Empty,
}

pub type Attributes = Vec<(String, Plain)>;

impl Plain {
    pub fn f64(double: f64) -> Self {
        Self::F64(double.to_bits())
    }

    pub fn text(text: &str) -> Self {
        Self::Str(text.to_owned())
    }

    pub fn value(&self) -> Value {
        match self {
            Self::Str(text) => Value::Str(text.clone()),
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Int(int) => Value::Int(*int),
            Self::F64(bits) => Value::F64(f64::from_bits(*bits)),
            Self::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Self::Array(items) => Value::Array(items.iter().map(Self::value).collect()),
            Self::Map(pairs) => Value::Map(
                pairs
                    .iter()
                    .map(|(key, value)| (key.clone(), value.value()))
                    .collect(),
            ),
            Self::Empty => Value::Empty,
        }
    }

    /// JSON has one NaN only.
    pub fn with_one_nan(&self) -> Self {
        match self {
            Self::F64(bits) if f64::from_bits(*bits).is_nan() => Self::f64(f64::NAN),
            Self::Array(items) => Self::Array(items.iter().map(Self::with_one_nan).collect()),
            Self::Map(pairs) => Self::Map(with_one_nan(pairs)),
            other => other.clone(),
        }
    }
}

pub fn with_one_nan(attributes: &Attributes) -> Attributes {
    attributes
        .iter()
        .map(|(key, value)| (key.clone(), value.with_one_nan()))
        .collect()
}

/// What is put into one tree.
#[derive(Clone, Debug)]
pub struct TreeIn {
    pub trace_id: [u8; 16],
    pub parent: u64,
    pub parent_is_remote: bool,
    pub flags: u8,
    pub trace_state: String,
    pub resource: usize,
    pub scope: usize,
    pub spans: Vec<SpanIn>,
}

/// What is put into one span.
#[derive(Clone, Debug)]
pub struct SpanIn {
    pub id: u64,
    /// Index of the parent in the tree.
    pub parent: Option<usize>,
    /// A parent elsewhere that is not the tree's.
    pub outer_parent: Option<u64>,
    pub name: String,
    pub kind: Kind,
    pub start: u64,
    pub end: u64,
    pub attributes: Attributes,
    pub events: Vec<EventIn>,
    pub links: Vec<LinkIn>,
    pub status: Status,
    pub message: String,
    pub own_scope: Option<usize>,
    pub own_trace_state: Option<String>,
    pub own_flags: Option<u8>,
    pub dropped: Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventIn {
    pub time: u64,
    pub name: String,
    pub attributes: Attributes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkIn {
    pub trace_id: [u8; 16],
    pub span_id: u64,
    pub trace_state: String,
    pub flags: u32,
    pub attributes: Attributes,
}

/// A resource or scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub name: String,
    pub version: String,
    pub attributes: Attributes,
    pub dropped: u32,
    pub schema_url: String,
}

/// One span with all that a payload says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanOut {
    pub resource: Origin,
    pub scope: Origin,
    pub trace_id: Vec<u8>,
    pub span_id: Vec<u8>,
    pub parent_id: Vec<u8>,
    pub trace_state: String,
    pub flags: u32,
    pub name: String,
    pub kind: i32,
    pub start: u64,
    pub end: u64,
    pub attributes: Attributes,
    pub events: Vec<EventIn>,
    pub links: Vec<LinkIn>,
    pub status: Option<(i32, String)>,
    pub dropped: [u32; 3],
}

impl SpanOut {
    pub fn with_one_nan(mut self) -> Self {
        self.resource.attributes = with_one_nan(&self.resource.attributes);
        self.scope.attributes = with_one_nan(&self.scope.attributes);
        self.attributes = with_one_nan(&self.attributes);
        for event in &mut self.events {
            event.attributes = with_one_nan(&event.attributes);
        }
        for link in &mut self.links {
            link.attributes = with_one_nan(&link.attributes);
        }
        self
    }
}

/// Everything that goes into one batch.
#[derive(Clone, Debug)]
pub struct BatchIn {
    pub resources: Vec<Origin>,
    pub scopes: Vec<Origin>,
    pub trees: Vec<TreeIn>,
}

impl BatchIn {
    pub fn build(&self) -> TreeBatch {
        let resources: Vec<_> = self
            .resources
            .iter()
            .map(|r| Arc::new(r.resource()))
            .collect();
        let scopes: Vec<_> = self.scopes.iter().map(|s| Arc::new(s.scope())).collect();
        let trees = self
            .trees
            .iter()
            .map(|tree| Arc::new(tree.build(&resources, &scopes)));
        TreeBatch::new(trees.collect())
    }

    /// What must be read back, by the rules of OTLP, without a look at any tree.
    pub fn expected(&self) -> Vec<SpanOut> {
        let spans = |tree: &TreeIn| -> Vec<SpanOut> {
            (0..tree.spans.len())
                .map(|index| tree.expected(index, &self.resources, &self.scopes))
                .collect()
        };
        sorted(self.trees.iter().flat_map(spans).collect())
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Payloads group spans, so their order is not the batch's.
pub fn sorted(mut spans: Vec<SpanOut>) -> Vec<SpanOut> {
    spans.sort_by_key(|span| span.span_id.clone());
    spans
}

impl Origin {
    fn values(&self) -> Vec<(String, Value)> {
        self.attributes
            .iter()
            .map(|(key, value)| (key.clone(), value.value()))
            .collect()
    }

    fn resource(&self) -> Resource {
        let mut resource = Resource::new(self.values()).with_dropped_attributes(self.dropped);
        if !self.schema_url.is_empty() {
            resource = resource.with_schema_url(&self.schema_url);
        }
        resource
    }

    fn scope(&self) -> Scope {
        let mut scope = Scope::new(&self.name, &self.version)
            .with_attributes(self.values())
            .with_dropped_attributes(self.dropped);
        if !self.schema_url.is_empty() {
            scope = scope.with_schema_url(&self.schema_url);
        }
        scope
    }
}

impl TreeIn {
    fn build(&self, resources: &[Arc<Resource>], scopes: &[Arc<Scope>]) -> SpanTree {
        let trace_id = TraceId(self.trace_id);
        let (resource, scope) = (&resources[self.resource], &scopes[self.scope]);
        let mut start = TreeStart::new(trace_id, Arc::clone(resource), Arc::clone(scope));
        start.parent = SpanId(self.parent);
        start.parent_is_remote = self.parent_is_remote;
        start.trace_flags = self.flags;
        start.trace_state.clone_from(&self.trace_state);
        let mut builder = TreeBuilder::new(start, SpanLimits::UNLIMITED);
        for span in &self.spans {
            span.start(&mut builder, scopes);
        }
        for (index, span) in self.spans.iter().enumerate() {
            builder.end(u32::try_from(index).unwrap(), span.end);
        }
        builder.finish()
    }

    fn expected(&self, index: usize, resources: &[Origin], scopes: &[Origin]) -> SpanOut {
        let span = &self.spans[index];
        let inner_parent = span.parent.map(|parent| self.spans[parent].id);
        let outer_parent = span.outer_parent.unwrap_or(self.parent);
        let parent = inner_parent.unwrap_or(outer_parent);
        let hangs_under_trees_parent =
            inner_parent.is_none() && parent == self.parent && parent != 0;
        let remote = if hangs_under_trees_parent && self.parent_is_remote {
            0x200
        } else {
            0
        };
        let parent_id = if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        };
        let message = match span.status {
            Status::Error => span.message.clone(),
            _ => String::new(),
        };
        SpanOut {
            resource: resources[self.resource].clone(),
            scope: scopes[span.own_scope.unwrap_or(self.scope)].clone(),
            trace_id: self.trace_id.to_vec(),
            span_id: span.id.to_be_bytes().to_vec(),
            parent_id,
            trace_state: span
                .own_trace_state
                .clone()
                .unwrap_or(self.trace_state.clone()),
            flags: 0x100 | remote | u32::from(span.own_flags.unwrap_or(self.flags)),
            name: span.name.clone(),
            kind: span.kind as i32,
            start: span.start,
            end: span.end.max(span.start),
            attributes: span.attributes.clone(),
            events: span.events.clone(),
            links: span.links.clone(),
            status: (span.status != Status::Unset).then_some((span.status as i32, message)),
            dropped: [
                span.dropped.attributes,
                span.dropped.events,
                span.dropped.links,
            ],
        }
    }
}

impl SpanIn {
    /// A span of one millisecond with nothing on it.
    pub fn new(id: u64, name: &str) -> Self {
        Self {
            id,
            parent: None,
            outer_parent: None,
            name: name.to_owned(),
            kind: Kind::Internal,
            start: 1_700_000_000_000_000_000,
            end: 1_700_000_000_001_000_000,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
            message: String::new(),
            own_scope: None,
            own_trace_state: None,
            own_flags: None,
            dropped: Dropped::default(),
        }
    }

    fn start(&self, builder: &mut TreeBuilder, scopes: &[Arc<Scope>]) {
        let name = builder.symbol(&self.name);
        let parent = self.parent.map(|parent| u32::try_from(parent).unwrap());
        let span = builder.start_with_id(SpanId(self.id), name, SiteId::NONE, parent, self.start);
        builder.set_kind(span, self.kind);
        builder.set_status(span, self.status, &self.message);
        for (key, value) in all_symbols(builder, &self.attributes) {
            builder.set_attribute(span, key, value.as_ref());
        }
        for event in &self.events {
            let name = builder.symbol(&event.name);
            let attributes = all_symbols(builder, &event.attributes);
            let attributes = attributes.iter().map(|(key, value)| (*key, value.as_ref()));
            builder.add_event(span, name, event.time, attributes);
        }
        for link in &self.links {
            let attributes = all_symbols(builder, &link.attributes);
            let attributes = attributes.iter().map(|(key, value)| (*key, value.as_ref()));
            let target = (TraceId(link.trace_id), SpanId(link.span_id));
            builder.add_link(span, target, &link.trace_state, link.flags, attributes);
        }
        if let Some(parent) = self.outer_parent {
            builder.set_outer_parent(span, SpanId(parent));
        }
        if let Some(scope) = self.own_scope {
            builder.set_scope(span, &scopes[scope]);
        }
        if let Some(state) = &self.own_trace_state {
            builder.set_trace_state(span, state);
        }
        if let Some(flags) = self.own_flags {
            builder.set_trace_flags(span, flags);
        }
        if self.dropped != Dropped::default() {
            builder.set_dropped(span, self.dropped);
        }
    }
}

fn all_symbols(builder: &mut TreeBuilder, attributes: &Attributes) -> Vec<(Symbol, Value)> {
    attributes
        .iter()
        .map(|(key, value)| (builder.symbol(key), value.value()))
        .collect()
}
