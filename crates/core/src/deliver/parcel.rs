//! What the delivery loop holds: parts of batches, before and after they are encoded.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::encode::{DropReason, Encodable};
use crate::ledger::Custody;
use crate::transport::{Payload, PayloadId};

/// Items of a batch that are next to each other.
#[derive(Debug)]
pub(super) struct Piece<B: Encodable> {
    pub(super) batch: Arc<B>,
    pub(super) range: Range<B::Position>,
    pub(super) custody: Custody,
}

impl<B: Encodable> Piece<B> {
    pub(super) fn whole(batch: Arc<B>, custody: Custody) -> Self {
        let range = batch.whole();
        Self {
            batch,
            range,
            custody,
        }
    }

    pub(super) fn cursor(&self) -> B::Cursor<'_> {
        self.batch.cursor_over(self.range.clone())
    }

    /// Takes the `items` before `end` out.
    pub(super) fn split_off(&mut self, end: B::Position, items: usize) -> Self {
        let start = std::mem::replace(&mut self.range.start, end);
        Self {
            batch: Arc::clone(&self.batch),
            range: start..end,
            custody: self.custody.split_off(items),
        }
    }
}

/// A piece and its bytes.
#[derive(Debug)]
pub(super) struct Parcel<B: Encodable> {
    pub(super) id: PayloadId,
    /// What is sent, the same in every attempt.
    pub(super) body: Vec<u8>,
    /// Size before compression.
    pub(super) encoded_bytes: usize,
    pub(super) gzipped: bool,
    pub(super) key: Option<String>,
    /// Items in the body.
    pub(super) items: usize,
    /// Items of the piece that are not in the body. In custody until the parcel is settled, so that encoding the piece anew
    /// counts them once.
    pub(super) left_out: Vec<(DropReason, usize)>,
    pub(super) piece: Piece<B>,
    pub(super) attempts: Attempts,
}

impl<B: Encodable> Parcel<B> {
    pub(super) fn payload(&self, content_type: &'static str) -> Payload<'_> {
        let mut payload = Payload::new(&self.body, content_type, self.items);
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
