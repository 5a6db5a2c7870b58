//! Bytes in, bytes out, fast: text that carries its length prefix and slack behind it, and the writer of the encoders.
//!
//! The only `unsafe` of the encoders lives here. Two facts make it sound and quick:
//!
//! - A text always has [`SLACK`] readable bytes behind it, so it may be copied in whole blocks of 32.
//! - A [`Writer`] makes room for several [`Piece`]s at once and then writes them without further checks.
#![allow(
    unsafe_code,
    reason = "unchecked block copies; each block is argued at its place"
)]
#![expect(
    clippy::inline_always,
    reason = "the writer's state must stay in registers; measured by the encoders' benchmark"
)]

mod digits;
mod json;
mod number;
mod piece;
mod text;
mod writer;

pub use json::{JsonStr, JsonText};
pub use number::{
    Decimal, Fixed32, Fixed64, Hex, LastEightDigits, LongVarint, SignedDecimal, Varint,
    VarintOrFixed64,
};
pub use piece::{Padded, Piece, Prefixed, Word};
pub use text::{MAX_TEXT_BYTES, Text};
pub(crate) use text::{TextAt, TextBuf, TextSlot};
pub use writer::{OpenLength, Writer};

/// Readable bytes behind every text, and spare room behind every write.
pub const SLACK: usize = 32;

/// The most bytes that a protobuf varint of 64 bits takes.
pub const MAX_VARINT_BYTES: usize = 10;

/// Bytes that `value` takes as a protobuf varint.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    (((value | 1).leading_zeros() ^ 63) as usize * 9 + 73) >> 6
}
