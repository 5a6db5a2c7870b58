//! The octaves of a table, held still for a reader.

use super::counts::Counts;
use super::index::{self, MAX_SCALE};
use super::rank::{Ranked, Seek};
use super::table::{CHUNKS, Table};
use crate::fork::Guard;

/// What a table holds. Threads go on counting: of what they add from now on, some may be seen.
pub(super) struct Octaves<'t> {
    table: &'t Table,
    /// The lowest octave.
    low: i32,
    /// The counts of each octave, from `low` on.
    totals: &'t Totals,
    total: u64,
    _still: Guard<'t, ()>,
}

/// Room for what each octave of a table comes to.
pub(super) type Totals = [u64; CHUNKS];

impl<'t> Octaves<'t> {
    /// Those of `table`, in which nothing is moved while there is the guard.
    pub(super) fn of(table: &'t Table, still: Guard<'t, ()>, totals: &'t mut Totals) -> Self {
        let low = table.octaves().next().unwrap_or(0);
        totals.fill(0);
        for octave in table.octaves() {
            totals[above(low, octave)] = table.octave(octave).map_or(0, |octave| octave.total());
        }
        Self {
            table,
            low,
            total: totals.iter().sum(),
            totals,
            _still: still,
        }
    }

    /// Adds everything to `counts`.
    pub(super) fn read(&self, counts: &mut Counts) {
        let scale = self.table.scale();
        for octave in self.table.octaves() {
            counts.make_room(scale, octave << MAX_SCALE..(octave + 1) << MAX_SCALE);
        }
        for octave in self.table.octaves() {
            if let Some(counted) = self.table.octave(octave) {
                counts.add(scale, octave << MAX_SCALE, counted.counts());
            }
        }
    }
}

impl Ranked for Octaves<'_> {
    fn total(&self) -> u64 {
        self.total
    }

    fn value_of(&self, rank: u64, seek: &mut Seek) -> f64 {
        while let Some(total) = self.totals.get(seek.place)
            && seek.seen + total < rank
        {
            seek.seen += total;
            seek.place += 1;
        }
        let octave = (self.low..).nth(seek.place);
        let bucket = octave.and_then(|octave| {
            let counted = self.table.octave(octave)?;
            Some((octave << MAX_SCALE) + counted.bucket_of(rank - seek.seen)?)
        });
        bucket.map_or(f64::NAN, |bucket| index::middle(bucket, self.table.scale()))
    }
}

/// How far `octave` is above the lowest of a table.
#[expect(clippy::cast_sign_loss, reason = "only the last five bits count")]
fn above(low: i32, octave: i32) -> usize {
    (octave - low) as usize % CHUNKS
}
