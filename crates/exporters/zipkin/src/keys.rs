//! Which keys of a span's own attributes need a second look before they become tags.

use hiq_core::intern::{MAX_SYMBOLS, Symbol};
use hiq_core::span::{Dropped, Kind, Span, Status};
use hiq_core::value::ValueRef;

/// Tags that say something of their own to Zipkin, or to those that read spans back from it.
pub(crate) mod tag {
    pub(crate) const ERROR: &str = "error";
    pub(crate) const STATUS_CODE: &str = "otel.status_code";
    pub(crate) const STATUS_DESCRIPTION: &str = "otel.status_description";
    pub(crate) const SPAN_KIND: &str = "span.kind";
    pub(crate) const TRACE_STATE: &str = "w3c.tracestate";
    pub(crate) const DROPPED_ATTRIBUTES: &str = "otel.dropped_attributes_count";
    pub(crate) const DROPPED_EVENTS: &str = "otel.dropped_events_count";
    pub(crate) const DROPPED_LINKS: &str = "otel.dropped_links_count";
    pub(crate) const SCOPE_NAME: &str = "otel.scope.name";
    pub(crate) const SCOPE_VERSION: &str = "otel.scope.version";
    /// Begins the tag of a link; its number follows.
    pub(crate) const LINK: &str = "otlp.link.";
}

/// Attributes that stand for flags of a Zipkin span, and for the local endpoint of its service.
pub(crate) mod attribute {
    pub(crate) const SHARED: &str = "zipkin.shared";
    pub(crate) const DEBUG: &str = "zipkin.debug";
    pub(crate) const SERVICE_NAME: &str = "service.name";
    pub(crate) const LOCAL_ADDRESS: &str = "network.local.address";
    pub(crate) const LOCAL_PORT: &str = "network.local.port";
}

/// Keys that our own tags have, whatever the span: a resource, scope or site cannot have them.
pub(crate) const RESERVED: [&str; 10] = [
    tag::ERROR,
    tag::STATUS_CODE,
    tag::STATUS_DESCRIPTION,
    tag::SPAN_KIND,
    tag::TRACE_STATE,
    tag::DROPPED_ATTRIBUTES,
    tag::DROPPED_EVENTS,
    tag::DROPPED_LINKS,
    attribute::SHARED,
    attribute::DEBUG,
];

/// What becomes of an attribute of the span's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A tag.
    Tag,
    /// Nothing: another tag says it.
    Nothing,
    /// `"shared":true`
    Shared,
    /// `"debug":true`
    Debug,
}

/// What becomes of an attribute of `span` with one of the [`RESERVED`] keys, or any other.
pub(crate) fn fate(span: Span<'_>, key: &str, value: &ValueRef<'_>) -> Fate {
    let dropped = span.dropped();
    let is_said = match key {
        tag::ERROR => span.status() == Status::Error || is_false(value),
        tag::STATUS_CODE => span.status() != Status::Unset,
        tag::STATUS_DESCRIPTION => {
            let message = span.status_message();
            message.is_some_and(|message| !message.is_empty())
        }
        tag::SPAN_KIND => span.kind() == Kind::Internal,
        tag::TRACE_STATE => span.trace_state().is_some(),
        tag::DROPPED_ATTRIBUTES => dropped.attributes > 0,
        tag::DROPPED_EVENTS => dropped.events > 0,
        tag::DROPPED_LINKS => dropped.links > 0,
        attribute::SHARED if is_true(value) => return Fate::Shared,
        attribute::DEBUG if is_true(value) => return Fate::Debug,
        _ => key.starts_with(tag::LINK) && span.links().len() > 0,
    };
    if is_said { Fate::Nothing } else { Fate::Tag }
}

/// True when the span has something that only a few spans have, and that becomes tags.
#[inline(always)]
pub(crate) fn has_rare_tags(span: Span<'_>) -> bool {
    span.status() != Status::Unset || (span.tree().has_rare_parts() && has_rare_parts(span))
}

#[inline(never)]
fn has_rare_parts(span: Span<'_>) -> bool {
    span.trace_state().is_some() || span.dropped() != Dropped::default() || span.links().len() > 0
}

fn is_false(value: &ValueRef<'_>) -> bool {
    match value {
        ValueRef::Bool(value) => !value,
        ValueRef::Text(text) => text.as_str() == "false",
        ValueRef::Str(text) => *text == "false",
        _ => false,
    }
}

fn is_true(value: &ValueRef<'_>) -> bool {
    match value {
        ValueRef::Bool(value) => *value,
        ValueRef::Text(text) => text.as_str() == "true",
        ValueRef::Str(text) => *text == "true",
        _ => false,
    }
}

/// Keys that have been found to need no second look, by their symbols.
#[derive(Debug, Default)]
pub(crate) struct PlainKeys(Vec<u64>);

impl PlainKeys {
    #[inline(always)]
    pub(crate) fn has(&self, key: Symbol) -> bool {
        let word = self.0.get(key.index() / 64).copied().unwrap_or_default();
        word >> (key.index() % 64) & 1 != 0
    }

    /// Keys of single trees are not kept: another tree has another key in their place.
    pub(crate) fn add(&mut self, key: Symbol) {
        let word = key.index() / 64;
        if key.index() >= MAX_SYMBOLS {
            return;
        }
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (key.index() % 64);
    }
}

/// [`PlainKeys`] of spans that have a far side, and of those that do not.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    with_peers: PlainKeys,
    without: PlainKeys,
}

impl Plain {
    pub(crate) fn of(&mut self, has_far_side: bool) -> &mut PlainKeys {
        if has_far_side {
            &mut self.with_peers
        } else {
            &mut self.without
        }
    }
}

/// True when a key means something, whatever span has it.
pub(crate) fn is_reserved(key: &str) -> bool {
    RESERVED.contains(&key) || key.starts_with(tag::LINK)
}

#[cfg(test)]
mod tests {
    use hiq_core::intern::symbol;

    use super::*;

    #[test]
    fn a_key_is_plain_once_it_was_put_in_and_no_other_is() {
        let symbols: Vec<Symbol> = (0..300)
            .filter_map(|n| symbol(&format!("zipkin.plain.{n}")))
            .collect();
        let mut keys = PlainKeys::default();
        symbols.iter().step_by(3).for_each(|key| keys.add(*key));
        for (place, key) in symbols.iter().enumerate() {
            assert_eq!(keys.has(*key), place % 3 == 0, "{place}");
        }
        assert_eq!(symbols.len(), 300);
    }
}
