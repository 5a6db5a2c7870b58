//! `uber-trace-id` and its baggage. Source: Jaeger's client libraries, "propagation format".

use super::baggage::{MAX_BYTES, MAX_MEMBERS, is_token, percent_decode, percent_encode};
use super::{Context, Headers, SAMPLED, ids};

const ID: &str = "uber-trace-id";
const BAGGAGE_PREFIX: &str = "uberctx-";
const BAGGAGE: &str = "jaeger-baggage";
/// A trace that somebody watches: sampled in any case.
const DEBUG: u8 = 2;

/// `{trace}:{span}:{parent}:{flags}`, perhaps URL-encoded; ids may lack leading zeros. The parent is not read.
pub(super) fn read(headers: &Headers<'_>) -> Option<Context> {
    let decoded = percent_decode(headers.first(ID)?.trim())?;
    let mut parts = decoded.split(':');
    let (trace_id, span_id) = (parts.next()?, parts.next()?);
    let (_parent, flags) = (parts.next()?, parts.next()?);
    let is_flags = matches!(flags.len(), 1 | 2) && flags.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_flags || parts.next().is_some() {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(Context {
        trace_id: ids::trace_id(trace_id, |digits| (1..=32).contains(&digits))?,
        span_id: ids::span_id(span_id, |digits| (1..=16).contains(&digits))?,
        trace_flags: if flags & (SAMPLED | DEBUG) == 0 {
            0
        } else {
            SAMPLED
        },
        is_debug: flags & DEBUG != 0,
        is_remote: true,
        ..Context::default()
    })
}

/// What each `uberctx-<key>` says.
pub(super) fn baggage_by_names(headers: &Headers<'_>) -> Vec<(String, String)> {
    known(headers.with_prefix(BAGGAGE_PREFIX))
}

/// `jaeger-baggage: key=value, key=value`, which people write by hand.
pub(super) fn baggage_by_hand(headers: &Headers<'_>) -> Vec<(String, String)> {
    let list = headers.joined(BAGGAGE);
    let members = list.iter().flat_map(|list| list.split(','));
    known(members.filter_map(|member| member.split_once('=')))
}

fn known<'m>(members: impl Iterator<Item = (&'m str, &'m str)>) -> Vec<(String, String)> {
    let known = members.filter_map(|(key, value)| {
        let key = key.trim();
        let value = percent_decode(value.trim())?;
        is_token(key).then(|| (key.to_owned(), value))
    });
    known.take(MAX_MEMBERS).collect()
}

pub(super) fn write(context: &Context, set: &mut dyn FnMut(&str, String)) {
    let (trace_id, span_id) = (context.trace_id, context.span_id);
    let flags = if context.is_debug {
        SAMPLED | DEBUG
    } else {
        u8::from(context.is_sampled())
    };
    set(ID, format!("{trace_id}:{span_id}:0:{flags}"));
}

/// The limits are those of W3C; Jaeger has none.
pub(super) fn write_baggage(baggage: &[(String, String)], set: &mut dyn FnMut(&str, String)) {
    let mut bytes = 0;
    let members = baggage.iter().filter(|(key, _)| is_token(key));
    for (key, value) in members.take(MAX_MEMBERS) {
        let mut encoded = String::new();
        percent_encode(value, &mut encoded);
        bytes += BAGGAGE_PREFIX.len() + key.len() + encoded.len();
        if bytes > MAX_BYTES {
            return;
        }
        set(&format!("{BAGGAGE_PREFIX}{key}"), encoded);
    }
}
