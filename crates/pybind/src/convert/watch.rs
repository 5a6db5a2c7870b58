//! Whether somebody wants a conversion to end, and telling how far it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Looks out for Ctrl-C.
pub(super) struct Watch {
    /// Set when the conversion is to end.
    pub(super) stop: Arc<AtomicBool>,
    progress: Option<Py<PyAny>>,
    looked: Mutex<Instant>,
    /// What a signal or the progress callback raised.
    interrupt: Mutex<Option<PyErr>>,
}

const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Watch {
    pub(super) fn new(progress: Option<Py<PyAny>>) -> Self {
        Self {
            stop: Arc::default(),
            progress,
            looked: Mutex::new(Instant::now()),
            interrupt: Mutex::new(None),
        }
    }

    /// False when the conversion is to end.
    pub(super) fn goes_on(&self) -> bool {
        self.look(None, false)
    }

    /// The same, telling the bytes read of a file of that size. Looks ten times a second, and when it `is_urgent`.
    pub(super) fn look(&self, read_of: Option<(u64, u64)>, is_urgent: bool) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return false;
        }
        if !is_urgent && !self.is_time() {
            return true;
        }
        let looked = Python::attach(|py| {
            py.check_signals()?;
            match (&self.progress, read_of) {
                (Some(progress), Some(read_of)) => progress.call1(py, read_of).map(drop),
                _ => Ok(()),
            }
        });
        let Err(error) = looked else {
            return true;
        };
        let mut interrupt = self
            .interrupt
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *interrupt = Some(error);
        self.stop.store(true, Ordering::Relaxed);
        false
    }

    /// What ended the conversion.
    pub(super) fn into_interrupt(self) -> Option<PyErr> {
        let interrupt = self.interrupt.into_inner();
        interrupt.unwrap_or_else(PoisonError::into_inner)
    }

    fn is_time(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = looked.elapsed() >= LOOK_EVERY;
        if is_time {
            *looked = Instant::now();
        }
        is_time
    }
}
