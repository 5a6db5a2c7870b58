//! What the delivery loop holds: parts of batches, before and after they are encoded.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::encode::{DropReason, Encodable};
use crate::ledger::Custody;
use crate::spool::RecordId;
use crate::transport::{Payload, PayloadId};

/// Items of a batch that are next to each other.
#[derive(Debug)]
pub(super) struct Piece<B: Encodable> {
    pub(super) source: Source<B>,
    pub(super) custody: Custody,
}

/// Where the items are.
#[derive(Debug)]
pub(super) struct Source<B: Encodable> {
    batch: Arc<B>,
    range: Range<B::Position>,
    /// How often it was part of something larger that was refused.
    divisions: u8,
}

impl<B: Encodable> Piece<B> {
    pub(super) fn whole(batch: Arc<B>, custody: Custody) -> Self {
        let range = batch.whole();
        Self {
            source: Source {
                batch,
                range,
                divisions: 0,
            },
            custody,
        }
    }

    /// Takes the `items` before `end` out.
    pub(super) fn split_off(&mut self, end: B::Position, items: usize) -> Self {
        let start = std::mem::replace(&mut self.source.range.start, end);
        let source = Source {
            batch: Arc::clone(&self.source.batch),
            range: start..end,
            divisions: self.source.divisions,
        };
        Self {
            source,
            custody: self.custody.split_off(items),
        }
    }
}

impl<B: Encodable> Source<B> {
    /// The same, as part of a payload that was sent before.
    pub(super) fn divided(mut self) -> Self {
        self.divisions = self.divisions.saturating_add(1);
        self
    }

    pub(super) fn divisions(&self) -> u8 {
        self.divisions
    }

    pub(super) fn start(&self) -> B::Position {
        self.range.start
    }

    pub(super) fn cursor(&self) -> B::Cursor<'_> {
        self.batch.cursor_over(self.range.clone())
    }

    /// The place half-way, and the items before it; `None` for fewer than two items.
    pub(super) fn middle(&self) -> Option<(B::Position, usize)> {
        let middle = B::middle(&self.cursor())?;
        let first_half = self.batch.cursor_over(self.range.start..middle);
        Some((middle, B::remaining(&first_half)))
    }
}

/// Encoded items.
#[derive(Debug)]
pub(super) struct Parcel<B: Encodable> {
    pub(super) id: PayloadId,
    /// What is sent, the same in every attempt.
    pub(super) body: Vec<u8>,
    /// MIME type of the body.
    pub(super) content_type: &'static str,
    /// Size before compression.
    pub(super) encoded_bytes: usize,
    pub(super) gzipped: bool,
    pub(super) key: Option<String>,
    /// Items in the body.
    pub(super) items: usize,
    /// Items of the source that are not in the body. In custody until the parcel is settled, so that encoding them anew
    /// counts them once.
    pub(super) left_out: Vec<(DropReason, usize)>,
    pub(super) custody: Custody,
    /// What it can be encoded from anew; nothing when it was read back from disk.
    pub(super) source: Option<Source<B>>,
    /// Its copy on disk.
    pub(super) record: Option<RecordId>,
    pub(super) attempts: Attempts,
}

impl<B: Encodable> Parcel<B> {
    pub(super) fn payload(&self) -> Payload<'_> {
        let mut payload = Payload::new(&self.body, self.content_type, self.items);
        payload.content_encoding = self.gzipped.then_some("gzip");
        payload.key = self.key.as_deref();
        payload
    }
}

/// The attempts to send one parcel, in series of bounded length.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    began: Option<Instant>,
    series_end: Option<Instant>,
    /// An attempt ended in a way that leaves it open whether the server took it.
    pub(super) may_have_arrived: bool,
    repeat_counted: bool,
    pub(super) credentials_renewed: bool,
}

impl Attempts {
    /// Begins an attempt, and a new series when the last one has ended. `timeout`: how long a series lasts.
    pub(super) fn begin(&mut self, now: Instant, timeout: Option<Duration>) {
        self.began = Some(now);
        // What is left of an old series must be worth an attempt.
        let least = timeout.unwrap_or_default() / 4;
        let goes_on = self
            .series_end
            .is_some_and(|end| end.saturating_duration_since(now) > least);
        if !goes_on {
            self.series_end = timeout.and_then(|timeout| now.checked_add(timeout));
        }
    }

    /// When the current series ends; `None`: never.
    pub(super) fn series_end(&self) -> Option<Instant> {
        self.series_end
    }

    pub(super) fn last_began(&self) -> Option<Instant> {
        self.began
    }

    /// True once: before the first attempt that may make the server take the items a second time.
    pub(super) fn is_first_possible_repeat(&mut self) -> bool {
        self.may_have_arrived && !std::mem::replace(&mut self.repeat_counted, true)
    }
}
