//! `time()` of an instrument: how long something takes, in seconds.

use std::sync::{Mutex, PoisonError};

use hiq_core::time::Clock;
use pyo3::intern;
use pyo3::prelude::*;

/// A context manager, and a decorator. It may be entered again before it is left.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Timer {
    measured: Py<PyAny>,
    /// Ticks at which it was entered and has not been left.
    entered: Mutex<Vec<u64>>,
}

impl Timer {
    pub(super) fn of(measured: Py<PyAny>) -> Self {
        Self {
            measured,
            entered: Mutex::new(Vec::new()),
        }
    }
}

#[pymethods]
impl Timer {
    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        let mut entered = slf
            .get()
            .entered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entered.push(Clock::ticks());
        drop(entered);
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyAny>) -> PyResult<()> {
        let now = Clock::ticks();
        let start = {
            let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
            entered.pop()
        };
        let Some(start) = start else {
            return Ok(());
        };
        let nanos = Clock::scale_at(now).nanos(now.saturating_sub(start));
        #[expect(
            clippy::cast_precision_loss,
            reason = "a hundred days to the nanosecond"
        )]
        let seconds = nanos as f64 / 1e9;
        let measured = self.measured.bind(py);
        let name = if measured.hasattr(intern!(py, "observe"))? {
            intern!(py, "observe")
        } else {
            intern!(py, "set")
        };
        measured.call_method1(name, (seconds,))?;
        Ok(())
    }

    /// As a decorator: each call of `func` is timed.
    fn __call__(slf: Bound<'_, Self>, func: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let measured = slf.get().measured.bind(py);
        let again = measured.getattr(intern!(py, "time"))?;
        let decorate = py.import("hiq._timed")?.getattr("timed")?;
        Ok(decorate.call1((again, func))?.unbind())
    }
}
