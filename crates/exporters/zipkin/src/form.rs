//! What the three formats have in common: a list of spans, each with tags.

use std::fmt;
use std::ptr;

use hiq_core::batch::BatchCursor;
use hiq_core::encode::cache::give_back_excess;
use hiq_core::encode::{Encoded, Limits, Page, fill};
use hiq_core::span::{Number, Span};
use hiq_core::tree::SpanTree;
use hiq_core::wire::{Piece as _, Text, Word, Writer};

use crate::constants::{Constants, Recent, Sites};
use crate::endpoint::Endpoint;
use crate::json::{HEAD_BYTES, RecentTime, head};
use crate::keys::Plain;
use crate::mapping::ZipkinMapping;
use crate::value::Scratch;

/// How a format writes spans and their tags. `local` is what [`Form::local`] wrote.
///
/// The tags of a span stand between [`Form::TAGS`] and [`Form::TAGS_END`], which replaces the separator that each tag ends with.
pub(crate) trait Form: fmt::Debug + Send + Sized {
    /// Before the first span, between two, behind the last.
    const LIST: [Word; 3];
    /// The local endpoint stands in each span, right before its tags.
    const LOCAL_LEADS: bool;
    const TAGS: &'static [u8];
    const SEPARATOR: &'static [u8];
    const TAGS_END: &'static [u8];

    /// Writes one span.
    fn span<'w>(writer: Writer<'w>, pen: &mut Pen<'_>, span: Span<'_>) -> Writer<'w>;

    /// What stands in each span for its local endpoint.
    fn local(endpoint: &Endpoint<'_>, scratch: &mut Scratch, out: &mut Vec<u8>);

    /// True when a key cannot just be copied into this form.
    fn is_odd(key: Text<'_>) -> bool;

    /// A tag whose value is a text, and whose key is not odd.
    fn text<'w>(writer: Writer<'w>, local: &[u8], key: Text<'_>, value: Text<'_>) -> Writer<'w>;

    /// A tag whose value is a number or a truth value, and whose key is not odd.
    fn number<'w>(writer: Writer<'w>, local: &[u8], key: Text<'_>, value: Number) -> Writer<'w>;

    /// A tag whose key can just be copied.
    fn named(out: &mut Vec<u8>, local: &[u8], key: &'static str, value: Text<'_>) {
        Self::plain(out, local, key, value.as_str());
    }

    /// Any tag.
    fn plain(out: &mut Vec<u8>, local: &[u8], key: &str, value: &str);

    /// `span.kind` = `internal`, which most spans have; nothing for the others.
    fn internal<'w>(writer: Writer<'w>, local: &[u8], is_internal: bool) -> Writer<'w>;
}

/// What is at hand when a span is written.
#[derive(Debug)]
pub(crate) struct Pen<'e> {
    pub(crate) mapping: &'e ZipkinMapping,
    pub(crate) constants: &'e Constants,
    /// Keys that mean nothing beside these constants.
    pub(crate) plain: &'e mut Plain,
    pub(crate) sites: &'e mut Sites,
    pub(crate) scratch: &'e mut Scratch,
    /// What JSON begins the spans of the trace with.
    pub(crate) head: &'e [u8; HEAD_BYTES],
    pub(crate) recent_time: &'e mut RecentTime,
}

/// What an encoder keeps between payloads.
#[derive(Debug, Default)]
pub(crate) struct State {
    mapping: ZipkinMapping,
    recent: Recent,
    sites: Sites,
    scratch: Scratch,
    recent_time: RecentTime,
}

impl State {
    pub(crate) fn new(mapping: ZipkinMapping) -> Self {
        Self {
            mapping,
            ..Self::default()
        }
    }

    /// Writes one payload.
    pub(crate) fn encode<F: Form>(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let encoded = fill(cursor, limits, &mut List::<F>::new(self, out));
        give_back_excess(out, limits);
        self.scratch.give_back_excess();
        encoded
    }
}

/// A list of spans that is being written.
#[derive(Debug)]
struct List<'a, 'e, F> {
    out: &'e mut Vec<u8>,
    state: &'e mut State,
    start: usize,
    /// Where the last span began.
    before: usize,
    /// The tree of the last span, and the place of what its spans have in common.
    tree: Option<(&'a SpanTree, usize)>,
    head: [u8; HEAD_BYTES],
    form: std::marker::PhantomData<F>,
}

impl<'e, F: Form> List<'_, 'e, F> {
    fn new(state: &'e mut State, out: &'e mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            out,
            state,
            start,
            before: start,
            tree: None,
            head: [0; HEAD_BYTES],
            form: std::marker::PhantomData,
        }
    }
}

/// A function of its own, so that the writer's state stays in registers.
#[inline(never)]
fn write<F: Form>(out: &mut Vec<u8>, is_first: bool, pen: &mut Pen<'_>, span: Span<'_>) {
    let mut writer = Writer::new(out);
    let [begin, between, _] = F::LIST;
    writer.put(Word::choose(is_first, begin, between));
    F::span(writer, pen, span);
}

impl<'a, F: Form> Page<'a> for List<'a, '_, F> {
    #[inline]
    fn push(&mut self, span: Span<'a>) -> bool {
        // Servers refuse the whole payload for the sake of one id that is none.
        if !span.id().is_valid() || !span.trace_id().is_valid() {
            return false;
        }
        let place = self.constants(span);
        self.before = self.out.len();
        let is_first = self.before == self.start;
        let state = &mut *self.state;
        let (constants, plain) = state.recent.get(place);
        let mut pen = Pen {
            mapping: &state.mapping,
            constants,
            plain,
            sites: &mut state.sites,
            scratch: &mut state.scratch,
            head: &self.head,
            recent_time: &mut state.recent_time,
        };
        write::<F>(self.out, is_first, &mut pen, span);
        true
    }

    #[inline]
    fn fits(&self, max_bytes: usize) -> bool {
        self.out.len() - self.start + F::LIST[2].max_len() <= max_bytes
    }

    fn pop(&mut self) {
        self.out.truncate(self.before);
    }

    fn finish(&mut self) {
        Writer::new(self.out).put(F::LIST[2]);
    }
}

impl<'a, F: Form> List<'a, '_, F> {
    /// The place of what `span` has in common with those of its resource and scope.
    #[inline]
    fn constants(&mut self, span: Span<'a>) -> usize {
        match self.tree {
            Some((tree, place)) if ptr::eq(tree, span.tree()) && !tree.has_scopes_of_spans() => {
                place
            }
            _ => self.find_constants(span),
        }
    }

    #[inline(never)]
    fn find_constants(&mut self, span: Span<'a>) -> usize {
        let state = &mut *self.state;
        let origin = (span.tree().resource(), span.scope());
        let place = state
            .recent
            .find::<F>(origin, &state.mapping, &mut state.scratch);
        self.tree = Some((span.tree(), place));
        self.head = head(span.trace_id());
        place
    }
}
