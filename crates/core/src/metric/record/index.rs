//! Which bucket of an exponential histogram a value falls into: without a logarithm, two loads and a comparison.
//!
//! At scale 6 bucket `i` holds what is above `2^(i/64)` and up to `2^((i+1)/64)`, as OpenTelemetry has it. Values of one
//! bucket differ by 1.09 %, so that its [middle](middle) is at most 0.54 % off.

/// The finest scale that is used.
pub(super) const MAX_SCALE: u8 = 6;
/// Buckets of an octave (from one power of two to the next) at that scale.
pub(super) const OCTAVE: usize = 1 << MAX_SCALE;
const OCTAVE_I32: i32 = 1 << MAX_SCALE;

const MANTISSA_BITS: u32 = 52;
const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
const EXPONENT_BIAS: i32 = 1023;
/// The bits of the smallest double that is stored with full precision: what is nearer to zero counts as zero.
pub(super) const MIN_BITS: u64 = 1 << MANTISSA_BITS;
/// The bits of infinity.
pub(super) const INFINITY_BITS: u64 = 0x7ff << MANTISSA_BITS;

/// Mantissas of `2^(k/64)`, rounded down.
const BOUNDS: [u64; OCTAVE + 1] = [
    0x0_0000_0000_0000,
    0x0_2c9a_3e77_8060,
    0x0_59b0_d315_8574,
    0x0_8745_1875_9bc8,
    0x0_b558_6cf9_890f,
    0x0_e3ec_32d3_d1a2,
    0x1_1301_d012_5b50,
    0x1_429a_aea9_2ddf,
    0x1_72b8_3c7d_517a,
    0x1_a35b_eb6f_cb75,
    0x1_d487_3168_b9aa,
    0x2_063b_8862_8cd6,
    0x2_387a_6e75_6238,
    0x2_6b45_65e2_7cdd,
    0x2_9e9d_f51f_dee1,
    0x2_d285_a6e4_030b,
    0x3_06fe_0a31_b715,
    0x3_3c08_b264_16ff,
    0x3_71a7_373a_a9ca,
    0x3_a7db_34e5_9ff6,
    0x3_dea6_4c12_3422,
    0x4_160a_21f7_2e29,
    0x4_4e08_6061_892d,
    0x4_86a2_b5c1_3cd0,
    0x4_bfda_d536_2a27,
    0x4_f9b2_769d_2ca6,
    0x5_342b_569d_4f81,
    0x5_6f47_36b5_27da,
    0x5_ab07_dd48_5429,
    0x5_e76f_15ad_2148,
    0x6_247e_b03a_5584,
    0x6_6238_8255_2224,
    0x6_a09e_667f_3bcc,
    0x6_dfb2_3c65_1a2e,
    0x7_1f75_e8ec_5f73,
    0x7_5feb_5642_67c8,
    0x7_a114_73eb_0186,
    0x7_e2f3_36cf_4e62,
    0x8_2589_994c_ce12,
    0x8_68d9_9b44_92ec,
    0x8_ace5_422a_a0db,
    0x8_f1ae_9915_7736,
    0x9_3737_b0cd_c5e4,
    0x9_7d82_9fde_4e4f,
    0x9_c491_82a3_f090,
    0xa_0c66_7b5d_e564,
    0xa_5503_b23e_255c,
    0xa_9e6b_5579_fdbf,
    0xa_e89f_995a_d3ad,
    0xb_33a2_b84f_15fa,
    0xb_7f76_f2fb_5e46,
    0xb_cc1e_904b_c1d2,
    0xc_199b_dd85_529c,
    0xc_67f1_2e57_d14b,
    0xc_b720_dcef_9069,
    0xd_072d_4a07_897b,
    0xd_5818_dcfb_a487,
    0xd_a9e6_03db_3285,
    0xd_fc97_337b_9b5e,
    0xe_502e_e78b_3ff6,
    0xe_a4af_a2a4_90d9,
    0xe_fa1b_ee61_5a27,
    0xf_5076_5b6e_4540,
    0xf_a7c1_819e_90d8,
    0x10_0000_0000_0000,
];

/// Pieces of an octave, each with at most one bound inside.
const PIECE_BITS: u32 = 7;
/// The last bound at or below the start of each piece.
const BELOW_PIECE: [u8; 1 << PIECE_BITS] = bounds_below_pieces();

const fn bounds_below_pieces() -> [u8; 1 << PIECE_BITS] {
    let mut below = [0; 1 << PIECE_BITS];
    let mut bound: u8 = 0;
    let mut piece = 0;
    while piece < below.len() {
        let start = (piece as u64) << (MANTISSA_BITS - PIECE_BITS);
        while BOUNDS[bound as usize + 1] <= start {
            bound += 1;
        }
        below[piece] = bound;
        piece += 1;
    }
    below
}

/// The bucket, at the finest scale, of the positive double with these bits, between [`MIN_BITS`] and [`INFINITY_BITS`].
#[inline]
pub(super) fn bucket(bits: u64) -> i32 {
    // A power of two is the upper bound of the bucket below it, which one less falls into. No other bound is a double.
    let bits = bits - 1;
    let exponent = (bits >> MANTISSA_BITS) as i32 - EXPONENT_BIAS;
    let mantissa = bits & MANTISSA;
    let below = BELOW_PIECE[(mantissa >> (MANTISSA_BITS - PIECE_BITS)) as usize];
    let is_past_next = mantissa >= BOUNDS[usize::from(below) + 1];
    exponent * OCTAVE_I32 + i32::from(below) + i32::from(is_past_next)
}

/// From a bucket's lower bound to its middle, at the finest scale: `2b / (1 + b)` for `b = 2^(1/64)`.
const TO_MIDDLE: f64 = 1.005_415_159_415_902_6;

/// The value that is least wrong for what fell into `bucket` at `scale`.
#[inline]
pub(super) fn middle(bucket: i32, scale: i32) -> f64 {
    let exponent = i64::from((bucket >> MAX_SCALE) + EXPONENT_BIAS);
    if scale == i32::from(MAX_SCALE) && exponent > 0 {
        #[expect(clippy::cast_sign_loss, reason = "only the last six bits count")]
        let mantissa = BOUNDS[bucket as usize % OCTAVE];
        let low = f64::from_bits(exponent.cast_unsigned() << MANTISSA_BITS | mantissa);
        return low * TO_MIDDLE;
    }
    let step = (f64::from(-scale)).exp2();
    let (low, base) = ((f64::from(bucket) * step).exp2(), step.exp2());
    // As far from the lower bound as from the upper, relative to each.
    low * (2.0 * base / (1.0 + base))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_are_the_powers_of_the_base() {
        for (k, &bound) in BOUNDS.iter().enumerate() {
            let exact = (f64::from(u8::try_from(k).unwrap()) / 64.0).exp2() - 1.0;
            #[expect(clippy::cast_precision_loss, reason = "52 bits")]
            let off = (bound as f64 - exact * 2_f64.powi(52)).abs();
            assert!(off <= 2.0, "{k}: {off}");
        }
    }

    #[test]
    fn powers_of_two_are_upper_bounds() {
        for exponent in -1022..=1023 {
            let value = 2_f64.powi(exponent);
            if exponent > -1022 {
                assert_eq!(bucket(value.to_bits()), exponent * 64 - 1);
            }
            assert_eq!(bucket(value.to_bits() + 1), exponent * 64);
        }
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_near_its_middle(bits in MIN_BITS + 1..INFINITY_BITS) {
            let value = f64::from_bits(bits);
            let bucket = bucket(bits);
            let logarithm = value.log2() * 64.0;
            prop_assert!(f64::from(bucket) <= logarithm + 1e-9 && logarithm <= f64::from(bucket + 1) + 1e-9);
            let off = middle(bucket, 6) / value - 1.0;
            let computed = (f64::from(bucket) / 64.0 + 0.5 / 64.0).exp2();
            prop_assert!((middle(bucket, 6) / computed - 1.0).abs() < 0.000_1);
            prop_assert!(off.abs() < 0.005_42, "{off}");
        }
    }
}
