//! Bytes in, bytes out, fast: text that carries its length prefix and slack behind it, and the cursor that encoders write with.
//!
//! The only `unsafe` of the encoders lives here. Two facts make it sound and quick:
//!
//! - A [`TextBuf`] always ends in [`SLACK`] readable bytes, so a [`Text`] may be copied in whole blocks of 32.
//! - A [`Writer`] makes room for a whole field at once and then writes without further checks.
#![allow(
    unsafe_code,
    reason = "unchecked block copies; each block is argued at its place"
)]

use std::fmt;
use std::marker::PhantomData;
use std::ptr;

/// Readable bytes behind every text, and spare room behind every write.
pub const SLACK: usize = 32;

/// The most bytes that a protobuf varint of 64 bits takes.
pub const MAX_VARINT_BYTES: usize = 10;

/// The longest text that is kept, in bytes: what is longer is cut at a character boundary.
pub const MAX_TEXT_BYTES: usize = (1 << 31) - 64;

/// Bytes that `value` takes as a protobuf varint.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    (((value | 1).leading_zeros() ^ 63) as usize * 9 + 73) >> 6
}

/// Text inside a [`TextBuf`]: UTF-8, preceded by its length as a varint, followed by slack.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    prefixed: *const u8,
    len: u32,
    prefix_len: u8,
    needs_escape: bool,
    buffer: PhantomData<&'a [u8]>,
}

// SAFETY: a `Text` is a shared borrow of bytes that nobody changes while it lives.
unsafe impl Send for Text<'_> {}
// SAFETY: as above.
unsafe impl Sync for Text<'_> {}

impl<'a> Text<'a> {
    /// The text.
    #[inline]
    pub fn as_str(&self) -> &'a str {
        // SAFETY: `TextBuf` stores only whole `&str`s, at this place and of this length.
        unsafe { std::str::from_utf8_unchecked(self.as_bytes()) }
    }

    /// The UTF-8 bytes.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        // SAFETY: `TextBuf::text` has checked that prefix, text and slack lie inside its buffer.
        unsafe {
            std::slice::from_raw_parts(
                self.prefixed.add(self.prefix_len as usize),
                self.len as usize,
            )
        }
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True for the empty text.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Length with the varint before it.
    #[inline]
    pub fn prefixed_len(&self) -> usize {
        self.len as usize + self.prefix_len as usize
    }

    /// True when JSON must escape a character of it.
    #[inline]
    pub fn needs_escape(&self) -> bool {
        self.needs_escape
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text<'_> {}

/// Where a text stands in its [`TextBuf`]: position, length and the escape flag in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextAt(u64);

const ESCAPE_BIT: u64 = 1 << 31;

impl TextAt {
    #[inline]
    fn new(at: usize, len: usize, needs_escape: bool) -> Self {
        Self((at as u64) << 32 | u64::from(needs_escape) << 31 | len as u64)
    }

    /// The word, for storing.
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The place from its word. A word that no buffer has given out makes [`TextBuf::text`] panic, nothing worse.
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    fn at(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline]
    fn len(self) -> usize {
        (self.0 & (ESCAPE_BIT - 1)) as usize
    }
}

/// An append-only store of texts.
#[derive(Clone)]
pub struct TextBuf {
    /// Texts, then always `SLACK` zero bytes.
    bytes: Vec<u8>,
}

impl TextBuf {
    /// An empty store; allocates nothing but the slack.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; SLACK],
        }
    }

    /// Appends `text`. Returns `None` when the store has reached 4 GiB.
    #[inline]
    pub fn push(&mut self, text: &str) -> Option<TextAt> {
        let text = cut(text);
        let at = self.bytes.len() - SLACK;
        if at + text.len() + MAX_VARINT_BYTES + SLACK > u32::MAX as usize {
            return None;
        }
        self.bytes.truncate(at);
        self.bytes.reserve(text.len() + MAX_VARINT_BYTES + SLACK);
        push_varint(&mut self.bytes, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(&[0; SLACK]);
        Some(TextAt::new(at, text.len(), needs_escape(text.as_bytes())))
    }

    /// The text at `place`.
    ///
    /// # Panics
    /// When `place` comes from another buffer and lies outside this one.
    #[inline]
    pub fn text(&self, place: TextAt) -> Text<'_> {
        let (at, len) = (place.at(), place.len());
        let prefix_len = varint_len(len as u64);
        assert!(
            at + prefix_len + len + SLACK <= self.bytes.len(),
            "text lies outside its buffer"
        );
        Text {
            prefixed: self.bytes[at..].as_ptr(),
            #[expect(clippy::cast_possible_truncation, reason = "31 bits by construction")]
            len: len as u32,
            #[expect(clippy::cast_possible_truncation, reason = "at most ten")]
            prefix_len: prefix_len as u8,
            needs_escape: place.0 & ESCAPE_BIT != 0,
            buffer: PhantomData,
        }
    }

    /// Bytes in use.
    pub fn len(&self) -> usize {
        self.bytes.len() - SLACK
    }

    /// True when nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all texts, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(SLACK, 0);
    }
}

impl Default for TextBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TextBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextBuf({} bytes)", self.len())
    }
}

/// Cuts what no format can carry: over 2 GiB.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// Without an early exit, so that the compiler compares 16 bytes at a time.
#[inline]
fn needs_escape(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, &b| {
        found | (b < 0x20) | (b == b'"') | (b == b'\\')
    })
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low seven bits are meant"
)]
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends to a `Vec<u8>` with one capacity check per field.
///
/// What was written becomes part of the vector when the writer is dropped.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    base: *mut u8,
    len: usize,
    capacity: usize,
}

/// The place of a length that is not known yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "an open length must be closed"]
pub struct OpenLength(usize);

/// Two bytes hold lengths of 128 to 16,383: most spans. Others move by a byte or more.
const GUESSED_LENGTH_BYTES: usize = 2;

impl<'a> Writer<'a> {
    /// Appends to `out`, behind what it holds.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let (base, len, capacity) = (out.as_mut_ptr(), out.len(), out.capacity());
        Self {
            out,
            base,
            len,
            capacity,
        }
    }

    /// Bytes in the vector so far, those from before included.
    #[inline]
    pub fn position(&self) -> usize {
        self.len
    }

    /// Takes back all that was written after `position`.
    #[inline]
    pub fn rewind(&mut self, position: usize) {
        self.len = self.len.min(position);
    }

    /// Makes sure that `bytes` more fit, block copies included.
    #[inline]
    pub fn reserve(&mut self, bytes: usize) {
        if self.capacity - self.len < bytes + SLACK {
            self.grow(bytes);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, bytes: usize) {
        // SAFETY: the first `len` bytes have been written, through this writer or before it.
        unsafe { self.out.set_len(self.len) };
        self.out.reserve(bytes + SLACK);
        self.base = self.out.as_mut_ptr();
        self.capacity = self.out.capacity();
    }

    /// Appends one byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.reserve(1);
        // SAFETY: room for it was made.
        unsafe { self.put(byte) };
    }

    /// Appends `bytes`.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: room was made, and a borrowed slice cannot overlap the vector that is borrowed mutably.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(self.len), bytes.len());
        }
        self.len += bytes.len();
    }

    /// Appends a short run of bytes of known size: tags, flags, ids.
    #[inline]
    pub fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.reserve(N);
        // SAFETY: as in `bytes`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(self.len), N) };
        self.len += N;
    }

    /// Appends a varint.
    #[inline]
    pub fn varint(&mut self, value: u64) {
        self.reserve(MAX_VARINT_BYTES);
        // SAFETY: room for the longest varint was made.
        unsafe { self.put_varint(value) };
    }

    /// Appends the text without its length.
    #[inline]
    pub fn text(&mut self, text: Text<'_>) {
        self.reserve(text.len());
        // SAFETY: room was made; the text has its slack.
        unsafe { self.put_blocks(text.as_bytes().as_ptr(), text.len()) };
    }

    /// Appends `tag`, the text's length and the text: a whole protobuf field.
    #[inline]
    pub fn text_field(&mut self, tag: u8, text: Text<'_>) {
        self.reserve(1 + text.prefixed_len());
        // SAFETY: room was made; prefix and text have their slack.
        unsafe {
            self.put(tag);
            self.put_blocks(text.prefixed, text.prefixed_len());
        }
    }

    /// Appends `tag` and eight bytes, little-endian: a protobuf `fixed64` or `double`.
    #[inline]
    pub fn fixed64_field(&mut self, tag: u8, value: u64) {
        self.reserve(9);
        // SAFETY: room was made.
        unsafe {
            self.put(tag);
            ptr::write_unaligned(self.base.add(self.len).cast::<u64>(), value.to_le());
        }
        self.len += 8;
    }

    /// Appends `tag` and a varint.
    #[inline]
    pub fn varint_field(&mut self, tag: u8, value: u64) {
        self.reserve(1 + MAX_VARINT_BYTES);
        // SAFETY: room was made.
        unsafe {
            self.put(tag);
            self.put_varint(value);
        }
    }

    /// Leaves room for a length that [`Writer::close`] fills in.
    #[inline]
    pub fn open(&mut self) -> OpenLength {
        self.reserve(GUESSED_LENGTH_BYTES);
        let open = OpenLength(self.len);
        self.len += GUESSED_LENGTH_BYTES;
        open
    }

    /// Writes the length of all that came after `open` into its place, moving that when two bytes were the wrong guess.
    #[inline]
    pub fn close(&mut self, open: OpenLength) {
        let body = open.0 + GUESSED_LENGTH_BYTES;
        let length = self.len - body;
        if (128..16_384).contains(&length) {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits each")]
            let bytes = [length as u8 | 0x80, (length >> 7) as u8];
            // SAFETY: the two bytes were left free by `open`, inside the written part.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(open.0), 2) };
        } else {
            self.move_and_close(open.0, body, length);
        }
    }

    #[inline(never)]
    fn move_and_close(&mut self, at: usize, body: usize, length: usize) {
        let prefix = varint_len(length as u64);
        self.reserve(MAX_VARINT_BYTES);
        // SAFETY: source and target lie inside the reserved part; `copy` allows them to overlap.
        unsafe { ptr::copy(self.base.add(body), self.base.add(at + prefix), length) };
        self.len = at;
        // SAFETY: the varint takes exactly the `prefix` bytes before the body.
        unsafe { self.put_varint(length as u64) };
        self.len = at + prefix + length;
    }

    /// # Safety
    /// Room for one byte has been reserved.
    #[inline(always)]
    unsafe fn put(&mut self, byte: u8) {
        // SAFETY: by the caller's promise.
        unsafe { *self.base.add(self.len) = byte };
        self.len += 1;
    }

    /// # Safety
    /// Room for the varint has been reserved.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low seven bits are meant"
    )]
    unsafe fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            // SAFETY: by the caller's promise.
            unsafe { self.put(value as u8 | 0x80) };
            value >>= 7;
        }
        // SAFETY: by the caller's promise.
        unsafe { self.put(value as u8) };
    }

    /// Copies in blocks of 32 bytes, reading and writing up to 31 bytes too many.
    ///
    /// # Safety
    /// `from` is readable for `len` + 31 bytes, and `len` + 31 bytes have been reserved.
    #[inline(always)]
    unsafe fn put_blocks(&mut self, from: *const u8, len: usize) {
        // SAFETY: by the caller's promise; source and target are different allocations.
        unsafe {
            let to = self.base.add(self.len);
            ptr::copy_nonoverlapping(from, to, SLACK);
            let mut done = SLACK;
            while done < len {
                ptr::copy_nonoverlapping(from.add(done), to.add(done), SLACK);
                done += SLACK;
            }
        }
        self.len += len;
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // SAFETY: exactly the first `len` bytes have been written.
        unsafe { self.out.set_len(self.len) };
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} of {} bytes)", self.len, self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varint_length_is_that_of_the_bytes_written() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                Writer::new(&mut out).varint(value);
                assert_eq!(out.len(), varint_len(value), "{value}");
                let mut decoded = 0_u64;
                for (i, byte) in out.iter().enumerate() {
                    decoded |= u64::from(byte & 0x7f) << (7 * i);
                }
                assert_eq!(decoded, value);
            }
        }
    }

    #[test]
    fn texts_of_every_length_are_copied_whole() {
        let mut buffer = TextBuf::new();
        let source: String = ('a'..='z').cycle().take(300).collect();
        let places: Vec<_> = (0..300)
            .map(|n| buffer.push(&source[..n]).unwrap())
            .collect();
        for (n, place) in places.into_iter().enumerate() {
            let mut out = vec![b'>'];
            Writer::new(&mut out).text_field(0x0a, buffer.text(place));
            let mut expected = vec![b'>', 0x0a];
            push_varint(&mut expected, n as u64);
            expected.extend_from_slice(&source.as_bytes()[..n]);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn lengths_of_one_two_and_more_bytes_are_patched() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let mut out = Vec::new();
            {
                let mut writer = Writer::new(&mut out);
                writer.byte(0x0a);
                let open = writer.open();
                writer.bytes(&vec![7; length]);
                writer.close(open);
                writer.byte(0xff);
            }
            let mut expected = vec![0x0a];
            push_varint(&mut expected, length as u64);
            expected.resize(expected.len() + length, 7);
            expected.push(0xff);
            assert!(out == expected, "length {length}");
        }
    }

    #[test]
    fn a_rewound_writer_forgets_what_came_after() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.bytes(b"kept");
        let here = writer.position();
        writer.bytes(b"not kept");
        writer.rewind(here);
        drop(writer);
        assert_eq!(out, b"kept");
    }

    #[test]
    fn what_json_must_escape_is_known_when_stored() {
        let mut buffer = TextBuf::new();
        for (text, expected) in [
            ("plain é", false),
            ("q\"", true),
            ("\\", true),
            ("\n", true),
            ("", false),
        ] {
            let place = buffer.push(text).unwrap();
            assert_eq!(buffer.text(place).needs_escape(), expected, "{text:?}");
            assert_eq!(buffer.text(place).as_str(), text);
        }
    }

    #[test]
    #[should_panic(expected = "outside its buffer")]
    fn a_place_from_another_buffer_panics() {
        let mut long = TextBuf::new();
        long.push("a long one that fills the other buffer with some bytes")
            .unwrap();
        let place = long.push("second").unwrap();
        TextBuf::new().text(place);
    }
}
