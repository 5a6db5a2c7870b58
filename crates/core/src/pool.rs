//! Used trees on their way back to the recorder: their arenas are filled again instead of being freed and allocated anew.
//!
//! They travel in chunks, so that a lock is taken once for many trees. The recorder's side takes no lock that somebody
//! holds and never allocates: when the pool is busy or empty the recorder makes a fresh tree. Bounded in number and bytes.
#![allow(
    unsafe_code,
    reason = "an allocation is kept while its tree is taken out, argued at its place"
)]

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fork::PerProcess;
use crate::tree::SpanTree;

/// Trees that travel together.
const CHUNK_TREES: usize = 32;
/// Chunks that the pool holds at most.
const MAX_CHUNKS: usize = 32;
/// Memory that a tree may have grown to and still be kept: most trees are small, and stay small when reused.
const MAX_TREE_BYTES: usize = 16 << 10;
/// Trees of long-running roots, thousands of spans each, are kept apart, so that a small tree never sits in their memory.
const MAX_LARGE_TREES: usize = 8;
const MAX_LARGE_TREE_BYTES: usize = 2 << 20;

type Chunk = Vec<Arc<SpanTree>>;
/// The allocation of a tree that was taken out of it.
type Shell = Arc<MaybeUninit<SpanTree>>;

static POOL: PerProcess<Mutex<Pool>> = PerProcess::new(Mutex::default);

thread_local! {
    static LOCAL: RefCell<Local> = const { RefCell::new(Local::new()) };
}

#[derive(Default)]
struct Pool {
    chunks: Vec<Chunk>,
    large: Chunk,
}

/// What one thread has at hand.
struct Local {
    /// Used trees to be filled again.
    filled: Chunk,
    shells: Vec<Shell>,
}

/// A used tree to be filled again with [`TreeBuilder::reusing`](crate::tree::TreeBuilder::reusing), if one is at hand.
#[inline]
pub fn take() -> Option<SpanTree> {
    LOCAL
        .try_with(|local| local.try_borrow_mut().ok()?.take())
        .ok()?
}

/// A used tree with room for thousands of spans, for a root that has shown to have as many.
pub(crate) fn take_large() -> Option<SpanTree> {
    let shared = POOL.get().try_lock().ok()?.large.pop()?;
    take_out(shared).map(|(tree, _)| tree)
}

/// Makes a finished tree shareable, in the allocation of an earlier one if one is at hand.
#[inline]
pub fn share(tree: SpanTree) -> Arc<SpanTree> {
    let shell = LOCAL.try_with(|local| local.try_borrow_mut().ok()?.shells.pop());
    match shell {
        Ok(Some(shell)) => put_in(shell, tree),
        _ => Arc::new(tree),
    }
}

/// Takes back those of `trees` that nobody else holds.
pub fn recycle(trees: impl IntoIterator<Item = Arc<SpanTree>>) {
    let mut chunk = Chunk::new();
    for tree in trees.into_iter().filter_map(emptied) {
        if chunk.capacity() == 0 {
            chunk.reserve_exact(CHUNK_TREES);
        }
        chunk.push(tree);
        if chunk.len() == CHUNK_TREES {
            put(std::mem::take(&mut chunk));
        }
    }
    put(chunk);
}

/// Takes `tree` back for this thread, if nobody else holds it.
pub fn recycle_here(tree: Arc<SpanTree>) {
    let Some(tree) = emptied(tree) else { return };
    // A thread that is ending frees it.
    let _ = LOCAL.try_with(|local| {
        if let Ok(mut local) = local.try_borrow_mut()
            && local.filled.len() < CHUNK_TREES
        {
            local.filled.push(tree);
        }
    });
}

/// The tree without its content, if nobody else holds it and it is of a size to keep here.
fn emptied(mut shared: Arc<SpanTree>) -> Option<Arc<SpanTree>> {
    let tree = Arc::get_mut(&mut shared)?;
    tree.clear();
    let bytes = tree.capacity_bytes();
    if bytes <= MAX_TREE_BYTES {
        return Some(shared);
    }
    if bytes <= MAX_LARGE_TREE_BYTES {
        put_large(shared);
    }
    None
}

fn put_large(tree: Arc<SpanTree>) {
    let mut pool = lock();
    if pool.large.len() < MAX_LARGE_TREES {
        pool.large.push(tree);
    }
}

/// Adds a chunk; one that has no place is freed.
fn put(chunk: Chunk) {
    if chunk.is_empty() {
        return;
    }
    let mut pool = lock();
    if pool.chunks.len() < MAX_CHUNKS {
        pool.chunks.push(chunk);
    }
}

fn lock() -> MutexGuard<'static, Pool> {
    POOL.get().lock().unwrap_or_else(PoisonError::into_inner)
}

impl Local {
    const fn new() -> Self {
        Self {
            filled: Chunk::new(),
            shells: Vec::new(),
        }
    }

    #[inline]
    fn take(&mut self) -> Option<SpanTree> {
        if self.filled.is_empty() {
            self.filled = POOL.get().try_lock().ok()?.chunks.pop()?;
        }
        let (tree, shell) = take_out(self.filled.pop()?)?;
        if self.shells.len() < CHUNK_TREES {
            self.shells.push(shell);
        }
        Some(tree)
    }
}

/// The tree and its allocation, if nobody else holds it.
#[inline]
fn take_out(mut shared: Arc<SpanTree>) -> Option<(SpanTree, Shell)> {
    Arc::get_mut(&mut shared)?;
    let raw = Arc::into_raw(shared);
    // SAFETY: nobody else holds it, so the tree can be moved out; what stays behind is treated as uninitialised. The
    // pointer comes from `Arc::into_raw`, and `MaybeUninit<SpanTree>` has the size and alignment of `SpanTree`.
    unsafe { Some((raw.read(), Arc::from_raw(raw.cast()))) }
}

#[inline]
fn put_in(mut shell: Shell, tree: SpanTree) -> Arc<SpanTree> {
    match Arc::get_mut(&mut shell) {
        Some(place) => {
            place.write(tree);
            // SAFETY: written just now.
            unsafe { shell.assume_init() }
        }
        None => Arc::new(tree),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SpanId, TraceId};
    use crate::intern::{SiteId, Symbol};
    use crate::tree::{SpanLimits, TreeBuilder, TreeStart};

    fn tree(spans: u64) -> SpanTree {
        let start = TreeStart::new(TraceId::random(), Arc::default(), Arc::default());
        let mut builder = TreeBuilder::new(start, SpanLimits::default());
        for tick in 1..=spans {
            builder.start_with_id(SpanId::next(), Symbol::EMPTY, SiteId::NONE, None, tick);
        }
        builder.finish_unfinished(spans + 1)
    }

    /// The allocations of this thread's used trees.
    fn here() -> Vec<*const SpanTree> {
        LOCAL.with_borrow(|local| local.filled.iter().map(Arc::as_ptr).collect())
    }

    #[test]
    fn a_tree_taken_back_is_filled_again_in_its_own_allocation() {
        let used = share(tree(3));
        let address = Arc::as_ptr(&used);
        recycle_here(used);
        assert_eq!(here(), [address]);
        let again = take().unwrap();
        assert!(again.is_empty());
        assert_eq!(Arc::as_ptr(&share(again)), address);
    }

    #[test]
    fn a_tree_that_somebody_holds_is_left_alone() {
        let held = share(tree(3));
        recycle_here(Arc::clone(&held));
        recycle([Arc::clone(&held)]);
        assert_eq!(held.len(), 3);
        assert!(here().is_empty());
    }

    #[test]
    fn a_thread_keeps_no_more_than_a_chunk() {
        (0..3 * CHUNK_TREES).for_each(|_| recycle_here(Arc::new(tree(1))));
        assert_eq!(here().len(), CHUNK_TREES);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_chunks_and_hands_them_to_other_threads() {
        recycle((0..2 * MAX_CHUNKS * CHUNK_TREES).map(|_| Arc::new(tree(1))));
        assert!(lock().chunks.len() <= MAX_CHUNKS);
        // Another test may hold the lock for a moment: then a recorder makes a fresh tree.
        let other = std::thread::spawn(|| (0..1_000_000).find_map(|_| take()));
        assert!(other.join().unwrap().is_some());
    }

    #[test]
    fn a_tree_that_has_grown_is_not_handed_out_for_a_small_one() {
        recycle_here(Arc::new(tree(5_000)));
        assert!(here().is_empty());
        let large = take_large();
        assert!(large.is_none_or(|tree| tree.capacity_bytes() > MAX_TREE_BYTES));
    }
}
