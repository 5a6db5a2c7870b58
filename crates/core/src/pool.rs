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
/// Memory from which on fewer travel together, so that a thread that has gone quiet does not sit on much.
const FULL_CHUNK_BYTES: usize = 512 << 10;
/// Chunks that the pool holds at most: as many small trees as a worker lets go in one go.
const MAX_CHUNKS: usize = 256;
/// Memory that they take at most.
const MAX_BYTES: usize = 16 << 20;
/// Memory that a tree may have grown to and still be kept for any other: that of some 400 spans with four attributes. Growing it
/// anew costs as much as filling it.
const MAX_TREE_BYTES: usize = 64 << 10;
/// Trees of long-running roots, thousands of spans each, are kept apart, so that a small tree never sits in their memory.
const MAX_LARGE_TREES: usize = 8;
const MAX_LARGE_TREE_BYTES: usize = 2 << 20;

/// Used trees, and the memory that they take: who takes a chunk would wait for each of them to look at it.
#[derive(Default)]
struct Chunk {
    trees: Vec<OwnTree>,
    bytes: usize,
}

static POOL: PerProcess<Mutex<Pool>> = PerProcess::new(Mutex::default);

thread_local! {
    static LOCAL: RefCell<Local> = const { RefCell::new(Local::new()) };
}

#[derive(Default)]
struct Pool {
    chunks: Vec<Chunk>,
    /// What the trees in the chunks take.
    bytes: usize,
    large: Vec<OwnTree>,
}

/// What one thread has at hand.
struct Local {
    /// Used trees to be filled again.
    filled: Vec<OwnTree>,
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
    let mut chunk = Chunk::default();
    for (tree, bytes) in trees.into_iter().filter_map(emptied) {
        chunk.push(tree, bytes);
        if chunk.is_full() {
            put(std::mem::take(&mut chunk));
        }
    }
    put(chunk);
}

/// Takes `tree` back for this thread, if nobody else holds it.
pub fn recycle_here(tree: Arc<SpanTree>) {
    let Some((tree, bytes)) = emptied(tree) else {
        return;
    };
    // A thread that is ending frees it.
    let _ = LOCAL.try_with(|local| {
        if let Ok(mut local) = local.try_borrow_mut()
            && local.filled.len() < CHUNK_TREES
            && (local.filled.len() + 1) * bytes <= FULL_CHUNK_BYTES
        {
            local.filled.push(tree);
        }
    });
}

/// The tree without its content, and the memory that it takes, if nobody else holds it and it is of a size to keep here.
fn emptied(shared: Arc<SpanTree>) -> Option<(OwnTree, usize)> {
    let mut tree = OwnTree::try_from_shared(shared)?;
    tree.clear();
    let bytes = tree.capacity_bytes();
    if bytes <= MAX_TREE_BYTES {
        return Some((tree, bytes));
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
    if chunk.trees.is_empty() {
        return;
    }
    let mut pool = lock();
    if pool.chunks.len() < MAX_CHUNKS && pool.bytes + chunk.bytes <= MAX_BYTES {
        pool.bytes += chunk.bytes;
        pool.chunks.push(chunk);
    }
}

impl Chunk {
    fn push(&mut self, tree: OwnTree, bytes: usize) {
        if self.trees.capacity() == 0 {
            self.trees.reserve_exact(CHUNK_TREES);
        }
        self.trees.push(tree);
        self.bytes += bytes;
    }

    fn is_full(&self) -> bool {
        self.trees.len() == CHUNK_TREES || self.bytes >= FULL_CHUNK_BYTES
    }
}

fn lock() -> MutexGuard<'static, Pool> {
    POOL.get().lock().unwrap_or_else(PoisonError::into_inner)
}

impl Local {
    const fn new() -> Self {
        Self { filled: Vec::new() }
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
        let chunk = pool.chunks.pop()?;
        pool.bytes -= chunk.bytes;
        drop(pool);
        self.filled = chunk.trees;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SpanId, TraceId};
    use crate::intern::{SiteId, Symbol};
    use crate::tree::{SpanLimits, TreeBuilder, TreeStart};
    use crate::value::ValueRef;

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
        LOCAL.with_borrow_mut(|local| local.filled.clear());
        let middling = tree(MAX_TREE_BYTES as u64 / 80);
        let most = FULL_CHUNK_BYTES / middling.capacity_bytes();
        assert!(most < CHUNK_TREES);
        (0..CHUNK_TREES).for_each(|_| recycle_here(Arc::new(tree(MAX_TREE_BYTES as u64 / 80))));
        assert_eq!(here().len(), most);
    }

    #[test]
    fn fewer_trees_travel_together_when_they_are_larger() {
        for (spans, is_many) in [(1, true), (MAX_TREE_BYTES as u64 / 80, false)] {
            let mut chunk = Chunk::default();
            while !chunk.is_full() {
                let (tree, bytes) = emptied(Arc::new(tree(spans))).unwrap();
                chunk.push(tree, bytes);
            }
            assert_eq!(chunk.trees.len() == CHUNK_TREES, is_many);
            assert_eq!(chunk.bytes >= FULL_CHUNK_BYTES, !is_many);
            assert!(chunk.bytes < FULL_CHUNK_BYTES + MAX_TREE_BYTES);
            assert_eq!(chunk.bytes, held_by(&chunk));
        }
    }

    #[test]
    fn a_tree_of_a_few_hundred_spans_with_attributes_is_kept_with_its_room() {
        let start = TreeStart::new(TraceId::random(), Arc::default(), Arc::default());
        let mut builder = TreeBuilder::new(start, SpanLimits::default());
        for tick in 1..=300 {
            let span = builder.start(Symbol::EMPTY, SiteId::NONE, None, tick);
            for key in ["pool.first", "pool.second", "pool.third", "pool.fourth"] {
                let key = builder.symbol(key);
                builder.set_attribute(span, key, ValueRef::Str("text"));
            }
            builder.end(span, tick + 1);
        }
        let used = builder.finish_shared();
        let room = used.capacity_bytes();
        assert!(room > 300 * (40 + 4 * 16), "{room}");
        recycle_here(used);
        let again = take().unwrap();
        assert!(again.is_empty());
        assert_eq!(again.capacity_bytes(), room);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_chunks_and_hands_them_to_other_threads() {
        recycle((0..2 * MAX_CHUNKS * CHUNK_TREES).map(|_| Arc::new(tree(1))));
        assert!(lock().chunks.len() <= MAX_CHUNKS);
        let middling = || Arc::new(tree(MAX_TREE_BYTES as u64 / 80));
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

    fn held_by(chunk: &Chunk) -> usize {
        let trees = chunk.trees.iter();
        trees.map(|tree| tree.capacity_bytes()).sum()
    }

    fn kept_bytes() -> KeptBytes {
        let pool = lock();
        KeptBytes {
            counted: pool.bytes,
            held: pool.chunks.iter().map(held_by).sum(),
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
