//! The text in which HiQ keeps a tree.

use std::io::{BufRead, Read as _};

use hiq_core::decode::{DecodeError, Decoder as _};
use hiq_core::render::HiqTextDecoder;

use super::formats::{Options, Sink};

const MAX_BYTES: u64 = 256 << 20;

pub(super) fn is_start(start: &[u8]) -> bool {
    matches!(start, [b't', b'1', b'^', ..])
}

/// One tree a line, or one in all.
pub(super) fn read(
    source: &mut dyn BufRead,
    _: &Options,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let mut decoder = HiqTextDecoder::new();
    let mut offset = 0;
    loop {
        let mut line = Vec::new();
        let read = source.take(MAX_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(|error| DecodeError::new("HiQ tree", offset, error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        decoder
            .decode(&line, sink)
            .map_err(|error| error.moved(offset))?;
        offset += read;
    }
}
