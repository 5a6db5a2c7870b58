//! The text in which HiQ keeps a tree.

use std::io::{BufRead, Read as _};

use hiq_core::decode::{DecodeError, Decoder as _};
use hiq_core::render::HiqTextDecoder;

use super::formats::{Options, Sink};

const MAX_BYTES: u64 = 256 << 20;

pub(super) fn is_start(start: &[u8]) -> bool {
    matches!(start, [b't', b'1', b'^', ..])
}

/// Whether this is what `show()` prints: times in brackets, the root behind a green point.
pub(super) fn is_shown(start: &[u8]) -> bool {
    let line = start.split(|byte| *byte == b'\n').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    line.starts_with('[') && line.contains("%] \u{1f7e2}_root_")
}

/// One tree a line, or one in all.
pub(super) fn read(
    source: &mut dyn BufRead,
    options: &Options<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let mut decoder = HiqTextDecoder::new();
    let mut offset = 0;
    for number in 1.. {
        let mut line = Vec::new();
        let read = source.take(MAX_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(|error| DecodeError::new("HiQ tree", offset, error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        if let Err(error) = decoder.decode(&line, sink) {
            options.bad_lines.borrow_mut().note(number, &error);
        }
        offset += read;
    }
    Ok(())
}
