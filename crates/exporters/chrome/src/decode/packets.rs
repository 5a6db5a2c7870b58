//! Perfetto's packets: slices that begin and end, on tracks that are described somewhere, with names that were said before.

use std::collections::HashMap;
use std::io;

use hiq_core::decode::DecodeError;
use hiq_core::decode::proto::{Field, Fields, ReadError};
use hiq_core::wire::{Decimal, JsonStr, Writer};

use super::annotation::{annotation, lossy};
use super::rows::Rows;
use super::scan::EventBytes;
use super::window::Window;

pub(super) const FORMAT: &str = "Perfetto";

/// Bytes of names that are held, and how many tracks.
const MAX_NAME_BYTES: usize = 64 << 20;
const MAX_TRACKS: usize = 1 << 20;

const STATE_CLEARED: u64 = 1;

/// A trace that is being read.
pub(super) struct Packets<'r, 'w> {
    window: Window<'r>,
    rows: &'w mut Rows,
    sequences: HashMap<u64, Sequence>,
    tracks: HashMap<u64, Track>,
    name_bytes: usize,
}

/// What was said on one sequence.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    names: HashMap<u64, Vec<u8>>,
    categories: HashMap<u64, Vec<u8>>,
    /// Names of annotations, and texts that they hold.
    pub(super) annotations: HashMap<u64, String>,
    pub(super) texts: HashMap<u64, String>,
    default_track: u64,
}

#[derive(Debug, Default)]
struct Track {
    parent: u64,
    name: String,
    pid: Option<u64>,
    tid: Option<u64>,
}

type Read<T> = Result<T, ReadError>;

impl<'r, 'w> Packets<'r, 'w> {
    pub(super) fn new(window: Window<'r>, rows: &'w mut Rows) -> Self {
        Self {
            window,
            rows,
            sequences: HashMap::new(),
            tracks: HashMap::new(),
            name_bytes: 0,
        }
    }

    /// Bytes behind us.
    pub(super) fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// Reads to the end.
    pub(super) fn read(&mut self) -> Result<(), DecodeError> {
        loop {
            let start = usize::try_from(self.offset()).unwrap_or(usize::MAX);
            let failed = |at: usize, problem: String| {
                DecodeError::new(FORMAT, start.saturating_add(at), problem)
            };
            match Frame::of(self.window.view()) {
                Ok(frame) => {
                    if frame.is_packet {
                        let packet = self.window.view()[frame.head..frame.end].to_vec();
                        self.packet(&packet).map_err(|error| match error {
                            Problem::Bytes(error) => {
                                failed(frame.head + error.offset, error.problem.to_owned())
                            }
                            Problem::Limit(error) => failed(frame.head, error.to_string()),
                        })?;
                    }
                    self.window.take(frame.end);
                }
                Err(Some(problem)) => return Err(failed(0, problem.to_owned())),
                Err(None) => {
                    if self.more(start)? {
                        continue;
                    }
                    let length = self.window.view().len();
                    if length == 0 {
                        return Ok(());
                    }
                    let problem = if self.window.is_full() {
                        "a packet is longer than 64 MiB"
                    } else {
                        "the file ends in the middle: it was cut, or is still being written"
                    };
                    return Err(failed(length, problem.to_owned()));
                }
            }
        }
    }

    fn more(&mut self, at: usize) -> Result<bool, DecodeError> {
        let more = self.window.more();
        more.map_err(|error| DecodeError::new(FORMAT, at, error.to_string()))
    }

    fn packet(&mut self, packet: &[u8]) -> Result<(), Problem> {
        let (mut time, mut sequence, mut flags) = (0, 0, 0);
        for field in Fields::new(packet, 0) {
            let field = field?;
            match field.number {
                8 => time = field.varint()?,
                10 => sequence = field.varint()?,
                13 => flags = field.varint()?,
                _ => {}
            }
        }
        if flags & STATE_CLEARED != 0 {
            self.sequences.insert(sequence, Sequence::default());
        }
        for field in Fields::new(packet, 0) {
            let field = field?;
            match field.number {
                12 => self.interned(sequence, field)?,
                59 => self.defaults(sequence, field)?,
                60 => self.track(field)?,
                _ => {}
            }
        }
        for field in Fields::new(packet, 0) {
            let field = field?;
            if field.number == 11 {
                self.event(sequence, time, field)?;
            }
        }
        Ok(())
    }

    fn interned(&mut self, sequence: u64, field: Field<'_>) -> Result<(), Problem> {
        let names = self.sequences.entry(sequence).or_default();
        for entry in field.message()? {
            let entry = entry?;
            if !matches!(entry.number, 1 | 2 | 3 | 29) {
                continue;
            }
            let (mut iid, mut name): (u64, &[u8]) = (0, b"");
            for part in entry.message()? {
                let part = part?;
                match part.number {
                    1 => iid = part.varint()?,
                    2 => name = part.bytes()?,
                    _ => {}
                }
            }
            self.name_bytes += name.len() + 64;
            if self.name_bytes > MAX_NAME_BYTES {
                // Sequences that began anew have let go of theirs; the sum is what a file may ever say.
                self.name_bytes = count_bytes(names) + name.len();
                if self.name_bytes > MAX_NAME_BYTES {
                    return Err(limit("names take more than 64 MiB"));
                }
            }
            match entry.number {
                1 => drop(names.categories.insert(iid, name.to_vec())),
                2 => drop(names.names.insert(iid, name.to_vec())),
                3 => drop(names.annotations.insert(iid, lossy(name))),
                _ => drop(names.texts.insert(iid, lossy(name))),
            }
        }
        Ok(())
    }

    fn defaults(&mut self, sequence: u64, field: Field<'_>) -> Read<()> {
        for part in field.message()? {
            let part = part?;
            if part.number == 11 {
                for inner in part.message()? {
                    let inner = inner?;
                    if inner.number == 11 {
                        self.sequences.entry(sequence).or_default().default_track =
                            inner.varint()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn track(&mut self, field: Field<'_>) -> Result<(), Problem> {
        let mut track = Track::default();
        let (mut uuid, mut labels) = (0, Vec::new());
        for part in field.message()? {
            let part = part?;
            match part.number {
                1 => uuid = part.varint()?,
                2 => track.name = lossy(part.bytes()?),
                3 => {
                    for inner in part.message()? {
                        let inner = inner?;
                        match inner.number {
                            1 => track.pid = Some(inner.varint()?),
                            6 => track.name = lossy(inner.bytes()?),
                            8 => labels = inner.bytes()?.to_vec(),
                            _ => {}
                        }
                    }
                }
                4 => {
                    for inner in part.message()? {
                        let inner = inner?;
                        match inner.number {
                            1 => track.pid = Some(inner.varint()?),
                            2 => track.tid = Some(inner.varint()?),
                            5 => track.name = lossy(inner.bytes()?),
                            _ => {}
                        }
                    }
                }
                5 => track.parent = part.varint()?,
                _ => {}
            }
        }
        if self.tracks.len() == MAX_TRACKS && !self.tracks.contains_key(&uuid) {
            return Err(limit("more than a million tracks"));
        }
        self.announce(uuid, &track, &labels)?;
        self.tracks.insert(uuid, track);
        Ok(())
    }

    /// Tells the rows who they are.
    fn announce(&mut self, uuid: u64, track: &Track, labels: &[u8]) -> Result<(), Problem> {
        let (pid, tid) = self.place(uuid, Some(track));
        let mut args = Vec::new();
        let mut writer = Writer::new(&mut args);
        writer.put((b"{\"name\":\"", JsonStr(&track.name), b'"'));
        if let Some(tid) = track.tid {
            writer.put((b",\"hiq.thread_id\":", Decimal(tid)));
        }
        writer.put(b'}');
        drop(writer);
        let is_process = track.pid.is_some() && track.tid.is_none();
        let name: &[u8] = if is_process {
            b"process_name"
        } else {
            b"thread_name"
        };
        let mut event = EventBytes {
            ph: b"M",
            name,
            pid: pid.as_bytes(),
            tid: tid.as_bytes(),
            args: &args,
            ..EventBytes::default()
        };
        self.rows.add(&event)?;
        if is_process && labels.starts_with(b"{") {
            event.name = b"hiq.resource";
            event.args = labels;
            self.rows.add(&event)?;
        }
        Ok(())
    }

    /// Process and thread of a track, as texts: a row without a thread is known by its number.
    fn place(&self, uuid: u64, own: Option<&Track>) -> (String, String) {
        let mut pid = None;
        let mut track = own.or_else(|| self.tracks.get(&uuid));
        let tid = track.and_then(|track| track.tid);
        // Parents that are their own are no way up.
        for _ in 0..32 {
            let Some(at) = track else { break };
            pid = pid.or(at.pid);
            track = self.tracks.get(&at.parent).filter(|_| at.parent != 0);
        }
        let tid = tid.map_or_else(|| format!("\"track {uuid}\""), |tid| tid.to_string());
        (pid.unwrap_or(0).to_string(), tid)
    }

    fn event(&mut self, sequence: u64, time: u64, field: Field<'_>) -> Result<(), Problem> {
        let empty = Sequence::default();
        let said = self.sequences.get(&sequence).unwrap_or(&empty);
        let mut event = EventOut {
            track: said.default_track,
            ..EventOut::default()
        };
        let mut writer = Writer::new(&mut event.args);
        let mut separator = b'{';
        for part in field.message()? {
            let part = part?;
            match part.number {
                9 => event.kind = part.varint()?,
                11 => event.track = part.varint()?,
                10 => event.name = said.names.get(&part.varint()?).cloned().unwrap_or_default(),
                23 => event.name = part.bytes()?.to_vec(),
                3 => {
                    let known = said.categories.get(&part.varint()?);
                    event.category = known.cloned().unwrap_or_default();
                }
                22 => event.category = part.bytes()?.to_vec(),
                4 => {
                    writer.put(separator);
                    annotation(&mut writer, said, part, 0, true)?;
                    separator = b',';
                }
                _ => {}
            }
        }
        if separator == b',' {
            writer.put(b'}');
        }
        drop(writer);
        self.add(time, &event)
    }

    fn add(&mut self, time: u64, event: &EventOut) -> Result<(), Problem> {
        let ph: &[u8] = match event.kind {
            1 => b"B",
            2 => b"E",
            3 => b"i",
            // Counters of ours stand in the annotations of their spans as well.
            _ => return Ok(()),
        };
        let (pid, tid) = self.place(event.track, None);
        let ts = format!("{}.{:03}", time / 1_000, time % 1_000);
        let escaped = escaped(&event.name);
        self.rows.add(&EventBytes {
            ph,
            name: &escaped,
            cat: &event.category,
            ts: ts.as_bytes(),
            pid: pid.as_bytes(),
            tid: tid.as_bytes(),
            args: &event.args,
            ..EventBytes::default()
        })?;
        Ok(())
    }
}

/// Where a field of the trace's message lies.
struct Frame {
    is_packet: bool,
    /// Where its value begins, and where it ends.
    head: usize,
    end: usize,
}

impl Frame {
    /// The field that `bytes` begin with; an error without words when they are too few to tell.
    fn of(bytes: &[u8]) -> Result<Self, Option<&'static str>> {
        let (tag, tag_bytes) = varint(bytes)?;
        let (value, value_bytes) = match tag & 7 {
            0 | 2 => varint(&bytes[tag_bytes..])?,
            _ => return Err(Some("this is no packet of a trace")),
        };
        let head = tag_bytes + value_bytes;
        let body = if tag & 7 == 2 { value } else { 0 };
        let end = usize::try_from(body)
            .ok()
            .and_then(|body| head.checked_add(body));
        match end {
            Some(end) if end <= bytes.len() => Ok(Self {
                is_packet: tag == 0x0a,
                head,
                end,
            }),
            _ => Err(None),
        }
    }
}

fn varint(bytes: &[u8]) -> Result<(u64, usize), Option<&'static str>> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Ok((value, at + 1));
        }
    }
    Err((bytes.len() >= 10).then_some("a number is longer than ten bytes"))
}

#[derive(Debug, Default)]
struct EventOut {
    kind: u64,
    track: u64,
    name: Vec<u8>,
    category: Vec<u8>,
    args: Vec<u8>,
}

/// A name as it stands in JSON, which is how names are kept.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).put(JsonStr(&String::from_utf8_lossy(name)));
    out
}

fn count_bytes(said: &Sequence) -> usize {
    let names = said
        .names
        .values()
        .chain(said.categories.values())
        .map(Vec::len);
    let texts = said
        .annotations
        .values()
        .chain(said.texts.values())
        .map(String::len);
    names.chain(texts).map(|length| length + 64).sum()
}

fn limit(problem: &'static str) -> Problem {
    Problem::Limit(io::Error::other(problem))
}

/// What is wrong with a packet.
enum Problem {
    Bytes(ReadError),
    Limit(io::Error),
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        Self::Bytes(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Limit(error)
    }
}
