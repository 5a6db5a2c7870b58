//! The counts of one octave, at its place in a table.
//!
//! Threads count in 16 bits: what a reader waits for is memory, and this is the least of it. Before a counter is full, what it
//! says is set aside in 64 bits, which have memory only in octaves where that has happened. What is forgotten is taken from
//! there first: a reader who finds nothing aside has no more to look at than the counters.
#![allow(
    unsafe_code,
    reason = "a chunk that is made once and lives as long as its place, argued at each"
)]

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::counters::{Counters, STEP};
use super::fetch::fetch;
use super::index::OCTAVE;

/// What a counter is set aside at by whoever counts: as much again is left for those who wait to do the same. Small in tests,
/// which are to see it.
pub(super) const FULL: u16 = if cfg!(test) { 1 << 4 } else { 1 << 15 };

/// Where the chunk of an octave is, or will be.
pub(super) struct Place {
    chunk: AtomicPtr<Chunk>,
}

pub(super) struct Chunk {
    counters: Counters,
    /// Null until something is set aside. Changed by one thread at a time, which holds the lock of the tables, as do all that
    /// read.
    aside: AtomicPtr<Aside>,
}

pub(super) struct Aside {
    /// Of all counters.
    total: AtomicU64,
    counts: [AtomicU64; OCTAVE],
}

/// What was counted in an octave, for those who hold the lock of the tables.
pub(super) struct Octave<'t> {
    pub(super) chunk: &'t Chunk,
    pub(super) aside: Option<&'t Aside>,
}

impl Place {
    pub(super) const fn empty() -> Self {
        Self {
            chunk: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    pub(super) fn chunk(&self) -> Option<&Chunk> {
        // SAFETY: null, or a chunk that lives as long as this.
        unsafe { self.chunk.load(Ordering::Acquire).as_ref() }
    }

    /// Makes the chunk, unless there is one. Called by one thread at a time.
    pub(super) fn make(&self) {
        if self.chunk().is_none() {
            let chunk = Chunk {
                counters: Counters::zero(),
                aside: AtomicPtr::new(ptr::null_mut()),
            };
            let chunk = Box::into_raw(Box::new(chunk));
            self.chunk.store(chunk, Ordering::Release);
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
    /// Counts one more. Returns what the counter said before.
    #[inline]
    pub(super) fn add(&self, bucket: i32) -> u16 {
        self.counters.add(at(bucket), 1)
    }

    /// Has what a reader looks at on its way from memory.
    #[inline]
    pub(super) fn fetch(&self) {
        fetch(&self.counters);
    }

    /// What was set aside, where there is any.
    pub(super) fn aside(&self) -> Option<&Aside> {
        let aside = self.room_aside();
        aside.filter(|aside| wide(&aside.total) > 0)
    }

    fn room_aside(&self) -> Option<&Aside> {
        // SAFETY: null, or what lives as long as this.
        unsafe { self.aside.load(Ordering::Acquire).as_ref() }
    }

    /// Sets aside what the counter of `bucket` says.
    pub(super) fn relieve(&self, bucket: i32) {
        let count = self.counters.take(at(bucket), u64::MAX);
        self.set_aside(bucket, count);
    }

    /// Adds `count` to what was counted in `bucket`.
    pub(super) fn give(&self, bucket: i32, count: u64) {
        let said = self.counters.get(at(bucket));
        match u16::try_from(count) {
            Ok(count) if said.saturating_add(count) < FULL => {
                self.counters.add(at(bucket), count);
            }
            _ => self.set_aside(bucket, count),
        }
    }

    /// Takes `count`, which was counted in `bucket`, away.
    pub(super) fn take(&self, bucket: i32, count: u64) {
        let aside = self
            .aside()
            .map_or(0, |aside| aside.take(at(bucket), count));
        self.counters.take(at(bucket), count - aside);
    }

    /// Takes all that was counted away, and tells what that was by the number of the bucket in the octave.
    pub(super) fn take_all(&self, mut to: impl FnMut(i32, u64)) {
        for (at, bucket) in (0..OCTAVE).zip(0..) {
            let aside = self.aside().map_or(0, |aside| aside.take(at, u64::MAX));
            let count = self.counters.take(at, u64::MAX) + aside;
            if count > 0 {
                to(bucket, count);
            }
        }
    }

    /// Sets everything to zero, even what a thread was about to change that did not come along to a forked child.
    pub(super) fn reset(&self) {
        self.counters.reset();
        if let Some(aside) = self.room_aside() {
            aside.total.store(0, Ordering::Relaxed);
            let zero = |count: &AtomicU64| count.store(0, Ordering::Relaxed);
            aside.counts.iter().for_each(zero);
        }
    }

    fn set_aside(&self, bucket: i32, count: u64) {
        if self.room_aside().is_none() {
            let aside = Aside {
                total: AtomicU64::new(0),
                counts: [const { AtomicU64::new(0) }; OCTAVE],
            };
            let aside = Box::into_raw(Box::new(aside));
            self.aside.store(aside, Ordering::Release);
        }
        if let Some(aside) = self.room_aside() {
            aside.counts[at(bucket)].fetch_add(count, Ordering::Relaxed);
            aside.total.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let aside = *self.aside.get_mut();
        if !aside.is_null() {
            // SAFETY: made by `Box::into_raw` in `set_aside`, and not shared any more.
            drop(unsafe { Box::from_raw(aside) });
        }
    }
}

impl Aside {
    /// Takes up to `count` away from the counter at `at`, and returns how many that are.
    fn take(&self, at: usize, count: u64) -> u64 {
        let taken = wide(&self.counts[at]).min(count);
        self.counts[at].fetch_sub(taken, Ordering::Relaxed);
        self.total.fetch_sub(taken, Ordering::Relaxed);
        taken
    }

    fn sum(&self, places: Range<usize>) -> u64 {
        self.counts[places].iter().map(wide).sum()
    }
}

impl Octave<'_> {
    /// How many measurements were counted.
    #[inline]
    pub(super) fn total(&self) -> u64 {
        let aside = self.aside.map_or(0, |aside| wide(&aside.total));
        self.chunk.counters.sum() + aside
    }

    /// What was counted in each bucket.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        let aside = |at: usize| self.aside.map_or(0, |aside| wide(&aside.counts[at]));
        (0..OCTAVE).map(move |at| u64::from(self.chunk.counters.get(at)) + aside(at))
    }

    /// The number in the octave of the bucket with the measurement of this `rank`, counted from 1.
    pub(super) fn bucket_of(&self, rank: u64) -> Option<i32> {
        let (mut seen, mut at) = (0, 0);
        for counted in self.chunk.counters.steps() {
            let step = counted + self.aside.map_or(0, |aside| aside.sum(at..at + STEP));
            if seen + step >= rank {
                break;
            }
            seen += step;
            at += STEP;
        }
        let at = (at..OCTAVE).find(|at| {
            let aside = self.aside.map_or(0, |aside| wide(&aside.counts[*at]));
            seen += u64::from(self.chunk.counters.get(*at)) + aside;
            seen >= rank
        })?;
        i32::try_from(at).ok()
    }
}

#[inline]
fn wide(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[inline]
#[expect(clippy::cast_sign_loss, reason = "only the last six bits count")]
fn at(bucket: i32) -> usize {
    bucket as usize % OCTAVE
}
