//! Where metrics go: the reader that gives exporters snapshots, and the scrape endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::config::{ConfigError, Env, MetricSettings, Warning};
use hiq_core::metric::reader::MetricReader;
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::pipeline::{Pipeline, PipelineBuilder, PipelineStats};
use hiq_core::status::StatusSink;
use hiq_prometheus::ScrapeGroup;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::registry::named;
use super::{Arguments, wrong_type};
use crate::gil::GilCell;
use crate::metrics::registry;
use crate::module::errors;

mod ledgers;
mod ways;

pub(crate) use ledgers::show_on_pages;
pub(crate) use ways::Build;
pub(super) use ways::{Push, Way, forwards, max_age, summaries};
use ways::{known, names};

/// What is to be done with metrics.
pub(super) struct Plan {
    settings: MetricSettings,
    lanes: Lanes,
}

/// Ways, by the names that the ledger has.
pub(super) type Lanes = Vec<(String, Way)>;

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
        if let Some(shown) = arguments.flag("exporter_metrics")? {
            settings.exporter_metrics = Some(shown);
        }
        let lanes = match arguments.get("metrics")? {
            Some(given) => given_lanes(&given, env, warnings)?,
            None => named_lanes(arguments.dict.py(), &settings, env, warnings)?,
        };
        Ok(Self { settings, lanes })
    }

    /// Exporters by the names that the ledger has, to be tried.
    pub(super) fn into_lanes(self) -> Lanes {
        self.lanes
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
        let is_scraped = |(_, way): &(String, Way)| matches!(way, Way::Scraped(_));
        let wish = self.settings.exporter_metrics;
        ledgers::show(wish, self.lanes.iter().any(is_scraped));
        let mut builder = MetricReader::builder(registry().clone())
            .settings(self.settings)
            .shutdown_timeout(shutdown_timeout)
            .status(status.clone());
        for (name, way) in self.lanes {
            match way {
                Way::Pushed(push) => builder = builder.exporter(name, push.collect, push.build),
                Way::Scraped(_) if endpoint.is_some() => {
                    let fix = "name prometheus once: any number of servers may scrape it";
                    let error = ConfigError::new("metrics", "there are two scrape endpoints", fix);
                    return Err(errors::config(&error));
                }
                Way::Scraped(mut settings) => {
                    settings.status = status.clone();
                    let joined = ScrapeGroup::join(registry(), &settings);
                    endpoint = Some(joined.map_err(|error| errors::config(&error))?);
                }
            }
        }
        *ENDPOINT.lock() = endpoint;
        let reader = Arc::new(builder.build());
        ledgers::follow(&reader);
        *READER.lock() = Some(reader);
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

/// An exporter of metrics that others have measured.
pub(crate) struct Forward {
    /// As in the ledger.
    pub(crate) name: String,
    /// Where it sends, for people: without user, password and query.
    pub(crate) target: String,
    pub(crate) build: Box<dyn Build>,
    /// What was not understood of its settings.
    pub(crate) warnings: Vec<String>,
}

/// The exporter `name` with the settings of `env`, for metrics that others have measured. `None`: it takes none.
pub(crate) fn forward(py: Python<'_>, name: &str, env: &Env) -> PyResult<Option<Forward>> {
    let Some(read) = known(name).filter(|_| forwards(name)) else {
        return Ok(None);
    };
    let (settings, mut warnings) = (PyDict::new(py), Vec::new());
    let arguments = Arguments { dict: &settings };
    let Way::Pushed(push) = read(&arguments, env, &mut warnings)? else {
        return Ok(None);
    };
    Ok(Some(Forward {
        name: format!("metrics-{name}"),
        target: push.target,
        build: push.build,
        warnings: warnings.iter().map(ToString::to_string).collect(),
    }))
}

/// The reader of this process, and of those that are forked from it.
static READER: GilCell<Option<Arc<MetricReader>>> = GilCell::new(None);

/// The reader, if somebody wants metrics.
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
    py.detach(move || {
        // What it lays down last holds the ledgers.
        drop(endpoint);
        ledgers::forget();
        drop(reader);
    });
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
