//! Points that a snapshot cannot hold, and why.

use std::fmt;
use std::ops::AddAssign;

/// Points of a request that no [`MetricBatch`](hiq_core::metric::MetricBatch) can hold, by reason.
///
/// ```
/// use hiq_otlp::LeftOutPoints;
///
/// let mut left_out = LeftOutPoints::default();
/// assert_eq!(left_out.to_string(), "no points left out");
/// left_out.deltas = 2;
/// left_out.without_value = 1;
/// assert_eq!(left_out.total(), 3);
/// let sentence = "3 points left out: 2 that are deltas, where totals since a start are kept; 1 without a value";
/// assert_eq!(left_out.to_string(), sentence);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOutPoints {
    /// Of `AGGREGATION_TEMPORALITY_DELTA`: they say what came since the last point, and a snapshot has totals.
    pub deltas: u64,
    /// Of sums and histograms whose temporality is not said or not known: totals or deltas, nobody knows.
    pub without_temporality: u64,
    /// Where a series ended (`DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`), and numbers that are not there.
    pub without_value: u64,
    /// Histograms whose buckets do not fit their bounds, or are out of what numbers can be, and summaries with quantiles
    /// beyond 0 to 1.
    pub malformed: u64,
    /// Metrics without data of a kind that is known here: how many points they have is not known, each counts as one.
    pub of_unknown_kind: u64,
}

impl LeftOutPoints {
    /// All of them; [`u64::MAX`] where there are more.
    pub fn total(&self) -> u64 {
        let counts = self.reasons().map(|(count, _)| count);
        counts.into_iter().fold(0, u64::saturating_add)
    }

    /// True when nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    fn reasons(&self) -> [(u64, &'static str); 5] {
        [
            (
                self.deltas,
                "that are deltas, where totals since a start are kept",
            ),
            (self.without_temporality, "that may be deltas or totals"),
            (self.without_value, "without a value"),
            (self.malformed, "whose buckets or quantiles cannot be"),
            (self.of_unknown_kind, "of an unknown kind"),
        ]
    }
}

impl AddAssign for LeftOutPoints {
    fn add_assign(&mut self, more: Self) {
        for (count, more) in [
            (&mut self.deltas, more.deltas),
            (&mut self.without_temporality, more.without_temporality),
            (&mut self.without_value, more.without_value),
            (&mut self.malformed, more.malformed),
            (&mut self.of_unknown_kind, more.of_unknown_kind),
        ] {
            *count = count.saturating_add(more);
        }
    }
}

/// A sentence for people, without the full stop.
impl fmt::Display for LeftOutPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total() {
            0 => return f.write_str("no points left out"),
            1 => f.write_str("1 point left out")?,
            total => write!(f, "{total} points left out")?,
        }
        let reasons = self.reasons().into_iter().filter(|(count, _)| *count > 0);
        for (index, (count, reason)) in reasons.enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{count} {reason}")?;
        }
        Ok(())
    }
}
