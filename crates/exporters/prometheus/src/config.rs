//! Where and how metrics are pushed: code beats `HIQ_REMOTE_WRITE_*` beats defaults.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hiq_core::config::{
    ClientIdentity, ConfigError, Endpoint, Env, Reader, Secret, Variable, Warning,
    unlimited_if_zero,
};

use crate::names::Alphabet;

/// Versions of the remote write protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteVersion {
    /// `1`: version 1.0.
    V1,
    /// `2`: version 2.0.
    V2,
    /// `auto`: version 2.0, and 1.0 from the moment that the server turns out not to know it.
    #[default]
    V2OrV1,
}

impl WriteVersion {
    const NAMES: [(&'static str, Self); 3] =
        [("1", Self::V1), ("2", Self::V2), ("auto", Self::V2OrV1)];

    /// The name in settings: `1`, `2`, `auto`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V2OrV1 => "auto",
        }
    }
}

/// For arguments of code; `place` in the error is `version`.
impl FromStr for WriteVersion {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(text.trim());
        let found = Self::NAMES.iter().find(named);
        found.map(|(_, version)| *version).ok_or_else(|| {
            let problem = format!("`{}` is not known", text.escape_debug());
            let known = Self::NAMES.map(|(name, _)| name).join(", ");
            ConfigError::new("version", problem, format!("give one of {known}"))
        })
    }
}

/// What code says about remote write; what is `None` comes from the environment.
///
/// ```
/// use hiq_core::config::Env;
/// use hiq_prometheus::{RemoteWriteOptions, RemoteWriteSettings, WriteVersion};
///
/// let env = Env::from_pairs([("HIQ_REMOTE_WRITE_VERSION", "1")]);
/// let mut options = RemoteWriteOptions::default();
/// options.endpoint = Some("http://prometheus:9090".to_owned());
/// let settings = RemoteWriteSettings::new(&options, &env, &mut Vec::new())?;
/// assert_eq!(settings.endpoint.to_string(), "http://prometheus:9090/api/v1/write");
/// assert_eq!(settings.version, WriteVersion::V1);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RemoteWriteOptions {
    /// The address. `api/v1/write` is added when it has no path; else it is used as it is.
    pub endpoint: Option<String>,
    /// The protocol's version.
    pub version: Option<WriteVersion>,
    /// Headers of every request; they replace those of the environment. Values are not decoded.
    pub headers: Option<Vec<(String, Secret)>>,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub client_identity: Option<ClientIdentity>,
    /// Which characters names may have.
    pub alphabet: Alphabet,
}

/// Where and how remote write is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteWriteSettings {
    /// The full address; `http://localhost:9090/api/v1/write` unless said otherwise.
    pub endpoint: Endpoint,
    /// The protocol's version; 2.0 with a way back to 1.0 unless said otherwise.
    pub version: WriteVersion,
    /// Headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// How long an export may take with all its attempts; 30 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub client_identity: Option<ClientIdentity>,
    /// Which characters names may have; the classic ones unless said otherwise.
    pub alphabet: Alphabet,
}

/// All variables that are read here.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        WRITE_ENDPOINT,
        "http://localhost:9090/api/v1/write",
        "address of the receiver; api/v1/write is added where it has no path",
    ),
    Variable::new(
        WRITE_VERSION,
        "auto",
        "1, 2, or auto: 2 until the server turns out not to know it",
    ),
    Variable::secret(WRITE_HEADERS, "", "key=value,key=value, percent-encoded"),
    Variable::new(
        WRITE_TIMEOUT,
        "30000",
        "milliseconds of an export with all its attempts; 0: no limit",
    ),
    Variable::new(
        WRITE_CERTIFICATE,
        "",
        "PEM file of the authorities to trust instead of the system's",
    ),
];

const WRITE_ENDPOINT: &str = "HIQ_REMOTE_WRITE_ENDPOINT";
const WRITE_VERSION: &str = "HIQ_REMOTE_WRITE_VERSION";
const WRITE_HEADERS: &str = "HIQ_REMOTE_WRITE_HEADERS";
const WRITE_TIMEOUT: &str = "HIQ_REMOTE_WRITE_TIMEOUT";
const WRITE_CERTIFICATE: &str = "HIQ_REMOTE_WRITE_CERTIFICATE";

impl RemoteWriteSettings {
    /// Settings: `options`, then `HIQ_REMOTE_WRITE_*`, then defaults. Adds to `warnings` what was not understood.
    pub fn new(
        options: &RemoteWriteOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(options: &RemoteWriteOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let given = options.endpoint.as_deref().map(|text| ("endpoint", text));
        let named = given.or_else(|| reader.first(&[WRITE_ENDPOINT]));
        let (place, text) = named.unwrap_or((WRITE_ENDPOINT, "http://localhost:9090"));
        let version = reader.choice(&[WRITE_VERSION], &WriteVersion::NAMES);
        let headers = reader.headers(WRITE_HEADERS);
        let timeout = options.timeout.or_else(|| reader.millis(&[WRITE_TIMEOUT]));
        let certificate = reader.text(WRITE_CERTIFICATE).map(PathBuf::from);
        Ok(Self {
            endpoint: with_path(Endpoint::parse(place, text)?, "api/v1/write"),
            version: options.version.or(version).unwrap_or_default(),
            headers: options.headers.clone().or(headers).unwrap_or_default(),
            timeout: timeout.map_or(Some(Duration::from_secs(30)), unlimited_if_zero),
            certificate: options.certificate.clone().or(certificate),
            client_identity: options.client_identity.clone(),
            alphabet: options.alphabet,
        })
    }
}

/// A base address is completed; one with a path is meant as it stands.
pub(crate) fn with_path(endpoint: Endpoint, path: &str) -> Endpoint {
    match endpoint.path() {
        "/" => endpoint.join_path(path),
        _ => endpoint,
    }
}
