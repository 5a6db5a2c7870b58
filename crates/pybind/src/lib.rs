//! The Python module `hiq._hiq`: the recorder behind declared functions, and a thin face on the pipeline.
//!
//! ```text
//! wrap (a call) ─┐
//! step (a step) ─┼─► state (the thread's open tree) ─► driver, runtime ─► hiq-core's pipeline
//! trace (by hand)┘
//! ```

use hiq_core::time::Clock;
#[cfg(not(Py_3_12))]
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

mod attributes;
mod block;
mod bridge;
mod calibrate;
mod conf;
mod context;
mod convert;
mod driver;
mod entries;
mod exception;
mod exporting;
mod extras;
mod gil;
mod greenlets;
mod headers;
mod loaded;
mod metrics;
mod module;
mod object;
mod open;
mod otel;
mod runtime;
mod span;
mod state;
mod status;
mod step;
mod subscribe;
mod suppress;
mod tasks;
mod terminated;
mod trace;
mod tree;
mod wrap;

#[pymodule(gil_used = true)]
fn _hiq(module: &Bound<'_, PyModule>) -> PyResult<()> {
    #[cfg(not(Py_3_12))]
    refuse_sub_interpreters()?;
    Clock::prepare();
    module.add("version", env!("CARGO_PKG_VERSION"))?;
    tasks::look();
    wrap::add_to_module(module)?;
    step::add_to_module(module)?;
    step::add_async_generator(module)?;
    context::add_to_module(module)?;
    headers::add_to_module(module)?;
    driver::add_to_module(module)?;
    loaded::add_to_module(module)?;
    otel::add_to_module(module)?;
    trace::add_to_module(module)?;
    span::add_to_module(module)?;
    suppress::add_to_module(module)?;
    status::add_to_module(module)?;
    module::add_to_module(module)?;
    exporting::add_to_module(module)?;
    terminated::add_to_module(module)?;
    metrics::add_to_module(module)?;
    conf::add_to_module(module)?;
    bridge::add_to_module(module)?;
    convert::add_to_module(module)?;
    tree::add_to_module(module)
}

/// Since 3.12 the interpreter itself refuses them, as far as they have a lock of their own; before, whoever takes the lock in one by
/// the thread's state waits for the main one's for ever.
#[cfg(not(Py_3_12))]
#[expect(unsafe_code, reason = "asks the interpreter which one it is")]
fn refuse_sub_interpreters() -> PyResult<()> {
    // SAFETY: a module is initialised with the lock held.
    let is_main = unsafe {
        let interpreter = pyo3::ffi::PyInterpreterState_Get();
        pyo3::ffi::PyInterpreterState_GetID(interpreter) == 0
    };
    if is_main {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "hiq works in the main interpreter only, before Python 3.12; under mod_wsgi set `WSGIApplicationGroup %{GLOBAL}`",
    ))
}
