//! Which keys of a span's own attributes need a second look before they become tags.

use hiq_core::span::{Dropped, Kind, Span, Status};
use hiq_core::value::ValueRef;
use hiq_core::wire::Text;

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
#[inline]
pub(crate) fn has_rare_tags(span: Span<'_>) -> bool {
    span.status() != Status::Unset
        || span.trace_state().is_some()
        || span.dropped() != Dropped::default()
        || span.links().len() > 0
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

/// Which keys may be in a set: no false negatives, one false positive in forty with the thirty keys that are usual here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyFilter([u64; WORDS]);

const WORDS: usize = 16;

impl KeyFilter {
    pub(crate) fn add(&mut self, key: &str) {
        let start = key.len().saturating_sub(8);
        let mut tail = [0; 8];
        tail[..key.len() - start].copy_from_slice(&key.as_bytes()[start..]);
        let bit = place(u64::from_le_bytes(tail), key.len());
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    #[inline(always)]
    pub(crate) fn may_have(&self, key: Text<'_>) -> bool {
        let bit = place(key.tail(), key.len());
        self.0[bit / 64 % WORDS] >> (bit % 64) & 1 != 0
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }
}

/// The bit of a key that ends so and is of this length.
#[inline(always)]
fn place(tail: u64, len: usize) -> usize {
    let mixed = (tail ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - 10)) as usize
}

#[cfg(test)]
mod tests {
    use hiq_core::resource::Resource;
    use hiq_core::value::Value;

    use super::*;

    const KEYS: [&str; 6] = ["", "e", "error", "eight888", "network.peer.address", "ключ"];

    #[test]
    fn a_filter_has_what_was_put_in_and_little_else() {
        let mut filter = KeyFilter::default();
        for key in RESERVED.iter().chain(&KEYS) {
            filter.add(key);
        }
        let names: Vec<String> = (0..1000).map(|n| format!("attribute.{n}")).collect();
        let texts =
            |keys: Vec<String>| Resource::new(keys.into_iter().map(|key| (key, Value::Bool(true))));
        let known = texts(KEYS.map(str::to_owned).to_vec());
        assert!(known.attributes().all(|(key, _)| filter.may_have(key)));
        let strangers = texts(names);
        let wrong = strangers
            .attributes()
            .filter(|(key, _)| filter.may_have(*key));
        assert!(wrong.count() < 60);
    }
}
