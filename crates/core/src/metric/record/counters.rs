//! Counters of 16 bits, four to a word: a reader adds up a word at a time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::index::OCTAVE;

const BITS: usize = 16;
const IN_WORD: usize = 64 / BITS;
/// Every other counter of a word.
const EVERY_OTHER: u64 = 0x0000_ffff_0000_ffff;
/// The bits of counters that are too large for words of an octave to be added up as they are: without them no sum of 16
/// counters runs into the next.
const LARGE: u64 = 0xf000_f000_f000_f000;

/// Counters that a reader who looks for a rank takes at once.
pub(super) const STEP: usize = 2 * IN_WORD;

/// A counter for each bucket of an octave. None may come to more than `u16::MAX`: it would run into the next one.
#[repr(align(64))]
pub(super) struct Counters([AtomicU64; OCTAVE / IN_WORD]);

impl Counters {
    pub(super) const fn zero() -> Self {
        Self([const { AtomicU64::new(0) }; OCTAVE / IN_WORD])
    }

    /// Adds `count` to the counter at `at`, and returns what it said before.
    #[inline]
    pub(super) fn add(&self, at: usize, count: u16) -> u16 {
        let count = u64::from(count) << shift(at);
        counter(self.word(at).fetch_add(count, Ordering::Relaxed), at)
    }

    /// Takes up to `count` away from the counter at `at`, and returns how many that were. Called by one thread at a time.
    pub(super) fn take(&self, at: usize, count: u64) -> u64 {
        let taken = count.min(self.get(at).into());
        // Most are zero, and a look costs less than a change.
        if taken > 0 {
            self.word(at)
                .fetch_sub(taken << shift(at), Ordering::Relaxed);
        }
        taken
    }

    /// Sets all counters to zero. Only where nobody counts.
    pub(super) fn reset(&self) {
        let zero = |word: &AtomicU64| word.store(0, Ordering::Relaxed);
        self.0.iter().for_each(zero);
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> u16 {
        counter(self.word(at).load(Ordering::Relaxed), at)
    }

    /// What all counters say.
    #[inline]
    pub(super) fn sum(&self) -> u64 {
        sum(&self.0)
    }

    /// What the counters of each step say.
    pub(super) fn steps(&self) -> impl Iterator<Item = u64> {
        let (steps, _) = self.0.as_chunks::<{ STEP / IN_WORD }>();
        steps.iter().map(|step| sum(step))
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.0[at / IN_WORD]
    }
}

/// What the counters of `words`, an octave of them at most, say.
#[inline]
fn sum(words: &[AtomicU64]) -> u64 {
    let words = words.iter().map(|word| word.load(Ordering::Relaxed));
    let (mut sums, mut bits) = (0_u64, 0);
    for word in words.clone() {
        sums = sums.wrapping_add(word);
        bits |= word;
    }
    if bits & LARGE == 0 {
        return sum_of_word(sums);
    }
    words.map(sum_of_word).sum()
}

/// What the counters of one word say.
#[inline]
fn sum_of_word(word: u64) -> u64 {
    let halves = (word & EVERY_OTHER) + (word >> BITS & EVERY_OTHER);
    (halves & u64::from(u32::MAX)) + (halves >> u32::BITS)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "of a word the counter")]
fn counter(word: u64, at: usize) -> u16 {
    (word >> shift(at)) as u16
}

#[inline]
fn shift(at: usize) -> usize {
    at % IN_WORD * BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_up_whether_they_are_small_or_large() {
        for count in [1, 0x0fff, 0x1000, 0x8000, u16::MAX] {
            let counters = Counters::zero();
            (0..OCTAVE).for_each(|at| _ = counters.add(at, count));
            assert_eq!(counters.sum(), 64 * u64::from(count));
            assert!(counters.steps().eq([8 * u64::from(count); 8]));
        }
        let counters = Counters::zero();
        (0..OCTAVE).for_each(|at| _ = counters.add(at, 0x0fff));
        counters.add(33, 1);
        assert_eq!(counters.sum(), 64 * 0x0fff + 1);
    }

    #[test]
    fn counters_of_a_word_are_apart_up_to_their_largest() {
        let counters = Counters::zero();
        for at in 0..OCTAVE {
            assert_eq!(counters.add(at, u16::MAX - 1), 0);
            assert_eq!(counters.add(at, 1), u16::MAX - 1);
        }
        assert!((0..OCTAVE).all(|at| counters.get(at) == u16::MAX));
        assert_eq!(counters.sum(), 64 * 65_535);
        assert_eq!(counters.steps().collect::<Vec<_>>(), [8 * 65_535; 8]);
        assert_eq!(counters.take(6, 5), 5);
        assert_eq!(counters.take(5, u64::MAX), 65_535);
        assert_eq!(counters.take(5, 1), 0);
        let said = [4, 5, 6, 7].map(|at| counters.get(at));
        assert_eq!(said, [65_535, 0, 65_530, 65_535]);
        assert_eq!(counters.sum(), 63 * 65_535 - 5);
        assert_eq!(counters.steps().next(), Some(7 * 65_535 - 5));
    }
}
