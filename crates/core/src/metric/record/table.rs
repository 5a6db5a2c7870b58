//! The buckets of an exponential histogram that many threads count in, without a lock.
//!
//! Buckets stand in chunks, one an octave, made when a value first falls into it; an octave's place is its number modulo
//! 32. When the values span more than 32 octaves, a table of a coarser scale takes the place of the finest one. The old
//! one stays, because a thread may still be counting in it; who reads takes what is in it along.
#![allow(
    unsafe_code,
    reason = "tables and chunks that only grow, argued at each"
)]

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use super::chunk::{Chunk, FULL, Octave, Place};
use super::counts::Sparse;
use super::fetch::fetch;
use super::index::MAX_SCALE;
use super::octaves::{Octaves, Totals};
use crate::fork::Lock;

/// Chunks of a table: 4 KiB of counters, and 16 KiB for what is set aside of them where that is much.
pub(super) const CHUNKS: usize = 32;
const CHUNKS_I32: i32 = 32;

/// Counts by bucket.
pub(super) struct Tables {
    current: AtomicPtr<Table>,
    /// Held by who changes more than a counter, and by who reads: counts that are on their way are nowhere.
    moving: Lock<()>,
}

/// In the order in which a reader looks at it, who may have to wait for every line of memory.
#[repr(C, align(64))]
pub(super) struct Table {
    /// The finest scale less this one.
    coarser_by: u8,
    /// A bit for each place of a chunk that is there: a reader need not look at the others.
    used: AtomicU32,
    /// A bit for each place where something is aside.
    aside: AtomicU32,
    /// The lowest octave that has a chunk. All that have one are less than [`CHUNKS`] above it.
    low: AtomicI32,
    /// Of a finer scale; what has been counted there counts as well.
    older: *mut Table,
    places: [Place; CHUNKS],
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
            moving: Lock::new(()),
        }
    }

    /// Counts one more in `bucket` of the finest scale. Returns what its counter said before.
    #[inline]
    pub(super) fn add(&self, bucket: i32) -> u16 {
        if let Some(table) = self.current() {
            let bucket = bucket >> table.coarser_by;
            if let Some(chunk) = table.chunk_of(octave_of(bucket)) {
                let before = chunk.add(bucket);
                if before >= FULL {
                    self.relieve(table, bucket);
                }
                return before;
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
    fn add_where_none_was(&self, bucket: i32) -> u16 {
        {
            let _one_at_a_time = self.moving.lock();
            self.make_room(bucket);
        }
        self.add(bucket)
    }

    #[cold]
    fn relieve(&self, table: &Table, bucket: i32) {
        let _one_at_a_time = self.moving.lock();
        table.change(octave_of(bucket), |chunk| chunk.relieve(bucket));
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
            for octave in finer.octaves() {
                let octave = octave >> (table.coarser_by - finer.coarser_by);
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

    /// Has the current table on its way from memory at depth 1, and what it holds at depth 2.
    pub(super) fn fetch(&self, depth: usize) {
        match self.current() {
            Some(table) if depth == 1 => fetch(table),
            Some(table) => {
                let places = table.octaves().map(|octave| table.place_of(octave));
                places.filter_map(Place::chunk).for_each(Chunk::fetch);
            }
            None => {}
        }
    }

    /// All that is there, as it is now; `None` where nothing was ever counted.
    pub(super) fn octaves<'t>(&'t self, totals: &'t mut Totals) -> Option<Octaves<'t>> {
        self.current()?;
        let still = self.moving.lock();
        let table = self.settle()?;
        Some(Octaves::of(table, still, totals))
    }

    /// Takes away `counts`, which have been read here.
    pub(super) fn forget(&self, counts: &Sparse) {
        let _one_at_a_time = self.moving.lock();
        let Some(table) = self.settle() else {
            return;
        };
        for (bucket, count) in counts.on_scale(table.scale()) {
            table.change(octave_of(bucket), |chunk| chunk.take(bucket, count.into()));
        }
    }

    /// The current table, with all that finer ones have. Called by one thread at a time.
    fn settle(&self) -> Option<&Table> {
        let table = self.current()?;
        for finer in self.all().skip(1) {
            let coarser_by = table.coarser_by - finer.coarser_by;
            for octave in finer.octaves() {
                let first = octave << MAX_SCALE;
                let give = |bucket, count| table.give((first + bucket) >> coarser_by, count);
                finer.change(octave, |chunk| chunk.take_all(give));
            }
        }
        Some(table)
    }

    /// Sets every counter to zero. Only in a forked child, before anything is counted there.
    pub(super) fn reset(&self) {
        for table in self.all() {
            for octave in table.octaves() {
                table.change(octave, Chunk::reset);
            }
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
            aside: AtomicU32::new(0),
            low: AtomicI32::new(i32::MAX),
            older,
            places: [const { Place::empty() }; CHUNKS],
        }
    }

    pub(super) fn scale(&self) -> i32 {
        i32::from(MAX_SCALE) - i32::from(self.coarser_by)
    }

    #[inline]
    fn chunk_of(&self, octave: i32) -> Option<&Chunk> {
        let chunk = self.place_of(octave).chunk()?;
        // Read after the chunk, and so as low as the octave that it was made for: another one at its place is out of reach.
        let low = self.low.load(Ordering::Relaxed);
        let is_in_reach = (0..CHUNKS_I32).contains(&octave.wrapping_sub(low));
        is_in_reach.then_some(chunk)
    }

    #[inline]
    #[expect(clippy::cast_sign_loss, reason = "only the last five bits count")]
    fn place_of(&self, octave: i32) -> &Place {
        &self.places[octave as usize % CHUNKS]
    }

    /// Called by one thread at a time.
    fn make_chunk(&self, octave: i32) {
        self.low.fetch_min(octave, Ordering::Relaxed);
        self.used.fetch_or(bit_of(octave), Ordering::Relaxed);
        // The last step: where a chunk is found, a reader is shown it, even in a child that was forked between two of them.
        self.place_of(octave).make();
    }

    /// Called by one thread at a time.
    fn give(&self, bucket: i32, count: u64) {
        let octave = octave_of(bucket);
        self.make_chunk(octave);
        self.change(octave, |chunk| chunk.give(bucket, count));
    }

    /// Has `change` change the chunk of `octave`, with what is aside there. Called by one thread at a time.
    fn change(&self, octave: i32, change: impl FnOnce(&Chunk)) {
        if let Some(chunk) = self.chunk_of(octave) {
            change(chunk);
            match chunk.aside() {
                Some(_) => self.aside.fetch_or(bit_of(octave), Ordering::Relaxed),
                None => self.aside.fetch_and(!bit_of(octave), Ordering::Relaxed),
            };
        }
    }

    /// What is in `octave`, if there is a chunk. Called by one thread at a time.
    #[inline]
    pub(super) fn octave(&self, octave: i32) -> Option<Octave<'_>> {
        let chunk = self.chunk_of(octave)?;
        let has_aside = self.aside.load(Ordering::Relaxed) & bit_of(octave) != 0;
        let aside = if has_aside { chunk.aside() } else { None };
        Some(Octave { chunk, aside })
    }

    /// Where there are chunks, from the lowest octave to the highest. Called by one thread at a time.
    pub(super) fn octaves(&self) -> impl Iterator<Item = i32> {
        let low = self.low.load(Ordering::Relaxed);
        let first = low.rem_euclid(CHUNKS_I32).cast_unsigned();
        let mut left = self.used.load(Ordering::Relaxed).rotate_right(first);
        std::iter::from_fn(move || {
            let above = left.trailing_zeros().cast_signed();
            left &= left.wrapping_sub(1);
            (above < CHUNKS_I32).then_some(low + above)
        })
    }
}

/// Of the place of `octave`.
#[inline]
fn bit_of(octave: i32) -> u32 {
    1 << octave.rem_euclid(CHUNKS_I32)
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
            let table = unsafe { Box::from_raw(next) };
            next = table.older;
        }
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octaves = self.current().map_or(0, |table| table.octaves().count());
        write!(f, "Tables({octaves} octaves)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::counts::Distribution;
    use super::super::index;
    use super::super::rank::{Ranked, Seek};
    use super::*;

    fn total(tables: &Tables) -> u64 {
        tables.octaves(&mut Totals::default()).total()
    }

    fn all(tables: &Tables) -> Distribution {
        let mut all = Distribution::default();
        if let Some(octaves) = tables.octaves(&mut Totals::default()) {
            octaves.read(&mut all.positive);
        }
        all
    }

    const THREADS: i32 = 4;
    const EACH: u64 = 50_000;

    /// Counts in two buckets of all threads, 1 and 2, and one of each thread's own in another octave, and does something
    /// else as often as possible meanwhile.
    fn count_while(tables: &Tables, mut meanwhile: impl FnMut() + Send) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    meanwhile();
                }
            });
            let count = |thread: i32| {
                let buckets = [1, 2, 64 * (thread + 1)].into_iter().cycle();
                let count = move || {
                    for (bucket, _) in buckets.zip(0..EACH) {
                        tables.add(bucket);
                    }
                };
                scope.spawn(count)
            };
            let counting: Vec<_> = (0..THREADS).map(count).collect();
            let ended = counting.into_iter().map(|thread| thread.join().is_ok());
            assert_eq!(ended.filter(|ended| *ended).count(), 4);
            over.store(true, Ordering::Release);
            assert!(other.join().is_ok());
        });
    }

    #[test]
    fn counters_that_are_full_lose_nothing_whoever_reads_meanwhile() {
        let tables = Tables::new();
        let mut before = 0;
        count_while(&tables, || {
            let now = total(&tables);
            assert!(now >= before, "{now} after {before}");
            before = now;
        });
        assert_eq!(total(&tables), 4 * EACH);
        let buckets = all(&tables).positive.to_buckets();
        // Of three measurements the first two go to the shared ones.
        assert_eq!(&buckets.counts[..2], [4 * 16_667, 4 * 16_667]);
        assert_eq!(buckets.counts.iter().sum::<u64>(), 4 * EACH);
    }

    #[test]
    fn what_is_forgotten_while_others_count_is_nothing_of_theirs() {
        let tables = Tables::new();
        let mut forgotten = [0; 5 * 64];
        count_while(&tables, || {
            let read = all(&tables).to_sparse().positive;
            tables.forget(&read);
            for (bucket, count) in read.on_scale(6) {
                forgotten[usize::try_from(bucket).unwrap()] += u64::from(count);
            }
        });
        let left = all(&tables).to_sparse().positive;
        for (bucket, count) in left.on_scale(6) {
            forgotten[usize::try_from(bucket).unwrap()] += u64::from(count);
        }
        let own = [64, 128, 192, 256].map(|bucket| forgotten[bucket]);
        assert_eq!(own, [16_666; 4]);
        assert_eq!(forgotten[1..3], [4 * 16_667; 2]);
        assert_eq!(forgotten.iter().sum::<u64>(), 4 * EACH);
    }

    #[test]
    fn what_is_forgotten_is_what_was_read_even_on_a_scale_that_has_become_coarser() {
        let tables = Tables::new();
        (0..100).for_each(|_| _ = tables.add(7));
        (0..50).for_each(|_| _ = tables.add(70));
        let before = all(&tables).to_sparse();
        (0..30).for_each(|_| _ = tables.add(7));
        // 32 octaves above another one, whose place it would have: the buckets are twice as wide from now on.
        (0..20).for_each(|_| _ = tables.add(33 * 64 + 9));
        assert_eq!(total(&tables), 200);
        tables.forget(&before.positive);
        assert_eq!(total(&tables), 50);
        let left = all(&tables).positive;
        assert_eq!((left.scale(), left.to_buckets().offset), (5, 3));
        let buckets = left.to_buckets().counts;
        assert_eq!((buckets[0], buckets.last()), (30, Some(&20)));
        assert_eq!(buckets.iter().sum::<u64>(), 50);
    }

    #[test]
    fn what_is_forgotten_is_taken_from_what_is_aside_and_the_rest_from_the_counter() {
        let tables = Tables::new();
        // 17 are set aside, three are not.
        (0..20).for_each(|_| _ = tables.add(5));
        let read = all(&tables).to_sparse().positive;
        (0..7).for_each(|_| _ = tables.add(5));
        tables.forget(&read);
        assert_eq!(total(&tables), 7);
        assert_eq!(all(&tables).positive.to_buckets().counts, [7]);
    }

    #[test]
    fn what_is_reset_counts_from_zero_even_what_was_aside() {
        let tables = Tables::new();
        (0..100).for_each(|_| _ = tables.add(3));
        tables.reset();
        assert_eq!(total(&tables), 0);
        (0..30).for_each(|_| _ = tables.add(6));
        (0..5).for_each(|_| _ = tables.add(8));
        assert_eq!(total(&tables), 35);
        let buckets = all(&tables).positive.to_buckets();
        assert_eq!((buckets.offset, &buckets.counts[..]), (6, &[30, 0, 5][..]));
    }

    #[test]
    fn totals_of_one_table_are_not_those_of_the_next_in_the_same_room() {
        let mut totals = Totals::default();
        let (first, next) = (Tables::new(), Tables::new());
        (0..9).for_each(|octave| _ = first.add(octave * 64));
        assert_eq!(first.octaves(&mut totals).total(), 9);
        (0..2).for_each(|nth| _ = next.add(nth * 7 * 64));
        let octaves = next.octaves(&mut totals);
        assert_eq!(octaves.total(), 2);
        let value = octaves.value_of(2, &mut Seek::default());
        assert_eq!(value.to_bits(), index::middle(7 * 64, 6).to_bits());
    }

    #[test]
    fn every_bucket_of_an_octave_counts() {
        let tables = Tables::new();
        (64..128).for_each(|bucket| _ = tables.add(bucket));
        assert_eq!(total(&tables), 64);
        let mut totals = Totals::default();
        let octaves = tables.octaves(&mut totals);
        let mut seek = Seek::default();
        for (bucket, rank) in (64..128).zip(1..) {
            let value = octaves.value_of(rank, &mut seek);
            assert_eq!(value.to_bits(), index::middle(bucket, 6).to_bits());
        }
    }

    #[test]
    fn a_rank_is_found_where_much_is_aside() {
        let tables = Tables::new();
        for bucket in [3, 40] {
            (0..1_000).for_each(|_| _ = tables.add(bucket));
        }
        let mut totals = Totals::default();
        let octaves = tables.octaves(&mut totals);
        let mut seek = Seek::default();
        let mut value = |rank| octaves.value_of(rank, &mut seek);
        let values = [1, 1_000, 1_001, 2_000].map(&mut value).map(f64::to_bits);
        let middles = [3, 3, 40, 40].map(|bucket| index::middle(bucket, 6).to_bits());
        assert_eq!(values, middles);
    }

    #[test]
    fn a_rank_is_found_across_octaves_and_in_what_is_aside() {
        let tables = Tables::new();
        for bucket in [-640, -65, -64, 0, 63, 64] {
            // Most of them are set aside, and the last three are not.
            (0..20).for_each(|_| _ = tables.add(bucket));
        }
        (0..10).for_each(|_| _ = tables.add(640));
        let mut totals = Totals::default();
        let octaves = tables.octaves(&mut totals);
        let mut seek = Seek::default();
        let mut value = |rank| octaves.value_of(rank, &mut seek).log2().floor();
        let octaves: Vec<_> = [1, 20, 21, 41, 60, 61, 100, 101, 120, 121, 130]
            .into_iter()
            .map(&mut value)
            .collect();
        let expected = [
            -10.0, -10.0, -2.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 10.0, 10.0,
        ];
        assert_eq!(octaves, expected);
        assert!(value(131).is_nan());
    }
}
