//! What travels with a request: trace id, span id, flags, trace state and baggage, and the headers that carry it.

use crate::id::{SpanId, TraceId};
use crate::time::TickScale;

mod b3;
mod baggage;
mod headers;
mod ids;
mod jaeger;
mod propagator;
mod w3c;

pub(crate) use baggage::percent_decode;
use headers::Headers;
pub use propagator::Propagator;

/// Where a span hangs in a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact that callers ask for by itself"
)]
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
    /// True when the caller left it to us whether the trace is sampled, as B3 can; the flags then say that it is.
    pub is_deferred: bool,
    /// True when somebody watches the trace, which is sampled then: `d` of B3, flag 2 of Jaeger. It goes on with their headers, and
    /// with the spans of their formats; W3C's headers and OTLP have no word for it.
    pub is_debug: bool,
    /// True when it names no span, and its flags say of every trace that begins here whether it is sampled: B3 without ids.
    pub is_decision: bool,
}

/// The W3C *sampled* flag.
pub const SAMPLED: u8 = 1;

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

    /// True when what comes next is told anything by it: to hang there, or whether it is sampled.
    pub fn counts(&self) -> bool {
        self.is_valid() || self.is_decision
    }

    /// True when the trace is sampled.
    pub fn is_sampled(&self) -> bool {
        self.trace_flags & SAMPLED != 0
    }

    /// Reads W3C headers; `header` finds a header by its lower-case name.
    ///
    /// `None` when there is no valid `traceparent` and no baggage: then a new trace begins.
    pub fn extract<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Option<Self> {
        let names = ["traceparent", "tracestate", "baggage"];
        let found = names
            .into_iter()
            .filter_map(|name| Some((name, header(name)?)));
        Self::from_headers(&Propagator::DEFAULT, found)
    }

    /// Reads `headers`, whose names may be in any case and stand more than once, in the forms of `propagators`.
    ///
    /// Where several forms name a span, the last of `propagators` counts; baggage of all forms is put together, the last value
    /// of a key counting. `None` when none of them says anything valid: then a new trace begins. Where none names a span, but B3
    /// says whether that trace is to be sampled, the context is [a decision](Self::is_decision).
    ///
    /// ```
    /// # use hiq_core::context::{Context, Propagator};
    /// let headers = [("B3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1")];
    /// let context = Context::from_headers(&[Propagator::B3], headers).unwrap();
    /// assert!(context.is_sampled());
    /// let mut out = Vec::new();
    /// context.to_headers(&[Propagator::Jaeger], |name, value| out.push(format!("{name}: {value}")));
    /// assert_eq!(out, ["uber-trace-id: 80f198ee56343ba864fe8b2a57d3eff7:e457b5a2e4d86bd1:0:1"]);
    /// ```
    pub fn from_headers<'h>(
        propagators: &[Propagator],
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Option<Self> {
        let headers = Headers::new(headers);
        let mut found = Self::default();
        for propagator in propagators {
            let (parent, baggage) = match propagator {
                Propagator::TraceContext => (w3c::read(&headers), Vec::new()),
                Propagator::Baggage => (None, baggage::read(&headers)),
                Propagator::B3 | Propagator::B3Multi => (b3::read(&headers), Vec::new()),
                Propagator::Jaeger => {
                    found.add_baggage_by_names(jaeger::baggage_by_names(&headers));
                    (jaeger::read(&headers), jaeger::baggage_by_hand(&headers))
                }
            };
            if let Some(parent) = parent.filter(|parent| parent.is_valid() || !found.is_valid()) {
                let baggage = std::mem::take(&mut found.baggage);
                found = Self { baggage, ..parent };
            }
            found.add_baggage(baggage);
        }
        (found.counts() || !found.baggage.is_empty()).then_some(found)
    }

    fn add_baggage(&mut self, members: Vec<(String, String)>) {
        for (key, value) in members {
            match self.baggage.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known = value,
                None => self.baggage.push((key, value)),
            }
        }
    }

    /// The same for keys that were names of headers, and so have lost their case: a key that is known but for its case is the
    /// same one; where several are, nobody can tell which.
    fn add_baggage_by_names(&mut self, members: Vec<(String, String)>) {
        for (name, value) in members {
            let is_alike = |(known, _): &&mut (String, String)| known.eq_ignore_ascii_case(&name);
            let mut alike = self.baggage.iter_mut().filter(is_alike);
            match (alike.next(), alike.next()) {
                (None, _) => self.baggage.push((name, value)),
                (Some((_, known)), None) => *known = value,
                (Some(_), Some(_)) => {}
            }
        }
    }

    /// Writes W3C headers by calling `set` with lower-case names and values.
    pub fn inject(&self, set: impl FnMut(&str, String)) {
        self.to_headers(&Propagator::DEFAULT, set);
    }

    /// Writes headers in the forms of `propagators` by calling `set` with lower-case names and values.
    pub fn to_headers(&self, propagators: &[Propagator], mut set: impl FnMut(&str, String)) {
        let set: &mut dyn FnMut(&str, String) = &mut set;
        for propagator in propagators {
            match propagator {
                Propagator::Baggage => baggage::write(&self.baggage, set),
                Propagator::TraceContext if self.is_valid() => w3c::write(self, set),
                Propagator::B3 if self.counts() => b3::write_single(self, set),
                Propagator::B3Multi if self.counts() => b3::write_multi(self, set),
                Propagator::Jaeger => {
                    if self.is_valid() {
                        jaeger::write(self, set);
                    }
                    jaeger::write_baggage(&self.baggage, set);
                }
                _ => {}
            }
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

#[cfg(test)]
mod tests;
