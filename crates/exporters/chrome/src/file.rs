//! A trace file: whole and loadable after every payload, in whatever process wrote it.
//!
//! A Chrome document may stay open at its end only as a bare array, which has no place for the base of its times. So ours is an object,
//! and each payload overwrites the last bytes, `]}`, with events and new last bytes, in one write under a lock that all our processes
//! take. A Perfetto trace simply goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use hiq_core::config::ConfigError;
use hiq_core::export::Deadline;
use hiq_core::time::{Clock, UnixNanos};
use hiq_core::transport::{
    Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};
use rustix::fs::{FlockOperation, flock};

use crate::config::TraceFormat;
use crate::frame::{CHROME_TAIL, chrome_head, default_base, read_chrome_head};
use crate::gzip::{Gzip, ending_bytes, ending_without};

/// Bytes of a payload at most: what is compressed and written in one go.
const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Appends payloads to a trace file, gzipped when its name ends in `.gz`.
///
/// Several processes may write to one file; each payload goes in whole or not at all. A file that is there and is no trace of ours is
/// left alone.
#[derive(Debug)]
pub struct TraceFile {
    path: PathBuf,
    file: File,
    format: TraceFormat,
    base: UnixNanos,
    head_bytes: u64,
    gzip: Option<Stream>,
    is_compressed: bool,
    piece: Vec<u8>,
    settled: Vec<Outcome>,
}

/// Our own member of a gzip file, and how the file looked when we left it.
#[derive(Debug)]
struct Stream {
    gzip: Gzip,
    file_bytes: u64,
}

impl TraceFile {
    /// Opens `path`, or makes it: a trace without events, then, whose times count from `base`, by default 45 days ago.
    pub fn open(
        path: &Path,
        format: TraceFormat,
        base: Option<UnixNanos>,
    ) -> Result<Self, ConfigError> {
        let is_compressed = path.extension().is_some_and(|end| end == "gz");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(path).map_err(|error| {
            let fix = "name a file in a folder that exists and that you may write to";
            ConfigError::new("path", problem(path, &error), fix)
        })?;
        let mut this = Self {
            path: path.to_owned(),
            file,
            format,
            base: base.unwrap_or_else(|| default_base(Clock::unix_nanos())),
            head_bytes: 0,
            gzip: None,
            is_compressed,
            piece: Vec::new(),
            settled: Vec::new(),
        };
        let found = this.locked(Self::begin).map_err(|error| {
            let fix = "name a regular file in a folder that you may write to";
            ConfigError::new("path", problem(path, &error), fix)
        })?;
        if found {
            return Ok(this);
        }
        let problem = format!(
            "{} is there and is no whole {} trace written by hiq",
            path.display(),
            format.title()
        );
        Err(ConfigError::new(
            "path",
            problem,
            "name another file, or delete this one",
        ))
    }

    /// From when the file's times count.
    pub fn base(&self) -> UnixNanos {
        self.base
    }

    /// Writes the head of a new file, or reads that of an old one. False for a file of another kind.
    fn begin(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() > 0 {
            return self.recognise();
        }
        let head = self.head();
        self.head_bytes = head.len() as u64;
        // Compressing begins with the head by itself.
        self.write(if self.is_compressed { b"" } else { &head }, 0)?;
        Ok(true)
    }

    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        if self.format == TraceFormat::ChromeJson {
            chrome_head(self.base, &mut head);
        }
        head
    }

    fn recognise(&mut self) -> io::Result<bool> {
        const HEAD_LIMIT: u64 = 512;
        let mut start = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        if self.is_compressed {
            // A damaged file is one of another kind.
            let mut reader = GzDecoder::new(&self.file).take(HEAD_LIMIT);
            if reader.read_to_end(&mut start).is_err() {
                return Ok(false);
            }
        } else {
            (&self.file).take(HEAD_LIMIT).read_to_end(&mut start)?;
        }
        if self.format == TraceFormat::Perfetto {
            // A packet of a trace, or nothing yet.
            let begins_well = start.is_empty() || start[0] == 0x0a;
            return Ok(begins_well && self.ends_well()?);
        }
        if !self.ends_well()? {
            return Ok(false);
        }
        let Some((base, bytes)) = read_chrome_head(&start) else {
            return Ok(false);
        };
        (self.base, self.head_bytes) = (base, bytes as u64);
        Ok(true)
    }

    /// Whether the ending is one that more can take the place of.
    fn ends_well(&mut self) -> io::Result<bool> {
        let tail = self.format.tail();
        let bytes = if self.is_compressed {
            ending_bytes(tail)
        } else {
            tail.len()
        };
        let end = self.file.metadata()?.len();
        let ending = self.read_at(end.saturating_sub(bytes as u64), end)?;
        Ok(if self.is_compressed {
            ending_without(tail, &ending).is_some()
        } else {
            ending == tail
        })
    }

    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let mut piece = std::mem::take(&mut self.piece);
        piece.clear();
        let result = self.locked(|this| {
            let end = this.file.metadata()?.len();
            if this.format == TraceFormat::ChromeJson && this.has_events(end)? {
                piece.extend_from_slice(b",\n");
            }
            piece.extend_from_slice(body);
            this.write(&piece, end)
        });
        self.piece = piece;
        result
    }

    /// Writes `text` over the ending of a file of `end` bytes, and a new ending. Of what does not fit nothing stays.
    fn write(&mut self, text: &[u8], end: u64) -> io::Result<()> {
        let tail = self.format.tail();
        let mut bytes = Vec::new();
        let at = if self.is_compressed {
            self.compress(text, end, &mut bytes)?
        } else {
            let at = end.saturating_sub(tail.len() as u64);
            self.check_ending(at, tail)?;
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(tail);
            at
        };
        let old_ending = self.read_at(at, end)?;
        let written = self.write_at(at, &bytes);
        if written.is_err() {
            // Best effort: the disk is full, or gone.
            let restored = self.write_at(at, &old_ending);
            let _ = restored.and_then(|()| self.file.set_len(end));
            self.gzip = None;
        } else if let Some(stream) = &mut self.gzip {
            stream.file_bytes = at + bytes.len() as u64;
        }
        written
    }

    /// Compresses into our own member, or into a new one behind what another process wrote. Returns where it belongs.
    fn compress(&mut self, text: &[u8], end: u64, out: &mut Vec<u8>) -> io::Result<u64> {
        let tail = self.format.tail();
        let ending = ending_bytes(tail) as u64;
        let mut at = end.saturating_sub(ending);
        let ours = self.gzip.take().filter(|ours| ours.file_bytes == end);
        let mut gzip = match ours {
            Some(stream) => stream.gzip,
            // Not all readers know of members: a file without events begins anew, in one.
            None if end == 0 || !self.has_events(end)? => {
                at = 0;
                let mut gzip = Gzip::begin(out);
                gzip.append(&self.head(), out)?;
                gzip
            }
            None => {
                let closed = ending_without(tail, &self.read_at(at, end)?);
                out.extend(closed.ok_or_else(changed)?);
                Gzip::begin(out)
            }
        };
        gzip.append(text, out)?;
        gzip.ending(tail, out);
        self.gzip = Some(Stream {
            gzip,
            file_bytes: 0,
        });
        Ok(at)
    }

    /// Whether anything stands between head and ending.
    fn has_events(&mut self, end: u64) -> io::Result<bool> {
        let tail = self.format.tail().len() as u64;
        if !self.is_compressed {
            return Ok(end > self.head_bytes + tail);
        }
        // The length of the last member's text: only that of the head is so short.
        let length = self.read_at(end.saturating_sub(4), end)?;
        let length = length.try_into().map_or(0, u32::from_le_bytes);
        Ok(u64::from(length) != self.head_bytes + tail)
    }

    fn check_ending(&mut self, at: u64, tail: &[u8]) -> io::Result<()> {
        let end = at + tail.len() as u64;
        let found = self.read_at(at, end)?;
        if found.is_empty() || found == tail {
            return Ok(());
        }
        Err(changed())
    }

    fn read_at(&mut self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(from))?;
        (&self.file)
            .take(to.saturating_sub(from))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }

    fn locked<T>(&mut self, act: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        flock(&self.file, FlockOperation::LockExclusive)?;
        let result = act(self);
        let _ = flock(&self.file, FlockOperation::Unlock);
        result
    }
}

fn changed() -> io::Error {
    io::Error::other("somebody else has changed its end")
}

fn problem(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

impl TraceFormat {
    fn tail(self) -> &'static [u8] {
        match self {
            Self::ChromeJson => CHROME_TAIL,
            Self::Perfetto => b"",
        }
    }
}

impl Transport for TraceFile {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(MAX_PAYLOAD_BYTES)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, _deadline: &Deadline) {
        let result = self.append(payload.body);
        let result = result.map(|()| Reply::Acknowledged).map_err(|error| {
            TransportError::new(TransportErrorKind::Io, problem(&self.path, &error))
        });
        self.settled.push(Outcome::new(id, result));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }
}
