//! Where and how messages are sent to: code beats `HIQ_KAFKA_*` beats defaults. There is no standard for these variables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hiq_core::config::{
    ClientIdentity, ConfigError, Env, Reader, Secret, Variable, Warning, masked, unlimited_if_zero,
};

use crate::connection::{KafkaConnection, Sasl};
use crate::names::{
    KafkaCompression, KafkaEncoding, KafkaKey, KafkaProfile, KafkaSecurity, KafkaSignal,
    SaslMechanism,
};

/// What code says about a Kafka exporter; what is `None` comes from the environment.
///
/// ```
/// use hiq_core::config::Env;
/// use hiq_kafka::{KafkaOptions, KafkaSettings};
///
/// let mut options = KafkaOptions::default();
/// options.brokers = Some("kafka-1:9092,kafka-2:9092".to_owned());
/// let settings = KafkaSettings::new(&options, &Env::default(), &mut Vec::new())?;
/// assert_eq!(settings.topic, "otlp_spans");
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KafkaOptions {
    /// `host:port` of some brokers of the cluster, between commas.
    pub brokers: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// What a message holds.
    pub encoding: Option<KafkaEncoding>,
    /// What decides a message's partition.
    pub key: Option<KafkaKey>,
    /// Compression of what goes to the broker.
    pub compression: Option<KafkaCompression>,
    /// The service behind the protocol.
    pub profile: Option<KafkaProfile>,
    /// How the connection is secured. Where nobody says: `sasl_ssl` with a user, `ssl` with a certificate, else `plaintext`.
    pub security: Option<KafkaSecurity>,
    /// How user and password are shown.
    pub mechanism: Option<SaslMechanism>,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// PEM file of the authorities that the broker's certificate is checked with.
    pub certificate: Option<PathBuf>,
    /// PEM file of our certificate.
    pub client_certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub client_key: Option<PathBuf>,
    /// Password of that key.
    pub client_key_password: Option<Secret>,
    /// How long the producer tries to deliver a message before it hands it back; zero: no limit.
    pub timeout: Option<Duration>,
    /// Bytes of a message at most, the broker's `message.max.bytes`.
    pub max_message_bytes: Option<usize>,
    /// Settings of librdkafka by its own names, which win over all others.
    pub properties: Vec<(String, Secret)>,
}

/// Where and how messages are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafkaSettings {
    /// The cluster, and how it is connected to.
    pub connection: KafkaConnection,
    /// The topic; that which consumers of the encoding read, unless said otherwise.
    pub topic: String,
    /// What messages carry: traces, or metrics where [`KafkaSettings::for_metrics`] made this.
    pub signal: KafkaSignal,
    /// What a message holds; `otlp_proto` unless said otherwise.
    pub encoding: KafkaEncoding,
    /// What decides a message's partition; nothing unless said otherwise, for `jaeger_proto` the trace.
    pub key: KafkaKey,
    /// Compression of what goes to the broker; none unless said otherwise.
    pub compression: KafkaCompression,
    /// How long the producer tries to deliver a message before it hands it back; 10 s unless said otherwise, `None`: no limit.
    pub timeout: Option<Duration>,
    /// Bytes of a message at most; 1,000,000 unless said otherwise, what brokers take with their own defaults.
    pub max_message_bytes: usize,
}

/// All variables that are read here.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "HIQ_KAFKA_BROKERS",
        "localhost:9092",
        "host:port of some brokers, between commas",
    ),
    Variable::new(
        TOPIC,
        "otlp_spans",
        "the topic; jaeger-spans, zipkin or hiq-trees for other encodings",
    ),
    Variable::new(
        ENCODING,
        "otlp_proto",
        "otlp_proto, otlp_json, jaeger_proto, zipkin_json, zipkin_proto or hiq_text",
    ),
    Variable::new(
        KEY,
        "none",
        "none, trace or service; trace for jaeger_proto",
    ),
    Variable::new(COMPRESSION, "none", "none, gzip, snappy, lz4 or zstd"),
    Variable::new(PROFILE, "kafka", "kafka or oci-streaming"),
    Variable::new(
        SECURITY,
        "plaintext",
        "plaintext, ssl, sasl_plaintext or sasl_ssl; sasl_ssl with a user, ssl with a certificate",
    ),
    Variable::new(MECHANISM, "PLAIN", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
    Variable::new("HIQ_KAFKA_USERNAME", "", "user"),
    Variable::secret("HIQ_KAFKA_PASSWORD", "", "password"),
    Variable::new(
        "HIQ_KAFKA_CERTIFICATE",
        "",
        "PEM file of authorities; unset: the system's",
    ),
    Variable::new(
        "HIQ_KAFKA_CLIENT_CERTIFICATE",
        "",
        "PEM file of our certificate",
    ),
    Variable::new("HIQ_KAFKA_CLIENT_KEY", "", "PEM file of its key"),
    Variable::secret("HIQ_KAFKA_CLIENT_KEY_PASSWORD", "", "password of that key"),
    Variable::new(
        "HIQ_KAFKA_TIMEOUT",
        "10000",
        "milliseconds of a series of attempts; 0: no limit",
    ),
    Variable::new(
        "HIQ_KAFKA_MAX_MESSAGE_BYTES",
        "1000000",
        "bytes of a message, the broker's message.max.bytes",
    ),
    Variable::secret(
        "HIQ_KAFKA_PROPERTIES",
        "",
        "name=value,name=value: settings of librdkafka",
    ),
];

/// What is read for metrics in place of the variables of the same meaning in [`VARIABLES`]; the others are shared.
pub const METRIC_VARIABLES: &[Variable] = &[
    Variable::new(
        METRIC_TOPIC,
        KafkaEncoding::METRIC_TOPIC,
        "the topic of metrics",
    ),
    Variable::new(METRIC_ENCODING, "otlp_proto", "otlp_proto or otlp_json"),
    Variable::new(METRIC_KEY, "none", "none or service"),
];

const TOPIC: &str = "HIQ_KAFKA_TOPIC";
const ENCODING: &str = "HIQ_KAFKA_ENCODING";
const KEY: &str = "HIQ_KAFKA_KEY";
const METRIC_TOPIC: &str = "HIQ_KAFKA_METRICS_TOPIC";
const METRIC_ENCODING: &str = "HIQ_KAFKA_METRICS_ENCODING";
const METRIC_KEY: &str = "HIQ_KAFKA_METRICS_KEY";
const COMPRESSION: &str = "HIQ_KAFKA_COMPRESSION";
const PROFILE: &str = "HIQ_KAFKA_PROFILE";
const SECURITY: &str = "HIQ_KAFKA_SECURITY_PROTOCOL";
const MECHANISM: &str = "HIQ_KAFKA_SASL_MECHANISM";

/// What brokers take with their own defaults is 1,048,588 with all that is around the value.
const MAX_MESSAGE_BYTES: usize = 1_000_000;
/// Below that, a span with a stack trace does not fit.
const MIN_MESSAGE_BYTES: usize = 4_096;
/// What librdkafka takes.
const MOST_MESSAGE_BYTES: usize = 1_000_000_000;

impl KafkaSettings {
    /// Settings: `options`, then `HIQ_KAFKA_*`, then defaults. Adds to `warnings` what was not understood.
    pub fn new(
        options: &KafkaOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    /// The same for metrics: [`METRIC_VARIABLES`] in place of the variables of spans, and encodings and keys that metrics have.
    pub fn for_metrics(
        options: &KafkaOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let settings = Self::read_for_metrics(options, &mut reader);
        warnings.extend(reader.into_warnings());
        settings
    }

    fn read(options: &KafkaOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let encoding = options
            .encoding
            .or_else(|| reader.choice(&[ENCODING], KafkaEncoding::WRITTEN))
            .unwrap_or_default();
        if !encoding.is_written() {
            let problem = format!("{} is read, not written", encoding.name());
            return Err(ConfigError::new("encoding", problem, "give jaeger_proto"));
        }
        let key = options
            .key
            .or_else(|| reader.choice(&[KEY], KafkaKey::NAMES))
            .unwrap_or(encoding.default_key());
        let topic = topic(options, TOPIC, encoding.default_topic(), reader)?;
        let messages = (KafkaSignal::Traces, encoding, key, topic);
        Self::read_shared(options, messages, reader)
    }

    fn read_for_metrics(
        options: &KafkaOptions,
        reader: &mut Reader<'_>,
    ) -> Result<Self, ConfigError> {
        let encoding = options
            .encoding
            .or_else(|| reader.choice(&[METRIC_ENCODING], KafkaEncoding::OF_METRICS))
            .unwrap_or_default();
        let key = options
            .key
            .or_else(|| reader.choice(&[METRIC_KEY], KafkaKey::OF_METRICS))
            .unwrap_or(KafkaKey::None);
        if key == KafkaKey::Trace {
            let problem = "metrics are of no trace";
            return Err(ConfigError::new("key", problem, "give none or service"));
        }
        if !encoding.has_metrics() {
            let problem = format!("{} is an encoding of spans alone", encoding.name());
            let fix = "give otlp_proto or otlp_json";
            return Err(ConfigError::new("encoding", problem, fix));
        }
        let topic = topic(options, METRIC_TOPIC, KafkaEncoding::METRIC_TOPIC, reader)?;
        let messages = (KafkaSignal::Metrics, encoding, key, topic);
        Self::read_shared(options, messages, reader)
    }

    fn read_shared(
        options: &KafkaOptions,
        (signal, encoding, key, topic): (KafkaSignal, KafkaEncoding, KafkaKey, String),
        reader: &mut Reader<'_>,
    ) -> Result<Self, ConfigError> {
        let compression = options
            .compression
            .or_else(|| reader.choice(&[COMPRESSION], KafkaCompression::NAMES));
        let timeout = options
            .timeout
            .or_else(|| reader.millis(&["HIQ_KAFKA_TIMEOUT"]));
        Ok(Self {
            connection: KafkaConnection::read(options, reader)?,
            topic,
            signal,
            encoding,
            key,
            compression: compression.unwrap_or_default(),
            timeout: timeout.map_or(Some(Duration::from_secs(10)), unlimited_if_zero),
            max_message_bytes: max_message_bytes(options, reader)?,
        })
    }
}

impl KafkaConnection {
    /// A connection: `options`, then `HIQ_KAFKA_*`, then defaults. Adds to `warnings` what was not understood.
    pub fn new(
        options: &KafkaOptions,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let connection = Self::read(options, &mut reader);
        warnings.extend(reader.into_warnings());
        connection
    }

    fn read(options: &KafkaOptions, reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        let profile = options
            .profile
            .or_else(|| reader.choice(&[PROFILE], KafkaProfile::NAMES))
            .unwrap_or_default();
        let sasl = sasl(options, reader)?;
        let certificate = options
            .certificate
            .clone()
            .or_else(|| file(reader, "HIQ_KAFKA_CERTIFICATE"));
        let identity = identity(options, reader)?;
        let security = options
            .security
            .or_else(|| reader.choice(&[SECURITY], KafkaSecurity::NAMES));
        let has_certificate = certificate.is_some() || identity.is_some();
        let properties = properties(options, reader);
        let connection = Self {
            brokers: brokers(options, reader)?,
            profile,
            security: security.unwrap_or(match (&sasl, has_certificate) {
                (Some(_), _) => KafkaSecurity::SaslSsl,
                (None, true) => KafkaSecurity::Ssl,
                (None, false) if profile == KafkaProfile::OciStreaming => KafkaSecurity::SaslSsl,
                (None, false) => KafkaSecurity::Plaintext,
            }),
            sasl,
            certificate,
            identity,
            key_password: options.client_key_password.clone().or_else(|| {
                reader
                    .text("HIQ_KAFKA_CLIENT_KEY_PASSWORD")
                    .map(Secret::new)
            }),
            of_environment: properties.len() - options.properties.len(),
            properties,
        };
        connection.check()?;
        Ok(connection)
    }
}

fn brokers(options: &KafkaOptions, reader: &mut Reader<'_>) -> Result<String, ConfigError> {
    const NAME: &str = "HIQ_KAFKA_BROKERS";
    let (place, text) = match &options.brokers {
        Some(brokers) => ("brokers", brokers.as_str()),
        None => (NAME, reader.text(NAME).unwrap_or("localhost:9092")),
    };
    let brokers: Vec<&str> = text.split(',').map(str::trim).collect();
    let wrong = brokers.iter().find(|broker| !is_broker(broker));
    match wrong {
        None => Ok(brokers.join(",")),
        Some(wrong) => {
            let problem = format!("`{}` is no broker", masked(wrong));
            let fix = "give host:port, several between commas, without a scheme or path";
            Err(ConfigError::new(place, problem, fix))
        }
    }
}

fn is_broker(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port),
        _ => (text, "9092"),
    };
    let is_host = |c: char| !c.is_control() && !c.is_whitespace() && !"/?#@".contains(c);
    !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn topic(
    options: &KafkaOptions,
    variable: &str,
    default: &str,
    reader: &mut Reader<'_>,
) -> Result<String, ConfigError> {
    let (place, text) = match &options.topic {
        Some(topic) => ("topic", topic.trim()),
        None => (variable, reader.text(variable).unwrap_or(default)),
    };
    check_topic(place, text)?;
    Ok(text.to_owned())
}

/// Kafka's own rule: up to 249 of these characters, and not the folder or its parent.
pub(crate) fn check_topic(place: &str, text: &str) -> Result<(), ConfigError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_topic = (1..=249).contains(&text.len()) && text.chars().all(is_legal);
    if is_topic && text != "." && text != ".." {
        return Ok(());
    }
    let shown: String = text.chars().take(64).collect();
    let problem = format!("`{}` is no topic", shown.escape_debug());
    let fix = "use up to 249 letters, digits, `.`, `_` and `-`";
    Err(ConfigError::new(place, problem, fix))
}

fn sasl(options: &KafkaOptions, reader: &mut Reader<'_>) -> Result<Option<Sasl>, ConfigError> {
    let mechanism = options
        .mechanism
        .or_else(|| reader.choice(&[MECHANISM], SaslMechanism::NAMES));
    let user = options.user.clone();
    let user = user.or_else(|| reader.text("HIQ_KAFKA_USERNAME").map(str::to_owned));
    let password = options.password.clone();
    let password = password.or_else(|| reader.text("HIQ_KAFKA_PASSWORD").map(Secret::new));
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some(Sasl {
            mechanism: mechanism.unwrap_or_default(),
            user,
            password,
        })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            let fix = "set HIQ_KAFKA_PASSWORD, or give password";
            Err(ConfigError::new(
                "password",
                "a user is given, and no password",
                fix,
            ))
        }
        (None, Some(_)) => {
            let fix = "set HIQ_KAFKA_USERNAME, or give username";
            Err(ConfigError::new(
                "username",
                "a password is given, and no user",
                fix,
            ))
        }
    }
}

fn identity(
    options: &KafkaOptions,
    reader: &mut Reader<'_>,
) -> Result<Option<ClientIdentity>, ConfigError> {
    let certificate = options.client_certificate.clone();
    let certificate = certificate.or_else(|| file(reader, "HIQ_KAFKA_CLIENT_CERTIFICATE"));
    let key = options.client_key.clone();
    let key = key.or_else(|| file(reader, "HIQ_KAFKA_CLIENT_KEY"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(ClientIdentity { certificate, key })),
        (None, None) => Ok(None),
        (certificate, _) => {
            let missing = match certificate {
                Some(_) => "client_key",
                None => "client_certificate",
            };
            let problem = "only one half of our certificate and key is given";
            Err(ConfigError::new(
                missing,
                problem,
                "name the PEM files of both",
            ))
        }
    }
}

fn file(reader: &mut Reader<'_>, name: &str) -> Option<PathBuf> {
    reader.text(name).map(|text| Path::new(text).to_owned())
}

fn max_message_bytes(
    options: &KafkaOptions,
    reader: &mut Reader<'_>,
) -> Result<usize, ConfigError> {
    let given = options.max_message_bytes;
    let given =
        given.or_else(|| reader.number(&["HIQ_KAFKA_MAX_MESSAGE_BYTES"], MIN_MESSAGE_BYTES));
    let bytes = given.unwrap_or(MAX_MESSAGE_BYTES);
    if (MIN_MESSAGE_BYTES..=MOST_MESSAGE_BYTES).contains(&bytes) {
        return Ok(bytes);
    }
    let problem = format!("{bytes} bytes are no useful size of a message");
    let fix = format!(
        "give {MIN_MESSAGE_BYTES} to {MOST_MESSAGE_BYTES}, at most the broker's message.max.bytes"
    );
    Err(ConfigError::new("max_message_bytes", problem, fix))
}

/// Those of the environment, then those of code.
fn properties(options: &KafkaOptions, reader: &mut Reader<'_>) -> Vec<(String, Secret)> {
    const NAME: &str = "HIQ_KAFKA_PROPERTIES";
    let mut all = Vec::new();
    for member in reader.text(NAME).unwrap_or_default().split(',') {
        match member.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                all.push((name.trim().to_owned(), Secret::new(value.trim())));
            }
            _ if member.trim().is_empty() => {}
            // It may be the second half of a password: it is not shown.
            _ => reader.warn(NAME, "a member is not name=value and is left out"),
        }
    }
    all.extend(options.properties.iter().cloned());
    all
}
