//! The contract of reading a format back: bytes in, fragments out, in bounded memory.

use std::fmt;
use std::sync::Arc;

use crate::tree::SpanTree;

mod fragments;
mod loose;
pub mod pieces;
pub mod proto;

pub use fragments::hand_out;
pub use loose::{LooseAttributes, LooseEvent, LooseLink, LooseSpan, LooseValue};

/// Reads one format. Serves `convert` and bridges.
pub trait Decoder: fmt::Debug + Send {
    /// Decodes one payload, handing each fragment to `sink` as soon as it is whole. A fragment may have several roots.
    fn decode(
        &mut self,
        payload: &[u8],
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), DecodeError>;
}

/// The bytes are not of the format.
#[derive(Debug, thiserror::Error)]
#[error("{format}, byte {offset}: {message}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The format that was expected.
    pub format: &'static str,
    /// Where, from the payload's start.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

impl DecodeError {
    /// Bytes that are not protobuf, in a payload of `format`.
    pub fn not_proto(format: &'static str, error: proto::ReadError) -> Self {
        Self::new(format, error.offset, error.problem)
    }

    /// An error at `offset` of a payload in `format`.
    pub fn new(format: &'static str, offset: usize, message: impl Into<String>) -> Self {
        Self {
            format,
            offset,
            message: message.into(),
        }
    }

    /// The same error, where the payload began at offset `by` of something longer.
    #[must_use]
    pub fn moved(mut self, by: usize) -> Self {
        self.offset += by;
        self
    }
}
