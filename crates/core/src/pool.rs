//! Used trees on their way back to the recorder: their arenas are filled again instead of being freed and allocated anew.
//!
//! Bounded in number and bytes. The recorder's side takes no lock that somebody holds and never allocates: when the pool is
//! busy or empty the recorder makes a fresh tree.

use std::sync::{Arc, Mutex, PoisonError};

use crate::fork::PerProcess;
use crate::tree::SpanTree;

/// Trees that the pool holds at most.
const MAX_TREES: usize = 1_024;
/// Memory that the pool holds at most.
const MAX_BYTES: usize = 8 << 20;
/// Memory that a tree may have grown to and still be kept: most trees are small, and stay small when reused.
const MAX_TREE_BYTES: usize = 64 << 10;
/// Trees of long-running roots, thousands of spans each, are kept apart, so that a small tree never sits in their memory.
const MAX_LARGE_TREES: usize = 8;
const MAX_LARGE_TREE_BYTES: usize = 2 << 20;

static POOL: PerProcess<Mutex<Pool>> = PerProcess::new(Mutex::default);

#[derive(Debug, Default)]
struct Pool {
    trees: Vec<SpanTree>,
    bytes: usize,
    large: Vec<SpanTree>,
}

/// A used tree to be filled again with [`TreeBuilder::reusing`](crate::tree::TreeBuilder::reusing), if one is at hand.
#[inline]
pub fn take() -> Option<SpanTree> {
    POOL.get().try_lock().ok()?.take()
}

/// A used tree with room for thousands of spans, for a root that has shown to have as many.
pub(crate) fn take_large() -> Option<SpanTree> {
    POOL.get().try_lock().ok()?.large.pop()
}

/// Takes a tree back.
pub fn recycle(mut tree: SpanTree) {
    tree.clear();
    let bytes = tree.capacity_bytes();
    if bytes <= MAX_LARGE_TREE_BYTES {
        let mut pool = POOL.get().lock().unwrap_or_else(PoisonError::into_inner);
        let left_over = pool.put(tree, bytes);
        drop(pool);
        drop(left_over);
    }
}

/// Takes a tree back if nobody else holds it.
pub fn recycle_shared(tree: Arc<SpanTree>) {
    if let Some(tree) = Arc::into_inner(tree) {
        recycle(tree);
    }
}

impl Pool {
    fn take(&mut self) -> Option<SpanTree> {
        let tree = self.trees.pop()?;
        self.bytes -= tree.capacity_bytes();
        Some(tree)
    }

    /// Keeps `tree`, or hands it back when the pool is full.
    fn put(&mut self, tree: SpanTree, bytes: usize) -> Option<SpanTree> {
        if bytes > MAX_TREE_BYTES {
            if self.large.len() >= MAX_LARGE_TREES {
                return Some(tree);
            }
            self.large.push(tree);
            return None;
        }
        if self.trees.len() >= MAX_TREES || self.bytes + bytes > MAX_BYTES {
            return Some(tree);
        }
        self.bytes += bytes;
        self.trees.push(tree);
        None
    }
}
