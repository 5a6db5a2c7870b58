//! A cluster and how it is connected to, in librdkafka's own terms.

use std::path::{Path, PathBuf};

use hiq_core::config::{ClientIdentity, ConfigError, Secret};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::names::{KafkaProfile, KafkaSecurity, SaslMechanism};

/// A cluster, and how it is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafkaConnection {
    /// `host:port` of some brokers, between commas; `localhost:9092` unless said otherwise.
    pub brokers: String,
    /// The service behind the protocol; Apache Kafka unless said otherwise.
    pub profile: KafkaProfile,
    /// How the connection is secured; `sasl_ssl` with a user, `ssl` with a certificate, else `plaintext`, unless said otherwise.
    pub security: KafkaSecurity,
    /// User and password, where there are any.
    pub sasl: Option<Sasl>,
    /// PEM file of the authorities that the broker's certificate is checked with; `None`: the system's.
    pub certificate: Option<PathBuf>,
    /// Our certificate and key, where there are any.
    pub identity: Option<ClientIdentity>,
    /// Password of that key.
    pub key_password: Option<Secret>,
    /// Settings of librdkafka by its own names, which win over all others.
    pub properties: Vec<(String, Secret)>,
    /// How many of them, the first, come from `HIQ_KAFKA_PROPERTIES`.
    pub(crate) of_environment: usize,
}

/// User and password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sasl {
    /// How they are shown to the broker; `PLAIN` unless said otherwise.
    pub mechanism: SaslMechanism,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

impl KafkaConnection {
    /// Whether all that belongs together is there, and files can be read.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.profile == KafkaProfile::OciStreaming
            && (self.sasl.is_none() || self.security != KafkaSecurity::SaslSsl)
        {
            let problem = "OCI Streaming takes user and password over TLS, nothing else";
            let fix = "give username=\"tenancy/user/stream pool's OCID\" and an auth token as password, and leave security_protocol out";
            return Err(ConfigError::new("profile", problem, fix));
        }
        if self.security.has_sasl() && self.sasl.is_none() {
            let problem = format!("{} needs a user and a password", self.security.name());
            return Err(ConfigError::new(
                "security_protocol",
                problem,
                "give username and password",
            ));
        }
        let files = [
            ("certificate", self.certificate.as_deref()),
            (
                "client_certificate",
                self.identity
                    .as_ref()
                    .map(|identity| &*identity.certificate),
            ),
            (
                "client_key",
                self.identity.as_ref().map(|identity| &*identity.key),
            ),
        ];
        for (place, path) in files {
            path.map_or(Ok(()), |path| check_file(place, path))?;
        }
        self.finish(self.client()).map(drop)
    }

    /// What producers and consumers have in common.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Comes to us, not to standard error: see `Reporter::log`. Without its setting `debug` it says little even so.
        config.set_log_level(RDKafkaLogLevel::Debug);
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "hiq");
        // Firewalls and services drop connections that are silent for long, and tell nobody.
        config.set("socket.keepalive.enable", "true");
        config.set("security.protocol", self.security.name());
        if self.security.has_tls() {
            self.set_tls(&mut config);
        }
        if let Some(sasl) = self.sasl.as_ref().filter(|_| self.security.has_sasl()) {
            config.set("sasl.mechanism", sasl.mechanism.name());
            config.set("sasl.username", &sasl.user);
            config.set("sasl.password", sasl.password.expose());
        }
        config
    }

    fn set_tls(&self, config: &mut ClientConfig) {
        // The OpenSSL that is built in knows no folder of the system's: the usual ones are looked at.
        match &self.certificate {
            Some(path) => config.set("ssl.ca.location", path.to_string_lossy()),
            None => config.set("ssl.ca.location", "probe"),
        };
        if let Some(identity) = &self.identity {
            config.set(
                "ssl.certificate.location",
                identity.certificate.to_string_lossy(),
            );
            config.set("ssl.key.location", identity.key.to_string_lossy());
        }
        if let Some(password) = &self.key_password {
            config.set("ssl.key.password", password.expose());
        }
    }

    /// Adds the user's own settings, and checks them all. Errors name the setting, never its value.
    pub(crate) fn finish(&self, mut config: ClientConfig) -> Result<ClientConfig, ConfigError> {
        for (name, value) in &self.properties {
            config.set(name, value.expose());
        }
        match config.create_native_config() {
            Ok(_) => Ok(config),
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn explain(&self, error: &KafkaError) -> ConfigError {
        let fix = "see the list of settings in librdkafka's CONFIGURATION.md";
        match error {
            KafkaError::ClientConfig(_, problem, name, value) => {
                let problem = match value.as_str() {
                    "" => problem.clone(),
                    value => problem.replace(value, "***"),
                };
                ConfigError::new(self.place_of(name), problem, fix)
            }
            other => ConfigError::new("properties", other.to_string(), fix),
        }
    }

    /// Where a setting was said: those of code win over those of the environment.
    fn place_of<'a>(&self, name: &'a str) -> &'a str {
        let last = self.properties.iter().rposition(|(own, _)| own == name);
        if last.is_some_and(|at| at < self.of_environment) {
            "HIQ_KAFKA_PROPERTIES"
        } else {
            name
        }
    }

    /// Whether librdkafka was asked to tell what it does, by its setting `debug`.
    pub(crate) fn is_verbose(&self) -> bool {
        self.properties.iter().any(|(name, _)| name == "debug")
    }

    /// Texts that must not be shown.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        let passwords = self.sasl.iter().map(|sasl| &sasl.password);
        let is_secret = |name: &str| {
            name.contains("password") || name.contains("secret") || name.contains(".pem")
        };
        let given = self.properties.iter().filter(|(name, _)| is_secret(name));
        let all = passwords
            .chain(&self.key_password)
            .chain(given.map(|(_, value)| value));
        all.filter(|secret| !secret.expose().is_empty())
            .cloned()
            .collect()
    }
}

fn check_file(place: &str, path: &Path) -> Result<(), ConfigError> {
    std::fs::File::open(path).map(drop).map_err(|error| {
        let problem = format!("{} cannot be read: {error}", path.display());
        ConfigError::new(place, problem, "name a PEM file that this user may read")
    })
}
