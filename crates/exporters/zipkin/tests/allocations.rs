//! An encoder that has seen its resources, scopes and sites asks the allocator for nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use hiq_testkit::spans::arbitrary;
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinJsonV1Encoder, ZipkinProtoEncoder};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

struct Counting;

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

#[global_allocator]
static COUNTING: Counting = Counting;

fn batches() -> Vec<TreeBatch> {
    let mut runner = TestRunner::deterministic();
    let mut next = || {
        arbitrary::batch()
            .new_tree(&mut runner)
            .unwrap()
            .current()
            .build()
    };
    (0..8).map(|_| next()).collect()
}

fn allocations_of_second_pass(encoder: &mut impl Encoder<TreeBatch>, batch: &TreeBatch) -> usize {
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

#[test]
fn the_second_pass_allocates_nothing() {
    let before = ALLOCATIONS.get();
    let batches = batches();
    assert!(ALLOCATIONS.get() > before, "allocations are not counted");
    for batch in &batches {
        let json = allocations_of_second_pass(&mut ZipkinJsonEncoder::new(), batch);
        let v1 = allocations_of_second_pass(&mut ZipkinJsonV1Encoder::new(), batch);
        let proto = allocations_of_second_pass(&mut ZipkinProtoEncoder::new(), batch);
        assert_eq!((json, v1, proto), (0, 0, 0));
    }
}
