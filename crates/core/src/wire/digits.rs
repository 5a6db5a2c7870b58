//! Eight digits at a time, without a table or a branch.

/// The eight decimal digits of a number below 10^8, the first digit first.
///
/// Splits it in two by 10,000, each half in two by 100, each quarter in two by 10: four numbers in the lanes of one word.
#[inline(always)]
pub(super) fn eight_decimals(number: u64) -> [u8; 8] {
    let halves = (number / 10_000) | (number % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (quarters - tens * 10) << 8;
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The eight lower-case hex digits of a number, the first digit first.
#[inline(always)]
pub(super) fn eight_hex_digits(number: u32) -> [u8; 8] {
    let bytes = u64::from(number.swap_bytes());
    let pairs = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes >> 4 | bytes << 8) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    // 0x27 times, without a multiplication: two words are written at a time, and processors cannot multiply such pairs.
    let to_letters = (letters << 5) + (letters << 3) - letters;
    (nibbles + 0x3030_3030_3030_3030 + to_letters).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_of_the_standard_library() {
        // Each quarter of the word depends on one half of the number only.
        for half in 0..10_000 {
            for number in [half, half * 10_000, half * 10_000 + 9_999 - half] {
                assert_eq!(eight_decimals(number), format!("{number:08}").as_bytes());
            }
        }
    }

    #[test]
    fn hex_digits_are_those_of_the_standard_library() {
        for half in 0..=u32::from(u16::MAX) {
            for number in [half, half << 16, half << 16 | !half & 0xffff] {
                assert_eq!(eight_hex_digits(number), format!("{number:08x}").as_bytes());
            }
        }
    }
}
