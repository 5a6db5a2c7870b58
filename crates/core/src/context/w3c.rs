//! `traceparent` and `tracestate`. Source: W3C Trace Context.

use super::{Context, Headers};
use crate::id::{SpanId, TraceId};

const MAX_TRACE_STATE_MEMBERS: usize = 32;

/// What the two say; `None` without a valid `traceparent`.
pub(super) fn read(headers: &Headers<'_>) -> Option<Context> {
    let (trace_id, span_id, trace_flags) = parse_traceparent(headers.first("traceparent")?)?;
    let state = headers.joined("tracestate");
    let trace_state = state.as_deref().and_then(valid_trace_state);
    Some(Context {
        trace_id,
        span_id,
        trace_flags,
        trace_state: trace_state.unwrap_or_default(),
        is_remote: true,
        ..Context::default()
    })
}

pub(super) fn write(context: &Context, set: &mut dyn FnMut(&str, String)) {
    set("traceparent", context.traceparent());
    if !context.trace_state.is_empty() {
        set("tracestate", context.trace_state.clone());
    }
}

/// Trace id, span id and flags of a `traceparent`; of versions after 00 only the known part is read.
fn parse_traceparent(value: &str) -> Option<(TraceId, SpanId, u8)> {
    let value = value.trim_matches([' ', '\t']);
    let known = value.get(..55)?;
    let rest = &value[55..];
    let mut parts = known.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = lower_hex_byte(version)?;
    let known_form = parts.next().is_none() && version != 0xff;
    let rest_fits = rest.is_empty() || (version > 0 && rest.starts_with('-'));
    if !known_form || !rest_fits {
        return None;
    }
    Some((
        trace.parse().ok()?,
        span.parse().ok()?,
        lower_hex_byte(flags)?,
    ))
}

fn lower_hex_byte(text: &str) -> Option<u8> {
    let lower_hex = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (text.len() == 2 && lower_hex)
        .then(|| u8::from_str_radix(text, 16).ok())
        .flatten()
}

/// The value as it may be passed on; `None` when a member breaks the rules, which voids the whole header.
fn valid_trace_state(value: &str) -> Option<String> {
    let members: Vec<&str> = value
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|m| !m.is_empty())
        .collect();
    let mut keys: Vec<&str> = Vec::with_capacity(members.len());
    for member in &members {
        let (key, value) = member.split_once('=')?;
        if !is_trace_state_key(key) || !is_trace_state_value(value) || keys.contains(&key) {
            return None;
        }
        keys.push(key);
    }
    (members.len() <= MAX_TRACE_STATE_MEMBERS).then(|| members.join(","))
}

fn is_trace_state_key(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
    let first = key.bytes().next();
    key.len() <= 256
        && first.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && key.bytes().all(allowed)
}

fn is_trace_state_value(value: &str) -> bool {
    let allowed = |b: u8| (0x20..=0x7e).contains(&b) && b != b',' && b != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(allowed)
}
