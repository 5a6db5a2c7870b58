//! An exponential histogram and its sum, counted in by many threads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counts::Distribution;
use super::index::{INFINITY_BITS, MIN_BITS, bucket};
use super::number::AtomicF64;
use super::table::Tables;
use crate::metric::ExponentialHistogram;

/// All that was ever measured, in buckets at most 1.09 % wide unless the values span more than 32 octaves.
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
    pub(super) fn add(&self, value: f64) -> Option<u64> {
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
    fn add_rare(&self, bits: u64) -> Option<u64> {
        let distance = bits & !SIGN;
        if distance < MIN_BITS {
            Some(self.zeros.fetch_add(1, Ordering::Relaxed))
        } else if distance < INFINITY_BITS {
            Some(self.negative.add(bucket(distance)))
        } else {
            None
        }
    }

    pub(super) fn sum(&self) -> f64 {
        self.sum.get()
    }

    /// Puts what was measured so far in the place of what `all` held.
    pub(super) fn read(&self, all: &mut Distribution) {
        all.clear();
        self.negative.read(&mut all.negative);
        all.zeros = self.zeros.load(Ordering::Relaxed);
        self.positive.read(&mut all.positive);
    }

    /// Begins at zero. Only in a forked child, before anything is counted there.
    pub(super) fn reset(&self) {
        self.positive.reset();
        self.negative.reset();
        self.zeros.store(0, Ordering::Relaxed);
        self.sum.set(0.0);
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
