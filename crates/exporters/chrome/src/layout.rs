//! Which spans of a tree can stand on one row. Viewers draw a row as slices that lie inside each other or apart; what
//! overlaps otherwise, as tasks and generators do, they drop. So a tree has as many **lanes** as it needs, most often one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hiq_core::span::Span;
use hiq_core::tree::SpanTree;

const NONE: u32 = u32::MAX;

/// The lanes of one tree. Keeps its memory from tree to tree.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    lanes: Vec<Lane>,
    /// The lane of each span; empty when the tree has only one.
    lane_of: Vec<u32>,
    /// What lies below each span on its lane.
    below: Vec<u32>,
    /// Lanes by the time at which they are free.
    free: BinaryHeap<Reverse<(u64, u32)>>,
}

/// A row of a tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    /// Index of its first span.
    pub(crate) first: u32,
    /// When that starts.
    pub(crate) start: u64,
    /// When the last of its spans ends.
    pub(crate) end: u64,
    top: u32,
}

impl Layout {
    /// Lays out `tree`.
    pub(crate) fn of(&mut self, tree: &SpanTree) {
        self.lanes.clear();
        self.lane_of.clear();
        self.below.clear();
        self.free.clear();
        if let Some(lane) = only_lane(tree) {
            self.lanes.push(lane);
            return;
        }
        for span in tree.spans() {
            let lane = self.lane_for(tree, span);
            self.put(span, lane);
        }
    }

    /// The lanes, that of the first span first.
    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// The lane of the span at `index`.
    #[inline]
    pub(crate) fn lane(&self, index: u32) -> usize {
        self.lane_of
            .get(index as usize)
            .map_or(0, |lane| *lane as usize)
    }

    /// The parent's lane where the span fits into the parent there; else the lane that has been free longest, or a new one.
    fn lane_for(&mut self, tree: &SpanTree, span: Span<'_>) -> u32 {
        let (start, end) = (span.start().0, span.end().0);
        if let Some(parent) = span.parent_index() {
            let lane = self.lane_of[parent as usize];
            if self.lies_free(tree, lane, parent, start) && end <= end_of(tree, parent) {
                self.lanes[lane as usize].top = parent;
                return lane;
            }
        }
        if let Some(&Reverse((free_from, lane))) = self.free.peek()
            && free_from <= start
        {
            self.free.pop();
            self.free.push(Reverse((end, lane)));
            self.lanes[lane as usize].top = NONE;
            return lane;
        }
        #[expect(clippy::cast_possible_truncation, reason = "fewer than spans")]
        let lane = self.lanes.len() as u32;
        self.lanes.push(Lane {
            first: span.index(),
            start,
            end,
            top: NONE,
        });
        self.free.push(Reverse((end, lane)));
        lane
    }

    /// Whether all that lies above `parent` on `lane` has ended at `start`.
    fn lies_free(&self, tree: &SpanTree, lane: u32, parent: u32, start: u64) -> bool {
        let mut top = self.lanes[lane as usize].top;
        while top != parent {
            if top == NONE || end_of(tree, top) > start {
                return false;
            }
            top = self.below[top as usize];
        }
        start_of(tree, parent) <= start
    }

    fn put(&mut self, span: Span<'_>, lane: u32) {
        self.lane_of.push(lane);
        let lane = &mut self.lanes[lane as usize];
        self.below.push(lane.top);
        lane.top = span.index();
        lane.end = lane.end.max(span.end().0);
    }
}

/// The lane of a tree that needs no other: each span begins inside its parent, behind all that began before, and ends in it.
fn only_lane(tree: &SpanTree) -> Option<Lane> {
    let first = tree.span(0)?;
    let mut lane = Lane {
        first: 0,
        start: first.start().0,
        end: first.end().0,
        top: NONE,
    };
    let mut before = first;
    for span in tree.spans().skip(1) {
        let parent = span.parent_index();
        let start = span.start();
        let mut top = Some(before.index());
        while top != parent {
            let ended = tree.span(top? as usize)?;
            if ended.end() > start {
                return None;
            }
            top = ended.parent_index();
        }
        if let Some(parent) = parent {
            let parent = tree.span(parent as usize)?;
            if parent.start() > start || parent.end() < span.end() {
                return None;
            }
        }
        lane.end = lane.end.max(span.end().0);
        before = span;
    }
    Some(lane)
}

fn start_of(tree: &SpanTree, index: u32) -> u64 {
    tree.span(index as usize).map_or(0, |span| span.start().0)
}

fn end_of(tree: &SpanTree, index: u32) -> u64 {
    tree.span(index as usize)
        .map_or(u64::MAX, |span| span.end().0)
}
