//! The span tree: the spans under one local root of one thread or task, in start order, in an arena.
//!
//! A span is one 40-byte node; its attributes, events and links stand in tables of the tree and are grouped by span
//! once, when the tree is finished. A tree is a **fragment of a trace**: its root's parent may be in another thread or process.

use std::fmt;
use std::sync::Arc;

use crate::id::{SpanId, TraceId};
use crate::intern::{SiteId, Symbol};
use crate::resource::{Resource, Scope};
use crate::span::{Dropped, Kind, Span, Status};
use crate::thread::Thread;
use crate::time::TickScale;
use crate::value::{Value, ValueRef};
use crate::wire::{Text, TextAt, TextBuf};

mod build;
mod describe;
mod detach;
mod explicit;
mod finish;
mod grouped;
mod own;
mod rare;
mod split;
mod start;
mod store;

pub(crate) use build::Closed;
pub use build::TreeBuilder;
pub use detach::Mark;
pub(crate) use grouped::Grouped;
pub use own::OwnTree;
pub(crate) use rare::{Explicit, Rare};
pub use split::Split;
pub use start::{Origin, Role, SpanLimits, TreeStart};

const NONE: u32 = u32::MAX;

/// A finished fragment of one trace. Read it with [`SpanTree::spans`].
pub struct SpanTree {
    pub(crate) trace_id: TraceId,
    pub(crate) parent: SpanId,
    pub(crate) parent_is_remote: bool,
    pub(crate) trace_flags: u8,
    pub(crate) is_debug: bool,
    pub(crate) trace_state: Symbol,
    pub(crate) resource: Arc<Resource>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) thread: Thread,
    /// Of a fragment that left an open tree, the root that stayed there; else invalid.
    pub(crate) root: SpanId,
    pub(crate) scale: TickScale,
    pub(crate) nodes: Vec<Node>,
    pub(crate) attributes: Grouped<Entry>,
    pub(crate) texts: TextBuf,
    /// Apart, so that a tree without is small: it is filled, queued and emptied more often than it is read.
    rare: Option<Box<Rare>>,
}

impl SpanTree {
    /// The trace that it is a fragment of.
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Who produced it.
    pub fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    /// The library that recorded its spans, where a span does not say otherwise.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// The thread that recorded it, as far as that is known.
    pub fn thread(&self) -> Thread {
        self.thread
    }

    /// The root's id: that of the first span, or, of a fragment that left an open tree, of the root that stayed there.
    pub fn root_id(&self) -> SpanId {
        if self.root.is_valid() {
            return self.root;
        }
        self.nodes.first().map_or(SpanId::INVALID, |node| node.id)
    }

    /// True when some spans name a scope of their own.
    #[inline]
    pub fn has_scopes_of_spans(&self) -> bool {
        self.explicit()
            .is_some_and(|explicit| !explicit.scope.is_empty())
    }

    /// False when none of its spans has a trace state, a link, or a count of dropped parts.
    #[inline]
    pub fn has_rare_parts(&self) -> bool {
        self.explicit().is_some()
            || self.trace_state != Symbol::EMPTY
            || !self.rare().links.items().is_empty()
    }

    /// How many spans it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True for a tree without spans.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The span at `index`, counted in start order.
    #[inline]
    pub fn span(&self, index: usize) -> Option<Span<'_>> {
        let node = self.nodes.get(index)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the builder stops below 2^28 spans"
        )]
        Some(Span::new(self, node, index as u32))
    }

    /// All spans, in start order: a parent comes before its children.
    #[inline]
    pub fn spans(&self) -> impl ExactSizeIterator<Item = Span<'_>> {
        self.nodes.iter().enumerate().map(|(index, node)| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the builder stops below 2^28 spans"
            )]
            Span::new(self, node, index as u32)
        })
    }

    /// Extra metrics read at the start and end of spans.
    pub fn columns(&self) -> &[Column] {
        &self.rare().columns
    }

    /// Memory it takes, for the budget of a queue.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(self.nodes.as_slice())
            + size_of_val(self.attributes.items())
            + self.texts.len()
            + self.rare.as_ref().map_or(0, |rare| rare.heap_bytes())
    }

    /// Memory that it keeps when it is cleared.
    pub(crate) fn capacity_bytes(&self) -> usize {
        size_of::<Self>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.attributes.capacity_bytes()
            + self.texts.capacity()
            + self.rare.as_ref().map_or(0, |rare| rare.capacity_bytes())
    }

    /// What most trees have nothing of.
    #[inline]
    pub(crate) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&rare::NOTHING)
    }

    /// The same, to be added to.
    #[inline]
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The same, when there is some already.
    #[inline]
    pub(crate) fn known_rare_mut(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    #[inline]
    fn explicit(&self) -> Option<&Explicit> {
        self.rare.as_ref()?.explicit.as_deref()
    }

    #[inline]
    pub(crate) fn text(&self, symbol: Symbol) -> Text<'_> {
        match symbol.local_index() {
            None => symbol.text(),
            Some(index) => self
                .rare()
                .local_symbols
                .get(index)
                .map_or_else(|| Symbol::EMPTY.text(), |place| self.texts.text(*place)),
        }
    }

    #[inline]
    pub(crate) fn value(&self, entry: &Entry) -> ValueRef<'_> {
        match entry.tag() {
            Tag::Text => ValueRef::Text(self.texts.text(TextAt::from_bits(entry.value))),
            #[expect(clippy::cast_possible_truncation, reason = "a symbol was stored")]
            Tag::Symbol => ValueRef::Text(self.text(Symbol(entry.value as u32))),
            Tag::Int => ValueRef::Int(entry.value.cast_signed()),
            Tag::Bool => ValueRef::Bool(entry.value != 0),
            Tag::F64 => ValueRef::F64(f64::from_bits(entry.value)),
            #[expect(clippy::cast_possible_truncation, reason = "an index was stored")]
            Tag::Rich => self
                .rare()
                .rich
                .get(entry.value as usize)
                .map_or(ValueRef::Empty, Value::as_ref),
        }
    }

    #[inline]
    pub(crate) fn part_attributes(&self, range: Range) -> &[Entry] {
        self.rare()
            .part_attributes
            .get(range.start as usize..range.end as usize)
            .unwrap_or(&[])
    }

    pub(crate) fn status_message(&self, span: u32) -> Option<Text<'_>> {
        let messages = &self.rare.as_ref()?.messages;
        let at = messages.binary_search_by_key(&span, Entry::owner).ok()?;
        match self.value(&messages[at]) {
            ValueRef::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The parent of a span whose parent is not in this tree.
    #[inline]
    pub(crate) fn outer_parent(&self, span: u32) -> Option<SpanId> {
        let own = self
            .explicit()
            .and_then(|explicit| explicit.parent.get(span as usize));
        Some(*own.unwrap_or(&self.parent)).filter(|parent| parent.is_valid())
    }

    #[inline]
    pub(crate) fn scope_of(&self, span: u32) -> &Arc<Scope> {
        let explicit = self.explicit();
        let own = explicit.and_then(|explicit| {
            let index = *explicit.scope.get(span as usize)?;
            explicit.scopes.get(index as usize)
        });
        own.unwrap_or(&self.scope)
    }

    #[inline]
    pub(crate) fn trace_state_of(&self, span: u32) -> Option<Text<'_>> {
        let own = self
            .explicit()
            .and_then(|explicit| explicit.trace_state.get(span as usize));
        let symbol = *own.unwrap_or(&self.trace_state);
        (symbol != Symbol::EMPTY).then(|| self.text(symbol))
    }

    #[inline]
    pub(crate) fn trace_flags_of(&self, span: u32) -> u8 {
        let own = self
            .explicit()
            .and_then(|explicit| explicit.trace_flags.get(span as usize));
        *own.unwrap_or(&self.trace_flags)
    }

    #[inline]
    pub(crate) fn dropped_of(&self, span: u32) -> Dropped {
        let own = self
            .explicit()
            .and_then(|explicit| explicit.dropped.get(span as usize));
        own.copied().unwrap_or_default()
    }
}

impl fmt::Debug for SpanTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanTree({}, {} spans)", self.trace_id, self.nodes.len())
    }
}

/// One span in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) id: SpanId,
    pub(crate) start: u64,
    /// Zero while the span is open.
    pub(crate) end: u64,
    pub(crate) name: Symbol,
    pub(crate) parent: u32,
    pub(crate) site: SiteId,
    pub(crate) drivers: u16,
    pub(crate) kind: Kind,
    pub(crate) status: Status,
}

const _: () = assert!(size_of::<Node>() == 40);

impl Node {
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.end == 0
    }

    #[inline]
    pub(crate) fn parent_index(&self) -> Option<u32> {
        (self.parent != NONE).then_some(self.parent)
    }
}

/// Something that belongs to a span.
pub(crate) trait Owned: Copy {
    fn owner(&self) -> u32;
    fn set_owner(&mut self, owner: u32);

    /// One of 64 bits, or none. Items of one owner clash only if they have the same.
    fn mark(&self) -> u64 {
        0
    }
}

/// A key and a value in 16 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) value: u64,
    pub(crate) key: Symbol,
    /// The tag in the top four bits, the owner below.
    tag_and_owner: u32,
}

/// Spans that one tree holds at most: an owner is stored in 28 bits.
pub(crate) const MAX_SPANS: usize = (1 << 28) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Text,
    Symbol,
    Int,
    Bool,
    F64,
    Rich,
}

impl Entry {
    #[inline]
    pub(crate) fn new(owner: u32, key: Symbol, tag: Tag, value: u64) -> Self {
        Self {
            value,
            key,
            tag_and_owner: (tag as u32) << 28 | owner,
        }
    }

    /// The number of its [`Tag`], for code that gets by without branching on it.
    #[inline]
    pub(crate) fn tag_number(&self) -> u32 {
        self.tag_and_owner >> 28
    }

    #[inline]
    pub(crate) fn tag(&self) -> Tag {
        match self.tag_and_owner >> 28 {
            0 => Tag::Text,
            1 => Tag::Symbol,
            2 => Tag::Int,
            3 => Tag::Bool,
            4 => Tag::F64,
            _ => Tag::Rich,
        }
    }
}

impl Owned for Entry {
    #[inline]
    fn owner(&self) -> u32 {
        self.tag_and_owner & 0x0fff_ffff
    }

    #[inline]
    fn set_owner(&mut self, owner: u32) {
        self.tag_and_owner = self.tag_and_owner & 0xf000_0000 | owner;
    }

    /// That of its key. Keys that a program uses together were mostly interned one after the other: they have different ones.
    #[inline(always)]
    fn mark(&self) -> u64 {
        1 << (self.key.0 & 63)
    }
}

/// A part of [`SpanTree::part_attributes`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EventNode {
    pub(crate) tick: u64,
    pub(crate) owner: u32,
    pub(crate) name: Symbol,
    pub(crate) attributes: Range,
    pub(crate) dropped_attributes: u32,
}

impl Owned for EventNode {
    fn owner(&self) -> u32 {
        self.owner
    }

    fn set_owner(&mut self, owner: u32) {
        self.owner = owner;
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkNode {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) owner: u32,
    pub(crate) trace_state: Symbol,
    pub(crate) flags: u32,
    pub(crate) attributes: Range,
    pub(crate) dropped_attributes: u32,
}

impl Owned for LinkNode {
    fn owner(&self) -> u32 {
        self.owner
    }

    fn set_owner(&mut self, owner: u32) {
        self.owner = owner;
    }
}

/// A metric that was read when spans started and ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Column {
    /// What was read.
    pub metric: Arc<ColumnSpec>,
    /// Value at start and at end, by span; NaN where it was not read. Spans beyond the end were not read.
    pub values: Vec<(f64, f64)>,
}

impl Column {
    /// An empty column for `metric`.
    pub fn new(metric: Arc<ColumnSpec>) -> Self {
        Self {
            metric,
            values: Vec::new(),
        }
    }
}

/// What a [`Column`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnSpec {
    /// The metric function's name, as in HiQ (`get_memory_mb`).
    pub name: String,
    /// Unit in UCUM, as in OpenTelemetry (`MBy`).
    pub unit: String,
    /// What the difference of start and end means.
    pub kind: ColumnKind,
}

impl ColumnSpec {
    /// A metric named `name`, in `unit`.
    pub fn new(name: impl Into<String>, unit: impl Into<String>, kind: ColumnKind) -> Self {
        Self {
            name: name.into(),
            unit: unit.into(),
            kind,
        }
    }
}

/// What a column's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnKind {
    /// A level, as memory in use.
    Level,
    /// A counter whose growth counts, as bytes read; `monotonic` when it cannot shrink.
    Delta {
        /// It never shrinks.
        monotonic: bool,
    },
}
