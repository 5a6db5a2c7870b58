//! Whether the program has imported what we live beside. Nothing of it is ever imported from here.
//!
//! The question costs one comparison: as many modules are loaded as when we looked last.
#![allow(
    unsafe_code,
    reason = "the interpreter's table of modules is asked for its size"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::exception::undisturbed;

/// `sys.modules`, for ever: the interpreter takes it down before the last traced call.
static MODULES: OnceLock<usize> = OnceLock::new();
static SIZE_SEEN: AtomicIsize = AtomicIsize::new(-1);
static OPENTELEMETRY: AtomicBool = AtomicBool::new(false);
static GREENLET: AtomicBool = AtomicBool::new(false);
static CONTEXTVARS: AtomicBool = AtomicBool::new(false);

/// OpenTelemetry's API is there.
#[inline]
pub(crate) fn opentelemetry() -> bool {
    look_if_needed();
    OPENTELEMETRY.load(Ordering::Relaxed)
}

/// Greenlets are there.
#[inline]
pub(crate) fn greenlet() -> bool {
    look_if_needed();
    GREENLET.load(Ordering::Relaxed)
}

/// Contexts can be copied: asyncio is there, or another user of `contextvars`.
#[inline]
pub(crate) fn contextvars() -> bool {
    look_if_needed();
    CONTEXTVARS.load(Ordering::Relaxed)
}

#[inline]
fn look_if_needed() {
    let Some(modules) = MODULES.get() else { return };
    // SAFETY: called with the GIL; a dict that is never let go.
    let size = unsafe { (*(*modules as *mut ffi::PyDictObject)).ma_used };
    if size != SIZE_SEEN.load(Ordering::Relaxed) {
        look(size);
    }
}

#[cold]
fn look(size: isize) {
    undisturbed(|py| {
        // While it is half imported our half of it fails; the next module that is loaded brings us here again.
        OPENTELEMETRY.store(crate::otel::other_half(py).is_some(), Ordering::Relaxed);
        CONTEXTVARS.store(module(py, "contextvars").is_some(), Ordering::Relaxed);
        GREENLET.store(module(py, "greenlet").is_some(), Ordering::Relaxed);
    });
    SIZE_SEEN.store(size, Ordering::Relaxed);
}

/// A module that the program has imported.
pub(crate) fn module<'py>(py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
    let modules = *MODULES.get()? as *mut ffi::PyObject;
    // SAFETY: a dict that is never let go.
    let modules = unsafe { Bound::from_borrowed_ptr(py, modules) };
    modules.cast::<PyDict>().ok()?.get_item(name).ok()?
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let modules = module.py().import("sys")?.getattr("modules")?;
    let modules = modules.cast_into::<PyDict>()?;
    MODULES.get_or_init(|| modules.into_ptr() as usize);
    Ok(())
}
