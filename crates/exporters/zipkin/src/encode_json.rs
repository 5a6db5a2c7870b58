//! Spans to Zipkin's JSON of version 2, in one pass, straight from the trees.

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::span::{Kind, Number, NumberKind, Span};
use hiq_core::transport::Reply;
use hiq_core::value::text::not_finite;
use hiq_core::wire::{Decimal, SignedDecimal, Text, Word, Writer};

use crate::endpoint::Endpoint;
use crate::form::{Form, Pen, State};
use crate::json::{endpoint, ids, text, times};
use crate::judge::JUDGE;
use crate::mapping::ZipkinMapping;
use crate::tags::{Found, tags};
use crate::value::{Scratch, annotation, put_plain_annotation};

/// Zipkin's JSON of version 2: `POST /api/v2/spans`.
///
/// Keeps what it wrote for resources, scopes and sites, so one encoder should serve a connection for life.
#[derive(Debug, Default)]
pub struct ZipkinJsonEncoder {
    state: State,
}

impl ZipkinJsonEncoder {
    /// An encoder with the default mapping.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder that maps as told.
    pub fn with_mapping(mapping: ZipkinMapping) -> Self {
        Self {
            state: State::new(mapping),
        }
    }
}

impl Encoder<TreeBatch> for ZipkinJsonEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("zipkin_json", "application/json")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        self.state.encode::<JsonV2>(cursor, limits, out)
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}

/// JSON of version 2.
#[derive(Debug)]
struct JsonV2;

impl Form for JsonV2 {
    const LIST: [Word; 3] = [Word::new(b"["), Word::new(b","), Word::new(b"]")];
    const LOCAL_LEADS: bool = true;
    const TAGS: &'static [u8] = b",\"tags\":{";
    const SEPARATOR: &'static [u8] = b",";
    const TAGS_END: &'static [u8] = b"}";

    #[inline(always)]
    fn span<'w>(mut writer: Writer<'w>, pen: &mut Pen<'_>, span: Span<'_>) -> Writer<'w> {
        let mut found = Found::default();
        writer = ids(writer, pen.head, span);
        writer = name_and_kind(writer, span);
        writer = times(writer, pen.recent_time, span);
        writer = tags::<Self>(writer, pen, span, &mut found);
        if let Some(remote) = found.remote() {
            writer = writer.elsewhere(|out| remote_endpoint(out, &remote, pen.scratch));
        }
        if span.events().len() > 0 {
            writer = writer.elsewhere(|out| annotations(out, pen, span));
        }
        if found.debug || span.is_debug() {
            writer.put(b",\"debug\":true");
        }
        if found.shared {
            writer.put(b",\"shared\":true");
        }
        writer.put(b'}');
        writer
    }

    fn local(local: &Endpoint<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.put(b",\"localEndpoint\":");
        endpoint(&mut writer, local, scratch, is_sniffed);
    }

    fn is_odd(key: Text<'_>) -> bool {
        needs_care(key)
    }

    #[inline(always)]
    fn text<'w>(
        mut writer: Writer<'w>,
        _local: &[u8],
        key: Text<'_>,
        value: Text<'_>,
    ) -> Writer<'w> {
        if needs_care(value) {
            return writer.elsewhere(|out| Self::plain(out, &[], key.as_str(), value.as_str()));
        }
        writer.put((b'"', key, b"\":\"", value, b"\","));
        writer
    }

    #[inline(always)]
    fn number<'w>(
        mut writer: Writer<'w>,
        _local: &[u8],
        key: Text<'_>,
        value: Number,
    ) -> Writer<'w> {
        let key = (b'"', key, b"\":\"");
        match value.kind() {
            NumberKind::Int => {
                writer.put((key, SignedDecimal(value.bits().cast_signed()), b"\","));
                writer
            }
            NumberKind::Bool => {
                let text = Word::choose(value.bits() != 0, TRUE, FALSE);
                writer.put((key, text));
                writer
            }
            NumberKind::F64 => {
                writer.put(key);
                writer.elsewhere(|out| double(out, f64::from_bits(value.bits())))
            }
        }
    }

    #[inline(always)]
    fn named(out: &mut Vec<u8>, local: &[u8], key: &'static str, value: Text<'_>) {
        if needs_care(value) {
            return Self::plain(out, local, key, value.as_str());
        }
        Writer::new(out).put((b'"', key.as_bytes(), b"\":\"", value, b"\","));
    }

    #[cold]
    #[inline(never)]
    fn plain(out: &mut Vec<u8>, _local: &[u8], key: &str, value: &str) {
        let mut writer = Writer::new(out);
        writer.put(b'"');
        text(&mut writer, key, is_sniffed);
        writer.put(b"\":\"");
        text(&mut writer, value, is_sniffed);
        writer.put(b"\",");
    }

    #[inline(always)]
    fn internal<'w>(mut writer: Writer<'w>, _local: &[u8], is_internal: bool) -> Writer<'w> {
        static TAGS: [Word<32>; 2] = [Word::new(b""), Word::new(b"\"span.kind\":\"internal\",")];
        let tag = &TAGS[usize::from(is_internal)];
        writer.put(tag);
        writer
    }
}

const TRUE: Word = Word::new(b"true\",");
const FALSE: Word = Word::new(b"false\",");

/// A server takes a request with this word before a quote for one of version 1.
const SNIFFED: &str = "yAnnotations";
const TAIL_OF_SNIFFED: u64 = u64::from_le_bytes(*b"otations");

fn is_sniffed(text: &str) -> bool {
    text.ends_with(SNIFFED)
}

/// True when a text cannot just be copied.
#[inline(always)]
fn needs_care(text: Text<'_>) -> bool {
    text.needs_escape() | (text.tail() == TAIL_OF_SNIFFED)
}

/// What stands between quotation marks and ends a tag.
#[inline(never)]
fn double(out: &mut Vec<u8>, value: f64) {
    let mut digits = zmij::Buffer::new();
    let text = if value.is_finite() {
        digits.format_finite(value)
    } else {
        not_finite(value)
    };
    Writer::new(out).put((text.as_bytes(), b"\","));
}

#[inline(never)]
fn remote_endpoint(out: &mut Vec<u8>, remote: &Endpoint<'_>, scratch: &mut Scratch) {
    let mut writer = Writer::new(out);
    writer.put(b",\"remoteEndpoint\":");
    endpoint(&mut writer, remote, scratch, is_sniffed);
}

/// Behind an open text, which stays open.
#[inline(always)]
fn name_and_kind<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let name = span.name();
    if needs_care(name) {
        writer = writer.elsewhere(|out| odd_name(out, name));
    } else if !name.is_empty() {
        writer.put((b"\",\"name\":\"", name));
    }
    let kind = &KINDS[span.kind() as usize & 7];
    writer.put(kind);
    writer
}

#[cold]
#[inline(never)]
fn odd_name(out: &mut Vec<u8>, name: Text<'_>) {
    let mut writer = Writer::new(out);
    writer.put(b"\",\"name\":\"");
    text(&mut writer, name.as_str(), is_sniffed);
}

/// By the number of a kind.
static KINDS: [Word<24>; 8] = {
    let mut kinds = [Word::new(b""); 8];
    kinds[Kind::Client as usize] = Word::new(b"\",\"kind\":\"CLIENT");
    kinds[Kind::Server as usize] = Word::new(b"\",\"kind\":\"SERVER");
    kinds[Kind::Producer as usize] = Word::new(b"\",\"kind\":\"PRODUCER");
    kinds[Kind::Consumer as usize] = Word::new(b"\",\"kind\":\"CONSUMER");
    kinds
};

/// A quotation mark of a text in a text.
const QUOTE: Word = Word::new(b"\\\"");

#[inline(never)]
fn annotations(out: &mut Vec<u8>, pen: &mut Pen<'_>, span: Span<'_>) {
    let mut writer = Writer::new(out);
    writer.put(b",\"annotations\":");
    let mut separator = b'[';
    for event in span.events() {
        let time = (b"{\"timestamp\":", Decimal(event.time().micros()));
        writer.put((separator, time, b",\"value\":\""));
        let form = pen.mapping.annotations;
        if !put_plain_annotation(&mut writer, &event, form, QUOTE) {
            let words = annotation(&event, form, |_| false, pen.scratch);
            text(&mut writer, words, is_sniffed);
        }
        writer.put(b"\"}");
        separator = b',';
    }
    writer.put(b']');
}
