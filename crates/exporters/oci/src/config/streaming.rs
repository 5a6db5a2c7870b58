//! Which stream payloads become messages of: code beats `OCI_STM_*`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hiq_core::config::{ConfigError, Endpoint, Env, Reader, Variable, Warning, unlimited_if_zero};
use hiq_core::encode::Cut;

/// What decides about the partition of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamKey {
    /// `none`: the service makes a key; messages are as large as they may be.
    #[default]
    None,
    /// `service`: the service's name; a message holds spans of one service.
    Service,
    /// `trace`: the trace id; a message holds spans of one trace.
    Trace,
}

impl StreamKey {
    const NAMES: [(&'static str, Self); 3] = [
        ("none", Self::None),
        ("service", Self::Service),
        ("trace", Self::Trace),
    ];

    pub(crate) const fn cut(self) -> Cut {
        match self {
            Self::None => Cut::Batch,
            Self::Service => Cut::Service,
            Self::Trace => Cut::Trace,
        }
    }
}

/// For arguments of code; `place` in the error is `key`.
impl FromStr for StreamKey {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(text.trim());
        let found = Self::NAMES.iter().find(named);
        found.map(|(_, key)| *key).ok_or_else(|| {
            let problem = format!("`{}` is not known", text.escape_debug());
            ConfigError::new("key", problem, "give none, service or trace")
        })
    }
}

/// What code says about a stream; what is `None` comes from the environment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The messages endpoint of the stream's pool, without a path.
    pub endpoint: Option<String>,
    /// The stream's OCID.
    pub stream: Option<String>,
    /// What decides about the partition.
    pub key: StreamKey,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
}

/// Which stream messages go to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamSettings {
    /// The full address of `PutMessages`.
    pub endpoint: Endpoint,
    /// What decides about the partition; the service, unless said otherwise.
    pub key: StreamKey,
    /// How long an export may take with all its attempts; 10 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
}

/// All variables that are read here.
pub const STREAM_VARIABLES: &[Variable] = &[
    Variable::new(ENDPOINT, "", "messages endpoint of a stream pool"),
    Variable::new(STREAM, "", "OCID of the stream"),
];

const ENDPOINT: &str = "OCI_STM_END";
const STREAM: &str = "OCI_STM_OCID";

impl StreamSettings {
    /// Settings: `options`, then `OCI_STM_END` and `OCI_STM_OCID`. Adds to `warnings` what was not understood.
    pub fn new(
        options: &StreamOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(options: &StreamOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let missing = |name: &str, fix: &str| ConfigError::new(name, "is not set", fix);
        let given = options.endpoint.as_deref().map(|text| ("endpoint", text));
        let (place, endpoint) = given
            .or_else(|| reader.first(&[ENDPOINT]))
            .ok_or_else(|| missing(ENDPOINT, "set it to the stream's messages endpoint"))?;
        let stream = options.stream.as_deref().or_else(|| reader.text(STREAM));
        let stream = stream.ok_or_else(|| missing(STREAM, "set it to the stream's OCID"))?;
        let is_of_ocid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
        if stream.is_empty() || !stream.bytes().all(is_of_ocid) {
            let problem = format!("`{}` is no OCID", stream.escape_debug());
            return Err(ConfigError::new(
                STREAM,
                problem,
                "copy it from Oracle's console",
            ));
        }
        let endpoint = Endpoint::parse(place, endpoint)?;
        Ok(Self {
            endpoint: endpoint.join_path(&format!("20180418/streams/{stream}/messages")),
            key: options.key,
            timeout: options
                .timeout
                .map_or(Some(Duration::from_secs(10)), unlimited_if_zero),
            certificate: options.certificate.clone(),
        })
    }
}
