//! The loop of every encoder of spans: what goes into a payload, where it ends, and what is too large for any.

use super::{DropReason, Encoded, Limits};
use crate::batch::BatchCursor;
use crate::span::Span;
use crate::tree::SpanTree;

/// A payload that is being written, span by span.
///
/// An encoder implements this much; [`fill`] decides which spans go in.
pub trait Page<'a> {
    /// Writes one more span, with the groups around it that are not open yet. False, and nothing written, when the format cannot carry it.
    fn push(&mut self, span: Span<'a>) -> bool;

    /// True when the payload, were it to end here, would take at most `max_bytes`, envelope included.
    fn fits(&self, max_bytes: usize) -> bool;

    /// Takes the last span back, with the groups that were opened for it. Never called twice in a row.
    fn pop(&mut self);

    /// Writes what the payload ends with. Called once, when it holds a span.
    fn finish(&mut self);

    /// True when the format keeps spans of `last` and of `next` in different payloads, whatever the limits allow. Default: never.
    fn parts(&self, _last: &SpanTree, _next: &SpanTree) -> bool {
        false
    }
}

/// Fills `page` from `cursor`, up to the first span that does not fit or may not share a payload with those before.
///
/// Spans too large for a payload of their own are left out and counted.
#[inline]
pub fn fill<'a>(
    cursor: &mut BatchCursor<'a>,
    limits: &Limits,
    page: &mut impl Page<'a>,
) -> Encoded {
    let mut filling = Filling {
        limits,
        first: None,
        encoded: Encoded::default(),
    };
    while let Some(run) = cursor.run() {
        let end = filling.take(run.tree, run.start..run.end, page);
        cursor.advance_to(end);
        if end < run.end || !filling.may_go_on(cursor, page) {
            break;
        }
    }
    filling.finish(cursor, page)
}

struct Filling<'a, 'l> {
    limits: &'l Limits,
    /// The tree of the first span in the payload.
    first: Option<&'a SpanTree>,
    encoded: Encoded,
}

impl<'a> Filling<'a, '_> {
    /// Takes spans of one tree and returns the index of the first that was left for the next payload.
    #[inline]
    fn take(
        &mut self,
        tree: &'a SpanTree,
        range: std::ops::Range<usize>,
        page: &mut impl Page<'a>,
    ) -> usize {
        let max_items = self.limits.items().max(1);
        for index in range.clone() {
            if self.encoded.items == max_items {
                return index;
            }
            let Some(span) = tree.span(index) else {
                return range.end;
            };
            if !page.push(span) {
                self.encoded.leave_out(DropReason::Invalid, 1);
            } else if page.fits(self.limits.max_bytes) {
                self.encoded.items += 1;
                self.first.get_or_insert(tree);
            } else {
                page.pop();
                if self.encoded.items > 0 {
                    return index;
                }
                self.encoded.leave_out(DropReason::TooLarge, 1);
            }
        }
        range.end
    }

    fn may_go_on(&self, cursor: &BatchCursor<'a>, page: &impl Page<'a>) -> bool {
        match (self.first, cursor.run()) {
            (Some(first), Some(next)) => {
                !self.limits.cut.parts(first, next.tree) && !page.parts(first, next.tree)
            }
            _ => true,
        }
    }

    fn finish(mut self, cursor: &BatchCursor<'a>, page: &mut impl Page<'a>) -> Encoded {
        if let Some(first) = self.first {
            page.finish();
            self.encoded.key = self.limits.cut.key(first);
        }
        self.encoded.more = !cursor.is_done();
        self.encoded
    }
}
