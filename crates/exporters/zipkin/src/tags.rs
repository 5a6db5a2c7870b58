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

/// Writes the tags of `span`; nothing where it has none.
#[inline(always)]
pub(crate) fn tags<'w, 'a, F: Form>(
    mut writer: Writer<'w>,
    pen: &mut Pen<'_>,
    span: Span<'a>,
    found: &mut Found<'a>,
) -> Writer<'w> {
    let before = writer.position();
    writer.put(F::TAGS);
    let start = writer.position();
    writer.put(&pen.constants.tags[..]);
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
    let mut all = span.own_attributes().visit(own);
    if all.rest.clash {
        all = one_by_one(all, start);
    }
    if !span.tree().columns().is_empty() {
        all = measurements(all);
    }
    if span.kind() == Kind::Internal {
        all.writer = F::internal(all.writer, all.rest.local);
    }
    if has_rare_tags(span) {
        all = rare(all);
    }
    let mut writer = all.writer;
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
    writer.rewind(writer.position() - F::SEPARATOR.len());
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

impl<'a, F: Form> Tags<'_, 'a, '_, '_, F> {
    /// An attribute with a key that is not known to be plain; it is from now on, where it is.
    #[cold]
    #[inline(never)]
    fn first_look(self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        let name = key.as_str();
        let is_peer = || endpoint::peer_keys().any(|peer| peer == name);
        let means_something = is_reserved(name)
            || self.rest.constants.has(name)
            || self.is_of_site(name)
            || (talks_to_somebody(self.rest.span) && is_peer());
        if !means_something && !F::is_odd(key) {
            self.rest.plain.add(self.key);
        }
        self.second_look(name, value)
    }

    /// Any attribute, after a second look at its key.
    #[cold]
    #[inline(never)]
    fn second_look(mut self, key: &str, value: ValueRef<'a>) -> Self {
        if talks_to_somebody(self.rest.span) {
            let remote = &mut self.rest.found.remote;
            remote.get_or_insert_default().note(key, &value);
        }
        if !self.rest.is_careful && self.rest.constants.has(key) {
            self.rest.clash = true;
        }
        if !self.rest.is_careful && self.is_of_site(key) {
            self.rest.clash = true;
        }
        match fate(self.rest.span, key, &value) {
            Fate::Nothing => {}
            Fate::Shared => self.rest.found.shared = true,
            Fate::Debug => self.rest.found.debug = true,
            Fate::Tag => {
                let rest = &mut *self.rest;
                let max_chars = rest.max_chars.filter(|_| may_be_cut(&value));
                let text = cut(value.text(&mut rest.scratch.text), max_chars);
                self.writer = F::plain(self.writer, rest.local, key, text);
            }
        }
        self
    }

    fn is_of_site(&self, key: &str) -> bool {
        let mut of_site = self.rest.span.site().attributes();
        of_site.any(|(known, _)| known.as_str() == key)
    }

    fn plain(mut self, key: &str, value: &str) -> Self {
        self.writer = F::plain(self.writer, self.rest.local, key, value);
        self
    }
}

impl<'a, F: Form> Visitor<'a> for Tags<'_, 'a, '_, '_, F> {
    #[inline(always)]
    fn key(&mut self, symbol: Symbol) {
        self.key = symbol;
    }

    #[inline(always)]
    fn text(mut self, key: Text<'a>, value: Text<'a>) -> Self {
        if !self.rest.plain.has(self.key) | (value.len() > self.rest.max_bytes) {
            return self.first_look(key, ValueRef::Text(value));
        }
        self.writer = F::text(self.writer, self.rest.local, key, value);
        self
    }

    #[inline(always)]
    fn number(mut self, key: Text<'a>, value: Number) -> Self {
        if !self.rest.plain.has(self.key) {
            return self.first_look(key, value_of(value));
        }
        self.writer = F::number(self.writer, self.rest.local, key, value);
        self
    }

    #[inline(always)]
    fn other(self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        self.second_look(key.as_str(), value)
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
fn one_by_one<'w, 'a, 'r, 'p, F: Form>(
    mut all: Tags<'w, 'a, 'r, 'p, F>,
    start: usize,
) -> Tags<'w, 'a, 'r, 'p, F> {
    all.writer.rewind(start);
    all.rest.is_careful = true;
    let span = all.rest.span;
    let is_own = |key: &str| span.own_attributes().any(|(own, _)| own.as_str() == key);
    let constants = all.rest.constants;
    for (key, value) in constants.attributes() {
        if !all.is_of_site(key) && !is_own(key) {
            let rest = &mut *all.rest;
            // The text is copied at once: its buffer is needed for the next one.
            let text = cut(value.text(&mut rest.scratch.text), rest.max_chars);
            all.writer = F::plain(all.writer, rest.local, key, text);
        }
    }
    let site: SiteId = span.site();
    for (key, value) in site.attributes() {
        if !is_own(key.as_str()) {
            all = all.second_look(key.as_str(), value);
        }
    }
    for (key, value) in span.own_attributes() {
        all = all.second_look(key.as_str(), value);
    }
    all
}

/// What extra metrics say.
#[cold]
#[inline(never)]
fn measurements<'w, 'a, 'r, 'p, F: Form>(
    mut all: Tags<'w, 'a, 'r, 'p, F>,
) -> Tags<'w, 'a, 'r, 'p, F> {
    let span = all.rest.span;
    let local = all.rest.local;
    for each in span.measurements() {
        let Scratch { text, key, .. } = &mut *all.rest.scratch;
        key.clear();
        for part in each.key {
            key.extend_from_slice(part.as_bytes());
        }
        let key = std::str::from_utf8(key).unwrap_or_default();
        let value = ValueRef::F64(each.value).text(text);
        all.writer = F::plain(all.writer, local, key, value);
    }
    all
}

/// Status, trace state, dropped counts and links.
#[cold]
#[inline(never)]
fn rare<'w, 'a, 'r, 'p, F: Form>(mut all: Tags<'w, 'a, 'r, 'p, F>) -> Tags<'w, 'a, 'r, 'p, F> {
    let span = all.rest.span;
    match span.status() {
        Status::Unset => {}
        Status::Ok => all = all.plain(tag::STATUS_CODE, "OK"),
        Status::Error => {
            let message = span.status_message();
            let message = message.as_ref().map_or("", |message| message.as_str());
            all = all
                .plain(tag::STATUS_CODE, "ERROR")
                .plain(tag::ERROR, message);
            if !message.is_empty() {
                all = all.plain(tag::STATUS_DESCRIPTION, message);
            }
        }
    }
    if let Some(state) = span.trace_state() {
        all = all.plain(tag::TRACE_STATE, state.as_str());
    }
    let dropped = span.dropped();
    let counts = [
        (tag::DROPPED_ATTRIBUTES, dropped.attributes),
        (tag::DROPPED_EVENTS, dropped.events),
        (tag::DROPPED_LINKS, dropped.links),
    ];
    for (key, count) in counts {
        if count > 0 {
            all = all.plain(key, itoa::Buffer::new().format(count));
        }
    }
    for (number, each) in span.links().enumerate() {
        let scratch = &mut *all.rest.scratch;
        let mut key = std::mem::take(&mut scratch.key);
        key.clear();
        // A vector takes everything.
        let _ = write!(key, "{}{number}", tag::LINK);
        let value = link(&each, scratch);
        let name = std::str::from_utf8(&key).unwrap_or_default();
        all.writer = F::plain(all.writer, all.rest.local, name, value);
        all.rest.scratch.key = key;
    }
    all
}
