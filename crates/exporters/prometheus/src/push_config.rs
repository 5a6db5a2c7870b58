//! Where and how metrics are pushed to a Pushgateway: code beats `HIQ_PUSHGATEWAY_*` beats defaults.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hiq_core::config::{
    ClientIdentity, ConfigError, Endpoint, Env, Reader, Secret, Variable, Warning,
    unlimited_if_zero,
};

/// What a push does to the metrics that the group has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PushMethod {
    /// `put`: they all go.
    #[default]
    Put,
    /// `post`: those of the same names go, others stay.
    Post,
}

impl PushMethod {
    const NAMES: [(&'static str, Self); 2] = [("put", Self::Put), ("post", Self::Post)];
}

/// For arguments of code; `place` in the error is `method`.
impl FromStr for PushMethod {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let named = |(name, _): &&(&str, Self)| name.eq_ignore_ascii_case(text.trim());
        let found = Self::NAMES.iter().find(named);
        found.map(|(_, method)| *method).ok_or_else(|| {
            let problem = format!("`{}` is not known", text.escape_debug());
            ConfigError::new("method", problem, "give put or post")
        })
    }
}

/// What code says about a Pushgateway; what is `None` comes from the environment.
///
/// ```
/// use hiq_core::config::Env;
/// use hiq_prometheus::{PushgatewayOptions, PushgatewaySettings};
///
/// let env = Env::from_pairs([("OTEL_SERVICE_NAME", "nightly")]);
/// let mut options = PushgatewayOptions::default();
/// options.grouping = vec![("instance".to_owned(), "a/1".to_owned())];
/// let settings = PushgatewaySettings::new(&options, &env, &mut Vec::new())?;
/// assert_eq!(
///     settings.endpoint.to_string(),
///     "http://localhost:9091/metrics/job/nightly/instance@base64/YS8x"
/// );
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PushgatewayOptions {
    /// The server's address; the group's path is added to its own.
    pub endpoint: Option<String>,
    /// The group's label `job`.
    pub job: Option<String>,
    /// The group's other labels, which beat those of its metrics.
    pub grouping: Vec<(String, String)>,
    /// What a push does to the metrics that the group has.
    pub method: Option<PushMethod>,
    /// Headers of every request; they replace those of the environment. Values are not decoded.
    pub headers: Option<Vec<(String, Secret)>>,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub client_identity: Option<ClientIdentity>,
}

/// Where and how metrics are pushed to a Pushgateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushgatewaySettings {
    /// The full address of the group; `http://localhost:9091/metrics/job/<job>` unless said otherwise.
    pub endpoint: Endpoint,
    /// The group's labels, `job` first. The Pushgateway writes them over those of the metrics, which are therefore
    /// `exported_` where they have the same names.
    pub labels: Vec<String>,
    /// What a push does to the metrics that the group has; they all go unless said otherwise.
    pub method: PushMethod,
    /// Headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// How long an export may take with all its attempts; 30 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub client_identity: Option<ClientIdentity>,
}

/// All variables that are read for a Pushgateway.
pub const PUSH_VARIABLES: &[Variable] = &[
    Variable::new(
        ENDPOINT,
        "http://localhost:9091",
        "address of the Pushgateway",
    ),
    Variable::new(JOB, "", "label job of the group; unset: OTEL_SERVICE_NAME"),
    Variable::new(
        METHOD,
        "put",
        "put: a push replaces the group; post: the metrics of the same names",
    ),
    Variable::secret(HEADERS, "", "key=value,key=value, percent-encoded"),
    Variable::new(
        TIMEOUT,
        "30000",
        "milliseconds of an export with all its attempts; 0: no limit",
    ),
];

const ENDPOINT: &str = "HIQ_PUSHGATEWAY_ENDPOINT";
const JOB: &str = "HIQ_PUSHGATEWAY_JOB";
const METHOD: &str = "HIQ_PUSHGATEWAY_METHOD";
const HEADERS: &str = "HIQ_PUSHGATEWAY_HEADERS";
const TIMEOUT: &str = "HIQ_PUSHGATEWAY_TIMEOUT";

impl PushgatewaySettings {
    /// Settings: `options`, then `HIQ_PUSHGATEWAY_*`, then defaults. Adds to `warnings` what was not understood.
    pub fn new(
        options: &PushgatewayOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(options: &PushgatewayOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let given = options.endpoint.as_deref().map(|text| ("endpoint", text));
        let named = given.or_else(|| reader.first(&[ENDPOINT]));
        let (place, text) = named.unwrap_or((ENDPOINT, "http://localhost:9091"));
        let job = options.job.as_deref();
        let job = job.or_else(|| Some(reader.first(&[JOB, "OTEL_SERVICE_NAME"])?.1));
        let group = group_path(job.unwrap_or("unknown_service"), &options.grouping)?;
        let names = options.grouping.iter().map(|(name, _)| name.clone());
        let method = reader.choice(&[METHOD], &PushMethod::NAMES);
        let headers = reader.headers(HEADERS);
        let timeout = options.timeout.or_else(|| reader.millis(&[TIMEOUT]));
        Ok(Self {
            endpoint: Endpoint::parse(place, text)?.join_path(&group),
            labels: std::iter::once("job".to_owned()).chain(names).collect(),
            method: options.method.or(method).unwrap_or_default(),
            headers: options.headers.clone().or(headers).unwrap_or_default(),
            timeout: timeout.map_or(Some(Duration::from_secs(30)), unlimited_if_zero),
            certificate: options.certificate.clone(),
            client_identity: options.client_identity.clone(),
        })
    }
}

/// The path of a group: prometheus/pushgateway, `README.md`, "URL".
fn group_path(job: &str, grouping: &[(String, String)]) -> Result<String, ConfigError> {
    if job.is_empty() {
        let fix = "give the label job a value";
        return Err(ConfigError::new("job", "a group has to have a job", fix));
    }
    let mut path = "metrics".to_owned();
    add_label(&mut path, "job", job);
    for (place, (name, value)) in grouping.iter().enumerate() {
        let is_classic = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let begins_well = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        let is_known = name == "job" || grouping[..place].iter().any(|(known, _)| known == name);
        if !is_classic || !begins_well || name.starts_with("__") || is_known {
            let problem = format!("`{}` cannot be a label of a group", name.escape_debug());
            let fix = "use letters, digits and `_`, each name once, and `job` for the job alone";
            return Err(ConfigError::new("grouping", problem, fix));
        }
        add_label(&mut path, name, value);
    }
    Ok(path)
}

/// What a path could take for something else goes as base64.
fn add_label(path: &mut String, name: &str, value: &str) {
    let is_plain = !value.is_empty()
        && !value.bytes().all(|byte| byte == b'.')
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // Writing to a `String` cannot fail.
    let _ = match value {
        _ if is_plain => write!(path, "/{name}/{value}"),
        "" => write!(path, "/{name}@base64/="),
        _ => write!(path, "/{name}@base64/{}", URL_SAFE.encode(value)),
    };
}
