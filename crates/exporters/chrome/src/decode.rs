//! Trace files read back: Chrome JSON by whoever wrote it, `VizTracer`'s reports first of all, and Perfetto traces.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::MultiGzDecoder;
use hiq_core::decode::{DecodeError, Decoder};
use hiq_core::time::UnixNanos;
use hiq_core::tree::SpanTree;

mod annotation;
mod assemble;
mod document;
mod item;
mod packets;
mod rows;
mod scan;
mod store;
mod value;
mod window;

use document::Document;
use packets::Packets;
use rows::Rows;
use window::Window;

/// Reads Chrome's Trace Event JSON: an object or a bare array, gzipped or not, or the HTML page that `VizTracer` writes.
///
/// What lies inside a span on its row hangs under it; spans that hiq wrote hang where their ids say. Functions of `VizTracer` tell
/// their name, file and line as `code.*`. Instants and counters become events of the span around them, flows links,
/// asynchronous events rows of their own; a span that was never ended ends with its row and carries `hiq.unfinished`.
///
/// Whatever the size of the file, it takes less than 500 MB of memory: beyond a million events they are sorted in a nameless file in
/// `TMPDIR`, of about half the size of the JSON.
#[derive(Clone, Debug, Default)]
pub struct ChromeDecoder {
    base: Option<UnixNanos>,
    fallback: Option<UnixNanos>,
    stop: Stop,
}

/// Whether somebody wants reading to end.
type Stop = Option<Arc<AtomicBool>>;

fn is_stopped(stop: &Stop) -> bool {
    let stop = stop.as_ref();
    stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
}

impl ChromeDecoder {
    /// A decoder that takes times as the file says.
    pub fn new() -> Self {
        Self::default()
    }

    /// The Unix time of the file's time zero, whatever the file says.
    #[must_use]
    pub fn with_base(mut self, base: UnixNanos) -> Self {
        self.base = Some(base);
        self
    }

    /// The Unix time of time zero for files that do not say it and do not count from 1970: for a report made on this host since it was
    /// started, when that was.
    #[must_use]
    pub fn with_fallback_base(mut self, base: UnixNanos) -> Self {
        self.fallback = Some(base);
        self
    }

    /// Once `stop` is true, reading ends in an error and hands out nothing more: by default nobody can do that.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Reads `source` to its end. What was read before an error is handed out all the same.
    pub fn read(
        &mut self,
        source: &mut dyn Read,
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        let mut source = BufReader::with_capacity(1 << 16, source);
        let is_gzip = io::BufRead::fill_buf(&mut source)
            .map_err(|error| failed(0, &error))?
            .starts_with(&[0x1f, 0x8b]);
        if is_gzip {
            return self.read_text(&mut MultiGzDecoder::new(source), sink);
        }
        self.read_text(&mut source, sink)
    }

    fn read_text(
        &self,
        source: &mut dyn Read,
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        let mut rows = Rows::default();
        let mut document = Document::new(Window::new(source), &mut rows);
        let result = document.read();
        let end = document.offset();
        let about = rows.about(self.base, self.fallback);
        rows.hand_out(about, &self.stop, sink)
            .map_err(|error| failed(end, &error))?;
        result
    }
}

/// Reads Perfetto traces: the slices and instants of their track events, with names and annotations, interned or not.
///
/// What hiq wrote hangs where its ids say, other slices inside those around them. Counters and everything else that a trace may
/// hold, scheduling for one, is passed over. Memory as for [`ChromeDecoder`].
#[derive(Clone, Debug, Default)]
pub struct PerfettoDecoder {
    stop: Stop,
}

impl PerfettoDecoder {
    /// A decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`ChromeDecoder::with_stop`].
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Reads `source` to its end. What was read before an error is handed out all the same.
    pub fn read(
        &mut self,
        source: &mut dyn Read,
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        let mut rows = Rows::default();
        let mut packets = Packets::new(Window::new(source), &mut rows);
        let result = packets.read();
        let end = usize::try_from(packets.offset()).unwrap_or(usize::MAX);
        let about = rows.about(None, None);
        let handed_out = rows.hand_out(about, &self.stop, sink);
        handed_out.map_err(|error| DecodeError::new(packets::FORMAT, end, error.to_string()))?;
        result
    }
}

impl Decoder for PerfettoDecoder {
    fn decode(
        &mut self,
        mut payload: &[u8],
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        self.read(&mut payload, sink)
    }
}

impl Decoder for ChromeDecoder {
    fn decode(
        &mut self,
        mut payload: &[u8],
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        self.read(&mut payload, sink)
    }
}

const FORMAT: &str = "Chrome JSON";

fn failed(offset: u64, error: &io::Error) -> DecodeError {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    DecodeError::new(FORMAT, offset, error.to_string())
}
