//! Text that carries its length prefix before and slack behind, so that it is copied in whole blocks.

use std::fmt;
use std::hint::select_unpredictable;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::{MAX_VARINT_BYTES, SLACK, varint_len};

mod copy;

use copy::{SHORT, copy, copy_short, put_varint};

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
    #[inline(always)]
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

    /// Its last eight bytes, the first of them lowest: a quick look at what it may be. Those of a shorter text come first, and any
    /// others behind them.
    #[inline(always)]
    pub fn tail(&self) -> u64 {
        // SAFETY: the eight bytes begin inside the text or at its end, and `SLACK` readable bytes stand behind it.
        let bytes = unsafe {
            let start = self.prefixed.add(self.shape.prefix_len());
            start
                .add(self.len().saturating_sub(8))
                .cast::<[u8; 8]>()
                .read_unaligned()
        };
        u64::from_le_bytes(bytes)
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
    /// Texts, then room that was written to before: what stands in it is of no account. Once there is a text, at least
    /// `used + SLACK` bytes.
    bytes: Vec<u8>,
    used: usize,
}

impl TextBuf {
    /// An empty store; allocates nothing.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// Appends `text`. Returns `None` when the store has reached 4 GiB.
    #[inline]
    pub(crate) fn push(&mut self, text: &str) -> Option<TextAt> {
        self.push_short(text).or_else(|| self.push_any(text))
    }

    /// The same for a short text that there is room for, else `None`.
    #[inline(always)]
    pub(crate) fn push_short(&mut self, text: &str) -> Option<TextAt> {
        let (text, at) = (text.as_bytes(), self.used);
        let len = text.len();
        let room = self.bytes.get_mut(at..)?;
        if len > SHORT || room.len() < 1 + len + SLACK {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "short")]
        {
            room[0] = len as u8;
        }
        let needs_escape = copy_short(text, &mut room[1..=len]);
        self.used = at + 1 + len;
        Some(TextAt::new(at, Shape::new(len, needs_escape)))
    }

    #[inline(never)]
    fn push_any(&mut self, text: &str) -> Option<TextAt> {
        let text = cut(text).as_bytes();
        let at = self.used;
        let needed = at + MAX_VARINT_BYTES + text.len() + SLACK;
        if needed > self.bytes.len() {
            self.make_room(needed)?;
        }
        let room = &mut self.bytes[at..];
        let prefix_len = put_varint(room, text.len() as u64);
        let needs_escape = copy(text, &mut room[prefix_len..]);
        self.used = at + prefix_len + text.len();
        let shape = Shape::new(text.len(), needs_escape);
        Some(TextAt::new(at, shape))
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, needed: usize) -> Option<()> {
        const FIRST_BYTES: usize = 256;
        if needed > u32::MAX as usize {
            return None;
        }
        let doubled = (2 * self.bytes.len()).min(u32::MAX as usize);
        let bytes = needed.max(doubled).max(FIRST_BYTES);
        self.bytes.resize(bytes, 0);
        Some(())
    }

    /// The text at `place`.
    ///
    /// # Panics
    /// When `place` comes from another buffer and lies outside this one.
    #[inline(always)]
    pub(crate) fn text(&self, place: TextAt) -> Text<'_> {
        let (at, shape) = (place.at(), place.shape());
        assert!(
            at + shape.prefixed_len() <= self.used,
            "text lies outside its buffer"
        );
        // SAFETY: just checked, and slack follows what is used; the vector's bytes are not null.
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
        let needed = select_unpredictable(here, at + shape.prefixed_len(), 0);
        assert!(needed <= self.used, "text lies outside its buffer");
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
        self.used
    }

    /// Forgets all texts, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
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
    fn texts_of_every_length_stay_what_they_were_and_know_each_byte_that_needs_an_escape() {
        let mut buffer = TextBuf::new();
        let mut expected = Vec::new();
        for len in 0..80 {
            let plain: String = ('a'..='z').cycle().take(len).collect();
            for (odd, escape) in [
                (' ', false),
                ('~', false),
                ('\x7f', false),
                ('!', false),
                ('"', true),
                ('\\', true),
                ('\x1f', true),
                ('\0', true),
            ] {
                for at in 0..len {
                    let text: String = plain
                        .chars()
                        .enumerate()
                        .map(|(i, c)| if i == at { odd } else { c })
                        .collect();
                    expected.push((buffer.push(&text).unwrap(), text, escape));
                    let slack = buffer.bytes.len() - buffer.used;
                    assert!(slack >= SLACK, "encoders read whole blocks");
                }
            }
            let unicode: String = "é".repeat(len / 2);
            expected.push((buffer.push(&unicode).unwrap(), unicode, false));
        }
        for (place, text, escape) in expected {
            assert_eq!(buffer.text(place).as_str(), text);
            assert_eq!(buffer.text(place).needs_escape(), escape, "{text:?}");
        }
    }

    #[test]
    fn a_cleared_buffer_is_filled_again_in_its_memory() {
        let mut buffer = TextBuf::new();
        buffer.push(&"x".repeat(1_000)).unwrap();
        let capacity = buffer.capacity();
        buffer.clear();
        assert_eq!(buffer.len(), 0);
        let place = buffer.push(&"y".repeat(300)).unwrap();
        assert_eq!(buffer.text(place).as_str(), "y".repeat(300));
        assert_eq!(buffer.capacity(), capacity);
    }

    #[test]
    fn the_tail_is_the_last_eight_bytes_or_begins_with_all_there_are() {
        let mut buffer = TextBuf::new();
        let texts = ["", "s", "tags", "eightbyt", "eightbytes", "aäöü€𝄞"];
        let places = texts.map(|text| buffer.push(text).unwrap());
        for (text, place) in texts.iter().zip(places) {
            let last = &text.as_bytes()[text.len().saturating_sub(8)..];
            let tail = buffer.text(place).tail().to_le_bytes();
            assert_eq!(&tail[..last.len()], last, "{text}");
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
