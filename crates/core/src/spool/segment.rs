//! One segment: writing it, marking its records, counting what is open in it.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::format::{self, FILE_HEADER_BYTES, FileHeader, RecordHeader, SETTLED, STATE_OFFSET};
use super::home::HomeKey;
use super::{Record, SpoolError, files};
use crate::id::SpanIds;
use crate::time::{Clock, UnixNanos};

/// Names a segment within a [`super::Spool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SegmentKey(pub(super) u32);

/// A segment on disk that may hold unsettled records.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) salt: u64,
    /// The adopted home it is in; `None`: the process's own.
    pub(super) home: Option<HomeKey>,
    pub(super) bytes: u64,
    /// Records that are not settled, as far as they are known.
    pub(super) live: u32,
    /// All its records are known.
    pub(super) complete: bool,
}

impl Segment {
    pub(super) fn is_done(&self) -> bool {
        self.complete && self.live == 0
    }

    /// Marks a record of a segment that is not written to any more.
    pub(super) fn mark_settled(&self, offset: u32) {
        if let Ok(file) = files::open(&self.path) {
            mark_settled(&file, offset);
        }
    }
}

/// A mark that cannot be written costs a repetition after a crash, nothing else.
fn mark_settled(file: &File, offset: u32) {
    let _ = file.write_all_at(&SETTLED, u64::from(offset) + STATE_OFFSET);
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) key: SegmentKey,
    file: File,
    path: PathBuf,
    salt: u64,
    bytes: u64,
    synced_bytes: u64,
    unsynced_since: Option<Instant>,
    /// The folder does not know the file for sure yet.
    is_new: bool,
}

impl ActiveSegment {
    /// Makes a file with a header.
    pub(super) fn create(
        folder: &Path,
        number: u64,
        key: SegmentKey,
    ) -> Result<(Self, Segment), SpoolError> {
        let salt = SpanIds::new().take().0;
        let path = folder.join(format::file_name(number, salt));
        let file = files::create(&path)?;
        let header = FileHeader::write(Clock::unix_nanos());
        if let Err(error) = file.write_all_at(&header, 0) {
            let _ = files::remove(&path);
            return Err(SpoolError::io("write", &path, error));
        }
        let bytes = FILE_HEADER_BYTES as u64;
        let segment = Segment {
            path: path.clone(),
            salt,
            home: None,
            bytes,
            live: 0,
            complete: false,
        };
        let active = Self {
            key,
            file,
            path,
            salt,
            bytes,
            synced_bytes: 0,
            unsynced_since: None,
            is_new: true,
        };
        Ok((active, segment))
    }

    /// Writes a record at the end and returns its offset. After an error nothing of it is in the file, or the file ends in a
    /// torn record, which readers pass over; either way it must not be written to again.
    pub(super) fn append(
        &mut self,
        meta: &[u8],
        record: &Record<'_>,
        written: UnixNanos,
    ) -> Result<u32, SpoolError> {
        let place = u32::try_from(self.bytes).map_err(|_| SpoolError::TooLarge {
            bytes: self.bytes,
            limit_bytes: u64::from(u32::MAX),
        })?;
        let header = RecordHeader::new(meta, record, place, written).write(self.salt);
        let head = [&header[..], meta].concat();
        let end = self.bytes + head.len() as u64;
        let done = self.file.write_all_at(&head, self.bytes);
        if let Err(error) = done.and_then(|()| self.file.write_all_at(record.body, end)) {
            let _ = self.file.set_len(self.bytes);
            return Err(SpoolError::io("write", &self.path, error));
        }
        self.bytes = end + record.body.len() as u64;
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(place)
    }

    /// Brings everything to the disk, and finds out whether the file is still in its folder.
    pub(super) fn sync(&mut self) -> Result<(), SpoolError> {
        let failed = |error| SpoolError::io("sync", &self.path, error);
        if self.file.metadata().map_err(failed)?.nlink() == 0 {
            return Err(SpoolError::Gone);
        }
        if self.unsynced_since.is_none() {
            return Ok(());
        }
        self.file.sync_data().map_err(failed)?;
        if self.is_new
            && let Some(folder) = self.path.parent()
        {
            files::sync_folder(folder)?;
            self.is_new = false;
        }
        self.synced_bytes = self.bytes;
        self.unsynced_since = None;
        Ok(())
    }

    pub(super) fn mark_settled(&self, offset: u32) {
        mark_settled(&self.file, offset);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn has_records(&self) -> bool {
        self.bytes > FILE_HEADER_BYTES as u64
    }

    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.bytes - self.synced_bytes
    }

    pub(super) fn unsynced_since(&self) -> Option<Instant> {
        self.unsynced_since
    }
}
