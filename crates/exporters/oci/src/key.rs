//! Private keys: PEM in, signatures out. No text made here holds any part of a key.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::config::{ConfigError, Secret};
use md5::{Digest, Md5};
use pem::Pem;
use pkcs8::EncryptedPrivateKeyInfoRef;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use zeroize::Zeroizing;

mod session;
mod traditional;

pub(crate) use session::generate;

/// An RSA key that signs. Clones are the same key.
#[derive(Clone)]
pub(crate) struct SigningKey(Arc<KeyPair>);

/// What a file of a key may hold before OpenSSL's own word for it.
const TOO_LONG: usize = 64 << 10;

impl SigningKey {
    /// The key in `text`, which was found at `place`: PKCS#8 or PKCS#1, either of them protected by `passphrase` or not.
    pub(crate) fn from_pem(
        place: &str,
        text: &[u8],
        passphrase: Option<&Secret>,
    ) -> Result<Self, ConfigError> {
        let broken = || wrong(place, "is no PEM file", KEY_FIX);
        if text.len() > TOO_LONG {
            return Err(broken());
        }
        // The parser's own errors may show lines of the file.
        let blocks = pem::parse_many(text).map_err(|_| broken())?;
        let block = blocks
            .iter()
            .find(|block| block.tag().ends_with("PRIVATE KEY"))
            .ok_or_else(|| no_private_key(place, &blocks))?;
        match block.tag() {
            "PRIVATE KEY" => Self::from_pkcs8(place, block.contents()),
            "ENCRYPTED PRIVATE KEY" => Self::from_encrypted(place, block.contents(), passphrase),
            "RSA PRIVATE KEY" => Self::from_pkcs1(place, block, passphrase),
            other => {
                let what = format!("holds a key of kind `{}`", other.escape_debug());
                Err(wrong(place, &what, KEY_FIX))
            }
        }
    }

    fn from_pkcs8(place: &str, der: &[u8]) -> Result<Self, ConfigError> {
        let pair = KeyPair::from_pkcs8(der);
        pair.map(|pair| Self(Arc::new(pair)))
            .map_err(|refused| unusable(place, &refused))
    }

    fn from_encrypted(
        place: &str,
        der: &[u8],
        passphrase: Option<&Secret>,
    ) -> Result<Self, ConfigError> {
        let passphrase = passphrase.ok_or_else(|| no_passphrase(place))?;
        let unknown = || {
            wrong(
                place,
                "is protected in a way that is not known here",
                CONVERT,
            )
        };
        let protected = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unknown())?;
        if protected.encryption_algorithm.pbes2().is_none() {
            return Err(unknown());
        }
        let plain = protected
            .decrypt(passphrase.expose())
            .map_err(|error| match error {
                pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) => {
                    wrong_passphrase(place)
                }
                _ => unknown(),
            })?;
        Self::from_pkcs8(place, plain.as_bytes())
    }

    fn from_pkcs1(
        place: &str,
        block: &Pem,
        passphrase: Option<&Secret>,
    ) -> Result<Self, ConfigError> {
        let Some(protection) = traditional::protection(block) else {
            return Self::from_pkcs1_der(place, block.contents());
        };
        let passphrase = passphrase.ok_or_else(|| no_passphrase(place))?;
        let Some(cipher) = traditional::Cipher::named(protection) else {
            let what = format!("is protected by `{}`", protection.escape_debug());
            return Err(wrong(place, &what, CONVERT));
        };
        let plain: Zeroizing<Vec<u8>> = cipher
            .decrypt(block.contents(), passphrase.expose().as_bytes())
            .ok_or_else(|| wrong_passphrase(place))?;
        // One wrong passphrase in 256 leaves padding that looks right.
        if plain.first() != Some(&0x30) {
            return Err(wrong_passphrase(place));
        }
        Self::from_pkcs1_der(place, &plain)
    }

    fn from_pkcs1_der(place: &str, der: &[u8]) -> Result<Self, ConfigError> {
        let pair = KeyPair::from_der(der);
        pair.map(|pair| Self(Arc::new(pair)))
            .map_err(|refused| unusable(place, &refused))
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 of `text`, in base64; `None` where the system has no randomness for the blinding.
    pub(crate) fn sign(&self, text: &[u8]) -> Option<String> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                text,
                &mut signature,
            )
            .ok()?;
        Some(BASE64_STANDARD.encode(signature))
    }

    /// The public half as `SubjectPublicKeyInfo`, in DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        const RSA_ENCRYPTION: &[u8] = &[
            0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05,
            0x00,
        ];
        let key = self.0.public_key().as_ref();
        let bits = session::tagged(0x03, &[&[0][..], key].concat());
        session::tagged(0x30, &[RSA_ENCRYPTION, &bits].concat())
    }

    /// MD5 of the public half, as the console shows it: `20:3b:97:...`.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = Md5::digest(self.public_key());
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(":")
    }
}

/// By hand: not even its public half is anybody's business.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const KEY_FIX: &str = "name the PEM file of an RSA private key of 2048 bits or more";
const CONVERT: &str = "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW";

fn wrong(place: &str, what: &str, fix: &str) -> ConfigError {
    ConfigError::new(place, format!("the key {what}"), fix)
}

fn no_private_key(place: &str, blocks: &[Pem]) -> ConfigError {
    let is_public = |block: &Pem| block.tag().ends_with("PUBLIC KEY");
    if blocks.iter().any(is_public) {
        return wrong(
            place,
            "is the public half",
            "name the file of the private half",
        );
    }
    wrong(place, "is no PEM file of a private key", KEY_FIX)
}

fn no_passphrase(place: &str) -> ConfigError {
    let fix = "give pass_phrase in the profile, or OCI_CLI_PASSPHRASE";
    wrong(
        place,
        "is protected by a passphrase, and there is none",
        fix,
    )
}

fn wrong_passphrase(place: &str) -> ConfigError {
    let fix = "check pass_phrase in the profile, or OCI_CLI_PASSPHRASE";
    wrong(
        place,
        "does not open with the passphrase that is given",
        fix,
    )
}

fn unusable(place: &str, refused: &ring::error::KeyRejected) -> ConfigError {
    wrong(place, &format!("cannot be used ({refused})"), KEY_FIX)
}

#[cfg(test)]
mod tests;
