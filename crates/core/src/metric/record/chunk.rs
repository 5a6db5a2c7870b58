//! The counts of one octave, at its place in a table.
//!
//! Threads count in 16 bits: what a reader waits for is memory, and this is the least of it. Before a counter is full, what it
//! says is set aside in 64 bits. The total of what is aside stands in the table, so that a reader who is after a quantile
//! passes over octaves without a look at what is aside in them.
#![allow(
    unsafe_code,
    reason = "a chunk that is made once and lives as long as its place, argued at each"
)]

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU64, Ordering};

use super::index::{MAX_SCALE, OCTAVE};

/// What a counter is set aside at by whoever counts: as much again is left for those who wait to do the same. Small in tests,
/// which are to see it.
pub(super) const FULL: u16 = if cfg!(test) { 1 << 4 } else { 1 << 15 };

/// Counters in a line of a cache, as most processors have it.
const LINE: usize = 64 / size_of::<AtomicU16>();

/// Where the chunk of an octave is, or will be.
pub(super) struct Place {
    chunk: AtomicPtr<Chunk>,
    /// How many measurements are aside. Changed with them.
    aside: AtomicU64,
}

#[repr(align(64))]
pub(super) struct Chunk {
    counts: [AtomicU16; OCTAVE],
    octave: i32,
    /// Changed by one thread at a time, which holds the lock of the tables, as do all that read.
    aside: [AtomicU64; OCTAVE],
}

impl Place {
    pub(super) const fn empty() -> Self {
        Self {
            chunk: AtomicPtr::new(ptr::null_mut()),
            aside: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn chunk(&self) -> Option<&Chunk> {
        // SAFETY: null, or a chunk that lives as long as this.
        unsafe { self.chunk.load(Ordering::Acquire).as_ref() }
    }

    /// Makes the chunk of `octave`, unless there is one. Called by one thread at a time.
    pub(super) fn make(&self, octave: i32) {
        if self.chunk().is_none() {
            let chunk = Chunk {
                counts: [const { AtomicU16::new(0) }; OCTAVE],
                octave,
                aside: [const { AtomicU64::new(0) }; OCTAVE],
            };
            let chunk = Box::into_raw(Box::new(chunk));
            self.chunk.store(chunk, Ordering::Release);
        }
    }

    /// How many measurements are aside.
    pub(super) fn aside(&self) -> u64 {
        self.aside.load(Ordering::Relaxed)
    }

    /// Sets aside what the counters say.
    pub(super) fn set_aside(&self) {
        for bucket in self.chunk().into_iter().flat_map(Chunk::buckets) {
            self.relieve(bucket);
        }
    }

    /// Sets aside what the counter of `bucket` says.
    pub(super) fn relieve(&self, bucket: i32) {
        let Some(chunk) = self.chunk() else {
            return;
        };
        let count = &chunk.counts[at(bucket)];
        // Most are zero, and a look costs less than a swap.
        if count.load(Ordering::Relaxed) > 0 {
            let count = count.swap(0, Ordering::Relaxed);
            self.change_aside(bucket, i64::from(count));
        }
    }

    /// Sets `count` aside for `bucket`, or takes it away where it is negative.
    pub(super) fn change_aside(&self, bucket: i32, count: i64) {
        let Some(chunk) = self.chunk() else {
            return;
        };
        for number in [&chunk.aside[at(bucket)], &self.aside] {
            let changed = number.load(Ordering::Relaxed).saturating_add_signed(count);
            number.store(changed, Ordering::Relaxed);
        }
    }

    /// Takes all that was counted away, bucket by bucket.
    pub(super) fn take(&self, mut to: impl FnMut(i32, u64)) {
        self.set_aside();
        let Some(chunk) = self.chunk() else {
            return;
        };
        self.aside.store(0, Ordering::Relaxed);
        for (bucket, aside) in chunk.buckets().zip(&chunk.aside) {
            let count = aside.swap(0, Ordering::Relaxed);
            if count > 0 {
                to(bucket, count);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let chunk = *self.chunk.get_mut();
        if !chunk.is_null() {
            // SAFETY: made by `Box::into_raw` in `make`, and not shared any more.
            drop(unsafe { Box::from_raw(chunk) });
        }
    }
}

impl Chunk {
    #[inline]
    pub(super) fn octave(&self) -> i32 {
        self.octave
    }

    /// Counts one more. Returns what the counter said before.
    #[inline]
    pub(super) fn add(&self, bucket: i32) -> u16 {
        self.counts[at(bucket)].fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn buckets(&self) -> Range<i32> {
        self.octave << MAX_SCALE..(self.octave + 1) << MAX_SCALE
    }

    /// What the first counter of each line of the cache says. Asked of all chunks, it has all lines on their way at once.
    #[inline]
    pub(super) fn count_first(&self) -> u64 {
        sum(self.counts.iter().step_by(LINE))
    }

    /// What all other counters say.
    #[inline]
    pub(super) fn count_others(&self) -> u64 {
        let lines = self.counts.chunks_exact(LINE);
        lines.map(|line| sum(line[1..].iter())).sum()
    }

    /// What was counted in each bucket.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        let both = self.counts.iter().zip(&self.aside);
        both.map(|(count, aside)| sum([count].into_iter()) + aside.load(Ordering::Relaxed))
    }
}

#[inline]
fn sum<'c>(counts: impl Iterator<Item = &'c AtomicU16>) -> u64 {
    let load = |count: &AtomicU16| u64::from(count.load(Ordering::Relaxed));
    counts.map(load).sum()
}

#[inline]
#[expect(clippy::cast_sign_loss, reason = "only the last six bits count")]
fn at(bucket: i32) -> usize {
    bucket as usize % OCTAVE
}
