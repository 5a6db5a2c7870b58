//! What a [`Writer`](super::Writer) writes: bytes, numbers and texts, and tuples of them.

use std::hint::select_unpredictable;
use std::ptr;

use super::digits::{eight_decimals, eight_hex_digits};
use super::text::Text;
use super::{MAX_VARINT_BYTES, SLACK, varint_len};

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

/// A protobuf varint.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Varint(pub u64);

/// A [`Varint`] or a [`Fixed64`], written without a branch: for values whose kind and length nobody can guess.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and its form")]
pub struct VarintOrFixed64 {
    /// The number.
    pub value: u64,
    /// True for a [`Fixed64`].
    pub fixed: bool,
}

impl VarintOrFixed64 {
    /// Bytes that it takes; never none.
    #[inline(always)]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a number takes at least a byte"
    )]
    pub fn len(&self) -> usize {
        select_unpredictable(self.fixed, 8, varint_len(self.value))
    }
}

/// Eight bytes, little-endian: a protobuf `fixed64` or `double`.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Fixed64(pub u64);

/// Four bytes, little-endian: a protobuf `fixed32`.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Fixed32(pub u32);

/// A text behind its length: the value of a protobuf `string` field.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a text and nothing else")]
pub struct Prefixed<'a>(pub Text<'a>);

/// A text as it stands between the quotes of JSON.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a text and nothing else")]
pub struct JsonText<'a>(pub Text<'a>);

/// Any other text as it stands between the quotes of JSON.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a text and nothing else")]
pub struct JsonStr<'a>(pub &'a str);

/// A number in decimal.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Decimal(pub u64);

/// A number in decimal, with a minus if need be.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct SignedDecimal(pub i64);

/// A number as sixteen lower-case hex digits.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Hex(pub u64);

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

// SAFETY: at most ten bytes.
unsafe impl Piece for Varint {
    #[inline(always)]
    fn max_len(&self) -> usize {
        MAX_VARINT_BYTES
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low seven bits are meant"
    )]
    unsafe fn write(self, mut to: *mut u8) -> *mut u8 {
        let mut value = self.0;
        // SAFETY: by the caller's promise.
        unsafe {
            while value >= 0x80 {
                *to = value as u8 | 0x80;
                to = to.add(1);
                value >>= 7;
            }
            *to = value as u8;
            to.add(1)
        }
    }
}

// SAFETY: as its two forms; of a varint up to eight bytes the rest is slack.
unsafe impl Piece for VarintOrFixed64 {
    #[inline(always)]
    fn max_len(&self) -> usize {
        MAX_VARINT_BYTES
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        let len = self.len();
        // SAFETY: by the caller's promise.
        unsafe {
            if len > 8 {
                return Varint(self.value).write(to);
            }
            let varint = short_varint(self.value, len);
            Fixed64(select_unpredictable(self.fixed, self.value, varint)).write(to);
            to.add(len)
        }
    }
}

/// The bytes of a varint of `len` bytes, at most eight, the first byte lowest.
///
/// Spreads 56 bits over eight bytes of seven, by halves, quarters and eighths.
#[inline(always)]
fn short_varint(value: u64, len: usize) -> u64 {
    let halves = value & 0x0fff_ffff | value << 4 & 0x0fff_ffff_0000_0000;
    let quarters = halves & 0x0000_3fff_0000_3fff | halves << 2 & 0x3fff_0000_3fff_0000;
    let sevens = quarters & 0x007f_007f_007f_007f | quarters << 1 & 0x7f00_7f00_7f00_7f00;
    let more_follow = 0x8080_8080_8080_8080 >> (64 - 8 * len) >> 8;
    sevens | more_follow
}

// SAFETY: eight bytes.
unsafe impl Piece for Fixed64 {
    #[inline(always)]
    fn max_len(&self) -> usize {
        8
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { self.0.to_le_bytes().write(to) }
    }
}

// SAFETY: four bytes.
unsafe impl Piece for Fixed32 {
    #[inline(always)]
    fn max_len(&self) -> usize {
        4
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { self.0.to_le_bytes().write(to) }
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

// SAFETY: 2^64 has 20 digits; they are written in blocks of eight.
unsafe impl Piece for Decimal {
    #[inline(always)]
    fn max_len(&self) -> usize {
        20
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        const BLOCK: u64 = 100_000_000;
        let (rest, low) = (self.0 / BLOCK, self.0 % BLOCK);
        // SAFETY: at most 24 bytes are touched; the rest by the caller's promise.
        unsafe {
            if rest == 0 {
                return write_leading(low, to);
            }
            let (high, middle) = (rest / BLOCK, rest % BLOCK);
            let to = if high == 0 {
                write_leading(middle, to)
            } else {
                let to = write_leading(high, to);
                eight_decimals(middle).write(to)
            };
            eight_decimals(low).write(to)
        }
    }
}

// SAFETY: a sign and 19 digits.
unsafe impl Piece for SignedDecimal {
    #[inline(always)]
    fn max_len(&self) -> usize {
        21
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise. The sign is written in any case and counted when it is one.
        unsafe {
            *to = b'-';
            Decimal(self.0.unsigned_abs()).write(to.add(usize::from(self.0 < 0)))
        }
    }
}

// SAFETY: sixteen bytes.
unsafe impl Piece for Hex {
    #[inline(always)]
    fn max_len(&self) -> usize {
        16
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "both halves are written")]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe {
            let to = eight_hex_digits((self.0 >> 32) as u32).write(to);
            eight_hex_digits(self.0 as u32).write(to)
        }
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

/// Writes a number below 10^8 without leading zeros.
///
/// # Safety
/// Eight bytes are writable at `to`.
#[inline(always)]
unsafe fn write_leading(number: u64, to: *mut u8) -> *mut u8 {
    let digits = u64::from_le_bytes(eight_decimals(number));
    let nonzero = digits ^ 0x3030_3030_3030_3030;
    let zeros = (nonzero.trailing_zeros() / 8).min(7);
    // SAFETY: by the caller's promise.
    unsafe {
        (digits >> (zeros * 8)).to_le_bytes().write(to);
        to.add(8 - zeros as usize)
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
    use super::super::Writer;
    use super::super::text::TextBuf;
    use super::*;

    fn written(piece: impl Piece) -> Vec<u8> {
        let mut out = Vec::new();
        Writer::new(&mut out).put(piece);
        assert!(out.len() <= piece.max_len(), "a piece broke its promise");
        out
    }

    /// Numbers at and around every power of two and ten.
    fn numbers() -> Vec<u64> {
        let twos = (0..64).map(|shift| 1_u64 << shift);
        let tens = (0..20).map(|power| 10_u64.pow(power));
        twos.chain(tens)
            .flat_map(|n| [n.wrapping_sub(1), n, n.wrapping_add(1), n.wrapping_mul(9)])
            .chain([u64::MAX, 1_700_000_000_123_456_789])
            .collect()
    }

    #[test]
    fn a_varint_takes_the_length_foretold_and_reads_back() {
        for number in numbers() {
            let bytes = written(Varint(number));
            assert_eq!(bytes.len(), varint_len(number), "{number}");
            let read = bytes
                .iter()
                .rev()
                .fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
            assert_eq!(read, number);
            let fixed = |fixed| VarintOrFixed64 {
                value: number,
                fixed,
            };
            assert_eq!(written(fixed(false)), bytes);
            assert_eq!(written(fixed(true)), number.to_le_bytes());
        }
    }

    #[test]
    fn numbers_print_as_the_standard_library_prints_them() {
        for number in numbers() {
            assert_eq!(written(Decimal(number)), number.to_string().as_bytes());
            assert_eq!(written(Hex(number)), format!("{number:016x}").as_bytes());
            for signed in [number.cast_signed(), number.cast_signed().wrapping_neg()] {
                let text = signed.to_string();
                assert_eq!(written(SignedDecimal(signed)), text.as_bytes());
            }
        }
    }

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
