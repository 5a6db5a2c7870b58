//! Users with profiles and keys, made by OpenSSL.

use std::path::PathBuf;
use std::sync::LazyLock;

use hiq_core::config::{ConfigError, Env, ProxySettings};
use hiq_oci::{OciOptions, OciSettings};
use tempfile::TempDir;

pub(crate) const TENANCY: &str = "ocid1.tenancy.oc1..aaaatenancy";
pub(crate) const USER: &str = "ocid1.user.oc1..aaaauser";
pub(crate) const FINGERPRINT: &str = "34:18:95:53:19:b8:e0:6d:0e:97:85:a7:86:06:d1:25";
pub(crate) const KEY: &str = include_str!("../keys/plain_pkcs8.pem");
pub(crate) const OTHER_KEY: &str = include_str!("../keys/other.pem");

/// A home folder with `.oci/config`.
pub(crate) struct User {
    pub(crate) home: TempDir,
}

impl User {
    /// A user with the usual key, and `more` lines in the profile.
    pub(crate) fn new(more: &str) -> Self {
        let user = Self {
            home: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        };
        std::fs::create_dir(user.path("")).unwrap();
        user.write("key.pem", KEY);
        user.write(
            "config",
            &format!(
                "[DEFAULT]\nuser={USER}\ntenancy={TENANCY}\nfingerprint={FINGERPRINT}\n\
                 key_file=~/.oci/key.pem\nregion=eu-frankfurt-1\n{more}"
            ),
        );
        user
    }

    /// One with the usual key that nobody changes.
    pub(crate) fn usual() -> &'static Self {
        static USUAL: LazyLock<User> = LazyLock::new(|| User::new(""));
        &USUAL
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(".oci").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn env(&self, more: &[(&str, &str)]) -> Env {
        let home = self.home.path().to_str().unwrap();
        let own = [("HOME", home)];
        Env::from_pairs(own.iter().chain(more).map(|(name, value)| (*name, *value)))
    }

    pub(crate) fn settings(&self) -> OciSettings {
        self.settings_with(&[]).unwrap()
    }

    pub(crate) fn settings_with(&self, more: &[(&str, &str)]) -> Result<OciSettings, ConfigError> {
        let proxies = ProxySettings::default();
        OciSettings::new(
            &OciOptions::default(),
            &self.env(more),
            &proxies,
            &mut Vec::new(),
        )
    }
}

/// The public half as ring wants it: PKCS#1.
pub(crate) fn public_half(pem: &str) -> Vec<u8> {
    use ring::signature::KeyPair as _;
    let block = pem::parse(pem).unwrap();
    let pair = ring::rsa::KeyPair::from_pkcs8(block.contents()).unwrap();
    pair.public_key().as_ref().to_vec()
}
