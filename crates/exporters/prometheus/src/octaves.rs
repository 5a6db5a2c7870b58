//! Exponential histograms for formats that know given bounds only: a bound at each power of two.

use std::collections::BTreeMap;

use hiq_core::metric::{Buckets, ExponentialHistogram};

/// Bounds and the measurements up to each, rising, without the one at infinity.
///
/// The bounds are powers of two (of a larger base where the buckets are wider), whatever the range, so that a series does
/// not come and go. A measurement that is exactly such a power below zero counts above its bound.
pub(crate) fn octaves(histogram: &ExponentialHistogram) -> Vec<(f64, u64)> {
    let scale = histogram.scale;
    let mut rising = Vec::new();
    let mut sum = 0;
    let mut add = |bound: f64, count: u64| {
        sum += count;
        rising.push((bound, sum));
    };
    for (octave, count) in joined(&histogram.negative, scale).into_iter().rev() {
        add(-bound(octave, scale), count);
    }
    if histogram.zero_count > 0 {
        add(0.0, histogram.zero_count);
    }
    for (octave, count) in joined(&histogram.positive, scale) {
        add(bound(octave + 1, scale), count);
    }
    rising
}

/// The lower bound of the joined bucket `octave`.
fn bound(octave: i32, scale: i32) -> f64 {
    (f64::from(octave) * f64::from(-scale.min(0)).exp2()).exp2()
}

/// Counts by octave, from the first to the last that is not empty.
fn joined(buckets: &Buckets, scale: i32) -> BTreeMap<i32, u64> {
    let joins = scale.clamp(0, 30);
    let mut octaves = BTreeMap::new();
    for (bucket, count) in (buckets.offset..).zip(&buckets.counts) {
        if *count > 0 {
            *octaves.entry(bucket >> joins).or_insert(0) += count;
        }
    }
    octaves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_powers_of_two_and_counts_add_up() {
        let buckets = |offset, counts: &[u64]| Buckets {
            offset,
            counts: counts.to_vec(),
        };
        // Scale 1: two buckets an octave. 0.5 to 1 are buckets -2 and -1, 1 to 2 are 0 and 1.
        let histogram = ExponentialHistogram {
            count: 16,
            scale: 1,
            zero_count: 1,
            positive: buckets(-1, &[2, 3, 4]),
            negative: buckets(2, &[5, 1]),
            ..ExponentialHistogram::default()
        };
        let expected = [(-2.0, 6), (0.0, 7), (1.0, 9), (2.0, 16)];
        assert_eq!(octaves(&histogram), expected);
    }

    #[test]
    fn buckets_wider_than_octaves_keep_their_bounds() {
        let histogram = ExponentialHistogram {
            count: 3,
            scale: -1,
            positive: Buckets {
                offset: 0,
                counts: vec![1, 2],
            },
            ..ExponentialHistogram::default()
        };
        assert_eq!(octaves(&histogram), [(4.0, 1), (16.0, 3)]);
    }
}
