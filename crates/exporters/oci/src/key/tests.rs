#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;

/// Made by OpenSSL 3: `openssl genrsa`, `rsa -traditional`, `pkcs8 -topk8`; all of them the same key.
macro_rules! key {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/keys/", $name, ".pem"))
    };
}

/// `openssl rsa -pubin -in public.pem -outform DER | openssl md5 -c`
const FINGERPRINT: &str = "34:18:95:53:19:b8:e0:6d:0e:97:85:a7:86:06:d1:25";

const PROTECTED: [(&str, &[u8]); 8] = [
    ("traditional_aes128", key!("traditional_aes128")),
    ("traditional_aes192", key!("traditional_aes192")),
    ("traditional_aes256", key!("traditional_aes256")),
    ("traditional_des3", key!("traditional_des3")),
    ("pkcs8_aes256", key!("pkcs8_aes256")),
    ("pkcs8_aes128_sha1", key!("pkcs8_aes128_sha1")),
    ("pkcs8_des3", key!("pkcs8_des3")),
    ("pkcs8_scrypt", key!("pkcs8_scrypt")),
];

fn passphrase() -> Secret {
    Secret::new("open-sesame")
}

#[test]
fn a_key_is_read_in_each_form_that_openssl_writes() {
    for plain in [
        &key!("plain_pkcs8")[..],
        key!("plain_pkcs1"),
        key!("labelled"),
    ] {
        let key = SigningKey::from_pem("key_file", plain, None).unwrap();
        assert_eq!(key.fingerprint(), FINGERPRINT);
        // The profile DEFAULT may have one for another key.
        let key = SigningKey::from_pem("key_file", plain, Some(&passphrase())).unwrap();
        assert_eq!(key.fingerprint(), FINGERPRINT);
    }
    for (name, protected) in PROTECTED {
        let key = SigningKey::from_pem("key_file", protected, Some(&passphrase()));
        assert_eq!(key.unwrap().fingerprint(), FINGERPRINT, "{name}");
    }
}

#[test]
fn the_public_half_is_what_openssl_says_it_is() {
    let key = SigningKey::from_pem("key_file", key!("plain_pkcs8"), None).unwrap();
    let public = pem::parse(key!("public")).unwrap();
    assert_eq!(key.public_key(), public.contents());
}

#[test]
fn a_passphrase_that_is_missing_or_wrong_is_told_of_by_name() {
    for (name, protected) in PROTECTED {
        let missing = SigningKey::from_pem("key_file", protected, None).unwrap_err();
        assert!(
            missing.problem.contains("there is none"),
            "{name}: {missing}"
        );
        let wrong = Secret::new("open-barley");
        let wrong = SigningKey::from_pem("key_file", protected, Some(&wrong)).unwrap_err();
        assert!(wrong.problem.contains("does not open"), "{name}: {wrong}");
        assert!(!wrong.to_string().contains("barley"));
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_a_way_out() {
    let refused = |text: &[u8]| {
        let error = SigningKey::from_pem("key_file", text, Some(&passphrase()));
        error.unwrap_err().to_string()
    };
    let old = refused(key!("pkcs8_pbes1"));
    assert!(
        old.contains("protected in a way") && old.contains("openssl pkcs8 -topk8"),
        "{old}"
    );
    assert!(refused(key!("public")).contains("the public half"));
    assert!(refused(key!("weak")).contains("2048 bits"));
    assert!(refused(key!("elliptic")).contains("RSA private key"));
    assert!(refused(b"MIIEvQ==").contains("is no PEM file"));
    let cut = &key!("plain_pkcs8")[..900];
    let cut = refused(cut);
    assert!(cut.contains("is no PEM file"), "{cut}");
    assert!(!cut.contains("MII"), "{cut}");
}

#[test]
fn a_key_of_our_own_signs_what_others_verify() {
    let key = generate().unwrap();
    assert_eq!(key.0.public().modulus_len(), 256);
    let signature = BASE64_STANDARD.decode(key.sign(b"text").unwrap()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.0.public_key().as_ref());
    public.verify(b"text", &signature).unwrap();
    public.verify(b"test", &signature).unwrap_err();
    assert_ne!(generate().unwrap().public_key(), key.public_key());
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let key = SigningKey::from_pem("key_file", key!("plain_pkcs8"), None).unwrap();
    assert_eq!(format!("{key:?}"), "***");
}
