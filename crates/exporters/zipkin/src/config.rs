//! Where and how Zipkin's formats are sent: code beats `OTEL_EXPORTER_ZIPKIN_*` beats defaults.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hiq_core::config::{
    ClientIdentity, Compression, ConfigError, Endpoint, Env, Reader, Secret, Variable, Warning,
    unlimited_if_zero,
};

use crate::mapping::ZipkinMapping;

/// Zipkin's formats over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ZipkinFormat {
    /// `v2`: JSON of API version 2.
    #[default]
    JsonV2,
    /// `v1`: JSON of API version 1, for servers that know nothing newer.
    JsonV1,
    /// `proto`: `zipkin.proto3.ListOfSpans`.
    Protobuf,
}

impl ZipkinFormat {
    const NAMES: [(&'static str, Self); 3] = [
        ("v2", Self::JsonV2),
        ("v1", Self::JsonV1),
        ("proto", Self::Protobuf),
    ];

    /// The name in settings: `v2`, `v1`, `proto`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonV2 => "v2",
            Self::JsonV1 => "v1",
            Self::Protobuf => "proto",
        }
    }

    /// Where servers take it: `api/v2/spans`, for v1 `api/v1/spans`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::JsonV1 => "api/v1/spans",
            Self::JsonV2 | Self::Protobuf => "api/v2/spans",
        }
    }
}

/// For arguments of code; `place` in the error is `format`.
impl FromStr for ZipkinFormat {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(text.trim());
        let found = Self::NAMES.iter().find(named);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let problem = format!("`{}` is not known", text.escape_debug());
            let known = Self::NAMES.map(|(name, _)| name).join(", ");
            ConfigError::new("format", problem, format!("give one of {known}"))
        })
    }
}

/// What code says about a Zipkin exporter; what is `None` comes from the environment.
///
/// ```
/// use hiq_core::config::Env;
/// use hiq_zipkin::{ZipkinOptions, ZipkinSettings};
///
/// let env = Env::from_pairs([("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "2500")]);
/// let mut options = ZipkinOptions::default();
/// options.endpoint = Some("http://zipkin:9411".to_owned());
/// let settings = ZipkinSettings::new(&options, &env, &mut Vec::new())?;
/// assert_eq!(settings.endpoint.to_string(), "http://zipkin:9411/api/v2/spans");
/// assert_eq!(settings.timeout.map(|timeout| timeout.as_millis()), Some(2500));
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ZipkinOptions {
    /// The address. The format's path is added when it has none; else it is used as it is.
    pub endpoint: Option<String>,
    /// The format; `None`: what the address's path asks for, else v2.
    pub format: Option<ZipkinFormat>,
    /// Headers of every request. Values are not decoded.
    pub headers: Vec<(String, Secret)>,
    /// Compression of the body.
    pub compression: Compression,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub client_identity: Option<ClientIdentity>,
    /// How spans become Zipkin's.
    pub mapping: ZipkinMapping,
}

/// Where and how spans are sent to Zipkin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZipkinSettings {
    /// The full address; `http://localhost:9411/api/v2/spans` (v1: `/api/v1/spans`) unless said otherwise.
    pub endpoint: Endpoint,
    /// The format; v2 JSON unless said otherwise.
    pub format: ZipkinFormat,
    /// Headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// Compression of the body; none unless said otherwise.
    pub compression: Compression,
    /// How long an export may take with all its attempts; 10 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub client_identity: Option<ClientIdentity>,
    /// How spans become Zipkin's.
    pub mapping: ZipkinMapping,
}

/// All variables that are read here.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        ENDPOINT,
        "http://localhost:9411/api/v2/spans",
        "address of the server; the format's path is added where it has none",
    ),
    Variable::new(
        TIMEOUT,
        "10000",
        "milliseconds of an export with all its attempts; 0: no limit",
    ),
];

const ENDPOINT: &str = "OTEL_EXPORTER_ZIPKIN_ENDPOINT";
const TIMEOUT: &str = "OTEL_EXPORTER_ZIPKIN_TIMEOUT";

impl ZipkinSettings {
    /// Settings: `options`, then `OTEL_EXPORTER_ZIPKIN_*`, then defaults. Adds to `warnings` what was not understood.
    pub fn new(
        options: &ZipkinOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(options: &ZipkinOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let (endpoint, format) = endpoint(options, reader)?;
        let timeout = options.timeout.or_else(|| reader.millis(&[TIMEOUT]));
        options.mapping.check()?;
        Ok(Self {
            endpoint,
            format,
            headers: options.headers.clone(),
            compression: options.compression,
            timeout: timeout.map_or(Some(Duration::from_secs(10)), unlimited_if_zero),
            certificate: options.certificate.clone(),
            client_identity: options.client_identity.clone(),
            mapping: options.mapping.clone(),
        })
    }
}

fn endpoint(
    options: &ZipkinOptions,
    reader: &mut Reader<'_>,
) -> Result<(Endpoint, ZipkinFormat), ConfigError> {
    let given = options.endpoint.as_deref().map(|text| ("endpoint", text));
    let named = given.or_else(|| reader.first(&[ENDPOINT]));
    let (place, text) = named.unwrap_or((ENDPOINT, "http://localhost:9411"));
    let endpoint = Endpoint::parse(place, text)?;
    if endpoint.path() == "/" {
        let format = options.format.unwrap_or_default();
        return Ok((endpoint.join_path(format.path()), format));
    }
    let of_path = [ZipkinFormat::JsonV1, ZipkinFormat::JsonV2]
        .into_iter()
        .find(|format| {
            endpoint
                .path()
                .trim_end_matches('/')
                .ends_with(format.path())
        });
    let format = options.format.or(of_path).unwrap_or_default();
    if of_path.is_some_and(|of_path| of_path.path() != format.path()) {
        let problem = format!(
            "{endpoint} takes another version of Zipkin's API than format `{}`",
            format.name()
        );
        let fix = format!("use a path that ends in {}", format.path());
        return Err(ConfigError::new(place, problem, fix));
    }
    Ok((endpoint, format))
}
