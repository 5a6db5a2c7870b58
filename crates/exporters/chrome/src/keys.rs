//! Names under which the arguments of an event carry what Chrome's and Perfetto's formats have no field for.

use hiq_core::span::Span;
use hiq_core::value::ValueRef;
use hiq_core::wire::Text;

/// The trace, 32 hex digits; on spans whose parent does not surround them.
pub(crate) const TRACE_ID: &str = "hiq.trace_id";
/// The span, 16 hex digits.
pub(crate) const SPAN_ID: &str = "hiq.span_id";
/// The parent, 16 hex digits; absent for the root of a trace.
pub(crate) const PARENT_ID: &str = "hiq.parent_span_id";
/// True when the parent is a span of another process.
pub(crate) const PARENT_IS_REMOTE: &str = "hiq.parent_is_remote";
/// W3C trace flags, where they are not 1 (sampled).
pub(crate) const TRACE_FLAGS: &str = "hiq.trace_flags";
/// W3C `tracestate`.
pub(crate) const TRACE_STATE: &str = "hiq.trace_state";
/// When an event happened, in Unix nanoseconds, where that was not during its span: it is drawn at the nearer end.
pub(crate) const TIME: &str = "hiq.time_unix_nanos";
/// Links: a list of objects.
pub(crate) const LINKS: &str = "hiq.links";
/// `OK` or `ERROR`; these and the following are OpenTelemetry's own names for formats that lack the field.
pub(crate) const STATUS: &str = "otel.status_code";
/// Why it failed.
pub(crate) const STATUS_MESSAGE: &str = "otel.status_description";
/// The library that recorded the span; on spans whose parent does not surround them, and where it changes.
pub(crate) const SCOPE_NAME: &str = "otel.scope.name";
/// Its version.
pub(crate) const SCOPE_VERSION: &str = "otel.scope.version";
/// Its attributes: an object.
pub(crate) const SCOPE_ATTRIBUTES: &str = "otel.scope.attributes";
/// What limits took away.
pub(crate) const DROPPED: [&str; 3] = [
    "otel.dropped_attributes_count",
    "otel.dropped_events_count",
    "otel.dropped_links_count",
];

/// Whether an attribute of this name would be taken for one of the names above. It is left out then: no document may have a
/// name twice in one object.
#[inline]
pub(crate) fn is_ours(key: Text<'_>) -> bool {
    matches!(key.as_bytes(), [b'h' | b'o', ..]) && is_one_of_ours(key.as_str())
}

fn is_one_of_ours(key: &str) -> bool {
    const ALL: [&str; 13] = [
        TIME,
        TRACE_ID,
        SPAN_ID,
        PARENT_ID,
        PARENT_IS_REMOTE,
        TRACE_FLAGS,
        TRACE_STATE,
        LINKS,
        STATUS,
        STATUS_MESSAGE,
        SCOPE_NAME,
        SCOPE_VERSION,
        SCOPE_ATTRIBUTES,
    ];
    ALL.contains(&key) || DROPPED.contains(&key)
}

/// The attributes of a span's site and its own, each key once: the span's value counts.
pub(crate) fn attributes<'a>(
    span: Span<'a>,
) -> impl Iterator<Item = (Text<'a>, ValueRef<'a>)> + use<'a> {
    let of_site = span.site().attributes();
    let not_overridden =
        of_site.filter(move |(key, _)| !span.own_attributes().any(|(own, _)| own == *key));
    // Shortens the lifetime, so that the two parts are of one type.
    let as_ours = |(key, value): (Text<'static>, ValueRef<'static>)| -> (Text<'a>, ValueRef<'a>) {
        (key, value)
    };
    not_overridden
        .map(as_ours)
        .chain(span.own_attributes())
        .filter(|(key, _)| !is_ours(*key))
}
