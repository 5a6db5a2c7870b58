//! Native histograms: OpenTelemetry's exponential buckets as Prometheus' spans and deltas.

use hiq_core::metric::Buckets;

/// Schemas that Prometheus has: the base of the buckets is `2^(2^-schema)`.
pub(crate) const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// Prometheus' schema for an OpenTelemetry `scale`, and how many times neighbouring buckets are to be joined for it. `None`
/// when Prometheus has no buckets as wide.
pub(crate) fn schema_of(scale: i32) -> Option<(i32, u32)> {
    let schema = scale.min(*SCHEMAS.end());
    let joins = u32::try_from(scale - schema).ok()?;
    SCHEMAS.contains(&schema).then_some((schema, joins))
}

/// The buckets of one sign. Kept for the next histogram, so that none of them allocates.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    /// How far behind the last span each begins (the first: its index), and how many buckets it has.
    pub(crate) spans: Vec<(i32, u32)>,
    /// The count of each bucket, less that of the one before.
    pub(crate) deltas: Vec<i64>,
}

/// A gap that is shorter than this is cheaper as empty buckets than as a new span.
const SHORT_GAP: i32 = 3;

impl Sparse {
    /// Takes in `buckets`, with neighbours joined `joins` times.
    ///
    /// Prometheus' bucket `i` ends at `base^i`, where OpenTelemetry's begins.
    pub(crate) fn load(&mut self, buckets: &Buckets, joins: u32) {
        self.spans.clear();
        self.deltas.clear();
        let (mut before, mut next_index) = (0_u64, 0_i32);
        for (index, count) in joined(buckets, joins) {
            let gap = index - next_index;
            match self.spans.last_mut() {
                Some((_, length)) if gap < SHORT_GAP => {
                    for _ in 0..gap {
                        *length += 1;
                        self.deltas.push(0_u64.wrapping_sub(before).cast_signed());
                        before = 0;
                    }
                    *length += 1;
                }
                _ => self.spans.push((gap, 1)),
            }
            self.deltas.push(count.wrapping_sub(before).cast_signed());
            (before, next_index) = (count, index + 1);
        }
    }
}

/// Index in Prometheus and count of each bucket that is not empty.
fn joined(buckets: &Buckets, joins: u32) -> impl Iterator<Item = (i32, u64)> {
    let index_of = move |place: usize| {
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        let index = (i64::from(buckets.offset) + place) >> joins.min(63);
        i32::try_from(index + 1).unwrap_or(i32::MAX)
    };
    let mut place = 0;
    std::iter::from_fn(move || {
        loop {
            let index = index_of(place);
            let mut count = *buckets.counts.get(place)?;
            place += 1;
            while place < buckets.counts.len() && index_of(place) == index {
                count = count.wrapping_add(buckets.counts[place]);
                place += 1;
            }
            if count > 0 {
                return Some((index, count));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse(offset: i32, counts: &[u64], joins: u32) -> Sparse {
        let mut sparse = Sparse::default();
        let counts = counts.to_vec();
        sparse.load(&Buckets { offset, counts }, joins);
        sparse
    }

    const WIDE_GAP: &[u64] = &[4, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const GAP: &[u64] = &[4, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    /// The table of `TestConvertBucketsLayout` in prometheus/prometheus,
    /// `storage/remote/otlptranslator/prometheusremotewrite/histograms_test.go`.
    #[test]
    fn buckets_are_laid_out_as_prometheus_itself_does() {
        for (offset, counts, joins, spans, deltas) in [
            (
                0,
                &[4_u64, 3, 2, 1][..],
                0,
                &[(1, 4)][..],
                &[4_i64, -1, -1, -1][..],
            ),
            (0, &[4, 3, 2, 1], 1, &[(1, 2)], &[7, -4]),
            (0, &[4, 3, 2, 1], 2, &[(1, 1)], &[10]),
            (1, &[4, 3, 2, 1], 0, &[(2, 4)], &[4, -1, -1, -1]),
            (1, &[4, 3, 2, 1], 1, &[(1, 3)], &[4, 1, -4]),
            (1, &[4, 3, 2, 1], 2, &[(1, 2)], &[9, -8]),
            (4, WIDE_GAP, 0, &[(5, 4), (12, 1)], &[4, -2, -2, 2, -1]),
            (4, WIDE_GAP, 1, &[(3, 2), (6, 1)], &[6, -4, -1]),
            (4, WIDE_GAP, 2, &[(2, 1), (3, 1)], &[8, -7]),
            (4, GAP, 0, &[(5, 4), (8, 1)], &[4, -2, -2, 2, -1]),
            (4, GAP, 1, &[(3, 2), (4, 1)], &[6, -4, -1]),
            (4, GAP, 2, &[(2, 4)], &[8, -8, 0, 1]),
            (-2, &[3, 1, 0, 0, 0, 1], 0, &[(-1, 2), (3, 1)], &[3, -2, 0]),
            (-2, &[3, 1, 0, 0, 0, 1], 1, &[(0, 3)], &[4, -4, 1]),
            (-2, &[3, 1, 0, 0, 0, 1], 2, &[(0, 2)], &[4, -3]),
            (
                -2,
                &[3, 1, 0, 1, 0, 1],
                0,
                &[(-1, 6)],
                &[3, -2, -1, 1, -1, 1],
            ),
            (-2, &[3, 1, 0, 1, 0, 1], 1, &[(0, 3)], &[4, -3, 0]),
            (-2, &[3, 1, 0, 1, 0, 1], 2, &[(0, 2)], &[4, -2]),
            (
                -2,
                &[3, 0, 0, 1, 0, 0, 1],
                0,
                &[(-1, 7)],
                &[3, -3, 0, 1, -1, 0, 1],
            ),
            (-2, &[3, 0, 0, 1, 0, 0, 1], 1, &[(0, 4)], &[3, -2, -1, 1]),
            (-2, &[3, 0, 0, 1, 0, 0, 1], 2, &[(0, 3)], &[3, -2, 0]),
            (0, &[], 0, &[], &[]),
        ] {
            let sparse = sparse(offset, counts, joins);
            assert_eq!(sparse.spans, spans, "{offset} {counts:?} {joins}");
            assert_eq!(sparse.deltas, deltas, "{offset} {counts:?} {joins}");
        }
    }

    #[test]
    fn buckets_below_one_join_downwards() {
        // Bucket -1 is (1/base, 1], bucket -2 the one below; joined once they are one: (1/base^2, 1].
        let sparse = sparse(-2, &[3, 4], 1);
        assert_eq!(
            (&sparse.spans[..], &sparse.deltas[..]),
            (&[(0, 1)][..], &[7][..])
        );
    }

    #[test]
    fn finer_buckets_than_prometheus_has_are_joined_and_wider_ones_are_refused() {
        assert_eq!(schema_of(8), Some((8, 0)));
        assert_eq!(schema_of(20), Some((8, 12)));
        assert_eq!(schema_of(-4), Some((-4, 0)));
        assert_eq!(schema_of(-5), None);
    }
}
