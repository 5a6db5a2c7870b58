//! Documents that stand one on a line: a line that is none costs no other.

use std::io::{self, BufRead, Read as _};

use super::json::Scan;
use super::{Items, LIMITS, Sink, each_document};
use crate::decode::{DecodeError, Decoder};

/// The same as [`each_document`]; where each line of `source` is a document of its own, one that cannot be read is handed to
/// `bad_line` with its number, from 1, and the next is read.
///
/// # Errors
/// As [`each_document`], but for documents on lines of their own, which `bad_line` gets; then it is what the source says.
pub fn each_document_or_line(
    source: &mut dyn BufRead,
    format: &'static str,
    items: Items,
    decoder: &mut dyn Decoder,
    sink: &mut Sink<'_>,
    bad_line: &mut dyn FnMut(usize, DecodeError),
) -> Result<(), DecodeError> {
    let failed = |offset, error: io::Error| DecodeError::new(format, offset, error.to_string());
    let (mut line, mut next) = (Vec::new(), Vec::new());
    let first = (&mut *source).take(LIMITS.whole as u64);
    let read = { first }.read_until(b'\n', &mut line);
    read.map_err(|error| failed(0, error))?;
    let read = (&mut *source).take(BEGINNING as u64).read_to_end(&mut next);
    read.map_err(|error| failed(line.len(), error))?;
    let are_lines = are_lines(&line, &next);
    let mut rest = next.as_slice().chain(source);
    if !are_lines {
        let mut all = line.as_slice().chain(rest);
        return each_document(&mut all, format, items, decoder, sink);
    }
    let mut offset = 0;
    for number in 1.. {
        let read = each_document(&mut line.as_slice(), format, items, decoder, sink);
        if let Err(error) = read {
            bad_line(number, error);
        }
        offset += line.len();
        line.clear();
        let read = next_line(&mut rest, &mut line).map_err(|error| failed(offset, error))?;
        if read == 0 {
            break;
        }
    }
    Ok(())
}

/// What the lines of one program have in common: a bracket and most of the first key.
const BEGINNING: usize = 8;

/// Whether what begins with the line `first`, and goes on with `next`, is a document a line.
fn are_lines(first: &[u8], next: &[u8]) -> bool {
    if !first.ends_with(b"\n") {
        return false;
    }
    let end = Scan::default().end_in(first);
    let is_document = end.is_some_and(|end| first[end..].trim_ascii().is_empty());
    let is_like_next = first.len() > BEGINNING && next.starts_with(&first[..BEGINNING]);
    is_document || is_like_next
}

/// Reads a line into `line`; of one that is too long only as much as shows that.
fn next_line(source: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    let limit = LIMITS.piece as u64 + 1;
    let read = { (&mut *source).take(limit) }.read_until(b'\n', line)?;
    if read as u64 == limit && !line.ends_with(b"\n") {
        source.skip_until(b'\n')?;
    }
    Ok(read)
}
