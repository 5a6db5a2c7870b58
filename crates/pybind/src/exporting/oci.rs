//! Oracle Cloud's exporters, as Python gives their settings, and `hiq._hiq.OciStream`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use hiq_core::batch::TreeBatch;
use hiq_core::config::{ConfigError, Env, ProxySettings, Secret, Settings, Warning};
use hiq_core::encode::Encoder;
use hiq_core::export::Deadline;
use hiq_core::render::HiqTextEncoder;
use hiq_core::transport::{HttpReply, Transport, TransportError};
use hiq_jaeger::JaegerMessageEncoder;
use hiq_oci::{
    ApmExporter, ApmFormat, ApmOptions, ApmSettings, Entry, Message, MonitoringExporter,
    MonitoringOptions, MonitoringSettings, OciOptions, OciSettings, PutReply, StreamExporter,
    StreamOptions, StreamSettings, StreamTransport,
};
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinProtoEncoder};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::registry::{Spec, parsed, spec};
use super::{Arguments, seconds, zipkin};
use crate::module::errors;

const APM: [&str; 12] = [
    "base_url",
    "data_key",
    "private",
    "api_version",
    "format",
    "timeout_s",
    "certificate",
    "local_ip",
    "local_port",
    "max_tag_value_length",
    "annotations",
    "resource_tags",
];

/// What `oci_apm` takes.
pub(super) fn apm(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    arguments.refuse_unknown(&APM)?;
    let mut options = ApmOptions::default();
    options.base_url = arguments.text("base_url")?;
    options.data_key = arguments.text("data_key")?.map(Secret::new);
    options.private = arguments.flag("private")?;
    options.api_version = arguments.text("api_version")?;
    options.format = parsed(arguments.text("format")?)?.unwrap_or_default();
    options.timeout = arguments.seconds("timeout_s")?;
    options.certificate = arguments.text("certificate")?.map(PathBuf::from);
    let mapping = zipkin::mapping(arguments)?;
    let exporter = apm_exporter(&options, env, warnings).map_err(|error| errors::config(&error))?;
    let target = exporter.target().to_owned();
    let format = options.format;
    Ok(spec("oci_apm", target, move || {
        exporter.build(match format {
            ApmFormat::Otlp => Box::new(OtlpProtoEncoder::new()),
            _ => Box::new(ZipkinJsonEncoder::with_mapping(mapping.clone())),
        })
    }))
}

fn apm_exporter(
    options: &ApmOptions,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> Result<ApmExporter, ConfigError> {
    let settings = ApmSettings::new(options, env, warnings)?;
    let exporter = ApmExporter::new(settings, ProxySettings::from_env(env, warnings))?;
    Ok(exporter.with_pipeline_settings(&Settings::from_env(env).pipeline))
}

/// Of `oci_streaming`, all but its encoding.
const STREAM: [&str; 10] = [
    "endpoint",
    "stream",
    "key",
    "auth",
    "config_file",
    "profile",
    "region",
    "passphrase",
    "timeout_s",
    "certificate",
];

/// What `oci_streaming` takes.
pub(super) fn streaming(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    let known: Vec<&str> = STREAM.into_iter().chain(["encoding"]).collect();
    arguments.refuse_unknown(&known)?;
    let encoding = arguments
        .text("encoding")?
        .unwrap_or_else(|| "otlp_proto".to_owned());
    encoder(&encoding).map_err(|error| errors::config(&error))?;
    let exporter = stream_exporter(arguments, env, warnings)?;
    let exporter = exporter.with_pipeline_settings(&Settings::from_env(env).pipeline);
    let target = format!("{} as {encoding}", exporter.target());
    Ok(spec("oci_streaming", target, move || {
        exporter.build(encoder(&encoding)?)
    }))
}

/// Streaming knows no format: here the two come together.
fn encoder(name: &str) -> Result<Box<dyn Encoder<TreeBatch>>, ConfigError> {
    Ok(match name {
        "otlp_proto" => Box::new(OtlpProtoEncoder::new()),
        "otlp_json" => Box::new(OtlpJsonEncoder::new()),
        "jaeger_proto" => Box::new(JaegerMessageEncoder::new()),
        "zipkin_json" => Box::new(ZipkinJsonEncoder::new()),
        "zipkin_proto" => Box::new(ZipkinProtoEncoder::new()),
        "hiq_text" => Box::new(HiqTextEncoder::new()),
        other => {
            let problem = format!("`{}` is not known", other.escape_debug());
            let fix =
                "give otlp_proto, otlp_json, jaeger_proto, zipkin_json, zipkin_proto or hiq_text";
            return Err(ConfigError::new("encoding", problem, fix));
        }
    })
}

fn stream_exporter(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<StreamExporter> {
    let mut options = StreamOptions::default();
    options.endpoint = arguments.text("endpoint")?;
    options.stream = arguments.text("stream")?;
    options.key = parsed(arguments.text("key")?)?.unwrap_or_default();
    options.timeout = arguments.seconds("timeout_s")?;
    options.certificate = arguments.text("certificate")?.map(PathBuf::from);
    let oci = oci_options(arguments)?;
    let proxies = ProxySettings::from_env(env, warnings);
    let exporter = StreamSettings::new(&options, env, warnings).and_then(|settings| {
        let oci = OciSettings::new(&oci, env, &proxies, warnings)?;
        StreamExporter::new(settings, oci, proxies)
    });
    exporter.map_err(|error| errors::config(&error))
}

/// What `oci_monitoring` takes.
const MONITORING: [&str; 11] = [
    "compartment",
    "namespace",
    "resource_group",
    "endpoint",
    "auth",
    "config_file",
    "profile",
    "region",
    "passphrase",
    "timeout_s",
    "certificate",
];

/// The exporter of metrics `oci_monitoring`.
pub(super) fn monitoring(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<MonitoringExporter> {
    arguments.refuse_unknown(&MONITORING)?;
    let mut options = MonitoringOptions::default();
    options.endpoint = arguments.text("endpoint")?;
    options.compartment = arguments.text("compartment")?;
    options.namespace = arguments.text("namespace")?;
    options.resource_group = arguments.text("resource_group")?;
    options.timeout = arguments.seconds("timeout_s")?;
    options.certificate = arguments.text("certificate")?.map(PathBuf::from);
    let oci = oci_options(arguments)?;
    let proxies = ProxySettings::from_env(env, warnings);
    let exporter = OciSettings::new(&oci, env, &proxies, warnings).and_then(|oci| {
        let settings = MonitoringSettings::new(&options, &oci, env, warnings)?;
        MonitoringExporter::new(settings, oci, proxies)
    });
    exporter.map_err(|error| errors::config(&error))
}

fn oci_options(arguments: &Arguments<'_, '_>) -> PyResult<OciOptions> {
    let mut options = OciOptions::default();
    options.auth = parsed(arguments.text("auth")?)?;
    options.config_file = arguments.text("config_file")?.map(PathBuf::from);
    options.profile = arguments.text("profile")?;
    options.region = arguments.text("region")?;
    options.passphrase = arguments.text("passphrase")?.map(Secret::new);
    Ok(options)
}

/// A stream that messages are put into by hand.
#[pyclass(frozen, name = "OciStream", module = "hiq._hiq")]
#[derive(Debug)]
pub(super) struct OciStream {
    transport: Mutex<StreamTransport>,
}

#[pymethods]
impl OciStream {
    /// A stream with the settings of `oci_streaming`, without `encoding`.
    #[staticmethod]
    fn open(settings: &Bound<'_, PyDict>) -> PyResult<Self> {
        let arguments = Arguments { dict: settings };
        arguments.refuse_unknown(&STREAM)?;
        let exporter = stream_exporter(&arguments, &Env::process(), &mut Vec::new())?;
        let transport = exporter
            .transport()
            .map_err(|error| errors::config(&error))?;
        Ok(Self {
            transport: Mutex::new(transport),
        })
    }

    /// One call with messages, each a key and a value. For each what became of it: partition, offset, and the error where it
    /// was not taken.
    #[pyo3(signature = (messages, timeout_s=10.0))]
    fn put<'py>(
        &self,
        py: Python<'py>,
        messages: Vec<(Option<String>, Vec<u8>)>,
        timeout_s: f64,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let answer =
            py.detach(|| self.ask(&messages, &Deadline::never().within(seconds(timeout_s))));
        let answer = answer.map_err(|error| errors::ExportError::new_err(error.message))?;
        let Some(entries) = answer.entries() else {
            return Err(errors::ExportError::new_err(said(&answer.reply)));
        };
        entries
            .into_iter()
            .map(|entry| as_dict(py, entry))
            .collect()
    }
}

impl OciStream {
    fn ask(
        &self,
        messages: &[(Option<String>, Vec<u8>)],
        deadline: &Deadline,
    ) -> Result<PutReply, TransportError> {
        let messages: Vec<Message<'_>> = messages
            .iter()
            .map(|(key, value)| Message {
                key: key.as_deref(),
                value,
            })
            .collect();
        let mut transport = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let answer = transport.put(&messages, deadline)?;
        if answer.reply.status == 401 && transport.renew_credentials(deadline) {
            return transport.put(&messages, deadline);
        }
        Ok(answer)
    }
}

fn said(reply: &HttpReply) -> String {
    reply.said(&String::from_utf8_lossy(&reply.body))
}

fn as_dict(py: Python<'_>, entry: Entry) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("partition", entry.partition)?;
    dict.set_item("offset", entry.offset)?;
    dict.set_item("timestamp", entry.timestamp)?;
    dict.set_item("error", entry.error)?;
    dict.set_item("error_message", entry.error_message)?;
    Ok(dict)
}
