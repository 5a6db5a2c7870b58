//! The cursor that encoders walk a snapshot with.

use std::ops::Range;

use super::MetricBatch;
use super::family::{Family, Point};

/// A place in a snapshot: before point `point` of family `family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricPosition {
    family: usize,
    point: usize,
}

impl MetricPosition {
    /// Before the first point.
    pub const START: Self = Self::before_family(0);

    pub(super) const fn before_family(family: usize) -> Self {
        Self { family, point: 0 }
    }
}

/// Walks a snapshot, point by point. What lies behind it has been encoded or left out; it never goes back.
#[derive(Clone, Debug)]
pub struct MetricCursor<'a> {
    batch: &'a MetricBatch,
    at: MetricPosition,
    end: MetricPosition,
}

/// Points of one family, next to each other.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FamilyRun<'a> {
    /// Their family.
    pub family: &'a Family,
    /// Index of the first.
    pub start: usize,
    /// Index behind the last.
    pub end: usize,
}

impl<'a> FamilyRun<'a> {
    /// The points.
    pub fn points(&self) -> &'a [Point] {
        self.family
            .points()
            .get(self.start..self.end)
            .unwrap_or_default()
    }
}

impl<'a> MetricCursor<'a> {
    pub(super) fn new(batch: &'a MetricBatch, range: Range<MetricPosition>) -> Self {
        Self {
            batch,
            at: range.start,
            end: range.end,
        }
    }

    /// What it walks.
    pub fn batch(&self) -> &'a MetricBatch {
        self.batch
    }

    /// Where it stands.
    pub fn position(&self) -> MetricPosition {
        self.at
    }

    /// Where it ends.
    pub fn end(&self) -> MetricPosition {
        self.end
    }

    /// True when nothing is left.
    pub fn is_done(&self) -> bool {
        self.run().is_none()
    }

    /// Points between here and the end.
    pub fn remaining(&self) -> usize {
        let mut rest = self.clone();
        let mut points = 0;
        while let Some(run) = rest.run() {
            points += run.end - run.start;
            rest.advance_to(run.end);
        }
        points
    }

    /// The points of the current family that are still to come.
    pub fn run(&self) -> Option<FamilyRun<'a>> {
        if self.at >= self.end {
            return None;
        }
        let family = self.batch.families().get(self.at.family)?;
        let end = if self.at.family == self.end.family {
            self.end.point
        } else {
            family.points().len()
        };
        Some(FamilyRun {
            family,
            start: self.at.point,
            end,
        })
    }

    /// Moves to before point `point` of the current family; past its end means the next family.
    pub fn advance_to(&mut self, point: usize) {
        // A snapshot has no family without points.
        self.at.point = point;
        let family = self.batch.families().get(self.at.family);
        if family.is_some_and(|family| point >= family.points().len()) {
            self.at = MetricPosition::before_family(self.at.family + 1);
        }
    }

    /// The next point with its family, moving past it.
    pub fn next_point(&mut self) -> Option<(&'a Family, &'a Point)> {
        let run = self.run()?;
        self.advance_to(run.start + 1);
        Some((run.family, run.family.points().get(run.start)?))
    }

    /// The position half-way to the end, for bisecting; `None` when fewer than two points are left.
    pub fn middle(&self) -> Option<MetricPosition> {
        let remaining = self.remaining();
        if remaining < 2 {
            return None;
        }
        let mut half = self.clone();
        let mut left = remaining / 2;
        while let Some(run) = half.run().filter(|_| left > 0) {
            let step = left.min(run.end - run.start);
            half.advance_to(run.start + step);
            left -= step;
        }
        Some(half.at)
    }
}
