//! Files that are read piece by piece: JSON documents one after the other, and the messages of a protobuf.

use std::io::{self, BufRead};

use hiq_core::decode::{DecodeError, Decoder};

use super::formats::Sink;

/// The longest piece; a Collector writes a few megabytes.
const MAX_PIECE_BYTES: usize = 128 << 20;

/// Hands each JSON document of `source` to `decoder`.
pub(super) fn each_document(
    source: &mut dyn BufRead,
    format: &'static str,
    decoder: &mut dyn Decoder,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let mut piece = Vec::new();
    let mut offset = 0;
    loop {
        piece.clear();
        let is_whole = next_document(source, &mut piece)
            .map_err(|error| DecodeError::new(format, offset + piece.len(), error.to_string()))?;
        if piece.iter().all(u8::is_ascii_whitespace) && !is_whole {
            return Ok(());
        }
        decoder
            .decode(&piece, sink)
            .map_err(|error| moved(error, offset))?;
        offset += piece.len();
    }
}

/// Reads up to the bracket that closes the first one. False at the end of the source.
fn next_document(source: &mut dyn BufRead, piece: &mut Vec<u8>) -> io::Result<bool> {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    loop {
        let chunk = source.fill_buf()?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let mut end = None;
        for (at, byte) in chunk.iter().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_text => is_escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        end = Some(at + 1);
                        break;
                    }
                }
                _ => {}
            }
        }
        let taken = end.unwrap_or(chunk.len());
        piece.extend_from_slice(&chunk[..taken]);
        source.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
        check(piece.len())?;
    }
}

/// Hands each field of the message in `source` to `decoder`, as a message of that field alone.
pub(super) fn each_message(
    source: &mut dyn BufRead,
    format: &'static str,
    decoder: &mut dyn Decoder,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let mut piece = Vec::new();
    let mut offset = 0;
    loop {
        piece.clear();
        let is_there = next_message(source, &mut piece)
            .map_err(|error| DecodeError::new(format, offset + piece.len(), error.to_string()))?;
        if !is_there {
            return Ok(());
        }
        decoder
            .decode(&piece, sink)
            .map_err(|error| moved(error, offset))?;
        offset += piece.len();
    }
}

fn next_message(source: &mut dyn BufRead, piece: &mut Vec<u8>) -> io::Result<bool> {
    // A tag and a length: two varints.
    let mut varints = 0;
    while varints < 2 {
        let Some(byte) = source.fill_buf()?.first().copied() else {
            if piece.is_empty() {
                return Ok(false);
            }
            return Err(cut());
        };
        source.consume(1);
        piece.push(byte);
        varints += usize::from(byte < 0x80);
        if piece.len() > 20 || (varints == 1 && piece[0] & 7 != 2) {
            return Err(io::Error::other(
                "a field has a wire type that does not belong here",
            ));
        }
    }
    let tag_bytes = piece.iter().position(|byte| *byte < 0x80).unwrap_or(0) + 1;
    let length = varint(&piece[tag_bytes..]).map_or(0, |(length, _)| length);
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    check(left)?;
    while left > 0 {
        let chunk = source.fill_buf()?;
        if chunk.is_empty() {
            return Err(cut());
        }
        let taken = chunk.len().min(left);
        piece.extend_from_slice(&chunk[..taken]);
        source.consume(taken);
        left -= taken;
    }
    Ok(true)
}

fn check(bytes: usize) -> io::Result<()> {
    if bytes > MAX_PIECE_BYTES {
        return Err(io::Error::other("a request is longer than 128 MiB"));
    }
    Ok(())
}

fn cut() -> io::Error {
    io::Error::other("the file ends in the middle: it was cut, or is still being written")
}

/// The fields of a message, as far as they can be seen: numbers, and the bytes of those that have some.
pub(super) fn fields(mut rest: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while let Some((tag, behind)) = varint(rest) {
        let (bytes, behind): (&[u8], &[u8]) = match (tag & 7, varint(behind)) {
            (0, Some((_, behind))) => (&[], behind),
            (1, _) => (&[], behind.get(8..).unwrap_or_default()),
            (2, Some((length, behind))) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                behind.split_at_checked(length).unwrap_or((behind, &[]))
            }
            (5, _) => (&[], behind.get(4..).unwrap_or_default()),
            // The end of what is seen, or no protobuf: a number that no format has.
            (0 | 2, None) => break,
            _ => (&[], &[]),
        };
        let is_known = matches!(tag & 7, 0 | 1 | 2 | 5);
        fields.push((if is_known { tag >> 3 } else { u64::MAX }, bytes));
        rest = behind;
    }
    fields
}

/// A varint, and what stands behind it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// The same error, counted from the start of the file.
pub(super) fn moved(error: DecodeError, by: usize) -> DecodeError {
    DecodeError::new(error.format, error.offset + by, error.message)
}
