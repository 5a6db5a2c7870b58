//! Metrics whose numbers a callback of the program knows.
//!
//! Whoever reads metrics asks, without the GIL, one Python thread to call them all, waits for a while, and takes what they
//! have said. A callback that is slow, that fails, or an interpreter that is busy costs their own metrics and nobody else's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::config::ConfigError;
use hiq_core::fork;
use hiq_core::metric::record::{Reading, Spec};
use hiq_core::metric::{Kind, LabelSet, Number};
use hiq_core::time::UnixNanos;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

use super::{labels, registry};
use crate::gil::GilCell;
use crate::module::errors;

/// How long all callbacks together may take. A scraper waits for ten seconds, for the most part, and for other things too.
const PATIENCE: Duration = Duration::from_secs(1);

type Numbers = Vec<(Arc<LabelSet>, Number)>;
type Found = HashMap<String, Numbers>;

/// One call of all callbacks after the other, of one process.
struct Rounds {
    generation: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The thread that calls them is there.
    has_thread: bool,
    /// Rounds that were asked for, that were begun, and that have ended.
    wanted: u64,
    begun: u64,
    ended: u64,
    /// What was said in the round that goes on, and in the last that has ended.
    said: Found,
    found: Arc<Found>,
}

/// Replaced in a forked child, whose parent may have been holding the lock.
static ROUNDS: AtomicPtr<Rounds> = AtomicPtr::new(std::ptr::null_mut());

/// The kinds of the metrics that are asked for.
static KINDS: GilCell<Vec<(String, Kind)>> = GilCell::new(Vec::new());

thread_local! {
    /// This is the thread that calls them.
    static CALLS: Cell<bool> = const { Cell::new(false) };
    /// The last reading of this thread, and what it has found: once for all metrics.
    static LAST: RefCell<Option<(UnixNanos, Arc<Found>)>> = const { RefCell::new(None) };
}

/// Has the metric `name` asked for whenever metrics are read. The same name is the same metric, of its first description.
#[pyfunction]
pub(super) fn observe_metric(
    kind: &str,
    name: &str,
    description: &str,
    unit: &str,
    max_series: Option<usize>,
) -> PyResult<()> {
    let kind = match kind {
        "counter" => Kind::COUNTER,
        "up_down_counter" => Kind::UP_DOWN_COUNTER,
        _ => Kind::Gauge,
    };
    let mut known = KINDS.lock();
    if let Some((_, before)) = known.iter().find(|(known, _)| known == name) {
        if *before == kind {
            return Ok(());
        }
        return Err(errors::config(&ConfigError::new(
            format!("metric `{name}`"),
            format!("it is a {before:?} already, and cannot be a {kind:?}"),
            "give one of the two another name",
        )));
    }
    let mut spec = Spec::new(name)
        .with_description(description)
        .with_unit(unit)
        .with_max_series(super::settings().max_series);
    if let Some(most) = max_series {
        spec = spec.with_max_series(most);
    }
    let asked = name.to_owned();
    let ask = move |reading: &Reading| ask(&asked, reading);
    let added = registry().observe(kind, spec, ask);
    added.map_err(|error| errors::config(&error))?;
    known.push((name.to_owned(), kind));
    Ok(())
}

/// What the callback of `name` says in this reading.
fn ask(name: &str, reading: &Reading) -> Numbers {
    // SAFETY: may be asked at any time.
    #[expect(unsafe_code, reason = "a question to the interpreter")]
    let holds_gil = unsafe { ffi::PyGILState_Check() == 1 };
    // Whoever holds the GIL would wait for himself.
    if holds_gil || CALLS.get() {
        return Numbers::new();
    }
    let known = LAST.with_borrow(|last| {
        let (time, found) = last.as_ref()?;
        (*time == reading.time()).then(|| Arc::clone(found))
    });
    let found = known.unwrap_or_else(|| {
        let found = rounds().call_all();
        LAST.set(Some((reading.time(), Arc::clone(&found))));
        found
    });
    found.get(name).cloned().unwrap_or_default()
}

impl Rounds {
    fn new() -> Self {
        Self {
            generation: fork::generation(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Has all callbacks called, and waits for what they say.
    fn call_all(&self) -> Arc<Found> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        if !state.has_thread || self.generation != fork::generation() {
            return Arc::default();
        }
        // One that goes on has asked some of them already.
        let mark = state.begun + 1;
        state.wanted = state.wanted.max(mark);
        self.changed.notify_all();
        while state.ended < mark {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Arc::default();
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Arc::clone(&state.found)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rounds() -> &'static Rounds {
    let mut rounds = ROUNDS.load(Ordering::Acquire);
    if rounds.is_null() {
        let made = Box::into_raw(Box::new(Rounds::new()));
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let stored = ROUNDS.compare_exchange(rounds, made, order.0, order.1);
        rounds = stored.map_or_else(|other| other, |_| made);
    }
    #[expect(unsafe_code, reason = "they are leaked, never freed")]
    // SAFETY: only leaked boxes are stored.
    unsafe {
        &*rounds
    }
}

/// The parent's rounds, and its thread, did not come along.
#[pyfunction]
pub(super) fn forget_rounds() {
    let fresh = Box::into_raw(Box::new(Rounds::new()));
    ROUNDS.store(fresh, Ordering::Release);
}

/// The thread that calls them has been started.
#[pyfunction]
pub(super) fn expect_rounds() {
    rounds().lock().has_thread = true;
}

/// Waits until somebody reads metrics. For the one thread that calls the callbacks.
#[pyfunction]
pub(super) fn next_round(py: Python<'_>) {
    CALLS.set(true);
    py.detach(|| {
        let rounds = rounds();
        let mut state = rounds.lock();
        while state.begun == state.wanted {
            let woken = rounds.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.begun = state.wanted;
        state.said.clear();
    });
}

/// What a callback has said in this round: a number, or pairs of labels and number. `TypeError` and `ValueError` for
/// what is neither.
#[pyfunction]
pub(super) fn say_observed(name: &str, said: &Bound<'_, PyAny>) -> PyResult<()> {
    let kind = KINDS
        .lock()
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, kind)| *kind);
    let number = |value: &Bound<'_, PyAny>| number(value, kind.unwrap_or(Kind::Gauge));
    let numbers = if numeric(said) {
        vec![(LabelSet::empty(), number(said)?)]
    } else {
        pairs(said, number)?
    };
    rounds().lock().said.insert(name.to_owned(), numbers);
    Ok(())
}

fn numeric(said: &Bound<'_, PyAny>) -> bool {
    said.is_instance_of::<PyInt>()
        || said.is_instance_of::<PyFloat>()
        || said.hasattr("__float__").unwrap_or(false)
}

fn pairs(
    said: &Bound<'_, PyAny>,
    number: impl Fn(&Bound<'_, PyAny>) -> PyResult<Number>,
) -> PyResult<Numbers> {
    let wrong = || {
        PyTypeError::new_err(
            "a callback returns a number, or pairs of labels and number: [({\"city\": \"Oslo\"}, 3)]",
        )
    };
    let items = said.try_iter().map_err(|_| wrong())?;
    let pair = |item: PyResult<Bound<'_, PyAny>>| {
        let pair: (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract().map_err(|_| wrong())?;
        Ok((labels::of_mapping(&pair.0)?, number(&pair.1)?))
    };
    items.map(pair).collect()
}

fn number(value: &Bound<'_, PyAny>, kind: Kind) -> PyResult<Number> {
    let whole =
        (kind != Kind::Gauge && value.is_instance_of::<PyInt>()).then(|| value.extract::<i64>());
    let number = match whole {
        Some(Ok(whole)) => Number::Int(whole),
        _ => Number::F64(value.extract()?),
    };
    if kind == Kind::COUNTER && number.as_f64() < 0.0 {
        let message =
            format!("a counter never falls below zero: {value}; hiq.metrics.up_down_counter does");
        return Err(PyValueError::new_err(message));
    }
    Ok(number)
}

/// All callbacks have been called.
#[pyfunction]
pub(super) fn end_round() {
    let rounds = rounds();
    let mut state = rounds.lock();
    state.ended = state.begun;
    state.found = Arc::new(std::mem::take(&mut state.said));
    rounds.changed.notify_all();
}
