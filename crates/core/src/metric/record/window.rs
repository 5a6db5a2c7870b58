//! The recent part of a distribution: what was measured within a sliding window.
//!
//! Nothing is recorded twice for it. From slice to slice the sketch is made to forget the oldest slice, which is added to
//! what is past; the window is what the sketch remembers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::counts::{Distribution, SparseDistribution};
use super::sketch::Sketch;

/// Slices that the window consists of, the one that is being filled included.
const SLICES: u32 = 5;

#[derive(Debug, Default)]
pub(super) struct Window {
    /// When the first slice began; `None` before the first look.
    origin: Option<Instant>,
    /// The number of the slice that is being filled.
    filling: u64,
    /// Complete slices of the window, oldest first.
    slices: VecDeque<Slice>,
    past: Distribution,
    past_count: u64,
}

#[derive(Debug)]
struct Slice {
    number: u64,
    counts: SparseDistribution,
}

impl Window {
    /// A window whose first slice begins `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: Some(now),
            ..Self::default()
        }
    }

    /// Moves the window on to `now`, if that is another slice.
    #[inline]
    pub(super) fn slide(&mut self, sketch: &Sketch, now: Instant, max_age: Duration) {
        let number = self.number_at(now, max_age);
        if number > self.filling {
            self.slide_to(number, sketch);
        }
    }

    #[cold]
    fn slide_to(&mut self, number: u64, sketch: &Sketch) {
        let slice = self.complete(sketch);
        self.slices.push_back(slice);
        self.filling = number;
        while self.oldest_ends_before(number)
            && let Some(oldest) = self.slices.pop_front()
        {
            sketch.forget(&oldest.counts);
            self.past.add(&oldest.counts);
            self.past_count = self.past.count();
        }
    }

    fn oldest_ends_before(&self, number: u64) -> bool {
        let oldest = self.slices.front();
        oldest.is_some_and(|oldest| oldest.number + u64::from(SLICES) <= number)
    }

    /// The slice that has been filled so far.
    fn complete(&self, sketch: &Sketch) -> Slice {
        let mut filled = Distribution::default();
        sketch.read(&mut filled);
        for slice in &self.slices {
            filled.subtract(&slice.counts);
        }
        Slice {
            number: self.filling,
            counts: filled.to_sparse(),
        }
    }

    /// What has slid out of the window.
    pub(super) fn past(&self) -> &Distribution {
        &self.past
    }

    /// How many measurements have slid out of the window.
    pub(super) fn past_count(&self) -> u64 {
        self.past_count
    }

    fn number_at(&mut self, now: Instant, max_age: Duration) -> u64 {
        let origin = *self.origin.get_or_insert(now);
        let slice = (max_age / SLICES).max(Duration::from_millis(1));
        let passed = now.saturating_duration_since(origin);
        // Whole nanoseconds of 64 bits last 584 years, and divide without a call.
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        nanos(passed) / nanos(slice)
    }
}
