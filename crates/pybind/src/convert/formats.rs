//! Every format that `hiq convert` reads: one line in [`READERS`].

use std::cell::RefCell;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hiq_chrome::{ChromeDecoder, PerfettoDecoder};
use hiq_core::config::ConfigError;
use hiq_core::decode::pieces::{Items, each_document_or_line, each_message};
use hiq_core::decode::{DecodeError, Decoder};
use hiq_core::time::{Clock, UnixNanos};
use hiq_core::tree::SpanTree;
use hiq_jaeger::JaegerDecoder;
use hiq_otlp::OtlpDecoder;
use hiq_zipkin::ZipkinDecoder;

use super::hiq_text;

/// A format that can be read.
pub(super) struct Format {
    /// As in `--from`.
    pub(super) name: &'static str,
    /// Whether a file that begins so is of this format. The first that says yes has it.
    is_start: fn(&[u8]) -> bool,
    pub(super) read: ReadFormat,
}

type ReadFormat = fn(&mut dyn BufRead, &Options<'_>, &mut Sink<'_>) -> Result<(), DecodeError>;

pub(super) type Sink<'s> = dyn FnMut(Arc<SpanTree>) + 's;

/// What the user said about a file.
pub(super) struct Options<'b> {
    /// Time zero of Chrome traces.
    pub(super) base_unix_nanos: Option<u64>,
    /// Where lines are noted that cannot be read.
    pub(super) bad_lines: &'b RefCell<BadLines>,
    /// Set when reading is to end.
    pub(super) stop: Arc<AtomicBool>,
}

/// Lines that could not be read, among others that could.
#[derive(Debug, Default)]
pub(super) struct BadLines {
    count: usize,
    /// The first of them.
    told: Vec<String>,
}

/// Lines that are told one by one.
const MAX_TOLD: usize = 5;

impl BadLines {
    pub(super) fn note(&mut self, line: usize, error: &DecodeError) {
        self.count += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(format!("line {line} is left out: {error}"));
        }
    }

    /// A line for each, but for the many.
    pub(super) fn problems(self) -> impl Iterator<Item = String> {
        let more = self.count - self.told.len();
        let more = (more > 0).then(|| format!("{more} more lines are left out"));
        self.told.into_iter().chain(more)
    }
}

pub(super) static READERS: [Format; 9] = [
    line("hiq-tree", hiq_text::is_start, hiq_text::read),
    line("otlp-json", is_otlp_json, otlp_json),
    line("jaeger-json", is_jaeger_json, jaeger_json),
    line("zipkin-json-v1", is_zipkin_json_v1, zipkin_json_v1),
    line("zipkin-json", is_zipkin_json, zipkin_json),
    line("chrome", is_chrome, chrome),
    line("zipkin-proto", is_zipkin_proto, zipkin_proto),
    line("perfetto", is_perfetto, perfetto),
    line("otlp-proto", is_otlp_proto, otlp_proto),
];

const fn line(name: &'static str, is_start: fn(&[u8]) -> bool, read: ReadFormat) -> Format {
    Format {
        name,
        is_start,
        read,
    }
}

/// The format called `name`.
pub(super) fn by_name(name: &str) -> Result<&'static Format, ConfigError> {
    READERS
        .iter()
        .find(|format| format.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = READERS.iter().map(|format| format.name).collect();
            let problem = format!("`{name}` is not a format that hiq reads");
            ConfigError::new(
                "--from",
                problem,
                format!("use one of {}", names.join(", ")),
            )
        })
}

/// The format of a file that begins with `start`.
pub(super) fn sniff(start: &[u8]) -> Option<&'static Format> {
    READERS.iter().find(|format| (format.is_start)(start))
}

fn begins_with(start: &[u8], any: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|byte| any.contains(byte))
}

fn has(start: &[u8], word: &str) -> bool {
    start
        .windows(word.len())
        .any(|bytes| bytes == word.as_bytes())
}

fn is_otlp_json(start: &[u8]) -> bool {
    begins_with(start, b"{")
        && (has(start, "\"resourceSpans\"") || has(start, "\"resource_spans\""))
}

fn is_chrome(start: &[u8]) -> bool {
    let is_page = begins_with(start, b"<");
    is_page || begins_with(start, b"{[") && (has(start, "\"traceEvents\"") || has(start, "\"ph\""))
}

fn is_jaeger_json(start: &[u8]) -> bool {
    let has_words = has(start, "\"operationName\"") || has(start, "\"processes\"");
    begins_with(start, b"{[") && has(start, "\"traceID\"") && has_words
}

fn is_zipkin_json_v1(start: &[u8]) -> bool {
    let has_words = has(start, "\"binaryAnnotations\"") || has(start, "\"endpoint\"");
    begins_with(start, b"[") && has(start, "\"traceId\"") && has_words
}

fn is_zipkin_json(start: &[u8]) -> bool {
    begins_with(start, b"[") && has(start, "\"traceId\"")
}

/// The fields of the first message in the message that `start` begins.
fn first_message(start: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let (length, body) = varint(start.strip_prefix(b"\x0a")?)?;
    let length = usize::try_from(length).ok()?;
    Some(fields(body.get(..length).unwrap_or(body)))
}

/// Trace ids of 8 or 16 bytes, and span ids of 8.
fn is_zipkin_proto(start: &[u8]) -> bool {
    let fields = first_message(start).unwrap_or_default();
    let has = |number, lengths: &[usize]| {
        let mut found = fields.iter().filter(|(own, _)| *own == number);
        found.any(|(_, bytes)| lengths.contains(&bytes.len()))
    };
    has(1, &[8, 16]) && has(3, &[8])
}

/// Packets have fields that nothing else has: a time (8), a sequence (10).
fn is_perfetto(start: &[u8]) -> bool {
    let fields = first_message(start).unwrap_or_default();
    let is_packets = |(number, _): &(u64, &[u8])| matches!(number, 8 | 10 | 13 | 36 | 45 | 59 | 60);
    fields.iter().any(is_packets)
}

/// A `ResourceSpans` of no other fields than its three.
fn is_otlp_proto(start: &[u8]) -> bool {
    let fields = first_message(start).unwrap_or_default();
    !fields.is_empty() && fields.iter().all(|(number, _)| (1..=3).contains(number))
}

/// JSON documents, or one a line: then a bad line is noted, and costs no other.
fn json(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    (format, items): (&'static str, Items),
    decoder: &mut dyn Decoder,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let note = &mut |line, error: DecodeError| options.bad_lines.borrow_mut().note(line, &error);
    each_document_or_line(source, format, items, decoder, sink, note)
}

fn otlp_json(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let items = Items::Under(&["resourceSpans", "resource_spans"]);
    let decoder = &mut OtlpDecoder::json();
    json(source, options, ("OTLP JSON", items), decoder, sink)
}

fn otlp_proto(
    source: &mut dyn BufRead,
    _: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    each_message(source, "OTLP protobuf", &mut OtlpDecoder::proto(), sink)
}

fn jaeger_json(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let items = Items::Under(&["data"]);
    let decoder = &mut JaegerDecoder::json();
    json(source, options, ("Jaeger JSON", items), decoder, sink)
}

fn zipkin_json(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let items = Items::Listed;
    let decoder = &mut ZipkinDecoder::json();
    json(source, options, ("Zipkin JSON", items), decoder, sink)
}

fn zipkin_json_v1(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let items = Items::Listed;
    let decoder = &mut ZipkinDecoder::json_v1();
    json(source, options, ("Zipkin JSON v1", items), decoder, sink)
}

fn zipkin_proto(
    source: &mut dyn BufRead,
    _: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    each_message(source, "Zipkin protobuf", &mut ZipkinDecoder::proto(), sink)
}

fn perfetto(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let mut decoder = PerfettoDecoder::new().with_stop(Arc::clone(&options.stop));
    decoder.read(&mut { source }, sink)
}

fn chrome(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let decoder = ChromeDecoder::new().with_stop(Arc::clone(&options.stop));
    let mut decoder = decoder.with_fallback_base(start_of_host());
    if let Some(base) = options.base_unix_nanos {
        decoder = decoder.with_base(UnixNanos(base));
    }
    decoder.read(&mut { source }, sink)
}

/// Time zero of reports that count from the start of the host they were made on, if that was this one.
fn start_of_host() -> UnixNanos {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime
        .split('.')
        .next()
        .and_then(|seconds| seconds.parse().ok());
    let nanos = seconds.unwrap_or(0_u64).saturating_mul(1_000_000_000);
    UnixNanos(Clock::unix_nanos().0.saturating_sub(nanos))
}

/// The fields of a message, as far as they can be seen: numbers, and the bytes of those that have some.
fn fields(mut rest: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while let Some((tag, behind)) = varint(rest) {
        let (bytes, behind): (&[u8], &[u8]) = match (tag & 7, varint(behind)) {
            (0, Some((_, behind))) => (&[], behind),
            (1, _) => (&[], behind.get(8..).unwrap_or_default()),
            (2, Some((length, behind))) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                behind.split_at_checked(length).unwrap_or((behind, &[]))
            }
            (5, _) => (&[], behind.get(4..).unwrap_or_default()),
            // The end of what is seen, or no protobuf: a number that no format has.
            (0 | 2, None) => break,
            _ => (&[], &[]),
        };
        let is_known = matches!(tag & 7, 0 | 1 | 2 | 5);
        fields.push((if is_known { tag >> 3 } else { u64::MAX }, bytes));
        rest = behind;
    }
    fields
}

/// A varint, and what stands behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
