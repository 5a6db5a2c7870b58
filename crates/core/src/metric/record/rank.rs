//! Quantiles: the values of measurements of given ranks.

use crate::metric::QuantileValue;

/// Measurements of one sign, by their distance from zero.
pub(super) trait Ranked {
    /// How many there are.
    fn total(&self) -> u64;

    /// The distance of the measurement of this `rank`, counted from 1; ranks that are asked for with one `seek` rise.
    fn value_of(&self, rank: u64, seek: &mut Seek) -> f64;
}

impl<R: Ranked> Ranked for Option<R> {
    fn total(&self) -> u64 {
        self.as_ref().map_or(0, Ranked::total)
    }

    fn value_of(&self, rank: u64, seek: &mut Seek) -> f64 {
        let ranked = self.as_ref();
        ranked.map_or(f64::NAN, |ranked| ranked.value_of(rank, seek))
    }
}

/// Where the search for a rank has come to: `seen` measurements lie before `place`.
#[derive(Default)]
pub(super) struct Seek {
    pub(super) place: usize,
    pub(super) seen: u64,
}

/// The values below which shares of the measurements lie, by the nearest rank; `shares` rise. NaN when nothing was
/// measured.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank of more than 2^53 measurements is not exact"
)]
pub(super) fn quantiles(
    negative: &impl Ranked,
    zeros: u64,
    positive: &impl Ranked,
    shares: &[f64],
    out: &mut Vec<QuantileValue>,
) {
    let below = negative.total();
    let count = below + zeros + positive.total();
    let mut seek = Seek::default();
    for &quantile in shares {
        let rank = ((quantile * count as f64).ceil() as u64).clamp(1, count.max(1));
        let value = if count == 0 {
            f64::NAN
        } else if rank <= below {
            -negative.value_of(below - rank + 1, &mut Seek::default())
        } else if rank <= below + zeros {
            0.0
        } else {
            positive.value_of(rank - below - zeros, &mut seek)
        };
        out.push(QuantileValue { quantile, value });
    }
}
