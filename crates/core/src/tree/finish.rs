//! The end of a tree: everything stands by its span, and no span has more than the limits allow.

use std::sync::Arc;

use super::build::TreeBuilder;
use super::{Entry, Grouped, OwnTree, Owned, Rare, SpanTree};
use crate::span::Dropped;

/// Which of the counts.
type Count = fn(&mut Dropped) -> &mut u32;

impl TreeBuilder {
    /// Groups everything by span and applies the limits.
    pub fn finish(self) -> SpanTree {
        self.finish_in_place().into_inner()
    }

    /// The same, for a tree that several will hold: it is not moved.
    #[inline]
    pub fn finish_shared(self) -> Arc<SpanTree> {
        self.finish_in_place().share()
    }

    /// What most trees need is done to the tree alone, so that the builder is not moved for it.
    #[inline]
    fn finish_in_place(self) -> OwnTree {
        let Self {
            mut tree, limits, ..
        } = self;
        let too_many = tree.group_attributes(limits.attributes);
        if too_many || tree.known_rare_mut().is_some() {
            Self::filling(tree, limits).finish_the_rest(too_many)
        } else {
            tree
        }
    }

    #[inline(never)]
    fn finish_the_rest(mut self, too_many_attributes: bool) -> OwnTree {
        let (spans, limits) = (self.tree.nodes.len(), self.limits);
        if too_many_attributes {
            self.trim_attributes(spans);
        }
        if let Some(rare) = self.tree.known_rare_mut() {
            rare.messages.sort_by_key(Owned::owner);
            let has_many_events = rare.events.group(spans, limits.events);
            let has_many_links = rare.links.group(spans, limits.links);
            if has_many_events {
                let count: Count = |dropped| &mut dropped.events;
                self.trim(spans, |rare| &mut rare.events, limits.events, count);
            }
            if has_many_links {
                let count: Count = |dropped| &mut dropped.links;
                self.trim(spans, |rare| &mut rare.links, limits.links, count);
            }
        }
        self.tree
    }

    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "below 2^28")]
    fn trim_attributes(&mut self, spans: usize) {
        let limit = self.limits.attributes;
        let groups = std::mem::take(&mut self.tree.attributes);
        let mut kept = Vec::with_capacity(groups.items().len());
        for span in 0..spans as u32 {
            let start = kept.len();
            kept.extend_from_slice(groups.of(span));
            let dropped = keep_last_of_each_key(&mut kept, start, limit);
            self.count_dropped(span, dropped, |counts| &mut counts.attributes);
        }
        *self.tree.attributes.items_mut() = kept;
        self.tree.attributes.group(spans, u32::MAX);
    }

    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "below 2^28")]
    fn trim<T: Owned>(
        &mut self,
        spans: usize,
        groups: fn(&mut Rare) -> &mut Grouped<T>,
        limit: u32,
        count: Count,
    ) {
        let all = std::mem::take(groups(self.tree.rare_mut()));
        let mut kept = Vec::with_capacity(all.items().len());
        for span in 0..spans as u32 {
            let own = all.of(span);
            let keep = own.len().min(limit as usize);
            kept.extend_from_slice(&own[..keep]);
            self.count_dropped(span, (own.len() - keep) as u32, count);
        }
        let groups = groups(self.tree.rare_mut());
        *groups.items_mut() = kept;
        groups.group(spans, u32::MAX);
    }

    fn count_dropped(&mut self, span: u32, more: u32, count: Count) {
        if more > 0 {
            let mut dropped = self.tree.dropped_of(span);
            *count(&mut dropped) += more;
            self.set_dropped(span, dropped);
        }
    }
}

impl SpanTree {
    /// Puts attributes to their spans. True when a span has more than `limit` of them, or two of one key.
    fn group_attributes(&mut self, limit: u32) -> bool {
        let attributes = &mut self.attributes;
        attributes.give_up_room();
        attributes.group(self.nodes.len(), limit)
            && has_too_many_or_repeated(attributes.items(), limit)
    }
}

/// Of the entries from `start` on: the last value of each key at the place of its first, no more than `limit` keys.
/// Returns how many keys were dropped.
pub(super) fn keep_last_of_each_key(entries: &mut Vec<Entry>, start: usize, limit: u32) -> u32 {
    let mut kept = start;
    let mut dropped = 0;
    for at in start..entries.len() {
        let entry = entries[at];
        match entries[start..kept]
            .iter()
            .position(|earlier| earlier.key == entry.key)
        {
            Some(place) => entries[start + place] = entry,
            None if kept - start >= limit as usize => dropped += 1,
            None => {
                entries[kept] = entry;
                kept += 1;
            }
        }
    }
    entries.truncate(kept);
    dropped
}

/// True when a span has more than `limit` of these entries, or two of one key.
fn has_too_many_or_repeated(entries: &[Entry], limit: u32) -> bool {
    entries.chunk_by(|a, b| a.owner() == b.owner()).any(|own| {
        let repeated =
            |(at, entry): (usize, &Entry)| own[..at].iter().any(|earlier| earlier.key == entry.key);
        own.len() > limit as usize || own.iter().enumerate().any(repeated)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::id::TraceId;
    use crate::intern::{SiteId, Symbol, symbol};
    use crate::tree::{SpanLimits, TreeStart};
    use crate::value::{Value, ValueRef};

    fn builder(limits: SpanLimits) -> TreeBuilder {
        let start = TreeStart::new(TraceId::random(), Arc::default(), Arc::default());
        TreeBuilder::new(start, limits)
    }

    fn key(number: i64) -> Symbol {
        symbol(&format!("finish key {number}")).unwrap()
    }

    fn open(builder: &mut TreeBuilder, parent: Option<u32>) -> u32 {
        builder.start(symbol("finish").unwrap(), SiteId::NONE, parent, 1)
    }

    fn read(tree: &SpanTree, span: usize) -> Vec<(String, Value)> {
        let attributes = tree.span(span).unwrap();
        let attributes = attributes.own_attributes();
        attributes
            .map(|(key, value)| (key.as_str().to_owned(), value.to_value()))
            .collect()
    }

    #[test]
    fn attributes_stand_by_their_span_in_the_order_of_setting_whatever_the_order_of_the_spans() {
        let mut builder = builder(SpanLimits::default());
        let mut expected: BTreeMap<u32, Vec<(String, Value)>> = BTreeMap::new();
        let mut open_spans = vec![open(&mut builder, None)];
        let mut random = 3_u32;
        for number in 0..500 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The 500 keys are far more than there are marks, so that different keys share some.
            let owner = open_spans[(random >> 16) as usize % open_spans.len()];
            builder.set_attribute(owner, key(number), ValueRef::Int(number));
            let pair = (format!("finish key {number}"), Value::Int(number));
            expected.entry(owner).or_default().push(pair);
            if random >> 30 == 0 {
                let parent = open_spans.last().copied();
                open_spans.push(open(&mut builder, parent));
            }
        }
        assert!(open_spans.len() > 20);
        let tree = builder.finish();
        for span in open_spans {
            let own = expected.remove(&span).unwrap_or_default();
            assert_eq!(read(&tree, span as usize), own);
        }
    }

    #[test]
    fn what_only_the_first_span_has_is_not_its_childrens() {
        let mut builder = builder(SpanLimits::default());
        let root = open(&mut builder, None);
        open(&mut builder, Some(root));
        for number in 0..2 {
            builder.set_attribute(root, key(number), ValueRef::Int(number));
        }
        builder.add_event(root, key(0), 5, []);
        let tree = builder.finish();
        assert_eq!(read(&tree, 0).len(), 2);
        assert_eq!(read(&tree, 1), []);
        let events = |span| tree.span(span).unwrap().events().count();
        assert_eq!((events(0), events(1)), (1, 0));
    }

    #[test]
    fn a_span_taken_back_leaves_nothing_to_the_one_in_its_place() {
        for late in [false, true] {
            let mut builder = builder(SpanLimits::default());
            let root = open(&mut builder, None);
            builder.set_attribute(root, key(1), ValueRef::Int(1));
            let short = open(&mut builder, Some(root));
            builder.set_attribute(short, key(2), ValueRef::Int(2));
            if late {
                builder.set_attribute(root, key(3), ValueRef::Int(3));
            }
            assert!(builder.take_back(short));
            let next = open(&mut builder, Some(root));
            assert_eq!(next, short);
            builder.set_attribute(next, key(4), ValueRef::Int(4));
            let tree = builder.finish();
            let pair = |number: i64| (format!("finish key {number}"), Value::Int(number));
            let of_root = if late {
                vec![pair(1), pair(3)]
            } else {
                vec![pair(1)]
            };
            assert_eq!(read(&tree, 0), of_root);
            assert_eq!(read(&tree, 1), [pair(4)]);
        }
    }

    #[test]
    fn spans_with_attributes_in_the_order_of_their_start_keep_to_their_own() {
        let mut builder = builder(SpanLimits::default());
        let root = open(&mut builder, None);
        // Two keys of one mark in one span, none in the next, one each in two calls.
        let (first, second) = (Symbol(1 << 20), Symbol(1 << 20 | 64));
        let mut expected = Vec::new();
        for number in 0..30_i64 {
            let span = open(&mut builder, Some(root));
            let own = match number % 3 {
                0 => vec![first, second],
                1 => vec![],
                _ => vec![first, key(7)],
            };
            for key in &own {
                builder.set_attribute(span, *key, ValueRef::Int(number));
            }
            expected.push((span, own, Value::Int(number)));
        }
        let tree = builder.finish();
        for (span, keys, value) in expected {
            let own = tree.attributes.of(span);
            assert!(own.iter().map(|entry| entry.key).eq(keys));
            assert!(
                own.iter()
                    .all(|entry| tree.value(entry).to_value() == value)
            );
        }
    }

    #[test]
    fn attributes_that_were_being_set_when_a_program_panicked_are_lost_and_no_others() {
        let mut builder = builder(SpanLimits::default());
        let root = open(&mut builder, None);
        let first = open(&mut builder, Some(root));
        builder.set_attribute(first, key(1), ValueRef::Int(1));
        let second = open(&mut builder, Some(root));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let key_of = |number: i64, _: &mut TreeBuilder| match number {
                3 => panic!("the third key"),
                number => key(number),
            };
            let attributes = (1..4).map(|number| (number, ValueRef::Int(number)));
            builder.set_attributes(second, attributes, key_of);
        }));
        assert!(caught.is_err());
        let third = open(&mut builder, Some(root));
        builder.set_attribute(third, key(4), ValueRef::Int(4));
        let tree = builder.finish();
        let pair = |number: i64| (format!("finish key {number}"), Value::Int(number));
        for (span, kept) in [
            (root, vec![]),
            (first, vec![pair(1)]),
            (second, vec![]),
            (third, vec![pair(4)]),
        ] {
            assert_eq!(read(&tree, span as usize), kept);
        }
    }

    #[test]
    fn attributes_that_are_set_together_stand_in_their_order_however_many_they_are() {
        let mut builder = builder(SpanLimits::default());
        let root = open(&mut builder, None);
        let counts = 0..10_i64;
        let spans: Vec<u32> = counts
            .clone()
            .map(|count| {
                let span = open(&mut builder, Some(root));
                let attributes = (0..count).map(|number| (number, ValueRef::Int(count)));
                builder.set_attributes(span, attributes, |number, _| key(number));
                span
            })
            .collect();
        // The last one is said again, twice.
        let again = [(8, ValueRef::Str("again")), (8, ValueRef::Str("and again"))];
        builder.set_attributes(spans[9], again, |number, _| key(number));
        let tree = builder.finish();
        for (count, span) in counts.zip(spans) {
            let pair = |number: i64| (format!("finish key {number}"), Value::Int(count));
            let mut expected: Vec<_> = (0..count).map(pair).collect();
            if count == 9 {
                expected[8].1 = Value::from("and again");
            }
            assert_eq!(read(&tree, span as usize), expected);
        }
    }

    #[test]
    fn a_finished_tree_keeps_no_more_room_than_the_next_one_of_its_size_may_need() {
        for (attributes, most) in [(1_030, 1_300), (500, 1_024)] {
            let mut builder = builder(SpanLimits::UNLIMITED);
            let root = open(&mut builder, None);
            for number in 0..attributes {
                builder.set_attribute(root, key(number), ValueRef::Int(number));
            }
            let grown = builder.tree.attributes.capacity_bytes();
            let tree = builder.finish();
            let kept = tree.attributes.capacity_bytes();
            assert!(kept <= most * size_of::<Entry>(), "{kept} of {grown}");
            assert_eq!(kept == grown, attributes == 500, "little room is kept");
            let set = usize::try_from(attributes).unwrap();
            assert_eq!(read(&tree, 0).len(), set);
        }
    }

    #[test]
    fn a_key_that_is_set_again_is_there_once_with_its_last_value() {
        let mut builder = builder(SpanLimits::default());
        let root = open(&mut builder, None);
        let child = open(&mut builder, Some(root));
        for (span, number, value) in [(root, 1, 10), (root, 2, 20), (root, 1, 11), (child, 1, 12)] {
            builder.set_attribute(span, key(number), ValueRef::Int(value));
        }
        let tree = builder.finish();
        let pair = |number: i64, value| (format!("finish key {number}"), Value::Int(value));
        assert_eq!(read(&tree, 0), [pair(1, 11), pair(2, 20)]);
        assert_eq!(read(&tree, 1), [pair(1, 12)]);
        assert_eq!(tree.span(0).unwrap().dropped().attributes, 0);
    }

    #[test]
    fn what_is_over_a_limit_is_dropped_and_counted_for_that_span_alone() {
        let mut limits = SpanLimits::default();
        (limits.attributes, limits.events, limits.links) = (3, 2, 1);
        let mut builder = builder(limits);
        let root = open(&mut builder, None);
        let child = open(&mut builder, Some(root));
        for (span, count) in [(root, 3), (child, 5)] {
            for number in 0..count {
                builder.set_attribute(span, key(number), ValueRef::Bool(true));
            }
        }
        for (span, count) in [(root, 4_u64), (child, 2)] {
            for tick in 0..count {
                builder.add_event(span, key(0), tick, []);
                let linked = (TraceId::random(), crate::id::SpanId(tick + 1));
                builder.add_link(span, linked, "", 0, []);
            }
        }
        let tree = builder.finish();
        let (root, child) = (tree.span(0).unwrap(), tree.span(1).unwrap());
        assert_eq!(read(&tree, 0).len(), 3);
        assert_eq!(read(&tree, 1).len(), 3);
        let ticks = |span: crate::span::Span<'_>| span.events().count();
        assert_eq!((ticks(root), ticks(child)), (2, 2));
        let dropped = |span: crate::span::Span<'_>| {
            let dropped = span.dropped();
            (dropped.attributes, dropped.events, dropped.links)
        };
        assert_eq!(dropped(root), (0, 2, 3));
        assert_eq!(dropped(child), (2, 0, 1));
    }
}
