//! The end of the program: what was recorded leaves within the deadline, and an impatient Ctrl-C is heard meanwhile.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use hiq_core::pipeline::Pipeline;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use super::{end_within, metrics};

/// How long a Ctrl-C waits to be noticed.
const GLANCE: Duration = Duration::from_millis(50);

/// Ends what there is. An interrupt ends it at once; what a handler of the program raises goes on.
pub(super) fn end(py: Python<'_>, pipeline: &Pipeline, timeout: Duration) -> PyResult<()> {
    let reader = metrics::reader();
    let reader = reader.as_deref();
    if reader.is_none() && holds_nothing(pipeline) {
        py.detach(|| end_within(timeout, pipeline, None));
        return Ok(());
    }
    std::thread::scope(|scope| {
        let (ended, mut end) = channel::<()>();
        let thread = std::thread::Builder::new().name("hiq-exit".to_owned());
        let ending = thread.spawn_scoped(scope, move || {
            end_within(timeout, pipeline, reader);
            drop(ended);
        });
        if ending.is_err() {
            // No thread is to be had: nobody listens meanwhile.
            py.detach(|| end_within(timeout, pipeline, reader));
            return Ok(());
        }
        loop {
            let said;
            (end, said) = py.detach(move || {
                let said = end.recv_timeout(GLANCE);
                (end, said)
            });
            if said != Err(RecvTimeoutError::Timeout) {
                return Ok(());
            }
            if let Err(raised) = py.check_signals() {
                py.detach(|| end_within(Duration::ZERO, pipeline, reader));
                let is_heard = raised.is_instance_of::<PyKeyboardInterrupt>(py);
                return if is_heard { Ok(()) } else { Err(raised) };
            }
        }
    })
}

fn holds_nothing(pipeline: &Pipeline) -> bool {
    let stats = pipeline.stats();
    let mut exporters = stats.exporters().iter();
    exporters.all(|exporter| exporter.ledger.unsettled() == 0)
}
