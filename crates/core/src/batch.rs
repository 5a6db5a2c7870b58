//! Finished trees on their way out, and the cursor that encoders walk them with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::pool;
use crate::span::Span;
use crate::tree::SpanTree;

/// What leaves the process together: trees, or metrics.
pub trait Batch: fmt::Debug + Send + Sync + 'static {
    /// Items in it: spans, or data points. What the ledger counts.
    fn items(&self) -> usize;
    /// Memory it takes.
    fn heap_bytes(&self) -> usize;
}

/// Finished trees, those of one resource next to each other, within that those of one trace: the traces in the order in which their
/// first trees came.
#[derive(Clone, Debug, Default)]
pub struct TreeBatch {
    trees: Vec<Arc<SpanTree>>,
    spans: usize,
    heap_bytes: usize,
}

impl TreeBatch {
    /// A batch of `trees`; empty ones are left out.
    pub fn new(mut trees: Vec<Arc<SpanTree>>) -> Self {
        trees.retain(|tree| !tree.is_empty());
        if !are_few_and_in_order(&trees) {
            let mut turns = HashMap::with_capacity(trees.len());
            trees.sort_by_cached_key(|tree| {
                let turn = turns.len();
                let turn = *turns.entry(tree.trace_id()).or_insert(turn);
                (Arc::as_ptr(tree.resource()) as usize, turn)
            });
        }
        let spans = trees.iter().map(|tree| tree.len()).sum();
        let heap_bytes = trees.iter().map(|tree| tree.heap_bytes()).sum();
        Self {
            trees,
            spans,
            heap_bytes,
        }
    }

    /// The trees, in the order of the cursor.
    pub fn trees(&self) -> &[Arc<SpanTree>] {
        &self.trees
    }

    /// A cursor over all spans.
    pub fn cursor(&self) -> BatchCursor<'_> {
        self.cursor_over(
            Position::START,
            Position {
                tree: self.trees.len(),
                span: 0,
            },
        )
    }

    /// A cursor over the spans from `start` up to, not including, `end`.
    pub fn cursor_over(&self, start: Position, end: Position) -> BatchCursor<'_> {
        BatchCursor {
            batch: self,
            at: start,
            end,
        }
    }
}

/// Whether there is nothing to sort, as far as that is found out faster by looking at each pair than by hashing: most batches are of
/// one resource, and a trace's trees rarely come apart.
fn are_few_and_in_order(trees: &[Arc<SpanTree>]) -> bool {
    const FEW: usize = 16;
    let Some((first, others)) = trees.split_first() else {
        return true;
    };
    let comes_back = |at: usize| {
        let (trace, earlier) = (trees[at].trace_id(), &trees[..at]);
        let is_another = earlier.last().is_some_and(|tree| tree.trace_id() != trace);
        is_another && earlier.iter().any(|tree| tree.trace_id() == trace)
    };
    trees.len() <= FEW
        && others
            .iter()
            .all(|tree| Arc::ptr_eq(tree.resource(), first.resource()))
        && !(1..trees.len()).any(comes_back)
}

/// Trees that nobody else holds go back to the recorder.
impl Drop for TreeBatch {
    fn drop(&mut self) {
        pool::recycle(self.trees.drain(..));
    }
}

impl Batch for TreeBatch {
    fn items(&self) -> usize {
        self.spans
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}

/// A place in a batch: before span `span` of tree `tree`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    tree: usize,
    span: usize,
}

impl Position {
    /// Before the first span.
    pub const START: Self = Self { tree: 0, span: 0 };
}

/// Walks a batch, span by span. What lies behind it has been encoded or left out; it never goes back.
#[derive(Clone, Debug)]
pub struct BatchCursor<'a> {
    batch: &'a TreeBatch,
    at: Position,
    end: Position,
}

/// Spans of one tree, next to each other.
#[derive(Clone, Copy, Debug)]
pub struct TreeRun<'a> {
    /// Their tree.
    pub tree: &'a Arc<SpanTree>,
    /// Index of the first.
    pub start: usize,
    /// Index behind the last.
    pub end: usize,
}

impl<'a> BatchCursor<'a> {
    /// Where it stands.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Where it ends.
    pub fn end(&self) -> Position {
        self.end
    }

    /// True when nothing is left.
    pub fn is_done(&self) -> bool {
        self.run().is_none()
    }

    /// Spans between here and the end.
    pub fn remaining(&self) -> usize {
        let mut rest = self.clone();
        let mut spans = 0;
        while let Some(run) = rest.run() {
            spans += run.end - run.start;
            rest.advance_to(run.end);
        }
        spans
    }

    /// The spans of the current tree that are still to come.
    #[inline]
    pub fn run(&self) -> Option<TreeRun<'a>> {
        let mut at = self.at;
        loop {
            if at >= self.end {
                return None;
            }
            let tree = self.batch.trees.get(at.tree)?;
            let end = if at.tree == self.end.tree {
                self.end.span
            } else {
                tree.len()
            };
            if at.span < end {
                return Some(TreeRun {
                    tree,
                    start: at.span,
                    end,
                });
            }
            at = Position {
                tree: at.tree + 1,
                span: 0,
            };
        }
    }

    /// Moves to before span `span` of the current run's tree; past its end means the next tree.
    #[inline]
    pub fn advance_to(&mut self, span: usize) {
        // Trees without spans left lie between the place and its run.
        while self
            .batch
            .trees
            .get(self.at.tree)
            .is_some_and(|tree| self.at.span >= tree.len())
        {
            self.at = Position {
                tree: self.at.tree + 1,
                span: 0,
            };
        }
        self.at.span = span;
        if self
            .batch
            .trees
            .get(self.at.tree)
            .is_some_and(|tree| span >= tree.len())
        {
            self.at = Position {
                tree: self.at.tree + 1,
                span: 0,
            };
        }
    }

    /// The next span, without moving.
    #[inline]
    pub fn peek(&self) -> Option<Span<'a>> {
        let run = self.run()?;
        run.tree.span(run.start)
    }

    /// The next span, moving past it.
    #[inline]
    pub fn next_span(&mut self) -> Option<Span<'a>> {
        let run = self.run()?;
        self.advance_to(run.start + 1);
        run.tree.span(run.start)
    }

    /// The position half-way to the end, for bisecting; `None` when fewer than two spans are left.
    pub fn middle(&self) -> Option<Position> {
        let remaining = self.remaining();
        if remaining < 2 {
            return None;
        }
        let mut half = self.clone();
        let mut left = remaining / 2;
        while let Some(run) = half.run() {
            let step = left.min(run.end - run.start);
            half.advance_to(run.start + step);
            left -= step;
            if left == 0 {
                break;
            }
        }
        Some(half.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TraceId;
    use crate::intern::{SiteId, symbol};
    use crate::resource::Resource;
    use crate::tree::{SpanLimits, TreeBuilder, TreeStart};

    fn tree(trace: TraceId, resource: &Arc<Resource>) -> Arc<SpanTree> {
        let start = TreeStart::new(trace, Arc::clone(resource), Arc::default());
        let mut builder = TreeBuilder::new(start, SpanLimits::default());
        let span = builder.start(symbol("batched").unwrap(), SiteId::NONE, None, 1);
        builder.end(span, 2);
        Arc::new(builder.finish())
    }

    #[test]
    fn the_trees_of_a_trace_stand_together_and_the_traces_in_the_order_in_which_they_came() {
        let resource = Arc::default();
        for count in [1, 2, 3, 8, 50] {
            let traces: Vec<_> = (0..count).map(|_| TraceId::random()).collect();
            let again = traces.iter().rev();
            let trees = traces.iter().chain(again);
            let batch = TreeBatch::new(trees.map(|trace| tree(*trace, &resource)).collect());
            let found: Vec<_> = batch.trees().iter().map(|tree| tree.trace_id()).collect();
            let expected: Vec<_> = traces.iter().flat_map(|trace| [*trace; 2]).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_trees_of_a_resource_stand_together_however_few_they_are() {
        let resources: [Arc<Resource>; 2] = [Arc::default(), Arc::default()];
        for count in [2, 3, 5, 40] {
            let trees = (0..count).map(|at| tree(TraceId::random(), &resources[at % 2]));
            let trees: Vec<_> = trees.collect();
            let batch = TreeBatch::new(trees.clone());
            let changes = batch
                .trees()
                .windows(2)
                .filter(|pair| !Arc::ptr_eq(pair[0].resource(), pair[1].resource()));
            assert_eq!(changes.count(), 1);
            for resource in &resources {
                let of_it = |tree: &&Arc<SpanTree>| Arc::ptr_eq(tree.resource(), resource);
                let came = trees.iter().filter(of_it).map(|tree| tree.trace_id());
                let left = batch.trees().iter().filter(of_it);
                assert!(left.map(|tree| tree.trace_id()).eq(came));
            }
        }
    }
}
