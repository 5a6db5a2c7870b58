//! Kafka: payloads of any encoder as messages of a topic.
//!
//! ```
//! use hiq_core::config::Env;
//! use hiq_kafka::{KafkaExporter, KafkaOptions, KafkaSettings};
//!
//! let env = Env::from_pairs([("HIQ_KAFKA_BROKERS", "kafka-1:9092,kafka-2:9092"), ("HIQ_KAFKA_KEY", "trace")]);
//! let settings = KafkaSettings::new(&KafkaOptions::default(), &env, &mut Vec::new())?;
//! let kafka = KafkaExporter::new(settings)?;
//! assert_eq!(kafka.target(), "kafka://kafka-1:9092,kafka-2:9092/otlp_spans");
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! TreeBatch ─► any Encoder ─► KafkaTransport ─► librdkafka ─► broker
//!              └ judge ◄───── delivery report ◄──────────────────┘
//! ```
//!
//! | part of a message | what is in it |
//! |---|---|
//! | value | one payload of the encoder, never compressed by itself |
//! | key | nothing, the trace id's text, or the service's name ([`KafkaKey`]); messages of one key are in one partition |
//! | headers | `content-type`, the encoding's name in [`ENCODING_HEADER`], `traces` or `metrics` in [`SIGNAL_HEADER`] |
//! | timestamp | when it was handed to the producer |
//!
//! | trouble | what becomes of the message |
//! |---|---|
//! | the broker is gone, cannot be reached, or refuses user or certificate | waits and is tried again, up to the pipeline's age limit or in the spool |
//! | the topic is not there | the same: it may be made |
//! | the user may not write to the topic | dropped and counted: `refused` |
//! | the message is over the broker's limit | cut in halves, and smaller messages from then on |
//! | more waits than fits into memory | the worker waits; the program does not |
//!
//! Metrics leave the same way: [`KafkaSettings::for_metrics`], and an encoder of metrics.
//!
//! [`KafkaSource`] is the other side: a member of a consumer group that commits what was delivered, never before.
//!
//! A message counts as exported when its delivery report says so. With `acks=all` and an idempotent producer the broker has it
//! once, unless one that came back is sent anew though it may have arrived: those are counted as possible repeats.
//! Settings are those of [librdkafka](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md); encodings and topics those
//! of the OpenTelemetry Collector's
//! [Kafka exporter](https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/kafkaexporter).

mod config;
mod connection;
mod exporter;
mod names;
mod producer;
mod reports;
mod source;
mod transport;
mod words;

pub use config::{KafkaOptions, KafkaSettings, METRIC_VARIABLES, VARIABLES};
pub use connection::{KafkaConnection, Sasl};
pub use exporter::KafkaExporter;
pub use names::{
    KafkaCompression, KafkaEncoding, KafkaKey, KafkaProfile, KafkaSecurity, KafkaSignal,
    SaslMechanism,
};
pub use source::{KafkaMessage, KafkaPositions, KafkaSource, KafkaSourceSettings, Polled};
pub use transport::KafkaTransport;

/// The header that names a message's encoding.
pub const ENCODING_HEADER: &str = "hiq-encoding";

/// The header that says what a message carries: [`KafkaSignal`].
pub const SIGNAL_HEADER: &str = "hiq-signal";
