//! Reading a segment that may be torn, cut or damaged: whatever is whole is found.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::format::{MARKER, RECORD_HEADER_BYTES, RecordHeader};

/// What stands at one place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record.
    Record {
        offset: u32,
        header: RecordHeader,
        content: Vec<u8>,
    },
    /// Bytes that are no whole record, and how many items they held as far as that can be told.
    Damaged { items: u32, bytes: u64 },
    /// The end of a file that was being written to.
    Torn { bytes: u64 },
}

/// Walks a segment from its first record to its end. Memory: one record and a window of 64 KiB.
#[derive(Debug)]
pub(super) struct Scanner {
    file: File,
    salt: u64,
    offset: u64,
    end: u64,
    /// Places of records that stand elsewhere now, and were found there.
    moved: BTreeSet<u32>,
}

impl Scanner {
    pub(super) fn new(file: File, salt: u64, records_at: u64) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Ok(Self {
            file,
            salt,
            offset: records_at.min(end),
            end,
            moved: BTreeSet::new(),
        })
    }

    /// What comes next; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        let begin = self.offset;
        if begin >= self.end {
            return Ok(None);
        }
        let header = self.header_at(begin)?;
        if let Some(header) = header
            && let Some(content) = self.content_at(begin, &header)?
        {
            self.offset = begin + RECORD_HEADER_BYTES as u64 + header.content_bytes();
            return self.check_place(begin, header, content).map(Some);
        }
        // Neither length nor end of the header is trusted: bytes may have been cut out or put in.
        self.offset = self.find_header(begin + 1)?.unwrap_or(self.end);
        let bytes = self.offset - begin;
        let reaches_end = self.offset == self.end;
        if reaches_end && self.is_torn(begin, header.as_ref())? {
            return Ok(Some(Found::Torn { bytes }));
        }
        let items = header.map_or(0, |header| header.items);
        Ok(Some(Found::Damaged { items, bytes }))
    }

    /// A record that stands here for the second time is not delivered twice.
    fn check_place(
        &mut self,
        begin: u64,
        header: RecordHeader,
        content: Vec<u8>,
    ) -> io::Result<Found> {
        let damaged = Found::Damaged {
            items: 0,
            bytes: self.offset - begin,
        };
        let Ok(offset) = u32::try_from(begin) else {
            return Ok(damaged);
        };
        if header.place != offset
            && (self.is_whole_at(header.place)? || !self.moved.insert(header.place))
        {
            return Ok(damaged);
        }
        Ok(Found::Record {
            offset,
            header,
            content,
        })
    }

    /// True when the record that was written at `place` is still there.
    fn is_whole_at(&self, place: u32) -> io::Result<bool> {
        let begin = u64::from(place);
        if begin >= self.end {
            return Ok(false);
        }
        let Some(header) = self.header_at(begin)? else {
            return Ok(false);
        };
        Ok(header.place == place && self.content_at(begin, &header)?.is_some())
    }

    /// True when the rest looks like an append that was cut off: too short, or never filled by the file system.
    fn is_torn(&self, begin: u64, header: Option<&RecordHeader>) -> io::Result<bool> {
        let left = self.end - begin;
        if let Some(header) = header {
            return Ok(left < RECORD_HEADER_BYTES as u64 + header.content_bytes());
        }
        Ok(left < RECORD_HEADER_BYTES as u64 || self.is_zero_from(begin)?)
    }

    fn is_zero_from(&self, mut offset: u64) -> io::Result<bool> {
        let mut window = vec![0; WINDOW_BYTES];
        while offset < self.end {
            let read = self.read_window(&mut window, offset)?;
            if window[..read].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += read as u64;
        }
        Ok(true)
    }

    fn header_at(&self, offset: u64) -> io::Result<Option<RecordHeader>> {
        if self.end - offset < RECORD_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEADER_BYTES];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(RecordHeader::parse(&bytes, self.salt))
    }

    /// The content that belongs to a header, when it is whole.
    fn content_at(&self, offset: u64, header: &RecordHeader) -> io::Result<Option<Vec<u8>>> {
        let begin = offset + RECORD_HEADER_BYTES as u64;
        if self.end - begin < header.content_bytes() {
            return Ok(None);
        }
        read_content(&self.file, begin, header)
    }

    /// The offset of the next header, at `from` or later.
    fn find_header(&self, from: u64) -> io::Result<Option<u64>> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut offset = from;
        while offset + RECORD_HEADER_BYTES as u64 <= self.end {
            let read = self.read_window(&mut window, offset)?;
            let found = window[..read]
                .windows(RECORD_HEADER_BYTES)
                .position(|bytes| is_header(bytes, self.salt));
            if let Some(found) = found {
                return Ok(Some(offset + found as u64));
            }
            // A header may begin in this window and end in the next.
            offset += (read - (RECORD_HEADER_BYTES - 1)) as u64;
        }
        Ok(None)
    }

    /// Fills the window as far as the file goes.
    fn read_window(&self, window: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        let length = left.min(window.len());
        self.file.read_exact_at(&mut window[..length], offset)?;
        Ok(length)
    }
}

const WINDOW_BYTES: usize = 64 << 10;

fn is_header(bytes: &[u8], salt: u64) -> bool {
    bytes.starts_with(&MARKER)
        && bytes
            .first_chunk()
            .is_some_and(|bytes| RecordHeader::parse(bytes, salt).is_some())
}

/// The record at `offset`; `None` when it is damaged.
pub(super) fn read_record(
    file: &File,
    salt: u64,
    offset: u32,
) -> io::Result<Option<(RecordHeader, Vec<u8>)>> {
    let mut bytes = [0; RECORD_HEADER_BYTES];
    file.read_exact_at(&mut bytes, u64::from(offset))?;
    let Some(header) = RecordHeader::parse(&bytes, salt) else {
        return Ok(None);
    };
    let begin = u64::from(offset) + RECORD_HEADER_BYTES as u64;
    let content = read_content(file, begin, &header)?;
    Ok(content.map(|content| (header, content)))
}

fn read_content(file: &File, begin: u64, header: &RecordHeader) -> io::Result<Option<Vec<u8>>> {
    let length = usize::try_from(header.content_bytes()).unwrap_or(usize::MAX);
    let mut content = vec![0; length];
    file.read_exact_at(&mut content, begin)?;
    Ok(Some(content).filter(|content| header.matches(content)))
}
