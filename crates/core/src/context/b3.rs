//! B3, Zipkin's headers, in one or in many. Source: openzipkin/b3-propagation.
//!
//! Debug counts as sampled and goes on as that. Where the caller left the decision open, it is ours.

use super::{Context, Headers, SAMPLED, ids};

const SINGLE: &str = "b3";
const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const IS_SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// What the single header says, or else the many. A bare decision without ids (`b3: 0`) begins a new trace.
pub(super) fn read(headers: &Headers<'_>) -> Option<Context> {
    read_single(headers).or_else(|| read_multi(headers))
}

fn read_single(headers: &Headers<'_>) -> Option<Context> {
    let mut parts = headers.first(SINGLE)?.trim().split('-');
    let (trace_id, span_id) = (parts.next()?, parts.next()?);
    let (decision, parent) = (parts.next(), parts.next());
    let is_whole = parts.next().is_none() && parent.is_none_or(|id| is_span_id(id.len()));
    let decision = match decision {
        None => Decision::Open,
        Some(word) => Decision::of(word).filter(|_| is_whole)?,
    };
    context(trace_id, span_id, decision)
}

fn read_multi(headers: &Headers<'_>) -> Option<Context> {
    let part = |name| headers.first(name).map(str::trim);
    let is_debug = part(FLAGS) == Some("1");
    let decision = match part(IS_SAMPLED) {
        _ if is_debug => Decision::Yes,
        None => Decision::Open,
        Some(word) => Decision::of(word)?,
    };
    context(part(TRACE_ID)?, part(SPAN_ID)?, decision)
}

fn context(trace_id: &str, span_id: &str, decision: Decision) -> Option<Context> {
    Some(Context {
        trace_id: ids::trace_id(trace_id, |digits| matches!(digits, 16 | 32))?,
        span_id: ids::span_id(span_id, is_span_id)?,
        trace_flags: if decision == Decision::No { 0 } else { SAMPLED },
        is_deferred: decision == Decision::Open,
        is_remote: true,
        ..Context::default()
    })
}

fn is_span_id(digits: usize) -> bool {
    digits == 16
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Yes,
    No,
    Open,
}

impl Decision {
    /// `true` and `false` are older.
    fn of(word: &str) -> Option<Self> {
        match word {
            "1" | "d" => Some(Self::Yes),
            "0" => Some(Self::No),
            _ if word.eq_ignore_ascii_case("true") => Some(Self::Yes),
            _ if word.eq_ignore_ascii_case("false") => Some(Self::No),
            _ => None,
        }
    }
}

pub(super) fn write_single(context: &Context, set: &mut dyn FnMut(&str, String)) {
    let ids = format!("{}-{}", context.trace_id, context.span_id);
    let value = match decision(context) {
        Some(decision) => format!("{ids}-{decision}"),
        None => ids,
    };
    set(SINGLE, value);
}

pub(super) fn write_multi(context: &Context, set: &mut dyn FnMut(&str, String)) {
    set(TRACE_ID, context.trace_id.to_string());
    set(SPAN_ID, context.span_id.to_string());
    if let Some(decision) = decision(context) {
        set(IS_SAMPLED, decision.to_string());
    }
}

fn decision(context: &Context) -> Option<u8> {
    (!context.is_deferred).then(|| u8::from(context.is_sampled()))
}
