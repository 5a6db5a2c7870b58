//! From the spans of a resource, in any order, to fragments: parents before children, cycles cut, remote parents outside.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::loose::{LooseAttributes, LooseSpan};
use crate::id::{SpanId, TraceId};
use crate::intern::{self, SiteId, Symbol};
use crate::resource::{Resource, Scope};
use crate::span::Dropped;
use crate::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use crate::value::ValueRef;

/// Hands the fragments of `spans`, each with the scope that recorded it, to `sink`.
///
/// A fragment holds the spans of one trace that hang together in this process; one whose parent is remote begins another.
/// The spans may come in any order; of two with one id the first is the parent of both's children.
pub fn hand_out<'p>(
    resource: &Arc<Resource>,
    spans: impl IntoIterator<Item = (Arc<Scope>, LooseSpan<'p>)>,
    sink: &mut dyn FnMut(Arc<SpanTree>),
) {
    let mut names = NAMES.take();
    for trace in by_trace(spans) {
        for fragment in Trace::new(&trace).fragments(resource, &mut names) {
            sink(Arc::new(fragment));
        }
    }
    NAMES.set(names);
}

type Scoped<'p> = (Arc<Scope>, LooseSpan<'p>);

/// The spans of each trace by their start, the traces in the order in which they are met.
fn by_trace<'p>(spans: impl IntoIterator<Item = Scoped<'p>>) -> Vec<Vec<Scoped<'p>>> {
    let mut places = HashMap::new();
    let mut traces: Vec<Vec<Scoped<'p>>> = Vec::new();
    let mut last = (TraceId::INVALID, usize::MAX);
    for scoped in spans {
        let id = scoped.1.trace_id;
        // Spans of one trace come one after the other, mostly.
        if last.1 == usize::MAX || last.0 != id {
            last = (id, *places.entry(id).or_insert(traces.len()));
            if last.1 == traces.len() {
                traces.push(Vec::new());
            }
        }
        traces[last.1].push(scoped);
    }
    for trace in &mut traces {
        if !trace.is_sorted_by_key(|(_, span)| span.start) {
            trace.sort_by_key(|(_, span)| span.start);
        }
    }
    traces
}

/// The spans of one trace, and which of them hangs under which.
struct Trace<'t, 'p> {
    spans: &'t [Scoped<'p>],
    /// The index of each span's parent, if that is here and in the same process.
    parents: Vec<Option<usize>>,
}

/// Where a span is to be found once it has been placed.
#[derive(Clone, Copy)]
enum Place {
    Nowhere,
    /// It waits until its parent has been placed.
    Waiting,
    At {
        fragment: usize,
        span: u32,
    },
}

impl<'t, 'p> Trace<'t, 'p> {
    fn new(spans: &'t [Scoped<'p>]) -> Self {
        let indices = Indices::of(spans);
        let parent_of = |(index, (_, span)): (usize, &Scoped<'p>)| {
            let outside = !span.parent.is_valid() || has_remote_parent(span);
            let parent = (!outside).then(|| indices.get(span.parent)).flatten()?;
            (parent != index).then_some(parent)
        };
        let parents = spans.iter().enumerate().map(parent_of).collect();
        Self { spans, parents }
    }

    fn fragments(mut self, resource: &Arc<Resource>, names: &mut Names) -> Vec<SpanTree> {
        let mut fragments = Fragments::default();
        let mut places = vec![Place::Nowhere; self.spans.len()];
        let mut chain = Vec::new();
        for index in 0..self.spans.len() {
            self.climb(index, &mut places, &mut chain);
            while let Some(index) = chain.pop() {
                let parent = self.parents[index].map(|parent| places[parent]);
                places[index] = fragments.place(&self.spans[index], parent, resource, names);
            }
        }
        fragments
            .builders
            .into_iter()
            .map(TreeBuilder::finish)
            .collect()
    }

    /// Collects `index` and those above it that have not been placed. A parent that is its own descendant is left outside.
    fn climb(&mut self, index: usize, places: &mut [Place], chain: &mut Vec<usize>) {
        let mut at = index;
        while let Place::Nowhere = places[at] {
            places[at] = Place::Waiting;
            chain.push(at);
            match self.parents[at] {
                Some(parent) if matches!(places[parent], Place::Waiting) => self.parents[at] = None,
                Some(parent) => at = parent,
                None => break,
            }
        }
    }
}

/// Where the span of an id is; of two with one id the first.
enum Indices<'t, 'p> {
    /// So few that looking at each is faster than a table.
    Few(&'t [Scoped<'p>]),
    Table(HashMap<SpanId, usize>),
}

impl<'t, 'p> Indices<'t, 'p> {
    const FEW: usize = 24;

    fn of(spans: &'t [Scoped<'p>]) -> Self {
        if spans.len() <= Self::FEW {
            return Self::Few(spans);
        }
        let mut table = HashMap::with_capacity(spans.len());
        for (index, (_, span)) in spans.iter().enumerate() {
            table.entry(span.id).or_insert(index);
        }
        Self::Table(table)
    }

    fn get(&self, id: SpanId) -> Option<usize> {
        match self {
            Self::Few(spans) => spans.iter().position(|(_, span)| span.id == id),
            Self::Table(table) => table.get(&id).copied(),
        }
    }
}

fn has_remote_parent(span: &LooseSpan<'_>) -> bool {
    span.parent.is_valid() && span.parent_is_remote
}

/// The trees that are being filled.
#[derive(Default)]
struct Fragments {
    builders: Vec<TreeBuilder>,
    /// The scope of each tree.
    scopes: Vec<Arc<Scope>>,
    /// The tree of each remote parent, and under `None` that of all other roots.
    by_parent: HashMap<Option<SpanId>, usize>,
}

impl Fragments {
    fn place(
        &mut self,
        scoped: &Scoped<'_>,
        parent: Option<Place>,
        resource: &Arc<Resource>,
        names: &mut Names,
    ) -> Place {
        let (scope, span) = scoped;
        let (fragment, parent) = match parent {
            Some(Place::At { fragment, span }) => (fragment, Some(span)),
            _ => (self.of_root(scope, span, resource), None),
        };
        let builder = &mut self.builders[fragment];
        let index = add(builder, names, span, parent);
        if !Arc::ptr_eq(&self.scopes[fragment], scope) {
            builder.set_scope(index, scope);
        }
        Place::At {
            fragment,
            span: index,
        }
    }

    fn of_root(
        &mut self,
        scope: &Arc<Scope>,
        span: &LooseSpan<'_>,
        resource: &Arc<Resource>,
    ) -> usize {
        let remote = has_remote_parent(span).then_some(span.parent);
        let (builders, scopes) = (&mut self.builders, &mut self.scopes);
        *self.by_parent.entry(remote).or_insert_with(|| {
            builders.push(begin(scope, span, resource));
            scopes.push(Arc::clone(scope));
            builders.len() - 1
        })
    }
}

fn begin(scope: &Arc<Scope>, root: &LooseSpan<'_>, resource: &Arc<Resource>) -> TreeBuilder {
    let mut start = TreeStart::new(root.trace_id, Arc::clone(resource), Arc::clone(scope));
    start.parent = root.parent;
    start.parent_is_remote = has_remote_parent(root);
    start.trace_flags = root.trace_flags;
    start.is_debug = root.is_debug;
    start.trace_state = root.trace_state.to_string();
    TreeBuilder::new(start, SpanLimits::UNLIMITED)
}

fn add(
    builder: &mut TreeBuilder,
    names: &mut Names,
    span: &LooseSpan<'_>,
    parent: Option<u32>,
) -> u32 {
    let name = names.symbol(builder, &span.name);
    let index = builder.start_with_id(span.id, name, SiteId::NONE, parent, span.start);
    builder.set_kind(index, span.kind);
    builder.set_status(index, span.status, &span.message);
    for (key, value) in &span.attributes {
        let key = names.symbol(builder, key);
        builder.set_attribute(index, key, value.as_ref());
    }
    for event in &span.events {
        let name = names.symbol(builder, &event.name);
        let keys = names.keys(builder, &event.attributes);
        builder.add_event(index, name, event.time, pairs(&keys, &event.attributes));
        builder.set_dropped_of_last_event(event.dropped_attributes);
    }
    for link in &span.links {
        let keys = names.keys(builder, &link.attributes);
        let target = (link.trace_id, link.span_id);
        let attributes = pairs(&keys, &link.attributes);
        builder.add_link(index, target, &link.trace_state, link.flags, attributes);
        builder.set_dropped_of_last_link(link.dropped_attributes);
    }
    add_rare(builder, span, parent, index);
    builder.end(index, span.end);
    index
}

/// What only few spans say differently than their tree.
fn add_rare(builder: &mut TreeBuilder, span: &LooseSpan<'_>, parent: Option<u32>, index: u32) {
    if parent.is_none() && builder.parent() != Some(span.parent).filter(|id| id.is_valid()) {
        builder.set_outer_parent(index, span.parent);
    }
    if builder.trace_state() != span.trace_state {
        builder.set_trace_state(index, &span.trace_state);
    }
    if builder.trace_flags() != span.trace_flags {
        builder.set_trace_flags(index, span.trace_flags);
    }
    if span.dropped != Dropped::default() {
        builder.set_dropped(index, span.dropped);
    }
}

/// Names and keys that were met before: to find one here costs less than in the process-wide table, behind its lock.
#[derive(Default)]
struct Names(Vec<(Symbol, &'static str)>);

thread_local! {
    /// What payloads before had.
    static NAMES: Cell<Names> = const { Cell::new(Names(Vec::new())) };
}

impl Names {
    /// One of 256 places for each name, which others may take.
    const PLACES: usize = 256;

    #[inline]
    fn symbol(&mut self, builder: &mut TreeBuilder, name: &str) -> Symbol {
        if self.0.is_empty() {
            // The empty text is known from the beginning.
            self.0 = vec![(Symbol::EMPTY, ""); Self::PLACES];
        }
        let place = &mut self.0[Self::place(name)];
        if place.1 == name {
            return place.0;
        }
        let symbol = builder.symbol(name);
        // One that belongs to its tree is of no use to others.
        if let Some(text) = intern::known(symbol) {
            *place = (symbol, text.as_str());
        }
        symbol
    }

    /// Of the length and three of the bytes.
    #[inline]
    fn place(name: &str) -> usize {
        let bytes = name.as_bytes();
        let at = |index: usize| usize::from(bytes.get(index).copied().unwrap_or(0));
        let last = bytes.len().saturating_sub(1);
        (bytes.len() * 67 + at(0) * 31 + at(last / 2) * 17 + at(last)) % Self::PLACES
    }

    fn keys(&mut self, builder: &mut TreeBuilder, attributes: &LooseAttributes<'_>) -> Vec<Symbol> {
        attributes
            .iter()
            .map(|(key, _)| self.symbol(builder, key))
            .collect()
    }
}

fn pairs<'a>(
    keys: &'a [Symbol],
    attributes: &'a LooseAttributes<'_>,
) -> impl Iterator<Item = (Symbol, ValueRef<'a>)> {
    let values = attributes.iter().map(|(_, value)| value.as_ref());
    keys.iter().copied().zip(values)
}
