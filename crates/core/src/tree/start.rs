//! What is known before there is anything: of a tree, of a span, and how much a span may carry.

use std::sync::Arc;

use crate::context::Context;
use crate::id::{SpanId, TraceId};
use crate::intern::{SiteId, Symbol};
use crate::resource::{Resource, Scope};
use crate::span::Kind;
use crate::thread::Thread;
use crate::time::TickScale;

/// What a tree is begun with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeStart {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the roots hang under; [`SpanId::INVALID`] when they are roots of the trace.
    pub parent: SpanId,
    /// True when that span is in another process.
    pub parent_is_remote: bool,
    /// W3C trace flags.
    pub trace_flags: u8,
    /// True when somebody watches the trace, see [`Context::is_debug`].
    pub is_debug: bool,
    /// W3C `tracestate`, empty for none.
    pub trace_state: String,
    /// Who produces the spans.
    pub resource: Arc<Resource>,
    /// The library that records them.
    pub scope: Arc<Scope>,
    /// The thread that records them.
    pub thread: Thread,
    /// Of a fragment that leaves before the root that it was recorded under in its thread, that root; [`SpanId::INVALID`], the default,
    /// when the root is here.
    pub root: SpanId,
    /// What its ticks mean.
    pub scale: TickScale,
}

impl TreeStart {
    /// A sampled root of `trace_id`, with times in Unix nanoseconds.
    pub fn new(trace_id: TraceId, resource: Arc<Resource>, scope: Arc<Scope>) -> Self {
        Self {
            trace_id,
            parent: SpanId::INVALID,
            parent_is_remote: false,
            trace_flags: 1,
            is_debug: false,
            trace_state: String::new(),
            resource,
            scope,
            thread: Thread::UNKNOWN,
            root: SpanId::INVALID,
            scale: TickScale::UNIX_NANOS,
        }
    }
}

/// What a recorder begins a tree with. Borrowed: a used tree mostly has the same resource and scope already.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what a recorder fills in at each root"
)]
pub struct Origin<'a> {
    /// The trace.
    pub trace_id: TraceId,
    /// Where the root hangs, unless it is the root of the trace; one that is a [decision](Context::is_decision) is no place, but may
    /// say that the trace is watched.
    pub parent: Option<&'a Context>,
    /// Whether the trace is recorded for the exporters' sake.
    pub is_sampled: bool,
    /// Who produces the spans.
    pub resource: &'a Arc<Resource>,
    /// The library that records them.
    pub scope: &'a Arc<Scope>,
    /// How much each span may carry.
    pub limits: SpanLimits,
}

/// What is known of a span before it starts.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what a recorder fills in at each call"
)]
pub struct Role {
    /// Its name.
    pub name: Symbol,
    /// The place that records it.
    pub site: SiteId,
    /// The set of drivers that asked for it; 0 for none.
    pub drivers: u16,
    /// Its kind.
    pub kind: Kind,
}

impl Role {
    /// An internal span that no driver asked for.
    pub const fn new(name: Symbol, site: SiteId) -> Self {
        Self {
            name,
            site,
            drivers: 0,
            kind: Kind::Internal,
        }
    }
}

/// How much one span may carry; `OTEL_SPAN_*_LIMIT` and `OTEL_ATTRIBUTE_*_LIMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanLimits {
    /// Attributes of a span.
    pub attributes: u32,
    /// Events of a span.
    pub events: u32,
    /// Links of a span.
    pub links: u32,
    /// Attributes of an event.
    pub attributes_per_event: u32,
    /// Attributes of a link.
    pub attributes_per_link: u32,
    /// Characters of a text value; `None`: no limit.
    pub value_chars: Option<u32>,
}

impl SpanLimits {
    /// Nothing is dropped or cut: for decoders.
    pub const UNLIMITED: Self = Self {
        attributes: u32::MAX,
        events: u32::MAX,
        links: u32::MAX,
        attributes_per_event: u32::MAX,
        attributes_per_link: u32::MAX,
        value_chars: None,
    };
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            events: 128,
            links: 128,
            attributes_per_event: 128,
            attributes_per_link: 128,
            value_chars: None,
        }
    }
}
