//! Filling a tree: what recorders and decoders do, and what happens once when it is finished.

use std::sync::Arc;

use super::{
    Grouped, MAX_SPANS, NONE, Node, Origin, OwnTree, Role, SpanLimits, SpanTree, TreeStart,
};
use crate::context::{Context, SAMPLED};
use crate::id::{SpanId, SpanIds, TraceId};
use crate::intern::{SiteId, Symbol};
use crate::pool;
use crate::resource::{Resource, Scope};
use crate::span::Status;
use crate::thread::Thread;
use crate::time::{Clock, TickScale};
use crate::value::ValueRef;
use crate::wire::TextBuf;

/// What [`TreeBuilder::close`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Closed {
    /// Nothing: the span has another id.
    NotThis,
    /// Closed a span inside the one of this index.
    InsideOf(u32),
    /// Closed a root.
    Root,
}

/// A tree that is being filled.
#[derive(Debug)]
pub struct TreeBuilder {
    pub(super) tree: OwnTree,
    pub(super) ids: SpanIds,
    pub(super) limits: SpanLimits,
    pub(super) open: u32,
    /// Bytes in the tree's tables that belong to nobody any more.
    pub(super) left_behind: usize,
    /// How often spans were numbered anew.
    pub(super) splits: u32,
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new(start: TreeStart, limits: SpanLimits) -> Self {
        let mut tree = SpanTree::of(start.resource, start.scope);
        tree.trace_id = start.trace_id;
        tree.parent = start.parent;
        tree.parent_is_remote = start.parent_is_remote;
        tree.trace_flags = start.trace_flags;
        tree.is_debug = start.is_debug;
        tree.thread = start.thread;
        tree.root = start.root;
        tree.scale = start.scale;
        let mut builder = Self::filling(tree.into(), limits);
        builder.tree.trace_state = builder.symbol(&start.trace_state);
        builder
    }

    /// An empty tree of this thread whose root starts at `tick`, in used memory if some is at hand.
    ///
    /// Inlined, and the builder made last: then it is written once, where the recorder keeps it.
    #[inline(always)]
    pub fn begin(origin: &Origin<'_>, tick: u64) -> Self {
        let mut tree = pool::take().unwrap_or_else(|| {
            SpanTree::of(Arc::clone(origin.resource), Arc::clone(origin.scope)).into()
        });
        assign(&mut tree.resource, origin.resource);
        assign(&mut tree.scope, origin.scope);
        tree.trace_id = origin.trace_id;
        tree.parent = SpanId::INVALID;
        tree.parent_is_remote = false;
        tree.trace_flags = if origin.is_sampled { SAMPLED } else { 0 };
        tree.is_debug = false;
        tree.trace_state = Symbol::EMPTY;
        tree.thread = Thread::current();
        tree.root = SpanId::INVALID;
        tree.scale = Clock::scale_under(origin.parent, tick);
        if let Some(parent) = origin.parent {
            tree.hang_under(parent);
        }
        Self::filling(tree, origin.limits)
    }

    #[inline]
    pub(super) fn filling(tree: OwnTree, limits: SpanLimits) -> Self {
        Self {
            tree,
            ids: SpanIds::new(),
            limits,
            open: 0,
            left_behind: 0,
            splits: 0,
        }
    }

    /// How many spans it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.tree.nodes.len()
    }

    /// True before the first span.
    pub fn is_empty(&self) -> bool {
        self.tree.nodes.is_empty()
    }

    /// How many of its spans are open.
    #[inline]
    pub fn open_spans(&self) -> u32 {
        self.open
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.tree.trace_id
    }

    /// W3C trace flags of the tree.
    pub fn trace_flags(&self) -> u8 {
        self.tree.trace_flags
    }

    /// Says that its thread ran the task `name`.
    pub fn set_task(&mut self, name: &str) {
        self.tree.thread = self.tree.thread.of_task(name);
    }

    /// True when somebody watches the trace, see [`Context::is_debug`].
    pub fn is_debug(&self) -> bool {
        self.tree.is_debug
    }

    /// What its ticks mean.
    pub fn scale(&self) -> TickScale {
        self.tree.scale
    }

    /// W3C `tracestate` of the tree, empty for none.
    #[inline]
    pub fn trace_state(&self) -> &str {
        if self.tree.trace_state == Symbol::EMPTY {
            return "";
        }
        self.tree.text(self.tree.trace_state).as_str()
    }

    /// The span that the tree hangs under.
    pub fn parent(&self) -> Option<SpanId> {
        Some(self.tree.parent).filter(|parent| parent.is_valid())
    }

    /// The id of `span`.
    pub fn span_id(&self, span: u32) -> SpanId {
        self.tree
            .nodes
            .get(span as usize)
            .map_or(SpanId::INVALID, |node| node.id)
    }

    /// The parent of `span` in this tree.
    #[inline]
    pub fn parent_index(&self, span: u32) -> Option<u32> {
        self.tree.nodes.get(span as usize)?.parent_index()
    }

    /// Opens a span under `parent`. Returns its index, which stays valid until [`TreeBuilder::split_finished`].
    #[inline]
    pub fn start(&mut self, name: Symbol, site: SiteId, parent: Option<u32>, tick: u64) -> u32 {
        self.open_as(Role::new(name, site), parent, tick)
    }

    /// The same with all that a recorder knows beforehand.
    #[inline]
    pub fn open_as(&mut self, role: Role, parent: Option<u32>, tick: u64) -> u32 {
        self.open_new(role, parent, tick).0
    }

    /// The same, and the id of the new span.
    #[inline]
    pub(crate) fn open_new(&mut self, role: Role, parent: Option<u32>, tick: u64) -> (u32, SpanId) {
        let id = self.ids.take();
        (self.push(id, role, parent, tick), id)
    }

    /// Opens a span whose id is given, as decoders do.
    ///
    /// # Panics
    /// At 2^28 spans.
    pub fn start_with_id(
        &mut self,
        id: SpanId,
        name: Symbol,
        site: SiteId,
        parent: Option<u32>,
        tick: u64,
    ) -> u32 {
        self.push(id, Role::new(name, site), parent, tick)
    }

    #[inline]
    fn push(&mut self, id: SpanId, role: Role, parent: Option<u32>, tick: u64) -> u32 {
        let index = self.tree.nodes.len();
        assert!(index < MAX_SPANS, "a tree holds at most 2^28 spans");
        self.tree.nodes.push(Node {
            id,
            start: tick,
            end: 0,
            name: role.name,
            parent: parent.unwrap_or(NONE),
            site: role.site,
            drivers: role.drivers,
            kind: role.kind,
            status: Status::Unset,
        });
        self.open += 1;
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        {
            index as u32
        }
    }

    /// Closes a span. A tick before the start counts as the start; a span that is closed already stays as it was.
    #[inline]
    pub fn end(&mut self, span: u32, tick: u64) {
        if let Some(node) = self.open_node(span) {
            node.end = tick.max(node.start).max(1);
            self.open -= 1;
        }
    }

    /// Closes `span` if its id is `id`, as [`TreeBuilder::end`] does.
    #[inline]
    pub(crate) fn close(&mut self, span: u32, id: SpanId, tick: u64) -> Closed {
        let Some(node) = self.tree.nodes.get_mut(span as usize) else {
            return Closed::NotThis;
        };
        if node.id != id {
            return Closed::NotThis;
        }
        if node.is_open() {
            node.end = tick.max(node.start).max(1);
            self.open -= 1;
        }
        node.parent_index().map_or(Closed::Root, Closed::InsideOf)
    }

    #[inline]
    fn open_node(&mut self, span: u32) -> Option<&mut Node> {
        self.tree
            .nodes
            .get_mut(span as usize)
            .filter(|node| node.is_open())
    }

    /// The tick at which `span` started; zero for one that does not exist.
    pub fn start_tick(&self, span: u32) -> u64 {
        self.tree
            .nodes
            .get(span as usize)
            .map_or(0, |node| node.start)
    }

    /// The name of `span`; empty for one that does not exist.
    pub fn name(&self, span: u32) -> &str {
        self.tree
            .nodes
            .get(span as usize)
            .map_or("", |node| self.tree.text(node.name).as_str())
    }

    /// The set of drivers that asked for `span`.
    pub fn drivers(&self, span: u32) -> u16 {
        self.tree
            .nodes
            .get(span as usize)
            .map_or(0, |node| node.drivers)
    }

    /// Takes the last span back with all that it carries, as if it had never started. False when `span` is not the last one,
    /// or not open.
    pub fn take_back(&mut self, span: u32) -> bool {
        let is_last = span as usize + 1 == self.tree.nodes.len();
        if !is_last || self.open_node(span).is_none() {
            return false;
        }
        self.tree.nodes.pop();
        self.open -= 1;
        self.tree.attributes.take_back(span);
        if let Some(rare) = self.tree.known_rare_mut() {
            rare.take_back(span);
        }
        true
    }

    /// Closes what is still open at `tick`, marking it `hiq.unfinished`, and finishes the tree.
    pub fn finish_unfinished(mut self, tick: u64) -> SpanTree {
        self.close_unfinished(tick);
        self.finish()
    }

    /// Closes what is still open at `tick`, marking it `hiq.unfinished`.
    pub(crate) fn close_unfinished(&mut self, tick: u64) {
        let key = self.symbol("hiq.unfinished");
        for span in 0..self.tree.nodes.len() {
            #[expect(clippy::cast_possible_truncation, reason = "below 2^28")]
            let span = span as u32;
            if self.tree.nodes[span as usize].is_open() {
                self.set_attribute(span, key, ValueRef::Bool(true));
                self.end(span, tick);
            }
        }
    }
}

impl SpanTree {
    fn hang_under(&mut self, parent: &Context) {
        self.parent = parent.span_id;
        self.parent_is_remote = parent.is_remote && parent.is_valid();
        self.is_debug = parent.is_debug;
        self.trace_flags |= parent.trace_flags & !SAMPLED;
        self.trace_state = self.symbol(&parent.trace_state);
    }

    pub(crate) fn empty() -> Self {
        Self::of(Arc::default(), Arc::default())
    }

    fn of(resource: Arc<Resource>, scope: Arc<Scope>) -> Self {
        Self {
            trace_id: TraceId::INVALID,
            parent: SpanId::INVALID,
            parent_is_remote: false,
            trace_flags: 0,
            is_debug: false,
            trace_state: Symbol::EMPTY,
            resource,
            scope,
            thread: Thread::UNKNOWN,
            root: SpanId::INVALID,
            scale: TickScale::UNIX_NANOS,
            nodes: Vec::new(),
            attributes: Grouped::default(),
            texts: TextBuf::new(),
            rare: None,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.attributes.clear();
        self.texts.clear();
        if let Some(rare) = &mut self.rare {
            rare.clear();
        }
    }
}

/// Spares the counting of references where nothing changes.
#[inline]
pub(super) fn assign<T>(place: &mut Arc<T>, value: &Arc<T>) {
    if !Arc::ptr_eq(place, value) {
        *place = Arc::clone(value);
    }
}
