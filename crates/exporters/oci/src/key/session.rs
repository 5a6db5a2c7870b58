//! Keys of our own making, which sign as long as a token lives that names them.

use std::sync::Arc;

use crypto_bigint::{NonZero, Odd, U1024, U2048};
use crypto_primes::{Flavor, random_prime};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use ring::rsa::KeyPair;
use zeroize::Zeroizing;

use super::SigningKey;

const PUBLIC_EXPONENT: u32 = 65_537;

/// A new RSA key of 2048 bits. `None` when the system has no randomness, or our arithmetic does not satisfy ring.
pub(crate) fn generate() -> Option<SigningKey> {
    // The generator below panics where there is none.
    getrandom::u32().ok()?;
    let der = loop {
        let (p, q) = (prime(), prime());
        if let Some(der) = private_key(p.max(q), p.min(q)) {
            break der;
        }
    };
    let pair = KeyPair::from_der(&der).ok()?;
    Some(SigningKey(Arc::new(pair)))
}

/// The two top bits are set, so that the product of two has 2048 bits.
fn prime() -> U1024 {
    loop {
        let prime: U1024 = random_prime(&mut UnwrapErr(SysRng), Flavor::Any, 1024);
        if prime.bit_vartime(1022) {
            return prime;
        }
    }
}

/// `RSAPrivateKey` of PKCS#1. `None` when these primes make no key.
fn private_key(p: U1024, q: U1024) -> Option<Zeroizing<Vec<u8>>> {
    let one = U1024::ONE;
    let (p_less, q_less) = (p.wrapping_sub(&one), q.wrapping_sub(&one));
    let modulus: U2048 = p.concatenating_mul(&q);
    let totient: U2048 = p_less.concatenating_mul(&q_less);
    let exponent = U2048::from_u32(PUBLIC_EXPONENT);
    let private: U2048 = Option::from(exponent.invert_mod(&nonzero(totient)?))?;
    let of = |less: U1024| -> Option<U1024> {
        let wide: U2048 = less.concat(&U1024::ZERO);
        let (low, _) = private.rem_vartime(&nonzero(wide)?).split();
        Some(low)
    };
    let modulo_p: Odd<U1024> = Option::from(Odd::new(p))?;
    let coefficient: U1024 = Option::from(q.invert_odd_mod(&modulo_p))?;
    let numbers = [
        integer(&[0]),
        integer(&modulus.to_be_bytes()),
        integer(&PUBLIC_EXPONENT.to_be_bytes()),
        integer(&private.to_be_bytes()),
        integer(&p.to_be_bytes()),
        integer(&q.to_be_bytes()),
        integer(&of(p_less)?.to_be_bytes()),
        integer(&of(q_less)?.to_be_bytes()),
        integer(&coefficient.to_be_bytes()),
    ];
    let content: Zeroizing<Vec<u8>> = Zeroizing::new(numbers.concat());
    Some(Zeroizing::new(tagged(0x30, &content)))
}

fn nonzero(number: U2048) -> Option<NonZero<U2048>> {
    Option::from(NonZero::new(number))
}

/// `INTEGER` of DER, without needless zeros.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zeros.min(bytes.len() - 1)..];
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    tagged(0x02, &[sign, digits].concat())
}

/// A tag of DER, the length of `content`, and that.
pub(super) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits = &length[zeros..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        // At most eight digits.
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
    }
    out.extend_from_slice(if content.is_empty() { &[0] } else { digits });
    out.extend_from_slice(content);
    out
}
