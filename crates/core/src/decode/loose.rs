//! Spans that have been read and belong to no tree yet: what every decoder fills in.

use std::borrow::Cow;

use crate::id::{SpanId, TraceId};
use crate::span::{Dropped, Kind, Status};
use crate::value::{Value, ValueRef};

/// Keys and values as they were read, in their order.
pub type LooseAttributes<'p> = Vec<(Cow<'p, str>, LooseValue<'p>)>;

/// A value as it was read.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "what lies in the payload, and what does not"
)]
pub enum LooseValue<'p> {
    /// Text of the payload: it is copied once, into its tree.
    Text(&'p str),
    /// Anything else.
    Owned(Value),
}

impl LooseValue<'_> {
    /// The value, to be put into a tree.
    #[inline]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Text(text) => ValueRef::Str(text),
            Self::Owned(value) => value.as_ref(),
        }
    }

    /// The value by itself.
    pub fn into_value(self) -> Value {
        match self {
            Self::Text(text) => Value::Str(text.to_owned()),
            Self::Owned(value) => value,
        }
    }
}

impl<'p> From<Cow<'p, str>> for LooseValue<'p> {
    fn from(text: Cow<'p, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::Text(text),
            Cow::Owned(text) => Self::Owned(Value::Str(text)),
        }
    }
}

impl From<Value> for LooseValue<'_> {
    fn from(value: Value) -> Self {
        Self::Owned(value)
    }
}

/// A span as a payload `'p` says it.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what a decoder fills in, beside the default"
)]
pub struct LooseSpan<'p> {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub id: SpanId,
    /// Its parent; [`SpanId::INVALID`] for the root of a trace.
    pub parent: SpanId,
    /// True when the parent is a span of another process: then a fragment begins here.
    pub parent_is_remote: bool,
    /// W3C `tracestate`, empty for none.
    pub trace_state: Cow<'p, str>,
    /// W3C trace flags.
    pub trace_flags: u8,
    /// True when somebody watches its trace; that of a fragment's root counts for all of it.
    pub is_debug: bool,
    /// Its name.
    pub name: Cow<'p, str>,
    /// Its kind.
    pub kind: Kind,
    /// When it started, in Unix nanoseconds.
    pub start: u64,
    /// When it ended, in Unix nanoseconds; an end before the start becomes the start.
    pub end: u64,
    /// Its attributes.
    pub attributes: LooseAttributes<'p>,
    /// Its events.
    pub events: Vec<LooseEvent<'p>>,
    /// Its links.
    pub links: Vec<LooseLink<'p>>,
    /// Its status.
    pub status: Status,
    /// Why it failed; counts only with [`Status::Error`].
    pub message: Cow<'p, str>,
    /// What was dropped before.
    pub dropped: Dropped,
}

impl Default for LooseSpan<'_> {
    fn default() -> Self {
        Self {
            trace_id: TraceId::INVALID,
            id: SpanId::INVALID,
            parent: SpanId::INVALID,
            parent_is_remote: false,
            trace_state: Cow::default(),
            trace_flags: 0,
            is_debug: false,
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

/// An event of a [`LooseSpan`].
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what a decoder fills in, beside the default"
)]
pub struct LooseEvent<'p> {
    /// When it happened, in Unix nanoseconds.
    pub time: u64,
    /// Its name.
    pub name: Cow<'p, str>,
    /// Its attributes.
    pub attributes: LooseAttributes<'p>,
    /// Attributes dropped before.
    pub dropped_attributes: u32,
}

/// A link of a [`LooseSpan`].
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "what a decoder fills in, beside the default"
)]
pub struct LooseLink<'p> {
    /// The trace of the linked span.
    pub trace_id: TraceId,
    /// The linked span.
    pub span_id: SpanId,
    /// Its `tracestate`, empty for none.
    pub trace_state: Cow<'p, str>,
    /// As in [`crate::span::Link::flags`].
    pub flags: u32,
    /// Its attributes.
    pub attributes: LooseAttributes<'p>,
    /// Attributes dropped before.
    pub dropped_attributes: u32,
}
