//! Which spans are joined by arrows: a span of another thread or task does not lie inside its parent, so the two are shown as
//! the ends of a flow.

use hiq_core::id::SpanId;

/// Spans whose parents are in trees that have not been written yet: a parent ends later and comes later.
///
/// Keeps its memory. A child without a parent stays until there are too many: then all are forgotten, and have no arrows.
#[derive(Debug, Default)]
pub(crate) struct Arrows {
    /// By the last bits of the parent's id, one more than the place of the newest child; 0: none. Empty until it is needed.
    heads: Vec<u32>,
    children: Vec<Child>,
    /// One more than the first place in `children` that holds none; 0: there is no such place.
    free: u32,
    waiting: usize,
    /// What the last span took and, as a child, added, in case that it is taken back.
    taken: Vec<Child>,
    added: Option<SpanId>,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    parent: SpanId,
    id: SpanId,
    track: u32,
    /// One more than the place of the next with such a parent; 0: none.
    next: u32,
}

/// Children that wait at most.
const MAX_WAITING: usize = 1 << 16;
const BUCKETS: usize = 1 << 12;
/// Children that there is room for from the beginning.
const AT_FIRST: usize = 64;

impl Arrows {
    /// The span `id` on the track of this number, which is being written, has its parent elsewhere.
    pub(crate) fn add(&mut self, parent: SpanId, id: SpanId, track: u32) {
        if self.waiting == MAX_WAITING {
            *self = Self::default();
        }
        if self.heads.is_empty() {
            self.heads.resize(BUCKETS, 0);
            self.children.reserve(AT_FIRST);
            self.taken.reserve(AT_FIRST);
        }
        self.put(parent, id, track);
        self.added = Some(parent);
    }

    /// Calls `arrow` with the id of each child of `parent` that waits on another track than the parent's. They wait no more.
    #[inline]
    pub(crate) fn take(&mut self, parent: SpanId, track: u32, arrow: impl FnMut(SpanId)) {
        if self.waiting > 0 && self.heads[bucket(parent)] != 0 {
            self.take_waiting(parent, track, arrow);
        }
    }

    /// The next span is written.
    #[inline]
    pub(crate) fn turn_to_next(&mut self) {
        self.taken.clear();
        self.added = None;
    }

    /// The last span has been taken back.
    pub(crate) fn undo(&mut self) {
        if let Some(parent) = self.added.take() {
            let newest = &mut self.heads[bucket(parent)];
            let child = &mut self.children[*newest as usize - 1];
            std::mem::swap(newest, &mut child.next);
            std::mem::swap(&mut self.free, &mut child.next);
            self.waiting -= 1;
        }
        while let Some(child) = self.taken.pop() {
            self.put(child.parent, child.id, child.track);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_waiting(&mut self, parent: SpanId, track: u32, mut arrow: impl FnMut(SpanId)) {
        let mut place = std::mem::take(&mut self.heads[bucket(parent)]);
        while place != 0 {
            let child = self.children[place as usize - 1];
            let kept = if child.parent == parent {
                if child.track != track {
                    arrow(child.id);
                }
                self.taken.push(child);
                self.waiting -= 1;
                &mut self.free
            } else {
                &mut self.heads[bucket(parent)]
            };
            self.children[place as usize - 1].next = std::mem::replace(kept, place);
            place = child.next;
        }
    }

    fn put(&mut self, parent: SpanId, id: SpanId, track: u32) {
        if self.free == 0 {
            let none = Child {
                parent: SpanId::INVALID,
                id: SpanId::INVALID,
                track: 0,
                next: 0,
            };
            self.children.push(none);
            #[expect(clippy::cast_possible_truncation, reason = "at most MAX_WAITING")]
            {
                self.free = self.children.len() as u32;
            }
        }
        let (place, head) = (self.free, &mut self.heads[bucket(parent)]);
        let child = &mut self.children[place as usize - 1];
        self.free = child.next;
        *child = Child {
            parent,
            id,
            track,
            next: std::mem::replace(head, place),
        };
        self.waiting += 1;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the last bits are meant")]
fn bucket(id: SpanId) -> usize {
    id.0 as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds children, each as a span of its own.
    fn add(arrows: &mut Arrows, children: &[(u64, u64, u32)]) {
        for (parent, child, track) in children {
            arrows.turn_to_next();
            arrows.add(SpanId(*parent), SpanId(*child), *track);
        }
    }

    fn taken(arrows: &mut Arrows, parent: u64, track: u32) -> Vec<u64> {
        let mut found = Vec::new();
        arrows.turn_to_next();
        arrows.take(SpanId(parent), track, |id| found.push(id.0));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_parent_takes_its_own_children_once() {
        let mut arrows = Arrows::default();
        let (parent, same_bucket) = (7, 7 + BUCKETS as u64);
        let children = [
            (parent, 1, 5),
            (same_bucket, 2, 5),
            (parent, 3, 5),
            (9, 4, 5),
        ];
        add(&mut arrows, &children);
        assert!(taken(&mut arrows, 8, 6).is_empty());
        assert_eq!(taken(&mut arrows, parent, 6), [1, 3]);
        assert!(taken(&mut arrows, parent, 6).is_empty());
        assert_eq!(taken(&mut arrows, same_bucket, 6), [2]);
        assert_eq!(taken(&mut arrows, 9, 6), [4]);
    }

    #[test]
    fn what_stands_on_the_parents_track_gets_no_arrow() {
        let mut arrows = Arrows::default();
        add(&mut arrows, &[(1, 2, 5), (1, 3, 6)]);
        assert_eq!(taken(&mut arrows, 1, 5), [3]);
        assert!(taken(&mut arrows, 1, 7).is_empty());
    }

    #[test]
    fn a_span_that_was_taken_back_has_neither_taken_nor_added() {
        let mut arrows = Arrows::default();
        let (parent, same_bucket) = (1, 1 + BUCKETS as u64);
        add(&mut arrows, &[(parent, 2, 5), (same_bucket, 3, 5)]);
        for _ in 0..3 {
            // The parent, which is a child of another itself.
            assert_eq!(taken(&mut arrows, parent, 6), [2]);
            arrows.add(SpanId(same_bucket), SpanId(parent), 6);
            arrows.undo();
        }
        assert_eq!(arrows.children.len(), 2);
        assert_eq!(taken(&mut arrows, parent, 6), [2]);
        assert_eq!(taken(&mut arrows, same_bucket, 6), [3]);
    }

    #[test]
    fn memory_is_used_again_and_bounded() {
        let mut arrows = Arrows::default();
        for parent in 1..10_000 {
            add(
                &mut arrows,
                &[(parent, parent + 1, 5), (parent, parent + 2, 5)],
            );
            assert_eq!(taken(&mut arrows, parent, 6).len(), 2);
        }
        assert_eq!(arrows.children.len(), 2);
        let last = 2 * MAX_WAITING as u64;
        for child in 1..=last {
            add(&mut arrows, &[(child, child, 5)]);
        }
        assert!(arrows.children.len() <= MAX_WAITING);
        assert_eq!(taken(&mut arrows, last, 6), [last]);
    }
}
