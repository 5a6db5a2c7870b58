//! A family: what is measured, and a point for each set of labels.

use std::sync::Arc;

use super::labels::LabelSet;
use super::value::{Exemplar, PointValue};
use crate::time::UnixNanos;

/// What a metric is: its name, what it means, its unit. Shared by all snapshots of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    name: String,
    description: String,
    unit: String,
    kind: Kind,
}

impl Descriptor {
    /// A metric named `name`: any UTF-8 text, as OpenTelemetry or Prometheus would write it; encoders bring it into their
    /// format's form. No description and no unit.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            unit: String::new(),
            kind,
        }
    }

    /// Says what it means, for people.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the unit by UCUM, as OpenTelemetry writes it: `s`, `By`, `1`, `{call}`.
    #[must_use]
    pub fn with_unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it means; may be empty.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Its unit by UCUM; may be empty.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// How its points are to be read.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// How the points of a family are to be read. Sums and histograms are cumulative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A value that was read: points are [`PointValue::Number`]s.
    Gauge,
    /// What has been added up since the start: points are [`PointValue::Number`]s.
    Sum {
        /// It never falls: a counter. Else an up-down counter.
        monotonic: bool,
    },
    /// Points are [`PointValue::Histogram`]s.
    Histogram,
    /// Points are [`PointValue::ExponentialHistogram`]s.
    ExponentialHistogram,
    /// Points are [`PointValue::Summary`]s.
    Summary,
}

impl Kind {
    /// A sum that never falls.
    pub const COUNTER: Self = Self::Sum { monotonic: true };
    /// A sum that rises and falls.
    pub const UP_DOWN_COUNTER: Self = Self::Sum { monotonic: false };

    /// True for the values that a family of this kind has.
    pub fn takes(self, value: &PointValue) -> bool {
        matches!(
            (self, value),
            (Self::Gauge | Self::Sum { .. }, PointValue::Number(_))
                | (Self::Histogram, PointValue::Histogram(_))
                | (
                    Self::ExponentialHistogram,
                    PointValue::ExponentialHistogram(_)
                )
                | (Self::Summary, PointValue::Summary(_))
        )
    }
}

/// The points of one metric, at most one for each set of labels.
#[derive(Clone, Debug)]
pub struct Family {
    descriptor: Arc<Descriptor>,
    points: Vec<Point>,
}

impl Family {
    /// The metric of `descriptor` with `points`. Those whose value is not [of its kind](Kind::takes) are left out.
    pub fn new(descriptor: Arc<Descriptor>, mut points: Vec<Point>) -> Self {
        points.retain(|point| descriptor.kind().takes(point.value()));
        Self { descriptor, points }
    }

    /// What is measured.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// The points, in the order of the cursor.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.points.iter().map(Point::heap_bytes).sum::<usize>()
    }
}

/// The value of a metric for one set of labels.
#[derive(Clone, Debug)]
pub struct Point {
    labels: Arc<LabelSet>,
    start: UnixNanos,
    time: UnixNanos,
    value: PointValue,
    exemplars: Vec<Exemplar>,
}

impl Point {
    /// What `labels` had come to at `time`. `start`: since when it has been added up; without meaning for a gauge.
    #[inline]
    pub fn new(
        labels: impl Into<Arc<LabelSet>>,
        start: UnixNanos,
        time: UnixNanos,
        value: impl Into<PointValue>,
    ) -> Self {
        Self {
            labels: labels.into(),
            start,
            time,
            value: value.into(),
            exemplars: Vec::new(),
        }
    }

    /// Adds single measurements as examples, with the spans that they were made in.
    #[must_use]
    #[inline]
    pub fn with_exemplars(mut self, exemplars: Vec<Exemplar>) -> Self {
        self.exemplars = exemplars;
        self
    }

    /// Which part of the whole it is.
    pub fn labels(&self) -> &Arc<LabelSet> {
        &self.labels
    }

    /// Since when it has been added up.
    pub fn start(&self) -> UnixNanos {
        self.start
    }

    /// When it was read.
    pub fn time(&self) -> UnixNanos {
        self.time
    }

    /// What it had come to.
    pub fn value(&self) -> &PointValue {
        &self.value
    }

    /// Single measurements, oldest first.
    pub fn exemplars(&self) -> &[Exemplar] {
        &self.exemplars
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.exemplars.as_slice()) + self.value.heap_bytes()
    }
}
