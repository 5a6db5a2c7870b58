//! `_hiq.Driver`: what a HiQ driver holds. It keeps the fragments that have a span of its own; its trees are projections.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hiq_core::intern::SiteId;
use hiq_core::render::{Extras, HiqTree, Projection};
use hiq_core::span::Span;
use hiq_core::tree::{ColumnKind, ColumnSpec, SpanTree};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;

use crate::exception::Pending;
use crate::gil::GilCell;
use crate::runtime;
use crate::state::Quiet;
use crate::tree::PyTree;

/// Spans that a driver holds at most; older calls make room.
const MAX_SPANS: usize = 1_000_000;

/// See the stub.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Shared>,
    metrics: Mutex<Vec<Metric>>,
    args_handler: Mutex<Option<Py<PyAny>>>,
    flags: Flags,
    extras_nanos: AtomicU64,
}

#[derive(Debug, Default)]
struct Flags {
    record_args: AtomicBool,
    record_file: AtomicBool,
    record_func: AtomicBool,
    attach_timestamp: AtomicBool,
    fast_fail: AtomicBool,
    verbose: AtomicBool,
    /// Whether it ever asked: its trees show what it was given then, and nothing that only others asked for.
    asked_args: AtomicBool,
    asked_file: AtomicBool,
    asked_func: AtomicBool,
    asked_trace: AtomicBool,
}

impl Flags {
    /// Attributes of spans that are not this driver's to show.
    fn hidden(&self) -> Vec<&'static str> {
        let asked = [
            (&self.asked_args, "hiq.args"),
            (&self.asked_args, "hiq.kwargs"),
            (&self.asked_file, "hiq.caller_file"),
            (&self.asked_func, "hiq.caller_function"),
            (&self.asked_trace, "hiq.exception_trace"),
        ];
        let hidden = asked
            .iter()
            .filter(|(asked, _)| !asked.load(Ordering::Relaxed));
        hidden.map(|(_, name)| *name).collect()
    }
}

/// A metric that is read at the start and end of a call.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) spec: Arc<ColumnSpec>,
    /// None for `time`, which the recorder reads itself.
    pub(crate) read: Option<Py<PyAny>>,
}

/// The part that fragments are offered to; it may outlive the Python object by a call.
#[derive(Debug)]
struct Shared {
    id: u32,
    id_func: Option<Py<PyAny>>,
    max_keys: usize,
    held: Mutex<Held>,
    /// Its own names of wrappers that another driver has had made, by what they record under.
    names: Mutex<HashMap<(SiteId, String), Arc<str>>>,
}

#[derive(Debug, Default)]
struct Held {
    /// Oldest key first.
    keys: VecDeque<Key>,
    spans: usize,
    dropped: usize,
    /// Own spans that were ever held: what the overhead is counted by.
    seen: usize,
}

#[derive(Debug)]
struct Key {
    value: Py<PyAny>,
    /// Fragments and how many own spans each has.
    fragments: VecDeque<(Arc<SpanTree>, usize)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of the call that has just ended. A key function that fails counts as key None.
    fn key(&self, py: Python<'_>) -> Py<PyAny> {
        let Some(function) = &self.id_func else {
            return py.None();
        };
        let _quiet = Quiet::new();
        // The call may have ended with an exception (a coroutine's result is one), which must stay pending.
        let pending = Pending::take();
        let key = function.call0(py).unwrap_or_else(|error| {
            drop(error);
            py.None()
        });
        pending.restore();
        key
    }

    fn hold(&self, py: Python<'_>, tree: &Arc<SpanTree>, own: usize) {
        let key = self.key(py);
        let mut held = self.lock();
        held.seen += own;
        held.spans += own;
        let at = held.position(py, &key).unwrap_or_else(|| {
            held.keys.push_back(Key {
                value: key,
                fragments: VecDeque::new(),
            });
            held.keys.len() - 1
        });
        held.keys[at].fragments.push_back((Arc::clone(tree), own));
        // As HiQ counts: the limit and one more.
        while held.keys.len() > self.max_keys + 1 {
            held.drop_oldest_key();
        }
        while held.spans > MAX_SPANS && held.drop_oldest_fragment() {}
    }
}

impl Held {
    fn position(&self, py: Python<'_>, key: &Py<PyAny>) -> Option<usize> {
        let newest = self.keys.len().checked_sub(1)?;
        if self.keys[newest].value.is(key) {
            return Some(newest);
        }
        let _quiet = Quiet::new();
        let pending = Pending::take();
        let at = self.keys.iter().position(|known| {
            known.value.is(key) || known.value.bind(py).eq(key.bind(py)).unwrap_or(false)
        });
        pending.restore();
        at
    }

    fn drop_oldest_key(&mut self) {
        if let Some(key) = self.keys.pop_front() {
            let own: usize = key.fragments.iter().map(|(_, own)| own).sum();
            self.spans -= own;
            self.dropped += own;
        }
    }

    /// False when only one fragment is left: a single call may be larger than the cap.
    fn drop_oldest_fragment(&mut self) -> bool {
        let fragments: usize = self.keys.iter().map(|key| key.fragments.len()).sum();
        if fragments < 2 {
            return false;
        }
        let Some(key) = self.keys.iter_mut().find(|key| !key.fragments.is_empty()) else {
            return false;
        };
        if let Some((_, own)) = key.fragments.pop_front() {
            self.spans -= own;
            self.dropped += own;
        }
        true
    }
}

/// Every set of drivers that some wrapper has, by number; set 0 is the empty one.
static SETS: GilCell<Sets> = GilCell::new(Sets {
    members: Vec::new(),
    drivers: Vec::new(),
    next_id: 1,
});

#[derive(Debug)]
struct Sets {
    members: Vec<Arc<[u32]>>,
    drivers: Vec<(u32, Weak<Shared>)>,
    next_id: u32,
}

/// The number of the set of `drivers`.
pub(crate) fn set_of(_py: Python<'_>, drivers: &[Py<Driver>]) -> u16 {
    if drivers.is_empty() {
        return 0;
    }
    let mut ids: Vec<u32> = drivers
        .iter()
        .map(|driver| driver.get().shared.id)
        .collect();
    ids.sort_unstable();
    let mut sets = SETS.lock();
    let known = sets.members.iter().position(|set| **set == *ids);
    let at = known.unwrap_or_else(|| {
        sets.members.push(ids.into());
        sets.members.len() - 1
    });
    u16::try_from(at + 1).unwrap_or(0)
}

/// Whether `set` holds the driver `id`.
fn holds(sets: &[Arc<[u32]>], set: u16, id: u32) -> bool {
    let members = usize::from(set).checked_sub(1).and_then(|at| sets.get(at));
    members.is_some_and(|members| members.contains(&id))
}

/// Gives a finished fragment to each driver that has a span in it.
pub(crate) fn offer(tree: &Arc<SpanTree>) {
    let mut counts: Vec<(u16, usize)> = Vec::new();
    let mut last = 0;
    for span in tree.spans() {
        let set = span.drivers();
        if set == 0 {
            continue;
        }
        if counts.get(last).is_some_and(|(known, _)| *known == set) {
            counts[last].1 += 1;
            continue;
        }
        last = counts
            .iter()
            .position(|(known, _)| *known == set)
            .unwrap_or_else(|| {
                counts.push((set, 0));
                counts.len() - 1
            });
        counts[last].1 += 1;
    }
    if !counts.is_empty() {
        Python::attach(|py| offer_counted(py, tree, &counts));
    }
}

fn offer_counted(py: Python<'_>, tree: &Arc<SpanTree>, counts: &[(u16, usize)]) {
    let drivers: Vec<(Arc<Shared>, usize)> = {
        let sets = SETS.lock();
        let alive = sets.drivers.iter().filter_map(|(id, shared)| {
            let own: usize = counts
                .iter()
                .filter(|(set, _)| holds(&sets.members, *set, *id))
                .map(|(_, count)| count)
                .sum();
            (own > 0).then(|| shared.upgrade().map(|shared| (shared, own)))?
        });
        alive.collect()
    };
    // Key functions are the program's code: no lock is held around them.
    for (driver, own) in drivers {
        driver.hold(py, tree, own);
    }
}

impl Driver {
    /// Whether a call needs more than the recorder gives by itself.
    pub(crate) fn wants_extras(&self) -> bool {
        let flags = &self.flags;
        let flagged = [&flags.record_args, &flags.record_file, &flags.record_func];
        flagged.iter().any(|flag| flag.load(Ordering::Relaxed))
            || !self.fast_fail()
            || flags.verbose.load(Ordering::Relaxed)
            || self
                .lock_metrics()
                .iter()
                .any(|metric| metric.read.is_some())
    }

    pub(crate) fn fast_fail(&self) -> bool {
        self.flags.fast_fail.load(Ordering::Relaxed)
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.flags.verbose.load(Ordering::Relaxed)
    }

    /// Whether arguments, the caller's file and the caller's function are wanted.
    pub(crate) fn wants(&self) -> (bool, bool, bool) {
        let flags = &self.flags;
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
        self.extras_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Calls spans of a wrapper by another name than they are recorded under.
    pub(crate) fn rename(&self, site: SiteId, recorded: &str, name: &str) {
        let key = (site, recorded.to_owned());
        if recorded == name {
            self.names().remove(&key);
        } else {
            self.names().insert(key, name.into());
        }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<(SiteId, String), Arc<str>>> {
        self.shared
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_metrics(&self) -> MutexGuard<'_, Vec<Metric>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fragments(&self, py: Python<'_>, key: &Py<PyAny>) -> Option<Vec<Arc<SpanTree>>> {
        let held = self.shared.lock();
        let at = held.position(py, key)?;
        Some(
            held.keys[at]
                .fragments
                .iter()
                .map(|(tree, _)| Arc::clone(tree))
                .collect(),
        )
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
        let mut sets = SETS.lock();
        let id = sets.next_id;
        sets.next_id += 1;
        let shared = Arc::new(Shared {
            id,
            id_func,
            max_keys,
            held: Mutex::default(),
            names: Mutex::default(),
        });
        sets.drivers.retain(|(_, driver)| driver.strong_count() > 0);
        sets.drivers.push((id, Arc::downgrade(&shared)));
        drop(sets);
        let flags = Flags {
            fast_fail: fast_fail.into(),
            verbose: verbose.into(),
            asked_trace: verbose.into(),
            ..Flags::default()
        };
        Ok(Self {
            shared,
            metrics: Mutex::new(metrics),
            args_handler: Mutex::new(args_handler),
            flags,
            extras_nanos: AtomicU64::new(0),
        })
    }

    #[getter]
    fn get_record_args(&self) -> bool {
        self.flags.record_args.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_record_args(&self, on: bool) {
        self.flags.record_args.store(on, Ordering::Relaxed);
        self.flags.asked_args.fetch_or(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_record_file(&self) -> bool {
        self.flags.record_file.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_record_file(&self, on: bool) {
        self.flags.record_file.store(on, Ordering::Relaxed);
        self.flags.asked_file.fetch_or(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_record_func(&self) -> bool {
        self.flags.record_func.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_record_func(&self, on: bool) {
        self.flags.record_func.store(on, Ordering::Relaxed);
        self.flags.asked_func.fetch_or(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_attach_timestamp(&self) -> bool {
        self.flags.attach_timestamp.load(Ordering::Relaxed)
    }
    #[setter]
    fn set_attach_timestamp(&self, on: bool) {
        self.flags.attach_timestamp.store(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_fast_fail(&self) -> bool {
        self.fast_fail()
    }
    #[setter]
    fn set_fast_fail(&self, on: bool) {
        self.flags.fast_fail.store(on, Ordering::Relaxed);
    }
    #[getter]
    fn get_verbose(&self) -> bool {
        self.is_verbose()
    }
    #[setter]
    fn set_verbose(&self, on: bool) {
        self.flags.verbose.store(on, Ordering::Relaxed);
        self.flags.asked_trace.fetch_or(on, Ordering::Relaxed);
    }

    #[getter]
    fn spans(&self) -> usize {
        self.shared.lock().spans
    }

    #[getter]
    fn dropped(&self) -> usize {
        self.shared.lock().dropped
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
        self.lock_metrics()
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
        let mut metrics = self.lock_metrics();
        metrics.retain(|known| known.spec.name != name);
        metrics.push(metric);
        Ok(())
    }

    #[pyo3(signature = (key, metric="time"))]
    fn tree(&self, py: Python<'_>, key: Py<PyAny>, metric: &str) -> PyResult<Option<PyTree>> {
        let column = {
            let metrics = self.lock_metrics();
            let known = metrics.iter().find(|known| known.spec.name == metric);
            let known = known.ok_or_else(|| PyKeyError::new_err(metric.to_owned()))?;
            known.read.is_some().then(|| Arc::clone(&known.spec))
        };
        let Some(fragments) = self.fragments(py, &key) else {
            return Ok(None);
        };
        let sets = SETS.lock().members.clone();
        let is_own = |set: u16| holds(&sets, set, self.shared.id);
        let with_times = self.flags.attach_timestamp.load(Ordering::Relaxed);
        let names = self.names().clone();
        let renamed = |span: Span<'_>| {
            let known = names.get(&(span.site(), span.name().as_str().to_owned()));
            known.map(|name| &**name)
        };
        let hidden = self.flags.hidden();
        let projection = Projection::new(&is_own)
            .without(&hidden)
            .of_metric(None, with_times)
            .with_exceptions(self.fast_fail());
        let projection = match &column {
            Some(column) => projection.of_column(column),
            None => projection,
        };
        let projection = if names.is_empty() {
            projection
        } else {
            projection.with_names(&renamed)
        };
        // As in HiQ, the tree named `time` is the one that tells the overhead, whoever reads its clock.
        let is_time = metric == "time";
        let overhead_us = (self.overhead_ns(py) / 1_000).to_string();
        let overhead = is_time.then_some(("'overhead'", overhead_us.as_str()));
        let extras = Extras::from_reprs(overhead);
        let builder = HiqTree::builder(metric)
            .monotonic(is_time)
            .zin_threshold(runtime::zin_threshold(py))
            .extras(extras);
        let tree = py.detach(|| projection.tree(builder, &fragments));
        Ok(Some(PyTree::from(tree)))
    }

    fn overhead_ns(&self, py: Python<'_>) -> u64 {
        let spans = self.shared.lock().seen;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an estimate"
        )]
        let recording = (crate::calibrate::span_nanos(py) * spans as f64) as u64;
        recording + self.extras_nanos.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        // The old fragments go after the lock: their memory may be large.
        let old = std::mem::take(&mut *self.shared.lock());
        drop(old);
    }
}
