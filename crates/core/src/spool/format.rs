//! Bytes of a segment: a file header, then records. All numbers are little-endian.
//!
//! ```text
//! file    magic "HIQSPOOL" 8 | version 2 | header bytes 2 | reserved 4 | created, Unix ms 8 | reserved 4 | CRC32C 4
//! record  marker 4 | kind 1 | reserved 1 | meta bytes 2 | body bytes 4 | items 4 | place 4 | written, Unix ms 8
//!         | CRC32C of meta and body 4 | CRC32C of salt and header 4 | state 4 | meta | body
//! meta    exporter, encoding, content type, content encoding, key: each 2 bytes of length and the text
//! ```
//!
//! The salt is in the file's name, so that a payload which happens to hold a record is not taken for one when
//! damage makes a reader search for the next header. Only the state changes after a record was written.

use super::{Record, RecordId, SpoolError, StoredRecord};
use crate::time::UnixNanos;

pub(super) const VERSION: u16 = 1;
pub(super) const FILE_HEADER_BYTES: usize = 32;
const FILE_HEADER_BYTES_ON_DISK: u16 = 32;
pub(super) const RECORD_HEADER_BYTES: usize = 40;
/// OTLP's limit of a request; nothing that is sent is larger.
pub(super) const MAX_BODY_BYTES: usize = 64 << 20;
pub(super) const MARKER: [u8; 4] = *b"\xf1HQr";
/// Where in a record's header its state is.
pub(super) const STATE_OFFSET: u64 = 36;
/// The state of a settled record; any other one is open, so that damage there cannot lose a record.
pub(super) const SETTLED: [u8; 4] = *b"DONE";

const MAGIC: &[u8; 8] = b"HIQSPOOL";
const KIND_PAYLOAD: u8 = 1;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileHeader {
    /// Records begin at this offset.
    Good { records_at: u64 },
    /// A later version that this one cannot read.
    Newer { version: u16 },
    /// Not what was written.
    Damaged,
}

impl FileHeader {
    pub(super) fn write(created: UnixNanos) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&FILE_HEADER_BYTES_ON_DISK.to_le_bytes());
        bytes[16..24].copy_from_slice(&(created.0 / NANOS_PER_MILLI).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Self {
        let Some(bytes) = bytes.first_chunk::<FILE_HEADER_BYTES>() else {
            return Self::Damaged;
        };
        if &bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..28]) != u32_at(bytes, 28) {
            return Self::Damaged;
        }
        match u16_at(bytes, 8) {
            VERSION => Self::Good {
                records_at: u64::from(u16_at(bytes, 10)),
            },
            version => Self::Newer { version },
        }
    }
}

/// What stands before a record's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    kind: u8,
    meta_bytes: u16,
    body_bytes: u32,
    pub(super) items: u32,
    /// Its offset when it was written: tells displaced and doubled records from good ones.
    pub(super) place: u32,
    written_unix_millis: u64,
    content_crc: u32,
    pub(super) is_settled: bool,
}

impl RecordHeader {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`Parts::meta` has checked both lengths"
    )]
    pub(super) fn new(meta: &[u8], record: &Record<'_>, place: u32, written: UnixNanos) -> Self {
        Self {
            kind: KIND_PAYLOAD,
            meta_bytes: meta.len() as u16,
            body_bytes: record.body.len() as u32,
            items: record.items,
            place,
            written_unix_millis: written.0 / NANOS_PER_MILLI,
            content_crc: crc32c::crc32c_append(crc32c::crc32c(meta), record.body),
            is_settled: false,
        }
    }

    pub(super) fn write(&self, salt: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&MARKER);
        bytes[4] = self.kind;
        bytes[6..8].copy_from_slice(&self.meta_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.items.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.place.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.written_unix_millis.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.content_crc.to_le_bytes());
        let crc = header_crc(salt, &bytes);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header, when these bytes are one.
    pub(super) fn parse(bytes: &[u8; RECORD_HEADER_BYTES], salt: u64) -> Option<Self> {
        let is_whole = bytes[..4] == MARKER && u32_at(bytes, 32) == header_crc(salt, bytes);
        is_whole.then(|| Self {
            kind: bytes[4],
            meta_bytes: u16_at(bytes, 6),
            body_bytes: u32_at(bytes, 8),
            items: u32_at(bytes, 12),
            place: u32_at(bytes, 16),
            written_unix_millis: u64_at(bytes, 20),
            content_crc: u32_at(bytes, 28),
            is_settled: bytes[36..40] == SETTLED,
        })
    }

    /// Bytes of meta and body.
    pub(super) fn content_bytes(&self) -> u64 {
        u64::from(self.meta_bytes) + u64::from(self.body_bytes)
    }

    pub(super) fn written(&self) -> UnixNanos {
        UnixNanos(self.written_unix_millis.saturating_mul(NANOS_PER_MILLI))
    }

    /// True when `content` is what was written.
    pub(super) fn matches(&self, content: &[u8]) -> bool {
        self.kind == KIND_PAYLOAD && crc32c::crc32c(content) == self.content_crc
    }
}

/// Meta and body of a record, taken apart.
#[derive(Debug)]
pub(super) struct Parts {
    encoding: String,
    content_type: String,
    content_encoding: Option<String>,
    key: Option<String>,
    body: Vec<u8>,
}

impl Parts {
    /// The meta part of `record`; refuses what does not fit.
    pub(super) fn meta(exporter: &str, record: &Record<'_>) -> Result<Vec<u8>, SpoolError> {
        check_size(record.body.len(), MAX_BODY_BYTES)?;
        let texts = [
            exporter,
            record.encoding,
            record.content_type,
            record.content_encoding.unwrap_or_default(),
            record.key.unwrap_or_default(),
        ];
        let bytes = texts.iter().map(|text| text.len() + 2).sum();
        check_size(bytes, usize::from(u16::MAX))?;
        let mut meta = Vec::with_capacity(bytes);
        for text in texts {
            #[expect(clippy::cast_possible_truncation, reason = "their sum was checked")]
            meta.extend_from_slice(&(text.len() as u16).to_le_bytes());
            meta.extend_from_slice(text.as_bytes());
        }
        Ok(meta)
    }

    /// Parses content whose checksum is right.
    pub(super) fn parse(content: &[u8], header: &RecordHeader) -> Result<Self, SpoolError> {
        let (meta, body) = content
            .split_at_checked(usize::from(header.meta_bytes))
            .ok_or(SpoolError::Damaged)?;
        let mut rest = meta;
        let mut text = || take_text(&mut rest).ok_or(SpoolError::Damaged);
        let (_exporter, encoding, content_type) = (text()?, text()?, text()?);
        let (content_encoding, key) = (text()?, text()?);
        Ok(Self {
            encoding,
            content_type,
            content_encoding: Some(content_encoding).filter(|text| !text.is_empty()),
            key: Some(key).filter(|text| !text.is_empty()),
            body: body.to_vec(),
        })
    }

    pub(super) fn into_stored(self, id: RecordId, header: &RecordHeader) -> StoredRecord {
        StoredRecord {
            id,
            encoding: self.encoding,
            content_type: self.content_type,
            content_encoding: self.content_encoding,
            key: self.key,
            items: header.items,
            written: header.written(),
            body: self.body,
        }
    }
}

/// A segment's file name: its number in the process's spool, and the salt.
pub(super) fn file_name(number: u64, salt: u64) -> String {
    format!("{number:016}-{salt:016x}.spool")
}

/// Number and salt of a segment's file name.
pub(super) fn parse_file_name(name: &str) -> Option<(u64, u64)> {
    let (number, salt) = name.strip_suffix(".spool")?.split_once('-')?;
    (number.len() == 16 && salt.len() == 16).then_some(())?;
    Some((number.parse().ok()?, u64::from_str_radix(salt, 16).ok()?))
}

fn check_size(bytes: usize, limit: usize) -> Result<(), SpoolError> {
    if bytes > limit {
        return Err(SpoolError::TooLarge {
            bytes: bytes as u64,
            limit_bytes: limit as u64,
        });
    }
    Ok(())
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

fn header_crc(salt: u64, header: &[u8; RECORD_HEADER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &header[..32])
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
