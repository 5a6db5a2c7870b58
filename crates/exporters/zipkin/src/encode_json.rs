//! Spans to Zipkin's JSON of version 2, in one pass, straight from the trees.

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::span::{Kind, Number, NumberKind, Span};
use hiq_core::transport::Reply;
use hiq_core::value::text::not_finite;
use hiq_core::wire::{Decimal, JsonText, SignedDecimal, Text, Word, Writer};

use crate::endpoint::Endpoint;
use crate::form::{Form, Pen, State};
use crate::json::{endpoint, ids, text, times};
use crate::judge::JUDGE;
use crate::mapping::ZipkinMapping;
use crate::tags::{Found, tags};
use crate::value::{Scratch, annotation};

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
    const LIST: [&'static [u8]; 3] = [b"[", b",", b"]"];
    const TAGS: &'static [u8] = b",\"tags\":{";
    const SEPARATOR: &'static [u8] = b",";
    const TAGS_END: &'static [u8] = b"}";

    #[inline(always)]
    fn span<'w>(mut writer: Writer<'w>, pen: &mut Pen<'_>, span: Span<'_>) -> Writer<'w> {
        let mut found = Found::default();
        writer = ids(writer, span);
        writer = name_and_kind(writer, span);
        writer = times(writer, span);
        writer.put(&pen.constants.local[..]);
        writer = tags::<Self>(writer, pen, span, &mut found);
        if let Some(remote) = found.remote() {
            writer.put(b",\"remoteEndpoint\":");
            endpoint(&mut writer, &remote, pen.scratch, is_sniffed);
        }
        if span.events().len() > 0 {
            writer = annotations(writer, pen, span);
        }
        if found.debug {
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
            return Self::plain(writer, &[], key.as_str(), value.as_str());
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
            NumberKind::F64 => double(writer, key, f64::from_bits(value.bits())),
        }
    }

    #[cold]
    #[inline(never)]
    fn plain<'w>(mut writer: Writer<'w>, _local: &[u8], key: &str, value: &str) -> Writer<'w> {
        writer.put(b'"');
        text(&mut writer, key, is_sniffed);
        writer.put(b"\":\"");
        text(&mut writer, value, is_sniffed);
        writer.put(b"\",");
        writer
    }

    #[inline(always)]
    fn internal<'w>(mut writer: Writer<'w>, _local: &[u8]) -> Writer<'w> {
        writer.put(b"\"span.kind\":\"internal\",");
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

#[inline(never)]
fn double(mut writer: Writer<'_>, before: impl hiq_core::wire::Piece, value: f64) -> Writer<'_> {
    if value.is_finite() {
        let mut digits = zmij::Buffer::new();
        writer.put((before, digits.format_finite(value).as_bytes(), b"\","));
    } else {
        writer.put((before, not_finite(value).as_bytes(), b"\","));
    }
    writer
}

/// Behind an open text, which stays open.
#[inline(always)]
fn name_and_kind<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let name = span.name();
    if needs_care(name) {
        writer.put(b"\",\"name\":\"");
        text(&mut writer, name.as_str(), is_sniffed);
    } else if !name.is_empty() {
        writer.put((b"\",\"name\":\"", JsonText(name)));
    }
    let kind = match span.kind() {
        Kind::Client => &b"\",\"kind\":\"CLIENT"[..],
        Kind::Server => b"\",\"kind\":\"SERVER",
        Kind::Producer => b"\",\"kind\":\"PRODUCER",
        Kind::Consumer => b"\",\"kind\":\"CONSUMER",
        Kind::Internal | Kind::Unspecified => return writer,
    };
    writer.put(kind);
    writer
}

#[inline(never)]
fn annotations<'w>(mut writer: Writer<'w>, pen: &mut Pen<'_>, span: Span<'_>) -> Writer<'w> {
    writer.put(b",\"annotations\":");
    let mut separator = b'[';
    for event in span.events() {
        let time = (b"{\"timestamp\":", Decimal(event.time().micros()));
        writer.put((separator, time, b",\"value\":\""));
        let words = annotation(&event, pen.mapping.annotations, |_| false, pen.scratch);
        text(&mut writer, words, is_sniffed);
        writer.put(b"\"}");
        separator = b',';
    }
    writer.put(b']');
    writer
}
