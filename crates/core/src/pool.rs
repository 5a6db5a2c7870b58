//! Used trees on their way back to the recorder: their arenas are filled again instead of being freed and allocated anew.
//!
//! They travel in chunks, so that a lock is taken once for many trees. The recorder's side takes no lock that somebody
//! holds and never allocates: when the pool is busy or empty the recorder makes a fresh tree. Bounded in number and bytes.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fork::PerProcess;
use crate::tree::{OwnTree, SpanTree};

/// Trees that travel together.
const CHUNK_TREES: usize = 32;
/// Chunks that the pool holds at most: as many small trees as a worker lets go in one go.
const MAX_CHUNKS: usize = 256;
/// Memory that they take at most.
const MAX_BYTES: usize = 16 << 20;
/// Memory that a tree may have grown to and still be kept: most trees are small, and stay small when reused.
const MAX_TREE_BYTES: usize = 16 << 10;
/// Trees of long-running roots, thousands of spans each, are kept apart, so that a small tree never sits in their memory.
const MAX_LARGE_TREES: usize = 8;
const MAX_LARGE_TREE_BYTES: usize = 2 << 20;

type Chunk = Vec<OwnTree>;

static POOL: PerProcess<Mutex<Pool>> = PerProcess::new(Mutex::default);

thread_local! {
    static LOCAL: RefCell<Local> = const { RefCell::new(Local::new()) };
}

#[derive(Default)]
struct Pool {
    chunks: Vec<Chunk>,
    /// What the trees in the chunks take.
    bytes: usize,
    large: Chunk,
}

/// What one thread has at hand.
struct Local {
    /// Used trees to be filled again.
    filled: Chunk,
}

/// A used tree, emptied, if one is at hand.
#[inline]
pub fn take() -> Option<OwnTree> {
    LOCAL
        .try_with(|local| local.try_borrow_mut().ok()?.take())
        .ok()?
}

/// A used tree with room for thousands of spans, for a root that has shown to have as many.
pub(crate) fn take_large() -> Option<OwnTree> {
    POOL.get().try_lock().ok()?.large.pop()
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
fn emptied(shared: Arc<SpanTree>) -> Option<OwnTree> {
    let mut tree = OwnTree::try_from_shared(shared)?;
    tree.clear();
    let bytes = tree.capacity_bytes();
    if bytes <= MAX_TREE_BYTES {
        return Some(tree);
    }
    if bytes <= MAX_LARGE_TREE_BYTES {
        put_large(tree);
    }
    None
}

fn put_large(tree: OwnTree) {
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
    let bytes = bytes_of(&chunk);
    let mut pool = lock();
    if pool.chunks.len() < MAX_CHUNKS && pool.bytes + bytes <= MAX_BYTES {
        pool.bytes += bytes;
        pool.chunks.push(chunk);
    }
}

fn bytes_of(chunk: &Chunk) -> usize {
    chunk.iter().map(|tree| tree.capacity_bytes()).sum()
}

fn lock() -> MutexGuard<'static, Pool> {
    POOL.get().lock().unwrap_or_else(PoisonError::into_inner)
}

impl Local {
    const fn new() -> Self {
        Self {
            filled: Chunk::new(),
        }
    }

    #[inline]
    fn take(&mut self) -> Option<OwnTree> {
        if self.filled.is_empty() {
            self.refill()?;
        }
        self.filled.pop()
    }

    #[cold]
    fn refill(&mut self) -> Option<()> {
        let mut pool = POOL.get().try_lock().ok()?;
        self.filled = pool.chunks.pop()?;
        pool.bytes -= bytes_of(&self.filled);
        Some(())
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
        LOCAL.with_borrow(|local| local.filled.iter().map(|tree| &raw const **tree).collect())
    }

    #[test]
    fn a_tree_taken_back_is_filled_again_in_its_own_allocation() {
        let used = Arc::new(tree(3));
        let address = Arc::as_ptr(&used);
        recycle_here(used);
        assert_eq!(here(), [address]);
        let again = take().unwrap();
        assert!(again.is_empty());
        assert_eq!(Arc::as_ptr(&again.share()), address);
    }

    #[test]
    fn a_tree_that_somebody_holds_is_left_alone() {
        let held = Arc::new(tree(3));
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
        let middling = || Arc::new(tree(MAX_TREE_BYTES as u64 / 128));
        recycle((0..2 * MAX_BYTES / MAX_TREE_BYTES).map(|_| middling()));
        let kept = kept_bytes();
        assert!(kept.counted <= MAX_BYTES);
        assert_eq!(kept.counted, kept.held);
        // Another test may hold the lock for a moment: then a recorder makes a fresh tree.
        let other = std::thread::spawn(|| (0..1_000_000).find_map(|_| take()));
        assert!(other.join().unwrap().is_some());
        let left = kept_bytes();
        assert_eq!(left.counted, left.held, "what was taken is not counted");
    }

    struct KeptBytes {
        counted: usize,
        held: usize,
    }

    fn kept_bytes() -> KeptBytes {
        let pool = lock();
        KeptBytes {
            counted: pool.bytes,
            held: pool.chunks.iter().map(bytes_of).sum(),
        }
    }

    #[test]
    fn a_tree_that_has_grown_is_not_handed_out_for_a_small_one() {
        recycle_here(Arc::new(tree(5_000)));
        assert!(here().is_empty());
        let large = take_large();
        assert!(large.is_none_or(|tree| tree.capacity_bytes() > MAX_TREE_BYTES));
    }
}
