//! `hiq doctor`: one span through each exporter, and what became of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::config::{Env, Settings, Warning};
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::Tracer;
use hiq_core::resource::Resource;
use hiq_core::status::StatusSink;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::registry::{self, Build};
use super::{Arguments, resource, seconds};

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
    build: Arc<dyn Build>,
    resource: Arc<Resource>,
}

/// The exporters that these settings name, and what is odd about the environment.
#[pyfunction]
pub(super) fn patients(
    py: Python<'_>,
    settings: &Bound<'_, PyDict>,
) -> PyResult<(Vec<Patient>, Vec<String>)> {
    let arguments = Arguments { dict: settings };
    arguments.refuse_unknown(&["exporters"])?;
    let (env, mut warnings) = (Env::process(), Vec::new());
    let mut merged = Settings::from_env(&env);
    let exporters = arguments.get("exporters")?;
    let specs = registry::specs(py, exporters.as_ref(), &mut merged, &env, &mut warnings)?;
    let resource = resource(&arguments, &merged)?.detect();
    let patients = specs.into_iter().map(|spec| Patient {
        name: spec.name,
        target: spec.target,
        build: Arc::from(spec.build),
        resource: Arc::clone(&resource),
    });
    let patients = patients.collect();
    warnings.extend(merged.warnings);
    Ok((patients, warnings.iter().map(Warning::to_string).collect()))
}

#[pymethods]
impl Patient {
    /// Sends a span and waits for its fate: the ledger, the exporter's words if it has any, and the trace id.
    fn examine<'py>(&self, py: Python<'py>, timeout_s: f64) -> PyResult<Bound<'py, PyDict>> {
        let finding = py.detach(|| self.send(seconds(timeout_s)));
        let ledger = &finding.ledger;
        let dict = PyDict::new(py);
        dict.set_item("trace_id", finding.trace_id)?;
        dict.set_item("seconds", finding.took.as_secs_f64())?;
        dict.set_item("words", finding.words)?;
        dict.set_item("exported", ledger.exported)?;
        dict.set_item("sent_unconfirmed", ledger.sent_unconfirmed)?;
        dict.set_item("lost", ledger.rejected + ledger.dropped.total())?;
        dict.set_item("waiting", ledger.unsettled())?;
        Ok(dict)
    }
}

struct Finding {
    trace_id: String,
    took: Duration,
    words: Option<String>,
    ledger: LedgerSnapshot,
}

impl Patient {
    fn send(&self, timeout: Duration) -> Finding {
        let said = Arc::new(Mutex::new(Vec::<String>::new()));
        let pipeline = self.pipeline(&said);
        let words = || {
            said.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .last()
                .cloned()
        };
        let began = Instant::now();
        let trace_id = offer(&pipeline);
        let mut took = await_fate(&pipeline, began + timeout, || words().is_some());
        if ledger(&pipeline).sent_unconfirmed > 0 {
            // That nobody listens there, the system says to the second packet.
            offer(&pipeline);
            took += await_fate(&pipeline, began + timeout, || words().is_some());
        }
        let ledger = ledger(&pipeline);
        pipeline.shutdown(Duration::ZERO);
        Finding {
            trace_id,
            took,
            words: words(),
            ledger,
        }
    }

    fn pipeline(&self, said: &Arc<Mutex<Vec<String>>>) -> Pipeline {
        let (build, said) = (Arc::clone(&self.build), Arc::clone(said));
        let note = move |line: &str| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(line.to_owned());
        };
        Pipeline::builder()
            .resource(Arc::clone(&self.resource))
            .exporter(self.name.clone(), move || build())
            .status(StatusSink::to(note))
            .build()
    }
}

/// Records the span. Returns the id of its trace.
fn offer(pipeline: &Pipeline) -> String {
    let tracer = Tracer::new(pipeline.clone());
    let span = tracer.span("hiq doctor");
    let context = span.context();
    drop(span);
    context.map_or_else(String::new, |context| context.trace_id.to_string())
}

/// Waits until the span is settled or the exporter has something to say. Returns how long that took.
fn await_fate(pipeline: &Pipeline, end: Instant, has_spoken: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !pipeline.flush(PATIENCE).is_complete() && !has_spoken() && Instant::now() < end {}
    began.elapsed()
}

fn ledger(pipeline: &Pipeline) -> LedgerSnapshot {
    let stats = pipeline.stats();
    stats
        .exporters()
        .first()
        .map_or_else(LedgerSnapshot::default, |exporter| exporter.ledger.clone())
}
