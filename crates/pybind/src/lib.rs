//! The Python module `hiq._hiq`: the recorder behind declared functions, and a thin face on the pipeline.
//!
//! ```text
//! wrap (a call) ─┐
//! step (a step) ─┼─► state (the thread's open tree) ─► driver, runtime ─► hiq-core's pipeline
//! trace (by hand)┘
//! ```

use hiq_core::time::Clock;
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
