//! The contract of a format: spans or metrics in, one payload out, and what a server's reply means.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, BatchCursor, Position, TreeBatch};
use crate::transport::Reply;
use crate::tree::SpanTree;

pub mod cache;
mod fill;

pub use fill::{Page, fill};

/// A batch that encoders can walk, and the delivery loop can cut.
pub trait Encodable: Batch {
    /// Walks the batch; what lies behind it is done.
    type Cursor<'a>: fmt::Debug;
    /// A place between two items.
    type Position: Copy + PartialEq + fmt::Debug + Send;

    /// From the first item to behind the last.
    fn whole(&self) -> Range<Self::Position>;
    /// A cursor over the items of `range`.
    fn cursor_over(&self, range: Range<Self::Position>) -> Self::Cursor<'_>;
    /// Where `cursor` stands.
    fn position(cursor: &Self::Cursor<'_>) -> Self::Position;
    /// Items between where `cursor` stands and its end.
    fn remaining(cursor: &Self::Cursor<'_>) -> usize;
    /// The place half-way to the end of `cursor`; `None` when fewer than two items are left.
    fn middle(cursor: &Self::Cursor<'_>) -> Option<Self::Position>;
}

impl Encodable for TreeBatch {
    type Cursor<'a> = BatchCursor<'a>;
    type Position = Position;

    fn whole(&self) -> Range<Position> {
        Position::START..self.cursor().end()
    }

    fn cursor_over(&self, range: Range<Position>) -> BatchCursor<'_> {
        self.cursor_over(range.start, range.end)
    }

    fn position(cursor: &BatchCursor<'_>) -> Position {
        cursor.position()
    }

    fn remaining(cursor: &BatchCursor<'_>) -> usize {
        cursor.remaining()
    }

    fn middle(cursor: &BatchCursor<'_>) -> Option<Position> {
        cursor.middle()
    }
}

/// Knows one format and the meaning of its protocol. Does no I/O.
pub trait Encoder<B: Encodable>: fmt::Debug + Send {
    /// What the payloads are.
    fn encoding(&self) -> Encoding;

    /// Appends **one** payload within `limits` to `out` and moves `cursor` past what is in it or left out.
    ///
    /// Never fails: a span that cannot be encoded, or is too large by itself, is left out and counted. Appends nothing,
    /// not even an envelope, when no span is in the payload.
    fn encode(&mut self, cursor: &mut B::Cursor<'_>, limits: &Limits, out: &mut Vec<u8>)
    -> Encoded;

    /// Why items of the last snapshot or batch were left out as [invalid](DropReason::Invalid), for the status line. Default:
    /// nothing is known.
    fn why_left_out(&self) -> Option<String> {
        None
    }

    /// Decides what a reply to a payload of `items` items means. The only place that decides about trying again.
    fn judge(&self, reply: &Reply, items: usize) -> Verdict;
}

/// Name and content type of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoding {
    /// Name as in configurations: `otlp_proto`, `zipkin_json`.
    pub name: &'static str,
    /// MIME type: `application/x-protobuf`.
    pub content_type: &'static str,
}

impl Encoding {
    /// An encoding.
    pub const fn new(name: &'static str, content_type: &'static str) -> Self {
        Self { name, content_type }
    }
}

/// What a payload may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a payload, uncompressed.
    pub max_bytes: usize,
    /// Items of a payload; one where [`Cut::Span`] is asked for, whatever this says.
    pub max_items: usize,
    /// Where a payload must end even if there is room.
    pub cut: Cut,
}

impl Limits {
    /// At most `max_bytes`, any number of items, cut nowhere else.
    pub const fn bytes(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            max_items: usize::MAX,
            cut: Cut::Batch,
        }
    }

    /// Items of a payload, the cut considered.
    pub const fn items(&self) -> usize {
        match self.cut {
            Cut::Span => 1,
            _ => self.max_items,
        }
    }

    /// The same with payloads that end at `cut`.
    #[must_use]
    pub const fn with_cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }
}

/// Where payloads end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// Only at the end of the batch.
    #[default]
    Batch,
    /// One resource a payload.
    Resource,
    /// One service name a payload.
    Service,
    /// One trace a payload.
    Trace,
    /// One span a payload.
    Span,
}

impl Cut {
    /// True when spans of `last` and of `next` may not be in one payload.
    pub fn parts(self, last: &SpanTree, next: &SpanTree) -> bool {
        match self {
            Self::Batch => false,
            Self::Resource => !Arc::ptr_eq(last.resource(), next.resource()),
            Self::Service => last.resource().service_name() != next.resource().service_name(),
            Self::Trace => last.trace_id() != next.trace_id(),
            Self::Span => true,
        }
    }

    /// What [`Encoded::key`] is for a payload that begins with `tree`.
    pub fn key(self, tree: &SpanTree) -> Option<String> {
        match self {
            Self::Batch => None,
            Self::Resource | Self::Service => Some(tree.resource().service_name().to_owned()),
            Self::Trace | Self::Span => Some(tree.trace_id().to_string()),
        }
    }
}

/// What one call of [`Encoder::encode`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoded {
    /// Items in the payload.
    pub items: usize,
    /// Items that were passed over, with the reason.
    pub left_out: Vec<(DropReason, usize)>,
    /// Key for a partitioned transport: the trace id's text, or the service name.
    pub key: Option<String>,
    /// True when the cursor is not at its end.
    pub more: bool,
}

impl Encoded {
    /// Items that were passed over, whatever the reason.
    pub fn items_left_out(&self) -> usize {
        self.left_out.iter().map(|(_, items)| items).sum()
    }

    /// Counts `items` more as left out.
    pub fn leave_out(&mut self, reason: DropReason, items: usize) {
        match self.left_out.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, count)) => *count += items,
            None => self.left_out.push((reason, items)),
        }
    }
}

/// Why an item was dropped: by us, not by the far side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue held its maximum; the oldest went.
    QueueFull,
    /// It waited longer than the age limit.
    Expired,
    /// Too large for one payload by itself.
    TooLarge,
    /// The format cannot carry it.
    Invalid,
    /// The encoder failed.
    Encode,
    /// The server's answer was final.
    Refused,
    /// Time ran out at exit.
    Shutdown,
    /// The spool held its maximum.
    SpoolFull,
    /// The spool's file was damaged.
    SpoolCorrupt,
    /// The exporter could not be built or stopped working.
    ExporterFailed,
    /// A newer snapshot of the same metrics took its place: nothing is lost with it.
    Superseded,
}

impl DropReason {
    /// All reasons, in the order of the ledger.
    pub const ALL: [Self; 11] = [
        Self::QueueFull,
        Self::Expired,
        Self::TooLarge,
        Self::Invalid,
        Self::Encode,
        Self::Refused,
        Self::Shutdown,
        Self::SpoolFull,
        Self::SpoolCorrupt,
        Self::ExporterFailed,
        Self::Superseded,
    ];

    /// The name in statistics and metrics: `queue_full`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Expired => "expired",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::Encode => "encode",
            Self::Refused => "refused",
            Self::Shutdown => "shutdown",
            Self::SpoolFull => "spool_full",
            Self::SpoolCorrupt => "spool_corrupt",
            Self::ExporterFailed => "exporter_failed",
            Self::Superseded => "superseded",
        }
    }
}

/// What is to be done after a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Taken, except for `rejected` items.
    Delivered {
        /// Items that the server refused.
        rejected: usize,
        /// Its words about them, for the log.
        message: Option<String>,
    },
    /// Sent on a wire that never confirms.
    SentUnconfirmed,
    /// Refused for good.
    Rejected {
        /// Why, for the log: status and the server's words, never a secret.
        message: String,
    },
    /// Worth sending again, not before `after`.
    Retry {
        /// The server's wish.
        after: Option<Duration>,
        /// Why, for the log.
        message: String,
    },
    /// The payload is over the server's limit: encode its range anew in smaller ones.
    TooLarge {
        /// Why, for the log.
        message: String,
    },
    /// One item is bad: halve the range until it is found.
    Split {
        /// Why, for the log.
        message: String,
    },
    /// The server does not take this form of the format, and the encoder has changed to another: encode its range anew.
    Reencode {
        /// Why, for the log.
        message: String,
    },
    /// Not authorised: ask the authorizer for new headers, once.
    Unauthorized {
        /// Why, for the log.
        message: String,
    },
}
