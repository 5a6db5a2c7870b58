//! Ids as B3 and Jaeger write them: in either case, with or without their upper half or leading zeros.

use crate::id::{SpanId, TraceId};

/// A trace id of `digits` hex digits, zeros before it.
pub(super) fn trace_id(text: &str, digits: impl Fn(usize) -> bool) -> Option<TraceId> {
    let id = hex(text, digits)?;
    (id != 0).then(|| TraceId(id.to_be_bytes()))
}

/// A span id of `digits` hex digits, zeros before it.
pub(super) fn span_id(text: &str, digits: impl Fn(usize) -> bool) -> Option<SpanId> {
    let id = u64::try_from(hex(text, digits)?).ok()?;
    (id != 0).then_some(SpanId(id))
}

fn hex(text: &str, digits: impl Fn(usize) -> bool) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = is_hex && digits(text.len());
    is_number.then(|| u128::from_str_radix(text, 16).ok())?
}
