//! When to stop.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;

use super::SIGNALS_EVERY;

/// Asks Python, which alone hears of signals, whether to go on.
pub(super) struct Stop {
    event: Py<PyAny>,
    asked: Mutex<Asked>,
}

struct Asked {
    at: Option<Instant>,
    is_set: bool,
    /// What a handler raised.
    interrupt: Option<PyErr>,
}

impl Stop {
    pub(super) fn new(event: Py<PyAny>) -> Self {
        let asked = Asked {
            at: None,
            is_set: false,
            interrupt: None,
        };
        Self {
            event,
            asked: Mutex::new(asked),
        }
    }

    pub(super) fn is_set(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_set || asked.at.is_some_and(|at| at.elapsed() < SIGNALS_EVERY) {
            return asked.is_set;
        }
        asked.at = Some(Instant::now());
        let answer = Python::attach(|py| {
            py.check_signals()?;
            self.event.call_method0(py, "is_set")?.extract(py)
        });
        match answer {
            Ok(is_set) => asked.is_set = is_set,
            Err(error) => (asked.is_set, asked.interrupt) = (true, Some(error)),
        }
        asked.is_set
    }

    pub(super) fn into_interrupt(self) -> Option<PyErr> {
        let asked = self.asked.into_inner();
        asked.unwrap_or_else(PoisonError::into_inner).interrupt
    }
}
