//! What a payload says of a span, whatever its form.

use std::borrow::Cow;
use std::net::IpAddr;

use hiq_core::id::{SpanId, TraceId};
use hiq_core::span::Kind;

#[derive(Clone, Debug, Default)]
pub(super) struct SpanIn<'p> {
    pub(super) trace_id: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: SpanId,
    /// `None` where the format says nothing, which a tag may make good.
    pub(super) kind: Option<Kind>,
    pub(super) name: Cow<'p, str>,
    /// In microseconds, zero for unknown; as all times here.
    pub(super) timestamp: u64,
    pub(super) duration: u64,
    pub(super) local: EndpointIn<'p>,
    pub(super) remote: EndpointIn<'p>,
    pub(super) annotations: Vec<(u64, Cow<'p, str>)>,
    pub(super) tags: Vec<(Cow<'p, str>, Cow<'p, str>)>,
    pub(super) debug: bool,
    pub(super) shared: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct EndpointIn<'p> {
    pub(super) service: Cow<'p, str>,
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
}

impl SpanIn<'_> {
    /// The first moment that is known.
    pub(super) fn start(&self) -> u64 {
        if self.timestamp > 0 {
            return self.timestamp;
        }
        let times = self.annotations.iter().map(|(time, _)| *time);
        times.min().unwrap_or_default()
    }
}
