//! The `flags` of spans.

use hiq_core::decode::LooseSpan;
use hiq_core::span::Span;

/// Set when the next bit means something: always, here.
const IS_REMOTE_KNOWN: u32 = 0x100;
/// Set when the parent is a span of another process.
const IS_REMOTE: u32 = 0x200;

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

/// Reads them back.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low byte is the trace flags"
)]
pub(crate) fn set_flags(span: &mut LooseSpan<'_>, flags: u32) {
    span.trace_flags = flags as u8;
    span.parent_is_remote = flags & IS_REMOTE != 0;
}
