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
    let words = if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>())
    {
        room[..8].copy_from_slice(first);
        room[len - 8..].copy_from_slice(last);
        [u64::from_ne_bytes(*first), u64::from_ne_bytes(*last)]
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        room[..4].copy_from_slice(first);
        room[len - 4..].copy_from_slice(last);
        let (first, last) = (u32::from_ne_bytes(*first), u32::from_ne_bytes(*last));
        [u64::from(first) | u64::from(last) << 32, SPACES]
    } else {
        let (Some(&first), Some(&last)) = (text.first(), text.last()) else {
            return false;
        };
        let middle = text[len / 2];
        room[len / 2] = middle;
        room[0] = first;
        room[len - 1] = last;
        let word = u64::from(first) | u64::from(middle) << 8 | u64::from(last) << 16;
        [SPACES << 24 | word, SPACES]
    };
    words_need_escape(words)
}

/// Whether one of the words does.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn words_need_escape([first, last]: [u64; 2]) -> bool {
    (word_needs_escape(first) | word_needs_escape(last)) != 0
}

/// Whether one of the words does: both at once.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn words_need_escape(words: [u64; 2]) -> bool {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8,
    };
    let [first, last] = words.map(u64::cast_signed);
    // SAFETY: every x86-64 processor has SSE2.
    unsafe {
        let bytes = _mm_set_epi64x(last, first);
        let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()));
        let is_control = _mm_cmpeq_epi8(bytes, _mm_min_epu8(bytes, _mm_set1_epi8(0x1f)));
        let found = _mm_or_si128(is_control, _mm_or_si128(is(b'"'), is(b'\\')));
        _mm_movemask_epi8(found) != 0
    }
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
