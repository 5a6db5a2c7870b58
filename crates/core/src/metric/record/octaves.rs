//! The octaves of a table, held still for a reader.

use super::chunk::Chunk;
use super::counts::Counts;
use super::index;
use super::rank::{Ranked, Seek};
use super::table::{CHUNKS, Table};
use crate::fork::Guard;

/// What a table holds. Threads go on counting: of what they add from now on, some may be seen.
pub(super) struct Octaves<'t> {
    table: &'t Table,
    /// The lowest octave.
    low: i32,
    /// The counts of each octave, from `low` on.
    totals: [u64; CHUNKS],
    _still: Guard<'t, ()>,
}

impl<'t> Octaves<'t> {
    /// Those of `table`, in which nothing is moved while there is the guard.
    pub(super) fn of(table: &'t Table, still: Guard<'t, ()>) -> Self {
        let mut octaves = table.octaves();
        let low = octaves.next().map_or(0, |(octave, _)| octave);
        let mut totals = [0; CHUNKS];
        for (octave, place) in table.octaves() {
            let first = place.chunk().map_or(0, Chunk::count_first);
            totals[above(low, octave)] = place.aside() + first;
        }
        for (octave, place) in table.octaves() {
            totals[above(low, octave)] += place.chunk().map_or(0, Chunk::count_others);
        }
        Self {
            table,
            low,
            totals,
            _still: still,
        }
    }

    /// Adds everything to `counts`.
    pub(super) fn read(&self, counts: &mut Counts) {
        let chunks = || self.table.octaves().filter_map(|(_, place)| place.chunk());
        for chunk in chunks() {
            counts.make_room(self.table.scale(), chunk.buckets());
        }
        for chunk in chunks() {
            counts.add(self.table.scale(), chunk.buckets().start, chunk.counts());
        }
    }
}

impl Ranked for Octaves<'_> {
    fn total(&self) -> u64 {
        self.totals.iter().sum()
    }

    fn value_of(&self, rank: u64, seek: &mut Seek) -> f64 {
        while let Some(total) = self.totals.get(seek.place)
            && seek.seen + total < rank
        {
            seek.seen += total;
            seek.place += 1;
        }
        let chunk = (self.low..).nth(seek.place);
        let Some(chunk) = chunk.and_then(|octave| self.table.chunk_of(octave)) else {
            return f64::NAN;
        };
        let bucket = chunk.bucket_of(rank - seek.seen);
        bucket.map_or(f64::NAN, |bucket| index::middle(bucket, self.table.scale()))
    }
}

/// How far `octave` is above the lowest of a table.
#[expect(clippy::cast_sign_loss, reason = "only the last five bits count")]
fn above(low: i32, octave: i32) -> usize {
    (octave - low) as usize % CHUNKS
}
