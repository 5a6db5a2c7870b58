//! Where and how OTLP is sent, as plain data that `hiq-otlp` turns into an exporter.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Reader, unlimited_if_zero};
use super::{ConfigError, Endpoint, Env, Secret, Warning, headers};

/// What code says about an OTLP exporter; what is `None` comes from the environment.
///
/// ```
/// use hiq_core::config::{Env, OtlpOptions, OtlpSettings};
///
/// let env = Env::from_pairs([("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")]);
/// let mut options = OtlpOptions::default();
/// options.endpoint = Some("http://collector:4318".to_owned());
/// let settings = OtlpSettings::for_traces(&options, &env, &mut Vec::new())?;
/// assert_eq!(settings.endpoint.to_string(), "http://collector:4318/v1/traces");
/// assert_eq!(settings.headers[0].1.expose(), "Bearer s3cret");
/// assert!(!format!("{settings:?}").contains("s3cret"));
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OtlpOptions {
    /// The address. Over HTTP `v1/traces` or `v1/metrics` is added when it has no path; else it is used as it is.
    pub endpoint: Option<String>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// Headers; they replace those of the environment. Values are not decoded.
    pub headers: Option<Vec<(String, Secret)>>,
    /// Compression of the body.
    pub compression: Option<Compression>,
    /// How long an export may take with all its attempts; zero: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM file of the client's key.
    pub client_key: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub client_certificate: Option<PathBuf>,
    /// For gRPC and an address without a scheme: no TLS.
    pub insecure: Option<bool>,
}

/// Where and how OTLP is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpSettings {
    /// The full address; for gRPC without a path.
    pub endpoint: Endpoint,
    /// The protocol; `http/protobuf` unless said otherwise.
    pub protocol: Protocol,
    /// Header names in lower case, each once, and their decoded values.
    pub headers: Vec<(String, Secret)>,
    /// Compression of the body; none unless said otherwise.
    pub compression: Compression,
    /// How long an export may take with all its attempts; 10 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key.
    pub client_identity: Option<ClientIdentity>,
}

/// Who the client says it is, for servers that ask for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a certificate and its key")]
pub struct ClientIdentity {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// OTLP's protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// `http/protobuf`.
    #[default]
    HttpProtobuf,
    /// `http/json`.
    HttpJson,
    /// `grpc`.
    Grpc,
}

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// `gzip`.
    Gzip,
}

impl Protocol {
    const NAMES: [(&'static str, Self); 3] = [
        ("grpc", Self::Grpc),
        ("http/protobuf", Self::HttpProtobuf),
        ("http/json", Self::HttpJson),
    ];

    /// The name in variables: `http/protobuf`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
            Self::Grpc => "grpc",
        }
    }

    /// What the environment says for traces; `None` when it says nothing that is understood.
    pub fn of_traces(env: &Env) -> Option<Self> {
        Signal::TRACES.protocol(&mut Reader::new(env))
    }

    /// What the environment says for metrics; `None` when it says nothing that is understood.
    pub fn of_metrics(env: &Env) -> Option<Self> {
        Signal::METRICS.protocol(&mut Reader::new(env))
    }
}

impl Compression {
    const NAMES: [(&'static str, Self); 2] = [("gzip", Self::Gzip), ("none", Self::None)];
}

/// For arguments of code; `place` in the error is `protocol`.
impl std::str::FromStr for Protocol {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse_name("protocol", text, &Self::NAMES)
    }
}

/// For arguments of code; `place` in the error is `compression`.
impl std::str::FromStr for Compression {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse_name("compression", text, &Self::NAMES)
    }
}

fn parse_name<T: Copy>(place: &str, text: &str, names: &[(&str, T)]) -> Result<T, ConfigError> {
    let found = names
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let fix = format!("give one of {}", known.join(", "));
        ConfigError::new(
            place,
            format!("`{}` is not known", text.escape_debug()),
            fix,
        )
    })
}

impl OtlpSettings {
    /// Settings for traces: `options`, then `OTEL_EXPORTER_OTLP_TRACES_*`, then `OTEL_EXPORTER_OTLP_*`, then defaults.
    /// Adds to `warnings` what was not understood.
    pub fn for_traces(
        options: &OtlpOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        Signal::TRACES.settings(options, env, warnings)
    }

    /// Settings for metrics: `options`, then `OTEL_EXPORTER_OTLP_METRICS_*`, then `OTEL_EXPORTER_OTLP_*`, then defaults.
    /// Adds to `warnings` what was not understood.
    pub fn for_metrics(
        options: &OtlpOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        warn_of_temporality(&mut reader);
        warnings.extend(reader.into_warnings());
        Signal::METRICS.settings(options, env, warnings)
    }
}

/// How one signal is called in variables and paths.
struct Signal {
    name: &'static str,
    path: &'static str,
    obsolete_insecure: &'static str,
}

impl Signal {
    const TRACES: Self = Self {
        name: "TRACES",
        path: "v1/traces",
        obsolete_insecure: "OTEL_EXPORTER_OTLP_SPAN_INSECURE",
    };

    const METRICS: Self = Self {
        name: "METRICS",
        path: "v1/metrics",
        obsolete_insecure: "OTEL_EXPORTER_OTLP_METRIC_INSECURE",
    };

    fn settings(
        &self,
        options: &OtlpOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<OtlpSettings, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = self.resolve(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn own(&self, what: &str) -> String {
        format!("OTEL_EXPORTER_OTLP_{}_{what}", self.name)
    }

    /// The signal's own variable, then the general one.
    fn names(&self, what: &str) -> [String; 2] {
        [self.own(what), format!("OTEL_EXPORTER_OTLP_{what}")]
    }

    fn resolve(
        &self,
        options: &OtlpOptions,
        reader: &mut Reader<'_>,
    ) -> Result<OtlpSettings, ConfigError> {
        let protocol = options
            .protocol
            .or_else(|| self.protocol(reader))
            .unwrap_or_default();
        let endpoint = self.endpoint(options, protocol, reader)?;
        warn_of_other_port(&endpoint, protocol, reader);
        let [own, general] = self.names("COMPRESSION");
        let compression = options
            .compression
            .or_else(|| reader.choice(&[&own, &general], &Compression::NAMES));
        let [own, general] = self.names("TIMEOUT");
        let timeout = options.timeout.or_else(|| reader.millis(&[&own, &general]));
        Ok(OtlpSettings {
            endpoint,
            protocol,
            headers: self.headers(options, protocol, reader)?,
            compression: compression.unwrap_or_default(),
            timeout: timeout.map_or(Some(Duration::from_secs(10)), unlimited_if_zero),
            certificate: self.file("CERTIFICATE", options.certificate.as_ref(), reader),
            client_identity: self.client_identity(options, reader)?,
        })
    }

    fn protocol(&self, reader: &mut Reader<'_>) -> Option<Protocol> {
        let [own, general] = self.names("PROTOCOL");
        reader.choice(&[&own, &general], &Protocol::NAMES)
    }

    fn endpoint(
        &self,
        options: &OtlpOptions,
        protocol: Protocol,
        reader: &mut Reader<'_>,
    ) -> Result<Endpoint, ConfigError> {
        let [own, general] = self.names("ENDPOINT");
        let insecure = self.insecure(options, reader);
        if protocol == Protocol::Grpc {
            let given = options.endpoint.as_deref().map(|text| ("endpoint", text));
            let named = given.or_else(|| reader.first(&[&own, &general]));
            let (place, text) = named.unwrap_or((&general, "http://localhost:4317"));
            return grpc_endpoint(place, text, insecure, reader);
        }
        if let Some(text) = &options.endpoint {
            let endpoint = Endpoint::parse("endpoint", text)?;
            let is_base = endpoint.path() == "/";
            return Ok(if is_base {
                endpoint.join_path(self.path)
            } else {
                endpoint
            });
        }
        if let Some(text) = reader.text(&own) {
            return Endpoint::parse(&own, text);
        }
        let base = reader.text(&general).unwrap_or("http://localhost:4318");
        Ok(Endpoint::parse(&general, base)?.join_path(self.path))
    }

    fn insecure(&self, options: &OtlpOptions, reader: &mut Reader<'_>) -> bool {
        let [own, general] = self.names("INSECURE");
        let insecure = options
            .insecure
            .or_else(|| reader.flag(&[&own, self.obsolete_insecure, &general]));
        insecure.unwrap_or(false)
    }

    fn headers(
        &self,
        options: &OtlpOptions,
        protocol: Protocol,
        reader: &mut Reader<'_>,
    ) -> Result<Vec<(String, Secret)>, ConfigError> {
        let [own, general] = self.names("HEADERS");
        let (place, headers) = match (&options.headers, reader.first(&[&own, &general])) {
            (Some(given), _) => {
                let mut headers = Vec::new();
                for (key, value) in given {
                    headers::set(&mut headers, key, value.clone());
                }
                ("headers", headers)
            }
            (None, Some((name, text))) => (name, headers::parse(reader, name, text)),
            (None, None) => ("", Vec::new()),
        };
        headers::validate(place, &headers, protocol)?;
        Ok(headers)
    }

    fn file(
        &self,
        what: &str,
        given: Option<&PathBuf>,
        reader: &mut Reader<'_>,
    ) -> Option<PathBuf> {
        let [own, general] = self.names(what);
        given
            .cloned()
            .or_else(|| reader.first(&[&own, &general]).map(|(_, path)| path.into()))
    }

    fn client_identity(
        &self,
        options: &OtlpOptions,
        reader: &mut Reader<'_>,
    ) -> Result<Option<ClientIdentity>, ConfigError> {
        let certificate = self.file(
            "CLIENT_CERTIFICATE",
            options.client_certificate.as_ref(),
            reader,
        );
        let key = self.file("CLIENT_KEY", options.client_key.as_ref(), reader);
        let half = |missing: &str| {
            let place = self.names(missing)[1].clone();
            let problem = "only one half of the client's certificate and key is given";
            ConfigError::new(place, problem, "name the PEM files of both")
        };
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(ClientIdentity { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(half("CLIENT_KEY")),
            (None, Some(_)) => Err(half("CLIENT_CERTIFICATE")),
        }
    }
}

/// Cumulative points can be lost without harm, and are what Prometheus takes; others are not made.
fn warn_of_temporality(reader: &mut Reader<'_>) {
    const NAME: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let preferences = [("cumulative", true), ("delta", false), ("lowmemory", false)];
    if reader.choice(&[NAME], &preferences) == Some(false) {
        reader.warn(NAME, "metrics are sent cumulative only");
    }
}

/// A target without a scheme is allowed here; TLS is then used unless `insecure`. gRPC has paths of its own.
fn grpc_endpoint(
    place: &str,
    text: &str,
    insecure: bool,
    reader: &mut Reader<'_>,
) -> Result<Endpoint, ConfigError> {
    let endpoint = if text.contains("://") {
        Endpoint::parse(place, text)?
    } else {
        let scheme = if insecure { "http" } else { "https" };
        Endpoint::parse(place, &format!("{scheme}://{text}"))?
    };
    if endpoint.has_credentials() {
        let problem = format!("`{endpoint}` holds credentials, which gRPC does not send");
        return Err(ConfigError::new(
            place,
            problem,
            "put them into an authorization header",
        ));
    }
    if endpoint.path() != "/" {
        reader.warn(
            place,
            format!("gRPC has no path; `{}` is left out", endpoint.path()),
        );
    }
    Ok(endpoint.without_path())
}

/// The two well-known ports are mixed up more often than they are used on purpose for each other's protocol.
fn warn_of_other_port(endpoint: &Endpoint, protocol: Protocol, reader: &mut Reader<'_>) {
    let usual = match (protocol, endpoint.port()) {
        (Protocol::Grpc, 4318) => "http/protobuf",
        (Protocol::HttpProtobuf | Protocol::HttpJson, 4317) => "grpc",
        _ => return,
    };
    let message = format!(
        "port {} of {endpoint} usually speaks {usual}, not {}",
        endpoint.port(),
        protocol.name()
    );
    reader.warn("OTEL_EXPORTER_OTLP_PROTOCOL", message);
}
