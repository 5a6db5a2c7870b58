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

/// One of a few short texts, chosen without a branch.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    bytes: [u8; 8],
    len: usize,
}

impl Word {
    /// The first eight bytes of `text`.
    pub const fn new(text: &[u8]) -> Self {
        let (mut bytes, mut len) = ([0; 8], 0);
        while len < text.len() && len < bytes.len() {
            bytes[len] = text[len];
            len += 1;
        }
        Self { bytes, len }
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

// SAFETY: at most eight bytes; what is beyond its length is slack.
unsafe impl Piece for Word {
    #[inline(always)]
    fn max_len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise; eight bytes are less than `SLACK`.
        unsafe {
            self.bytes.write(to);
            to.add(self.len)
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
        assert_eq!(written((Word::new(b""), b'|')), b"|");
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
