//! What travels with a request: trace id, span id, flags, trace state and baggage, and its W3C headers.
//!
//! Source: W3C Trace Context (`traceparent`, `tracestate`) and W3C Baggage.

use std::fmt::Write as _;

use crate::id::{SpanId, TraceId};
use crate::time::TickScale;

/// Where a span hangs in a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that what comes next is a child of.
    pub span_id: SpanId,
    /// W3C trace flags: bit 0 is *sampled*.
    pub trace_flags: u8,
    /// `tracestate`, empty for none.
    pub trace_state: String,
    /// `baggage`: keys and (decoded) values.
    pub baggage: Vec<(String, String)>,
    /// True when it came from another process.
    pub is_remote: bool,
    /// What the ticks of its tree mean, when that is of this process: what hangs there keeps to it, and lies inside.
    pub(crate) scale: Option<TickScale>,
}

/// The W3C *sampled* flag.
pub const SAMPLED: u8 = 1;

const MAX_TRACE_STATE_MEMBERS: usize = 32;
const MAX_BAGGAGE_BYTES: usize = 8_192;
const MAX_BAGGAGE_MEMBERS: usize = 64;

impl Context {
    /// A context inside this process.
    pub fn local(trace_id: TraceId, span_id: SpanId, trace_flags: u8) -> Self {
        Self {
            trace_id,
            span_id,
            trace_flags,
            ..Self::default()
        }
    }

    /// True when it names a trace and a span.
    pub fn is_valid(&self) -> bool {
        self.trace_id.is_valid() && self.span_id.is_valid()
    }

    /// True when the trace is sampled.
    pub fn is_sampled(&self) -> bool {
        self.trace_flags & SAMPLED != 0
    }

    /// Reads W3C headers; `header` finds a header by its lower-case name.
    ///
    /// `None` when there is no valid `traceparent` and no baggage: then a new trace begins.
    pub fn extract<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Option<Self> {
        let baggage = header("baggage").map(parse_baggage).unwrap_or_default();
        let parent = header("traceparent").and_then(parse_traceparent);
        let Some((trace_id, span_id, trace_flags)) = parent else {
            return (!baggage.is_empty()).then(|| Self {
                baggage,
                ..Self::default()
            });
        };
        let trace_state = header("tracestate")
            .and_then(valid_trace_state)
            .unwrap_or_default();
        Some(Self {
            trace_id,
            span_id,
            trace_flags,
            trace_state,
            baggage,
            is_remote: true,
            scale: None,
        })
    }

    /// Writes W3C headers by calling `set` with lower-case names and values.
    pub fn inject(&self, mut set: impl FnMut(&'static str, String)) {
        if self.is_valid() {
            set("traceparent", self.traceparent());
            if !self.trace_state.is_empty() {
                set("tracestate", self.trace_state.clone());
            }
        }
        let baggage = write_baggage(&self.baggage);
        if !baggage.is_empty() {
            set("baggage", baggage);
        }
    }

    /// The `traceparent` header's value.
    ///
    /// ```
    /// # use hiq_core::context::Context;
    /// let context = Context::extract(|name| {
    ///     (name == "traceparent").then_some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    /// });
    /// assert_eq!(context.unwrap().traceparent(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    /// ```
    pub fn traceparent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            self.trace_id, self.span_id, self.trace_flags
        )
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

/// Keys and decoded values; members that break the rules are left out, properties are not kept.
fn parse_baggage(value: &str) -> Vec<(String, String)> {
    let members = value.split(',').take(MAX_BAGGAGE_MEMBERS);
    members
        .filter_map(|member| {
            let member = member.split(';').next()?;
            let (key, value) = member.split_once('=')?;
            let key = key.trim();
            is_token(key).then(|| Some((key.to_owned(), percent_decode(value.trim())?)))?
        })
        .collect()
}

fn write_baggage(baggage: &[(String, String)]) -> String {
    let mut header = String::new();
    for (key, value) in baggage
        .iter()
        .filter(|(key, _)| is_token(key))
        .take(MAX_BAGGAGE_MEMBERS)
    {
        let before = header.len();
        if before > 0 {
            header.push(',');
        }
        header.push_str(key);
        header.push('=');
        percent_encode(value, &mut header);
        if header.len() > MAX_BAGGAGE_BYTES {
            header.truncate(before);
            break;
        }
    }
    header
}

fn is_token(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !key.is_empty() && key.bytes().all(allowed)
}

/// Decodes `%41`; `None` when a sequence is broken or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            if digits.starts_with('+') {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        let plain = (0x21..=0x7e).contains(&byte) && !b"\",;\\%".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn extract(headers: &[(&str, &'static str)]) -> Option<Context> {
        Context::extract(|name| {
            headers
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| *value)
        })
    }

    #[test]
    fn a_traceparent_is_read_and_written_alike() {
        let context = extract(&[("traceparent", PARENT), ("tracestate", "a=1, b@c=2")]).unwrap();
        assert!(context.is_sampled() && context.is_remote);
        assert_eq!(context.trace_state, "a=1,b@c=2");
        let mut out = Vec::new();
        context.inject(|name, value| out.push((name, value)));
        assert_eq!(
            out,
            [
                ("traceparent", PARENT.to_owned()),
                ("tracestate", "a=1,b@c=2".to_owned())
            ]
        );
    }

    #[test]
    fn headers_that_break_the_rules_begin_a_new_trace() {
        for bad in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1G",
            "é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(
                Context::extract(|name| (name == "traceparent").then_some(bad)),
                None,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later =
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings";
        assert!(extract(&[("traceparent", later)]).unwrap().is_valid());
        assert_eq!(
            extract(&[(
                "traceparent",
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x"
            )]),
            None
        );
    }

    #[test]
    fn a_bad_tracestate_is_ignored_and_the_parent_kept() {
        for bad in ["=1", "A=1", "a", "a=1,a=2", "a=\u{e9}"] {
            let context = Context::extract(|name| match name {
                "traceparent" => Some(PARENT),
                "tracestate" => Some(bad),
                _ => None,
            });
            assert_eq!(context.unwrap().trace_state, "", "{bad}");
        }
    }

    #[test]
    fn baggage_is_decoded_and_encoded() {
        let context = extract(&[(
            "baggage",
            "user=Am%C3%A9lie;prop=1, bad key=x,k=a%20b,broken=%zz",
        )])
        .unwrap();
        let expected =
            [("user", "Amélie"), ("k", "a b")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(context.baggage, expected);
        let mut out = Vec::new();
        context.inject(|name, value| out.push((name, value)));
        assert_eq!(out, [("baggage", "user=Am%C3%A9lie,k=a%20b".to_owned())]);
    }
}
