//! B3, Zipkin's headers, in one or in many. Source: openzipkin/b3-propagation.
//!
//! Debug implies sampled, and goes on as debug. Where the caller left the decision open, it is ours.

use super::{Context, Headers, SAMPLED, ids};

const SINGLE: &str = "b3";
const TRACE_ID: &str = "x-b3-traceid";
const SPAN_ID: &str = "x-b3-spanid";
const IS_SAMPLED: &str = "x-b3-sampled";
const FLAGS: &str = "x-b3-flags";

/// What the single header says, or else the many. A decision without ids (`b3: 0`) is about the trace that begins here.
pub(super) fn read(headers: &Headers<'_>) -> Option<Context> {
    read_single(headers).or_else(|| read_multi(headers))
}

fn read_single(headers: &Headers<'_>) -> Option<Context> {
    let mut parts = headers.first(SINGLE)?.trim().split('-');
    let trace_id = parts.next()?;
    let Some(span_id) = parts.next() else {
        return Decision::of(trace_id).map(bare);
    };
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
        _ if is_debug => Decision::Debug,
        None => Decision::Open,
        Some(word) => Decision::of(word)?,
    };
    match (part(TRACE_ID), part(SPAN_ID)) {
        (None, None) => (decision != Decision::Open).then(|| bare(decision)),
        (trace_id, span_id) => context(trace_id?, span_id?, decision),
    }
}

/// What is said of a trace that is yet to begin.
fn bare(decision: Decision) -> Context {
    Context {
        is_decision: true,
        ..decided(decision)
    }
}

fn context(trace_id: &str, span_id: &str, decision: Decision) -> Option<Context> {
    Some(Context {
        trace_id: ids::trace_id(trace_id, |digits| matches!(digits, 16 | 32))?,
        span_id: ids::span_id(span_id, is_span_id)?,
        ..decided(decision)
    })
}

fn decided(decision: Decision) -> Context {
    Context {
        trace_flags: if decision == Decision::No { 0 } else { SAMPLED },
        is_deferred: decision == Decision::Open,
        is_debug: decision == Decision::Debug,
        is_remote: true,
        ..Context::default()
    }
}

fn is_span_id(digits: usize) -> bool {
    digits == 16
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Yes,
    No,
    Open,
    Debug,
}

impl Decision {
    /// `true` and `false` are older.
    fn of(word: &str) -> Option<Self> {
        match word {
            "1" => Some(Self::Yes),
            "d" => Some(Self::Debug),
            "0" => Some(Self::No),
            _ if word.eq_ignore_ascii_case("true") => Some(Self::Yes),
            _ if word.eq_ignore_ascii_case("false") => Some(Self::No),
            _ => None,
        }
    }
}

pub(super) fn write_single(context: &Context, set: &mut dyn FnMut(&str, String)) {
    let ids = context
        .is_valid()
        .then(|| format!("{}-{}", context.trace_id, context.span_id));
    let decision = match context {
        Context { is_debug: true, .. } => Some("d"),
        Context {
            is_deferred: true, ..
        } => None,
        _ => Some(word(context)),
    };
    let parts: Vec<&str> = ids.as_deref().into_iter().chain(decision).collect();
    set(SINGLE, parts.join("-"));
}

/// Debug is said by its flag, which implies the decision.
pub(super) fn write_multi(context: &Context, set: &mut dyn FnMut(&str, String)) {
    if context.is_valid() {
        set(TRACE_ID, context.trace_id.to_string());
        set(SPAN_ID, context.span_id.to_string());
    }
    if context.is_debug {
        set(FLAGS, "1".to_owned());
    } else if !context.is_deferred {
        set(IS_SAMPLED, word(context).to_owned());
    }
}

fn word(context: &Context) -> &'static str {
    if context.is_sampled() { "1" } else { "0" }
}
