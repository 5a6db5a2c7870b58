//! The tags of a span beside its parts, and the fields of its logs, whatever the encoding.

use std::marker::PhantomData;

use hiq_core::encode::cache::{SiteBytes, WatchSite, not_overridden};
use hiq_core::intern::SiteId;
use hiq_core::resource::Scope;
use hiq_core::span::{Dropped, Event, Kind, Number, Span, Status, Visitor};
use hiq_core::value::ValueRef;
use hiq_core::wire::{Padded, Text, Writer};

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
        let of = self.of;
        self.writer = self.writer.elsewhere(|out| {
            drop(tag::<F>(Writer::new(out), of, key.as_str(), Any::of(value)));
        });
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
            writer = writer.elsewhere(|out| one_by_one::<F>(out, others.count, span));
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
fn one_by_one<F: Form>(out: &mut Vec<u8>, others: usize, span: Span<'_>) {
    let own = span.own_attributes();
    let mut writer = F::tags(
        Writer::new(out),
        not_overridden(span).count() + own.len() + others,
    );
    writer = list::<F>(writer, F::OF_SPAN, not_overridden(span));
    drop(own.visit(Tags::<F>::new(writer, F::OF_SPAN)).writer);
}

/// The tags that are no attributes of the span or its site.
#[derive(Clone, Copy)]
struct Others<'a> {
    count: usize,
    /// Why it failed.
    message: Option<Text<'a>>,
    /// True when it has one of those that only few spans have.
    has_rare: bool,
}

impl<'a> Others<'a> {
    #[inline(always)]
    fn of(scope_tags: usize, span: Span<'a>) -> Self {
        let (kind, status, tree) = (span.kind(), span.status(), span.tree());
        let has_rare_parts =
            || span.trace_state().is_some() || span.dropped() != Dropped::default();
        let mut others = Self {
            count: scope_tags + usize::from(kind != Kind::Unspecified) + status as usize,
            message: None,
            has_rare: !tree.columns().is_empty() || (tree.has_rare_parts() && has_rare_parts()),
        };
        if status == Status::Error {
            others.message = span.status_message().filter(|text| !text.is_empty());
            others.count += usize::from(others.message.is_some());
        }
        if others.has_rare {
            others.count += rare(span).count();
        }
        others
    }

    #[inline(always)]
    fn write<'w, F: Form>(
        self,
        mut writer: Writer<'w>,
        parts: Parts<'_, F>,
        span: Span<'_>,
    ) -> Writer<'w> {
        let scope = &parts.cache.scopes.group(parts.scope).head;
        writer.put(parts.tails.of(span, scope, parts.fixed));
        if let Some(message) = self.message {
            writer = writer.elsewhere(|out| description::<F>(out, message));
        }
        if self.has_rare {
            writer = writer.elsewhere(|out| all_rare::<F>(out, span));
        }
        writer
    }
}

#[cold]
#[inline(never)]
fn description<F: Form>(out: &mut Vec<u8>, message: Text<'_>) {
    let writer = Writer::new(out);
    drop(F::named(
        writer,
        F::OF_SPAN,
        "otel.status_description",
        message,
    ));
}

#[cold]
#[inline(never)]
fn all_rare<F: Form>(out: &mut Vec<u8>, span: Span<'_>) {
    let mut writer = Writer::new(out);
    for (key, value) in rare(span) {
        writer = F::any(writer, F::OF_SPAN, key, value);
    }
}

/// Tags that only few spans have.
fn rare(span: Span<'_>) -> impl Iterator<Item = ([&str; 3], Any<'_>)> {
    let state = span.trace_state().filter(|state| !state.is_empty());
    let state = state.map(|state| (["", "w3c.tracestate", ""], Any::Str(state.as_str())));
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
    state.into_iter().chain(dropped).chain(measured)
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

/// How many fields the log of `event` has. `names_itself`: see [`names_itself`].
pub(crate) fn count_of_event(event: &Event<'_>, names_itself: bool) -> usize {
    event.attributes().len()
        + usize::from(!names_itself)
        + usize::from(event.dropped_attributes() > 0)
}

/// The fields of the log of `event`. Its name is the field `event`, unless it has an attribute of that name.
pub(crate) fn of_event<'w, F: Form>(
    mut writer: Writer<'w>,
    event: &Event<'_>,
    names_itself: bool,
) -> Writer<'w> {
    if !names_itself {
        writer = F::named(writer, F::OF_LOG, "event", event.name());
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

/// True when an attribute of `event` stands where its name would.
pub(crate) fn names_itself(event: &Event<'_>) -> bool {
    event
        .attributes()
        .keys()
        .any(|key| key.as_bytes() == b"event")
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
pub(crate) struct Tails {
    /// Which of them stand there, a bit each.
    known: u32,
    tails: [Padded; KINDS * STATUSES],
}

const KINDS: usize = 6;
const STATUSES: usize = 3;

impl Tails {
    /// The spans that follow are of another scope.
    pub(crate) fn forget(&mut self) {
        self.known = 0;
    }

    #[inline(always)]
    fn of(&mut self, span: Span<'_>, scope: &[u8], fixed: &Fixed) -> &Padded {
        let (kind, status) = (span.kind() as usize, span.status() as usize);
        let place = kind * STATUSES + status;
        if self.known >> place & 1 == 0 {
            self.fill(place, [scope, &fixed.kinds[kind], &fixed.statuses[status]]);
        }
        &self.tails[place]
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, place: usize, parts: [&[u8]; 3]) {
        self.tails[place].fill(&parts);
        self.known |= 1 << place;
    }
}
