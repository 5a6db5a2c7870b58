//! Spans to thrift's `Batch`, in one pass, straight from the trees.

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::transport::Reply;

use crate::judge::JUDGE;
use crate::payload::State;
use crate::process::Names;

mod binary;
mod compact;
mod span;

use binary::Binary;
use compact::Compact;

const CONTENT_TYPE: &str = "application/x-thrift";

/// Thrift's compact protocol, a call of the agent's `emitBatch` a payload: what is sent to UDP port 6831.
///
/// Every number as short as it can be, fields in the order of their numbers. One process a payload.
#[derive(Debug)]
pub struct JaegerCompactEncoder {
    state: State<Compact>,
}

/// Thrift's binary protocol: a call of the agent's `emitBatch` for UDP port 6832, or a `Batch` alone for HTTP.
///
/// Fields in the order of their numbers. One process a payload.
#[derive(Debug)]
pub struct JaegerBinaryEncoder {
    state: State<Binary>,
}

impl JaegerCompactEncoder {
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

impl Default for JaegerCompactEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl JaegerBinaryEncoder {
    /// For agents: each payload is a call.
    pub fn calls() -> Self {
        Self {
            state: State::new(true),
        }
    }

    /// For collectors: each payload is a batch.
    pub fn batches() -> Self {
        Self {
            state: State::new(false),
        }
    }

    pub(crate) fn with_names(mut self, names: Names) -> Self {
        self.state = self.state.with_names(names);
        self
    }
}

impl Encoder<TreeBatch> for JaegerCompactEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("jaeger_compact", CONTENT_TYPE)
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

impl Encoder<TreeBatch> for JaegerBinaryEncoder {
    fn encoding(&self) -> Encoding {
        let name = if self.state.has_envelope() {
            "jaeger_binary_call"
        } else {
            "jaeger_binary"
        };
        Encoding::new(name, CONTENT_TYPE)
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
