//! The forms of headers.

/// A form of the headers that carry a [`Context`](super::Context); `OTEL_PROPAGATORS` has their names.
///
/// | name | headers | source |
/// |---|---|---|
/// | `tracecontext` | `traceparent`, `tracestate` | W3C Trace Context |
/// | `baggage` | `baggage` | W3C Baggage |
/// | `b3` | writes `b3`; reads that, else `x-b3-*` | openzipkin/b3-propagation |
/// | `b3multi` | writes `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled` or `x-b3-flags`; reads as `b3` | the same |
/// | `jaeger` | `uber-trace-id`, `uberctx-<key>`; reads `jaeger-baggage` too | Jaeger's clients |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Propagator {
    /// W3C `traceparent` and `tracestate`.
    TraceContext,
    /// W3C `baggage`.
    Baggage,
    /// Zipkin's B3, all in one header.
    B3,
    /// Zipkin's B3, a header for each part.
    B3Multi,
    /// Jaeger's `uber-trace-id`, and its baggage.
    Jaeger,
}

impl Propagator {
    /// OpenTelemetry's default set.
    pub const DEFAULT: [Self; 2] = [Self::TraceContext, Self::Baggage];
    /// All that are known.
    pub const ALL: [Self; 5] = [
        Self::TraceContext,
        Self::Baggage,
        Self::B3,
        Self::B3Multi,
        Self::Jaeger,
    ];

    /// Its name in `OTEL_PROPAGATORS`: `tracecontext`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::Baggage => "baggage",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
            Self::Jaeger => "jaeger",
        }
    }

    /// The one of this name, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}
