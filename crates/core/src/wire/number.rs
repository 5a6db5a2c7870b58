//! Numbers as pieces: protobuf's forms, decimal and hex.

use std::hint::select_unpredictable;

use super::digits::{eight_decimals, eight_hex_digits};
use super::piece::{Piece, Word};
use super::{MAX_VARINT_BYTES, varint_len};

/// A protobuf varint.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Varint(pub u64);

/// A [`Varint`] of any length, written without a loop: for random ids, and for numbers whose length nobody can guess.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct LongVarint(pub u64);

impl LongVarint {
    /// A signed number, small ones of either sign short: thrift's zigzag.
    #[inline(always)]
    pub const fn zigzag(value: i64) -> Self {
        Self((value << 1 ^ value >> 63).cast_unsigned())
    }
}

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

/// A number in decimal.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Decimal(pub u64);

/// The last eight decimal digits of a number, zeros included.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct LastEightDigits(pub u64);

/// A number in decimal, with a minus if need be.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct SignedDecimal(pub i64);

/// A number as sixteen lower-case hex digits.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Hex(pub u64);

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

// SAFETY: at most ten bytes; of a short one the rest is slack.
unsafe impl Piece for LongVarint {
    #[inline(always)]
    fn max_len(&self) -> usize {
        MAX_VARINT_BYTES
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        let len = varint_len(self.0);
        // SAFETY: by the caller's promise.
        unsafe {
            if len <= 8 {
                short_varint(self.0, len).to_le_bytes().write(to);
                return to.add(len);
            }
            (sevens(self.0) | 0x8080_8080_8080_8080)
                .to_le_bytes()
                .write(to);
            let (ninth, tenth) = ((self.0 >> 56) as u8, (self.0 >> 63) as u8);
            [ninth, tenth].write(to.add(8));
            to.add(len)
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
    let more_follow = 0x8080_8080_8080_8080 >> (64 - 8 * len) >> 8;
    sevens(value) | more_follow
}

/// The lowest 56 bits, seven in each byte.
#[inline(always)]
fn sevens(value: u64) -> u64 {
    let halves = value & 0x0fff_ffff | value << 4 & 0x0fff_ffff_0000_0000;
    let quarters = halves & 0x0000_3fff_0000_3fff | halves << 2 & 0x3fff_0000_3fff_0000;
    quarters & 0x007f_007f_007f_007f | quarters << 1 & 0x7f00_7f00_7f00_7f00
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

// SAFETY: 2^64 has 20 digits; they are written in blocks of eight.
unsafe impl Piece for Decimal {
    #[inline(always)]
    fn max_len(&self) -> usize {
        20
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: at most 24 bytes are touched; the rest by the caller's promise.
        unsafe {
            if self.0 < BLOCK {
                return write_leading(self.0, to);
            }
            let (rest, low) = (self.0 / BLOCK, self.0 % BLOCK);
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

/// The first number of more than eight digits.
const BLOCK: u64 = 100_000_000;

// SAFETY: eight bytes.
unsafe impl Piece for LastEightDigits {
    #[inline(always)]
    fn max_len(&self) -> usize {
        8
    }

    #[inline(always)]
    unsafe fn write(self, to: *mut u8) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { eight_decimals(self.0 % 100_000_000).write(to) }
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
            if self.0.cast_unsigned() < BLOCK {
                return write_leading(self.0.cast_unsigned(), to);
            }
            *to = b'-';
            Decimal(self.0.unsigned_abs()).write(to.add(usize::from(self.0 < 0)))
        }
    }
}

impl Word {
    /// A number of at most eight digits in decimal, whose length is known before it is written; `None` for any other.
    #[inline(always)]
    pub fn decimal(number: u64) -> Option<Self> {
        let (digits, len) = (number < BLOCK).then(|| leading(number))?;
        Some(Self::first(digits.to_le_bytes(), len))
    }
}

/// The digits of a number below 10^8 without leading zeros, the first one lowest, and how many there are.
#[inline(always)]
fn leading(number: u64) -> (u64, usize) {
    let digits = u64::from_le_bytes(eight_decimals(number));
    let nonzero = digits ^ 0x3030_3030_3030_3030;
    let zeros = (nonzero.trailing_zeros() / 8).min(7);
    (digits >> (zeros * 8), 8 - zeros as usize)
}

/// Writes a number below 10^8 without leading zeros.
///
/// # Safety
/// Eight bytes are writable at `to`.
#[inline(always)]
unsafe fn write_leading(number: u64, to: *mut u8) -> *mut u8 {
    let (digits, len) = leading(number);
    // SAFETY: by the caller's promise.
    unsafe {
        digits.to_le_bytes().write(to);
        to.add(len)
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

#[cfg(test)]
mod tests {
    use super::super::piece::written;
    use super::*;

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
            assert_eq!(written(LongVarint(number)), bytes, "{number}");
            let signed = number.cast_signed();
            let zigzag = u128::from(signed.unsigned_abs()) * 2 - u128::from(signed < 0);
            assert_eq!(u128::from(LongVarint::zigzag(signed).0), zigzag, "{signed}");
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
            let short = Word::decimal(number).map(written);
            let is_short = number < 100_000_000;
            assert_eq!(short, is_short.then(|| number.to_string().into_bytes()));
            let last = format!("{:08}", number % 100_000_000);
            assert_eq!(written(LastEightDigits(number)), last.as_bytes());
            for signed in [number.cast_signed(), number.cast_signed().wrapping_neg()] {
                let text = signed.to_string();
                assert_eq!(written(SignedDecimal(signed)), text.as_bytes());
            }
        }
    }
}
