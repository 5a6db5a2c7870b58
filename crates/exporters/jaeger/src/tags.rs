//! The tags of a span beside its parts, and the fields of its logs, whatever the encoding.

use std::marker::PhantomData;

use hiq_core::encode::cache::{SiteBytes, WatchSite, not_overridden};
use hiq_core::intern::SiteId;
use hiq_core::resource::Scope;
use hiq_core::span::{Dropped, Event, Kind, Number, Span, Status, Visitor};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Text, Writer};

use crate::form::{Any, Form};
use crate::payload::Parts;

/// Writes attributes as tags.
pub(crate) struct Tags<'w, F> {
    writer: Writer<'w>,
    of: u8,
    form: PhantomData<F>,
}

impl<'w, F: Form> Tags<'w, F> {
    fn new(writer: Writer<'w>, of: u8) -> Self {
        Self {
            writer,
            of,
            form: PhantomData,
        }
    }
}

impl<'a, F: Form> Visitor<'a> for Tags<'_, F> {
    #[inline(always)]
    fn text(mut self, key: Text<'a>, value: Text<'a>) -> Self {
        self.writer = F::text(self.writer, self.of, key, value);
        self
    }

    #[inline(always)]
    fn number(mut self, key: Text<'a>, value: Number) -> Self {
        self.writer = F::number(self.writer, self.of, key, value);
        self
    }

    #[inline(always)]
    fn other(mut self, key: Text<'a>, value: ValueRef<'a>) -> Self {
        self.writer = tag::<F>(self.writer, self.of, key.as_str(), Any::of(value));
        self
    }
}

/// All tags of `span`, behind the head of their list. Nothing, when it has none.
#[inline(always)]
pub(crate) fn of_span<'w, F: Form>(
    mut writer: Writer<'w>,
    parts: Parts<'_, F>,
    span: Span<'_>,
) -> Writer<'w> {
    let start = writer.position();
    let (of_site, own) = (span.site().attributes().len(), span.own_attributes());
    let others = Others::of(parts.scope_tags, span);
    let count = of_site + own.len() + others.count;
    if count == 0 {
        return writer;
    }
    writer = F::tags(writer, count);
    if of_site == 0 {
        writer = own.visit(Tags::<F>::new(writer, F::OF_SPAN)).writer;
    } else {
        let site = parts.cache.site(span.site());
        writer.put(site.bytes);
        let watched = with_site::<F>(writer, site, span);
        writer = watched.inner.writer;
        if watched.overrides_site {
            writer.rewind(start);
            writer = one_by_one::<F>(writer, others.count, span);
        }
    }
    others.write::<F>(writer, parts, span)
}

#[inline(always)]
fn with_site<'a, 'w, F: Form>(
    writer: Writer<'w>,
    site: SiteBytes<'_>,
    span: Span<'a>,
) -> WatchSite<'a, Tags<'w, F>> {
    let tags = Tags::<F>::new(writer, F::OF_SPAN);
    span.own_attributes()
        .visit(WatchSite::new(tags, site.keys, span))
}

/// Without those of the site that the span has values of its own for; `others` follow.
#[cold]
#[inline(never)]
fn one_by_one<'w, F: Form>(mut writer: Writer<'w>, others: usize, span: Span<'_>) -> Writer<'w> {
    let own = span.own_attributes();
    writer = F::tags(writer, not_overridden(span).count() + own.len() + others);
    writer = list::<F>(writer, F::OF_SPAN, not_overridden(span));
    own.visit(Tags::<F>::new(writer, F::OF_SPAN)).writer
}

/// The tags that are no attributes of the span or its site.
#[derive(Clone, Copy)]
struct Others {
    count: usize,
    /// True when it has one of those that only few spans have.
    has_rare: bool,
}

impl Others {
    #[inline(always)]
    fn of(scope_tags: usize, span: Span<'_>) -> Self {
        let (kind, status) = (span.kind(), span.status());
        let has_rare = status == Status::Error
            || !span.tree().columns().is_empty()
            || span.trace_state().is_some()
            || span.dropped() != Dropped::default();
        let mut count = scope_tags + usize::from(kind != Kind::Unspecified) + status as usize;
        if has_rare {
            count += rare(span).count();
        }
        Self { count, has_rare }
    }

    #[inline(always)]
    fn write<'w, F: Form>(
        self,
        mut writer: Writer<'w>,
        parts: Parts<'_, F>,
        span: Span<'_>,
    ) -> Writer<'w> {
        let scope = &parts.cache.scopes.group(parts.scope).head;
        let tail = parts.tails.of(span, scope, parts.fixed);
        writer.put(tail);
        if self.has_rare {
            for (key, value) in rare(span) {
                writer = F::any(writer, F::OF_SPAN, key, value);
            }
        }
        writer
    }
}

/// Tags that only few spans have.
fn rare(span: Span<'_>) -> impl Iterator<Item = ([&str; 3], Any<'_>)> {
    let message = span
        .status_message()
        .map(|text| ("otel.status_description", text));
    let state = span.trace_state().map(|text| ("w3c.tracestate", text));
    let texts = message
        .into_iter()
        .chain(state)
        .filter(|(_, text)| !text.is_empty());
    let texts = texts.map(|(key, text)| (["", key, ""], Any::Str(text.as_str())));
    let dropped = span.dropped();
    let dropped = [
        ("otel.dropped_attributes_count", dropped.attributes),
        ("otel.dropped_events_count", dropped.events),
        ("otel.dropped_links_count", dropped.links),
    ];
    let dropped = dropped.into_iter().filter(|(_, count)| *count > 0);
    let dropped = dropped.map(|(key, count)| (["", key, ""], Any::Int(count.into())));
    let measured = span.measurements();
    let measured = measured.map(|each| (each.key, Any::F64(each.value)));
    texts.chain(dropped).chain(measured)
}

/// Tags of a scope, which each of its spans has, and how many they are.
pub(crate) fn of_scope<F: Form>(scope: &Scope, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    for (key, text) in names(scope) {
        writer = tag::<F>(writer, F::OF_SPAN, key, Any::Str(text.as_str()));
    }
    list::<F>(writer, F::OF_SPAN, scope.attributes());
}

/// How many tags [`of_scope`] writes.
pub(crate) fn count_of_scope(scope: &Scope) -> usize {
    names(scope).count() + scope.attributes().len()
}

fn names(scope: &Scope) -> impl Iterator<Item = (&'static str, Text<'_>)> {
    let named = [
        ("otel.scope.name", scope.name()),
        ("otel.scope.version", scope.version()),
    ];
    let named = named.into_iter();
    named.filter_map(|(key, text)| Some((key, text.filter(|text| !text.is_empty())?)))
}

/// Tags of all spans of a site.
pub(crate) fn of_site<F: Form>(site: SiteId, out: &mut Vec<u8>) {
    list::<F>(Writer::new(out), F::OF_SPAN, site.attributes());
}

/// How many fields the log of `event` has.
pub(crate) fn count_of_event(event: &Event<'_>) -> usize {
    event.attributes().len()
        + usize::from(!names_itself(event))
        + usize::from(event.dropped_attributes() > 0)
}

/// The fields of the log of `event`. Its name is the field `event`, unless it has an attribute of that name.
pub(crate) fn of_event<'w, F: Form>(mut writer: Writer<'w>, event: &Event<'_>) -> Writer<'w> {
    if !names_itself(event) {
        writer = tag::<F>(writer, F::OF_LOG, "event", Any::Str(event.name().as_str()));
    }
    writer = event
        .attributes()
        .visit(Tags::<F>::new(writer, F::OF_LOG))
        .writer;
    if event.dropped_attributes() > 0 {
        let count = Any::Int(event.dropped_attributes().into());
        writer = tag::<F>(writer, F::OF_LOG, "otel.dropped_attributes_count", count);
    }
    writer
}

fn names_itself(event: &Event<'_>) -> bool {
    event.attributes().any(|(key, _)| key.as_str() == "event")
}

/// Tags of these attributes.
pub(crate) fn list<'w, 'a, F: Form>(
    mut writer: Writer<'w>,
    of: u8,
    attributes: impl Iterator<Item = (Text<'a>, ValueRef<'a>)>,
) -> Writer<'w> {
    for (key, value) in attributes {
        writer = tag::<F>(writer, of, key.as_str(), Any::of(value));
    }
    writer
}

/// One tag that nobody is in a hurry for.
#[cold]
#[inline(never)]
pub(crate) fn tag<'w, F: Form>(
    writer: Writer<'w>,
    of: u8,
    key: &str,
    value: Any<'_>,
) -> Writer<'w> {
    F::any(writer, of, ["", key, ""], value)
}

/// Tags that are the same in all spans of a kind or status.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    kinds: [Vec<u8>; KINDS],
    /// As many tags as the status has for a number: none when unset, one for OK, two for an error.
    statuses: [Vec<u8>; STATUSES],
}

impl Fixed {
    pub(crate) fn of<F: Form>() -> Self {
        let mut fixed = Self::default();
        let names = ["", "internal", "server", "client", "producer", "consumer"];
        for (out, name) in fixed.kinds.iter_mut().zip(names).skip(1) {
            tag::<F>(Writer::new(out), F::OF_SPAN, "span.kind", Any::Str(name));
        }
        let status = |out: &mut Vec<u8>, code| {
            tag::<F>(
                Writer::new(out),
                F::OF_SPAN,
                "otel.status_code",
                Any::Str(code),
            );
        };
        status(&mut fixed.statuses[Status::Ok as usize], "OK");
        let error = &mut fixed.statuses[Status::Error as usize];
        status(error, "ERROR");
        tag::<F>(Writer::new(error), F::OF_SPAN, "error", Any::Bool(true));
        fixed
    }
}

/// The tags of a scope, a kind and a status together: one copy a span.
#[derive(Debug, Default)]
pub(crate) struct Tails([Vec<u8>; KINDS * STATUSES]);

const KINDS: usize = 6;
const STATUSES: usize = 3;

impl Tails {
    /// The spans that follow are of another scope.
    #[cold]
    pub(crate) fn forget(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    #[inline(always)]
    fn of(&mut self, span: Span<'_>, scope: &[u8], fixed: &Fixed) -> &[u8] {
        let (kind, status) = (span.kind() as usize, span.status() as usize);
        let tail = &mut self.0[kind * STATUSES + status];
        if tail.is_empty() {
            Self::fill(tail, [scope, &fixed.kinds[kind], &fixed.statuses[status]]);
        }
        tail
    }

    #[cold]
    fn fill(tail: &mut Vec<u8>, parts: [&[u8]; 3]) {
        for part in parts {
            tail.extend_from_slice(part);
        }
    }
}
