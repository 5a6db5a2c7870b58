//! The tags of a span: those of its resource, scope and site, its own attributes, and what Zipkin has no field for.
//!
//! A key stands in a span only once. What is most particular to the span wins: our own tags, its own attributes, its site's, its
//! scope's, its resource's.

use std::io::Write as _;
use std::marker::PhantomData;

use hiq_core::intern::{SiteId, Symbol};
use hiq_core::span::{Kind, Number, NumberKind, Span, Status, Visitor};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Text, Writer};

use crate::constants::Constants;
use crate::endpoint::{self, Endpoint, Remote};
use crate::form::{Form, Pen};
use crate::keys::{Fate, PlainKeys, fate, has_rare_tags, is_reserved, tag};
use crate::value::{Scratch, cut, link};

/// What was met among the attributes that is no tag, or not only one.
#[derive(Debug, Default)]
pub(crate) struct Found<'a> {
    pub(crate) remote: Option<Remote<'a>>,
    pub(crate) shared: bool,
    pub(crate) debug: bool,
    /// True when any tag was written.
    pub(crate) any: bool,
}

impl<'a> Found<'a> {
    /// The far side.
    #[inline]
    pub(crate) fn remote(&self) -> Option<Endpoint<'a>> {
        self.remote.as_ref().and_then(Remote::endpoint)
    }
}

/// Writes the tags of `span`, nothing where it has none, behind the local endpoint where that leads.
#[inline(always)]
pub(crate) fn tags<'w, 'a, F: Form>(
    mut writer: Writer<'w>,
    pen: &mut Pen<'_>,
    span: Span<'a>,
    found: &mut Found<'a>,
) -> Writer<'w> {
    let before = writer.position() + pen.constants.tags_at;
    writer.put(&pen.constants.head);
    let start = before + F::TAGS.len();
    let mut plain = &mut *pen.plain;
    let mut is_odd = false;
    if span.site() != SiteId::NONE {
        let site = pen
            .sites
            .get::<F>(span.site(), pen.constants, pen.mapping, pen.scratch);
        writer.put(&site.tags[..]);
        is_odd = site.is_odd;
        if !site.tags.is_empty() {
            plain = &mut site.plain;
        }
    }
    let max_chars = pen.mapping.max_tag_value_length;
    let mut rest = Rest {
        plain: plain.of(talks_to_somebody(span)),
        max_bytes: max_chars.unwrap_or(usize::MAX),
        local: &pen.constants.local,
        span,
        found,
        constants: pen.constants,
        max_chars,
        scratch: pen.scratch,
        clash: is_odd,
        is_careful: false,
    };
    let own = Tags::<F> {
        writer,
        key: Symbol::EMPTY,
        rest: &mut rest,
        form: PhantomData,
    };
    writer = span.own_attributes().visit(own).writer;
    if rest.clash {
        writer = writer.elsewhere(|out| one_by_one::<F>(out, start, &mut rest));
    }
    if !span.tree().columns().is_empty() {
        writer = writer.elsewhere(|out| measurements::<F>(out, &mut rest));
    }
    writer = F::internal(writer, rest.local, span.kind() == Kind::Internal);
    if has_rare_tags(span) {
        writer = writer.elsewhere(|out| rare::<F>(out, &mut rest));
    }
    found.any = writer.position() > start;
    if found.any {
        end_tags::<F>(&mut writer);
    } else {
        writer.rewind(before);
    }
    writer
}

/// The end of a span's tags, in place of the last separator.
#[inline(always)]
pub(crate) fn end_tags<F: Form>(writer: &mut Writer<'_>) {
    if !F::SEPARATOR.is_empty() {
        writer.rewind(writer.position() - F::SEPARATOR.len());
    }
    writer.put(F::TAGS_END);
}

/// Only these have a far side.
fn talks_to_somebody(span: Span<'_>) -> bool {
    matches!(span.kind(), Kind::Client | Kind::Producer)
}

/// Writes tags, and looks twice at keys that it does not know. Small, so that it stays in registers: all that is not written to
/// at each attribute is behind one reference.
struct Tags<'w, 'a, 'r, 'p, F> {
    writer: Writer<'w>,
    /// That of the attribute under way.
    key: Symbol,
    rest: &'r mut Rest<'a, 'p>,
    form: PhantomData<F>,
}

/// What is read at each attribute, then what is seldom needed.
struct Rest<'a, 'p> {
    plain: &'p mut PlainKeys,
    /// Bytes of a text that is short enough, whatever is in it.
    max_bytes: usize,
    local: &'p [u8],
    span: Span<'a>,
    found: &'p mut Found<'a>,
    constants: &'p Constants,
    max_chars: Option<usize>,
    scratch: &'p mut Scratch,
    /// A key was met that a constant has too.
    clash: bool,
    /// The constants have been left out where the span has their keys.
    is_careful: bool,
}

/// An attribute with a key that is not known to be plain; it is from now on, where it is.
#[cold]
#[inline(never)]
fn first_look<'a, F: Form>(
    out: &mut Vec<u8>,
    rest: &mut Rest<'a, '_>,
    (symbol, key): (Symbol, Text<'a>),
    value: ValueRef<'a>,
) {
    let name = key.as_str();
    let is_peer = || endpoint::peer_keys().any(|peer| peer == name);
    let means_something = is_reserved(name)
        || rest.constants.has(name)
        || rest.is_of_site(name)
        || (talks_to_somebody(rest.span) && is_peer());
    if !means_something && !F::is_odd(key) {
        rest.plain.add(symbol);
    }
    second_look::<F>(out, rest, name, value);
}

/// Any attribute, after a second look at its key.
#[cold]
#[inline(never)]
fn second_look<'a, F: Form>(
    out: &mut Vec<u8>,
    rest: &mut Rest<'a, '_>,
    key: &str,
    value: ValueRef<'a>,
) {
    if talks_to_somebody(rest.span) {
        let remote = &mut rest.found.remote;
        remote.get_or_insert_default().note(key, &value);
    }
    if !rest.is_careful && (rest.constants.has(key) || rest.is_of_site(key)) {
        rest.clash = true;
    }
    match fate(rest.span, key, &value) {
        Fate::Nothing => {}
        Fate::Shared => rest.found.shared = true,
        Fate::Debug => rest.found.debug = true,
        Fate::Tag => {
            let max_chars = rest.max_chars.filter(|_| may_be_cut(&value));
            let text = cut(value.text(&mut rest.scratch.text), max_chars);
            F::plain(out, rest.local, key, text);
        }
    }
}

impl Rest<'_, '_> {
    fn is_of_site(&self, key: &str) -> bool {
        let mut of_site = self.span.site().attributes();
        of_site.any(|(known, _)| known.as_str() == key)
    }
}

impl<'a, F: Form> Visitor<'a> for Tags<'_, 'a, '_, '_, F> {
    #[inline(always)]
    fn key(&mut self, symbol: Symbol) {
        self.key = symbol;
    }

    #[inline(always)]
    fn text(mut self, key: Text<'a>, value: Text<'a>) -> Self {
        let (rest, symbol) = (&mut *self.rest, self.key);
        if !rest.plain.has(symbol) | (value.prefixed_len() > rest.max_bytes) {
            let value = ValueRef::Text(value);
            let look = |out: &mut Vec<u8>| first_look::<F>(out, rest, (symbol, key), value);
            self.writer = self.writer.elsewhere(look);
        } else {
            self.writer = F::text(self.writer, rest.local, key, value);
        }
        self
    }

    #[inline(always)]
    fn number(mut self, key: Text<'a>, value: Number) -> Self {
        let (rest, symbol) = (&mut *self.rest, self.key);
        if rest.plain.has(symbol) {
            self.writer = F::number(self.writer, rest.local, key, value);
        } else {
            let value = value_of(value);
            let look = |out: &mut Vec<u8>| first_look::<F>(out, rest, (symbol, key), value);
            self.writer = self.writer.elsewhere(look);
        }
        self
    }

    #[inline(always)]
    fn other(mut self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        let rest = &mut *self.rest;
        let look = |out: &mut Vec<u8>| second_look::<F>(out, rest, key.as_str(), value);
        self.writer = self.writer.elsewhere(look);
        self
    }
}

/// The start of a number is another number.
fn may_be_cut(value: &ValueRef<'_>) -> bool {
    !matches!(
        value,
        ValueRef::Int(_) | ValueRef::Bool(_) | ValueRef::F64(_)
    )
}

fn value_of(number: Number) -> ValueRef<'static> {
    match number.kind() {
        NumberKind::Int => ValueRef::Int(number.bits().cast_signed()),
        NumberKind::Bool => ValueRef::Bool(number.bits() != 0),
        NumberKind::F64 => ValueRef::F64(f64::from_bits(number.bits())),
    }
}

/// Writes all anew from `start`, each key once.
#[cold]
#[inline(never)]
fn one_by_one<F: Form>(out: &mut Vec<u8>, start: usize, rest: &mut Rest<'_, '_>) {
    out.truncate(start);
    rest.is_careful = true;
    let span = rest.span;
    let is_own = |key: &str| span.own_attributes().any(|(own, _)| own.as_str() == key);
    let constants = rest.constants;
    for (key, value) in constants.attributes() {
        if !rest.is_of_site(key) && !is_own(key) {
            // The text is copied at once: its buffer is needed for the next one.
            let text = cut(value.text(&mut rest.scratch.text), rest.max_chars);
            F::plain(out, rest.local, key, text);
        }
    }
    let site: SiteId = span.site();
    for (key, value) in site.attributes() {
        if !is_own(key.as_str()) {
            second_look::<F>(out, rest, key.as_str(), value);
        }
    }
    for (key, value) in span.own_attributes() {
        second_look::<F>(out, rest, key.as_str(), value);
    }
}

/// What extra metrics say.
#[cold]
#[inline(never)]
fn measurements<F: Form>(out: &mut Vec<u8>, rest: &mut Rest<'_, '_>) {
    for each in rest.span.measurements() {
        let Scratch { text, key, .. } = &mut *rest.scratch;
        key.clear();
        for part in each.key {
            key.extend_from_slice(part.as_bytes());
        }
        let key = std::str::from_utf8(key).unwrap_or_default();
        let value = ValueRef::F64(each.value).text(text);
        F::plain(out, rest.local, key, value);
    }
}

/// Status, trace state, dropped counts and links.
#[cold]
#[inline(never)]
fn rare<F: Form>(out: &mut Vec<u8>, rest: &mut Rest<'_, '_>) {
    let (span, local) = (rest.span, rest.local);
    match span.status() {
        Status::Unset => {}
        Status::Ok => F::plain(out, local, tag::STATUS_CODE, "OK"),
        Status::Error => error::<F>(out, local, span.status_message()),
    }
    if !span.tree().has_rare_parts() {
        return;
    }
    if let Some(state) = span.trace_state() {
        F::plain(out, local, tag::TRACE_STATE, state.as_str());
    }
    let dropped = span.dropped();
    let counts = [
        (tag::DROPPED_ATTRIBUTES, dropped.attributes),
        (tag::DROPPED_EVENTS, dropped.events),
        (tag::DROPPED_LINKS, dropped.links),
    ];
    for (key, count) in counts {
        if count > 0 {
            F::plain(out, local, key, itoa::Buffer::new().format(count));
        }
    }
    for (number, each) in span.links().enumerate() {
        let scratch = &mut *rest.scratch;
        let mut key = std::mem::take(&mut scratch.key);
        key.clear();
        // A vector takes everything.
        let _ = write!(key, "{}{number}", tag::LINK);
        let value = link(&each, scratch);
        let name = std::str::from_utf8(&key).unwrap_or_default();
        F::plain(out, local, name, value);
        scratch.key = key;
    }
}

#[inline(always)]
fn error<F: Form>(out: &mut Vec<u8>, local: &[u8], message: Option<Text<'_>>) {
    F::plain(out, local, tag::STATUS_CODE, "ERROR");
    match message.filter(|message| !message.is_empty()) {
        None => F::plain(out, local, tag::ERROR, ""),
        Some(message) => {
            F::named(out, local, tag::ERROR, message);
            F::named(out, local, tag::STATUS_DESCRIPTION, message);
        }
    }
}
