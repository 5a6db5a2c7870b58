//! The `flags` of spans.

use hiq_core::span::Span;

/// Set when the next bit means something: always, here.
pub(crate) const IS_REMOTE_KNOWN: u32 = 0x100;
/// Set when the parent is a span of another process.
pub(crate) const IS_REMOTE: u32 = 0x200;

/// W3C trace flags in the low byte, and whether the parent is remote.
#[inline]
pub(crate) fn span_flags(span: Span<'_>) -> u32 {
    let remote = if span.has_remote_parent() {
        IS_REMOTE
    } else {
        0
    };
    u32::from(span.trace_flags()) | IS_REMOTE_KNOWN | remote
}
