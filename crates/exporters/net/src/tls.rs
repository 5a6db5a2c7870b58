//! TLS: ring, our own list of authorities or the system's, and never an unverified server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hiq_core::config::{ClientIdentity, ConfigError};
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// PEM files that may change while the program runs.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "made by the transports of this workspace"
)]
pub struct Files {
    /// `None`: the system's authorities.
    pub authorities: Option<PathBuf>,
    /// What the client shows to servers that ask; `None`: nothing.
    pub identity: Option<ClientIdentity>,
}

impl Files {
    /// What transports that speak TLS were told, checked. `None` where there is no TLS.
    pub fn checked(
        speaks_tls: bool,
        authorities: Option<&PathBuf>,
        identity: Option<&ClientIdentity>,
    ) -> Result<Option<Self>, ConfigError> {
        if !speaks_tls {
            return Ok(None);
        }
        let files = Self {
            authorities: authorities.cloned(),
            identity: identity.cloned(),
        };
        files.check()?;
        Ok(Some(files))
    }

    /// Reads them once, so that mistakes are told early. The system's authorities are left for later: they take milliseconds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let roots = match &self.authorities {
            Some(file) => roots_of(file)?,
            None => RootCertStore::empty(),
        };
        self.with_roots(roots).map(|_| ())
    }

    /// A configuration of what the files hold now.
    pub fn load(&self) -> Result<ClientConfig, ConfigError> {
        let roots = match &self.authorities {
            Some(file) => roots_of(file)?,
            None => roots_of_system()?,
        };
        self.with_roots(roots)
    }

    fn with_roots(&self, roots: RootCertStore) -> Result<ClientConfig, ConfigError> {
        let builder = builder(roots)?;
        match &self.identity {
            Some(identity) => with_identity(builder, identity),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

/// For wires without TLS, whose client has to be given something all the same: trusts nobody, reads nothing.
pub fn none() -> Result<ClientConfig, ConfigError> {
    Ok(builder(RootCertStore::empty())?.with_no_client_auth())
}

/// The provider is given by hand: another one may be installed for the whole process, or none.
fn builder(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ConfigError> {
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            ConfigError::new(
                "tls",
                format!("no version of TLS: {error}"),
                "report this as a bug",
            )
        })?;
    Ok(versions.with_root_certificates(roots))
}

fn roots_of(file: &Path) -> Result<RootCertStore, ConfigError> {
    let place = "certificate";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(place, file)? {
        roots.add(certificate).map_err(|error| {
            let problem = format!(
                "`{}` holds a certificate that cannot be used: {error}",
                file.display()
            );
            ConfigError::new(
                place,
                problem,
                "give the authority's X.509 certificate as PEM",
            )
        })?;
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Systems ship the odd certificate that does not parse; the others do.
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why = found
        .errors
        .first()
        .map_or_else(String::new, |error| format!(" ({error})"));
    let problem = format!("this system has no trusted certificates{why}");
    let fix = "install its CA certificates, set SSL_CERT_FILE, or name a PEM file of your own";
    Err(ConfigError::new("certificate", problem, fix))
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: &ClientIdentity,
) -> Result<ClientConfig, ConfigError> {
    let chain = certificates("client_certificate", &identity.certificate)?;
    let key = private_key(&identity.key)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let problem = format!(
                    "`{}` is not the key of the certificate in `{}`",
                    identity.key.display(),
                    identity.certificate.display()
                );
                ConfigError::new("client_key", problem, "name a matching pair of PEM files")
            }
            error => {
                let problem = format!("`{}` cannot be used: {error}", identity.key.display());
                let fix = "use an RSA, ECDSA (P-256, P-384) or Ed25519 key";
                ConfigError::new("client_key", problem, fix)
            }
        })
}

fn certificates(place: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let text = read(place, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(not_pem(place, file, "holds no PEM certificate", &text)),
        Err(error) => Err(broken_pem(place, file, &error)),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let place = "client_key";
    let text = read(place, file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        PemError::NoItemsFound if holds(&text, "ENCRYPTED PRIVATE KEY") => {
            let problem = format!("`{}` is protected by a password", file.display());
            ConfigError::new(
                place,
                problem,
                "decrypt it: openssl pkey -in KEY -out PLAIN",
            )
        }
        PemError::NoItemsFound => not_pem(place, file, "holds no PEM private key", &text),
        error => broken_pem(place, file, &error),
    })
}

fn read(place: &str, file: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(file).map_err(|error| {
        let problem = format!("`{}` cannot be read: {error}", file.display());
        ConfigError::new(place, problem, "name a PEM file that this process may read")
    })
}

fn not_pem(place: &str, file: &Path, what: &str, content: &[u8]) -> ConfigError {
    let problem = format!("`{}` {what}", file.display());
    let fix = if content.first() == Some(&0x30) {
        "it looks like DER: convert it with openssl -inform der -outform pem"
    } else {
        "name a file with a -----BEGIN ...----- block of that kind"
    };
    ConfigError::new(place, problem, fix)
}

/// The parser's own text would show lines of the file, which may be a key.
fn broken_pem(place: &str, file: &Path, error: &PemError) -> ConfigError {
    let what = match error {
        PemError::MissingSectionEnd { .. } => "has a PEM block without an end",
        PemError::IllegalSectionStart { .. } => "has a PEM block with a malformed first line",
        PemError::Base64Decode(_) => "has a PEM block whose base64 is broken",
        _ => "is no PEM file",
    };
    let problem = format!("`{}` {what}", file.display());
    ConfigError::new(place, problem, "write the file again, whole")
}

fn holds(text: &[u8], part: &str) -> bool {
    text.windows(part.len())
        .any(|window| window == part.as_bytes())
}
