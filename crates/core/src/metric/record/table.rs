//! The buckets of an exponential histogram that many threads count in, without a lock.
//!
//! Buckets stand in chunks, one an octave, made when a value first falls into it; an octave's place is its number modulo
//! 32. When the values span more than 32 octaves, a table of a coarser scale takes the place of the finest one. The old
//! one stays, because a thread may still be counting in it; reading adds them up.
#![allow(
    unsafe_code,
    reason = "tables and chunks that only grow, argued at each"
)]

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::counts::Counts;
use super::index::{MAX_SCALE, OCTAVE};
use crate::fork::Lock;

/// Chunks of a table: 16 KiB of counters.
const CHUNKS: usize = 32;
const CHUNKS_I32: i32 = 32;
const OCTAVE_I32: i32 = 1 << MAX_SCALE;

/// Counts by bucket.
pub(super) struct Tables {
    current: AtomicPtr<Table>,
    growing: Lock<()>,
}

struct Table {
    /// The finest scale less this one.
    coarser_by: u8,
    /// A bit for each place of a chunk that is there: a reader need not look at the others.
    used: AtomicU32,
    chunks: [AtomicPtr<Chunk>; CHUNKS],
    /// Of a finer scale; what has been counted there counts as well.
    older: *mut Table,
}

struct Chunk {
    octave: i32,
    counts: [AtomicU64; OCTAVE],
}

// SAFETY: tables and chunks are made by one thread, shared by reference, and dropped with the histogram.
unsafe impl Send for Tables {}
// SAFETY: as above; what changes in them is atomic.
unsafe impl Sync for Tables {}

impl Tables {
    /// No buckets yet.
    pub(super) const fn new() -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            growing: Lock::new(()),
        }
    }

    /// Counts one more in `bucket` of the finest scale. Returns what its counter said before.
    #[inline]
    pub(super) fn add(&self, bucket: i32) -> u64 {
        if let Some(table) = self.current() {
            let bucket = bucket >> table.coarser_by;
            let octave = octave_of(bucket);
            if let Some(chunk) = table
                .chunk_of(octave)
                .filter(|chunk| chunk.octave == octave)
            {
                return chunk.counter(bucket).fetch_add(1, Ordering::Relaxed);
            }
        }
        self.add_where_none_was(bucket)
    }

    #[inline]
    fn current(&self) -> Option<&Table> {
        // SAFETY: null, or a table that lives as long as this.
        unsafe { self.current.load(Ordering::Acquire).as_ref() }
    }

    #[cold]
    fn add_where_none_was(&self, bucket: i32) -> u64 {
        {
            let _one_at_a_time = self.growing.lock();
            self.make_room(bucket);
        }
        self.add(bucket)
    }

    /// Makes the chunk of `bucket`, in a coarser table if need be.
    fn make_room(&self, bucket: i32) {
        let Some(table) = self.current() else {
            let table = Table::new(0, ptr::null_mut());
            table.make_chunk(octave_of(bucket));
            return self.replace_by(table);
        };
        let octave = octave_of(bucket >> table.coarser_by);
        let (mut low, mut high) = (octave, octave);
        for finer in self.all() {
            for chunk in finer.chunks() {
                let octave = chunk.octave >> (table.coarser_by - finer.coarser_by);
                low = low.min(octave);
                high = high.max(octave);
            }
        }
        let coarser_by = (0..=MAX_SCALE + 1)
            .find(|by| ((high >> by) - (low >> by)) < CHUNKS_I32)
            .unwrap_or_default();
        if coarser_by == 0 {
            return table.make_chunk(octave);
        }
        let older = self.current.load(Ordering::Acquire);
        let coarser = Table::new(table.coarser_by + coarser_by, older);
        coarser.make_chunk(octave_of(bucket >> coarser.coarser_by));
        self.replace_by(coarser);
    }

    fn replace_by(&self, table: Table) {
        let table = Box::into_raw(Box::new(table));
        self.current.store(table, Ordering::Release);
    }

    /// Adds all that was counted to `counts`.
    pub(super) fn read(&self, counts: &mut Counts) {
        for table in self.all() {
            let scale = i32::from(MAX_SCALE) - i32::from(table.coarser_by);
            table.read(scale, counts);
        }
    }

    /// Sets every counter to zero. Only in a forked child, before anything is counted there.
    pub(super) fn reset(&self) {
        for chunk in self.all().flat_map(Table::chunks) {
            let zero = |counter: &AtomicU64| counter.store(0, Ordering::Relaxed);
            chunk.counts.iter().for_each(zero);
        }
    }

    /// From the coarsest to the finest.
    fn all(&self) -> impl Iterator<Item = &Table> {
        // SAFETY: null, or a table that lives as long as this.
        let finer = |table: &&Table| unsafe { table.older.as_ref() };
        std::iter::successors(self.current(), finer)
    }
}

impl Table {
    fn new(coarser_by: u8, older: *mut Self) -> Self {
        Self {
            coarser_by,
            used: AtomicU32::new(0),
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            older,
        }
    }

    #[inline]
    fn chunk_of(&self, octave: i32) -> Option<&Chunk> {
        // SAFETY: null, or a chunk that lives as long as its table.
        unsafe { self.place_of(octave).load(Ordering::Acquire).as_ref() }
    }

    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "only the last five bits count")]
    fn place_of(&self, octave: i32) -> &AtomicPtr<Chunk> {
        &self.chunks[octave as usize % CHUNKS]
    }

    /// Called by one thread at a time.
    fn make_chunk(&self, octave: i32) {
        let place = self.place_of(octave);
        if place.load(Ordering::Acquire).is_null() {
            let chunk = Chunk {
                octave,
                counts: [const { AtomicU64::new(0) }; OCTAVE],
            };
            place.store(Box::into_raw(Box::new(chunk)), Ordering::Release);
            let bit = 1 << octave.rem_euclid(CHUNKS_I32);
            self.used.fetch_or(bit, Ordering::Release);
        }
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        let mut used = self.used.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            if used == 0 {
                return None;
            }
            let place = used.trailing_zeros() as usize;
            used &= used - 1;
            // SAFETY: as in `chunk_of`.
            unsafe { self.chunks[place].load(Ordering::Acquire).as_ref() }
        })
    }

    fn read(&self, scale: i32, counts: &mut Counts) {
        let octaves = self.chunks().map(|chunk| chunk.octave);
        let Some((low, high)) = octaves.fold(None, |range: Option<(i32, i32)>, octave| {
            Some(range.map_or((octave, octave), |(low, high)| {
                (low.min(octave), high.max(octave))
            }))
        }) else {
            return;
        };
        let buckets = low * OCTAVE_I32..(high + 1) * OCTAVE_I32;
        counts.make_room(scale, buckets);
        for chunk in self.chunks() {
            counts.add(scale, chunk.octave * OCTAVE_I32, &chunk.counts);
        }
    }
}

impl Chunk {
    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "only the last six bits count")]
    fn counter(&self, bucket: i32) -> &AtomicU64 {
        &self.counts[bucket as usize % OCTAVE]
    }
}

#[inline]
fn octave_of(bucket: i32) -> i32 {
    bucket >> MAX_SCALE
}

impl Drop for Tables {
    fn drop(&mut self) {
        let mut next = *self.current.get_mut();
        while !next.is_null() {
            // SAFETY: made by `Box::into_raw`, and not shared any more.
            let mut table = unsafe { Box::from_raw(next) };
            next = table.older;
            for place in &mut table.chunks {
                let chunk = *place.get_mut();
                if !chunk.is_null() {
                    // SAFETY: as above.
                    drop(unsafe { Box::from_raw(chunk) });
                }
            }
        }
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octaves = self.current().map_or(0, |table| table.chunks().count());
        write!(f, "Tables({octaves} octaves)")
    }
}
