//! What queues carry, and how it becomes a batch.

use std::fmt;
use std::sync::Arc;

use crate::batch::{Batch, TreeBatch};
use crate::metric::MetricBatch;
use crate::pool;
use crate::tree::SpanTree;

/// Something that waits for an exporter.
pub(crate) trait Cargo: Clone + fmt::Debug + Send + Sync + 'static {
    /// What the exporter is given.
    type Batch: Batch;
    /// What the ledger counts, for status lines.
    const ITEM: &'static str;
    /// Whether several leave as one batch.
    const JOINS: bool;

    fn items(&self) -> usize;

    fn heap_bytes(&self) -> usize;

    /// The batch of `all`, which is one where they do not join.
    fn pack(all: Vec<Self>) -> Arc<Self::Batch>;

    /// Gives memory back that is of no use any more, on a thread of ours.
    fn let_go(all: impl IntoIterator<Item = Self>);

    /// The same on a thread of the program.
    fn let_go_here(self);
}

/// A fragment of a trace.
impl Cargo for Arc<SpanTree> {
    type Batch = TreeBatch;
    const ITEM: &'static str = "span";
    const JOINS: bool = true;

    #[inline]
    fn items(&self) -> usize {
        self.len()
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        SpanTree::heap_bytes(self)
    }

    #[inline]
    fn pack(all: Vec<Self>) -> Arc<TreeBatch> {
        Arc::new(TreeBatch::new(all))
    }

    fn let_go(all: impl IntoIterator<Item = Self>) {
        pool::recycle(all);
    }

    fn let_go_here(self) {
        pool::recycle_here(self);
    }
}

/// A snapshot of somebody's metrics.
impl Cargo for Arc<MetricBatch> {
    type Batch = MetricBatch;
    const ITEM: &'static str = "point";
    const JOINS: bool = false;

    fn items(&self) -> usize {
        Batch::items(&**self)
    }

    fn heap_bytes(&self) -> usize {
        Batch::heap_bytes(&**self)
    }

    fn pack(mut all: Vec<Self>) -> Arc<MetricBatch> {
        all.pop().unwrap_or_default()
    }

    fn let_go(all: impl IntoIterator<Item = Self>) {
        all.into_iter().for_each(drop);
    }

    fn let_go_here(self) {}
}
