//! Where spans go in OCI APM: code beats `APM_*` beats defaults.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hiq_core::config::{
    ConfigError, Endpoint, Env, Reader, Secret, Variable, Warning, unlimited_if_zero,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The two formats that APM takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ApmFormat {
    /// `zipkin`: JSON of version 2, with the data key in the address's query.
    #[default]
    Zipkin,
    /// `otlp`: protobuf over HTTP, with the data key in a header.
    Otlp,
}

impl ApmFormat {
    const NAMES: [(&'static str, Self); 2] = [("zipkin", Self::Zipkin), ("otlp", Self::Otlp)];
}

/// For arguments of code; `place` in the error is `format`.
impl FromStr for ApmFormat {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(text.trim());
        let found = Self::NAMES.iter().find(named);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let problem = format!("`{}` is not known", text.escape_debug());
            ConfigError::new("format", problem, "give zipkin or otlp")
        })
    }
}

/// What code says about OCI APM; what is `None` comes from the environment.
///
/// ```
/// use hiq_core::config::Env;
/// use hiq_oci::{ApmOptions, ApmSettings};
///
/// let env = Env::from_pairs([
///     ("APM_BASE_URL", "https://aaaa.apm-agt.eu-frankfurt-1.oci.oraclecloud.com"),
///     ("APM_PUB_KEY", "PUBLICKEY"),
/// ]);
/// let settings = ApmSettings::new(&ApmOptions::default(), &env, &mut Vec::new())?;
/// let shown = "https://aaaa.apm-agt.eu-frankfurt-1.oci.oraclecloud.com/20200101/observations/public-span?***";
/// assert_eq!(settings.endpoint.to_string(), shown);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ApmOptions {
    /// The domain's data upload endpoint, without a path.
    pub base_url: Option<String>,
    /// A data key of the domain.
    pub data_key: Option<Secret>,
    /// True: the data key is the private one. `None`: private where only `APM_PRIVATE_KEY` is set, else public.
    pub private: Option<bool>,
    /// Version of the upload's interface.
    pub api_version: Option<String>,
    /// The format.
    pub format: ApmFormat,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
}

/// Where and how spans are sent to OCI APM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApmSettings {
    /// The full address; with Zipkin's format it holds the data key, which its texts hide.
    pub endpoint: Endpoint,
    /// The format; Zipkin's unless said otherwise.
    pub format: ApmFormat,
    /// Headers of every request: with OTLP the data key.
    pub headers: Vec<(String, Secret)>,
    /// How long an export may take with all its attempts; 10 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
}

/// All variables that are read here.
pub const APM_VARIABLES: &[Variable] = &[
    Variable::new(BASE_URL, "", "data upload endpoint of the APM domain"),
    Variable::secret(PUBLIC_KEY, "", "public data key of the APM domain"),
    Variable::secret(
        PRIVATE_KEY,
        "",
        "private data key of the APM domain; for what only servers may send",
    ),
    Variable::new(API_VERSION, "20200101", "version of the upload's interface"),
];

const BASE_URL: &str = "APM_BASE_URL";
const PUBLIC_KEY: &str = "APM_PUB_KEY";
const PRIVATE_KEY: &str = "APM_PRIVATE_KEY";
const API_VERSION: &str = "APM_API_VER";

/// Keys are letters and digits; whatever else one holds must not become another parameter.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

impl ApmSettings {
    /// Settings: `options`, then `APM_*`, then defaults. Adds to `warnings` what was not understood.
    pub fn new(
        options: &ApmOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(options: &ApmOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let (key, is_private) = data_key(options, reader)?;
        let base = base(options, reader)?;
        let version = options
            .api_version
            .as_deref()
            .or_else(|| reader.text(API_VERSION));
        let version = version.unwrap_or("20200101");
        if !version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let problem = format!("`{}` is no version", version.escape_debug());
            return Err(ConfigError::new(
                API_VERSION,
                problem,
                "write it as 20200101",
            ));
        }
        let (endpoint, headers) = match options.format {
            ApmFormat::Zipkin => (zipkin(base, version, &key, is_private)?, Vec::new()),
            ApmFormat::Otlp => {
                let side = if is_private { "private" } else { "public" };
                let path = format!("{version}/opentelemetry/{side}/v1/traces");
                let value = Secret::new(format!("dataKey {}", key.expose()));
                (
                    base.join_path(&path),
                    vec![("authorization".to_owned(), value)],
                )
            }
        };
        Ok(Self {
            endpoint,
            format: options.format,
            headers,
            timeout: options
                .timeout
                .map_or(Some(Duration::from_secs(10)), unlimited_if_zero),
            certificate: options.certificate.clone(),
        })
    }
}

fn zipkin(
    base: Endpoint,
    version: &str,
    key: &Secret,
    is_private: bool,
) -> Result<Endpoint, ConfigError> {
    let side = if is_private {
        "private-span"
    } else {
        "public-span"
    };
    let base = base.join_path(&format!("{version}/observations/{side}"));
    let key = utf8_percent_encode(key.expose(), IN_QUERY);
    let query = format!("dataFormat=zipkin&dataFormatVersion=2&dataKey={key}");
    Endpoint::parse(BASE_URL, &format!("{}?{query}", base.expose()))
}

fn base(options: &ApmOptions, reader: &mut Reader<'_>) -> Result<Endpoint, ConfigError> {
    let given = options.base_url.as_deref().map(|text| ("base_url", text));
    let (place, text) = given.or_else(|| reader.first(&[BASE_URL])).ok_or_else(|| {
        let fix = "set it to the APM domain's data upload endpoint";
        ConfigError::new(BASE_URL, "is not set", fix)
    })?;
    let base = Endpoint::parse(place, text)?;
    if base.expose().contains(['?', '#']) {
        let fix = "give the data upload endpoint alone; the key goes into APM_PUB_KEY";
        return Err(ConfigError::new(
            place,
            format!("`{base}` has a query"),
            fix,
        ));
    }
    Ok(base)
}

fn data_key(options: &ApmOptions, reader: &mut Reader<'_>) -> Result<(Secret, bool), ConfigError> {
    if let Some(key) = &options.data_key {
        return Ok((key.clone(), options.private.unwrap_or(false)));
    }
    let names: &[&str] = match options.private {
        Some(true) => &[PRIVATE_KEY],
        Some(false) => &[PUBLIC_KEY],
        None => &[PUBLIC_KEY, PRIVATE_KEY],
    };
    let (name, key) = reader.first(names).ok_or_else(|| {
        let fix = "set it to a data key of the APM domain";
        ConfigError::new(names[0], "is not set", fix)
    })?;
    Ok((Secret::new(key), name == PRIVATE_KEY))
}
