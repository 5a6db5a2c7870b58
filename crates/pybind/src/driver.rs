//! `_hiq.Driver`: what a HiQ driver holds. It keeps the fragments that have a span of its own; its trees are projections.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use hiq_core::intern::SiteId;
use hiq_core::tree::{ColumnKind, ColumnSpec};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;

use self::shared::{Flags, Metric, Shared};
use crate::runtime;
use crate::state::Quiet;
use crate::tree::PyTree;

mod followers;
mod held;
mod sets;
mod shared;

pub(crate) use self::followers::{add_to_module, after_fork_in_child};
pub(crate) use self::sets::{offer, set_of};

/// See the stub.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Shared>,
    args_handler: Mutex<Option<Py<PyAny>>>,
}

impl Driver {
    fn id(&self) -> u32 {
        self.shared.id
    }

    /// Whether a call needs more than the recorder gives by itself.
    pub(crate) fn wants_extras(&self) -> bool {
        let flags = &self.shared.flags;
        let flagged = [&flags.record_args, &flags.record_file, &flags.record_func];
        flagged.iter().any(|flag| flag.load(Ordering::Relaxed))
            || !self.fast_fail()
            || flags.verbose.load(Ordering::Relaxed)
            || self
                .shared
                .lock_metrics()
                .iter()
                .any(|metric| metric.read.is_some())
    }

    pub(crate) fn fast_fail(&self) -> bool {
        self.shared.flags.fast_fail.load(Ordering::Relaxed)
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.shared.flags.verbose.load(Ordering::Relaxed)
    }

    /// Whether arguments, the caller's file and the caller's function are wanted.
    pub(crate) fn wants(&self) -> (bool, bool, bool) {
        let flags = &self.shared.flags;
        (
            flags.record_args.load(Ordering::Relaxed),
            flags.record_file.load(Ordering::Relaxed),
            flags.record_func.load(Ordering::Relaxed),
        )
    }

    pub(crate) fn args_handler(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let handler = self
            .args_handler
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        handler.as_ref().map(|handler| handler.clone_ref(py))
    }

    /// The metrics that a function of the program gives.
    pub(crate) fn read_metrics(&self, py: Python<'_>, out: &mut Vec<(Arc<ColumnSpec>, f64)>) {
        let functions: Vec<_> = self
            .shared
            .lock_metrics()
            .iter()
            .filter_map(|metric| {
                Some((
                    Arc::clone(&metric.spec),
                    metric.read.as_ref()?.clone_ref(py),
                ))
            })
            .collect();
        for (spec, function) in functions {
            let _quiet = Quiet::new();
            let value = function.call0(py).and_then(|value| value.extract(py));
            // A metric that fails is missing; the call that it measures goes on.
            out.push((spec, value.unwrap_or(f64::NAN)));
        }
    }

    /// Adds to the measured cost of extra metrics and arguments.
    pub(crate) fn add_extras_nanos(&self, nanos: u64) {
        self.shared.extras_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Calls spans of a wrapper by another name than they are recorded under.
    pub(crate) fn rename(&self, site: SiteId, recorded: &str, name: &str) {
        let key = (site, recorded.to_owned());
        if recorded == name {
            self.shared.names().remove(&key);
        } else {
            self.shared.names().insert(key, name.into());
        }
    }
}

fn column_kind(kind: &str) -> PyResult<Option<ColumnKind>> {
    match kind {
        "time" => Ok(None),
        "level" => Ok(Some(ColumnKind::Level)),
        "delta" => Ok(Some(ColumnKind::Delta { monotonic: false })),
        "counter" => Ok(Some(ColumnKind::Delta { monotonic: true })),
        other => Err(PyValueError::new_err(format!(
            "metric kind `{other}` is none of time, level, delta, counter"
        ))),
    }
}

fn metric(name: &str, unit: &str, kind: &str, function: Option<Py<PyAny>>) -> PyResult<Metric> {
    let column = column_kind(kind)?;
    let read = if column.is_some() { function } else { None };
    Ok(Metric {
        spec: Arc::new(ColumnSpec::new(
            name,
            unit,
            column.unwrap_or(ColumnKind::Level),
        )),
        read,
    })
}

type MetricRow = (String, String, String, Option<Py<PyAny>>);

#[pymethods]
impl Driver {
    #[new]
    #[pyo3(signature = (*, metrics=None, id_func=None, args_handler=None, fast_fail=true, verbose=false, max_keys=30))]
    fn new(
        metrics: Option<Vec<MetricRow>>,
        id_func: Option<Py<PyAny>>,
        args_handler: Option<Py<PyAny>>,
        fast_fail: bool,
        verbose: bool,
        max_keys: usize,
    ) -> PyResult<Self> {
        let rows =
            metrics.unwrap_or_else(|| vec![("time".into(), "s".into(), "time".into(), None)]);
        let metrics = rows
            .into_iter()
            .map(|(name, unit, kind, function)| metric(&name, &unit, &kind, function));
        let metrics = metrics.collect::<PyResult<Vec<_>>>()?;
        let flags = Flags {
            fast_fail: fast_fail.into(),
            verbose: verbose.into(),
            asked_trace: verbose.into(),
            ..Flags::default()
        };
        let shared = Arc::new(Shared::new(id_func, max_keys, metrics, flags));
        sets::register(&shared);
        Ok(Self {
            shared,
            args_handler: Mutex::new(args_handler),
        })
    }

    #[getter]
    fn get_record_args(&self) -> bool {
        self.shared.flags.record_args.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_record_args(&self, on: bool) {
        self.shared.flags.record_args.store(on, Ordering::Relaxed);
        self.shared.flags.asked_args.fetch_or(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_record_file(&self) -> bool {
        self.shared.flags.record_file.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_record_file(&self, on: bool) {
        self.shared.flags.record_file.store(on, Ordering::Relaxed);
        self.shared.flags.asked_file.fetch_or(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_record_func(&self) -> bool {
        self.shared.flags.record_func.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_record_func(&self, on: bool) {
        self.shared.flags.record_func.store(on, Ordering::Relaxed);
        self.shared.flags.asked_func.fetch_or(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_attach_timestamp(&self) -> bool {
        self.shared.flags.attach_timestamp.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_attach_timestamp(&self, on: bool) {
        self.shared
            .flags
            .attach_timestamp
            .store(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_fast_fail(&self) -> bool {
        self.fast_fail()
    }
    #[setter]
    fn set_fast_fail(&self, on: bool) {
        self.shared.flags.fast_fail.store(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_verbose(&self) -> bool {
        self.is_verbose()
    }
    #[setter]
    fn set_verbose(&self, on: bool) {
        self.shared.flags.verbose.store(on, Ordering::Relaxed);
        self.shared
            .flags
            .asked_trace
            .fetch_or(on, Ordering::Relaxed);
    }

    #[getter]
    fn spans(&self) -> usize {
        self.shared.lock().spans
    }

    #[getter]
    fn dropped(&self) -> usize {
        self.shared.lock().dropped
    }

    #[getter]
    fn outgrown(&self) -> usize {
        self.shared.lock().outgrown
    }

    fn keys(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.shared
            .lock()
            .keys
            .iter()
            .map(|key| key.value.clone_ref(py))
            .collect()
    }

    fn metrics(&self) -> Vec<String> {
        self.shared
            .lock_metrics()
            .iter()
            .map(|metric| metric.spec.name.clone())
            .collect()
    }

    #[pyo3(signature = (name, unit, kind, func))]
    fn add_metric(
        &self,
        name: &str,
        unit: &str,
        kind: &str,
        func: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let metric = metric(name, unit, kind, func)?;
        let mut metrics = self.shared.lock_metrics();
        metrics.retain(|known| known.spec.name != name);
        metrics.push(metric);
        Ok(())
    }

    #[pyo3(signature = (key, metric="time"))]
    fn tree(&self, py: Python<'_>, key: Py<PyAny>, metric: &str) -> PyResult<Option<PyTree>> {
        let known = self
            .shared
            .lock_metrics()
            .iter()
            .any(|known| known.spec.name == metric);
        if !known {
            return Err(PyKeyError::new_err(metric.to_owned()));
        }
        let Some(fragments) = self.shared.fragments(py, &key) else {
            return Ok(None);
        };
        let threshold = runtime::zin_threshold(py);
        Ok(Some(self.shared.draw(py, metric, &fragments, threshold)))
    }

    fn overhead_ns(&self, py: Python<'_>) -> u64 {
        self.shared.overhead_ns(py)
    }

    /// Who is told of finished calls (of their trees, one for each metric), and of keys that had to make room.
    #[pyo3(signature = (*, on_call=None, on_eviction=None))]
    fn follow(&self, on_call: Option<Py<PyAny>>, on_eviction: Option<Py<PyAny>>) {
        self.shared.follow(on_call, on_eviction);
    }

    fn reset(&self) {
        // The old fragments go after the lock: their memory may be large.
        let old = std::mem::take(&mut *self.shared.lock());
        drop(old);
    }
}
