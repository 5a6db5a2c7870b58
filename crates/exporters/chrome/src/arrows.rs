//! Which spans are joined by arrows: a span of another thread or task does not lie inside its parent, so the two are shown as
//! the ends of a flow.

use hiq_core::id::SpanId;
use hiq_core::time::UnixNanos;

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

/// A span, and where it was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) id: SpanId,
    pub(crate) start: UnixNanos,
    /// The number of its track.
    pub(crate) track: u32,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    parent: SpanId,
    drawn: Drawn,
    /// One more than the place of the next with such a parent; 0: none.
    next: u32,
}

/// Children that wait at most.
const MAX_WAITING: usize = 1 << 16;
const BUCKETS: usize = 1 << 12;
/// Children that there is room for from the beginning.
const AT_FIRST: usize = 64;

impl Arrows {
    /// The span `child`, which is being written, has its parent elsewhere.
    pub(crate) fn add(&mut self, parent: SpanId, child: Drawn) {
        if self.waiting == MAX_WAITING {
            *self = Self::default();
        }
        if self.heads.is_empty() {
            self.heads.resize(BUCKETS, 0);
            self.children.reserve(AT_FIRST);
            self.taken.reserve(AT_FIRST);
        }
        self.put(parent, child);
        self.added = Some(parent);
    }

    /// Calls `arrow` with each child of `parent` that waits. They wait no more.
    #[inline]
    pub(crate) fn take(&mut self, parent: SpanId, arrow: impl FnMut(Drawn)) {
        if self.waiting > 0 && self.heads[bucket(parent)] != 0 {
            self.take_waiting(parent, arrow);
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
            self.put(child.parent, child.drawn);
        }
    }

    #[cold]
    #[inline(never)]
    fn take_waiting(&mut self, parent: SpanId, mut arrow: impl FnMut(Drawn)) {
        let mut place = std::mem::take(&mut self.heads[bucket(parent)]);
        while place != 0 {
            let child = self.children[place as usize - 1];
            let kept = if child.parent == parent {
                arrow(child.drawn);
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

    fn put(&mut self, parent: SpanId, drawn: Drawn) {
        if self.free == 0 {
            let none = Child {
                parent: SpanId::INVALID,
                drawn: Drawn::default(),
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
            drawn,
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

    fn drawn(id: u64) -> Drawn {
        Drawn {
            id: SpanId(id),
            ..Drawn::default()
        }
    }

    /// Adds children, each as a span of its own.
    fn add(arrows: &mut Arrows, children: &[(u64, u64)]) {
        for (parent, child) in children {
            arrows.turn_to_next();
            arrows.add(SpanId(*parent), drawn(*child));
        }
    }

    fn taken(arrows: &mut Arrows, parent: u64) -> Vec<u64> {
        let mut found = Vec::new();
        arrows.turn_to_next();
        arrows.take(SpanId(parent), |child| found.push(child.id.0));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_parent_takes_its_own_children_once() {
        let mut arrows = Arrows::default();
        let (parent, same_bucket) = (7, 7 + BUCKETS as u64);
        let children = [(parent, 1), (same_bucket, 2), (parent, 3), (9, 4)];
        add(&mut arrows, &children);
        assert!(taken(&mut arrows, 8).is_empty());
        assert_eq!(taken(&mut arrows, parent), [1, 3]);
        assert!(taken(&mut arrows, parent).is_empty());
        assert_eq!(taken(&mut arrows, same_bucket), [2]);
        assert_eq!(taken(&mut arrows, 9), [4]);
    }

    #[test]
    fn a_span_that_was_taken_back_has_neither_taken_nor_added() {
        let mut arrows = Arrows::default();
        let (parent, same_bucket) = (1, 1 + BUCKETS as u64);
        add(&mut arrows, &[(parent, 2), (same_bucket, 3)]);
        for _ in 0..3 {
            // The parent, which is a child of another itself.
            assert_eq!(taken(&mut arrows, parent), [2]);
            arrows.add(SpanId(same_bucket), drawn(parent));
            arrows.undo();
        }
        assert_eq!(arrows.children.len(), 2);
        assert_eq!(taken(&mut arrows, parent), [2]);
        assert_eq!(taken(&mut arrows, same_bucket), [3]);
    }

    #[test]
    fn memory_is_used_again_and_bounded() {
        let mut arrows = Arrows::default();
        for parent in 1..10_000 {
            add(&mut arrows, &[(parent, parent + 1), (parent, parent + 2)]);
            assert_eq!(taken(&mut arrows, parent).len(), 2);
        }
        assert_eq!(arrows.children.len(), 2);
        let last = 2 * MAX_WAITING as u64;
        for child in 1..=last {
            add(&mut arrows, &[(child, child)]);
        }
        assert!(arrows.children.len() <= MAX_WAITING);
        assert_eq!(taken(&mut arrows, last), [last]);
    }
}
