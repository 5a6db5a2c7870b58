//! Whose metrics go where in OCI Monitoring: code beats `OCI_*` beats defaults.

use std::path::PathBuf;
use std::time::Duration;

use hiq_core::config::{ConfigError, Endpoint, Env, Reader, Variable, Warning, unlimited_if_zero};

use super::OciSettings;

/// What code says about OCI Monitoring; what is `None` comes from the environment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MonitoringOptions {
    /// The ingestion endpoint, without a path; `None`: that of the region.
    pub endpoint: Option<String>,
    /// The compartment's OCID.
    pub compartment: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// A resource group, for all metrics.
    pub resource_group: Option<String>,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
}

/// Whose metrics go where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MonitoringSettings {
    /// The full address of `PostMetricData`.
    pub endpoint: Endpoint,
    /// The compartment's OCID.
    pub compartment: String,
    /// The namespace; `hiq` unless said otherwise.
    pub namespace: String,
    /// A resource group, for all metrics; none unless said otherwise.
    pub resource_group: Option<String>,
    /// How long an export may take with all its attempts; 10 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
}

/// All variables that are read here.
pub const MONITORING_VARIABLES: &[Variable] = &[
    Variable::new(
        COMPARTMENT,
        "",
        "OCID of the compartment that metrics belong to",
    ),
    Variable::new(NAMESPACE, "hiq", "namespace of the metrics"),
    Variable::new(
        ENDPOINT,
        "",
        "ingestion endpoint of OCI Monitoring; unset: that of the region",
    ),
];

const COMPARTMENT: &str = "OCI_COMPARTMENT_ID";
const NAMESPACE: &str = "OCI_MONITORING_NAMESPACE";
const ENDPOINT: &str = "OCI_MONITORING_ENDPOINT";

impl MonitoringSettings {
    /// Settings: `options`, then `OCI_*`, then defaults. Adds to `warnings` what was not understood.
    pub fn new(
        options: &MonitoringOptions,
        oci: &OciSettings,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, oci, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(
        options: &MonitoringOptions,
        oci: &OciSettings,
        reader: &mut Reader<'_>,
    ) -> Result<Self, ConfigError> {
        let path = "20180401/metrics";
        let given = options.endpoint.as_deref().map(|text| ("endpoint", text));
        let endpoint = match given.or_else(|| reader.first(&[ENDPOINT])) {
            Some((place, text)) => Endpoint::parse(place, text)?.join_path(path),
            None => oci.endpoint(ENDPOINT, "telemetry-ingestion", &format!("/{path}"))?,
        };
        let compartment = options
            .compartment
            .as_deref()
            .or_else(|| reader.text(COMPARTMENT));
        let compartment = compartment.ok_or_else(|| {
            let fix = "set it to the OCID of the compartment that metrics belong to";
            ConfigError::new(COMPARTMENT, "is not set", fix)
        })?;
        let namespace = options
            .namespace
            .as_deref()
            .or_else(|| reader.text(NAMESPACE));
        Ok(Self {
            endpoint,
            compartment: compartment.to_owned(),
            namespace: checked_namespace(namespace.unwrap_or("hiq"))?,
            resource_group: options
                .resource_group
                .as_deref()
                .map(checked_group)
                .transpose()?,
            timeout: options
                .timeout
                .map_or(Some(Duration::from_secs(10)), unlimited_if_zero),
            certificate: options.certificate.clone(),
        })
    }
}

fn checked_namespace(text: &str) -> Result<String, ConfigError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_ours = !text.starts_with("oci_") && !text.starts_with("oracle_");
    if begins_with_letter(text) && text.bytes().all(is_word) && is_ours {
        return Ok(text.to_owned());
    }
    let problem = format!("`{}` is no namespace", text.escape_debug());
    let fix = "use letters, digits and _, a letter first, and neither oci_ nor oracle_ in front";
    Err(ConfigError::new(NAMESPACE, problem, fix))
}

fn checked_group(text: &str) -> Result<String, ConfigError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-$".contains(&byte);
    if begins_with_letter(text) && text.bytes().all(is_word) {
        return Ok(text.to_owned());
    }
    let problem = format!("`{}` is no resource group", text.escape_debug());
    let fix = "use letters, digits and . _ - $, a letter first";
    Err(ConfigError::new("resource_group", problem, fix))
}

fn begins_with_letter(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
}
