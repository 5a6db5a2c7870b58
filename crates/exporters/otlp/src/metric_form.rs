//! Which of OTLP's kinds of data a family becomes.

use hiq_core::metric::{Family, Kind, Point, PointValue};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
pub(crate) const CUMULATIVE: u8 = 2;

/// OTLP's kinds of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Gauge,
    Sum { monotonic: bool },
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl Form {
    /// `None` for what OTLP has no kind for.
    pub(crate) fn of(family: &Family) -> Option<Self> {
        Some(match family.descriptor().kind() {
            Kind::Gauge => Self::Gauge,
            Kind::Sum { monotonic } => Self::Sum { monotonic },
            Kind::Histogram => Self::Histogram,
            Kind::ExponentialHistogram => Self::ExponentialHistogram,
            Kind::Summary if family.points().iter().all(has_sketch) => Self::ExponentialHistogram,
            Kind::Summary => Self::Summary,
            _ => return None,
        })
    }
}

fn has_sketch(point: &Point) -> bool {
    matches!(point.value(), PointValue::Summary(summary) if summary.sketch.is_some())
}

/// Since when a point has been added up; nothing for a gauge.
pub(crate) fn start_of(point: &Point, form: Form) -> u64 {
    if form == Form::Gauge {
        return 0;
    }
    point.start().0
}
