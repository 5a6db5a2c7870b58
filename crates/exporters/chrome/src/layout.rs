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
    /// The topmost span of each lane.
    tops: Vec<u32>,
    /// The lane of each span; empty when the tree has only one.
    lane_of: Vec<u32>,
    /// What lies below each span on its lane.
    below: Vec<u32>,
    /// Lanes by the time at which they are free.
    free: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Layout {
    /// Lays out `tree`.
    pub(crate) fn of(&mut self, tree: &SpanTree) {
        self.tops.clear();
        self.lane_of.clear();
        self.below.clear();
        self.free.clear();
        if needs_one_lane(tree) {
            self.tops.push(NONE);
            return;
        }
        for span in tree.spans() {
            let lane = self.lane_for(tree, span);
            self.put(span, lane);
        }
    }

    /// How many lanes there are; that of the first span comes first.
    pub(crate) fn lanes(&self) -> usize {
        self.tops.len()
    }

    /// Whether `span` lies in no other on its lane.
    #[inline]
    pub(crate) fn is_lowest(&self, span: Span<'_>) -> bool {
        match self.below.get(span.index() as usize) {
            Some(below) => *below == NONE,
            None => span.parent_index().is_none(),
        }
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
                self.tops[lane as usize] = parent;
                return lane;
            }
        }
        if let Some(&Reverse((free_from, lane))) = self.free.peek()
            && free_from <= start
        {
            self.free.pop();
            self.free.push(Reverse((end, lane)));
            self.tops[lane as usize] = NONE;
            return lane;
        }
        #[expect(clippy::cast_possible_truncation, reason = "fewer than spans")]
        let lane = self.tops.len() as u32;
        self.tops.push(NONE);
        self.free.push(Reverse((end, lane)));
        lane
    }

    /// Whether all that lies above `parent` on `lane` has ended at `start`.
    fn lies_free(&self, tree: &SpanTree, lane: u32, parent: u32, start: u64) -> bool {
        let mut top = self.tops[lane as usize];
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
        let top = &mut self.tops[lane as usize];
        self.below.push(*top);
        *top = span.index();
    }
}

/// True for a tree each of whose spans begins inside its parent, behind all that began before, and ends in it.
fn needs_one_lane(tree: &SpanTree) -> bool {
    let mut before = None;
    tree.spans().all(|span| {
        let is_behind = lies_behind(tree, before, span);
        before = Some(span.index());
        is_behind
    })
}

fn lies_behind(tree: &SpanTree, before: Option<u32>, span: Span<'_>) -> bool {
    let (parent, mut top) = (span.parent_index(), before);
    while top != parent {
        let ended = top.and_then(|top| tree.span(top as usize));
        let Some(ended) = ended.filter(|ended| ended.end() <= span.start()) else {
            return false;
        };
        top = ended.parent_index();
    }
    let parent = parent.and_then(|parent| tree.span(parent as usize));
    parent.is_none_or(|parent| parent.start() <= span.start() && span.end() <= parent.end())
}

fn start_of(tree: &SpanTree, index: u32) -> u64 {
    tree.span(index as usize).map_or(0, |span| span.start().0)
}

fn end_of(tree: &SpanTree, index: u32) -> u64 {
    tree.span(index as usize)
        .map_or(u64::MAX, |span| span.end().0)
}
