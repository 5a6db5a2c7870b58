//! Counts of buckets as they are read: side by side, on one scale.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::index::{self, MAX_SCALE, OCTAVE};
use crate::metric::{Buckets, QuantileValue};

/// Counts of neighbouring buckets on one scale.
#[derive(Clone, Debug)]
pub(in crate::metric) struct Counts {
    scale: i32,
    offset: i32,
    buckets: Vec<u64>,
}

/// Buckets that are not empty, of a slice of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    scale: i32,
    cells: Vec<(i32, u32)>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            scale: i32::from(MAX_SCALE),
            offset: 0,
            buckets: Vec::new(),
        }
    }
}

impl Counts {
    /// Nothing, in the same memory.
    pub(super) fn clear(&mut self) {
        self.scale = i32::from(MAX_SCALE);
        self.offset = 0;
        self.buckets.clear();
    }

    pub(super) fn scale(&self) -> i32 {
        self.scale
    }

    pub(super) fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Makes this reach over `buckets` of `scale`, coarser itself if need be.
    pub(super) fn make_room(&mut self, scale: i32, buckets: Range<i32>) {
        self.coarsen(scale);
        let coarser_by = scale - self.scale;
        let buckets = buckets.start >> coarser_by..((buckets.end - 1) >> coarser_by) + 1;
        if self.buckets.is_empty() {
            self.offset = buckets.start;
            self.buckets.resize(length(&buckets), 0);
            return;
        }
        if buckets.start < self.offset {
            let new = length(&(buckets.start..self.offset));
            self.buckets.splice(0..0, std::iter::repeat_n(0, new));
            self.offset = buckets.start;
        }
        if buckets.end > self.end() {
            let length = length(&(self.offset..buckets.end));
            self.buckets.resize(length, 0);
        }
    }

    /// Adds `counts`, whose first is that of `bucket` at `scale`. There must be room.
    pub(super) fn add(&mut self, scale: i32, bucket: i32, counts: &[AtomicU64]) {
        let coarser_by = scale - self.scale;
        let first = length(&(self.offset..bucket >> coarser_by));
        if coarser_by == 0 {
            let own = &mut self.buckets[first..first + counts.len()];
            for (own, count) in own.iter_mut().zip(counts) {
                *own += count.load(Ordering::Relaxed);
            }
        } else {
            for (bucket, count) in (bucket..).zip(counts) {
                let place = length(&(self.offset..bucket >> coarser_by));
                self.buckets[place] += count.load(Ordering::Relaxed);
            }
        }
    }

    /// Adds `buckets` of `scale`.
    pub(in crate::metric) fn add_buckets(&mut self, scale: i32, buckets: &Buckets) {
        let Ok(length) = i32::try_from(buckets.counts.len()) else {
            return;
        };
        if length == 0 {
            return;
        }
        let end = buckets.offset.saturating_add(length);
        self.make_room(scale, buckets.offset..end);
        let coarser_by = scale - self.scale;
        for (bucket, count) in (buckets.offset..end).zip(&buckets.counts) {
            self.change(bucket >> coarser_by, |own| own + count);
        }
    }

    /// Takes `others` away.
    pub(super) fn subtract(&mut self, others: &Self) {
        self.coarsen(others.scale);
        let coarser_by = others.scale - self.scale;
        if coarser_by == 0 && others.offset >= self.offset {
            let first = length(&(self.offset..others.offset));
            let own = self.buckets.iter_mut().skip(first);
            for (own, count) in own.zip(&others.buckets) {
                *own = own.saturating_sub(*count);
            }
        } else {
            for (bucket, count) in (others.offset..).zip(&others.buckets) {
                self.change(bucket >> coarser_by, |own| own.saturating_sub(*count));
            }
        }
    }

    pub(super) fn subtract_sparse(&mut self, others: &Sparse) {
        self.coarsen(others.scale);
        let coarser_by = others.scale - self.scale;
        for (bucket, count) in &others.cells {
            let count = u64::from(*count);
            self.change(bucket >> coarser_by, |own| own.saturating_sub(count));
        }
    }

    pub(super) fn add_sparse(&mut self, others: &Sparse) {
        let (Some(first), Some(last)) = (others.cells.first(), others.cells.last()) else {
            return;
        };
        self.make_room(others.scale, first.0..last.0 + 1);
        let coarser_by = others.scale - self.scale;
        for (bucket, count) in &others.cells {
            let count = u64::from(*count);
            self.change(bucket >> coarser_by, |own| own + count);
        }
    }

    fn change(&mut self, bucket: i32, change: impl FnOnce(u64) -> u64) {
        if bucket >= self.offset
            && let Some(own) = self.buckets.get_mut(length(&(self.offset..bucket)))
        {
            *own = change(*own);
        }
    }

    /// Brings this to `scale` if that is coarser.
    pub(super) fn coarsen(&mut self, scale: i32) {
        let coarser_by = self.scale - scale;
        if coarser_by <= 0 {
            return;
        }
        self.scale = scale;
        if self.buckets.is_empty() {
            return;
        }
        let fine = std::mem::take(&mut self.buckets);
        let fine_offset = self.offset;
        self.offset >>= coarser_by;
        for (bucket, count) in (fine_offset..).zip(fine) {
            let place = length(&(self.offset..bucket >> coarser_by));
            if place == self.buckets.len() {
                self.buckets.push(0);
            }
            self.buckets[place] += count;
        }
    }

    fn end(&self) -> i32 {
        self.bucket_at(self.buckets.len())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "all doubles together have 2^17 buckets"
    )]
    fn bucket_at(&self, place: usize) -> i32 {
        self.offset + place as i32
    }

    /// Those that are not empty.
    pub(super) fn to_sparse(&self) -> Sparse {
        let mut cells = Vec::new();
        for (bucket, count) in self.cells() {
            let mut left = count;
            while left > 0 {
                let part = u32::try_from(left).unwrap_or(u32::MAX);
                cells.push((bucket, part));
                left -= u64::from(part);
            }
        }
        cells.shrink_to_fit();
        Sparse {
            scale: self.scale,
            cells,
        }
    }

    /// The value of the measurement of this `rank`, counted from 1; ranks that are asked for with one `seek` rise.
    fn value_of(&self, rank: u64, seek: &mut Seek) -> f64 {
        // Octaves that end before it are passed over as a whole.
        while let Some(octave) = self.buckets.get(seek.place..seek.place + OCTAVE) {
            let seen = seek.seen + octave.iter().sum::<u64>();
            if seen >= rank {
                break;
            }
            seek.seen = seen;
            seek.place += OCTAVE;
        }
        let mut seen = seek.seen;
        for (bucket, count) in (self.bucket_at(seek.place)..).zip(&self.buckets[seek.place..]) {
            seen += count;
            if seen >= rank {
                return index::middle(bucket, self.scale);
            }
        }
        f64::NAN
    }

    /// Buckets that are not empty, rising.
    fn cells(&self) -> impl Iterator<Item = (i32, u64)> {
        let buckets = self.offset..self.end();
        let cells = buckets.zip(self.buckets.iter().copied());
        cells.filter(|(_, count)| *count > 0)
    }

    /// From the first to the last that is not empty.
    pub(super) fn to_buckets(&self) -> Buckets {
        let is_used = |count: &u64| *count > 0;
        let Some(first) = self.buckets.iter().position(is_used) else {
            return Buckets::default();
        };
        let last = self.buckets.iter().rposition(is_used).unwrap_or(first);
        Buckets {
            offset: self.bucket_at(first),
            counts: self.buckets[first..=last].to_vec(),
        }
    }
}

#[expect(clippy::cast_sign_loss, reason = "an empty range has no length")]
fn length(buckets: &Range<i32>) -> usize {
    (buckets.end - buckets.start).max(0) as usize
}

/// How often which values were measured.
#[derive(Clone, Debug, Default)]
pub(in crate::metric) struct Distribution {
    pub(in crate::metric) negative: Counts,
    pub(in crate::metric) zeros: u64,
    pub(in crate::metric) positive: Counts,
}

impl Distribution {
    pub(super) fn clear(&mut self) {
        self.negative.clear();
        self.zeros = 0;
        self.positive.clear();
    }

    pub(super) fn count(&self) -> u64 {
        self.negative.total() + self.zeros + self.positive.total()
    }

    pub(super) fn subtract(&mut self, others: &Self) {
        self.negative.subtract(&others.negative);
        self.zeros = self.zeros.saturating_sub(others.zeros);
        self.positive.subtract(&others.positive);
    }

    /// The values below which shares of the measurements lie, by the nearest rank; `shares` rise. NaN when nothing was
    /// measured.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank of more than 2^53 measurements is not exact"
    )]
    pub(in crate::metric) fn quantiles(&self, shares: &[f64], out: &mut Vec<QuantileValue>) {
        let below = self.negative.total();
        let count = below + self.zeros + self.positive.total();
        let mut seek = Seek::default();
        for &quantile in shares {
            let rank = ((quantile * count as f64).ceil() as u64).clamp(1, count.max(1));
            let value = if count == 0 {
                f64::NAN
            } else if rank <= below {
                -self
                    .negative
                    .value_of(below - rank + 1, &mut Seek::default())
            } else if rank <= below + self.zeros {
                0.0
            } else {
                self.positive.value_of(rank - below - self.zeros, &mut seek)
            };
            out.push(QuantileValue { quantile, value });
        }
    }
}

/// Where the search for a rank has come to: `seen` measurements lie in the buckets before `place`.
#[derive(Default)]
struct Seek {
    place: usize,
    seen: u64,
}
