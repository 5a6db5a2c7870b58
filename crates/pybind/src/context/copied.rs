//! `contextvars.copy_context`, in whose copies the innermost open span is found.
//!
//! Plain functions and blocks attach nothing to the ContextVar: that would cost each of them more than its recording. What they
//! would have attached is asked for when somebody copies it.
#![allow(
    unsafe_code,
    reason = "contexts are copied and entered through the C API"
)]

use std::ptr;

use hiq_core::id::SpanId;
use pyo3::ffi;
use pyo3::prelude::*;

use super::origin::Origin;
use super::{Attached, Fragment, PyContext, attach_again, span_id, variable};
use crate::exception::undisturbed;
use crate::state::{ThreadState, state};

/// Copies the current context, as `contextvars.copy_context` does; in the copy, spans hang where the next one would here.
#[pyfunction]
pub(super) fn copy_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: called with the GIL; a new reference or null.
    let copy = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
    if let Some(place) = place_beyond_attached(py, state()) {
        attach_in(&copy, &Bound::new(py, place)?);
    }
    Ok(copy)
}

fn place_beyond_attached(py: Python<'_>, state: &ThreadState) -> Option<PyContext> {
    let root = state.own_root()?;
    let attached = Attached::now();
    let place = state.own_place(&attached)?;
    // It may be more than the place: a task's silence.
    if span_id(attached.object()) == Some(place.span_id) {
        return None;
    }
    let copied = Copied {
        root,
        thread: state.number(),
        around: attached.bound(py).and_then(|around| kept(&around)),
    };
    let origin = Origin::copied(copied);
    Some(PyContext::with(place, Fragment::default(), origin))
}

fn attach_in(copy: &Bound<'_, PyAny>, place: &Bound<'_, PyContext>) {
    // SAFETY: called with the GIL, a new context that nobody is in, and a live object. What fails leaves the copy as it is.
    unsafe {
        if ffi::PyContext_Enter(copy.as_ptr()) == 0 {
            ffi::Py_XDECREF(ffi::PyContextVar_Set(variable(), place.as_ptr()));
            ffi::PyContext_Exit(copy.as_ptr());
        }
        ffi::PyErr_Clear();
    }
}

/// Of a place in a copy: adapters such as asgiref's put it back in the caller's context, which it is not to outlive there.
#[derive(Debug)]
pub(super) struct Copied {
    /// The root that was open.
    root: SpanId,
    /// The number of the thread.
    pub(super) thread: u64,
    /// What was attached.
    around: Option<Py<PyContext>>,
}

/// What was attached; of one that was copied itself one to its like, so that they do not keep each other in an endless row.
fn kept(around: &Bound<'_, PyContext>) -> Option<Py<PyContext>> {
    let context = around.get();
    if context.3.copied.is_none() {
        return Some(around.clone().unbind());
    }
    let origin = context.3.without_around();
    let like = PyContext::with(context.0.clone(), Fragment::default(), origin);
    Py::new(around.py(), like).ok()
}

/// True where an object was copied under `root`: what runs in the copy is no other task.
pub(crate) fn is_copied_under(root: SpanId, object: &Attached) -> bool {
    // SAFETY: called with the GIL.
    let py = unsafe { Python::assume_attached() };
    let copied_under = |context: Bound<'_, PyContext>| context.get().3.copied_under();
    object.bound(py).and_then(copied_under) == Some(root)
}

/// A root has ended: what was copied under it and put back is taken out of the context, and so is the place of a job that has been
/// run out of the thread's own, so that no task inherits it from there.
pub(crate) fn forget_places(ended: SpanId) {
    let attached = Attached::now();
    // SAFETY: called with the GIL.
    let Some(context) = attached.bound(unsafe { Python::assume_attached() }) else {
        return;
    };
    let before = match &context.get().3.copied {
        Some(copied) if copied.root == ended => copied.around.as_ref(),
        _ if context.get().holds_here() => return,
        _ => None,
    };
    let before = before.map_or(ptr::null_mut(), Py::as_ptr);
    // SAFETY: called with the GIL; what was attached before is kept by what is.
    undisturbed(|_| unsafe { attach_again(before) });
}

impl Origin {
    pub(super) fn copied_under(&self) -> Option<SpanId> {
        self.copied.as_ref().map(|copied| copied.root)
    }
}
