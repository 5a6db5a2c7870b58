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

// SAFETY: the escaped length is counted exactly.
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

// SAFETY: the escaped length is counted exactly.
unsafe impl Piece for JsonStr<'_> {
    fn max_len(&self) -> usize {
        escaped_len(self.0.as_bytes())
    }

    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { write_escaped(self.0.as_bytes(), to) }
    }
}

/// How many bytes the text takes once JSON's escapes are in it.
#[cold]
#[inline(never)]
fn escaped_len(bytes: &[u8]) -> usize {
    bytes.iter().map(|&byte| escape(byte).len()).sum()
}

/// # Safety
/// [`escaped_len`] bytes are writable at `to`.
#[cold]
#[inline(never)]
unsafe fn write_escaped(bytes: &[u8], mut to: *mut u8) -> *mut u8 {
    for &byte in bytes {
        // SAFETY: by the caller's promise.
        to = unsafe {
            match escape(byte) {
                Escape::None => byte.write(to),
                Escape::Short(letter) => [b'\\', letter].write(to),
                Escape::Long => {
                    let digits = eight_hex_digits(u32::from(byte));
                    let to = b"\\u".write(to);
                    [digits[4], digits[5], digits[6], digits[7]].write(to)
                }
            }
        };
    }
    to
}

enum Escape {
    None,
    Short(u8),
    Long,
}

impl Escape {
    fn len(&self) -> usize {
        match self {
            Self::None => 1,
            Self::Short(_) => 2,
            Self::Long => 6,
        }
    }
}

fn escape(byte: u8) -> Escape {
    match byte {
        b'"' | b'\\' => Escape::Short(byte),
        b'\n' => Escape::Short(b'n'),
        b'\r' => Escape::Short(b'r'),
        b'\t' => Escape::Short(b't'),
        0..0x20 => Escape::Long,
        _ => Escape::None,
    }
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
