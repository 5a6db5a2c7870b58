//! What the three encodings have in common: which tags a span has, in which order. How a tag looks is theirs.

use hiq_core::encode::cache;
use hiq_core::id::TraceId;
use hiq_core::span::{Number, Span};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Text, Writer};

use crate::payload::Parts;

/// One encoding.
pub(crate) trait Form: cache::Form + Default + Sized {
    /// A payload that more spans may be added to.
    type Open: Copy + std::fmt::Debug;
    /// A trace id as it stands in each of its spans.
    type Trace: Copy + std::fmt::Debug;

    /// The number of a span's tags, of a process's tags and of a log's fields, where tags carry a number.
    const OF_SPAN: u8;
    const OF_PROCESS: u8;
    const OF_LOG: u8;

    /// How `trace` stands in a span.
    fn trace(trace: TraceId) -> Self::Trace;

    /// Appends a whole process with so many tags, which `tags` writes.
    fn process(
        out: &mut Vec<u8>,
        name: &str,
        count: usize,
        tags: impl FnOnce(Writer<'_>) -> Writer<'_>,
    );

    /// Begins a payload, which is expected to be like the `last`.
    fn open(
        out: &mut Vec<u8>,
        envelope: bool,
        process: &[u8],
        last: Option<Self::Open>,
    ) -> Self::Open;

    /// Where a payload of `spans` would end that stands in `out` up to `position`.
    fn end(
        open: Self::Open,
        envelope: bool,
        process: &[u8],
        spans: usize,
        position: usize,
    ) -> usize;

    /// Ends a payload of `spans`. Returns what to expect of the next.
    fn close(
        out: &mut Vec<u8>,
        open: Self::Open,
        envelope: bool,
        process: &[u8],
        spans: usize,
    ) -> Self::Open;

    /// Appends `span`.
    fn span(out: &mut Vec<u8>, parts: Parts<'_, Self>, span: Span<'_>);

    /// Begins the list of a span's `count` tags.
    fn tags(writer: Writer<'_>, count: usize) -> Writer<'_>;

    /// A tag with a text.
    fn text<'w>(writer: Writer<'w>, of: u8, key: Text<'_>, value: Text<'_>) -> Writer<'w>;

    /// A tag with a number or truth value.
    fn number<'w>(writer: Writer<'w>, of: u8, key: Text<'_>, value: Number) -> Writer<'w>;

    /// A tag with a text and a short key.
    fn named<'w>(writer: Writer<'w>, of: u8, key: &'static str, value: Text<'_>) -> Writer<'w>;

    /// Any tag. The key is its parts together.
    fn any<'w>(writer: Writer<'w>, of: u8, key: [&str; 3], value: Any<'_>) -> Writer<'w>;
}

/// The value of a tag, as Jaeger's types have it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Any<'a> {
    Str(&'a str),
    Bool(bool),
    Int(i64),
    F64(f64),
    Bytes(&'a [u8]),
    /// A list or map, which becomes JSON in a text.
    Json(ValueRef<'a>),
}

impl<'a> Any<'a> {
    pub(crate) fn of(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Text(text) => Self::Str(text.as_str()),
            ValueRef::Str(text) => Self::Str(text),
            ValueRef::Bool(bool) => Self::Bool(bool),
            ValueRef::Int(int) => Self::Int(int),
            ValueRef::F64(double) => Self::F64(double),
            ValueRef::Bytes(bytes) => Self::Bytes(bytes),
            list_or_map @ (ValueRef::Array(_) | ValueRef::Map(_)) => Self::Json(list_or_map),
            _ => Self::Str(""),
        }
    }
}
