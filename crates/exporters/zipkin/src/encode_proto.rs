//! Spans to `zipkin.proto3.ListOfSpans`, in one pass, straight from the trees.

use std::net::IpAddr;

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::span::{Kind, Number, NumberKind, Span};
use hiq_core::time::duration_micros;
use hiq_core::transport::Reply;
use hiq_core::value::text::not_finite;
use hiq_core::wire::{Fixed64, Piece, Prefixed, Text, Varint, Word, Writer, varint_len};

use crate::endpoint::Endpoint;
use crate::form::{Form, Pen, State};
use crate::judge::JUDGE;
use crate::mapping::ZipkinMapping;
use crate::tags::{Found, tags};
use crate::value::{Scratch, annotation, put_plain_annotation};

/// Zipkin in protobuf: `POST /api/v2/spans`, and what Kafka collectors take.
///
/// Keeps what it wrote for resources, scopes and sites, so one encoder should serve a connection for life.
#[derive(Debug, Default)]
pub struct ZipkinProtoEncoder {
    state: State,
}

impl ZipkinProtoEncoder {
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

impl Encoder<TreeBatch> for ZipkinProtoEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("zipkin_proto", "application/x-protobuf")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        self.state.encode::<Proto>(cursor, limits, out)
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}

/// Most spans are of this size, give or take: their length takes two bytes.
const USUAL_SPAN_BYTES: usize = 500;

/// Fields of `Span`, with their wire types.
const REMOTE_ENDPOINT: u8 = 0x4a;
const LOCAL_ENDPOINT: u8 = 0x42;
const ANNOTATION: u8 = 0x52;
const TAG: u8 = 0x5a;

/// Fields of a tag, which is an entry of a map.
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;

/// `ListOfSpans`.
#[derive(Debug)]
struct Proto;

impl Form for Proto {
    const LIST: [Word; 3] = [Word::new(b""); 3];
    const LOCAL_LEADS: bool = true;
    const TAGS: &'static [u8] = b"";
    const SEPARATOR: &'static [u8] = b"";
    const TAGS_END: &'static [u8] = b"";

    #[inline(always)]
    fn span<'w>(mut writer: Writer<'w>, pen: &mut Pen<'_>, span: Span<'_>) -> Writer<'w> {
        let mut found = Found::default();
        let length = writer.open(0x0a, USUAL_SPAN_BYTES);
        writer = identity(writer, span);
        writer = tags::<Self>(writer, pen, span, &mut found);
        if let Some(remote) = found.remote() {
            writer = writer.elsewhere(|out| endpoint(out, REMOTE_ENDPOINT, &remote));
        }
        if span.events().len() > 0 {
            writer = writer.elsewhere(|out| annotations(out, pen, span));
        }
        if found.debug || span.is_debug() {
            writer.put([0x60, 1]);
        }
        if found.shared {
            writer.put([0x68, 1]);
        }
        writer.close(length);
        writer
    }

    fn local(local: &Endpoint<'_>, _scratch: &mut Scratch, out: &mut Vec<u8>) {
        endpoint(out, LOCAL_ENDPOINT, local);
    }

    fn is_odd(_key: Text<'_>) -> bool {
        false
    }

    #[inline(always)]
    fn text<'w>(writer: Writer<'w>, _local: &[u8], key: Text<'_>, value: Text<'_>) -> Writer<'w> {
        tag(writer, key, value.prefixed_len(), Prefixed(value))
    }

    #[inline(always)]
    fn number<'w>(writer: Writer<'w>, _local: &[u8], key: Text<'_>, value: Number) -> Writer<'w> {
        match value.kind() {
            NumberKind::Int => int_tag(writer, key, value.bits().cast_signed()),
            NumberKind::Bool => {
                let is_true = value.bits() != 0;
                let value = Word::choose(is_true, TRUE, FALSE);
                tag(writer, key, if is_true { 5 } else { 6 }, value)
            }
            NumberKind::F64 => {
                let value = f64::from_bits(value.bits());
                writer.elsewhere(|out| double_tag(out, key, value))
            }
        }
    }

    #[inline(always)]
    fn named(out: &mut Vec<u8>, _local: &[u8], key: &'static str, value: Text<'_>) {
        let key = key.as_bytes();
        let length = 2 + prefixed_len(key) + value.prefixed_len();
        let key = (KEY, Varint(key.len() as u64), key);
        Writer::new(out).put((TAG, Varint(length as u64), key, VALUE, Prefixed(value)));
    }

    #[inline(never)]
    fn plain(out: &mut Vec<u8>, _local: &[u8], key: &str, value: &str) {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        let length = 2 + prefixed_len(key) + prefixed_len(value);
        let key = (KEY, Varint(key.len() as u64), key);
        let value = (VALUE, Varint(value.len() as u64), value);
        Writer::new(out).put((TAG, Varint(length as u64), key, value));
    }

    #[inline(always)]
    fn internal<'w>(mut writer: Writer<'w>, _local: &[u8], is_internal: bool) -> Writer<'w> {
        const BYTES: &[u8] = b"\x5a\x15\x0a\x09span.kind\x12\x08internal";
        static TAGS: [Word<32>; 2] = [Word::new(b""), Word::new(BYTES)];
        let tag = &TAGS[usize::from(is_internal)];
        writer.put(tag);
        writer
    }
}

fn prefixed_len(bytes: &[u8]) -> usize {
    varint_len(bytes.len() as u64) + bytes.len()
}

/// Fields 1 to 7.
#[inline(always)]
fn identity<'w>(mut writer: Writer<'w>, span: Span<'_>) -> Writer<'w> {
    let parent = span.parent_id().filter(|parent| parent.is_valid());
    let kind = match span.kind() {
        Kind::Client => 1,
        Kind::Server => 2,
        Kind::Producer => 3,
        Kind::Consumer => 4,
        Kind::Internal | Kind::Unspecified => 0,
    };
    let name = span.name();
    let start = span.start().micros();
    let duration = duration_micros(span.duration_nanos());
    writer.put((
        ([0x0a, 16], span.trace_id().0),
        parent.map(|parent| ([0x12, 8], parent.to_bytes())),
        ([0x1a, 8], span.id().to_bytes()),
        (kind != 0).then_some([0x20, kind]),
        (!name.is_empty()).then_some((0x2a, Prefixed(name))),
        (start != 0).then_some((0x31, Fixed64(start))),
        (0x38, Varint(duration)),
    ));
    writer
}

/// A tag whose value takes `value_bytes` with its length.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the length is below 128")]
fn tag<'w>(
    mut writer: Writer<'w>,
    key: Text<'_>,
    value_bytes: usize,
    value: impl Piece,
) -> Writer<'w> {
    let length = 2 + key.prefixed_len() + value_bytes;
    if length < 128 {
        writer.put((TAG, length as u8, KEY, Prefixed(key), VALUE, value));
    } else {
        writer.put((TAG, Varint(length as u64), KEY, Prefixed(key), VALUE, value));
    }
    writer
}

const TRUE: Word = Word::new(b"\x04true");
const FALSE: Word = Word::new(b"\x05false");

/// A tag whose value is a number.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "at most eight digits")]
fn int_tag<'w>(writer: Writer<'w>, key: Text<'_>, value: i64) -> Writer<'w> {
    match Word::decimal(value.cast_unsigned()) {
        Some(digits) => tag(writer, key, 1 + digits.len(), (digits.len() as u8, digits)),
        None => long_int_tag(writer, key, value),
    }
}

/// A tag whose value is a number of many digits, or below zero.
#[inline(never)]
fn long_int_tag<'w>(writer: Writer<'w>, key: Text<'_>, value: i64) -> Writer<'w> {
    short_tag(writer, key, itoa::Buffer::new().format(value))
}

/// A tag whose value is a few digits or letters.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the text is short")]
fn short_tag<'w>(writer: Writer<'w>, key: Text<'_>, value: &str) -> Writer<'w> {
    let value = (value.len() as u8, value.as_bytes());
    tag(writer, key, 1 + value.1.len(), value)
}

#[inline(never)]
fn double_tag(out: &mut Vec<u8>, key: Text<'_>, value: f64) {
    let (mut digits, writer) = (zmij::Buffer::new(), Writer::new(out));
    if value.is_finite() {
        short_tag(writer, key, digits.format_finite(value));
    } else {
        short_tag(writer, key, not_finite(value));
    }
}

#[inline(never)]
fn endpoint(out: &mut Vec<u8>, field: u8, endpoint: &Endpoint<'_>) {
    let mut writer = Writer::new(out);
    let length = writer.open(field, 0);
    let service = endpoint.service.as_bytes();
    if !service.is_empty() {
        writer.put((0x0a, Varint(service.len() as u64), service));
    }
    match endpoint.ip {
        Some(IpAddr::V4(ip)) => writer.put(([0x12, 4], ip.octets())),
        Some(IpAddr::V6(ip)) => writer.put(([0x1a, 16], ip.octets())),
        None => {}
    }
    if let Some(port) = endpoint.port {
        writer.put((0x20, Varint(port.into())));
    }
    writer.close(length);
}

const QUOTE: Word = Word::new(b"\"");

#[inline(never)]
fn annotations(out: &mut Vec<u8>, pen: &mut Pen<'_>, span: Span<'_>) {
    let mut writer = Writer::new(out);
    for event in span.events() {
        let length = writer.open(ANNOTATION, 0);
        let time = event.time().micros();
        writer.put((time != 0).then_some((0x09, Fixed64(time))));
        let form = pen.mapping.annotations;
        let words_length = writer.open(0x12, 0);
        if !put_plain_annotation(&mut writer, &event, form, QUOTE) {
            let words = annotation(&event, form, |_| false, pen.scratch);
            writer.put(words.as_bytes());
        }
        writer.close(words_length);
        writer.close(length);
    }
}
