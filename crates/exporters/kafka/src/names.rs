//! Settings that are one of a few words.

use std::str::FromStr;

use hiq_core::config::ConfigError;
use hiq_core::encode::Cut;

/// Gives an enum its names, in the order in which messages list them.
macro_rules! named {
    ($kind:ident, $place:literal, [$(($name:literal, $variant:ident)),+ $(,)?]) => {
        impl $kind {
            pub(crate) const NAMES: &[(&'static str, Self)] = &[$(($name, Self::$variant)),+];

            /// The name in arguments and variables.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        /// For arguments of code, in any case; the error's place is the argument's name.
        impl FromStr for $kind {
            type Err = ConfigError;

            fn from_str(text: &str) -> Result<Self, ConfigError> {
                find($place, text, Self::NAMES)
            }
        }
    };
}

fn find<T: Copy>(place: &str, text: &str, names: &[(&str, T)]) -> Result<T, ConfigError> {
    let is_meant = |(name, _): &&(&str, T)| name.eq_ignore_ascii_case(text.trim());
    let found = names.iter().find(is_meant).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let problem = format!("`{}` is not known", text.escape_debug());
        let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        ConfigError::new(place, problem, format!("give one of {}", known.join(", ")))
    })
}

/// What a message's value holds. The names are those of the OpenTelemetry Collector's Kafka exporter and receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KafkaEncoding {
    /// `otlp_proto`: an OTLP request in protobuf. Read by Collectors and by Jaeger from 2.0.
    #[default]
    OtlpProto,
    /// `otlp_json`: the same in JSON. Read by Collectors.
    OtlpJson,
    /// `jaeger_proto`: one span of Jaeger's `model.proto`. Read by Collectors and by Jaeger's ingester up to 1.x.
    JaegerProto,
    /// `jaeger_json`: the same span in protobuf's JSON. Read, not written: it is three times as long, and nobody needs it.
    JaegerJson,
    /// `zipkin_json`: a list of spans in Zipkin's JSON v2. Read by Collectors and Zipkin.
    ZipkinJson,
    /// `zipkin_proto`: the same in protobuf. Read by Collectors and Zipkin.
    ZipkinProto,
    /// `hiq_text`: the text of one HiQ tree, without ids. Read by `python -m hiq bridge` and by Oracle HiQ.
    HiqText,
}

named!(
    KafkaEncoding,
    "encoding",
    [
        ("otlp_proto", OtlpProto),
        ("otlp_json", OtlpJson),
        ("jaeger_proto", JaegerProto),
        ("jaeger_json", JaegerJson),
        ("zipkin_json", ZipkinJson),
        ("zipkin_proto", ZipkinProto),
        ("hiq_text", HiqText),
    ]
);

impl KafkaEncoding {
    /// Those that are written.
    pub(crate) const WRITTEN: &[(&'static str, Self)] = &[
        ("otlp_proto", Self::OtlpProto),
        ("otlp_json", Self::OtlpJson),
        ("jaeger_proto", Self::JaegerProto),
        ("zipkin_json", Self::ZipkinJson),
        ("zipkin_proto", Self::ZipkinProto),
        ("hiq_text", Self::HiqText),
    ];

    /// Those that metrics have as well.
    pub(crate) const OF_METRICS: &[(&'static str, Self)] = &[
        ("otlp_proto", Self::OtlpProto),
        ("otlp_json", Self::OtlpJson),
    ];

    /// False for an encoding that is only read.
    pub fn is_written(self) -> bool {
        Self::WRITTEN.iter().any(|(_, known)| *known == self)
    }

    /// True when messages of this encoding may carry metrics.
    pub fn has_metrics(self) -> bool {
        Self::OF_METRICS.iter().any(|(_, known)| *known == self)
    }

    /// The topic that consumers of metrics read unless told otherwise.
    pub(crate) const METRIC_TOPIC: &'static str = "otlp_metrics";

    /// The topic that consumers of this encoding read unless told otherwise.
    pub const fn default_topic(self) -> &'static str {
        match self {
            Self::OtlpProto | Self::OtlpJson => "otlp_spans",
            Self::JaegerProto | Self::JaegerJson => "jaeger-spans",
            Self::ZipkinJson | Self::ZipkinProto => "zipkin",
            Self::HiqText => "hiq-trees",
        }
    }

    /// The key that consumers of this encoding expect.
    pub(crate) const fn default_key(self) -> KafkaKey {
        match self {
            Self::JaegerProto | Self::JaegerJson => KafkaKey::Trace,
            _ => KafkaKey::None,
        }
    }
}

/// What a message carries. Requests of OTLP look alike, whatever is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KafkaSignal {
    /// `traces`: spans.
    #[default]
    Traces,
    /// `metrics`: data points.
    Metrics,
}

named!(
    KafkaSignal,
    "signal",
    [("traces", Traces), ("metrics", Metrics)]
);

/// What decides a message's partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KafkaKey {
    /// `none`: no key, one message a batch; the producer spreads them.
    None,
    /// `trace`: the trace id's text; a message holds spans of one trace, and all of a trace are in one partition.
    Trace,
    /// `service`: the service's name; a message holds spans, or metrics, of one service.
    Service,
}

named!(
    KafkaKey,
    "key",
    [("none", None), ("trace", Trace), ("service", Service)]
);

impl KafkaKey {
    /// Those that metrics have as well.
    pub(crate) const OF_METRICS: &[(&'static str, Self)] =
        &[("none", Self::None), ("service", Self::Service)];

    pub(crate) const fn cut(self) -> Cut {
        match self {
            Self::None => Cut::Batch,
            Self::Trace => Cut::Trace,
            Self::Service => Cut::Service,
        }
    }
}

/// Compression of what is sent to the broker. Consumers see none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KafkaCompression {
    /// `none`.
    #[default]
    None,
    /// `gzip`.
    Gzip,
    /// `snappy`.
    Snappy,
    /// `lz4`.
    Lz4,
    /// `zstd`: brokers from 2.1.
    Zstd,
}

named!(
    KafkaCompression,
    "compression",
    [
        ("none", None),
        ("gzip", Gzip),
        ("snappy", Snappy),
        ("lz4", Lz4),
        ("zstd", Zstd),
    ]
);

/// How the connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KafkaSecurity {
    /// `plaintext`: neither encrypted nor authenticated.
    Plaintext,
    /// `ssl`: TLS, with a certificate of ours where one is given.
    Ssl,
    /// `sasl_plaintext`: user and password over an open line.
    SaslPlaintext,
    /// `sasl_ssl`: user and password over TLS.
    SaslSsl,
}

named!(
    KafkaSecurity,
    "security_protocol",
    [
        ("plaintext", Plaintext),
        ("ssl", Ssl),
        ("sasl_plaintext", SaslPlaintext),
        ("sasl_ssl", SaslSsl),
    ]
);

impl KafkaSecurity {
    pub(crate) const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    pub(crate) const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// How user and password are shown to the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// `PLAIN`: as they are.
    #[default]
    Plain,
    /// `SCRAM-SHA-256`: so that the broker does not see the password.
    ScramSha256,
    /// `SCRAM-SHA-512`.
    ScramSha512,
}

named!(
    SaslMechanism,
    "sasl_mechanism",
    [
        ("PLAIN", Plain),
        ("SCRAM-SHA-256", ScramSha256),
        ("SCRAM-SHA-512", ScramSha512),
    ]
);

/// Which service stands behind the Kafka protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KafkaProfile {
    /// `kafka`: Apache Kafka and all that behave as it does.
    #[default]
    Kafka,
    /// `oci-streaming`: Oracle's OCI Streaming, which has no idempotent producer, takes user and password over TLS alone
    /// (`tenancy/user/stream pool's OCID` and an auth token), and closes idle connections.
    OciStreaming,
}

named!(
    KafkaProfile,
    "profile",
    [("kafka", Kafka), ("oci-streaming", OciStreaming)]
);
