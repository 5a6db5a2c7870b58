//! `hiq doctor`: one span or sample through each exporter, and what became of it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::config::{Env, Settings, Warning};
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::pipeline::PipelineStats;
use hiq_core::resource::Resource;
use hiq_core::status::StatusSink;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{Arguments, metrics, registry, resource, seconds};

mod sample;
mod scrape;
mod span;

/// How long the wire has, each time, before somebody looks whether it has said anything.
const PATIENCE: Duration = Duration::from_millis(100);

/// An exporter to be tried.
#[pyclass(frozen, name = "Patient", module = "hiq._hiq")]
pub(super) struct Patient {
    /// Its name.
    #[pyo3(get)]
    name: String,
    /// Where it sends: without user, password and query.
    #[pyo3(get)]
    target: String,
    way: Box<dyn Try>,
    resource: Arc<Resource>,
}

/// A way out of the process, to be tried.
trait Try: Send + Sync {
    /// Sends something, in at most `timeout`.
    fn send(&self, name: &str, resource: &Arc<Resource>, timeout: Duration) -> Finding;
}

/// What became of it.
struct Finding {
    /// What was sent, for people.
    sent: String,
    took: Duration,
    /// What the exporter said.
    words: Option<String>,
    ledger: LedgerSnapshot,
}

/// The exporters that `exporters` and `metrics` name, else those of the environment, and what is odd about that.
#[pyfunction]
pub(super) fn patients(
    py: Python<'_>,
    settings: &Bound<'_, PyDict>,
) -> PyResult<(Vec<Patient>, Vec<String>)> {
    let arguments = Arguments { dict: settings };
    arguments.refuse_unknown(&["exporters", "metrics"])?;
    let (env, mut warnings) = (Env::process(), Vec::new());
    let mut merged = Settings::from_env(&env);
    let exporters = arguments.get("exporters")?;
    let specs = registry::specs(py, exporters.as_ref(), &mut merged, &env, &mut warnings)?;
    let plan = metrics::Plan::read(&arguments, &env, &mut warnings)?;
    let resource = resource(&arguments, &merged)?.detect();
    let patient = |name: String, target: String, way| Patient {
        name,
        target,
        way,
        resource: Arc::clone(&resource),
    };
    let mut patients: Vec<Patient> = specs
        .into_iter()
        .map(|spec| patient(spec.name, spec.target, span::way(spec.build)))
        .collect();
    for (name, way) in plan.into_lanes() {
        let (target, way) = match way {
            metrics::Way::Pushed(push) => sample::way(push),
            metrics::Way::Scraped(settings) => scrape::way(*settings),
        };
        patients.push(patient(name, target, way));
    }
    warnings.extend(merged.warnings);
    Ok((patients, warnings.iter().map(Warning::to_string).collect()))
}

#[pymethods]
impl Patient {
    /// Sends a span or a sample and waits for its fate: the ledger, and the exporter's words if it has any.
    fn examine<'py>(&self, py: Python<'py>, timeout_s: f64) -> PyResult<Bound<'py, PyDict>> {
        let timeout = seconds(timeout_s);
        let finding = py.detach(|| self.way.send(&self.name, &self.resource, timeout));
        let ledger = &finding.ledger;
        let dict = PyDict::new(py);
        dict.set_item("sent", finding.sent)?;
        dict.set_item("seconds", finding.took.as_secs_f64())?;
        dict.set_item("words", finding.words)?;
        dict.set_item("exported", ledger.exported)?;
        dict.set_item("sent_unconfirmed", ledger.sent_unconfirmed)?;
        dict.set_item("lost", ledger.rejected + ledger.dropped.total())?;
        dict.set_item("waiting", ledger.unsettled())?;
        Ok(dict)
    }
}

/// The status lines of one exporter.
#[derive(Clone, Default)]
struct Said {
    shared: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Said {
    fn sink(&self) -> StatusSink {
        let said = self.clone();
        StatusSink::to(move |line| {
            let (lines, spoken) = &*said.shared;
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line.to_owned());
            spoken.notify_all();
        })
    }

    fn last(&self) -> Option<String> {
        let lines = self.shared.0.lock();
        lines
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned()
    }

    /// Waits for a line, for as long as the wire has. True when there is one.
    fn wait(&self) -> bool {
        let (lines, spoken) = &*self.shared;
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = spoken.wait_timeout_while(lines, PATIENCE, |lines| lines.is_empty());
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }
}

/// The one ledger among `stats`.
fn only(stats: &PipelineStats) -> LedgerSnapshot {
    let first = stats.exporters().first();
    first.map_or_else(LedgerSnapshot::default, |one| one.ledger.clone())
}

/// What is left of `timeout`, which began at `began`.
fn left(began: Instant, timeout: Duration) -> Duration {
    timeout.saturating_sub(began.elapsed())
}
