//! What was read of a file, by track and time, in bounded memory: what does not fit waits in a temporary file.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};

use hiq_core::id::SpanId;

/// Records held in memory before they are sorted and laid aside, and the bytes of their texts.
const MAX_RECORDS: usize = 1 << 20;
const MAX_TEXT_BYTES: usize = 64 << 20;
/// Bytes of names that are held once for all records that have them.
const MAX_NAME_BYTES: usize = 48 << 20;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum What {
    Span,
    /// A span that nobody ended.
    Unfinished,
    Instant,
    Counter,
    FlowStart,
    FlowEnd,
}

impl What {
    const ALL: [Self; 6] = [
        Self::Span,
        Self::Unfinished,
        Self::Instant,
        Self::Counter,
        Self::FlowStart,
        Self::FlowEnd,
    ];

    fn is_span(self) -> bool {
        matches!(self, Self::Span | Self::Unfinished)
    }
}

/// One event: numbers here, texts in the store.
#[derive(Clone, Copy, Debug)]
struct Record {
    start: i64,
    end: i64,
    text: u64,
    track: u32,
    name: u32,
    category_bytes: u32,
    args_bytes: u32,
    what: What,
}

/// One event, with its texts as they stood in the file.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) track: u32,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Number of the name; equal names have equal numbers, except [`UNNUMBERED`].
    pub(crate) name_number: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) category: Vec<u8>,
    pub(crate) args: Vec<u8>,
}

/// Stands for a name that the table had no room for.
pub(crate) const UNNUMBERED: u32 = u32::MAX;

/// All events of a file.
#[derive(Debug, Default)]
pub(crate) struct Store {
    records: Vec<Record>,
    /// Of each record: its name, if that has no number, its category, its arguments.
    text: Vec<u8>,
    names: Names,
    runs: Vec<File>,
}

impl Store {
    /// Adds an event. `times` are its start and end.
    pub(crate) fn add(
        &mut self,
        what: What,
        track: u32,
        times: (i64, i64),
        texts: [&[u8]; 3],
    ) -> io::Result<()> {
        let [name, category, args] = texts;
        if self.records.len() >= MAX_RECORDS || self.text.len() >= MAX_TEXT_BYTES {
            self.lay_aside()?;
        }
        let number = self.names.number(name);
        let text = self.text.len() as u64;
        if number == UNNUMBERED {
            let length = u32::try_from(name.len()).unwrap_or(0);
            self.text.extend_from_slice(&length.to_le_bytes());
            self.text.extend_from_slice(&name[..length as usize]);
        }
        self.text.extend_from_slice(category);
        self.text.extend_from_slice(args);
        self.records.push(Record {
            start: times.0,
            end: times.1.max(times.0),
            text,
            track,
            name: number,
            category_bytes: u32::try_from(category.len()).unwrap_or(0),
            args_bytes: u32::try_from(args.len()).unwrap_or(0),
            what,
        });
        Ok(())
    }

    /// Hands out all events: track by track, by their start; of those that start together the longer first, then as they came.
    pub(crate) fn drain(
        mut self,
        take: &mut dyn FnMut(&Event) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.runs.is_empty() {
            sort(&mut self.records);
            let mut event = Event::empty();
            for record in &self.records {
                self.read(record, &mut event);
                take(&event)?;
            }
            return Ok(());
        }
        self.lay_aside()?;
        self.merge(take)
    }

    fn read(&self, record: &Record, event: &mut Event) {
        event.set(record, &self.names);
        let mut at = usize::try_from(record.text).unwrap_or(usize::MAX);
        let mut part = |bytes: usize| {
            let part = self.text.get(at..at + bytes).unwrap_or_default();
            at += bytes;
            part
        };
        if record.name == UNNUMBERED {
            let length = part(4).try_into().map_or(0, u32::from_le_bytes);
            event.name.extend_from_slice(part(length as usize));
        }
        event
            .category
            .extend_from_slice(part(record.category_bytes as usize));
        event
            .args
            .extend_from_slice(part(record.args_bytes as usize));
    }

    /// Sorts what is in memory into a file that has no name.
    fn lay_aside(&mut self) -> io::Result<()> {
        sort(&mut self.records);
        let mut file = nameless_file()?;
        let mut out = BufWriter::with_capacity(1 << 18, &mut file);
        let mut event = Event::empty();
        for record in &self.records {
            self.read(record, &mut event);
            write_record(&mut out, record, &event)?;
        }
        out.flush()?;
        drop(out);
        file.seek(SeekFrom::Start(0))?;
        self.runs.push(file);
        self.records.clear();
        self.text.clear();
        Ok(())
    }

    fn merge(self, take: &mut dyn FnMut(&Event) -> io::Result<()>) -> io::Result<()> {
        let mut runs = Vec::new();
        let mut heads = BinaryHeap::new();
        for (index, file) in self.runs.into_iter().enumerate() {
            let mut run = Run {
                file: BufReader::with_capacity(1 << 17, file),
                event: Event::empty(),
            };
            if let Some(order) = run.advance(&self.names)? {
                heads.push(Reverse((order, index)));
            }
            runs.push(run);
        }
        while let Some(mut head) = heads.peek_mut() {
            let Reverse((order, index)) = &mut *head;
            let run = &mut runs[*index];
            take(&run.event)?;
            match run.advance(&self.names)? {
                Some(next) => *order = next,
                None => drop(PeekMut::pop(head)),
            }
        }
        Ok(())
    }
}

/// By track, start, and the longer first; spans before what happens at one moment.
type Order = (u32, i64, Reverse<i64>, bool);

fn sort(records: &mut [Record]) {
    records.sort_by_key(|record| -> Order {
        let is_point = !record.what.is_span();
        (record.track, record.start, Reverse(record.end), is_point)
    });
}

/// A sorted part that was laid aside.
struct Run {
    file: BufReader<File>,
    event: Event,
}

impl Run {
    fn advance(&mut self, names: &Names) -> io::Result<Option<Order>> {
        let mut bytes = [0; RECORD_BYTES];
        match self.file.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let (record, name_bytes) = read_record(&bytes);
        self.event.set(&record, names);
        let lengths = [name_bytes, record.category_bytes, record.args_bytes];
        let event = &mut self.event;
        let texts = [&mut event.name, &mut event.category, &mut event.args];
        for (length, text) in lengths.into_iter().zip(texts) {
            if length > 0 {
                let limit = u64::from(length);
                (&mut self.file).take(limit).read_to_end(text)?;
            }
        }
        let is_point = !record.what.is_span();
        Ok(Some((
            record.track,
            record.start,
            Reverse(record.end),
            is_point,
        )))
    }
}

const RECORD_BYTES: usize = 37;

fn write_record(out: &mut impl Write, record: &Record, event: &Event) -> io::Result<()> {
    let name_bytes = match record.name {
        UNNUMBERED => u32::try_from(event.name.len()).unwrap_or(0),
        _ => 0,
    };
    out.write_all(&record.start.to_le_bytes())?;
    out.write_all(&record.end.to_le_bytes())?;
    let numbers = [
        record.track,
        record.name,
        name_bytes,
        record.category_bytes,
        record.args_bytes,
    ];
    for number in numbers {
        out.write_all(&number.to_le_bytes())?;
    }
    out.write_all(&[record.what as u8])?;
    out.write_all(&event.name[..name_bytes as usize])?;
    out.write_all(&event.category)?;
    out.write_all(&event.args)
}

fn read_record(bytes: &[u8; RECORD_BYTES]) -> (Record, u32) {
    let long = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        i64::from_le_bytes(word)
    };
    let short = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[at..at + 4]);
        u32::from_le_bytes(word)
    };
    let record = Record {
        start: long(0),
        end: long(8),
        text: 0,
        track: short(16),
        name: short(20),
        category_bytes: short(28),
        args_bytes: short(32),
        what: What::ALL[usize::from(bytes[36]).min(What::ALL.len() - 1)],
    };
    (record, short(24))
}

impl Event {
    fn empty() -> Self {
        Self {
            what: What::Span,
            track: 0,
            start: 0,
            end: 0,
            name_number: UNNUMBERED,
            name: Vec::new(),
            category: Vec::new(),
            args: Vec::new(),
        }
    }

    /// Becomes what `other` is, in memory of its own that it has already.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.what = other.what;
        self.track = other.track;
        self.start = other.start;
        self.end = other.end;
        self.name_number = other.name_number;
        self.name.clone_from(&other.name);
        self.category.clone_from(&other.category);
        self.args.clone_from(&other.args);
    }

    fn set(&mut self, record: &Record, names: &Names) {
        self.what = record.what;
        self.track = record.track;
        self.start = record.start;
        self.end = record.end;
        self.name_number = record.name;
        self.name.clear();
        self.category.clear();
        self.args.clear();
        if let Some(name) = names.by_number.get(record.name as usize) {
            self.name.extend_from_slice(name);
        }
    }
}

/// Names that many events share.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<std::sync::Arc<[u8]>, u32>,
    by_number: Vec<std::sync::Arc<[u8]>>,
    bytes: usize,
    /// The last names that were asked for, by their first bytes.
    recent: Vec<u32>,
}

const RECENT_NAMES: usize = 256;

impl Names {
    fn number(&mut self, name: &[u8]) -> u32 {
        let slot = slot_of(name);
        if let Some(number) = self.recent.get(slot)
            && self
                .by_number
                .get(*number as usize)
                .is_some_and(|known| &known[..] == name)
        {
            return *number;
        }
        let number = self.look_up(name);
        self.recent.resize(RECENT_NAMES, UNNUMBERED);
        self.recent[slot] = number;
        number
    }

    fn look_up(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let cost = name.len() + 100;
        if self.bytes + cost > MAX_NAME_BYTES {
            return UNNUMBERED;
        }
        self.bytes += cost;
        let number = u32::try_from(self.by_number.len()).unwrap_or(UNNUMBERED);
        let shared: std::sync::Arc<[u8]> = name.into();
        self.by_number.push(shared.clone());
        self.numbers.insert(shared, number);
        number
    }
}

/// A place for a name among the recent ones: by its length and a few of its bytes.
fn slot_of(name: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let first = word(name.first_chunk());
    let last = word(name.last_chunk());
    let length = u32::try_from(name.len()).unwrap_or(0);
    let mixed =
        (first ^ last.rotate_left(13) ^ length.wrapping_mul(0x9e37)).wrapping_mul(0x9e37_79b1);
    (mixed >> 24) as usize % RECENT_NAMES
}

/// A file that nobody else can open and that is gone with us.
fn nameless_file() -> io::Result<File> {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("hiq-{}-{}", std::process::id(), SpanId::next()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let file = options.open(&path).map_err(|error| {
        let message = format!(
            "{} cannot be written: {error}; set TMPDIR to a folder with room",
            folder.display()
        );
        io::Error::new(error.kind(), message)
    })?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
