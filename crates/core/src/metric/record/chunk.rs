//! The counts of one octave, at its place in a table.
//!
//! Threads count in 16 bits: what a reader waits for is memory, and this is the least of it. Before a counter is full, what it
//! says is set aside in 64 bits, of which the upper half has memory only where it is needed. The total of what is aside stands
//! in the table, so that a reader who is after a quantile passes over octaves without a look at what is aside in them.
#![allow(
    unsafe_code,
    reason = "a chunk that is made once and lives as long as its place, argued at each"
)]

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::index::{MAX_SCALE, OCTAVE};

/// What a counter is set aside at by whoever counts: as much again is left for those who wait to do the same. Small in tests,
/// which are to see it.
pub(super) const FULL: u16 = if cfg!(test) { 1 << 4 } else { 1 << 15 };

/// Bits of the lower half of what is aside. Few in tests, which are to see the upper half.
const LOWER_BITS: u32 = if cfg!(test) { 6 } else { u32::BITS };

/// Counters in a line of a cache, as most processors have it.
const LINE: usize = 64 / size_of::<AtomicU16>();
/// Counters that a reader who looks for a rank takes at once.
const STEP: usize = 8;

/// Where the chunk of an octave is, or will be.
pub(super) struct Place {
    chunk: AtomicPtr<Chunk>,
    /// How many measurements are aside. Changed with them.
    aside: AtomicU64,
}

#[repr(align(64))]
pub(super) struct Chunk {
    counts: [AtomicU16; OCTAVE],
    aside: Aside,
    octave: i32,
}

/// Changed by one thread at a time, which holds the lock of the tables, as do all that read.
struct Aside {
    lower: Halves,
    /// Null where it is all zeros.
    upper: AtomicPtr<Halves>,
}

type Halves = [AtomicU32; OCTAVE];

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
                aside: Aside::none(),
                octave,
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
        let (at, aside) = (at(bucket), &chunk.aside);
        aside.set(at, aside.of(at).saturating_add_signed(count));
        let all = self.aside().saturating_add_signed(count);
        self.aside.store(all, Ordering::Relaxed);
    }

    /// Takes all that was counted away, bucket by bucket.
    pub(super) fn take(&self, mut to: impl FnMut(i32, u64)) {
        self.set_aside();
        let Some(chunk) = self.chunk() else {
            return;
        };
        self.aside.store(0, Ordering::Relaxed);
        for (bucket, at) in chunk.buckets().zip(0..) {
            let count = chunk.aside.of(at);
            if count > 0 {
                chunk.aside.set(at, 0);
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
        let (lines, _) = self.counts.as_chunks::<LINE>();
        lines.iter().map(|[first, ..]| narrow(first)).sum()
    }

    /// What all other counters say.
    #[inline]
    pub(super) fn count_others(&self) -> u64 {
        let (lines, _) = self.counts.as_chunks::<LINE>();
        let mut all = 0;
        for [_, others @ ..] in lines {
            for other in others {
                all += narrow(other);
            }
        }
        all
    }

    /// What was counted in each bucket.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        (0..OCTAVE).map(|at| self.count(at))
    }

    #[inline]
    fn count(&self, at: usize) -> u64 {
        narrow(&self.counts[at]) + self.aside.of(at)
    }

    /// The bucket of the measurement of this `rank`, counted from 1, of those in here.
    pub(super) fn bucket_of(&self, rank: u64) -> Option<i32> {
        let (mut seen, mut at) = (0, 0);
        for counts in self.counts.as_chunks::<STEP>().0 {
            let step = counts.iter().map(narrow).sum::<u64>() + self.aside.of_step(at / STEP);
            if seen + step >= rank {
                break;
            }
            seen += step;
            at += STEP;
        }
        while at < OCTAVE {
            seen += self.count(at);
            if seen >= rank {
                return self.buckets().nth(at);
            }
            at += 1;
        }
        None
    }
}

impl Aside {
    const fn none() -> Self {
        Self {
            lower: [const { AtomicU32::new(0) }; OCTAVE],
            upper: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    fn of(&self, at: usize) -> u64 {
        let upper = self.upper().map_or(0, |upper| wide(&upper[at]));
        wide(&self.lower[at]) + (upper << LOWER_BITS)
    }

    /// Of all counters of a step.
    #[inline]
    fn of_step(&self, step: usize) -> u64 {
        let sum = |half: &Halves| {
            half.as_chunks::<STEP>().0[step]
                .iter()
                .map(wide)
                .sum::<u64>()
        };
        sum(&self.lower) + (self.upper().map_or(0, sum) << LOWER_BITS)
    }

    #[expect(clippy::cast_possible_truncation, reason = "in halves")]
    fn set(&self, at: usize, count: u64) {
        let (lower, upper) = (count & ((1 << LOWER_BITS) - 1), count >> LOWER_BITS);
        self.lower[at].store(lower as u32, Ordering::Relaxed);
        if upper > 0 && self.upper().is_none() {
            let zeros = Box::new([const { AtomicU32::new(0) }; OCTAVE]);
            self.upper.store(Box::into_raw(zeros), Ordering::Release);
        }
        if let Some(uppers) = self.upper() {
            uppers[at].store(upper as u32, Ordering::Relaxed);
        }
    }

    #[inline]
    fn upper(&self) -> Option<&Halves> {
        // SAFETY: null, or numbers that live as long as this.
        unsafe { self.upper.load(Ordering::Acquire).as_ref() }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let upper = *self.upper.get_mut();
        if !upper.is_null() {
            // SAFETY: made by `Box::into_raw` in `set`, and not shared any more.
            drop(unsafe { Box::from_raw(upper) });
        }
    }
}

#[inline]
fn narrow(count: &AtomicU16) -> u64 {
    count.load(Ordering::Relaxed).into()
}

#[inline]
fn wide(count: &AtomicU32) -> u64 {
    count.load(Ordering::Relaxed).into()
}

#[inline]
#[expect(clippy::cast_sign_loss, reason = "only the last six bits count")]
fn at(bucket: i32) -> usize {
    bucket as usize % OCTAVE
}
