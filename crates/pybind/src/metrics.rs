//! Metrics of the program's own: instruments in one registry of the process, and what has been measured with them.

use std::sync::OnceLock;
use std::time::Duration;

use hiq_core::config::{ConfigError, Env, MetricSettings};
use hiq_core::metric::record::{CollectOptions, Registry, Spec};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::module::errors;

mod exemplars;
pub(crate) mod hiq_summaries;
mod instrument;
mod labels;
mod measure;
mod observed;
mod page;
mod rounds;
mod snapshot;
mod timer;

/// The instruments of this process.
pub(crate) fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::new)
}

/// An instrument of `kind`; the same name means the same instrument.
#[pyfunction]
#[pyo3(signature = (kind, name, description="", unit="", *, bounds=None, quantiles=None, max_age_s=None, max_series=None))]
#[expect(clippy::too_many_arguments, reason = "a table of options by name")]
fn metric(
    py: Python<'_>,
    kind: &str,
    name: &str,
    description: &str,
    unit: &str,
    bounds: Option<Vec<f64>>,
    quantiles: Option<Vec<f64>>,
    max_age_s: Option<f64>,
    max_series: Option<i64>,
) -> PyResult<Py<PyAny>> {
    let settings = settings();
    exemplars::follow(settings.exemplars);
    let mut spec = Spec::new(name)
        .with_description(description)
        .with_unit(unit)
        .with_max_age(settings.max_age)
        .with_max_series(settings.max_series);
    if let Some(bounds) = bounds {
        spec = spec.with_bounds(bounds);
    }
    if let Some(quantiles) = quantiles {
        spec = spec.with_quantiles(quantiles);
    }
    if let Some(seconds) = max_age_s {
        spec = spec.with_max_age(age(name, seconds)?);
    }
    if let Some(most) = max_series {
        spec = spec.with_max_series(series(name, most)?);
    }
    let registry = registry();
    let failed = |error: ConfigError| errors::config(&error);
    match kind {
        "counter" => instrument::new(py, registry.counter(spec).map_err(failed)?),
        "up_down_counter" => instrument::new(py, registry.up_down_counter(spec).map_err(failed)?),
        "gauge" => instrument::new(py, registry.gauge(spec).map_err(failed)?),
        "histogram" => instrument::new(py, registry.histogram(spec).map_err(failed)?),
        "exponential_histogram" => {
            instrument::new(py, registry.exponential_histogram(spec).map_err(failed)?)
        }
        "summary" => instrument::new(py, registry.summary(spec).map_err(failed)?),
        other => Err(failed(ConfigError::new(
            "metric",
            format!("`{other}` is no kind of metric"),
            "use counter, up_down_counter, gauge, histogram, exponential_histogram or summary",
        ))),
    }
}

/// What the environment says, whose oddities `init` tells of.
pub(crate) fn settings() -> MetricSettings {
    MetricSettings::from_env(&Env::process()).0
}

fn series(name: &str, most: i64) -> PyResult<usize> {
    let most = usize::try_from(most).map_err(|_| {
        ConfigError::new(
            format!("metric `{name}`"),
            format!("its max_series is {most}"),
            "use a whole number from 1 on",
        )
    });
    most.map_err(|error| errors::config(&error))
}

fn age(name: &str, seconds: f64) -> PyResult<Duration> {
    let age = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if age.is_zero() {
        return Err(errors::config(&ConfigError::new(
            format!("metric `{name}`"),
            format!("max_age_s is {seconds}"),
            "use seconds above 0",
        )));
    }
    Ok(age)
}

/// What has been measured in this process up to now.
#[pyfunction]
fn metric_snapshot(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let batch = py.detach(|| registry().collect(&CollectOptions::default()));
    snapshot::families(py, &batch)
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    instrument::add_to_module(module)?;
    module.add_class::<timer::Timer>()?;
    module.add_function(wrap_pyfunction!(metric, module)?)?;
    module.add_function(wrap_pyfunction!(page::prometheus_page, module)?)?;
    module.add_function(wrap_pyfunction!(page::hiq_summaries_page, module)?)?;
    module.add_function(wrap_pyfunction!(
        hiq_summaries::follow_hiq_summaries,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(hiq_summaries::hiq_summary, module)?)?;
    module.add_function(wrap_pyfunction!(observed::observe_metric, module)?)?;
    module.add_function(wrap_pyfunction!(observed::say_observed, module)?)?;
    module.add_function(wrap_pyfunction!(rounds::forget_rounds, module)?)?;
    module.add_function(wrap_pyfunction!(rounds::expect_rounds, module)?)?;
    module.add_function(wrap_pyfunction!(rounds::next_round, module)?)?;
    module.add_function(wrap_pyfunction!(rounds::is_watched, module)?)?;
    module.add_function(wrap_pyfunction!(rounds::begin_call, module)?)?;
    module.add_function(wrap_pyfunction!(rounds::end_call, module)?)?;
    module.add_function(wrap_pyfunction!(rounds::end_round, module)?)?;
    module.add_function(wrap_pyfunction!(metric_snapshot, module)?)
}
