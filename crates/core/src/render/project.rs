//! Recorded fragments as the tree that one HiQ driver shows: its own spans, each under its nearest own ancestor.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Extras, HiqSpan, HiqTree, HiqTreeBuilder, float_repr, str_repr};
use crate::id::SpanId;
use crate::span::Span;
use crate::tree::{ColumnSpec, SpanTree};
use crate::value::ValueRef;

/// Which spans a tree shows, and which of their values.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Projection<'a> {
    /// Whether a span with this set of drivers is the driver's own.
    pub is_own: &'a (dyn Fn(u16) -> bool + Sync),
    /// The metric, by the name of its column; `None`: time, in seconds since the epoch.
    pub metric: Option<&'a str>,
    /// The column itself, where several have that name.
    pub column: Option<&'a Arc<ColumnSpec>>,
    /// Whether nodes carry their time as `start` and `end`, as HiQ's `attach_timestamp` has it.
    pub with_times: bool,
    /// What the driver calls a span, when that is not the name it was recorded under.
    pub renamed: &'a (dyn Fn(Span<'_>) -> Option<&'a str> + Sync),
    /// Whether nodes carry the exception that passed; without HiQ's `fast_fail` they do not.
    pub with_exceptions: bool,
    /// Attributes (`hiq.args`, ...) that nodes do not show, since another driver asked for them.
    pub hidden: &'a [&'a str],
}

impl<'a> Projection<'a> {
    /// The time tree of the spans that are `is_own`.
    pub fn new(is_own: &'a (dyn Fn(u16) -> bool + Sync)) -> Self {
        Self {
            is_own,
            metric: None,
            column: None,
            with_times: false,
            renamed: &|_| None,
            with_exceptions: true,
            hidden: &[],
        }
    }

    /// The same without these attributes.
    #[must_use]
    pub fn without(mut self, hidden: &'a [&'a str]) -> Self {
        self.hidden = hidden;
        self
    }

    /// The same of this very column, of those that share the metric's name.
    #[must_use]
    pub fn of_column(mut self, column: &'a Arc<ColumnSpec>) -> Self {
        (self.metric, self.column) = (Some(column.name.as_str()), Some(column));
        self
    }

    /// The same with or without the exceptions that passed.
    #[must_use]
    pub fn with_exceptions(mut self, with_exceptions: bool) -> Self {
        self.with_exceptions = with_exceptions;
        self
    }

    /// The same under other names.
    #[must_use]
    pub fn with_names(mut self, renamed: &'a (dyn Fn(Span<'_>) -> Option<&'a str> + Sync)) -> Self {
        self.renamed = renamed;
        self
    }

    /// The same of another metric.
    #[must_use]
    pub fn of_metric(mut self, metric: Option<&'a str>, with_times: bool) -> Self {
        (self.metric, self.with_times) = (metric, with_times);
        self
    }

    /// Draws up the tree; takes time in proportion to the spans, whatever their depth.
    pub fn tree(&self, builder: HiqTreeBuilder, fragments: &[Arc<SpanTree>]) -> HiqTree {
        let forest = Forest::of(fragments, self.is_own);
        let columns: Vec<_> = fragments
            .iter()
            .map(|fragment| self.column(fragment))
            .collect();
        let spans = forest.in_order().into_iter().map(|(place, parent)| {
            let (fragment, span) = forest.own[place];
            self.span(fragments[fragment].span(span), columns[fragment], parent)
        });
        // A name that HiQ's text cannot hold is the only error, and `span` leaves none.
        builder
            .clone()
            .spans(spans.flatten())
            .unwrap_or_else(|_| builder.build())
    }

    fn column<'t>(&self, fragment: &'t SpanTree) -> &'t [(f64, f64)] {
        let is_meant = |metric: &Arc<ColumnSpec>| match self.column {
            Some(column) => Arc::ptr_eq(metric, column),
            None => Some(metric.name.as_str()) == self.metric,
        };
        let column = fragment
            .columns()
            .iter()
            .find(|column| is_meant(&column.metric));
        column.map_or(&[], |column| &column.values)
    }

    fn span<'s>(
        &'s self,
        span: Option<Span<'s>>,
        values: &[(f64, f64)],
        parent: Option<usize>,
    ) -> Option<HiqSpan<'s>> {
        let span = span?;
        let times = (span.start().seconds(), span.end().seconds());
        let (start, end) = match self.metric {
            None => times,
            Some(_) => values
                .get(span.index() as usize)
                .copied()
                .unwrap_or((0.0, 0.0)),
        };
        let mut extras = self.extras_of(span);
        if self.with_times && self.metric.is_some() {
            extras.set("start", &float_repr(times.0));
            extras.set("end", &float_repr(times.1));
        }
        let name = (self.renamed)(span).unwrap_or_else(|| span.name().as_str());
        let name = name.split(',').next().unwrap_or(name);
        Some(HiqSpan {
            name,
            start,
            end: Some(end),
            parent,
            extras,
        })
    }

    fn extras_of(&self, span: Span<'_>) -> Extras {
        let mut extras = Extras::new();
        let is_wanted = |name: &str| {
            let is_exception = name.starts_with("hiq.exception");
            !self.hidden.contains(&name) && (self.with_exceptions || !is_exception)
        };
        for (key, value) in span.own_attributes() {
            let mut known = SHOWN.iter();
            let shown = known.find(|(name, ..)| *name == key.as_str() && is_wanted(name));
            if let (Some((_, name, is_python)), ValueRef::Text(text)) = (shown, value) {
                let text = text.as_str();
                let shown = if *is_python {
                    text.to_owned()
                } else {
                    str_repr(text)
                };
                extras.set(name, &shown);
            }
        }
        extras
    }
}

impl std::fmt::Debug for Projection<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projection")
            .field("metric", &self.metric)
            .finish_non_exhaustive()
    }
}

/// Attributes that HiQ shows behind a node, and the names it gives them. Those marked are Python already.
const SHOWN: [(&str, &str, bool); 6] = [
    ("hiq.args", "args", false),
    ("hiq.kwargs", "kwargs", false),
    ("hiq.caller_file", "file", false),
    ("hiq.caller_function", "function", false),
    ("hiq.exception_summary", "exception_summary", true),
    ("hiq.exception_trace", "exception_trace", false),
];

const NONE: u32 = u32::MAX;
const UNKNOWN: u32 = u32::MAX - 1;

/// The own spans of some fragments, and which of them each hangs under.
struct Forest {
    /// Fragment and index of each own span.
    own: Vec<(usize, usize)>,
    start: Vec<u64>,
    parent: Vec<u32>,
}

impl Forest {
    fn of(fragments: &[Arc<SpanTree>], is_own: &dyn Fn(u16) -> bool) -> Self {
        let mut forest = Self {
            own: Vec::new(),
            start: Vec::new(),
            parent: Vec::new(),
        };
        // The nearest own span of each span, itself included; filled as far as it is known.
        let mut nearest: Vec<Vec<u32>> = Vec::with_capacity(fragments.len());
        for (fragment, tree) in fragments.iter().enumerate() {
            let places = tree.spans().enumerate().map(|(index, span)| {
                if !is_own(span.drivers()) {
                    return UNKNOWN;
                }
                forest.own.push((fragment, index));
                forest.start.push(span.start().0);
                u32::try_from(forest.own.len() - 1).unwrap_or(NONE)
            });
            nearest.push(places.collect());
        }
        let elsewhere = Elsewhere::of(fragments);
        forest.parent = (0..forest.own.len())
            .map(
                |place| match elsewhere.parent(fragments, forest.own[place]) {
                    Some(parent) => resolve(fragments, &elsewhere, &mut nearest, parent),
                    None => NONE,
                },
            )
            .collect();
        forest
    }

    /// Own spans, parents first, children by their start, each with the position of its parent in this very order.
    fn in_order(&self) -> Vec<(usize, Option<usize>)> {
        let mut children: Vec<(u32, usize)> = self.parent.iter().copied().zip(0..).collect();
        children.sort_by_key(|(parent, place)| (*parent, self.start[*place], *place));
        let of = |parent: u32| {
            let first = children.partition_point(|(p, _)| *p < parent);
            let behind = children.partition_point(|(p, _)| *p <= parent);
            &children[first..behind]
        };
        let mut order = Vec::with_capacity(self.own.len());
        let mut open: Vec<(usize, Option<usize>)> = of(NONE)
            .iter()
            .rev()
            .map(|(_, place)| (*place, None))
            .collect();
        while let Some((place, parent)) = open.pop() {
            let position = order.len();
            order.push((place, parent));
            let children = of(u32::try_from(place).unwrap_or(NONE)).iter().rev();
            open.extend(children.map(|(_, child)| (*child, Some(position))));
        }
        order
    }
}

/// Walks outwards to a span whose nearest own span is known, and notes the answer at every span it passed.
fn resolve(
    fragments: &[Arc<SpanTree>],
    elsewhere: &Elsewhere,
    nearest: &mut [Vec<u32>],
    from: (usize, usize),
) -> u32 {
    let mut passed = Vec::new();
    let mut at = Some(from);
    let answer = loop {
        let Some((fragment, span)) = at else {
            break NONE;
        };
        match nearest[fragment][span] {
            UNKNOWN => {
                // Marked at once, so that ids that lead in a circle end the walk.
                nearest[fragment][span] = NONE;
                passed.push((fragment, span));
                at = elsewhere.parent(fragments, (fragment, span));
            }
            known => break known,
        }
    };
    for (fragment, span) in passed {
        nearest[fragment][span] = answer;
    }
    answer
}

/// Spans that are parents of spans in other fragments, by id.
struct Elsewhere(HashMap<SpanId, (usize, usize)>);

impl Elsewhere {
    fn of(fragments: &[Arc<SpanTree>]) -> Self {
        let outer = fragments.iter().flat_map(|fragment| fragment.spans());
        let outer = outer
            .filter(|span| span.parent_index().is_none())
            .filter_map(|span| span.parent_id());
        let mut places: HashMap<SpanId, (usize, usize)> =
            outer.map(|id| (id, (usize::MAX, 0))).collect();
        if !places.is_empty() {
            for (fragment, tree) in fragments.iter().enumerate() {
                for (index, span) in tree.spans().enumerate() {
                    if let Some(place) = places.get_mut(&span.id()) {
                        *place = (fragment, index);
                    }
                }
            }
        }
        places.retain(|_, place| place.0 != usize::MAX);
        Self(places)
    }

    fn parent(
        &self,
        fragments: &[Arc<SpanTree>],
        (fragment, span): (usize, usize),
    ) -> Option<(usize, usize)> {
        let view = fragments[fragment].span(span)?;
        match view.parent_index() {
            Some(parent) => Some((fragment, parent as usize)),
            None => self.0.get(&view.parent_id()?).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TraceId;
    use crate::intern::{SiteId, symbol};
    use crate::render::TimeFormat;
    use crate::tree::{SpanLimits, TreeBuilder, TreeStart};

    fn builder(trace: TraceId, parent: SpanId) -> TreeBuilder {
        let mut start = TreeStart::new(trace, Arc::default(), Arc::default());
        start.parent = parent;
        TreeBuilder::new(start, SpanLimits::default())
    }

    fn add(
        tree: &mut TreeBuilder,
        name: &str,
        drivers: u16,
        parent: Option<u32>,
        times: (u64, u64),
    ) -> u32 {
        let span = tree.start(symbol(name).unwrap(), SiteId::NONE, parent, times.0);
        tree.set_drivers(span, drivers);
        tree.end(span, times.1);
        span
    }

    fn names(tree: &HiqTree) -> Vec<(String, usize)> {
        let mut out = Vec::new();
        let mut open: Vec<_> = tree.root().children().map(|node| (node, 0)).collect();
        open.reverse();
        while let Some((node, level)) = open.pop() {
            out.push((node.name().to_owned(), level));
            let mut children: Vec<_> = node.children().map(|child| (child, level + 1)).collect();
            children.reverse();
            open.extend(children);
        }
        out
    }

    #[test]
    fn spans_of_others_are_left_out_and_their_children_move_up_also_across_fragments() {
        let trace = TraceId::random();
        let second = 1_000_000_000;
        let mut outer = builder(trace, SpanId::INVALID);
        let main = add(&mut outer, "__main", 1, None, (second, 9 * second));
        let foreign = add(
            &mut outer,
            "foreign",
            2,
            Some(main),
            (2 * second, 8 * second),
        );
        add(
            &mut outer,
            "__late",
            1,
            Some(foreign),
            (6 * second, 7 * second),
        );
        let mut inner = builder(trace, outer.span_id(foreign));
        let task = add(&mut inner, "task", 2, None, (3 * second, 5 * second));
        add(
            &mut inner,
            "__early",
            1,
            Some(task),
            (4 * second, 5 * second),
        );
        // A fragment that ends first arrives first.
        let fragments = [Arc::new(inner.finish()), Arc::new(outer.finish())];
        let tree = Projection::new(&|set| set == 1).tree(HiqTree::builder("time"), &fragments);
        let expected = [("__main", 0), ("__early", 1), ("__late", 1)]
            .map(|(name, level)| (name.to_owned(), level));
        assert_eq!(names(&tree), expected);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_fragments_is_drawn_up_in_one_pass() {
        let trace = TraceId::random();
        let mut parent = SpanId::INVALID;
        let mut fragments = Vec::new();
        for depth in 0..100_000_u64 {
            let mut one = builder(trace, parent);
            let span = add(
                &mut one,
                "__f",
                u16::from(depth % 2 == 0),
                None,
                (1 + depth, 1_000_000 - depth),
            );
            parent = one.span_id(span);
            fragments.push(Arc::new(one.finish()));
        }
        fragments.reverse();
        let tree =
            Projection::new(&|set| set == 1).tree(HiqTree::builder("time").mode(1), &fragments);
        assert_eq!(tree.depth(), 50_001);
    }

    #[test]
    fn extra_metrics_are_drawn_with_their_own_values_and_times() {
        use crate::tree::{ColumnKind, ColumnSpec};
        let mut one = builder(TraceId::random(), SpanId::INVALID);
        let span = add(
            &mut one,
            "__main",
            1,
            None,
            (1_636_000_000_123_456_000, 1_636_000_004_123_456_000),
        );
        let memory = Arc::new(ColumnSpec::new("get_memory_mb", "MBy", ColumnKind::Level));
        one.set_metric(span, &memory, 84.35156, 88.35156);
        let is_own = |set: u16| set == 1;
        let projection = Projection::new(&is_own).of_metric(Some("get_memory_mb"), true);
        let tree = projection.tree(HiqTree::builder("get_memory_mb"), &[Arc::new(one.finish())]);
        let options = crate::render::RenderOptions::new(TimeFormat::Timestamp);
        // The text of HiQ 1.1.14 for these values, from its behaviour reference (memory, attach_timestamp, timestamp).
        let expected = "                                   [  84.352 -   88.352]  [100.00%] 🟢_root_get_memory_mb(4.0000)\n\
                        [1636000000.123 - 1636000004.123]  [  84.352 -   88.352]  [100.00%]    l___main(4.0000)\n";
        assert_eq!(tree.graph(&options), expected);
    }
}
