//! From the spans of a resource, in any order, to fragments: parents before children, cycles cut, remote parents outside.

use std::collections::HashMap;
use std::sync::Arc;

use super::loose::{LooseAttributes, LooseSpan};
use crate::id::SpanId;
use crate::intern::{SiteId, Symbol};
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
    for trace in by_trace(spans) {
        for fragment in Trace::new(&trace).fragments(resource) {
            sink(Arc::new(fragment));
        }
    }
}

type Scoped<'p> = (Arc<Scope>, LooseSpan<'p>);

/// The spans of each trace by their start, the traces in the order in which they are met.
fn by_trace<'p>(spans: impl IntoIterator<Item = Scoped<'p>>) -> Vec<Vec<Scoped<'p>>> {
    let mut places = HashMap::new();
    let mut traces: Vec<Vec<_>> = Vec::new();
    for scoped in spans {
        let place = *places.entry(scoped.1.trace_id).or_insert(traces.len());
        if place == traces.len() {
            traces.push(Vec::new());
        }
        traces[place].push(scoped);
    }
    for trace in &mut traces {
        trace.sort_by_key(|(_, span)| span.start);
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
        let mut indices = HashMap::with_capacity(spans.len());
        for (index, (_, span)) in spans.iter().enumerate() {
            indices.entry(span.id).or_insert(index);
        }
        let parent_of = |(index, (_, span)): (usize, &Scoped<'p>)| {
            let parent = *indices.get(&span.parent)?;
            let outside = !span.parent.is_valid() || has_remote_parent(span);
            (!outside && parent != index).then_some(parent)
        };
        let parents = spans.iter().enumerate().map(parent_of).collect();
        Self { spans, parents }
    }

    fn fragments(mut self, resource: &Arc<Resource>) -> Vec<SpanTree> {
        let mut fragments = Fragments::default();
        let mut places = vec![Place::Nowhere; self.spans.len()];
        let mut chain = Vec::new();
        for index in 0..self.spans.len() {
            self.climb(index, &mut places, &mut chain);
            while let Some(index) = chain.pop() {
                let parent = self.parents[index].map(|parent| places[parent]);
                places[index] = fragments.place(&self.spans[index], parent, resource);
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
    ) -> Place {
        let (scope, span) = scoped;
        let (fragment, parent) = match parent {
            Some(Place::At { fragment, span }) => (fragment, Some(span)),
            _ => (self.of_root(scope, span, resource), None),
        };
        let builder = &mut self.builders[fragment];
        let index = add(builder, span, parent);
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
    start.trace_state = root.trace_state.to_string();
    TreeBuilder::new(start, SpanLimits::UNLIMITED)
}

fn add(builder: &mut TreeBuilder, span: &LooseSpan<'_>, parent: Option<u32>) -> u32 {
    let name = builder.symbol(&span.name);
    let index = builder.start_with_id(span.id, name, SiteId::NONE, parent, span.start);
    builder.set_kind(index, span.kind);
    builder.set_status(index, span.status, &span.message);
    for (key, value) in &span.attributes {
        let key = builder.symbol(key);
        builder.set_attribute(index, key, value.as_ref());
    }
    for event in &span.events {
        let name = builder.symbol(&event.name);
        let keys = keys(builder, &event.attributes);
        builder.add_event(index, name, event.time, pairs(&keys, &event.attributes));
        builder.set_dropped_of_last_event(event.dropped_attributes);
    }
    for link in &span.links {
        let keys = keys(builder, &link.attributes);
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

fn keys(builder: &mut TreeBuilder, attributes: &LooseAttributes<'_>) -> Vec<Symbol> {
    attributes
        .iter()
        .map(|(key, _)| builder.symbol(key))
        .collect()
}

fn pairs<'a>(
    keys: &'a [Symbol],
    attributes: &'a LooseAttributes<'_>,
) -> impl Iterator<Item = (Symbol, ValueRef<'a>)> {
    let values = attributes.iter().map(|(_, value)| value.as_ref());
    keys.iter().copied().zip(values)
}
