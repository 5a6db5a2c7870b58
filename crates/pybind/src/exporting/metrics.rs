//! Where metrics go: exporters by the name that users write, and the reader that gives them snapshots. A new one adds a line
//! to [`EXPORTERS`].

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::config::{
    ClientIdentity, ConfigError, Env, MetricSettings, OtlpSettings, ProxySettings, Warning,
};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::export::Exporter;
use hiq_core::metric::MetricBatch;
use hiq_core::metric::reader::MetricReader;
use hiq_core::metric::record::CollectOptions;
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::pipeline::{Pipeline, PipelineBuilder, PipelineStats};
use hiq_core::status::StatusSink;
use hiq_otlp::{FileTransport, OtlpMetricsExporter, OtlpMetricsJsonEncoder};
use hiq_prometheus::{
    PushgatewayExporter, PushgatewayOptions, PushgatewaySettings, RemoteWriteExporter,
    RemoteWriteOptions, RemoteWriteSettings, ScrapeGroup, ScrapeOptions, ScrapeSettings,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::registry::{OTLP_ARGUMENTS, headers, named, otlp_options, parsed};
use super::{Arguments, kafka, wrong_type};
use crate::gil::GilCell;
use crate::metrics::registry;
use crate::module::errors;

/// How metrics leave.
enum Way {
    Pushed(Push),
    Scraped(Box<ScrapeSettings>),
}

/// An exporter of metrics, to be built on its worker's thread in each process anew.
pub(super) struct Push {
    collect: CollectOptions,
    build: Box<dyn Build>,
}

impl Push {
    pub(super) fn new(
        collect: CollectOptions,
        build: impl Fn() -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            collect,
            build: Box::new(build),
        }
    }
}

trait Build: Fn() -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> + Send + Sync {}

impl<F: Fn() -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> + Send + Sync> Build for F {}

type Read = fn(&Arguments<'_, '_>, &Env, &mut Vec<Warning>) -> PyResult<Way>;

const EXPORTERS: [(&str, Read); 6] = [
    ("prometheus", prometheus),
    ("otlp", otlp),
    ("remote_write", remote_write),
    ("pushgateway", pushgateway),
    ("kafka", |arguments, env, warnings| {
        kafka::read_for_metrics(arguments, env, warnings).map(Way::Pushed)
    }),
    ("console", console),
];

fn prometheus(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Way> {
    arguments.refuse_unknown(&["host", "port", "native_summaries"])?;
    let mut options = ScrapeOptions::default();
    options.host = arguments.text("host")?;
    options.port = port(arguments)?;
    options.native_summaries = arguments.flag("native_summaries")?.unwrap_or_default();
    let settings = ScrapeSettings::new(&options, env, warnings);
    Ok(Way::Scraped(Box::new(settings)))
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
    let exporter =
        OtlpMetricsExporter::new(settings, proxies).map_err(|error| errors::config(&error))?;
    Ok(Way::Pushed(Push {
        collect: summaries(arguments)?,
        build: Box::new(move || exporter.build()),
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
    ])?;
    let mut options = RemoteWriteOptions::default();
    options.endpoint = arguments.text("url")?;
    options.version = parsed(version(arguments)?)?;
    options.headers = headers(arguments)?;
    options.timeout = arguments.seconds("timeout_s")?;
    options.certificate = arguments.text("certificate")?.map(Into::into);
    options.client_identity = client_identity(arguments)?;
    let settings = RemoteWriteSettings::new(&options, env, warnings)
        .map_err(|error| errors::config(&error))?;
    let proxies = ProxySettings::from_env(env, warnings);
    let exporter =
        RemoteWriteExporter::new(settings, proxies).map_err(|error| errors::config(&error))?;
    Ok(Way::Pushed(Push {
        collect: summaries(arguments)?,
        build: Box::new(move || exporter.build()),
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
    let exporter =
        PushgatewayExporter::new(settings, proxies).map_err(|error| errors::config(&error))?;
    Ok(Way::Pushed(Push {
        collect: CollectOptions::default(),
        build: Box::new(move || exporter.build()),
    }))
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

fn console(
    arguments: &Arguments<'_, '_>,
    _env: &Env,
    _warnings: &mut Vec<Warning>,
) -> PyResult<Way> {
    arguments.refuse_unknown(&[])?;
    let build = || -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
        Ok(Box::new(EncodedExporter::new(
            OtlpMetricsJsonEncoder::new(),
            FileTransport::open(Path::new("/dev/stdout"))?,
            DeliveryOptions::default(),
        )))
    };
    Ok(Way::Pushed(Push {
        collect: CollectOptions::default(),
        build: Box::new(build),
    }))
}

/// How summaries leave where the format has two ways.
pub(super) fn summaries(arguments: &Arguments<'_, '_>) -> PyResult<CollectOptions> {
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

/// What is to be done with metrics.
pub(super) struct Plan {
    settings: MetricSettings,
    lanes: Lanes,
}

/// Ways, by the names that the ledger has.
type Lanes = Vec<(String, Way)>;

impl Plan {
    /// What `metrics=` says, else `OTEL_METRICS_EXPORTER`, else nothing.
    pub(super) fn read(
        arguments: &Arguments<'_, '_>,
        env: &Env,
        warnings: &mut Vec<Warning>,
    ) -> PyResult<Self> {
        let (mut settings, odd) = MetricSettings::from_env(env);
        warnings.extend(odd);
        if let Some(interval) = arguments.seconds("metric_interval_s")? {
            settings.export_interval = positive("metric_interval_s", interval)?;
        }
        if let Some(timeout) = arguments.seconds("metric_timeout_s")? {
            settings.export_timeout = (!timeout.is_zero()).then_some(timeout);
        }
        let lanes = match arguments.get("metrics")? {
            Some(given) => given_lanes(&given, env, warnings)?,
            None => named_lanes(arguments.dict.py(), &settings, env, warnings)?,
        };
        Ok(Self { settings, lanes })
    }

    /// True when somebody wants metrics.
    pub(super) fn is_wanted(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Has trees counted, before sampling.
    pub(super) fn count_trees(&self, builder: PipelineBuilder) -> PyResult<PipelineBuilder> {
        let options = TreeMetricsOptions::of(&self.settings);
        let counted =
            TreeMetrics::new(registry(), options).map_err(|error| errors::config(&error))?;
        Ok(builder.exporter_before_sampling("metrics", counted.builder()))
    }

    /// Starts reading, and listening where that is asked for.
    pub(super) fn start(self, shutdown_timeout: Duration, status: StatusSink) -> PyResult<()> {
        let mut endpoint = None;
        let mut builder = MetricReader::builder(registry().clone())
            .settings(self.settings)
            .shutdown_timeout(shutdown_timeout)
            .status(status);
        for (name, way) in self.lanes {
            match way {
                Way::Pushed(push) => builder = builder.exporter(name, push.collect, push.build),
                Way::Scraped(_) if endpoint.is_some() => {
                    let fix = "name prometheus once: any number of servers may scrape it";
                    let error = ConfigError::new("metrics", "there are two scrape endpoints", fix);
                    return Err(errors::config(&error));
                }
                Way::Scraped(settings) => {
                    let joined = ScrapeGroup::join(registry(), &settings);
                    endpoint = Some(joined.map_err(|error| errors::config(&error))?);
                }
            }
        }
        *ENDPOINT.lock() = endpoint;
        *READER.lock() = Some(Arc::new(builder.build()));
        Ok(())
    }
}

fn positive(place: &str, duration: Duration) -> PyResult<Duration> {
    if duration.is_zero() {
        let error = ConfigError::new(place, "it is 0", "use seconds above 0");
        return Err(errors::config(&error));
    }
    Ok(duration)
}

fn given_lanes(
    given: &Bound<'_, PyAny>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Lanes> {
    if given.is_instance_of::<pyo3::types::PyString>() {
        return Err(wrong_type(
            "metrics",
            given,
            "a list of names or exporter objects",
        ));
    }
    let mut lanes = Vec::new();
    for (name, settings) in named(given, "metrics")? {
        if name != "none" {
            add(&mut lanes, &name, &settings, env, warnings)?;
        }
    }
    Ok(lanes)
}

fn named_lanes(
    py: Python<'_>,
    settings: &MetricSettings,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Lanes> {
    let mut lanes = Vec::new();
    for name in &settings.exporters {
        if known(name).is_some() {
            add(&mut lanes, name, &PyDict::new(py), env, warnings)?;
        } else {
            let message = format!(
                "`{name}` is not known here and is left out; known: {}, none",
                names()
            );
            warnings.push(Warning::new("OTEL_METRICS_EXPORTER", message));
        }
    }
    Ok(lanes)
}

fn add(
    lanes: &mut Lanes,
    name: &str,
    settings: &Bound<'_, PyDict>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<()> {
    let Some(read) = known(name) else {
        let problem = format!("`{name}` is not an exporter of metrics of this build");
        let fix = format!("use one of {}, none", names());
        return Err(errors::config(&ConfigError::new("metrics", problem, fix)));
    };
    let way = read(&Arguments { dict: settings }, env, warnings)?;
    // Beside the exporters of spans, which may have the same names.
    let base = format!("metrics-{name}");
    let again = format!("{base}-");
    let is_same = |(known, _): &&(String, Way)| *known == base || known.starts_with(&again);
    let same = lanes.iter().filter(is_same).count();
    let name = if same == 0 {
        base
    } else {
        format!("{again}{}", same + 1)
    };
    lanes.push((name, way));
    Ok(())
}

fn known(name: &str) -> Option<Read> {
    let named = EXPORTERS.iter().find(|(known, _)| *known == name);
    named.map(|(_, read)| *read)
}

fn names() -> String {
    EXPORTERS.map(|(name, _)| name).join(", ")
}

/// The reader of this process, and of those that are forked from it.
static READER: GilCell<Option<Arc<MetricReader>>> = GilCell::new(None);

/// The reader, if somebody wants metrics. Call with the GIL.
pub(super) fn reader() -> Option<Arc<MetricReader>> {
    READER.lock().clone()
}

/// What answers scrapes.
static ENDPOINT: GilCell<Option<ScrapeGroup>> = GilCell::new(None);

/// Where this process answers scrapes, if it does.
pub(super) fn scrape_address() -> Option<SocketAddr> {
    ENDPOINT.lock().as_ref().and_then(ScrapeGroup::address)
}

/// Forgets the reader, which has been shut down, and answers no scrapes any more. Call with the GIL.
pub(super) fn forget(py: Python<'_>) {
    let reader = READER.lock().take();
    let endpoint = ENDPOINT.lock().take();
    py.detach(move || drop((reader, endpoint)));
}

/// How the exporters of metrics fare, in data points.
pub(super) fn stats() -> Option<PipelineStats> {
    reader().map(|reader| reader.stats())
}

/// Ends `pipeline` and `reader` or has them flushed, both within `timeout`. Trees are counted first, so that what is read
/// is all of it. Call without the GIL.
pub(super) fn within(
    timeout: Duration,
    pipeline: &Pipeline,
    reader: Option<&MetricReader>,
    pipeline_does: impl FnOnce(Duration) -> bool,
    reader_does: impl Fn(&MetricReader, Duration) -> bool + Sync,
) -> bool {
    let Some(reader) = reader else {
        return pipeline_does(timeout);
    };
    let end = Instant::now() + timeout;
    let left = || end.saturating_duration_since(Instant::now());
    pipeline.flush_before_sampling(left());
    std::thread::scope(|scope| {
        let beside = std::thread::Builder::new().name("hiq-flush".to_owned());
        let beside = beside.spawn_scoped(scope, || reader_does(reader, left()));
        let piped = pipeline_does(left());
        let read = match beside {
            Ok(thread) => thread.join().unwrap_or(false),
            // No thread is to be had: one after the other.
            Err(_) => reader_does(reader, left()),
        };
        read && piped
    })
}
