//! Filling a tree: what recorders and decoders do, and what happens once when it is finished.

use std::sync::Arc;

use super::finish::keep_last_of_each_key;
use super::{
    Column, ColumnSpec, Entry, EventNode, Explicit, Grouped, LinkNode, MAX_SPANS, NONE, Node,
    Owned, Range, SpanTree, Tag,
};
use crate::id::{SpanId, SpanIds, TraceId};
use crate::intern::{SiteId, Symbol, symbol};
use crate::resource::{Resource, Scope};
use crate::span::{Dropped, Kind, Status};
use crate::thread::Thread;
use crate::time::TickScale;
use crate::value::{Value, ValueRef};
use crate::wire::TextBuf;

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
    /// W3C `tracestate`, empty for none.
    pub trace_state: String,
    /// Who produces the spans.
    pub resource: Arc<Resource>,
    /// The library that records them.
    pub scope: Arc<Scope>,
    /// The thread that records them.
    pub thread: Thread,
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
            trace_state: String::new(),
            resource,
            scope,
            thread: Thread::UNKNOWN,
            scale: TickScale::UNIX_NANOS,
        }
    }
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
    pub(super) tree: SpanTree,
    pub(super) ids: SpanIds,
    pub(super) limits: SpanLimits,
    pub(super) open: u32,
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new(start: TreeStart, limits: SpanLimits) -> Self {
        Self::reusing(SpanTree::empty(), start, limits)
    }

    /// An empty tree in the memory of a used one.
    pub fn reusing(mut used: SpanTree, start: TreeStart, limits: SpanLimits) -> Self {
        used.clear();
        used.trace_id = start.trace_id;
        used.parent = start.parent;
        used.parent_is_remote = start.parent_is_remote;
        used.trace_flags = start.trace_flags;
        used.resource = start.resource;
        used.scope = start.scope;
        used.thread = start.thread;
        used.root = SpanId::INVALID;
        used.scale = start.scale;
        let mut builder = Self {
            tree: used,
            ids: SpanIds::new(),
            limits,
            open: 0,
        };
        builder.tree.trace_state = builder.symbol(&start.trace_state);
        builder
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

    /// W3C `tracestate` of the tree, empty for none.
    pub fn trace_state(&self) -> &str {
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
        self.tree
            .attributes
            .items
            .retain(|entry| entry.owner() != span);
        self.tree.events.items.retain(|event| event.owner() != span);
        self.tree.links.items.retain(|link| link.owner() != span);
        self.tree.messages.retain(|entry| entry.owner() != span);
        for column in &mut self.tree.columns {
            column.values.truncate(span as usize);
        }
        true
    }

    /// Replaces the name.
    pub fn set_name(&mut self, span: u32, name: Symbol) {
        if let Some(node) = self.tree.nodes.get_mut(span as usize) {
            node.name = name;
        }
    }

    /// Sets the kind.
    #[inline]
    pub fn set_kind(&mut self, span: u32, kind: Kind) {
        if let Some(node) = self.tree.nodes.get_mut(span as usize) {
            node.kind = kind;
        }
    }

    /// Sets which drivers asked for the span.
    #[inline]
    pub fn set_drivers(&mut self, span: u32, drivers: u16) {
        if let Some(node) = self.tree.nodes.get_mut(span as usize) {
            node.drivers = drivers;
        }
    }

    /// Sets the status. As OpenTelemetry has it: [`Status::Ok`] is final, and only an error keeps its message.
    pub fn set_status(&mut self, span: u32, status: Status, message: &str) {
        let Some(node) = self.tree.nodes.get_mut(span as usize) else {
            return;
        };
        if node.status == Status::Ok || status == Status::Unset {
            return;
        }
        node.status = status;
        self.tree.messages.retain(|entry| entry.owner() != span);
        if status == Status::Error && !message.is_empty() {
            let (tag, value) = self.store(ValueRef::Str(message));
            self.tree
                .messages
                .push(Entry::new(span, Symbol::EMPTY, tag, value));
        }
    }

    /// Sets an attribute; the last value of a key counts.
    #[inline(always)]
    pub fn set_attribute(&mut self, span: u32, key: Symbol, value: ValueRef<'_>) {
        if (span as usize) < self.tree.nodes.len() {
            let (tag, value) = self.store(value);
            self.tree
                .attributes
                .items
                .push(Entry::new(span, key, tag, value));
        }
    }

    /// Sets several attributes. `symbol` finds that of a key.
    #[inline(always)]
    pub(crate) fn set_attributes<'v, K>(
        &mut self,
        span: u32,
        attributes: impl IntoIterator<Item = (K, ValueRef<'v>)>,
        symbol: impl Fn(K, &mut Self) -> Symbol,
    ) {
        if (span as usize) < self.tree.nodes.len() {
            // Out of the tree meanwhile, so that the room is looked at once for all of them.
            let mut items = std::mem::take(&mut self.tree.attributes.items);
            items.extend(attributes.into_iter().map(|(key, value)| {
                let key = symbol(key, self);
                let (tag, value) = self.store(value);
                Entry::new(span, key, tag, value)
            }));
            self.tree.attributes.items = items;
        }
    }

    /// Adds an event that happened at `tick`.
    pub fn add_event<'v>(
        &mut self,
        span: u32,
        name: Symbol,
        tick: u64,
        attributes: impl IntoIterator<Item = (Symbol, ValueRef<'v>)>,
    ) {
        if (span as usize) < self.tree.nodes.len() {
            let (attributes, dropped_attributes) =
                self.store_part(attributes, self.limits.attributes_per_event);
            self.tree.events.items.push(EventNode {
                tick,
                owner: span,
                name,
                attributes,
                dropped_attributes,
            });
        }
    }

    /// Adds a link. `flags` as in [`crate::span::Link::flags`].
    pub fn add_link<'v>(
        &mut self,
        span: u32,
        (trace_id, span_id): (TraceId, SpanId),
        trace_state: &str,
        flags: u32,
        attributes: impl IntoIterator<Item = (Symbol, ValueRef<'v>)>,
    ) {
        if (span as usize) < self.tree.nodes.len() {
            let trace_state = self.symbol(trace_state);
            let (attributes, dropped_attributes) =
                self.store_part(attributes, self.limits.attributes_per_link);
            let owner = span;
            let link = LinkNode {
                trace_id,
                span_id,
                owner,
                trace_state,
                flags,
                attributes,
                dropped_attributes,
            };
            self.tree.links.items.push(link);
        }
    }

    /// Says how many attributes the last event lost before it came here (known from a decoder).
    pub fn set_dropped_of_last_event(&mut self, attributes: u32) {
        if let Some(event) = self.tree.events.items.last_mut() {
            event.dropped_attributes = attributes;
        }
    }

    /// Says how many attributes the last link lost before it came here (known from a decoder).
    pub fn set_dropped_of_last_link(&mut self, attributes: u32) {
        if let Some(link) = self.tree.links.items.last_mut() {
            link.dropped_attributes = attributes;
        }
    }

    /// Sets the value of an extra metric at the start and end of a span.
    pub fn set_metric(&mut self, span: u32, metric: &Arc<ColumnSpec>, start: f64, end: f64) {
        let known = self
            .tree
            .columns
            .iter_mut()
            // Two drivers may call different readings by the same name.
            .position(|column| Arc::ptr_eq(&column.metric, metric));
        let at = known.unwrap_or_else(|| {
            self.tree.columns.push(Column::new(Arc::clone(metric)));
            self.tree.columns.len() - 1
        });
        let values = &mut self.tree.columns[at].values;
        if values.len() <= span as usize {
            values.resize(span as usize + 1, (f64::NAN, f64::NAN));
        }
        values[span as usize] = (start, end);
    }

    /// The parent of `span`, when that is neither in this tree nor the tree's own parent.
    pub fn set_outer_parent(&mut self, span: u32, parent: SpanId) {
        let fill = self.tree.parent;
        put(&mut self.explicit().parent, span, parent, fill);
    }

    /// `tracestate` of one span, when that differs from the tree's.
    pub fn set_trace_state(&mut self, span: u32, trace_state: &str) {
        let symbol = self.symbol(trace_state);
        let fill = self.tree.trace_state;
        put(&mut self.explicit().trace_state, span, symbol, fill);
    }

    /// W3C flags of one span, when they differ from the tree's.
    pub fn set_trace_flags(&mut self, span: u32, flags: u8) {
        let fill = self.tree.trace_flags;
        put(&mut self.explicit().trace_flags, span, flags, fill);
    }

    /// The scope of one span, when that differs from the tree's.
    pub fn set_scope(&mut self, span: u32, scope: &Arc<Scope>) {
        let default = Arc::clone(&self.tree.scope);
        let explicit = self.explicit();
        if explicit.scopes.is_empty() {
            explicit.scopes.push(default);
        }
        let known = explicit
            .scopes
            .iter()
            .position(|known| Arc::ptr_eq(known, scope));
        let index = known.unwrap_or_else(|| {
            explicit.scopes.push(Arc::clone(scope));
            explicit.scopes.len() - 1
        });
        let index = u16::try_from(index).unwrap_or(0);
        put(&mut explicit.scope, span, index, 0);
    }

    /// What had been dropped from a span before it came here.
    pub fn set_dropped(&mut self, span: u32, dropped: Dropped) {
        put(
            &mut self.explicit().dropped,
            span,
            dropped,
            Dropped::default(),
        );
    }

    fn explicit(&mut self) -> &mut Explicit {
        self.tree.explicit.get_or_insert_default()
    }

    /// The symbol of a name or key, in the process-wide table or, when that is full, in this tree.
    pub fn symbol(&mut self, name: &str) -> Symbol {
        symbol(name).unwrap_or_else(|| {
            let Some(place) = self.tree.texts.push(name) else {
                return Symbol::EMPTY;
            };
            self.tree.local_symbols.push(place);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the text buffer is full long before"
            )]
            Symbol::local(self.tree.local_symbols.len() as u32 - 1)
        })
    }

    #[inline(always)]
    fn store(&mut self, value: ValueRef<'_>) -> (Tag, u64) {
        // One after the other: a jump by table costs more than these comparisons.
        if let ValueRef::Str(text) = value {
            self.store_text(text)
        } else if let ValueRef::Int(i) = value {
            (Tag::Int, i.cast_unsigned())
        } else if let ValueRef::Bool(b) = value {
            (Tag::Bool, u64::from(b))
        } else if let ValueRef::F64(f) = value {
            (Tag::F64, f.to_bits())
        } else {
            self.store_any(value)
        }
    }

    #[inline(never)]
    fn store_text(&mut self, text: &str) -> (Tag, u64) {
        let text = self
            .limits
            .value_chars
            .map_or(text, |limit| first_chars(text, limit));
        match self.tree.texts.push(text) {
            Some(place) => (Tag::Text, place.to_bits()),
            None => (Tag::Symbol, u64::from(Symbol::EMPTY.0)),
        }
    }

    /// Stores a text of the process-wide table by its symbol: for values that repeat.
    #[inline]
    pub fn set_symbol_attribute(&mut self, span: u32, key: Symbol, value: Symbol) {
        if (span as usize) < self.tree.nodes.len() {
            let entry = Entry::new(span, key, Tag::Symbol, u64::from(value.0));
            self.tree.attributes.items.push(entry);
        }
    }

    #[cold]
    #[inline(never)]
    fn store_any(&mut self, value: ValueRef<'_>) -> (Tag, u64) {
        match value {
            ValueRef::Text(text) => self.store_text(text.as_str()),
            rich => self.store_rich(rich.to_value()),
        }
    }

    fn store_rich(&mut self, mut value: Value) -> (Tag, u64) {
        if let Some(limit) = self.limits.value_chars {
            cut_texts(&mut value, limit);
        }
        self.tree.rich.push(value);
        (Tag::Rich, self.tree.rich.len() as u64 - 1)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a tree of 2^32 attributes does not fit into memory"
    )]
    fn store_part<'v>(
        &mut self,
        attributes: impl IntoIterator<Item = (Symbol, ValueRef<'v>)>,
        limit: u32,
    ) -> (Range, u32) {
        let start = self.tree.part_attributes.len();
        for (key, value) in attributes {
            let (tag, value) = self.store(value);
            self.tree
                .part_attributes
                .push(Entry::new(0, key, tag, value));
        }
        let dropped = keep_last_of_each_key(&mut self.tree.part_attributes, start, limit);
        (
            Range {
                start: start as u32,
                end: self.tree.part_attributes.len() as u32,
            },
            dropped,
        )
    }

    /// Closes what is still open at `tick`, marking it `hiq.unfinished`, and finishes the tree.
    pub fn finish_unfinished(mut self, tick: u64) -> SpanTree {
        let key = self.symbol("hiq.unfinished");
        for span in 0..self.tree.nodes.len() {
            #[expect(clippy::cast_possible_truncation, reason = "below 2^28")]
            let span = span as u32;
            if self.tree.nodes[span as usize].is_open() {
                self.set_attribute(span, key, ValueRef::Bool(true));
                self.end(span, tick);
            }
        }
        self.finish()
    }
}

impl SpanTree {
    pub(crate) fn empty() -> Self {
        Self {
            trace_id: TraceId::INVALID,
            parent: SpanId::INVALID,
            parent_is_remote: false,
            trace_flags: 0,
            trace_state: Symbol::EMPTY,
            resource: Arc::default(),
            scope: Arc::default(),
            thread: Thread::UNKNOWN,
            root: SpanId::INVALID,
            scale: TickScale::UNIX_NANOS,
            nodes: Vec::new(),
            attributes: Grouped::default(),
            events: Grouped::default(),
            links: Grouped::default(),
            part_attributes: Vec::new(),
            messages: Vec::new(),
            texts: TextBuf::new(),
            local_symbols: Vec::new(),
            rich: Vec::new(),
            columns: Vec::new(),
            explicit: None,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.attributes.clear();
        self.events.clear();
        self.links.clear();
        self.part_attributes.clear();
        self.messages.clear();
        self.texts.clear();
        self.local_symbols.clear();
        self.rich.clear();
        self.columns.clear();
        self.explicit = None;
    }
}

pub(super) fn put<T: Clone>(column: &mut Vec<T>, span: u32, value: T, fill: T) {
    let at = span as usize;
    if column.len() <= at {
        column.resize(at + 1, fill);
    }
    column[at] = value;
}

fn first_chars(text: &str, limit: u32) -> &str {
    match text.char_indices().nth(limit as usize) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn cut_texts(value: &mut Value, limit: u32) {
    match value {
        Value::Str(text) => text.truncate(first_chars(text, limit).len()),
        Value::Array(items) => items.iter_mut().for_each(|item| cut_texts(item, limit)),
        _ => {}
    }
}
