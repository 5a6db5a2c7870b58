//! OpenSSL's own way of protecting PEM: `DEK-Info`, and a key of MD5. It is what `oci setup keys` writes.

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use des::TdesEde3;
use md5::{Digest, Md5};
use pem::Pem;
use zeroize::Zeroizing;

/// The value of `DEK-Info`, where the block is protected.
pub(super) fn protection(block: &Pem) -> Option<&str> {
    block.headers().get("DEK-Info")
}

/// A cipher and its initialization vector.
#[derive(Debug)]
pub(super) struct Cipher {
    kind: Kind,
    vector: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
}

impl Cipher {
    /// What `AES-256-CBC,506162AD68A526D59A7DB61AFC076136` names.
    pub(super) fn named(info: &str) -> Option<Self> {
        let (name, vector) = info.split_once(',')?;
        let kind = match name.trim() {
            "AES-128-CBC" => Kind::Aes128,
            "AES-192-CBC" => Kind::Aes192,
            "AES-256-CBC" => Kind::Aes256,
            "DES-EDE3-CBC" => Kind::TripleDes,
            _ => return None,
        };
        let vector = from_hex(vector.trim())?;
        (vector.len() == kind.block_bytes()).then_some(Self { kind, vector })
    }

    /// `None` when the passphrase does not open it.
    pub(super) fn decrypt(&self, bytes: &[u8], passphrase: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.key(passphrase);
        match self.kind {
            Kind::Aes128 => self.opened::<Decryptor<Aes128>>(bytes, &key),
            Kind::Aes192 => self.opened::<Decryptor<Aes192>>(bytes, &key),
            Kind::Aes256 => self.opened::<Decryptor<Aes256>>(bytes, &key),
            Kind::TripleDes => self.opened::<Decryptor<TdesEde3>>(bytes, &key),
        }
    }

    fn opened<C: BlockModeDecrypt + KeyIvInit>(
        &self,
        bytes: &[u8],
        key: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let cipher = C::new_from_slices(key, &self.vector).ok()?;
        let mut plain = Zeroizing::new(bytes.to_vec());
        let length = cipher.decrypt_padded::<Pkcs7>(&mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    /// OpenSSL's `EVP_BytesToKey` with MD5, one round, and the first half of the vector as salt.
    fn key(&self, passphrase: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(Vec::with_capacity(48));
        while key.len() < self.kind.key_bytes() {
            let last = key.len().saturating_sub(16);
            let mut digest = Md5::new();
            digest.update(&key[last..]);
            digest.update(passphrase);
            digest.update(&self.vector[..8]);
            key.extend_from_slice(&digest.finalize());
        }
        key.truncate(self.kind.key_bytes());
        key
    }
}

impl Kind {
    fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
        }
    }

    fn block_bytes(self) -> usize {
        match self {
            Self::TripleDes => 8,
            _ => 16,
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    let is_whole = pairs.remainder().is_empty();
    is_whole.then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
