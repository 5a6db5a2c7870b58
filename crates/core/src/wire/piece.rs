//! What a [`Writer`](super::Writer) writes: bytes and texts, and tuples of pieces.

use std::hint::select_unpredictable;
use std::ptr;

use super::SLACK;
use super::text::Text;

/// Something that is written in one go with its neighbours.
///
/// # Safety
/// An implementation writes at most [`Piece::max_len`] bytes and up to [`SLACK`] more that do not count,
/// and returns the place behind those that count, which lies in the same allocation.
pub unsafe trait Piece: Copy {
    /// The most bytes that it takes.
    fn max_len(&self) -> usize;

    /// Writes it at `to` and returns the place behind it.
    ///
    /// # Safety
    /// From `to` on, [`Piece::max_len`] and [`SLACK`] bytes are writable, in one allocation that the piece does not borrow.
    unsafe fn write(self, to: *mut u8) -> *mut u8;
}

/// A text behind its length: the value of a protobuf `string` field.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a text and nothing else")]
pub struct Prefixed<'a>(pub Text<'a>);

/// One of a few short texts, of at most `N` bytes and no more than [`SLACK`], chosen without a branch.
#[derive(Clone, Copy, Debug)]
pub struct Word<const N: usize = 8> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Word<N> {
    /// The first `N` bytes of `text`.
    pub const fn new(text: &[u8]) -> Self {
        const { assert!(N <= SLACK, "what is beyond the text is slack") };
        let (mut bytes, mut len) = ([0; N], 0);
        while len < text.len() && len < bytes.len() {
            bytes[len] = text[len];
            len += 1;
        }
        Self { bytes, len }
    }
}

impl Word {
    /// How many bytes count.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "asked for lengths on the wire")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first `len` of `bytes`, at most all eight.
    #[inline(always)]
    pub fn first(bytes: [u8; 8], len: usize) -> Self {
        Self {
            bytes,
            len: len.min(8),
        }
    }

    /// `yes` or `no`.
    #[inline(always)]
    pub fn choose(is_yes: bool, yes: Self, no: Self) -> Self {
        Self {
            bytes: u64::to_le_bytes(select_unpredictable(
                is_yes,
                u64::from_le_bytes(yes.bytes),
                u64::from_le_bytes(no.bytes),
            )),
            len: select_unpredictable(is_yes, yes.len, no.len),
        }
    }
}

// SAFETY: as a reference to it.
unsafe impl<const N: usize> Piece for Word<N> {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { (&self).write(to) }
    }
}

// SAFETY: as many bytes as the text has; the others up to `N` are slack.
unsafe impl<const N: usize> Piece for &Word<N> {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise; `N` is at most `SLACK`.
        unsafe {
            self.bytes.write(to);
            to.add(self.len)
        }
    }
}

/// Bytes that are copied in whole blocks, as texts are: what many spans have in common.
#[derive(Clone, Debug)]
pub struct Padded {
    /// With `SLACK` bytes behind those that count.
    bytes: Vec<u8>,
}

impl Padded {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut padded = Self { bytes: Vec::new() };
        padded.fill(&[bytes]);
        padded
    }

    /// Puts `parts`, one behind the other, in place of what was there, and keeps the memory.
    pub fn fill(&mut self, parts: &[&[u8]]) {
        self.bytes.clear();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.resize(self.bytes.len() + SLACK, 0);
    }

    /// The bytes that count.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// How many bytes count.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.bytes.len() - SLACK
    }

    /// True when no byte counts.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Padded {
    fn default() -> Self {
        Self::new(&[])
    }
}

// SAFETY: as many bytes as count, and less than a block more.
unsafe impl Piece for &Padded {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        let (from, len) = (self.bytes.as_ptr(), self.len());
        // SAFETY: the slack was made with the bytes; the rest by the caller's promise.
        unsafe {
            if len <= FEW_BLOCKS {
                return copy_blocks(from, to, len);
            }
            ptr::copy_nonoverlapping(from, to, len);
            to.add(len)
        }
    }
}

// SAFETY: one byte.
unsafe impl Piece for u8 {
    #[inline(always)]
    fn max_len(&self) -> usize {
        1
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe {
            *to = self;
            to.add(1)
        }
    }
}

// SAFETY: `N` bytes.
unsafe impl<const N: usize> Piece for [u8; N] {
    #[inline(always)]
    fn max_len(&self) -> usize {
        N
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe {
            to.cast::<[u8; N]>().write_unaligned(self);
            to.add(N)
        }
    }
}

// SAFETY: `N` bytes.
unsafe impl<const N: usize> Piece for &[u8; N] {
    #[inline(always)]
    fn max_len(&self) -> usize {
        N
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise; the piece and the target do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(self.as_ptr(), to, N);
            to.add(N)
        }
    }
}

// SAFETY: as many bytes as the slice has.
unsafe impl Piece for &[u8] {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise; the piece and the target do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(self.as_ptr(), to, self.len());
            to.add(self.len())
        }
    }
}

// SAFETY: as many bytes as the text has, and less than a block more.
unsafe impl Piece for Text<'_> {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: the text has its slack; the rest by the caller's promise.
        unsafe { copy_blocks(self.as_bytes().as_ptr(), to, self.len()) }
    }
}

// SAFETY: as many bytes as prefix and text have, and less than a block more.
unsafe impl Piece for Prefixed<'_> {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.0.prefixed_len()
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: the text has its slack; the rest by the caller's promise.
        unsafe { copy_blocks(self.0.prefixed(), to, self.0.prefixed_len()) }
    }
}

// SAFETY: nothing, or the piece.
unsafe impl<P: Piece> Piece for Option<P> {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.as_ref().map_or(0, Piece::max_len)
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        match self {
            // SAFETY: by the caller's promise.
            Some(piece) => unsafe { piece.write(to) },
            None => to,
        }
    }
}

macro_rules! tuple {
    ($($name:ident)*) => {
        // SAFETY: one piece after the other; the overrun of each lies in the room of the next, that of the last in the slack.
        unsafe impl<$($name: Piece),*> Piece for ($($name,)*) {
            #[inline(always)]
            fn max_len(&self) -> usize {
                #[expect(non_snake_case, reason = "a value named like its type")]
                let ($($name,)*) = self;
                0 $(+ $name.max_len())*
            }

            #[inline(always)]
            unsafe fn write(self, to: *mut u8) -> *mut u8 {
                #[expect(non_snake_case, reason = "a value named like its type")]
                let ($($name,)*) = self;
                $(
                    // SAFETY: by the caller's promise.
                    let to = unsafe { $name.write(to) };
                )*
                to
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);

/// What is longer is copied faster by the system's own copy, which knows the processor's widest registers.
const FEW_BLOCKS: usize = 4 * SLACK;

/// Copies in blocks of [`SLACK`] bytes.
///
/// # Safety
/// `from` is readable and `to` writable for `len` and [`SLACK`] bytes more, and they do not overlap.
#[inline(always)]
unsafe fn copy_blocks(from: *const u8, to: *mut u8, len: usize) -> *mut u8 {
    // SAFETY: the last block begins before `len`.
    unsafe {
        ptr::copy_nonoverlapping(from, to, SLACK);
        let mut done = SLACK;
        while done < len {
            ptr::copy_nonoverlapping(from.add(done), to.add(done), SLACK);
            done += SLACK;
        }
        to.add(len)
    }
}

/// The bytes of a piece, and that it keeps its promise.
#[cfg(test)]
pub(super) fn written(piece: impl Piece) -> Vec<u8> {
    let mut out = Vec::new();
    super::Writer::new(&mut out).put(piece);
    assert!(out.len() <= piece.max_len(), "a piece broke its promise");
    out
}

#[cfg(test)]
mod tests {
    use super::super::number::{Decimal, Fixed32, Fixed64};
    use super::super::text::TextBuf;
    use super::*;

    #[test]
    fn a_word_is_the_one_that_was_chosen() {
        let (yes, no) = (Word::new(b"true"), Word::new(b"eight888"));
        assert_eq!(written((Word::choose(true, yes, no), b'|')), b"true|");
        assert_eq!(written((Word::choose(false, yes, no), b'|')), b"eight888|");
        assert_eq!(written((Word::<8>::new(b""), b'|')), b"|");
        assert_eq!(written((Word::first(*b"truethat", 4), b'|')), b"true|");
        assert_eq!(written((Word::first(*b"truethat", 9), b'|')), b"truethat|");
        let long: Word<32> = Word::new(b"thirty-two bytes, and not a byte more");
        assert_eq!(written((&long, b'|')), b"thirty-two bytes, and not a byte|");
    }

    #[test]
    fn padded_bytes_of_every_length_are_copied_whole() {
        let source: Vec<u8> = (0..200).collect();
        for length in 0..source.len() {
            let padded = Padded::new(&source[..length]);
            assert_eq!(padded.as_bytes(), &source[..length]);
            assert_eq!(padded.is_empty(), length == 0);
            let mut expected = source[..length].to_vec();
            expected.push(b'|');
            assert_eq!(written((&padded, b'|')), expected);
        }
        let mut padded = Padded::default();
        assert_eq!(written((&padded, b'|')), b"|");
        padded.fill(&[b"a", b"", b"bc"]);
        assert_eq!(written((&padded, b'|')), b"abc|");
    }

    #[test]
    fn pieces_follow_each_other_whatever_they_overrun() {
        let mut buffer = TextBuf::new();
        let place = buffer.push("name").unwrap();
        let text = buffer.text(place);
        let bytes = written((
            b"ab",
            Some(Prefixed(text)),
            None::<u8>,
            (Fixed32(0x0403_0201), [9; 3], Decimal(7)),
            Fixed64(1),
            &b"end"[..],
        ));
        assert_eq!(
            bytes,
            b"ab\x04name\x01\x02\x03\x04\x09\x09\x097\x01\0\0\0\0\0\0\0end"
        );
    }
}
