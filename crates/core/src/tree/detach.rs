//! A coroutine that waits leaves the tree of its caller: its span and all that is inside it become a tree of their own.
//!
//! Spans are numbered in the order of their start. Whatever starts while a span is the innermost open one, or while one
//! inside it is, stands behind it: what belongs to a branch is the end of the arena.

use std::sync::Arc;

use super::{Column, NONE, Owned, Rare, SpanTree, TreeBuilder};
use crate::pool;
use crate::value::Value;

/// How much was said of a tree's spans when a branch began. What belongs to the branch was said later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    attributes: usize,
    events: usize,
    links: usize,
    splits: u32,
}

impl TreeBuilder {
    /// What [`TreeBuilder::detach`] wants to know of the moment before the branch began.
    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        let rare = self.tree.rare();
        Mark {
            attributes: self.tree.attributes.items().len(),
            events: rare.events.items().len(),
            links: rare.links.items().len(),
            splits: self.splits,
        }
    }

    /// Takes the span `first` and all later ones out, which must be inside it, as a tree that hangs under the parent of
    /// `first`. They are numbered from zero on there. `None` when `first` is not in this tree or has no parent in it.
    pub(crate) fn detach(&mut self, first: u32, began: Mark) -> Option<Self> {
        let outer = self.span_id(self.parent_index(first)?);
        let mut branch = pool::take().unwrap_or_else(|| SpanTree::empty().into());
        branch.be_of_the_trace_of(&self.tree);
        branch.parent = outer;
        branch.parent_is_remote = false;
        // A split has put things elsewhere.
        let is_known = began.splits == self.splits;
        let began = if is_known { began } else { Mark::default() };
        let open = branch.take_over(&mut self.tree, first, began);
        self.open -= open;
        self.left_behind += branch.bytes_beside_items();
        let mut branch = Self::filling(branch, self.limits);
        branch.open = open;
        Some(branch)
    }

    /// Texts and the like of spans that were detached, which stay in the tree's tables until [`TreeBuilder::split_finished`].
    pub(crate) fn left_behind(&self) -> usize {
        self.left_behind
    }
}

impl SpanTree {
    /// Moves the spans of `other` from `first` on into this tree, which is empty. Returns how many of them are open.
    fn take_over(&mut self, other: &mut Self, first: u32, began: Mark) -> u32 {
        let at = (first as usize).min(other.nodes.len());
        let mut open = 0;
        for mut node in other.nodes.drain(at..) {
            let inside = node
                .parent_index()
                .and_then(|parent| parent.checked_sub(first));
            node.parent = inside.unwrap_or(NONE);
            open += u32::from(node.is_open());
            self.nodes.push(node);
        }
        let items = self.attributes.items_mut();
        move_items(other.attributes.items_mut(), began.attributes, items, first);
        if let Some(rare) = other.known_rare_mut() {
            self.rare_mut().take_over(rare, first, began);
        }
        self.adopt_all(other);
        open
    }

    /// What its attributes, events and links point to.
    fn bytes_beside_items(&self) -> usize {
        let rare = self.rare();
        self.texts.len()
            + size_of_val(rare.part_attributes.as_slice())
            + rare.rich.iter().map(Value::heap_bytes).sum::<usize>()
    }
}

impl Rare {
    fn take_over(&mut self, other: &mut Self, first: u32, began: Mark) {
        // One for each failed span, and a new one takes the old one out.
        move_items(&mut other.messages, 0, &mut self.messages, first);
        let (events, links) = (self.events.items_mut(), self.links.items_mut());
        move_items(other.events.items_mut(), began.events, events, first);
        move_items(other.links.items_mut(), began.links, links, first);
        for column in &mut other.columns {
            let at = column.values.len().min(first as usize);
            let values = column.values.split_off(at);
            if !values.is_empty() {
                let metric = Arc::clone(&column.metric);
                self.columns.push(Column { metric, values });
            }
        }
    }
}

/// Moves those of the items from `from` on that belong to a span from `first` on, numbered anew.
fn move_items<T: Owned>(items: &mut Vec<T>, from: usize, moved: &mut Vec<T>, first: u32) {
    let mut kept = from;
    for at in from..items.len() {
        let mut item = items[at];
        match item.owner().checked_sub(first) {
            Some(owner) => {
                item.set_owner(owner);
                moved.push(item);
            }
            None => {
                items[kept] = item;
                kept += 1;
            }
        }
    }
    items.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SpanId, TraceId};
    use crate::intern::{SiteId, Symbol, symbol};
    use crate::span::{Span, Status};
    use crate::tree::{ColumnKind, ColumnSpec, SpanLimits, TreeStart};
    use crate::value::ValueRef;

    fn key(name: &str) -> Symbol {
        symbol(name).unwrap()
    }

    /// What the test itself wrote down of a span.
    #[derive(Clone, Debug, PartialEq)]
    struct Noted {
        id: SpanId,
        parent: Option<SpanId>,
        labels: Vec<String>,
        metric: f64,
    }

    /// A tree of calls that are begun and ended as the random numbers will, some of them leaving with all that is inside them.
    struct Program {
        builder: TreeBuilder,
        open: Vec<(u32, Mark)>,
        noted: Vec<Noted>,
        metric: Arc<ColumnSpec>,
        next_label: u32,
    }

    impl Program {
        fn new(outer: SpanId) -> Self {
            let mut start = TreeStart::new(TraceId::random(), Arc::default(), Arc::default());
            start.parent = outer;
            start.parent_is_remote = true;
            start.trace_state = "vendor=1".to_owned();
            Self {
                builder: TreeBuilder::new(start, SpanLimits::default()),
                open: Vec::new(),
                noted: Vec::new(),
                metric: Arc::new(ColumnSpec::new("m", "1", ColumnKind::Level)),
                next_label: 0,
            }
        }

        fn begin(&mut self, outer: SpanId) {
            let parent = self.open.last().map(|(span, _)| *span);
            let mark = self.builder.mark();
            let tick = self.builder.len() as u64 + 1;
            let span = self.builder.start(key("call"), SiteId::NONE, parent, tick);
            let metric = f64::from(self.next_label);
            self.builder.set_metric(span, &self.metric, metric, 0.0);
            self.noted.push(Noted {
                id: self.builder.span_id(span),
                parent: parent.map_or(Some(outer), |parent| Some(self.builder.span_id(parent))),
                labels: Vec::new(),
                metric,
            });
            self.open.push((span, mark));
            self.describe(span);
        }

        /// Gives an open span one of each kind of thing, all of which say the same.
        fn describe(&mut self, span: u32) {
            let label = format!("label {}", self.next_label);
            self.next_label += 1;
            let text = ValueRef::Str(&label);
            let builder = &mut self.builder;
            builder.set_attribute(span, key(&label), text);
            builder.set_attribute(
                span,
                key("list"),
                Value::Array(vec![label.as_str().into()]).as_ref(),
            );
            builder.add_event(span, key("e"), 5, [(key("in"), text)]);
            builder.set_status(span, Status::Error, &label);
            let linked = (TraceId::random(), SpanId(7));
            builder.add_link(span, linked, "a=b", 1, [(key("in"), text)]);
            let id = builder.span_id(span);
            let noted = self.noted.iter_mut().find(|noted| noted.id == id);
            noted.unwrap().labels.push(label);
        }

        /// Takes the open span at `depth` out; what was open inside it ends there.
        fn detach(&mut self, depth: usize) -> Arc<SpanTree> {
            let (first, began) = self.open[depth];
            let before = self.builder.len();
            let mut branch = self.builder.detach(first, began).unwrap();
            assert_eq!(branch.len() + self.builder.len(), before);
            let inside = self.open.split_off(depth);
            assert_eq!(branch.open_spans() as usize, inside.len());
            assert_eq!(self.builder.open_spans() as usize, self.open.len());
            inside
                .iter()
                .rev()
                .for_each(|(span, _)| branch.end(span - first, 9_999));
            branch.finish_shared()
        }
    }

    fn texts<'a>(
        attributes: impl Iterator<Item = (crate::wire::Text<'a>, ValueRef<'a>)>,
    ) -> Vec<String> {
        attributes
            .filter_map(|(_, value)| match value {
                ValueRef::Text(text) => Some(text.as_str().to_owned()),
                _ => None,
            })
            .collect()
    }

    fn note_of(span: Span<'_>) -> Noted {
        let labels = texts(span.own_attributes());
        let events: Vec<String> = span
            .events()
            .flat_map(|event| texts(event.attributes()))
            .collect();
        let links: Vec<String> = span
            .links()
            .flat_map(|link| texts(link.attributes()))
            .collect();
        assert_eq!((&events, &links), (&labels, &labels));
        let last = labels.last().unwrap();
        assert_eq!(span.status_message().unwrap().as_str(), last);
        let list = span
            .own_attributes()
            .find(|(key, _)| key.as_str() == "list");
        assert_eq!(
            list.unwrap().1.to_value(),
            Value::Array(vec![last.as_str().into()])
        );
        assert_eq!(span.trace_state().unwrap().as_str(), "vendor=1");
        Noted {
            id: span.id(),
            parent: span.parent_id(),
            labels,
            metric: span.tree().columns()[0].values[span.index() as usize].0,
        }
    }

    #[test]
    fn a_branch_leaves_with_all_that_is_its_own_and_the_rest_keeps_what_is_theirs() {
        let outer = SpanId(77);
        let mut program = Program::new(outer);
        let mut trees = Vec::new();
        let mut random = 11_u32;
        for _ in 0..2_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let depth = program.open.len();
            match random >> 29 {
                0 | 1 if depth > 1 => {
                    let (span, _) = program.open.pop().unwrap();
                    program.builder.end(span, 9_000);
                }
                2 if depth > 1 => {
                    let at = 1 + (random >> 8) as usize % (depth - 1);
                    trees.push(program.detach(at));
                }
                // Things are said of outer spans too, while inner ones are open.
                3 if depth > 0 => {
                    let (span, _) = program.open[(random >> 8) as usize % depth];
                    program.describe(span);
                }
                _ => program.begin(outer),
            }
        }
        assert!(trees.len() > 50 && trees.iter().any(|tree| tree.len() > 5));
        let own_trace = program.builder.trace_id();
        for tree in &trees {
            assert_eq!(tree.trace_id(), own_trace);
            assert!(!tree.span(0).unwrap().has_remote_parent());
        }
        for (span, _) in std::mem::take(&mut program.open).into_iter().rev() {
            program.builder.end(span, 9_999);
        }
        let rest = program.builder.finish_shared();
        assert!(rest.span(0).unwrap().has_remote_parent());
        trees.push(rest);
        let mut read: Vec<Noted> = trees
            .iter()
            .flat_map(|tree| tree.spans().map(note_of))
            .collect();
        read.sort_by_key(|span| span.id);
        program.noted.sort_by_key(|span| span.id);
        assert_eq!(read, program.noted);
    }

    #[test]
    fn a_root_and_a_span_that_there_is_not_do_not_leave() {
        let mut program = Program::new(SpanId(77));
        program.begin(SpanId(77));
        let mark = Mark::default();
        assert!(program.builder.detach(0, mark).is_none());
        assert!(program.builder.detach(1, mark).is_none());
        assert_eq!(program.builder.len(), 1);
    }
}
