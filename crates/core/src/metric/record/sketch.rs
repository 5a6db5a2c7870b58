//! An exponential histogram and its sum, counted in by many threads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counts::{Distribution, SparseDistribution};
use super::index::{INFINITY_BITS, MIN_BITS, bucket};
use super::number::AtomicF64;
use super::octaves::{Octaves, Totals};
use super::rank::{self, Ranked};
use super::table::Tables;
use crate::metric::{ExponentialHistogram, QuantileValue};

/// What was measured and is not [forgotten](Sketch::forget), in buckets at most 1.09 % wide unless the values span more than
/// 32 octaves; and the sum of all that was ever measured.
#[derive(Debug)]
pub(super) struct Sketch {
    positive: Tables,
    sum: AtomicF64,
    zeros: AtomicU64,
    negative: Tables,
}

const SIGN: u64 = 1 << 63;

impl Sketch {
    pub(super) const fn new() -> Self {
        Self {
            positive: Tables::new(),
            sum: AtomicF64::new(0.0),
            zeros: AtomicU64::new(0),
            negative: Tables::new(),
        }
    }

    /// Adds one measurement. Returns what the counter of its bucket said before; `None` for what is not a number or
    /// infinite, which is not stored.
    #[inline]
    pub(super) fn add(&self, value: f64) -> Option<u16> {
        // Read here, before the counter's turn, it is no step of its own.
        let sum = self.sum.get();
        let bits = value.to_bits();
        let before = if (MIN_BITS..INFINITY_BITS).contains(&bits) {
            self.positive.add(bucket(bits))
        } else {
            self.add_rare(bits)?
        };
        self.sum.add_to(sum, value);
        Some(before)
    }

    #[cold]
    fn add_rare(&self, bits: u64) -> Option<u16> {
        let distance = bits & !SIGN;
        if distance < MIN_BITS {
            let before = self.zeros.fetch_add(1, Ordering::Relaxed);
            #[expect(clippy::cast_possible_truncation, reason = "as other counters")]
            Some(before as u16)
        } else if distance < INFINITY_BITS {
            Some(self.negative.add(bucket(distance)))
        } else {
            None
        }
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum.get()
    }

    /// Has the tables on their way from memory at depth 1, and what they hold at depth 2.
    pub(super) fn fetch(&self, depth: usize) {
        self.positive.fetch(depth);
        self.negative.fetch(depth);
    }

    /// All as it is now. What was in `room` is lost.
    pub(super) fn look<'s>(&'s self, room: &'s mut Room) -> Look<'s> {
        Look {
            negative: self.negative.octaves(&mut room.negative),
            zeros: self.zeros.load(Ordering::Relaxed),
            positive: self.positive.octaves(&mut room.positive),
        }
    }

    /// Puts what was measured in the place of what `all` held.
    pub(super) fn read(&self, all: &mut Distribution) {
        self.look(&mut Room::default()).read(all);
    }

    /// Takes away `counts`, which have been read here. The sum does not forget.
    pub(super) fn forget(&self, counts: &SparseDistribution) {
        self.negative.forget(&counts.negative);
        self.zeros.fetch_sub(counts.zeros, Ordering::Relaxed);
        self.positive.forget(&counts.positive);
    }

    /// Begins at zero. Only in a forked child, before anything is counted there.
    pub(super) fn reset(&self) {
        self.positive.reset();
        self.negative.reset();
        self.zeros.store(0, Ordering::Relaxed);
        self.sum.set(0.0);
    }
}

/// Memory for a look at a sketch.
#[derive(Debug, Default)]
pub(super) struct Room {
    negative: Totals,
    positive: Totals,
}

/// What a sketch holds. Nothing of it is moved while this lives.
pub(super) struct Look<'s> {
    negative: Option<Octaves<'s>>,
    zeros: u64,
    positive: Option<Octaves<'s>>,
}

impl Look<'_> {
    pub(super) fn count(&self) -> u64 {
        self.negative.total() + self.zeros + self.positive.total()
    }

    /// The values below which shares of the measurements lie; `shares` rise. NaN when nothing was measured.
    pub(super) fn quantiles(&self, shares: &[f64], out: &mut Vec<QuantileValue>) {
        rank::quantiles(&self.negative, self.zeros, &self.positive, shares, out);
    }

    /// Puts what was measured in the place of what `all` held.
    pub(super) fn read(&self, all: &mut Distribution) {
        all.clear();
        all.zeros = self.zeros;
        if let Some(octaves) = &self.negative {
            octaves.read(&mut all.negative);
        }
        if let Some(octaves) = &self.positive {
            octaves.read(&mut all.positive);
        }
    }
}

/// What `all` is in OpenTelemetry's terms, both sides on the coarser of their scales.
pub(in crate::metric) fn to_histogram(all: &mut Distribution, sum: f64) -> ExponentialHistogram {
    let scale = all.positive.scale().min(all.negative.scale());
    all.positive.coarsen(scale);
    all.negative.coarsen(scale);
    ExponentialHistogram {
        count: all.count(),
        sum: Some(sum),
        min: None,
        max: None,
        scale,
        zero_count: all.zeros,
        zero_threshold: f64::MIN_POSITIVE,
        positive: all.positive.to_buckets(),
        negative: all.negative.to_buckets(),
    }
}
