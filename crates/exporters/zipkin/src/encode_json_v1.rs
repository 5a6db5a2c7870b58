//! Spans to Zipkin's JSON of version 1, in one pass, straight from the trees.

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::span::{Kind, Number, NumberKind, Span};
use hiq_core::time::duration_micros;
use hiq_core::transport::Reply;
use hiq_core::value::text::not_finite;
use hiq_core::wire::{Decimal, Text, Word, Writer};

use crate::endpoint::Endpoint;
use crate::form::{Form, Pen, State};
use crate::json::{endpoint, ids, text, times};
use crate::judge::JUDGE;
use crate::mapping::ZipkinMapping;
use crate::tags::{Found, end_tags, tags};
use crate::value::{Scratch, annotation};

/// Zipkin's JSON of version 1: `POST /api/v1/spans`.
///
/// For servers that know nothing newer. Version 1 has no kinds but marks when requests were sent and received; only a Zipkin server
/// reads back what version 2 would have said.
#[derive(Debug, Default)]
pub struct ZipkinJsonV1Encoder {
    state: State,
}

impl ZipkinJsonV1Encoder {
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

impl Encoder<TreeBatch> for ZipkinJsonV1Encoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("zipkin_json_v1", "application/json")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        self.state.encode::<JsonV1>(cursor, limits, out)
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}

/// JSON of version 1. A local endpoint is its object, which stands in each annotation that is not an event.
#[derive(Debug)]
struct JsonV1;

impl Form for JsonV1 {
    const LIST: [Word; 3] = [Word::new(b"["), Word::new(b","), Word::new(b"]")];
    const LOCAL_LEADS: bool = false;
    const TAGS: &'static [u8] = b",\"binaryAnnotations\":[";
    const SEPARATOR: &'static [u8] = b",";
    const TAGS_END: &'static [u8] = b"]";

    fn span<'w>(mut writer: Writer<'w>, pen: &mut Pen<'_>, span: Span<'_>) -> Writer<'w> {
        let mut found = Found::default();
        writer = ids(writer, pen.head, span);
        writer.put(b"\",\"name\":\"");
        text(&mut writer, span.name().as_str(), is_sniffed);
        // Whether it is shared is known only after its attributes.
        let before_times = writer.position();
        writer = rest(writer, pen, span, &mut found, false);
        if found.shared {
            writer.rewind(before_times);
            writer = rest(writer, pen, span, &mut Found::default(), true);
        }
        if found.debug || span.is_debug() {
            writer.put(b",\"debug\":true");
        }
        writer.put(b'}');
        writer
    }

    fn local(local: &Endpoint<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) {
        endpoint(&mut Writer::new(out), local, scratch, is_sniffed);
    }

    fn is_odd(_key: Text<'_>) -> bool {
        false
    }

    fn text<'w>(writer: Writer<'w>, local: &[u8], key: Text<'_>, value: Text<'_>) -> Writer<'w> {
        writer.elsewhere(|out| Self::plain(out, local, key.as_str(), value.as_str()))
    }

    fn number<'w>(writer: Writer<'w>, local: &[u8], key: Text<'_>, value: Number) -> Writer<'w> {
        let (key, mut digits) = (key.as_str(), itoa::Buffer::new());
        let mut decimals = zmij::Buffer::new();
        let value = match value.kind() {
            NumberKind::Int => digits.format(value.bits().cast_signed()),
            NumberKind::Bool if value.bits() != 0 => "true",
            NumberKind::Bool => "false",
            NumberKind::F64 => {
                let value = f64::from_bits(value.bits());
                if value.is_finite() {
                    decimals.format_finite(value)
                } else {
                    not_finite(value)
                }
            }
        };
        writer.elsewhere(|out| Self::plain(out, local, key, value))
    }

    fn plain(out: &mut Vec<u8>, local: &[u8], key: &str, value: &str) {
        let mut writer = Writer::new(out);
        writer.put(b"{\"key\":\"");
        if ADDRESSES_AND_MARKS.contains(&key) {
            writer.put(b"tag.");
        }
        text(&mut writer, key, is_sniffed);
        writer.put(b"\",\"value\":\"");
        text(&mut writer, value, is_sniffed);
        writer.put((b"\",\"endpoint\":", local, b"},"));
    }

    fn internal<'w>(writer: Writer<'w>, local: &[u8], is_internal: bool) -> Writer<'w> {
        if !is_internal {
            return writer;
        }
        writer.elsewhere(|out| Self::plain(out, local, "span.kind", "internal"))
    }
}

/// Keys of binary annotations that are no tags; a tag of such a name has `tag.` before it.
pub(crate) const ADDRESSES_AND_MARKS: [&str; 4] = ["sa", "ca", "ma", "lc"];

/// Annotations that mark when a request or message was sent or received; an event of such a name stands in quotes.
pub(crate) const MARKS: [&str; 8] = ["cs", "cr", "sr", "ss", "ms", "mr", "ws", "wr"];

/// A server takes a request with these words before a quote for one of version 2.
fn is_sniffed(text: &str) -> bool {
    text.ends_with("Endpoint") || text == "tags" || text.ends_with("\"tags")
}

/// All behind the name, whose text is open. A shared span has no times of its own: they are the client's.
fn rest<'w, 'a>(
    mut writer: Writer<'w>,
    pen: &mut Pen<'_>,
    span: Span<'a>,
    found: &mut Found<'a>,
    is_shared: bool,
) -> Writer<'w> {
    if is_shared {
        writer.put(b'"');
    } else {
        writer = times(writer, pen.recent_time, span);
    }
    writer = annotations(writer, pen, span);
    writer = tags::<JsonV1>(writer, pen, span, found);
    let remote = found.remote().filter(|_| pen.mapping.v1_addresses);
    let has_kind = !marks(span).is_empty();
    if remote.is_some() || (!found.any && !has_kind) {
        writer = addresses(writer, pen, span, remote, found.any);
    }
    writer
}

/// What marks the kind of a span: the first at its start, the second at its end.
fn marks(span: Span<'_>) -> &'static [&'static [u8; 2]] {
    match span.kind() {
        Kind::Client => &[b"cs", b"cr"],
        Kind::Server => &[b"sr", b"ss"],
        Kind::Producer => &[b"ms"],
        Kind::Consumer => &[b"mr"],
        Kind::Internal | Kind::Unspecified => &[],
    }
}

fn annotations<'w>(mut writer: Writer<'w>, pen: &mut Pen<'_>, span: Span<'_>) -> Writer<'w> {
    let start = span.start().micros();
    let end = start + duration_micros(span.duration_nanos());
    let local = &pen.constants.local[..];
    let mut separator = b'[';
    let before = writer.position();
    writer.put(b",\"annotations\":");
    for (mark, time) in marks(span).iter().zip([start, end]) {
        let time = (separator, b"{\"timestamp\":", Decimal(time));
        writer.put((
            time,
            b",\"value\":\"",
            *mark,
            b"\",\"endpoint\":",
            local,
            b'}',
        ));
        separator = b',';
    }
    for event in span.events() {
        let time = (b"{\"timestamp\":", Decimal(event.time().micros()));
        writer.put((separator, time, b",\"value\":\""));
        let is_mark = |name: &str| MARKS.contains(&name);
        let words = annotation(&event, pen.mapping.annotations, is_mark, pen.scratch);
        text(&mut writer, words, is_sniffed);
        writer.put(b"\"}");
        separator = b',';
    }
    if separator == b'[' {
        writer.rewind(before);
    } else {
        writer.put(b']');
    }
    writer
}

/// The far side; and where nothing else names the service, a mark of the local one.
fn addresses<'w>(
    mut writer: Writer<'w>,
    pen: &mut Pen<'_>,
    span: Span<'_>,
    remote: Option<Endpoint<'_>>,
    follows_tags: bool,
) -> Writer<'w> {
    if follows_tags {
        writer.rewind(writer.position() - JsonV1::TAGS_END.len());
        writer.put(JsonV1::SEPARATOR);
    } else {
        writer.put(JsonV1::TAGS);
    }
    if !follows_tags && marks(span).is_empty() {
        let local = &pen.constants.local[..];
        writer.put((
            b"{\"key\":\"lc\",\"value\":\"\",\"endpoint\":",
            local,
            b"},",
        ));
    }
    if let Some(remote) = remote {
        let key = if span.kind() == Kind::Client {
            b"sa"
        } else {
            b"ma"
        };
        writer.put((b"{\"key\":\"", key, b"\",\"value\":true,\"endpoint\":"));
        endpoint(&mut writer, &remote, pen.scratch, is_sniffed);
        writer.put(b"},");
    }
    end_tags::<JsonV1>(&mut writer);
    writer
}
