//! Exporters of metrics by the name that users write. A new one adds a line to [`EXPORTERS`].

use std::path::Path;
use std::time::Duration;

use hiq_core::config::{
    ClientIdentity, ConfigError, Env, OtlpSettings, ProxySettings, Settings, Warning,
};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::export::Exporter;
use hiq_core::metric::MetricBatch;
use hiq_core::metric::record::CollectOptions;
use hiq_otlp::{FileTransport, OtlpMetricsExporter, OtlpMetricsJsonEncoder};
use hiq_prometheus::names::Alphabet;
use hiq_prometheus::{
    PushgatewayExporter, PushgatewayOptions, PushgatewaySettings, RemoteWriteExporter,
    RemoteWriteOptions, RemoteWriteSettings, ScrapeOptions, ScrapeSettings,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::exporting::registry::{OTLP_ARGUMENTS, headers, of_variable, otlp_options, parsed};
use crate::exporting::{Arguments, kafka, oci, wrong_type};
use crate::module::errors;

/// How metrics leave.
pub(in crate::exporting) enum Way {
    Pushed(Push),
    Scraped(Box<ScrapeSettings>),
}

impl Way {
    fn pushed(target: String, collect: CollectOptions, build: impl Build + 'static) -> Self {
        Self::Pushed(Push::new(target, collect, build))
    }
}

/// An exporter of metrics, to be built on its worker's thread in each process anew.
pub(in crate::exporting) struct Push {
    pub(in crate::exporting) collect: CollectOptions,
    /// Where it sends, for people: without user, password and query.
    pub(in crate::exporting) target: String,
    pub(in crate::exporting) build: Box<dyn Build>,
    aside: Option<Aside>,
}

/// How an exporter is tried that would replace what other processes have sent.
struct Aside {
    build: Box<dyn Build>,
    clean_up: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Push {
    pub(in crate::exporting) fn new(
        target: String,
        collect: CollectOptions,
        build: impl Build + 'static,
    ) -> Self {
        Self {
            collect,
            target,
            build: Box::new(build),
            aside: None,
        }
    }

    /// The exporter, for a trial that leaves alone what other processes have sent.
    pub(in crate::exporting) fn try_out(
        &self,
    ) -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
        match &self.aside {
            Some(aside) => (aside.build)(),
            None => (self.build)(),
        }
    }

    /// Takes back what a trial has left, in at most `timeout`.
    pub(in crate::exporting) fn clean_up(&self, timeout: Duration) {
        if let Some(aside) = &self.aside {
            (aside.clean_up)(timeout);
        }
    }
}

pub(crate) trait Build:
    Fn() -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> + Send + Sync
{
}

impl<F: Fn() -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> + Send + Sync> Build for F {}

pub(super) type Read = fn(&Arguments<'_, '_>, &Env, &mut Vec<Warning>) -> PyResult<Way>;

/// How long a snapshot is kept that was handed over.
pub(in crate::exporting) fn max_age(env: &Env) -> Duration {
    Settings::from_env(env).pipeline.max_age
}

const STDOUT: &str = "/dev/stdout";

const EXPORTERS: [(&str, Read); 7] = [
    ("prometheus", prometheus),
    ("otlp", otlp),
    ("remote_write", remote_write),
    ("pushgateway", pushgateway),
    ("kafka", |arguments, env, warnings| {
        kafka::read_for_metrics(arguments, env, warnings).map(Way::Pushed)
    }),
    ("oci_monitoring", oci_monitoring),
    ("console", console),
];

fn prometheus(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Way> {
    arguments.refuse_unknown(&["host", "port", "native_summaries", "utf8_names"])?;
    let mut options = ScrapeOptions::default();
    options.host = arguments.text("host")?;
    options.port = port(arguments)?;
    options.native_summaries = arguments.flag("native_summaries")?.unwrap_or_default();
    options.alphabet = alphabet(arguments)?;
    let settings = ScrapeSettings::new(&options, env, warnings);
    Ok(Way::Scraped(Box::new(settings)))
}

fn alphabet(arguments: &Arguments<'_, '_>) -> PyResult<Alphabet> {
    let keeps = arguments.flag("utf8_names")?.unwrap_or_default();
    Ok(if keeps {
        Alphabet::Utf8
    } else {
        Alphabet::Classic
    })
}

fn port(arguments: &Arguments<'_, '_>) -> PyResult<Option<u16>> {
    let Some(given) = arguments.count("port")? else {
        return Ok(None);
    };
    u16::try_from(given).map(Some).map_err(|_| {
        let problem = format!("{given} is no port");
        errors::config(&ConfigError::new("port", problem, "use 0 to 65535"))
    })
}

fn otlp(arguments: &Arguments<'_, '_>, env: &Env, warnings: &mut Vec<Warning>) -> PyResult<Way> {
    let known: Vec<&str> = OTLP_ARGUMENTS.into_iter().chain(["summaries"]).collect();
    arguments.refuse_unknown(&known)?;
    let settings = OtlpSettings::for_metrics(&otlp_options(arguments)?, env, warnings)
        .map_err(|error| errors::config(&error))?;
    let proxies = ProxySettings::from_env(env, warnings);
    let mut exporter = OtlpMetricsExporter::new(settings, proxies)
        .map_err(|error| errors::config(&of_variable(error, "METRICS", arguments, env)))?;
    exporter.delivery_mut().max_age = max_age(env);
    let target = exporter.target().to_owned();
    Ok(Way::pushed(target, summaries(arguments)?, move || {
        exporter.build()
    }))
}

fn remote_write(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Way> {
    arguments.refuse_unknown(&[
        "url",
        "version",
        "headers",
        "timeout_s",
        "certificate",
        "client_certificate",
        "client_key",
        "summaries",
        "utf8_names",
    ])?;
    let mut options = RemoteWriteOptions::default();
    options.endpoint = arguments.text("url")?;
    options.version = parsed(version(arguments)?)?;
    options.alphabet = alphabet(arguments)?;
    options.headers = headers(arguments)?;
    options.timeout = arguments.seconds("timeout_s")?;
    options.certificate = arguments.text("certificate")?.map(Into::into);
    options.client_identity = client_identity(arguments)?;
    let settings = RemoteWriteSettings::new(&options, env, warnings)
        .map_err(|error| errors::config(&error))?;
    let proxies = ProxySettings::from_env(env, warnings);
    let mut exporter =
        RemoteWriteExporter::new(settings, proxies).map_err(|error| errors::config(&error))?;
    exporter.delivery_mut().max_age = max_age(env);
    let target = exporter.target();
    Ok(Way::pushed(target, summaries(arguments)?, move || {
        exporter.build()
    }))
}

fn pushgateway(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Way> {
    arguments.refuse_unknown(&[
        "url",
        "job",
        "grouping",
        "method",
        "headers",
        "timeout_s",
        "certificate",
        "client_certificate",
        "client_key",
    ])?;
    let mut options = PushgatewayOptions::default();
    options.endpoint = arguments.text("url")?;
    options.job = arguments.text("job")?;
    options.grouping = grouping(arguments)?;
    options.method = parsed(arguments.text("method")?)?;
    options.headers = headers(arguments)?;
    options.timeout = arguments.seconds("timeout_s")?;
    options.certificate = arguments.text("certificate")?.map(Into::into);
    options.client_identity = client_identity(arguments)?;
    let settings = PushgatewaySettings::new(&options, env, warnings)
        .map_err(|error| errors::config(&error))?;
    let proxies = ProxySettings::from_env(env, warnings);
    // A trial in the job's own group would replace what that has.
    let is_trial = ("hiq_doctor".to_owned(), "1".to_owned());
    options.grouping.push(is_trial);
    let aside = PushgatewaySettings::new(&options, env, &mut Vec::new())
        .and_then(|settings| PushgatewayExporter::new(settings, proxies.clone()))
        .map_err(|error| errors::config(&error))?;
    let exporter =
        PushgatewayExporter::new(settings, proxies).map_err(|error| errors::config(&error))?;
    let collect = CollectOptions::default();
    let mut push = Push::new(exporter.target(), collect, move || exporter.build());
    let deleted = aside.clone();
    push.aside = Some(Aside {
        build: Box::new(move || aside.build()),
        // What cannot be deleted could not be pushed either.
        clean_up: Box::new(move |timeout| drop(deleted.delete(timeout))),
    });
    Ok(Way::Pushed(push))
}

fn grouping(arguments: &Arguments<'_, '_>) -> PyResult<Vec<(String, String)>> {
    let Some(given) = arguments.get("grouping")? else {
        return Ok(Vec::new());
    };
    let wrong = || wrong_type("grouping", &given, "a dict of texts");
    let given = given.cast::<PyDict>().map_err(|_| wrong())?;
    let pair = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let pair = (name.extract(), value.extract());
        let (Ok(name), Ok(value)) = pair else {
            return Err(wrong());
        };
        Ok((name, value))
    };
    given.iter().map(pair).collect()
}

/// Users write the number as well.
fn version(arguments: &Arguments<'_, '_>) -> PyResult<Option<String>> {
    let given = arguments.get("version")?;
    Ok(given
        .map(|given| given.str())
        .transpose()?
        .map(|text| text.to_string()))
}

fn client_identity(arguments: &Arguments<'_, '_>) -> PyResult<Option<ClientIdentity>> {
    let certificate = arguments.text("client_certificate")?;
    let key = arguments.text("client_key")?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(ClientIdentity {
            certificate: certificate.into(),
            key: key.into(),
        })),
        (None, None) => Ok(None),
        (given, _) => {
            let missing = match given {
                Some(_) => "client_key",
                None => "client_certificate",
            };
            let fix = "give client_certificate and client_key, or neither";
            Err(errors::config(&ConfigError::new(
                missing,
                "is missing",
                fix,
            )))
        }
    }
}

fn oci_monitoring(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Way> {
    let mut exporter = oci::monitoring(arguments, env, warnings)?;
    exporter.delivery_mut().max_age = max_age(env);
    Ok(Way::pushed(
        exporter.target(),
        CollectOptions::default(),
        move || exporter.build(),
    ))
}

fn console(
    arguments: &Arguments<'_, '_>,
    _env: &Env,
    _warnings: &mut Vec<Warning>,
) -> PyResult<Way> {
    arguments.refuse_unknown(&[])?;
    let build = || -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
        Ok(Box::new(EncodedExporter::new(
            OtlpMetricsJsonEncoder::new(),
            FileTransport::open(Path::new(STDOUT))?,
            DeliveryOptions::default(),
        )))
    };
    let stdout = STDOUT.to_owned();
    Ok(Way::pushed(stdout, CollectOptions::default(), build))
}

/// How summaries leave where the format has two ways.
pub(in crate::exporting) fn summaries(arguments: &Arguments<'_, '_>) -> PyResult<CollectOptions> {
    match arguments.text("summaries")?.as_deref() {
        None | Some("quantiles") => Ok(CollectOptions::default()),
        Some("histogram") => Ok(CollectOptions::with_sketches()),
        Some(other) => Err(errors::config(&ConfigError::new(
            "summaries",
            format!("`{other}` is not known"),
            "use quantiles or histogram",
        ))),
    }
}

/// Those that take what others have measured: a scrape and a Pushgateway have room for one snapshot of one sender.
const FORWARDING: [&str; 5] = ["otlp", "remote_write", "kafka", "oci_monitoring", "console"];

/// True for an exporter of what others have measured.
pub(in crate::exporting) fn forwards(name: &str) -> bool {
    FORWARDING.contains(&name)
}

/// The exporter that users call `name`.
pub(super) fn known(name: &str) -> Option<Read> {
    let named = EXPORTERS.iter().find(|(known, _)| *known == name);
    named.map(|(_, read)| *read)
}

/// All of them, for people.
pub(super) fn names() -> String {
    EXPORTERS.map(|(name, _)| name).join(", ")
}
