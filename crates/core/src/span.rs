//! One span as encoders read it: a view into its tree, nothing copied.

use std::sync::Arc;

use crate::id::{SpanId, TraceId};
use crate::intern::SiteId;
use crate::resource::Scope;
use crate::time::{UnixNanos, duration_nanos};
use crate::tree::{Column, ColumnKind, Entry, Node, SpanTree};
use crate::value::ValueRef;
use crate::wire::Text;

mod visit;

pub use visit::{Number, NumberKind, Visitor};

/// The role of a span in a trace, numbered as in OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the set is OpenTelemetry's and closed"
)]
pub enum Kind {
    /// Nobody said.
    Unspecified = 0,
    /// An operation inside the program: the default.
    #[default]
    Internal = 1,
    /// Handles a remote request.
    Server = 2,
    /// Makes a remote request.
    Client = 3,
    /// Hands work to a broker.
    Producer = 4,
    /// Takes work from a broker.
    Consumer = 5,
}

impl Kind {
    /// The kind of an OTLP number; unknown numbers are [`Kind::Unspecified`].
    pub const fn from_otlp(number: u8) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }
}

/// Whether the operation succeeded, numbered as in OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the set is OpenTelemetry's and closed"
)]
pub enum Status {
    /// Nobody said.
    #[default]
    Unset = 0,
    /// Declared successful.
    Ok = 1,
    /// Failed.
    Error = 2,
}

impl Status {
    /// The status of an OTLP number; unknown numbers are [`Status::Unset`].
    pub const fn from_otlp(number: u8) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }
}

/// A span of a [`SpanTree`].
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    tree: &'a SpanTree,
    node: &'a Node,
    index: u32,
}

impl<'a> Span<'a> {
    #[inline]
    pub(crate) fn new(tree: &'a SpanTree, node: &'a Node, index: u32) -> Self {
        Self { tree, node, index }
    }

    /// The tree that holds it.
    #[inline]
    pub fn tree(&self) -> &'a SpanTree {
        self.tree
    }

    /// Its place in start order.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The trace it belongs to.
    #[inline]
    pub fn trace_id(&self) -> TraceId {
        self.tree.trace_id()
    }

    /// Its id.
    #[inline]
    pub fn id(&self) -> SpanId {
        self.node.id
    }

    /// The index of its parent, when that is in the same tree.
    #[inline]
    pub fn parent_index(&self) -> Option<u32> {
        self.node.parent_index()
    }

    /// The id of its parent, in this tree or elsewhere; `None` for the root of a trace.
    #[inline]
    pub fn parent_id(&self) -> Option<SpanId> {
        match self.node.parent_index() {
            Some(parent) => self.tree.nodes.get(parent as usize).map(|node| node.id),
            None => self.tree.outer_parent(self.index),
        }
    }

    /// True when the parent is a span of another process.
    #[inline]
    pub fn has_remote_parent(&self) -> bool {
        // Of a fragment that was split, spans may also hang under one that stayed behind in this process.
        self.tree.parent_is_remote
            && self.node.parent_index().is_none()
            && self.tree.outer_parent(self.index) == Some(self.tree.parent)
    }

    /// Its name.
    #[inline]
    pub fn name(&self) -> Text<'a> {
        self.tree.text(self.node.name)
    }

    /// Its kind.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.node.kind
    }

    /// When it started.
    #[inline]
    pub fn start(&self) -> UnixNanos {
        self.tree.scale.unix_nanos(self.node.start)
    }

    /// When it ended. The start, for a span that is still open.
    #[inline]
    pub fn end(&self) -> UnixNanos {
        self.tree.scale.unix_nanos(if self.node.is_open() {
            self.node.start
        } else {
            self.node.end
        })
    }

    /// How long it took, in nanoseconds.
    #[inline]
    pub fn duration_nanos(&self) -> u64 {
        duration_nanos(self.start(), self.end())
    }

    /// Its status.
    #[inline]
    pub fn status(&self) -> Status {
        self.node.status
    }

    /// Why it failed; only on spans whose status is an error.
    #[inline]
    pub fn status_message(&self) -> Option<Text<'a>> {
        if self.node.status != Status::Error {
            return None;
        }
        self.tree.status_message(self.index)
    }

    /// The place in the program that recorded it.
    #[inline]
    pub fn site(&self) -> SiteId {
        self.node.site
    }

    /// The set of drivers that asked for it, see [`SpanTree`].
    #[inline]
    pub fn drivers(&self) -> u16 {
        self.node.drivers
    }

    /// All attributes: those of its site, then its own.
    pub fn attributes(&self) -> impl Iterator<Item = (Text<'a>, ValueRef<'a>)> + use<'a> {
        let of_site = self.node.site.attributes();
        // Shortens the lifetime, so that the two parts are of one type.
        let as_ours =
            |(key, value): (Text<'static>, ValueRef<'static>)| -> (Text<'a>, ValueRef<'a>) {
                (key, value)
            };
        of_site.map(as_ours).chain(self.own_attributes())
    }

    /// The attributes that were set on this very span.
    #[inline]
    pub fn own_attributes(&self) -> Attributes<'a> {
        Attributes::new(self.tree, self.tree.attributes.of(self.index))
    }

    /// What extra metrics say about it, as attributes: a level at its start and end, of a counter the growth between them.
    pub fn measurements(&self) -> impl Iterator<Item = Measurement<'a>> + use<'a> {
        let index = self.index as usize;
        self.tree
            .columns()
            .iter()
            .flat_map(move |column| Measurement::all(column, index))
    }

    /// Its events, in the order they were added.
    #[inline]
    pub fn events(&self) -> impl ExactSizeIterator<Item = Event<'a>> + use<'a> {
        let tree = self.tree;
        tree.rare()
            .events
            .of(self.index)
            .iter()
            .map(move |node| Event { tree, node })
    }

    /// Its links, in the order they were added.
    #[inline]
    pub fn links(&self) -> impl ExactSizeIterator<Item = Link<'a>> + use<'a> {
        let tree = self.tree;
        tree.rare()
            .links
            .of(self.index)
            .iter()
            .map(move |node| Link { tree, node })
    }

    /// The library that recorded it.
    #[inline]
    pub fn scope(&self) -> &'a Arc<Scope> {
        self.tree.scope_of(self.index)
    }

    /// Vendor data carried along the trace (W3C `tracestate`).
    #[inline]
    pub fn trace_state(&self) -> Option<Text<'a>> {
        self.tree.trace_state_of(self.index)
    }

    /// W3C trace flags: bit 0 is *sampled*.
    #[inline]
    pub fn trace_flags(&self) -> u8 {
        self.tree.trace_flags_of(self.index)
    }

    /// True when somebody watches its trace, see [`Context::is_debug`](crate::context::Context::is_debug).
    #[inline]
    pub fn is_debug(&self) -> bool {
        self.tree.is_debug
    }

    /// What was dropped from it for the limits' sake.
    #[inline]
    pub fn dropped(&self) -> Dropped {
        self.tree.dropped_of(self.index)
    }
}

/// An attribute that an extra metric makes of its readings, see [`Span::measurements`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Measurement<'a> {
    /// The key is these three together: `hiq.`, the metric's name, and `.start`, `.end` or nothing.
    pub key: [&'a str; 3],
    /// The value, in the metric's unit.
    pub value: f64,
}

impl<'a> Measurement<'a> {
    fn all(column: &'a Column, span: usize) -> impl Iterator<Item = Self> + use<'a> {
        let (start, end) = column
            .values
            .get(span)
            .copied()
            .unwrap_or((f64::NAN, f64::NAN));
        let values = match column.metric.kind {
            ColumnKind::Level => [(".start", start), (".end", end)],
            ColumnKind::Delta { .. } => [("", end - start), ("", f64::NAN)],
        };
        let name = column.metric.name.as_str();
        let read = values.into_iter().filter(|(_, value)| !value.is_nan());
        read.map(move |(suffix, value)| Self {
            key: ["hiq.", name, suffix],
            value,
        })
    }
}

/// How many parts of a span were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the three kinds of parts that a span has"
)]
pub struct Dropped {
    /// Attributes beyond the limit.
    pub attributes: u32,
    /// Events beyond the limit.
    pub events: u32,
    /// Links beyond the limit.
    pub links: u32,
}

/// Something that happened at one moment of a span.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    tree: &'a SpanTree,
    node: &'a crate::tree::EventNode,
}

impl<'a> Event<'a> {
    /// Its name.
    pub fn name(&self) -> Text<'a> {
        self.tree.text(self.node.name)
    }

    /// When it happened.
    pub fn time(&self) -> UnixNanos {
        self.tree.scale.unix_nanos(self.node.tick)
    }

    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.tree, self.tree.part_attributes(self.node.attributes))
    }

    /// Attributes dropped for the limit's sake.
    pub fn dropped_attributes(&self) -> u32 {
        self.node.dropped_attributes
    }
}

/// A reference to a span of this or another trace.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    tree: &'a SpanTree,
    node: &'a crate::tree::LinkNode,
}

impl<'a> Link<'a> {
    /// The trace of the linked span.
    pub fn trace_id(&self) -> TraceId {
        self.node.trace_id
    }

    /// The linked span.
    pub fn span_id(&self) -> SpanId {
        self.node.span_id
    }

    /// `tracestate` of the linked span.
    pub fn trace_state(&self) -> Option<Text<'a>> {
        Some(self.tree.text(self.node.trace_state)).filter(|state| !state.is_empty())
    }

    /// OTLP flags: W3C flags in the low byte, 0x100 *is-remote known*, 0x200 *remote*.
    pub fn flags(&self) -> u32 {
        self.node.flags
    }

    /// Its attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.tree, self.tree.part_attributes(self.node.attributes))
    }

    /// Attributes dropped for the limit's sake.
    pub fn dropped_attributes(&self) -> u32 {
        self.node.dropped_attributes
    }
}

/// Keys and values of a span, event or link.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    tree: &'a SpanTree,
    entries: std::slice::Iter<'a, Entry>,
}

impl<'a> Attributes<'a> {
    #[inline]
    fn new(tree: &'a SpanTree, entries: &'a [Entry]) -> Self {
        Self {
            tree,
            entries: entries.iter(),
        }
    }

    /// The keys alone.
    pub fn keys(self) -> impl Iterator<Item = Text<'a>> {
        let tree = self.tree;
        self.entries.map(move |entry| tree.text(entry.key))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (Text<'a>, ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some((self.tree.text(entry.key), self.tree.value(entry)))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Attributes<'_> {}
