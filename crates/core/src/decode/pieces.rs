//! Streams of any length, handed to a [`Decoder`] piece by piece: JSON documents one after the other, and the messages of
//! a protobuf.
//!
//! ```
//! use hiq_core::decode::pieces::{Items, each_document};
//! # use hiq_core::decode::{DecodeError, Decoder};
//! # use hiq_core::tree::SpanTree;
//! # #[derive(Debug)]
//! # struct Lengths(Vec<usize>);
//! # impl Decoder for Lengths {
//! #     fn decode(&mut self, piece: &[u8], _: &mut dyn FnMut(std::sync::Arc<SpanTree>)) -> Result<(), DecodeError> {
//! #         self.0.push(piece.len());
//! #         Ok(())
//! #     }
//! # }
//! # let mut decoder = Lengths(Vec::new());
//! let mut file = &b"{\"resourceSpans\":[]}\n{\"resourceSpans\":[]}"[..];
//! let items = Items::Under(&["resourceSpans"]);
//! each_document(&mut file, "OTLP JSON", items, &mut decoder, &mut |tree| drop(tree))?;
//! # assert_eq!(decoder.0.len(), 2);
//! # Ok::<(), DecodeError>(())
//! ```

use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

use super::{DecodeError, Decoder};
use crate::tree::SpanTree;

mod json;
mod lines;
mod list;

pub use lines::each_document_or_line;

use json::{Scan, items_in};
use list::each_list;

/// Where the items of a JSON document stand: between two of them it may be cut.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "documents are lists or objects")]
pub enum Items {
    /// The document is a list of them.
    Listed,
    /// It is an object with a list of them, in a field of one of these names. Pieces have the first.
    Under(&'static [&'static str]),
}

/// What takes the trees.
type Sink<'s> = dyn FnMut(Arc<SpanTree>) + 's;

/// How much is held in memory, in bytes.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Documents up to here are decoded whole.
    whole: usize,
    /// Items of longer ones are decoded together up to here.
    together: usize,
    /// The longest item, message, or document that cannot be cut.
    piece: usize,
}

const LIMITS: Limits = Limits {
    whole: 16 << 20,
    together: 4 << 20,
    piece: 128 << 20,
};

/// Hands each JSON document of `source` to `decoder`. Those of more than 16 MiB are cut between their `items`, so that
/// memory is bounded; what lies beside their list is passed over.
///
/// # Errors
/// What `decoder` or the source says, at its offset in the source; a document that cannot be cut, or an item, of more than
/// 128 MiB. What came before has been handed over.
pub fn each_document(
    source: &mut dyn BufRead,
    format: &'static str,
    items: Items,
    decoder: &mut dyn Decoder,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    each_document_within(LIMITS, source, format, items, decoder, sink)
}

fn each_document_within(
    limits: Limits,
    source: &mut dyn BufRead,
    format: &'static str,
    items: Items,
    decoder: &mut dyn Decoder,
    sink: &mut Sink<'_>,
) -> Result<(), DecodeError> {
    let mut piece = Vec::new();
    let mut offset = 0;
    loop {
        piece.clear();
        let mut scan = Scan::default();
        let read = |piece: &mut Vec<u8>, scan: &mut Scan, source: &mut dyn BufRead, limit| {
            let read = scan.copy(source, piece, limit);
            read.map_err(|error| DecodeError::new(format, offset + piece.len(), error.to_string()))
        };
        let mut document = read(&mut piece, &mut scan, source, limits.whole)?;
        if document == Copied::UpToLimit {
            if let Some(first) = items_in(&piece, items) {
                let mut rest = piece[first..].chain(&mut *source);
                let list = list::List::new(limits, format, items, offset + first);
                offset = each_list(list, &mut rest, decoder, sink)?;
                continue;
            }
            document = read(&mut piece, &mut scan, source, limits.piece)?;
        }
        match document {
            Copied::UpToLimit => {
                let problem = format!("a document is longer than {} MiB", limits.piece >> 20);
                return Err(DecodeError::new(format, offset, problem));
            }
            Copied::UpToEnd if piece.trim_ascii().is_empty() => return Ok(()),
            Copied::UpToEnd | Copied::Whole => {}
        }
        let decoded = decoder.decode(&piece, sink);
        decoded.map_err(|error| error.moved(offset))?;
        offset += piece.len();
    }
}

/// What [`Scan::copy`] has copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    /// A document up to the bracket that closes its first one.
    Whole,
    /// All that the source has.
    UpToEnd,
    /// As much as was allowed, or a little more.
    UpToLimit,
}

/// Hands each field of the message in `source` to `decoder`, as a message of that field alone.
///
/// # Errors
/// What `decoder` or the source says, at its offset in the source; a field of more than 128 MiB. What came before has
/// been handed over.
pub fn each_message(
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
        let decoded = decoder.decode(&piece, sink);
        decoded.map_err(|error| error.moved(offset))?;
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
            return Err(io::Error::other(CUT));
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
    let length = length_in(&piece[tag_bytes..]);
    if length > LIMITS.piece as u64 {
        return Err(io::Error::other("a message is longer than 128 MiB"));
    }
    let read = source.take(length).read_to_end(piece)?;
    if (read as u64) < length {
        return Err(io::Error::other(CUT));
    }
    Ok(true)
}

/// The varint that `bytes` consist of.
fn length_in(bytes: &[u8]) -> u64 {
    let sevens = bytes.iter().take(10).enumerate();
    sevens.fold(0, |length, (at, byte)| {
        length | u64::from(byte & 0x7f).wrapping_shl(7 * u32::try_from(at).unwrap_or_default())
    })
}

const CUT: &str = "the file ends in the middle: it was cut, or is still being written";

#[cfg(test)]
mod tests;
