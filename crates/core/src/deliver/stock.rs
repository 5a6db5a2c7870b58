//! Payloads on disk, as the delivery loop sees them: those of this process, and those that an earlier one left.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::EncodedExporter;
use super::parcel::{Attempts, Parcel};
use crate::encode::{DropReason, Encodable, Encoder};
use crate::ledger::{Custody, Ledger};
use crate::spool::{Record, RecordId, Recovered, Spool, SpoolError, StoredRecord};
use crate::time::{Clock, duration_nanos};
use crate::transport::{PayloadId, Transport};

/// Payloads that are on disk stay in memory as well up to this number...
const MAX_KEPT: usize = 64;
/// ...and up to this many bytes; the others are read back when their turn comes.
const MAX_KEPT_BYTES: usize = 4 << 20;

/// The spool and what is known of its content.
#[derive(Debug)]
pub(super) struct Stock {
    spool: Spool,
    /// Payloads of this process whose bytes are on disk only, oldest first.
    stored: VecDeque<Stored>,
    /// Records whose items are being encoded anew.
    replaced: Vec<RecordId>,
    /// Where recovered items are counted, until all are.
    backlog: Option<Arc<Ledger>>,
    /// Why it does not keep what it should.
    trouble: Option<String>,
}

#[derive(Debug)]
struct Stored {
    id: PayloadId,
    record: RecordId,
    custody: Custody,
}

impl Stock {
    pub(super) fn new(spool: Spool) -> Self {
        Self {
            spool,
            stored: VecDeque::new(),
            replaced: Vec::new(),
            backlog: None,
            trouble: None,
        }
    }

    /// From now on what an earlier process left is delivered.
    pub(super) fn take_up(&mut self, ledger: &Arc<Ledger>) {
        self.backlog = Some(Arc::clone(ledger));
    }

    pub(super) fn has_more(&self) -> bool {
        !self.stored.is_empty() || self.backlog.is_some()
    }

    pub(super) fn max_age(&self) -> Duration {
        self.spool.limits().max_age
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn settle(&mut self, record: RecordId) {
        self.spool.settle(record);
    }

    /// The items of `record` are encoded anew; it is settled once they are on disk again.
    pub(super) fn replace(&mut self, record: RecordId) {
        self.replaced.push(record);
    }

    pub(super) fn sync_due(&self) -> Option<Instant> {
        self.spool.sync_due()
    }

    pub(super) fn sync(&mut self) {
        if let Err(error) = self.spool.sync() {
            self.trouble = Some(error.to_string());
        }
    }

    fn settle_replaced(&mut self) {
        for record in self.replaced.drain(..) {
            self.spool.settle(record);
        }
    }

    fn append<B: Encodable>(
        &mut self,
        parcel: &Parcel<B>,
        encoding: &'static str,
        content_type: &'static str,
    ) -> Result<RecordId, SpoolError> {
        let items = u32::try_from(parcel.items).unwrap_or(u32::MAX);
        let mut record = Record::new(encoding, content_type, items, &parcel.body);
        record.content_encoding = parcel.gzipped.then_some("gzip");
        record.key = parcel.key.as_deref();
        self.spool.append(&record)
    }

    /// The next record that is on disk only. What cannot be read back any more, or is too old, is counted on the way.
    fn next(
        &mut self,
        encoding: &'static str,
    ) -> Option<(Option<PayloadId>, StoredRecord, Custody)> {
        while let Some(stored) = self.stored.pop_front() {
            let expired = stored.custody.since().elapsed() > self.max_age();
            match self.spool.load(&stored.record) {
                Ok(record) if !expired => return Some((Some(stored.id), record, stored.custody)),
                Ok(_) => stored.custody.dropped(DropReason::Expired),
                Err(_) => stored.custody.dropped(DropReason::SpoolCorrupt),
            }
            self.spool.settle(stored.record);
        }
        let (record, custody) = self.next_of_backlog(encoding)?;
        Some((None, record, custody))
    }

    fn next_of_backlog(&mut self, encoding: &'static str) -> Option<(StoredRecord, Custody)> {
        let ledger = Arc::clone(self.backlog.as_ref()?);
        while let Some(recovered) = self.spool.next_recovered() {
            let recover = |items: u32, since| ledger.recover(items as usize, since);
            match recovered {
                Recovered::Record(record) => {
                    let age = duration_nanos(record.written, Clock::unix_nanos());
                    let now = Instant::now();
                    let since = now.checked_sub(Duration::from_nanos(age)).unwrap_or(now);
                    let custody = recover(record.items, since);
                    if record.encoding == encoding {
                        return Some((record, custody));
                    }
                    // It stays on disk for a process that speaks it.
                    let found = &record.encoding;
                    self.trouble = Some(format!(
                        "payloads of {found} stay in the spool: {encoding} is sent here"
                    ));
                }
                Recovered::Expired { items } => {
                    recover(items, Instant::now()).dropped(DropReason::Expired);
                }
                Recovered::Corrupt { items } => {
                    recover(items, Instant::now()).dropped(DropReason::SpoolCorrupt);
                }
            }
        }
        self.backlog = None;
        None
    }
}

impl<B: Encodable, E: Encoder<B>, T: Transport> EncodedExporter<B, E, T> {
    /// Encodes what is not encoded yet and brings it to disk.
    pub(super) fn spool_pieces(&mut self) {
        if self.stock.is_none() {
            return;
        }
        while let Some(parcel) = self.encode() {
            self.spool(parcel);
        }
        if let Some(stock) = &mut self.stock {
            stock.settle_replaced();
            stock.spool.sync_if_due();
            stock.trouble = stock.spool.take_notices().pop().or(stock.trouble.take());
        }
    }

    fn spool(&mut self, mut parcel: Parcel<B>) {
        let encoding = self.encoder.encoding();
        let Some(stock) = &mut self.stock else { return };
        match stock.append(&parcel, encoding.name, encoding.content_type) {
            Ok(record) => {
                parcel.custody.spooled();
                stock.trouble = None;
                if self.may_keep(&parcel) {
                    parcel.record = Some(record);
                    self.ready.push_back(parcel);
                } else {
                    self.put_away(parcel, record);
                }
            }
            Err(error @ SpoolError::Full { .. }) => {
                self.lose(error.to_string());
                parcel.custody.unspooled();
                self.finish(parcel, |custody| custody.dropped(DropReason::SpoolFull));
            }
            Err(error) => {
                stock.trouble = Some(format!("{error}; spans wait in memory only"));
                parcel.custody.unspooled();
                self.ready.push_back(parcel);
            }
        }
    }

    /// Whether it stays in memory as well. Parts of what was refused do, as they may have to be divided again.
    fn may_keep(&self, parcel: &Parcel<B>) -> bool {
        if parcel
            .source
            .as_ref()
            .is_some_and(|source| source.divisions() > 0)
        {
            return true;
        }
        let kept: usize = self.ready.iter().map(|parcel| parcel.body.len()).sum();
        let in_order = self
            .stock
            .as_ref()
            .is_none_or(|stock| stock.stored.is_empty());
        in_order && self.ready.len() < MAX_KEPT && kept + parcel.body.len() <= MAX_KEPT_BYTES
    }

    /// Keeps only where the parcel is on disk.
    fn put_away(&mut self, mut parcel: Parcel<B>, record: RecordId) {
        let custody = parcel.custody.split_off(parcel.items);
        self.leave_out(parcel.custody, &parcel.left_out);
        self.buffers.give(parcel.body);
        if let Some(stock) = &mut self.stock {
            let id = parcel.id;
            stock.stored.push_back(Stored {
                id,
                record,
                custody,
            });
        }
    }

    /// The next parcel that is on disk only.
    pub(super) fn read_back(&mut self) -> Option<Parcel<B>> {
        let encoding = self.encoder.encoding();
        let (id, record, custody) = self.stock.as_mut()?.next(encoding.name)?;
        Some(Parcel {
            id: id.unwrap_or_else(|| self.next_id()),
            encoded_bytes: record.body.len(),
            gzipped: record.content_encoding.as_deref() == Some("gzip"),
            body: record.body,
            content_type: encoding.content_type,
            key: record.key,
            items: record.items as usize,
            left_out: Vec::new(),
            custody,
            source: None,
            record: Some(record.id),
            attempts: Attempts::default(),
        })
    }
}
