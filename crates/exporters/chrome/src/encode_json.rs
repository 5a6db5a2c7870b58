//! Spans to Chrome's Trace Event JSON, in one pass, straight from the trees.

use std::ptr;

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Page, Verdict, fill};
use hiq_core::span::Span;
use hiq_core::time::UnixNanos;
use hiq_core::transport::Reply;
use hiq_core::tree::SpanTree;
use hiq_core::wire::Writer;

use crate::frame::{CHROME_TAIL, chrome_head, default_base};
use crate::judge::JUDGE;
use crate::stage::{Child, Parent, Stage};

mod event;
mod span;

pub(crate) use event::{ARROW, kind_of};
use event::{ArrowEnd, Place, announce_process, announce_track, arrow};
use span::{write_parts, write_span};

/// Chrome's Trace Event JSON: for Perfetto's viewer, vizviewer and `chrome://tracing`.
///
/// A payload is a whole document, `{"traceEvents": [...]}`, an event a line, that says itself which processes and threads it
/// speaks of. Times are microseconds with three decimals since a base that the document names
/// (`baseTimeNanoseconds`): a double, which viewers read numbers into, does not hold today's Unix time to the nanosecond.
#[derive(Debug, Default)]
pub struct ChromeEncoder {
    stage: Stage,
    base: Option<UnixNanos>,
    /// Events alone, for a file that has its head already.
    is_bare: bool,
}

impl ChromeEncoder {
    /// An encoder whose base lies 45 days before the first span that it meets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts times from `base`. Spans from before it have negative times, which viewers leave out; up to 104 days after it
    /// they read times exactly.
    #[must_use]
    pub fn with_base(mut self, base: UnixNanos) -> Self {
        self.base = Some(base);
        self
    }

    /// Writes events alone, behind a head that names `base`.
    pub(crate) fn bare(base: UnixNanos) -> Self {
        Self {
            is_bare: true,
            ..Self::new().with_base(base)
        }
    }
}

impl Encoder<TreeBatch> for ChromeEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("chrome_json", "application/json")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let Some(first) = cursor.peek() else {
            return Encoded::default();
        };
        let base = *self.base.get_or_insert_with(|| default_base(first.start()));
        self.stage.begin_payload();
        fill(cursor, limits, &mut Document::new(self, base, limits, out))
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}

/// Bytes of both ends of an arrow and of a document's end, at most.
const MAX_ARROW_BYTES: usize = 512;

/// One document that is being written.
#[derive(Debug)]
struct Document<'a, 'e> {
    out: &'e mut Vec<u8>,
    stage: &'e mut Stage,
    base: UnixNanos,
    is_bare: bool,
    max_bytes: usize,
    start: usize,
    /// The tree of the last span, and its first span in this document.
    tree: Option<&'a SpanTree>,
    first_of_tree: u32,
    /// Where the last span began.
    before: usize,
}

impl<'a> Page<'a> for Document<'a, '_> {
    fn push(&mut self, span: Span<'a>) -> bool {
        self.before = self.out.len();
        if self.out.len() == self.start && !self.is_bare {
            chrome_head(self.base, self.out);
        }
        let tree = span.tree();
        if !self.tree.is_some_and(|last| ptr::eq(last, tree)) {
            self.stage.enter(tree);
            self.tree = Some(tree);
            self.first_of_tree = span.index();
        }
        let lane = self.stage.lane(span.index());
        self.announce(lane);
        let track = self.stage.track(lane);
        let place = Place {
            pid: self.stage.process().pid,
            tid: track.tid,
            base: self.base,
        };
        let parent = self.stage.parent_around(span);
        let is_inside = parent.is_some_and(|parent| parent >= self.first_of_tree);
        let mut writer = Writer::new(self.out);
        write_span(&mut writer, span, place, is_inside);
        // Behind the span and before all that lies in it: a flow ends where the innermost slice is.
        if self.stage.note_parent(span, lane) == Parent::InTree {
            arrow(&mut writer, ArrowEnd::Child, span.id(), span.start(), place);
        }
        write_parts(&mut writer, span, place);
        // A span whose arrows do not fit moves to the next payload; if even that is too small, some of them are left out.
        let full = if self.before == self.start {
            self.start + self.max_bytes.saturating_sub(MAX_ARROW_BYTES)
        } else {
            usize::MAX
        };
        self.stage.take_children(span, lane, |child| {
            let has_room = writer.position() < full;
            if has_room {
                arrow_to(&mut writer, child, span.start(), place);
            }
            has_room
        });
        true
    }

    fn fits(&self, max_bytes: usize) -> bool {
        let tail = if self.is_bare { 0 } else { CHROME_TAIL.len() };
        self.out.len() - self.start + tail <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before);
        self.tree = None;
        self.stage.undo_arrows();
        // What was announced together with the span has gone with it.
        self.stage.begin_payload();
    }

    fn finish(&mut self) {
        // Each event ends in a comma and a line end.
        self.out.truncate(self.out.len() - 2);
        if !self.is_bare {
            self.out.extend_from_slice(CHROME_TAIL);
        }
    }
}

impl<'e> Document<'_, 'e> {
    fn new(
        encoder: &'e mut ChromeEncoder,
        base: UnixNanos,
        limits: &Limits,
        out: &'e mut Vec<u8>,
    ) -> Self {
        let start = out.len();
        Self {
            out,
            stage: &mut encoder.stage,
            base,
            is_bare: encoder.is_bare,
            max_bytes: limits.max_bytes,
            start,
            tree: None,
            first_of_tree: 0,
            before: start,
        }
    }

    fn announce(&mut self, lane: usize) {
        if self.stage.process_is_new() {
            announce_process(&mut Writer::new(self.out), self.stage.process());
        }
        if self.stage.track_is_new(lane) {
            let pid = self.stage.process().pid;
            announce_track(&mut Writer::new(self.out), pid, self.stage.track(lane));
        }
    }
}

/// Writes the arrow from the slice that has begun at `start`. The end of a child that is here already comes with its beginning: a
/// parent that never comes leaves no end behind.
fn arrow_to(writer: &mut Writer<'_>, child: Child, start: UnixNanos, place: Place) {
    match child {
        Child::InTree(id) => arrow(writer, ArrowEnd::Parent, id, start, place),
        Child::InAnotherTree(child) => {
            arrow(writer, ArrowEnd::Parent, child.id, start, place);
            let of_child = Place {
                pid: child.pid,
                tid: child.tid,
                ..place
            };
            arrow(writer, ArrowEnd::Child, child.id, child.start, of_child);
        }
    }
}
