//! Text that carries its length prefix before and slack behind, so that it is copied in whole blocks.

use std::fmt;
use std::hint::select_unpredictable;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::{MAX_VARINT_BYTES, SLACK, varint_len};

/// The longest text that is kept, in bytes, a quarter of a gibibyte: what is longer is cut at a character boundary.
pub const MAX_TEXT_BYTES: usize = (1 << 28) - 64;

/// Text of a tree or of the process-wide tables: UTF-8, preceded by its length as a varint, followed by slack.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    prefixed: NonNull<u8>,
    /// In one word with all there is to know: two words travel in registers, three do not.
    shape: Shape,
    buffer: PhantomData<&'a [u8]>,
}

// SAFETY: a `Text` is a shared borrow of bytes that nobody changes while it lives.
unsafe impl Send for Text<'_> {}
// SAFETY: as above.
unsafe impl Sync for Text<'_> {}

/// The length of prefix and text in 28 bits, that of the prefix in three, the escape flag on top.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape(u32);

impl Shape {
    #[expect(clippy::cast_possible_truncation, reason = "below MAX_TEXT_BYTES")]
    fn new(len: usize, needs_escape: bool) -> Self {
        let prefix_len = varint_len(len as u64);
        let prefixed_len = len + prefix_len;
        Self(prefixed_len as u32 | (prefix_len as u32) << 28 | u32::from(needs_escape) << 31)
    }

    #[inline(always)]
    fn prefixed_len(self) -> usize {
        (self.0 & 0x0fff_ffff) as usize
    }

    #[inline(always)]
    fn prefix_len(self) -> usize {
        (self.0 >> 28 & 7) as usize
    }

    #[inline(always)]
    fn needs_escape(self) -> bool {
        self.0 >> 31 != 0
    }
}

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
            let start = self.prefixed.add(self.shape.prefix_len());
            std::slice::from_raw_parts(start.as_ptr(), self.len())
        }
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.shape.prefixed_len() - self.shape.prefix_len()
    }

    /// True for the empty text.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.shape.prefixed_len() == 1
    }

    /// The length as a varint, then the UTF-8 bytes, then slack.
    #[inline]
    pub(super) fn prefixed(&self) -> *const u8 {
        self.prefixed.as_ptr()
    }

    /// Length with the varint before it.
    #[inline]
    pub fn prefixed_len(&self) -> usize {
        self.shape.prefixed_len()
    }

    /// True when JSON must escape a character of it.
    #[inline]
    pub fn needs_escape(&self) -> bool {
        self.shape.needs_escape()
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

/// Where a text stands in its [`TextBuf`]: position and shape in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextAt(u64);

impl TextAt {
    #[inline]
    fn new(at: usize, shape: Shape) -> Self {
        Self((at as u64) << 32 | u64::from(shape.0))
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

    #[inline(always)]
    fn at(self) -> usize {
        (self.0 >> 32) as usize
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    fn shape(self) -> Shape {
        Shape(self.0 as u32)
    }
}

impl fmt::Debug for TextAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {}", self.shape().prefixed_len(), self.at())
    }
}

/// One place of a table of texts that live as long as the process: empty, then filled once.
pub(crate) struct TextSlot {
    prefixed: AtomicPtr<u8>,
    shape: AtomicU32,
}

impl TextSlot {
    /// A place that nothing stands in; all zero bytes.
    pub(crate) const fn empty() -> Self {
        Self {
            prefixed: AtomicPtr::new(ptr::null_mut()),
            shape: AtomicU32::new(0),
        }
    }

    /// What stands here.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Text<'static>> {
        let prefixed = NonNull::new(self.prefixed.load(Ordering::Acquire))?;
        Some(Text {
            prefixed,
            shape: Shape(self.shape.load(Ordering::Relaxed)),
            buffer: PhantomData,
        })
    }

    /// Puts `text` here. Called once for each place, by one thread at a time.
    ///
    /// # Panics
    /// When something stands here already: a reader could see the one's place with the other's length.
    pub(crate) fn fill(&self, text: Text<'static>) {
        assert!(self.get().is_none(), "a text is never replaced");
        self.shape.store(text.shape.0, Ordering::Relaxed);
        self.prefixed
            .store(text.prefixed.as_ptr(), Ordering::Release);
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
        let shape = Shape::new(text.len(), needs_escape(text.as_bytes()));
        Some(TextAt::new(at, shape))
    }

    /// The text at `place`.
    ///
    /// # Panics
    /// When `place` comes from another buffer and lies outside this one.
    #[inline(always)]
    pub(crate) fn text(&self, place: TextAt) -> Text<'_> {
        let (at, shape) = (place.at(), place.shape());
        let needed = at + shape.prefixed_len() + SLACK;
        assert!(needed <= self.bytes.len(), "text lies outside its buffer");
        // SAFETY: just checked; the vector's bytes are not null.
        let prefixed = unsafe { NonNull::new_unchecked(self.bytes.as_ptr().add(at).cast_mut()) };
        Text {
            prefixed,
            shape,
            buffer: PhantomData,
        }
    }

    /// The text at `place` if that is `here`, else the one in `slot`, if there is one; decided without a branch.
    ///
    /// # Panics
    /// When `place` is here and comes from another buffer and lies outside this one.
    #[inline(always)]
    pub(crate) fn text_or<'a>(
        &'a self,
        place: TextAt,
        here: bool,
        slot: &'static TextSlot,
    ) -> Option<Text<'a>> {
        let (at, shape) = (place.at(), place.shape());
        let needed = select_unpredictable(here, at + shape.prefixed_len() + SLACK, 0);
        assert!(needed <= self.bytes.len(), "text lies outside its buffer");
        let prefixed = self.bytes.as_ptr().wrapping_add(at).cast_mut();
        let there = (
            slot.prefixed.load(Ordering::Acquire),
            slot.shape.load(Ordering::Relaxed),
        );
        Some(Text {
            prefixed: NonNull::new(select_unpredictable(here, prefixed, there.0))?,
            shape: Shape(select_unpredictable(here, shape.0, there.1)),
            buffer: PhantomData,
        })
    }

    /// Bytes that it can hold without growing.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes in use.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - SLACK
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

/// Cuts what is longer than a [`Shape`] can say.
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
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch a byte is what it avoids"
)]
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
