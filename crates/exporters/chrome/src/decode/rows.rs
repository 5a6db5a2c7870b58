//! What stands on one row, and what is said about rows: processes, threads, asynchronous operations.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use hiq_core::id::TraceId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::thread::Thread;
use hiq_core::time::UnixNanos;
use hiq_core::tree::SpanTree;
use hiq_core::value::Value;

use super::assemble::{About, Assembler, Row};
use super::item::{owned_text, pairs};
use super::scan::{EventBytes, nanos, unquoted};
use super::store::{Store, What};
use super::value::{each_field, uint, value};
use super::{Stop, is_stopped};
use crate::encode_json::ARROW;

/// Rows, and spans that are open at once: far beyond any program's.
const MAX_ROWS: usize = 1 << 20;
const MAX_OPEN: usize = 1 << 20;
/// Bytes of names and resources that are kept.
const MAX_SAID_BYTES: usize = 64 << 20;

/// A field of the document beside its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metadata {
    VizTracer,
    BaseTime,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    store: Store,
    bare: Vec<Bare>,
    by_key: HashMap<Box<[u8]>, u32>,
    /// The last row, for the next event most often stands on it too.
    last: Option<u32>,
    key: Vec<u8>,
    /// Spans that have begun, by row.
    open: HashMap<u32, Vec<OpenSpan>>,
    open_spans: usize,
    processes: HashMap<Box<[u8]>, Process>,
    said_bytes: usize,
    first_nanos: Option<i64>,
    base: Option<u64>,
    is_viztracer: bool,
    has_overflow: bool,
}

/// A row as the events name it.
#[derive(Debug, Default)]
struct Bare {
    pid: Box<[u8]>,
    tid: Box<[u8]>,
    is_async: bool,
    name: Option<String>,
    thread_id: Option<u64>,
    is_task: bool,
    last_nanos: i64,
}

impl Bare {
    /// Of the thread with this number; 0: nobody knows.
    fn thread(&self, number: u64) -> Thread {
        let name = self.name.as_deref().unwrap_or_default();
        if self.is_task {
            Thread::new(number, "").of_task(name)
        } else {
            Thread::new(number, if number > 0 { name } else { "" })
        }
    }

    #[inline]
    fn is_of(&self, event: &EventBytes<'_>) -> bool {
        *self.tid == *event.tid && *self.pid == *event.pid
    }
}

#[derive(Debug, Default)]
struct Process {
    name: Option<String>,
    resource: Option<Vec<(String, Value)>>,
}

/// A span that was begun and not ended.
#[derive(Debug)]
struct OpenSpan {
    start: i64,
    name: Box<[u8]>,
    category: Box<[u8]>,
    args: Box<[u8]>,
}

impl Rows {
    /// Takes an event of the document.
    pub(super) fn add(&mut self, event: &EventBytes<'_>) -> io::Result<()> {
        let [ph] = event.ph else {
            return Ok(());
        };
        if *ph == b'M' {
            return self.about_row(event);
        }
        let Some(start) = nanos(event.ts) else {
            return Ok(());
        };
        self.first_nanos = Some(self.first_nanos.map_or(start, |first| first.min(start)));
        let texts = [event.name, event.cat, event.args];
        match ph {
            b'X' => {
                let row = self.row(event)?;
                let end = start.saturating_add(nanos(event.dur).unwrap_or(0).max(0));
                self.reach(row, end);
                self.store.add(What::Span, row, (start, end), texts)
            }
            b'B' => self.begin(event, start, false),
            b'E' => self.end(event, start, false),
            b'b' | b'S' => self.begin(event, start, true),
            b'e' | b'F' => self.end(event, start, true),
            b'i' | b'I' | b'R' | b'n' | b'T' | b'p' | b'N' | b'O' | b'D' => {
                let row = match ph {
                    b'n' | b'T' | b'p' => self.async_row(event)?,
                    _ => self.row(event)?,
                };
                self.reach(row, start);
                self.store.add(What::Instant, row, (start, start), texts)
            }
            // Those that hiq wrote stand in the arguments of their spans as well.
            b'C' if event.cat == b"hiq" => Ok(()),
            b'C' => {
                let row = self.row(event)?;
                self.store.add(What::Counter, row, (start, start), texts)
            }
            b's' | b't' | b'f' => self.flow(event, start),
            _ => Ok(()),
        }
    }

    /// Takes a field beside the events.
    pub(super) fn metadata(&mut self, field: Metadata, raw: &[u8]) {
        if field == Metadata::BaseTime {
            self.base = Some(uint(raw)).filter(|base| *base > 0);
            return;
        }
        each_field(raw, &mut |key, raw| match &*key {
            "baseTimeNanoseconds" => self.base = Some(uint(raw)).filter(|base| *base > 0),
            "version" => self.is_viztracer = true,
            "overflow" => self.has_overflow = raw == b"true",
            _ => {}
        });
    }

    fn begin(&mut self, event: &EventBytes<'_>, start: i64, is_async: bool) -> io::Result<()> {
        let row = if is_async {
            self.async_row(event)?
        } else {
            self.row(event)?
        };
        self.reach(row, start);
        if self.open_spans == MAX_OPEN {
            return Err(io::Error::other(
                "more than a million spans are open at once",
            ));
        }
        let bytes = event.name.len() + event.cat.len() + event.args.len();
        self.count_said(bytes)?;
        self.open_spans += 1;
        self.open.entry(row).or_default().push(OpenSpan {
            start,
            name: event.name.into(),
            category: event.cat.into(),
            args: event.args.into(),
        });
        Ok(())
    }

    fn end(&mut self, event: &EventBytes<'_>, end: i64, is_async: bool) -> io::Result<()> {
        let row = if is_async {
            self.async_row(event)?
        } else {
            self.row(event)?
        };
        self.reach(row, end);
        let Some(span) = self.open.get_mut(&row).and_then(Vec::pop) else {
            return Ok(());
        };
        self.open_spans -= 1;
        self.said_bytes -= span.name.len() + span.category.len() + span.args.len();
        let args = if span.args.len() > 2 {
            &span.args
        } else {
            event.args
        };
        let times = (span.start, end);
        self.store
            .add(What::Span, row, times, [&span.name, &span.category, args])
    }

    /// A flow is known by category, name and id.
    fn flow(&mut self, event: &EventBytes<'_>, time: i64) -> io::Result<()> {
        if event.cat == ARROW.as_bytes() {
            // The spans' own ids say it.
            return Ok(());
        }
        let row = self.row(event)?;
        let mut key = Vec::new();
        for part in [event.cat, event.name, unquoted(event.id)] {
            key.extend_from_slice(part);
            key.push(0);
        }
        let what = match event.ph {
            b"s" => What::FlowStart,
            _ => What::FlowEnd,
        };
        self.store.add(what, row, (time, time), [&key, b"", b""])
    }

    fn reach(&mut self, row: u32, time: i64) {
        let row = &mut self.bare[row as usize];
        row.last_nanos = row.last_nanos.max(time);
    }

    fn about_row(&mut self, event: &EventBytes<'_>) -> io::Result<()> {
        if event.args.len() > 1 << 20 {
            return Ok(());
        }
        match event.name {
            b"process_name" => {
                let (name, ..) = self.said_name(event.args)?;
                self.process(event.pid)?.name = name;
            }
            b"hiq.resource" => {
                self.count_said(event.args.len() * 2)?;
                self.process(event.pid)?.resource = Some(pairs(event.args));
            }
            b"thread_name" => {
                let (name, thread_id, is_task) = self.said_name(event.args)?;
                let row = self.row(event)? as usize;
                self.bare[row].name = name;
                self.bare[row].thread_id = thread_id;
                self.bare[row].is_task = is_task;
            }
            _ => {}
        }
        Ok(())
    }

    /// A name, the thread that it is of, and whether it is that of a task.
    fn said_name(&mut self, args: &[u8]) -> io::Result<(Option<String>, Option<u64>, bool)> {
        self.count_said(args.len())?;
        let (mut name, mut thread_id, mut is_task) = (None, None, false);
        each_field(args, &mut |key, raw| match &*key {
            "name" => name = Some(owned_text(raw)),
            "hiq.thread_id" => thread_id = Some(uint(raw)),
            "hiq.is_task" => is_task = raw == b"true",
            _ => {}
        });
        Ok((name, thread_id, is_task))
    }

    fn process(&mut self, pid: &[u8]) -> io::Result<&mut Process> {
        self.count_said(pid.len() + 100)?;
        Ok(self.processes.entry(pid.into()).or_default())
    }

    fn count_said(&mut self, bytes: usize) -> io::Result<()> {
        self.said_bytes += bytes;
        if self.said_bytes > MAX_SAID_BYTES {
            let message = "names and open spans take more than 64 MiB";
            return Err(io::Error::other(message));
        }
        Ok(())
    }

    #[inline]
    fn row(&mut self, event: &EventBytes<'_>) -> io::Result<u32> {
        if let Some(row) = self.last
            && self.bare[row as usize].is_of(event)
        {
            return Ok(row);
        }
        self.key.clear();
        self.key.extend_from_slice(event.pid);
        self.key.push(b',');
        self.key.extend_from_slice(event.tid);
        let row = self.find_row(event, false)?;
        self.last = Some(row);
        Ok(row)
    }

    /// An asynchronous operation is known by process, category and id.
    fn async_row(&mut self, event: &EventBytes<'_>) -> io::Result<u32> {
        self.key.clear();
        for part in [event.pid, b"\0async", event.cat, event.id] {
            self.key.extend_from_slice(part);
            self.key.push(0);
        }
        self.find_row(event, true)
    }

    fn find_row(&mut self, event: &EventBytes<'_>, is_async: bool) -> io::Result<u32> {
        if let Some(row) = self.by_key.get(self.key.as_slice()) {
            return Ok(*row);
        }
        if self.bare.len() == MAX_ROWS {
            return Err(io::Error::other(
                "more than a million threads or operations",
            ));
        }
        self.count_said(self.key.len() * 3)?;
        let row = u32::try_from(self.bare.len()).unwrap_or(u32::MAX);
        self.bare.push(Bare {
            pid: event.pid.into(),
            tid: event.tid.into(),
            is_async,
            last_nanos: i64::MIN,
            ..Bare::default()
        });
        self.by_key.insert(self.key.as_slice().into(), row);
        Ok(row)
    }

    /// What the file says as a whole.
    pub(super) fn about(&self, base: Option<UnixNanos>, fallback: Option<UnixNanos>) -> About {
        /// Times from 2001 on, in nanoseconds: such a file counts from 1970.
        const UNIX: i64 = 1_000_000_000_000_000_000;
        let counts_from_1970 = self.first_nanos.is_some_and(|first| first > UNIX);
        let own = self.base.map(UnixNanos).filter(|_| !counts_from_1970);
        let found = base.or(own).or(fallback.filter(|_| !counts_from_1970));
        let name = if self.is_viztracer {
            "viztracer"
        } else {
            "chrome"
        };
        About {
            base: found.map_or(0, |base| base.0.into()),
            trace_id: TraceId::random(),
            scope: Arc::new(Scope::new(name, "")),
            is_viztracer: self.is_viztracer,
        }
    }

    /// Hands out all trees, unless somebody stops it.
    pub(super) fn hand_out(
        mut self,
        about: About,
        stop: &Stop,
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> io::Result<()> {
        for (row, spans) in std::mem::take(&mut self.open) {
            let end = self.bare[row as usize].last_nanos;
            for span in spans {
                let texts: [&[u8]; 3] = [&span.name, &span.category, &span.args];
                let times = (span.start, end);
                self.store.add(What::Unfinished, row, times, texts)?;
            }
        }
        let rows = self.finished_rows();
        let mut assembler = Assembler::new(about, rows, sink);
        std::mem::take(&mut self.store).drain(&mut |event| {
            if is_stopped(stop) {
                return Err(io::Error::other("stopped"));
            }
            assembler.take(event)
        })?;
        assembler.finish();
        Ok(())
    }

    fn finished_rows(&self) -> Vec<Row> {
        let mut resources: HashMap<&[u8], Arc<Resource>> = HashMap::new();
        let mut pids_of_thread: HashMap<&[u8], (usize, &[u8])> = HashMap::new();
        for row in self.bare.iter().filter(|row| !row.is_async) {
            let entry = pids_of_thread.entry(&row.tid).or_insert((1, &row.pid));
            entry.0 += usize::from(entry.1 != &*row.pid);
        }
        let rows = self.bare.iter().map(|row| {
            let process = self.processes.get(&row.pid);
            let resource = resources
                .entry(&row.pid)
                .or_insert_with(|| Arc::new(self.resource(&row.pid, process)));
            let is_ours = process.is_some_and(|process| process.resource.is_some());
            let number = row.thread_id.unwrap_or(if is_ours || row.is_async {
                0
            } else {
                uint(unquoted(&row.tid))
            });
            let name = row.name.as_deref().unwrap_or_default();
            let shares = pids_of_thread
                .get(&*row.tid)
                .is_some_and(|(pids, _)| *pids > 1);
            Row {
                resource: Arc::clone(resource),
                thread: row.thread(number),
                shares_thread: (shares && !row.is_async && !is_ours).then_some(number),
                of_roots: if is_ours {
                    Vec::new()
                } else {
                    of_roots(number, name)
                },
            }
        });
        rows.collect()
    }

    fn resource(&self, pid: &[u8], process: Option<&Process>) -> Resource {
        if let Some(said) = process.and_then(|process| process.resource.as_ref()) {
            return Resource::new(said.iter().cloned());
        }
        let name = process.and_then(|process| process.name.clone());
        let name = name.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| format!("process {}", owned_text(pid)));
        let mut attributes = vec![("service.name".to_owned(), Value::from(name))];
        if let number @ Value::Int(_) = value(pid, 0) {
            attributes.push(("process.pid".to_owned(), number));
        }
        if self.has_overflow {
            // The oldest events were overwritten: roots may lack their parents.
            attributes.push(("viztracer.overflow".to_owned(), Value::Bool(true)));
        }
        Resource::new(attributes)
    }
}

fn of_roots(number: u64, name: &str) -> Vec<(String, Value)> {
    let mut attributes = Vec::new();
    if let Ok(number) = i64::try_from(number)
        && number > 0
    {
        attributes.push(("thread.id".to_owned(), Value::Int(number)));
    }
    if !name.is_empty() {
        attributes.push(("thread.name".to_owned(), Value::from(name)));
    }
    attributes
}
