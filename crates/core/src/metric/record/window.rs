//! The recent part of a distribution: what was measured within a sliding window.
//!
//! Nothing is recorded twice for it. What has slid out is kept as a floor; the window is all that was ever measured less
//! the floor. From slice to slice the oldest slice is added to the floor.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::counts::{Distribution, Sparse};

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
    /// What has slid out.
    floor: Distribution,
}

#[derive(Debug)]
struct Slice {
    number: u64,
    negative: Sparse,
    zeros: u64,
    positive: Sparse,
}

impl Window {
    /// True when [`Window::slide`] has something to do.
    pub(super) fn is_due(&mut self, now: Instant, max_age: Duration) -> bool {
        self.number_at(now, max_age) > self.filling
    }

    /// Moves the window on to `now`. `all`: everything that was ever measured.
    pub(super) fn slide(&mut self, all: &Distribution, now: Instant, max_age: Duration) {
        let number = self.number_at(now, max_age);
        if number <= self.filling {
            return;
        }
        let slice = self.complete(all);
        self.slices.push_back(slice);
        self.filling = number;
        while self.oldest_ends_before(number)
            && let Some(oldest) = self.slices.pop_front()
        {
            self.floor.negative.add_sparse(&oldest.negative);
            self.floor.zeros += oldest.zeros;
            self.floor.positive.add_sparse(&oldest.positive);
        }
    }

    fn oldest_ends_before(&self, number: u64) -> bool {
        let oldest = self.slices.front();
        oldest.is_some_and(|oldest| oldest.number + u64::from(SLICES) <= number)
    }

    /// The slice that has been filled so far.
    fn complete(&self, all: &Distribution) -> Slice {
        let mut recent = all.clone();
        recent.subtract(&self.floor);
        for slice in &self.slices {
            recent.negative.subtract_sparse(&slice.negative);
            recent.zeros = recent.zeros.saturating_sub(slice.zeros);
            recent.positive.subtract_sparse(&slice.positive);
        }
        Slice {
            number: self.filling,
            negative: recent.negative.to_sparse(),
            zeros: recent.zeros,
            positive: recent.positive.to_sparse(),
        }
    }

    /// What has slid out of the window.
    pub(super) fn floor(&self) -> &Distribution {
        &self.floor
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
