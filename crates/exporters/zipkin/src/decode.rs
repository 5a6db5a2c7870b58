//! Zipkin read back: JSON of both versions and protobuf.

use std::sync::Arc;

use hiq_core::decode::{DecodeError, Decoder};
use hiq_core::tree::SpanTree;

mod collect;
mod json;
mod json_v1;
mod json_v2;
mod model;
mod proto;
mod words;

use collect::Collect;

/// Reads lists of Zipkin spans.
///
/// Each fragment holds the spans of one local endpoint and one trace that hang together; a server or consumer whose parent is elsewhere
/// begins one of its own. Spans are handed out whenever 16,384 of them are known, so memory is bounded whatever the size of the list;
/// a trace that is longer comes in several fragments.
///
/// What this crate's encoders write is understood again: kinds, status, scope, trace state, links, events with attributes in both
/// forms. Other tags become attributes, all of them texts. `shared` and `debug` become the attributes `zipkin.shared` and
/// `zipkin.debug`, an address of the local endpoint the resource's `network.local.address` and `.port`, a far side that no tag
/// tells `peer.service`, `network.peer.address` and `.port`.
#[derive(Clone, Debug)]
pub struct ZipkinDecoder {
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    JsonV2,
    JsonV1,
    Proto,
}

impl ZipkinDecoder {
    /// Reads JSON of version 2: lists of spans, also lists of such lists, as a server's query answers, one after the other.
    pub fn json() -> Self {
        Self { form: Form::JsonV2 }
    }

    /// Reads JSON of version 1, in the same lists. A span in which both sides marked their times becomes two.
    pub fn json_v1() -> Self {
        Self { form: Form::JsonV1 }
    }

    /// Reads one `ListOfSpans`.
    pub fn proto() -> Self {
        Self { form: Form::Proto }
    }
}

impl Decoder for ZipkinDecoder {
    fn decode(
        &mut self,
        payload: &[u8],
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError> {
        let mut collect = Collect::new(sink);
        let result = match self.form {
            Form::JsonV2 => {
                json::each_span(payload, "Zipkin JSON", |span: json_v2::JsonSpan<'_>| {
                    collect.add(span.make()?);
                    Ok(())
                })
            }
            Form::JsonV1 => {
                json::each_span(payload, "Zipkin JSON v1", |span: json_v1::JsonSpan<'_>| {
                    for span in span.make()? {
                        collect.add(span);
                    }
                    Ok(())
                })
            }
            Form::Proto => proto::each_span(payload, |span| collect.add(span)),
        };
        // What came before a mistake is good.
        collect.hand_out();
        result
    }
}
