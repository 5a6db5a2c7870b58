//! The writer: one capacity check for many pieces, and lengths that are filled in afterwards.

use std::fmt;
use std::ptr;

use super::number::Varint;
use super::piece::Piece;
use super::{MAX_VARINT_BYTES, SLACK, varint_len};

/// Appends [`Piece`]s to a `Vec<u8>`.
///
/// What was written becomes part of the vector when the writer is dropped.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Where the next byte goes.
    at: *mut u8,
    /// Pieces may take what lies before it, and [`SLACK`] bytes behind it are writable; never before `at`.
    limit: *mut u8,
}

/// The place of a length that is not known yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "an open length must be closed"]
pub struct OpenLength {
    at: usize,
    width: usize,
}

impl OpenLength {
    /// Where the bytes begin that the length counts.
    #[inline]
    pub fn body(&self) -> usize {
        self.at + self.width
    }

    /// Bytes that were left free for the length.
    #[inline]
    pub fn width(&self) -> usize {
        self.width
    }
}

impl<'a> Writer<'a> {
    /// Appends to `out`, behind what it holds.
    #[inline(always)]
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let (at, limit) = free(out);
        Self { out, at, limit }
    }

    /// Bytes in the vector so far, those from before included.
    #[inline(always)]
    pub fn position(&self) -> usize {
        self.at.addr() - self.out.as_ptr().addr()
    }

    /// Takes back all that was written after `position`.
    #[inline(always)]
    pub fn rewind(&mut self, position: usize) {
        self.at = self.place(self.position().min(position));
    }

    /// Where the byte at `position` stands; the callers know that it is one of the vector's.
    #[inline(always)]
    fn place(&mut self, position: usize) -> *mut u8 {
        self.out.as_mut_ptr().wrapping_add(position)
    }

    /// Lets `write` go on behind what has been written: for what few spans have.
    ///
    /// A function that is handed the writer itself puts its state into memory, at the cost of all that comes after.
    #[inline(always)]
    #[must_use]
    pub fn elsewhere(mut self, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let written = self.position();
        // SAFETY: exactly so many bytes have been written.
        unsafe { self.out.set_len(written) };
        write(self.out);
        (self.at, self.limit) = free(self.out);
        self
    }

    /// Replaces the bytes at `at`, which have been written.
    ///
    /// # Panics
    /// When they have not.
    #[inline]
    pub fn patch<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        let end = at.checked_add(N);
        assert!(
            end.is_some_and(|end| end <= self.position()),
            "nothing stands there"
        );
        // SAFETY: the bytes lie inside the written part.
        unsafe { self.place(at).cast::<[u8; N]>().write_unaligned(bytes) };
    }

    /// Appends `piece`; a tuple of pieces is one piece.
    #[inline(always)]
    pub fn put(&mut self, piece: impl Piece) {
        self.reserve(piece.max_len());
        // SAFETY: room for the longest form of the piece and its slack was made, and what a piece borrows
        // cannot overlap the vector, which is borrowed mutably.
        self.at = unsafe { piece.write(self.at) };
    }

    /// Appends `tag` and leaves room for the length of what comes next, which is expected to be `expected` bytes.
    #[inline(always)]
    pub fn open(&mut self, tag: u8, expected: usize) -> OpenLength {
        let piece = (tag, [0; MAX_VARINT_BYTES]);
        self.reserve(piece.max_len());
        let open = OpenLength {
            at: self.position() + 1,
            width: varint_len(expected as u64),
        };
        // SAFETY: room was made, and a length is no wider than what is written.
        unsafe {
            piece.write(self.at);
            self.at = self.at.add(1 + open.width);
        }
        open
    }

    /// Writes the length of all that came after `open` into its place, moving that when its width was guessed wrong.
    ///
    /// # Panics
    /// When what was opened has been taken back.
    #[inline(always)]
    pub fn close(&mut self, open: OpenLength) {
        let position = self.position();
        assert!(open.body() <= position, "what was opened is gone");
        let length = position - open.body();
        if open.width == 2 && (128..16_384).contains(&length) {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits each")]
            let bytes = [length as u8 | 0x80, (length >> 7) as u8];
            // SAFETY: `open` left these two bytes free, inside the written part.
            unsafe { bytes.write(self.place(open.at)) };
        } else {
            self.reserve(MAX_VARINT_BYTES);
            // SAFETY: room for a longer length was made, and `length` bytes stand behind the place of the length.
            unsafe { move_body(self.place(open.at), open.width, length) };
            self.at = self.place(open.at + varint_len(length as u64) + length);
        }
    }

    /// Makes sure that `bytes` more fit, with slack.
    #[inline(always)]
    fn reserve(&mut self, bytes: usize) {
        if self.limit.addr() - self.at.addr() < bytes {
            // Not a method of the writer: its address would leave this function, and its state the registers.
            (self.at, self.limit) = grow(self.out, self.at, bytes);
        }
    }
}

/// The free part of `out`, without the slack behind it.
#[inline(always)]
fn free(out: &mut Vec<u8>) -> (*mut u8, *mut u8) {
    if out.capacity() - out.len() < SLACK {
        make_slack(out);
    }
    let (len, capacity) = (out.len(), out.capacity());
    let start = out.as_mut_ptr();
    // SAFETY: both places lie in the allocation, which has the slack.
    unsafe { (start.add(len), start.add(capacity - SLACK)) }
}

#[cold]
#[inline(never)]
fn make_slack(out: &mut Vec<u8>) {
    out.reserve(SLACK);
}

/// Makes room for `bytes` more at `at`, up to which `out` has been written. Returns its free part.
#[cold]
#[inline(never)]
fn grow(out: &mut Vec<u8>, at: *mut u8, bytes: usize) -> (*mut u8, *mut u8) {
    let written = at.addr() - out.as_ptr().addr();
    // SAFETY: so many bytes have been written, through a writer or before it.
    unsafe { out.set_len(written) };
    out.reserve(bytes.saturating_add(SLACK));
    free(out)
}

/// Writes `length` at `at` and moves the body behind it, which stands `width` bytes after `at`, if need be.
///
/// # Safety
/// The body of `length` bytes stands there, and [`MAX_VARINT_BYTES`] behind it are writable.
#[cold]
#[inline(never)]
unsafe fn move_body(at: *mut u8, width: usize, length: usize) {
    let new_width = varint_len(length as u64);
    // SAFETY: by the caller's promise; `copy` allows source and target to overlap, and the varint ends where the body begins.
    unsafe {
        if new_width != width {
            ptr::copy(at.add(width), at.add(new_width), length);
        }
        Varint(length as u64).write(at);
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let written = self.position();
        // SAFETY: exactly so many bytes have been written.
        unsafe { self.out.set_len(written) };
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (written, capacity) = (self.position(), self.out.capacity());
        write!(f, "Writer({written} of {capacity} bytes)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::TextBuf;
    use super::super::{Prefixed, Word};
    use super::*;

    fn leb128(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }

    #[test]
    fn texts_of_every_length_are_copied_whole() {
        let mut buffer = TextBuf::new();
        let source: String = ('a'..='z').cycle().take(300).collect();
        let places: Vec<_> = (0..300)
            .map(|n| buffer.push(&source[..n]).unwrap())
            .collect();
        for (n, place) in places.into_iter().enumerate() {
            let text = buffer.text(place);
            let mut out = vec![b'>'];
            Writer::new(&mut out).put((0x0a, Prefixed(text), b'|', text));
            let mut expected = vec![b'>', 0x0a];
            expected.extend(leb128(n));
            expected.extend_from_slice(&source.as_bytes()[..n]);
            expected.push(b'|');
            expected.extend_from_slice(&source.as_bytes()[..n]);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn there_is_slack_behind_pieces_of_no_bytes_in_vectors_without_room() {
        let nothing: Word<SLACK> = Word::new(b"");
        for len in 0..2 * SLACK {
            let mut out = vec![7; len];
            out.shrink_to_fit();
            let mut writer = Writer::new(&mut out);
            writer.put(nothing);
            writer = writer.elsewhere(Vec::shrink_to_fit);
            writer.put(nothing);
            drop(writer);
            assert_eq!(out, vec![7; len]);
            assert!(out.capacity() >= len + SLACK, "{len}");
        }
    }

    #[test]
    fn lengths_are_patched_whatever_was_expected() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            for expected_length in [0, 200, 20_000, 3_000_000] {
                let mut out = Vec::new();
                {
                    let mut writer = Writer::new(&mut out);
                    let open = writer.open(0x0a, expected_length);
                    writer.put(&vec![7; length][..]);
                    writer.close(open);
                    writer.put(0xff);
                }
                let mut expected = vec![0x0a];
                expected.extend(leb128(length));
                expected.resize(expected.len() + length, 7);
                expected.push(0xff);
                assert!(out == expected, "length {length}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "what was opened is gone")]
    fn a_length_that_was_taken_back_cannot_be_closed() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let open = writer.open(0x0a, 0);
        writer.rewind(0);
        writer.close(open);
    }

    #[test]
    fn what_was_written_can_be_replaced() {
        let mut out = b"before".to_vec();
        let mut writer = Writer::new(&mut out);
        writer.put(b"1234");
        writer.patch(7, *b"xyz");
        drop(writer);
        assert_eq!(out, b"before1xyz");
    }

    #[test]
    #[should_panic(expected = "nothing stands there")]
    fn what_was_not_written_cannot_be_replaced() {
        let mut out = Vec::with_capacity(100);
        Writer::new(&mut out).patch(0, [1]);
    }

    #[test]
    fn what_was_written_elsewhere_stands_between() {
        let mut out = b"before ".to_vec();
        let mut writer = Writer::new(&mut out);
        writer.put(b"here ");
        writer = writer.elsewhere(|out| out.extend_from_slice(&[b'.'; 1_000]));
        assert_eq!(writer.position(), 1_012);
        writer.put(b" after");
        drop(writer);
        assert_eq!(
            out,
            [b"before here ", &[b'.'; 1_000][..], b" after"].concat()
        );
    }

    #[test]
    fn a_rewound_writer_forgets_what_came_after() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.put(b"kept");
        let here = writer.position();
        writer.put(b"not kept");
        writer.rewind(here);
        drop(writer);
        assert_eq!(out, b"kept");
    }
}
