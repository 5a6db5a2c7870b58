//! Counts of buckets as they are read: side by side, on one scale.

use std::ops::Range;

use super::index::{self, MAX_SCALE, OCTAVE};
use super::rank::{self, Ranked, Seek};
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
    pub(super) fn add(&mut self, scale: i32, bucket: i32, counts: impl Iterator<Item = u64>) {
        let coarser_by = scale - self.scale;
        for (bucket, count) in (bucket..).zip(counts) {
            let place = length(&(self.offset..bucket >> coarser_by));
            self.buckets[place] += count;
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
    fn subtract_sparse(&mut self, others: &Sparse) {
        self.coarsen(others.scale);
        for (bucket, count) in others.on_scale(self.scale) {
            let count = u64::from(count);
            self.change(bucket, |own| own.saturating_sub(count));
        }
    }

    fn add_sparse(&mut self, others: &Sparse) {
        let (Some(first), Some(last)) = (others.cells.first(), others.cells.last()) else {
            return;
        };
        self.make_room(others.scale, first.0..last.0 + 1);
        for (bucket, count) in others.on_scale(self.scale) {
            let count = u64::from(count);
            self.change(bucket, |own| own + count);
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
    fn to_sparse(&self) -> Sparse {
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

impl Ranked for Counts {
    fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

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
}

impl Sparse {
    /// The cells on a `scale` that is no finer.
    pub(super) fn on_scale(&self, scale: i32) -> impl Iterator<Item = (i32, u32)> {
        let coarser_by = self.scale - scale;
        let cells = self.cells.iter();
        cells.map(move |(bucket, count)| (bucket >> coarser_by, *count))
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

    pub(super) fn subtract(&mut self, others: &SparseDistribution) {
        self.negative.subtract_sparse(&others.negative);
        self.zeros = self.zeros.saturating_sub(others.zeros);
        self.positive.subtract_sparse(&others.positive);
    }

    pub(super) fn add(&mut self, others: &SparseDistribution) {
        self.negative.add_sparse(&others.negative);
        self.zeros += others.zeros;
        self.positive.add_sparse(&others.positive);
    }

    /// Without the buckets that are empty.
    pub(super) fn to_sparse(&self) -> SparseDistribution {
        SparseDistribution {
            negative: self.negative.to_sparse(),
            zeros: self.zeros,
            positive: self.positive.to_sparse(),
        }
    }

    /// The values below which shares of the measurements lie; `shares` rise. NaN when nothing was measured.
    pub(in crate::metric) fn quantiles(&self, shares: &[f64], out: &mut Vec<QuantileValue>) {
        rank::quantiles(&self.negative, self.zeros, &self.positive, shares, out);
    }
}

/// How often which values were measured, of a slice of time.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseDistribution {
    pub(super) negative: Sparse,
    pub(super) zeros: u64,
    pub(super) positive: Sparse,
}
