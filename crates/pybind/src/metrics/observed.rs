//! Metrics whose numbers a callback of the program knows.
//!
//! Whoever reads metrics asks, without the GIL, a Python thread to call them all, waits for a [while](super::rounds), and
//! takes what they have said. A callback that is slow, that fails or that never returns, or an interpreter that is busy,
//! costs their own metrics and nobody else's.

use std::cell::RefCell;
use std::sync::Arc;

use hiq_core::config::ConfigError;
use hiq_core::metric::record::{Reading, Spec};
use hiq_core::metric::{Kind, LabelSet, Number};
use hiq_core::time::UnixNanos;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt};

use super::rounds::{self, Found, Numbers};
use super::{labels, registry};
use crate::gil::GilCell;
use crate::module::errors;

/// The kinds of the metrics that are asked for.
static KINDS: GilCell<Vec<(String, Kind)>> = GilCell::new(Vec::new());

thread_local! {
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
    max_series: Option<i64>,
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
        spec = spec.with_max_series(super::series(name, most)?);
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
    if holds_gil || rounds::is_caller() {
        return Numbers::new();
    }
    let known = LAST.with_borrow(|last| {
        let (time, found) = last.as_ref()?;
        (*time == reading.time()).then(|| Arc::clone(found))
    });
    let found = known.unwrap_or_else(|| {
        let found = rounds::call_all();
        LAST.set(Some((reading.time(), Arc::clone(&found))));
        found
    });
    found.get(name).cloned().unwrap_or_default()
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
    rounds::say(name, numbers);
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
