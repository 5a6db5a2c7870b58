//! The log of calls: what a tree with a `queue_lmk` tells it.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::PyTree;

impl PyTree {
    /// Puts HiQ's dict about a span that starts or ends into the queue.
    pub(super) fn log(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        extra: Option<&Bound<'_, PyDict>>,
        is_start: bool,
    ) -> PyResult<()> {
        let py = slf.py();
        let queue = slf.borrow().queue_lmk(py);
        let Some(queue) = queue.map(|queue| queue.into_bound(py)) else {
            return Ok(());
        };
        if !queue.is_truthy()? {
            return Ok(());
        }
        let line = PyDict::new(py);
        line.set_item("id_", slf.borrow().tid())?;
        line.set_item("name", name)?;
        line.set_item("value", value)?;
        line.set_item("extra", extra.cloned().unwrap_or_else(|| PyDict::new(py)))?;
        line.set_item("is_start", is_start)?;
        queue.call_method1("put_nowait", (line,)).map(drop)
    }
}
