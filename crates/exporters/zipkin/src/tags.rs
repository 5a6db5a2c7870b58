//! The tags of a span: those of its resource, scope and site, its own attributes, and what Zipkin has no field for.
//!
//! A key stands in a span only once. What is most particular to the span wins: our own tags, its own attributes, its site's, its
//! scope's, its resource's.

use std::io::Write as _;

use hiq_core::intern::SiteId;
use hiq_core::span::{Kind, Number, NumberKind, Span, Status, Visitor};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Text, Writer};

use crate::constants::Constants;
use crate::endpoint::{Endpoint, Remote};
use crate::form::{Form, Pen};
use crate::keys::{Fate, KeyFilter, fate, has_rare_tags, tag};
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
    let mut separator = pen.constants.separator::<F>();
    let mut filter = pen.constants.filter(talks_to_somebody(span));
    let merged;
    let mut is_odd = false;
    if span.site() != SiteId::NONE {
        let site = pen
            .sites
            .get::<F>(span.site(), pen.constants, pen.mapping, pen.scratch);
        writer.put(&site.tags[..]);
        if !site.tags.is_empty() {
            separator = b',';
        }
        is_odd = site.is_odd;
        merged = filter.union(&site.filter);
        filter = &merged;
    }
    let mut rest = Rest {
        span,
        found,
        constants: pen.constants,
        max_chars: pen.mapping.max_tag_value_length,
        scratch: pen.scratch,
        clash: is_odd,
        is_careful: false,
    };
    let own = Tags::<F> {
        writer,
        separator: separator.into(),
        filter,
        max_bytes: rest.max_chars.unwrap_or(usize::MAX),
        local: &pen.constants.local,
        rest: &mut rest,
        form: std::marker::PhantomData,
    };
    let mut all = span.own_attributes().visit(own);
    if all.rest.clash {
        all = one_by_one(all, start);
    }
    if !span.tree().columns().is_empty() {
        all = measurements(all);
    }
    if span.kind() == Kind::Internal {
        let separator = byte(all.separator);
        all.writer = F::internal(all.writer, all.local, separator);
        all.separator = COMMA;
    }
    if has_rare_tags(span) {
        all = rare(all);
    }
    let any = all.separator == COMMA;
    all.rest.found.any = any;
    if any {
        all.writer.put(F::TAGS_END);
    } else {
        all.writer.rewind(before);
    }
    all.writer
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it is a byte")]
fn byte(separator: usize) -> u8 {
    separator as u8
}

const COMMA: usize = b',' as usize;

/// Only these have a far side.
fn talks_to_somebody(span: Span<'_>) -> bool {
    matches!(span.kind(), Kind::Client | Kind::Producer)
}

/// Writes tags, and looks twice at keys that do not pass the filter. Small, so that it stays in registers.
struct Tags<'w, 'a, 'r, 'p, F> {
    writer: Writer<'w>,
    /// A byte. As wide as its neighbours: the padding behind a narrow one would be copied too, at each attribute, and slowly.
    separator: usize,
    filter: &'r KeyFilter,
    /// Bytes of a text that is short enough, whatever is in it.
    max_bytes: usize,
    local: &'p [u8],
    rest: &'r mut Rest<'a, 'p>,
    form: std::marker::PhantomData<F>,
}

/// What is seldom needed.
struct Rest<'a, 'p> {
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
                let text = cut(value.text(&mut rest.scratch.text), rest.max_chars);
                let separator = byte(self.separator);
                self.writer = F::plain(self.writer, self.local, separator, key, text);
                self.separator = COMMA;
            }
        }
        self
    }

    fn is_of_site(&self, key: &str) -> bool {
        let mut of_site = self.rest.span.site().attributes();
        of_site.any(|(known, _)| known.as_str() == key)
    }

    fn plain(mut self, key: &str, value: &str) -> Self {
        let separator = byte(self.separator);
        self.writer = F::plain(self.writer, self.local, separator, key, value);
        self.separator = COMMA;
        self
    }
}

impl<'a, F: Form> Visitor<'a> for Tags<'_, 'a, '_, '_, F> {
    #[inline(always)]
    fn text(mut self, key: Text<'a>, value: Text<'a>) -> Self {
        if self.filter.may_have(key) | (value.len() > self.max_bytes) {
            return self.second_look(key.as_str(), ValueRef::Text(value));
        }
        let separator = byte(self.separator);
        self.writer = F::text(self.writer, self.local, separator, key, value);
        self.separator = COMMA;
        self
    }

    #[inline(always)]
    fn number(mut self, key: Text<'a>, value: Number) -> Self {
        if self.filter.may_have(key) {
            return self.second_look(key.as_str(), value_of(value));
        }
        let separator = byte(self.separator);
        self.writer = F::number(self.writer, self.local, separator, key, value);
        self.separator = COMMA;
        self
    }

    #[inline(always)]
    fn other(self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        self.second_look(key.as_str(), value)
    }
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
    all.separator = F::FIRST.into();
    all.rest.is_careful = true;
    let span = all.rest.span;
    let is_own = |key: &str| span.own_attributes().any(|(own, _)| own.as_str() == key);
    let constants = all.rest.constants;
    for (key, value) in constants.attributes() {
        if !all.is_of_site(key) && !is_own(key) {
            let rest = &mut *all.rest;
            // The text is copied at once: its buffer is needed for the next one.
            let text = cut(value.text(&mut rest.scratch.text), rest.max_chars);
            let separator = byte(all.separator);
            all.writer = F::plain(all.writer, all.local, separator, key, text);
            all.separator = COMMA;
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
    for each in span.measurements() {
        let Scratch { text, key, .. } = &mut *all.rest.scratch;
        key.clear();
        for part in each.key {
            key.extend_from_slice(part.as_bytes());
        }
        let key = std::str::from_utf8(key).unwrap_or_default();
        let value = ValueRef::F64(each.value).text(text);
        let separator = byte(all.separator);
        all.writer = F::plain(all.writer, all.local, separator, key, value);
        all.separator = COMMA;
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
        let separator = byte(all.separator);
        all.writer = F::plain(all.writer, all.local, separator, name, value);
        all.separator = COMMA;
        all.rest.scratch.key = key;
    }
    all
}
