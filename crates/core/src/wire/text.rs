//! Text that carries its length prefix before and slack behind, so that it is copied in whole blocks.

use std::fmt;
use std::marker::PhantomData;

use super::{MAX_VARINT_BYTES, SLACK, varint_len};

/// The longest text that is kept, in bytes: what is longer is cut at a character boundary.
pub const MAX_TEXT_BYTES: usize = (1 << 31) - 64;

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

    /// The length as a varint, then the UTF-8 bytes, then slack.
    #[inline]
    pub(super) fn prefixed(&self) -> *const u8 {
        self.prefixed
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
pub(crate) struct TextAt(u64);

const ESCAPE_BIT: u64 = 1 << 31;

impl TextAt {
    #[inline]
    fn new(at: usize, len: usize, needs_escape: bool) -> Self {
        Self((at as u64) << 32 | u64::from(needs_escape) << 31 | len as u64)
    }

    /// The word, for storing.
    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// The place from its word.
    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
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
pub(crate) struct TextBuf {
    /// Texts, then always `SLACK` zero bytes.
    bytes: Vec<u8>,
}

impl TextBuf {
    /// An empty store; allocates nothing but the slack.
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; SLACK],
        }
    }

    /// Appends `text`. Returns `None` when the store has reached 4 GiB.
    #[inline]
    pub(crate) fn push(&mut self, text: &str) -> Option<TextAt> {
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
    pub(crate) fn text(&self, place: TextAt) -> Text<'_> {
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

    /// Bytes that it can hold without growing.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes in use.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - SLACK
    }

    /// True when nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all texts, keeps the memory.
    pub(crate) fn clear(&mut self) {
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
#[inline]
fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    let boundary = (0..=MAX_TEXT_BYTES).rfind(|&at| text.is_char_boundary(at));
    &text[..boundary.unwrap_or(0)]
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

#[cfg(test)]
mod tests {
    use super::*;

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
