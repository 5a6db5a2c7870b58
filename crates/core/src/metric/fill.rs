//! The loop of every encoder of points: what goes into a payload, where it ends, and what is too large for any.

use super::cursor::{FamilyRun, MetricCursor};
use super::family::{Family, Point};
use crate::encode::{Cut, DropReason, Encoded, Limits};

/// A payload that is being written, point by point.
///
/// An encoder implements this much; [`fill_points`] decides which points go in.
pub trait PointPage<'a> {
    /// Writes one more point, with the head of its family if that is not open yet. False, and nothing written, when the
    /// format cannot carry it.
    fn push(&mut self, family: &'a Family, point: &'a Point) -> bool;

    /// True when the payload, were it to end here, would take at most `max_bytes`, envelope included.
    fn fits(&self, max_bytes: usize) -> bool;

    /// Takes the last point back, with the family that was opened for it. Never called twice in a row.
    fn pop(&mut self);

    /// Writes what the payload ends with. Called once, when it holds a point.
    fn finish(&mut self);
}

/// Fills `page` from `cursor`, up to the first point that does not fit.
///
/// Points too large for a payload of their own are left out and counted.
pub fn fill_points<'a>(
    cursor: &mut MetricCursor<'a>,
    limits: &Limits,
    page: &mut impl PointPage<'a>,
) -> Encoded {
    let mut encoded = Encoded::default();
    while let Some(run) = cursor.run() {
        let end = take(&run, limits, page, &mut encoded);
        cursor.advance_to(end);
        if end < run.end {
            break;
        }
    }
    if encoded.items > 0 {
        page.finish();
        encoded.key = key(cursor, limits.cut);
    }
    encoded.more = !cursor.is_done();
    encoded
}

/// What [`Encoded::key`] is: a snapshot is of one service, and of no trace.
fn key(cursor: &MetricCursor<'_>, cut: Cut) -> Option<String> {
    match cut {
        Cut::Resource | Cut::Service => Some(cursor.batch().resource().service_name().to_owned()),
        Cut::Batch | Cut::Trace | Cut::Span => None,
    }
}

/// Takes points of one family and returns the index of the first that was left for the next payload.
fn take<'a>(
    run: &FamilyRun<'a>,
    limits: &Limits,
    page: &mut impl PointPage<'a>,
    encoded: &mut Encoded,
) -> usize {
    for (point, index) in run.points().iter().zip(run.start..) {
        if encoded.items == limits.items().max(1) {
            return index;
        }
        if !page.push(run.family, point) {
            encoded.leave_out(DropReason::Invalid, 1);
        } else if page.fits(limits.max_bytes) {
            encoded.items += 1;
        } else {
            page.pop();
            if encoded.items > 0 {
                return index;
            }
            encoded.leave_out(DropReason::TooLarge, 1);
        }
    }
    run.end
}
