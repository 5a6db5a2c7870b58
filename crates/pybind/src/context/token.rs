//! What `hiq.attach` gives: the way back, as a `with` block or by `hiq.detach`.
#![allow(unsafe_code, reason = "a context variable is reset; argued there")]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{PyContext, pass_on, reset, set};
use crate::gil::GilCell;
use crate::otel;

/// What `hiq.attach` gives: `with hiq.attach(context):` detaches at the end of the block, `hiq.detach(token)` at once.
#[pyclass(frozen, module = "hiq._hiq")]
pub(crate) struct Token(GilCell<Option<Attached>>);

/// Which is taken back once.
struct Attached {
    token: Py<PyAny>,
    /// OpenTelemetry's, where it was told.
    passed_on: Option<Py<PyAny>>,
}

#[pymethods]
impl Token {
    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: &Bound<'_, PyTuple>) -> bool {
        self.take_back();
        false
    }
}

impl Token {
    fn take_back(&self) {
        let attached = self.0.lock().take();
        if let Some(attached) = attached {
            if let Some(passed_on) = attached.passed_on {
                otel::detach(passed_on);
            }
            // SAFETY: `attach` made the token, and this is its only use.
            unsafe { reset(attached.token.into_ptr()) };
        }
    }
}

/// Makes spans without a parent in this thread or task children of `context`; None: of nothing.
///
/// `with hiq.attach(context):` takes it back at the end of the block; otherwise give the answer to `hiq.detach`.
#[pyfunction]
pub(super) fn attach(py: Python<'_>, context: Option<Py<PyContext>>) -> Token {
    let passed_on = context.as_ref().and_then(|context| {
        context.get().3.note_attached();
        pass_on(&context.get().0)
    });
    let value = context.map_or_else(|| py.None(), Py::into_any);
    // SAFETY: a live object; the token is a new reference.
    let token = unsafe { Bound::from_owned_ptr_or_opt(py, set(value.as_ptr())) };
    let attached = token.map(|token| Attached {
        token: token.unbind(),
        passed_on,
    });
    Token(GilCell::new(attached))
}

/// Takes back what `hiq.attach` has attached. A second time, and None, do nothing.
#[pyfunction]
pub(super) fn detach(token: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let Some(token) = token else {
        return Ok(());
    };
    let Ok(ours) = token.cast::<Token>() else {
        let kind = token.get_type().name()?;
        let message = format!("detach() takes what attach() gave, not {kind}");
        return Err(PyTypeError::new_err(message));
    };
    ours.get().take_back();
    Ok(())
}
