//! Encoders that have seen their resources, scopes and sites ask the allocator for nothing.
//!
//! ```ignore
//! #[global_allocator]
//! static COUNTING: Counting = Counting;
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::spans::arbitrary;

/// The system's allocator, which counts what each thread asks for.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // Nothing to count any more when a thread's locals are gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is left to the system's allocator.
#[expect(unsafe_code, reason = "an allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: by the caller's promise.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Makes an encoder that has seen nothing.
pub type NewEncoder = fn() -> Box<dyn Encoder<TreeBatch>>;

/// Encodes varied batches twice with each encoder that `encoders` makes: the second pass must allocate nothing.
///
/// # Panics
/// When it does, or when [`Counting`] is not the global allocator.
#[track_caller]
pub fn assert_second_pass_allocates_nothing(encoders: &[NewEncoder]) {
    let before = ALLOCATIONS.get();
    let batches = varied_batches();
    assert!(ALLOCATIONS.get() > before, "allocations are not counted");
    for batch in &batches {
        for encoder in encoders {
            let mut encoder = encoder();
            let allocations = allocations_of_second_pass(&mut *encoder, batch);
            assert_eq!(allocations, 0, "{}", encoder.encoding().name);
        }
    }
}

fn varied_batches() -> Vec<TreeBatch> {
    let mut runner = TestRunner::deterministic();
    let strategy = arbitrary::batch();
    let mut next = || {
        strategy
            .new_tree(&mut runner)
            .map(|batch| batch.current().build())
    };
    (0..8).filter_map(|_| next().ok()).collect()
}

fn allocations_of_second_pass(encoder: &mut dyn Encoder<TreeBatch>, batch: &TreeBatch) -> usize {
    let limits = Limits::bytes(1 << 20);
    let mut out = Vec::new();
    let mut encode = |out: &mut Vec<u8>| {
        out.clear();
        let mut cursor = batch.cursor();
        while encoder.encode(&mut cursor, &limits, out).more {
            out.clear();
        }
    };
    encode(&mut out);
    let before = ALLOCATIONS.get();
    encode(&mut out);
    ALLOCATIONS.get() - before
}
