//! The Kafka exporter's settings, as Python gives them, and the encoder that its encoding names.

use std::path::PathBuf;

use hiq_core::batch::TreeBatch;
use hiq_core::config::{ConfigError, Env, Secret, Settings, Warning};
use hiq_core::export::Exporter;
use hiq_core::metric::MetricBatch;
use hiq_core::render::HiqTextEncoder;
use hiq_jaeger::JaegerMessageEncoder;
use hiq_kafka::{KafkaEncoding, KafkaExporter, KafkaOptions, KafkaSettings};
use hiq_otlp::{
    OtlpJsonEncoder, OtlpMetricsJsonEncoder, OtlpMetricsProtoEncoder, OtlpProtoEncoder,
};
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinProtoEncoder};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::metrics::{Push, max_age, summaries};
use super::registry::{Spec, parsed, spec};
use super::{Arguments, wrong_type};
use crate::module::errors;

const KNOWN: [&str; 17] = [
    "brokers",
    "topic",
    "encoding",
    "key",
    "compression",
    "profile",
    "security_protocol",
    "sasl_mechanism",
    "username",
    "password",
    "certificate",
    "client_certificate",
    "client_key",
    "client_key_password",
    "timeout_s",
    "max_message_bytes",
    "properties",
];

pub(super) fn read(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    arguments.refuse_unknown(&KNOWN)?;
    let options = options(arguments)?;
    let (exporter, encoding) =
        exporter(&options, env, warnings).map_err(|error| errors::config(&error))?;
    let target = format!("{} as {}", exporter.target(), encoding.name());
    Ok(spec("kafka", target, move || build(&exporter, encoding)))
}

/// The same for metrics.
pub(super) fn read_for_metrics(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Push> {
    let known: Vec<&str> = KNOWN.into_iter().chain(["summaries"]).collect();
    arguments.refuse_unknown(&known)?;
    let collect = summaries(arguments)?;
    let settings = KafkaSettings::for_metrics(&options(arguments)?, env, warnings);
    let settings = settings.map_err(|error| errors::config(&error))?;
    let encoding = settings.encoding;
    let mut exporter = KafkaExporter::new(settings).map_err(|error| errors::config(&error))?;
    exporter.delivery_mut().max_age = max_age(env);
    let target = format!("{} as {}", exporter.target(), encoding.name());
    Ok(Push::new(target, collect, move || {
        build_for_metrics(&exporter, encoding)
    }))
}

pub(crate) fn options(arguments: &Arguments<'_, '_>) -> PyResult<KafkaOptions> {
    let mut options = KafkaOptions::default();
    options.brokers = brokers(arguments)?;
    options.topic = arguments.text("topic")?;
    options.encoding = parsed(arguments.text("encoding")?)?;
    options.key = parsed(arguments.text("key")?)?;
    options.compression = parsed(arguments.text("compression")?)?;
    options.profile = parsed(arguments.text("profile")?)?;
    options.security = parsed(arguments.text("security_protocol")?)?;
    options.mechanism = parsed(arguments.text("sasl_mechanism")?)?;
    options.user = arguments.text("username")?;
    options.password = arguments.text("password")?.map(Secret::new);
    options.certificate = arguments.text("certificate")?.map(PathBuf::from);
    options.client_certificate = arguments.text("client_certificate")?.map(PathBuf::from);
    options.client_key = arguments.text("client_key")?.map(PathBuf::from);
    options.client_key_password = arguments.text("client_key_password")?.map(Secret::new);
    options.timeout = arguments.seconds("timeout_s")?;
    options.max_message_bytes = arguments.count("max_message_bytes")?;
    options.properties = properties(arguments)?;
    Ok(options)
}

/// A text, or a list of them.
fn brokers(arguments: &Arguments<'_, '_>) -> PyResult<Option<String>> {
    let Some(given) = arguments.get("brokers")? else {
        return Ok(None);
    };
    if given.is_instance_of::<PyString>() {
        return given.extract().map(Some);
    }
    let list: Vec<String> = given
        .extract()
        .map_err(|_| wrong_type("brokers", &given, "a text or a list of them"))?;
    Ok(Some(list.join(",")))
}

/// Values may be secrets: they are not shown.
fn properties(arguments: &Arguments<'_, '_>) -> PyResult<Vec<(String, Secret)>> {
    let Some(given) = arguments.get("properties")? else {
        return Ok(Vec::new());
    };
    let given = given
        .cast::<PyDict>()
        .map_err(|_| wrong_type("properties", &given, "a dict"))?;
    let pairs = given.iter().map(|(name, value)| {
        let name: String = name
            .extract()
            .map_err(|_| wrong_type("properties", &name, "names as text"))?;
        let value: String = value
            .extract()
            .map_err(|_| wrong_type(&format!("properties[{name}]"), &value, "a text"))?;
        Ok((name, Secret::new(value)))
    });
    pairs.collect()
}

fn exporter(
    options: &KafkaOptions,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> Result<(KafkaExporter, KafkaEncoding), ConfigError> {
    let settings = KafkaSettings::new(options, env, warnings)?;
    let encoding = settings.encoding;
    let exporter = KafkaExporter::new(settings)?;
    Ok((
        exporter.with_pipeline_settings(&Settings::from_env(env).pipeline),
        encoding,
    ))
}

/// Kafka knows no format: here the two come together.
fn build(
    exporter: &KafkaExporter,
    encoding: KafkaEncoding,
) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
    match encoding {
        KafkaEncoding::OtlpProto => exporter.build(OtlpProtoEncoder::new()),
        KafkaEncoding::OtlpJson => exporter.build(OtlpJsonEncoder::new()),
        KafkaEncoding::JaegerProto => exporter.build(JaegerMessageEncoder::new()),
        KafkaEncoding::ZipkinJson => exporter.build(ZipkinJsonEncoder::new()),
        KafkaEncoding::ZipkinProto => exporter.build(ZipkinProtoEncoder::new()),
        KafkaEncoding::HiqText => exporter.build(HiqTextEncoder::new()),
        other => {
            let problem = format!("{} is not in this build", other.name());
            Err(ConfigError::new("encoding", problem, "use otlp_proto"))
        }
    }
}

/// Points are cumulative: what was not delivered is in the next snapshot, so nothing of it is kept on disk.
fn build_for_metrics(
    exporter: &KafkaExporter,
    encoding: KafkaEncoding,
) -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
    match encoding {
        KafkaEncoding::OtlpJson => exporter.build(OtlpMetricsJsonEncoder::new()),
        _ => exporter.build(OtlpMetricsProtoEncoder::new()),
    }
}
