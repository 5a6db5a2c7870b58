//! Spans to `PostSpansRequest` of `jaeger.api_v2`, in one pass, straight from the trees.

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::transport::Reply;

use crate::judge::JUDGE;
use crate::payload::State;
use crate::process::Names;

mod attribute;
mod request;
mod span;

pub(crate) use request::Proto;
pub(crate) use span::write_fields;

/// Jaeger's protobuf: what a collector's `PostSpans` takes over gRPC.
///
/// Fields are written in the order of their numbers, defaults left out, every length as short as it can be:
/// the bytes are those that any canonical encoder writes. One process a payload.
#[derive(Debug)]
pub struct JaegerProtoEncoder {
    state: State<Proto>,
}

impl JaegerProtoEncoder {
    /// An encoder with nothing in its cache.
    pub fn new() -> Self {
        Self {
            state: State::new(true),
        }
    }

    pub(crate) fn with_names(names: Names) -> Self {
        Self {
            state: State::new(true).with_names(names),
        }
    }
}

impl Default for JaegerProtoEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder<TreeBatch> for JaegerProtoEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("jaeger_proto", "application/x-protobuf")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        self.state.encode(cursor, limits, out)
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        JUDGE.judge(reply)
    }
}
