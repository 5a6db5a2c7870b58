//! Texts as JSON has them.

use super::digits::eight_hex_digits;
use super::piece::Piece;
use super::text::Text;

/// A text as it stands between the quotes of JSON.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a text and nothing else")]
pub struct JsonText<'a>(pub Text<'a>);

/// Any other text as it stands between the quotes of JSON.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a text and nothing else")]
pub struct JsonStr<'a>(pub &'a str);

// SAFETY: the escaped length is not counted too short.
unsafe impl Piece for JsonText<'_> {
    #[inline(always)]
    fn max_len(&self) -> usize {
        if self.0.needs_escape() {
            escaped_len(self.0.as_bytes())
        } else {
            self.0.len()
        }
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe {
            if self.0.needs_escape() {
                write_escaped(self.0.as_bytes(), to)
            } else {
                self.0.write(to)
            }
        }
    }
}

// SAFETY: the escaped length is not counted too short.
unsafe impl Piece for JsonStr<'_> {
    fn max_len(&self) -> usize {
        escaped_len(self.0.as_bytes())
    }

    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { write_escaped(self.0.as_bytes(), to) }
    }
}

/// The most bytes that the text takes once JSON's escapes are in it. Counts without a branch, so that many bytes are looked at
/// at a time; a line break is counted as long as any control character.
#[cold]
#[inline(never)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a branch a byte is what it avoids"
)]
fn escaped_len(bytes: &[u8]) -> usize {
    let (mut controls, mut quotes) = (0, 0);
    for block in bytes.chunks(BLOCK_BYTES) {
        let (mut controls_here, mut quotes_here) = (0_u8, 0_u8);
        for &byte in block {
            controls_here += u8::from(byte < 0x20);
            quotes_here += u8::from((byte == b'"') | (byte == b'\\'));
        }
        controls += usize::from(controls_here);
        quotes += usize::from(quotes_here);
    }
    bytes.len() + quotes + 5 * controls
}

/// As many as a byte can count.
const BLOCK_BYTES: usize = 224;

/// Copies eight bytes at a time, up to the next one that must be escaped.
///
/// # Safety
/// [`escaped_len`] and [`SLACK`](super::SLACK) bytes are writable at `to`.
#[cold]
#[inline(never)]
unsafe fn write_escaped(bytes: &[u8], mut to: *mut u8) -> *mut u8 {
    let (words, last) = bytes.as_chunks::<8>();
    for word in words {
        // SAFETY: by the caller's promise.
        to = unsafe {
            match first_escape(u64::from_le_bytes(*word)) {
                8 => word.write(to),
                clean => {
                    word.write(to);
                    write_bytewise(&word[clean..], to.add(clean))
                }
            }
        };
    }
    // SAFETY: by the caller's promise.
    unsafe { write_bytewise(last, to) }
}

/// How many bytes come before the first that must be escaped: all eight where none must.
#[inline(always)]
fn first_escape(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // A byte's highest bit is set where it is zero; above the first such byte a borrow may set more.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (((quotes | controls) & HIGHS).trailing_zeros() / 8) as usize
}

/// # Safety
/// As [`write_escaped`].
unsafe fn write_bytewise(bytes: &[u8], mut to: *mut u8) -> *mut u8 {
    for &byte in bytes {
        let letter = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => 0,
        };
        // SAFETY: by the caller's promise.
        to = unsafe {
            if letter != 0 {
                [b'\\', letter].write(to)
            } else if byte < 0x20 {
                let digits = eight_hex_digits(u32::from(byte));
                let to = b"\\u".write(to);
                [digits[4], digits[5], digits[6], digits[7]].write(to)
            } else {
                byte.write(to)
            }
        };
    }
    to
}

#[cfg(test)]
mod tests {
    use super::super::piece::written;
    use super::super::text::TextBuf;
    use super::*;

    #[test]
    fn texts_are_escaped_as_serde_json_escapes_them() {
        let all: String = ('\0'..='\u{200}').chain("😀\u{2028}".chars()).collect();
        for text in ["", "plain", "say \"hi\"\n", "back\\slash", &all] {
            let expected = serde_json::to_string(text).unwrap();
            let mut buffer = TextBuf::new();
            let place = buffer.push(text).unwrap();
            for bytes in [
                written((b'"', JsonText(buffer.text(place)), b'"')),
                written((b'"', JsonStr(text), b'"')),
            ] {
                let read: String = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(read, text);
                assert!(bytes.len() <= expected.len() + 4 * 2, "longer than need be");
            }
        }
    }
}
