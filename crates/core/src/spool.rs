//! The disk spool: payloads that outlive an outage, a crash and the process. Opt-in.
//!
//! ```text
//! HIQ_SPOOL_DIR/otlp/                                   one folder an exporter, 0700
//!     1763726400000000000-4711-9f86d081884c7d65/        one folder a process
//!         lock                                          held as long as the process lives
//!         0000000000000001-60303ae22b998861.spool       segments: records in the order written, 0600
//!     quarantine/                                       files in which nothing could be read
//! ```
//!
//! A record is on its way to the disk when [`Spool::append`] returns, so that the death of the process loses nothing;
//! it is on the disk after the next sync (0.5 s or 1 MiB later), so that a power cut loses no more than that. A settled
//! record is marked, and a segment is deleted as a whole when all its records are settled. What a dead process left is
//! adopted by the next one that opens a spool. Delivery is at least once: what was sent but not marked is sent again.
//!
//! One thread owns a spool; nothing here starts one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::SpoolSettings;
use crate::time::{Clock, UnixNanos};

mod error;
mod files;
mod format;
mod home;
mod recover;
mod scan;
mod segment;

pub use error::SpoolError;
pub use recover::{Damage, Recovered};

use format::{Parts, RECORD_HEADER_BYTES};
use home::Home;
use recover::Backlog;
use segment::{ActiveSegment, Segment, SegmentKey};

/// Unsent payloads of one exporter on disk.
///
/// ```
/// use hiq_core::spool::{Record, Recovered, Spool, SpoolLimits};
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path();
/// let mut spool = Spool::open(dir, "otlp", SpoolLimits::default())?;
/// let id = spool.append(&Record::new("otlp_proto", "application/x-protobuf", 3, b"bytes"))?;
/// assert_eq!(spool.load(&id)?.body, b"bytes");
/// drop(spool); // unsettled: the next process finds it
///
/// let mut next = Spool::open(dir, "otlp", SpoolLimits::default())?;
/// let Some(Recovered::Record(found)) = next.next_recovered() else { panic!() };
/// assert_eq!((found.items, found.body.as_slice()), (3, &b"bytes"[..]));
/// next.settle(found.id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Spool {
    exporter: String,
    exporter_dir: PathBuf,
    limits: SpoolLimits,
    /// The process's own home; `None` after its folder went away, until the next append.
    home: Option<Home>,
    active: Option<ActiveSegment>,
    segments: BTreeMap<SegmentKey, Segment>,
    next_key: u32,
    next_number: u64,
    used_bytes: u64,
    backlog: Backlog,
    notices: Vec<String>,
    /// A forked child must not clean up its parent's files.
    process: u32,
}

/// How much a spool keeps, and how soon it is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolLimits {
    /// Bytes on disk of this process's spool, with what it adopted. Default: 512 MiB.
    pub max_bytes: u64,
    /// Records as old as this are not delivered any more. Default: 7 days.
    pub max_age: Duration,
    /// A segment that holds as much is closed. Default: 8 MiB.
    pub segment_bytes: u64,
    /// So many bytes are synced at once at the latest. Default: 1 MiB.
    pub sync_bytes: u64,
    /// What was written is synced after this time at the latest. Default: 500 ms.
    pub sync_interval: Duration,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self::from(&SpoolSettings::new(""))
    }
}

impl From<&SpoolSettings> for SpoolLimits {
    fn from(settings: &SpoolSettings) -> Self {
        Self {
            max_bytes: settings.max_bytes,
            max_age: settings.max_age,
            segment_bytes: 8 << 20,
            sync_bytes: 1 << 20,
            sync_interval: Duration::from_millis(500),
        }
    }
}

/// A payload on its way to the spool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Name of the format: `otlp_proto`.
    pub encoding: &'a str,
    /// MIME type.
    pub content_type: &'a str,
    /// `gzip`, or nothing.
    pub content_encoding: Option<&'a str>,
    /// Partition key, for transports that have one. An empty one counts as none.
    pub key: Option<&'a str>,
    /// Spans or points in it.
    pub items: u32,
    /// The bytes that are sent.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// An uncompressed payload without a key.
    pub const fn new(encoding: &'a str, content_type: &'a str, items: u32, body: &'a [u8]) -> Self {
        Self {
            encoding,
            content_type,
            content_encoding: None,
            key: None,
            items,
            body,
        }
    }
}

/// A payload read back.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredRecord {
    /// To settle it by.
    pub id: RecordId,
    /// Name of the format.
    pub encoding: String,
    /// MIME type.
    pub content_type: String,
    /// `gzip`, or nothing.
    pub content_encoding: Option<String>,
    /// Partition key.
    pub key: Option<String>,
    /// Spans or points in it.
    pub items: u32,
    /// When it was written, in whole milliseconds.
    pub written: UnixNanos,
    /// The bytes that are sent.
    pub body: Vec<u8>,
}

/// Where a record is. Cannot be copied: a record is settled once.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    segment: SegmentKey,
    offset: u32,
}

impl Spool {
    /// Opens a spool of `exporter` in `dir`, making the folders that are missing, and adopts what dead processes left.
    ///
    /// Fails when the folder cannot be written, belongs to somebody else or can be written by others, and when its file
    /// system has no locks.
    pub fn open(dir: &Path, exporter: &str, limits: SpoolLimits) -> Result<Self, SpoolError> {
        let exporter_dir = home::exporter_dir(dir, exporter)?;
        let mut spool = Self {
            exporter: exporter.to_owned(),
            home: Some(Home::create(&exporter_dir)?),
            exporter_dir,
            limits,
            active: None,
            segments: BTreeMap::new(),
            next_key: 0,
            next_number: 1,
            used_bytes: 0,
            backlog: Backlog::default(),
            notices: Vec::new(),
            process: std::process::id(),
        };
        spool.adopt_orphans();
        Ok(spool)
    }

    /// True when a dead process left something in `dir`, for whatever exporter.
    pub fn has_backlog(dir: &Path) -> bool {
        home::has_backlog(dir)
    }

    /// Writes a record. When it returns, the record survives this process.
    ///
    /// After an error nothing of it is kept. [`SpoolError::Full`] ends when records are settled; other errors may end by
    /// themselves (space, permissions, a folder that comes back): try again now and then.
    pub fn append(&mut self, record: &Record<'_>) -> Result<RecordId, SpoolError> {
        let meta = Parts::meta(&self.exporter, record)?;
        let bytes = (RECORD_HEADER_BYTES + meta.len() + record.body.len()) as u64;
        self.make_room(bytes)?;
        self.open_segment()?;
        let Some(active) = &mut self.active else {
            return Err(SpoolError::Gone);
        };
        let written = Clock::unix_nanos();
        let appended = active.append(&meta, record, written);
        let offset = match appended {
            Ok(offset) => offset,
            Err(error) => {
                self.close_segment();
                return Err(error);
            }
        };
        let key = active.key;
        self.used_bytes += bytes;
        if let Some(segment) = self.segments.get_mut(&key) {
            segment.live += 1;
            segment.bytes += bytes;
        }
        self.sync_if_due();
        Ok(RecordId {
            segment: key,
            offset,
        })
    }

    /// Reads a record back. Fails when it was damaged since, or its file is gone.
    pub fn load(&self, id: &RecordId) -> Result<StoredRecord, SpoolError> {
        let segment = self.segments.get(&id.segment).ok_or(SpoolError::Gone)?;
        let file = files::open(&segment.path)?;
        let failed = |error| SpoolError::io("read", &segment.path, error);
        let (header, content) = scan::read_record(&file, segment.salt, id.offset)
            .map_err(failed)?
            .ok_or(SpoolError::Damaged)?;
        let id = RecordId {
            segment: id.segment,
            offset: id.offset,
        };
        Parts::parse(&content, &header).map(|content| content.into_stored(id, &header))
    }

    /// The fate of a record is known: it is not needed any more.
    ///
    /// Where the mark cannot be written the record may be delivered again after a crash.
    #[expect(clippy::needless_pass_by_value, reason = "a record is settled once")]
    pub fn settle(&mut self, id: RecordId) {
        let (key, offset) = (id.segment, id.offset);
        let Some(segment) = self.segments.get_mut(&key) else {
            return;
        };
        segment.live = segment.live.saturating_sub(1);
        let is_done = segment.is_done();
        match &self.active {
            Some(active) if active.key == key => active.mark_settled(offset),
            // A file that can be deleted needs no mark.
            _ if is_done && files::remove(&segment.path).is_ok() => {}
            _ => segment.mark_settled(offset),
        }
        if is_done {
            self.delete_segment(key);
        }
    }

    /// Brings what was written to the disk.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let synced = active.sync();
        if synced.is_err() {
            // What the failed sync covered may or may not be on disk; later records go to a file that is not in doubt.
            self.close_segment();
        }
        synced
    }

    /// When [`Spool::sync_if_due`] has something to do; `None`: everything is on the disk.
    pub fn sync_due(&self) -> Option<Instant> {
        let first = self.active.as_ref()?.unsynced_since()?;
        Some(first + self.limits.sync_interval)
    }

    /// Syncs when so much or so old is what waits for it. Failures become notices.
    pub fn sync_if_due(&mut self) {
        let much = self
            .active
            .as_ref()
            .is_some_and(|active| active.unsynced_bytes() >= self.limits.sync_bytes);
        let old = || self.sync_due().is_some_and(|due| due <= Instant::now());
        if (much || old())
            && let Err(error) = self.sync()
        {
            self.notices.push(error.to_string());
        }
    }

    /// Bytes on disk, with what was adopted and not settled yet.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// The limits that it was opened with.
    pub fn limits(&self) -> &SpoolLimits {
        &self.limits
    }

    /// What was said since the last call, for the worker to print: folders that were left alone, files that were put
    /// aside, syncs that failed.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), SpoolError> {
        if self
            .active
            .as_ref()
            .is_some_and(|active| self.is_too_long(active, bytes))
        {
            self.sync_before_closing();
            self.close_segment();
        }
        if self.is_full_for(bytes) && self.active_is_settled() {
            self.close_segment();
        }
        if self.is_full_for(bytes) {
            return Err(SpoolError::Full {
                limit_bytes: self.limits.max_bytes,
            });
        }
        Ok(())
    }

    /// Segments go as a whole, so there must be several within the limit.
    fn is_too_long(&self, active: &ActiveSegment, bytes: u64) -> bool {
        let limit = self.limits.segment_bytes.min(self.limits.max_bytes / 8);
        active.has_records() && active.bytes() + bytes > limit
    }

    fn is_full_for(&self, bytes: u64) -> bool {
        let new_file = if self.active.is_none() {
            format::FILE_HEADER_BYTES as u64
        } else {
            0
        };
        self.used_bytes + new_file + bytes > self.limits.max_bytes
    }

    fn active_is_settled(&self) -> bool {
        let segment = self
            .active
            .as_ref()
            .and_then(|active| self.segments.get(&active.key));
        segment.is_some_and(|segment| segment.live == 0)
    }

    fn sync_before_closing(&mut self) {
        if let Err(error) = self.sync() {
            self.notices.push(error.to_string());
        }
    }

    fn open_segment(&mut self) -> Result<(), SpoolError> {
        if self.active.is_some() {
            return Ok(());
        }
        if self.home.as_ref().is_some_and(Home::is_gone) {
            self.home = None;
        }
        let home = match &mut self.home {
            Some(home) => home,
            gone => {
                let parent = self.exporter_dir.parent().unwrap_or(&self.exporter_dir);
                self.exporter_dir = home::exporter_dir(parent, &self.exporter)?;
                gone.insert(Home::create(&self.exporter_dir)?)
            }
        };
        let key = SegmentKey(self.next_key);
        let (active, segment) = ActiveSegment::create(home.path(), self.next_number, key)?;
        self.next_key += 1;
        self.next_number += 1;
        self.used_bytes += segment.bytes;
        self.segments.insert(key, segment);
        self.active = Some(active);
        Ok(())
    }

    /// Nothing is written to the active segment any more.
    fn close_segment(&mut self) {
        let Some(active) = self.active.take() else {
            return;
        };
        if let Some(segment) = self.segments.get_mut(&active.key) {
            segment.complete = true;
            if segment.is_done() {
                self.delete_segment(active.key);
            }
        }
    }

    fn delete_segment(&mut self, key: SegmentKey) {
        let Some(segment) = self.segments.remove(&key) else {
            return;
        };
        self.used_bytes = self.used_bytes.saturating_sub(segment.bytes);
        if let Err(error) = files::remove(&segment.path) {
            self.notices.push(error.to_string());
        }
        self.leave_home(segment.home);
    }
}

/// What is unsettled stays for the next process; a spool without content leaves nothing behind. Who wants to hear of a
/// sync that fails calls [`Spool::sync`] before.
impl Drop for Spool {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        // A failure has nobody left to be told to, and the file stays.
        let _ = self.sync();
        self.close_segment();
        let own_is_empty = !self.segments.values().any(|segment| segment.home.is_none());
        if own_is_empty && let Some(home) = &self.home {
            home.remove();
        }
    }
}
