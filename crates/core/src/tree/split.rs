//! Long-running roots: the finished spans of an open tree leave as a fragment, the open ones stay.
//!
//! Of the thousands of spans in such a tree only the few on the way to the innermost one are open. So the tree itself leaves,
//! with its memory, and the open spans move into another one.

use std::sync::Arc;

use super::build::assign;
use super::explicit::put;
use super::{Column, Entry, NONE, Node, OwnTree, Owned, Range, Rare, SpanTree, Tag, TreeBuilder};
use crate::id::SpanId;
use crate::pool;
use crate::wire::TextAt;

/// What [`TreeBuilder::split_finished`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Split {
    /// The finished spans.
    pub finished: Arc<SpanTree>,
    /// The spans that stayed, by their old index; each one's position is its new index.
    pub stayed: Vec<u32>,
}

impl Split {
    /// The new index of the span that had the index `old`; `None` when it left.
    #[expect(clippy::cast_possible_truncation, reason = "fewer than before")]
    pub fn place_of(&self, old: u32) -> Option<u32> {
        self.stayed
            .binary_search(&old)
            .ok()
            .map(|place| place as u32)
    }
}

impl TreeBuilder {
    /// Takes the finished spans out as a tree of their own; open spans stay and are numbered anew. `None` when no span is
    /// finished. Either way, what spans that were detached have left behind is gone. For recorders: columns that only decoders
    /// fill stay with neither.
    pub fn split_finished(&mut self) -> Option<Split> {
        let is_all_open = self.open as usize == self.tree.nodes.len();
        if is_all_open && self.left_behind == 0 {
            return None;
        }
        self.left_behind = 0;
        self.splits += 1;
        let moves = Moves::of(&self.tree.nodes);
        let rest = self.tree.sibling_with(&moves);
        let mut leaving = std::mem::replace(&mut self.tree, rest);
        if is_all_open {
            return None;
        }
        leaving.leave_without(&moves);
        let finished = Self::filling(leaving, self.limits);
        Some(Split {
            finished: finished.finish_shared(),
            stayed: moves.stayed,
        })
    }
}

/// Where each span of a tree that is split goes. A table, since every node and item asks.
struct Moves {
    /// The open spans, by their old index; each one's position is its new index.
    stayed: Vec<u32>,
    /// By old index: the new one in the tree that leaves, or, with [`STAYS`], in the one that stays.
    to: Vec<u32>,
}

const STAYS: u32 = 1 << 31;

impl Moves {
    #[expect(clippy::cast_possible_truncation, reason = "below 2^28")]
    fn of(nodes: &[Node]) -> Self {
        let mut stayed = Vec::new();
        let mut to = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            if node.is_open() {
                to.push(stayed.len() as u32 | STAYS);
                stayed.push(index as u32);
            } else {
                to.push((index - stayed.len()) as u32);
            }
        }
        Self { stayed, to }
    }

    /// The new index of an open span; `None` for one that leaves, or that there is not.
    #[inline]
    fn place_of_stayed(&self, old: u32) -> Option<u32> {
        let to = *self.to.get(old as usize)?;
        (to & STAYS != 0).then_some(to & !STAYS)
    }

    /// The new index of a span that leaves.
    #[inline]
    fn place_of_left(&self, old: u32) -> Option<u32> {
        self.to
            .get(old as usize)
            .copied()
            .filter(|to| to & STAYS == 0)
    }
}

impl SpanTree {
    /// A tree of the spans that stay; what belongs to them moves there.
    fn sibling_with(&mut self, moves: &Moves) -> OwnTree {
        let mut own = pool::take_large().unwrap_or_else(|| Self::empty().into());
        let rest = &mut *own;
        rest.be_of_the_trace_of(self);
        rest.root = self.root_id();
        for old in &moves.stayed {
            let mut node = self.nodes[*old as usize];
            // The parent of an open span is open.
            node.parent = moves.place_of_stayed(node.parent).unwrap_or(NONE);
            rest.nodes.push(node);
        }
        let (attributes, stayed) = (&mut self.attributes, &mut rest.attributes);
        if !attributes.move_to(stayed, &moves.stayed, self.nodes.len()) {
            part(attributes.items_mut(), stayed.items_mut(), moves);
        }
        if let Some(rare) = self.known_rare_mut() {
            rare.part_with(rest.rare_mut(), moves);
        }
        rest.adopt_all(self);
        own
    }

    /// This tree, which is empty, hangs where `other` hangs, and is recorded by the same thread. Symbols mean the same in both.
    pub(super) fn be_of_the_trace_of(&mut self, other: &Self) {
        self.trace_id = other.trace_id;
        self.parent = other.parent;
        self.parent_is_remote = other.parent_is_remote;
        self.trace_flags = other.trace_flags;
        self.is_debug = other.is_debug;
        assign(&mut self.resource, &other.resource);
        assign(&mut self.scope, &other.scope);
        self.thread = other.thread;
        self.root = SpanId::INVALID;
        self.scale = other.scale;
        for place in &other.rare().local_symbols {
            let moved = self.texts.push(other.texts.text(*place).as_str());
            self.rare_mut().local_symbols.extend(moved);
        }
        self.trace_state = other.trace_state;
    }

    /// Brings over the texts, values and parts that this tree's entries point to in `old`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fewer than in the old tree"
    )]
    pub(super) fn adopt_all(&mut self, old: &Self) {
        let mut attributes = std::mem::take(&mut self.attributes);
        for entry in attributes.items_to_rewrite() {
            self.adopt(entry, old);
        }
        self.attributes = attributes;
        let Some(rare) = self.known_rare_mut() else {
            return;
        };
        let mut parts = std::mem::take(&mut rare.part_attributes);
        let of_events = rare.events.items_mut().iter_mut();
        let of_events = of_events.map(|event| &mut event.attributes);
        let of_links = rare.links.items_mut().iter_mut();
        let of_links = of_links.map(|link| &mut link.attributes);
        for range in of_events.chain(of_links) {
            let start = parts.len() as u32;
            parts.extend_from_slice(old.part_attributes(*range));
            *range = Range {
                start,
                end: parts.len() as u32,
            };
        }
        let mut messages = std::mem::take(&mut rare.messages);
        for entry in messages.iter_mut().chain(&mut parts) {
            self.adopt(entry, old);
        }
        let rare = self.rare_mut();
        (rare.messages, rare.part_attributes) = (messages, parts);
    }

    #[expect(clippy::cast_possible_truncation, reason = "an index was stored")]
    fn adopt(&mut self, entry: &mut Entry, old: &Self) {
        match entry.tag() {
            Tag::Text => {
                let text = old.texts.text(TextAt::from_bits(entry.value));
                if let Some(place) = self.texts.push(text.as_str()) {
                    entry.value = place.to_bits();
                }
            }
            Tag::Rich => {
                let rich = &mut self.rare_mut().rich;
                rich.extend(old.rare().rich.get(entry.value as usize).cloned());
                entry.value = rich.len() as u64 - 1;
            }
            Tag::Symbol | Tag::Int | Tag::Bool | Tag::F64 => {}
        }
    }

    /// Becomes a fragment of its own, without the spans that stay: what hung under one of them names its parent by id.
    #[expect(clippy::cast_possible_truncation, reason = "below 2^28")]
    fn leave_without(&mut self, moves: &Moves) {
        let ids: Vec<SpanId> = moves
            .stayed
            .iter()
            .map(|open| self.nodes[*open as usize].id)
            .collect();
        let outer = |parent| Some(ids[moves.place_of_stayed(parent)? as usize]);
        // Most often all hang under one open span, which then is the parent of the whole fragment.
        self.parent = self
            .nodes
            .iter()
            .filter(|node| !node.is_open())
            .find_map(|node| outer(node.parent))
            .unwrap_or(self.parent);
        self.parent_is_remote = false;
        self.root = self.root_id();
        let mut kept = 0;
        for index in 0..self.nodes.len() {
            let mut node = self.nodes[index];
            if node.is_open() {
                continue;
            }
            match moves.place_of_left(node.parent) {
                Some(parent) => node.parent = parent,
                None => {
                    let parent = outer(node.parent);
                    node.parent = NONE;
                    if let Some(parent) = parent.filter(|parent| *parent != self.parent) {
                        let fill = self.parent;
                        let explicit = self.rare_mut().explicit.get_or_insert_default();
                        put(&mut explicit.parent, kept as u32, parent, fill);
                    }
                }
            }
            self.nodes[kept] = node;
            kept += 1;
        }
        self.nodes.truncate(kept);
        let rare = self.known_rare_mut();
        for column in rare.into_iter().flat_map(|rare| &mut rare.columns) {
            let mut index = 0;
            column.values.retain(|_| {
                index += 1;
                moves.place_of_stayed(index - 1).is_none()
            });
        }
    }
}

impl Rare {
    /// What belongs to the spans that stay moves over to `stayed`.
    fn part_with(&mut self, stayed: &mut Self, moves: &Moves) {
        part(&mut self.messages, &mut stayed.messages, moves);
        part(self.events.items_mut(), stayed.events.items_mut(), moves);
        part(self.links.items_mut(), stayed.links.items_mut(), moves);
        for column in &self.columns {
            let value = |old: &u32| column.values.get(*old as usize).copied();
            let values = moves.stayed.iter();
            stayed.columns.push(Column {
                metric: Arc::clone(&column.metric),
                values: values.map(|old| value(old).unwrap_or(NOT_READ)).collect(),
            });
        }
    }
}

const NOT_READ: (f64, f64) = (f64::NAN, f64::NAN);

/// Moves the items of the spans that stay to the end of `stayed`. All get the new numbers of their spans.
fn part<T: Owned>(items: &mut Vec<T>, stayed: &mut Vec<T>, moves: &Moves) {
    let mut kept = 0;
    for index in 0..items.len() {
        let mut item = items[index];
        match moves.place_of_left(item.owner()) {
            Some(place) => {
                item.set_owner(place);
                items[kept] = item;
                kept += 1;
            }
            None => {
                item.set_owner(moves.place_of_stayed(item.owner()).unwrap_or(0));
                stayed.push(item);
            }
        }
    }
    items.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TraceId;
    use crate::intern::{SiteId, symbol};
    use crate::span::Status;
    use crate::tree::{ColumnKind, ColumnSpec, SpanLimits, TreeStart};
    use crate::value::{Value, ValueRef};

    /// What the test itself wrote down of a span.
    #[derive(Clone, Debug, PartialEq)]
    struct Noted {
        id: SpanId,
        parent: Option<SpanId>,
        label: String,
        metric: f64,
    }

    #[test]
    fn finished_spans_leave_with_all_that_is_theirs_and_open_ones_keep_theirs() {
        let outer = SpanId(77);
        let mut start = TreeStart::new(TraceId::random(), Arc::default(), Arc::default());
        start.parent = outer;
        let mut builder = TreeBuilder::new(start, SpanLimits::default());
        let metric = Arc::new(ColumnSpec::new("m", "1", ColumnKind::Level));
        let mut noted: Vec<Noted> = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let mut random = 7_u32;
        let mut fragments = Vec::new();
        for step in 0..2_000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let closes = open.len() > 1 && random >> 30 == 0 || open.len() > 40;
            if closes {
                builder.end(open.pop().unwrap(), u64::from(step) + 2);
            } else {
                let parent = open.last().copied();
                let span = builder.start(
                    symbol("s").unwrap(),
                    SiteId::NONE,
                    parent,
                    u64::from(step) + 1,
                );
                let label = format!("label {step}");
                builder.set_attribute(span, symbol("label").unwrap(), ValueRef::Str(&label));
                builder.add_event(
                    span,
                    symbol("e").unwrap(),
                    5,
                    [(symbol("in").unwrap(), ValueRef::Str(&label))],
                );
                builder.set_attribute(
                    span,
                    symbol("list").unwrap(),
                    Value::Array(vec![label.as_str().into()]).as_ref(),
                );
                builder.set_status(span, Status::Error, &label);
                builder.set_metric(span, &metric, f64::from(step), 0.0);
                noted.push(Noted {
                    id: builder.span_id(span),
                    parent: parent.map_or(Some(outer), |parent| Some(builder.span_id(parent))),
                    label,
                    metric: f64::from(step),
                });
                open.push(span);
            }
            if random >> 24 == 3
                && let Some(split) = builder.split_finished()
            {
                open = open
                    .iter()
                    .map(|span| split.place_of(*span).unwrap())
                    .collect();
                fragments.push(split.finished);
            }
        }
        assert!(fragments.len() > 3, "the test splits");
        for span in open.into_iter().rev() {
            builder.end(span, 9_999);
        }
        fragments.push(builder.finish_shared());
        let mut read: Vec<Noted> = fragments
            .iter()
            .flat_map(|tree| tree.spans().map(note_of))
            .collect();
        read.sort_by_key(|span| span.id);
        noted.sort_by_key(|span| span.id);
        assert_eq!(read, noted);
    }

    /// Of each span its own, by its id: keys and last values.
    type Said = std::collections::BTreeMap<SpanId, Vec<(String, Value)>>;

    fn say(said: &mut Said, builder: &mut TreeBuilder, span: u32, (key, value): (i64, i64)) {
        let name = format!("split key {key}");
        builder.set_attribute(span, symbol(&name).unwrap(), ValueRef::Int(value));
        let own = said.entry(builder.span_id(span)).or_default();
        match own.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = Value::Int(value),
            None => own.push((name, Value::Int(value))),
        }
    }

    #[test]
    fn attributes_stay_with_their_spans_over_many_splits_whether_or_not_they_were_set_in_order() {
        for sets_outer_ones_late in [false, true] {
            let start = TreeStart::new(TraceId::random(), Arc::default(), Arc::default());
            let mut builder = TreeBuilder::new(start, SpanLimits::default());
            let (mut said, mut fragments, mut random) = (Said::new(), Vec::new(), 11_u32);
            let mut open = vec![builder.start(symbol("s").unwrap(), SiteId::NONE, None, 1)];
            for step in 2..3_000_u32 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let tick = u64::from(step);
                if open.len() > 1 && random >> 31 == 0 {
                    builder.end(open.pop().unwrap(), tick);
                } else {
                    let parent = open.last().copied();
                    let span = builder.start(symbol("s").unwrap(), SiteId::NONE, parent, tick);
                    open.push(span);
                    // None, one, two, or two of one key.
                    for number in 0..i64::from(random >> 20 & 3) {
                        let key = if random >> 19 & 1 == 0 { 0 } else { number };
                        say(
                            &mut said,
                            &mut builder,
                            span,
                            (key, i64::from(step) + number),
                        );
                    }
                }
                if sets_outer_ones_late && random >> 25 == 5 {
                    let outer = open[open.len() / 2];
                    say(&mut said, &mut builder, outer, (9, i64::from(step)));
                }
                if random >> 25 == 9
                    && let Some(split) = builder.split_finished()
                {
                    let moved = open.iter().map(|span| split.place_of(*span).unwrap());
                    open = moved.collect();
                    fragments.push(split.finished);
                }
            }
            assert!(fragments.len() > 5, "the test splits");
            fragments.push(Arc::new(builder.finish_unfinished(9_999)));
            let mut read = Said::new();
            for span in fragments.iter().flat_map(|tree| tree.spans()) {
                let own = span.own_attributes();
                let own: Vec<_> = own
                    .filter(|(key, _)| key.as_str() != "hiq.unfinished")
                    .map(|(key, value)| (key.as_str().to_owned(), value.to_value()))
                    .collect();
                if !own.is_empty() {
                    assert!(read.insert(span.id(), own).is_none(), "a span leaves once");
                }
            }
            assert_eq!(read, said);
        }
    }

    fn note_of(span: crate::span::Span<'_>) -> Noted {
        let attribute = |name: &str| {
            span.own_attributes()
                .find(|(key, _)| key.as_str() == name)
                .unwrap()
                .1
                .to_value()
        };
        let Value::Str(label) = attribute("label") else {
            panic!("a text")
        };
        assert_eq!(attribute("list"), Value::Array(vec![label.as_str().into()]));
        assert_eq!(span.status_message().unwrap().as_str(), label);
        let event = span.events().next().unwrap();
        assert_eq!(
            event.attributes().next().unwrap().1.to_value(),
            Value::Str(label.clone())
        );
        let metric = span.tree().columns()[0].values[span.index() as usize].0;
        Noted {
            id: span.id(),
            parent: span.parent_id(),
            label,
            metric,
        }
    }
}
