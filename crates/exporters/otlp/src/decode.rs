//! OTLP read back: requests of spans and of metrics, in protobuf, in JSON, and in JSON lines.

use std::sync::Arc;

use hiq_core::decode::{self, DecodeError, Decoder};
use hiq_core::tree::SpanTree;

mod json;
mod left_out;
mod metrics;
mod model;
mod points;
mod proto;

use model::ResourceSpans;

pub use left_out::LeftOutPoints;
pub use metrics::OtlpMetricsDecoder;

/// Reads `ExportTraceServiceRequest`s.
///
/// Each fragment holds the spans of one resource and one trace that hang together in this process; a span whose parent is remote
/// begins one of its own. What a tree cannot say is lost: whether nobody knew if the parent was remote, messages
/// of statuses other than errors, entity references. An end before the start becomes the start.
///
/// Takes a few times the payload's memory; a hostile payload of nothing but empty spans up to two hundred times.
/// Lists and maps may be nested 64 levels deep.
#[derive(Clone, Debug)]
pub struct OtlpDecoder {
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Proto,
    Json,
}

impl OtlpDecoder {
    /// Reads one request in protobuf.
    pub fn proto() -> Self {
        Self { form: Form::Proto }
    }

    /// Reads requests in JSON, one after the other: a single one, or lines as the Collector's file exporter writes them. Fields
    /// may also be called as in protobuf.
    pub fn json() -> Self {
        Self { form: Form::Json }
    }
}

impl Decoder for OtlpDecoder {
    fn decode(
        &mut self,
        payload: &[u8],
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        match self.form {
            Form::Proto => proto::each_resource_spans(payload, |spans| hand_out(spans, &mut *sink)),
            Form::Json => json::each_resource_spans(payload, |spans| hand_out(spans, &mut *sink)),
        }
    }
}

fn hand_out(spans: ResourceSpans<'_>, sink: &mut dyn FnMut(Arc<SpanTree>)) {
    let scoped = spans.scopes.into_iter().flat_map(|group| {
        let scope = Arc::new(group.scope);
        let spans = group.spans.into_iter();
        spans.map(move |span| (Arc::clone(&scope), span))
    });
    decode::hand_out(&Arc::new(spans.resource), scoped, sink);
}
