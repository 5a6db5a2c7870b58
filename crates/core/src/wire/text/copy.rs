//! Copies of texts, which find on the way whether JSON must escape a byte.

/// Copies `text` to the start of `room` and says whether JSON must escape a byte of it.
pub(super) fn copy(text: &[u8], room: &mut [u8]) -> bool {
    let room = &mut room[..text.len()];
    if text.len() <= SHORT {
        return copy_short(text, room);
    }
    room.copy_from_slice(text);
    let (words, _) = text.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| {
        found | word_needs_escape(u64::from_ne_bytes(*word))
    });
    // The last eight bytes, some of which have been looked at.
    let last = text
        .last_chunk::<8>()
        .map_or(SPACES, |last| u64::from_ne_bytes(*last));
    (found | word_needs_escape(last)) != 0
}

/// Texts that are copied in words, the last of which may overlap the one before.
pub(super) const SHORT: usize = 16;

/// The same for at most [`SHORT`] bytes; `room` is as long. Nothing is read back that was written in smaller pieces: that would
/// wait for the writes.
#[inline(always)]
pub(super) fn copy_short(text: &[u8], room: &mut [u8]) -> bool {
    let len = text.len();
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        room[..8].copy_from_slice(first);
        room[len - 8..].copy_from_slice(last);
        let (first, last) = (u64::from_ne_bytes(*first), u64::from_ne_bytes(*last));
        return (word_needs_escape(first) | word_needs_escape(last)) != 0;
    }
    let word = if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>())
    {
        room[..4].copy_from_slice(first);
        room[len - 4..].copy_from_slice(last);
        u64::from(u32::from_ne_bytes(*first)) | u64::from(u32::from_ne_bytes(*last)) << 32
    } else {
        let (Some(&first), Some(&last)) = (text.first(), text.last()) else {
            return false;
        };
        let middle = text[len / 2];
        room[len / 2] = middle;
        room[0] = first;
        room[len - 1] = last;
        SPACES << 24 | u64::from(first) | u64::from(middle) << 8 | u64::from(last) << 16
    };
    word_needs_escape(word) != 0
}

/// What needs no escape.
const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);

/// Not zero when a byte of `word` is a control character, a quotation mark or a backslash.
#[inline]
fn word_needs_escape(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES * 0x80;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & TOPS
}

/// Puts `value` at the start of `out`, returns the bytes it takes.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low seven bits are meant"
)]
pub(super) fn put_varint(out: &mut [u8], mut value: u64) -> usize {
    let mut len = 0;
    while value >= 0x80 {
        out[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    out[len] = value as u8;
    len + 1
}
