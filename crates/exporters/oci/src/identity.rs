//! Who signs: a key, and the name that the service knows it by.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hiq_core::config::{ConfigError, Secret};
use hiq_core::export::Deadline;
use hiq_core::time::Clock;
use hiq_core::transport::{TransportError, TransportErrorKind};
use serde::Deserialize;

use crate::federation::Metadata;
use crate::key::SigningKey;
use crate::profile::{Profile, expanded};

/// A key and its name. Shows neither.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// `keyId` of the signature.
    pub(crate) key_id: Secret,
    pub(crate) key: SigningKey,
    /// When its token ends, in Unix seconds; `None`: it has none.
    expires: Option<u64>,
}

/// A token is not used in its last minute: on the way it would end.
const SPARE_SECONDS: u64 = 60;

impl Identity {
    /// What signs with a token, for as long as that says.
    pub(crate) fn of_token(token: &str, key: SigningKey) -> Self {
        Self {
            key_id: Secret::new(format!("ST${token}")),
            key,
            expires: expiry(token),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        let now = Clock::unix_nanos().0 / 1_000_000_000;
        self.expires
            .is_some_and(|expires| expires <= now + SPARE_SECONDS)
    }

    /// True when a signature of the one is as good as one of the other.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.key_id == other.key_id && self.key.public_key() == other.key.public_key()
    }
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<u64>,
}

/// When a JSON web token ends, in Unix seconds.
fn expiry(token: &str) -> Option<u64> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD
        .decode(claims.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice::<Claims>(&claims).ok()?.exp
}

/// Where an identity comes from, again and again: files change, tokens end.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Profile(ApiKey),
    Resource(ResourcePrincipal),
    Instance(Metadata),
}

impl Source {
    /// Looks at what can be looked at without a network.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Profile(key) => key.identity().map(drop),
            Self::Resource(principal) => principal.identity().map(drop),
            Self::Instance(_) => Ok(()),
        }
    }

    pub(crate) fn identity(&self, deadline: &Deadline) -> Result<Identity, TransportError> {
        let found = match self {
            Self::Instance(metadata) => return metadata.identity(deadline),
            Self::Profile(key) => key.identity(),
            Self::Resource(principal) => principal.identity(),
        };
        // Files may be right again by the next attempt.
        let identity = found.map_err(|wrong| {
            TransportError::new(TransportErrorKind::Io, format!("cannot sign: {wrong}"))
        })?;
        if identity.is_over() {
            let what = "cannot sign: the token has ended; get another, for a session by `oci session refresh`";
            return Err(TransportError::new(TransportErrorKind::Io, what));
        }
        Ok(identity)
    }
}

/// A user's key or session token, from a profile, with what the environment says before it.
#[derive(Clone, Debug)]
pub(crate) struct ApiKey {
    pub(crate) file: PathBuf,
    pub(crate) profile: String,
    pub(crate) user: Option<String>,
    pub(crate) tenancy: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) key_content: Option<Secret>,
    pub(crate) token_file: Option<String>,
    /// `None`: where there is one.
    pub(crate) wants_token: Option<bool>,
    pub(crate) passphrase: Option<Secret>,
    pub(crate) home: Option<PathBuf>,
}

impl ApiKey {
    /// The profile. Empty where the environment says all and there is no file.
    pub(crate) fn profile(&self) -> Result<Profile, ConfigError> {
        let has_key = self.key_file.is_some() || self.key_content.is_some();
        let has_name = self.user.is_some() && self.tenancy.is_some() || self.token_file.is_some();
        if has_key && has_name && !self.file.exists() {
            return Ok(Profile::default());
        }
        Profile::read(&self.file, &self.profile)
    }

    fn identity(&self) -> Result<Identity, ConfigError> {
        let profile = self.profile()?;
        let key = self.key(&profile)?;
        match self.token(&profile)? {
            Some(token) => Ok(Identity::of_token(&token, key)),
            None => Ok(Identity {
                key_id: Secret::new(self.name(&profile, &key)?),
                key,
                expires: None,
            }),
        }
    }

    fn key(&self, profile: &Profile) -> Result<SigningKey, ConfigError> {
        let passphrase = self.passphrase.clone();
        let passphrase = passphrase.or_else(|| profile.get("pass_phrase").map(Secret::new));
        if let Some(content) = &self.key_content {
            let text = content.expose().replace("\\n", "\n");
            return SigningKey::from_pem(
                "OCI_CLI_KEY_CONTENT",
                text.as_bytes(),
                passphrase.as_ref(),
            );
        }
        let file = self.said(self.key_file.as_deref(), profile, "key_file")?;
        let file = expanded(file, self.home.as_deref());
        let text = read("key_file", &file)?;
        let place = format!("key_file `{}`", file.display());
        SigningKey::from_pem(&place, &text, passphrase.as_ref())
    }

    fn token(&self, profile: &Profile) -> Result<Option<String>, ConfigError> {
        let named = self
            .token_file
            .as_deref()
            .or_else(|| profile.get("security_token_file"));
        let file = match (self.wants_token, named) {
            (Some(false), _) | (None, None) => return Ok(None),
            (_, Some(file)) => file,
            (Some(true), None) => {
                let problem = format!(
                    "profile `{}` names no session token",
                    self.profile.escape_debug()
                );
                let fix = "run `oci session authenticate`, or use auth api_key";
                return Err(ConfigError::new("security_token_file", problem, fix));
            }
        };
        let text = read("security_token_file", &expanded(file, self.home.as_deref()))?;
        let token = String::from_utf8_lossy(&text).trim().to_owned();
        if token.is_empty() || token.contains(['"', '\r', '\n']) {
            let fix = "run `oci session authenticate`";
            return Err(ConfigError::new(
                "security_token_file",
                "it holds no token",
                fix,
            ));
        }
        Ok(Some(token))
    }

    /// `<tenancy>/<user>/<fingerprint>`. A fingerprint of another key is a mistake that only a refusal would tell of.
    fn name(&self, profile: &Profile, key: &SigningKey) -> Result<String, ConfigError> {
        let tenancy = self.said(self.tenancy.as_deref(), profile, "tenancy")?;
        let user = self.said(self.user.as_deref(), profile, "user")?;
        let own = key.fingerprint();
        let named = self
            .fingerprint
            .as_deref()
            .or_else(|| profile.get("fingerprint"));
        if let Some(named) = named.filter(|named| *named != own) {
            let problem = format!(
                "`{}` is not the key's, which is {own}",
                named.escape_debug()
            );
            let fix = "name the key that goes with it, or the fingerprint that goes with the key";
            return Err(ConfigError::new("fingerprint", problem, fix));
        }
        for (place, part) in [("tenancy", tenancy), ("user", user)] {
            if !part.starts_with("ocid1.") || part.contains(['"', '/', ' ']) {
                let problem = format!("`{}` is no OCID", part.escape_debug());
                return Err(ConfigError::new(
                    place,
                    problem,
                    "copy it from Oracle's console: ocid1....",
                ));
            }
        }
        Ok(format!("{tenancy}/{user}/{own}"))
    }

    fn said<'a>(
        &'a self,
        own: Option<&'a str>,
        profile: &'a Profile,
        key: &str,
    ) -> Result<&'a str, ConfigError> {
        own.or_else(|| profile.get(key)).ok_or_else(|| {
            let (profile, file) = (self.profile.escape_debug(), self.file.display());
            let problem = format!("profile `{profile}` of `{file}` has none");
            let fix = format!(
                "add a line {key}=..., or set OCI_CLI_{}",
                key.to_ascii_uppercase()
            );
            ConfigError::new(key, problem, fix)
        })
    }
}

/// A token and its key, in the environment or in files that are written anew before it ends.
#[derive(Clone, Debug)]
pub(crate) struct ResourcePrincipal {
    pub(crate) token: Held,
    pub(crate) key: Held,
    pub(crate) passphrase: Option<Held>,
}

impl ResourcePrincipal {
    fn identity(&self) -> Result<Identity, ConfigError> {
        let passphrase = self.passphrase.as_ref().map(Held::text).transpose()?;
        let key = self.key.text()?;
        let key =
            SigningKey::from_pem(self.key.place, key.expose().as_bytes(), passphrase.as_ref())?;
        Ok(Identity::of_token(self.token.text()?.expose(), key))
    }
}

/// A secret, or the absolute path of its file.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) place: &'static str,
    pub(crate) text: Secret,
}

impl Held {
    fn text(&self) -> Result<Secret, ConfigError> {
        let path = Path::new(self.text.expose());
        if !path.is_absolute() {
            return Ok(self.text.clone());
        }
        let text = read(self.place, path)?;
        Ok(Secret::new(String::from_utf8_lossy(&text).trim()))
    }
}

fn read(place: &str, file: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(file).map_err(|error| {
        let problem = format!("`{}` cannot be read: {error}", file.display());
        ConfigError::new(place, problem, "name a file that this process may read")
    })
}
