//! Calls whose drivers want more than times: extra metrics, arguments, the caller, swallowed exceptions, a minimum duration.
#![allow(unsafe_code, reason = "vectorcall arguments; each block is argued")]

use std::sync::Arc;

use hiq_core::id::SpanId;
use hiq_core::intern::{Symbol, symbol};
use hiq_core::time::Clock;
use hiq_core::tree::ColumnSpec;
use hiq_core::value::ValueRef;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::block::Turn;
use crate::driver::Driver;
use crate::exception::{Pending, record_pending};
use crate::state::{Begun, Parent, Quiet, Root, ThreadState};
use crate::wrap::TracedObject;

/// Records one call with everything that its drivers want.
pub(crate) unsafe fn call(
    me: *mut TracedObject,
    state: &ThreadState,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the vectorcall slot with its own arguments, with the GIL held. The drivers are shared, so a plan that
    // changes during the call leaves ours alive.
    unsafe {
        let py = Python::assume_attached();
        let drivers = (*(*me).plan).extras().unwrap_or_default();
        let before = Clock::ticks();
        let name = (*me).role.name.text();
        let function = Bound::from_borrowed_ptr(py, (*me).func);
        let texts = Texts::of(&function, name.as_str(), &drivers, args, count, names);
        let mut started = Vec::new();
        for driver in drivers.iter() {
            driver.get().read_metrics(py, &mut started);
        }
        let _turn = state.needs_a_turn().then(|| Turn::take(state));
        let Some(id) = open(me, state) else {
            return ffi::PyObject_Vectorcall((*me).func, args, count, names);
        };
        texts.write(state, id);
        let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
        let end = Clock::ticks();
        let result = close(py, state, me, &drivers, id, started, end, result);
        charge(&drivers, before, end, Clock::ticks());
        result
    }
}

/// Opens the span, as a root or inside one. `None`: sampled out.
fn open(me: *mut TracedObject, state: &ThreadState) -> Option<SpanId> {
    let tick = Clock::ticks();
    // SAFETY: a live wrapper, with the GIL held.
    let role = unsafe { (*me).role };
    if let Some(started) = state.with_tree(|tree| tree.start(role, tick)) {
        if started.split_due {
            state.split();
        }
        return Some(started.id);
    }
    match state.begin_root(&Root {
        role,
        tick,
        parent: Parent::Attached,
    }) {
        Begun::Recording(id) => Some(id),
        Begun::SampledOut(_) => None,
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "what one call has gathered until its end"
)]
unsafe fn close(
    py: Python<'_>,
    state: &ThreadState,
    me: *mut TracedObject,
    drivers: &[Py<Driver>],
    id: SpanId,
    started: Vec<(Arc<ColumnSpec>, f64)>,
    end: u64,
    result: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: `result` is what the original returned: a new reference, or null with an exception.
    unsafe {
        let swallow = result.is_null() && drivers.iter().any(|driver| !driver.get().fast_fail());
        if result.is_null() {
            record_pending(state, id, end);
            if drivers.iter().any(|driver| driver.get().is_verbose()) {
                crate::exception::add_trace(state, id);
            }
        }
        let pending = result.is_null().then(Pending::take);
        let mut ended = Vec::new();
        for driver in drivers {
            driver.get().read_metrics(py, &mut ended);
        }
        state.with_open_span(id, |builder, index| {
            for ((spec, start), (_, end)) in started.iter().zip(&ended) {
                builder.set_metric(index, spec, *start, *end);
            }
        });
        let min_ticks = crate::runtime::ticks_of((*(*me).plan).min_duration_nanos());
        state.end_or_forget(id, end, min_ticks);
        if state.tree.get().is_null() && crate::loaded::contextvars() {
            crate::context::forget_places(id);
        }
        match pending {
            Some(pending) if swallow => {
                pending.forget();
                ffi::Py_INCREF(ffi::Py_None());
                ffi::Py_None()
            }
            Some(pending) => {
                pending.restore();
                result
            }
            None => result,
        }
    }
}

/// What the extras cost, shared by the drivers that asked for them.
fn charge(drivers: &[Py<Driver>], before: u64, end: u64, after: u64) {
    let _ = before;
    let nanos = Clock::scale_at(after).nanos(after.saturating_sub(end));
    for driver in drivers {
        // The part before the call is as long as the one after it, to a first approximation: the same readings.
        driver.get().add_extras_nanos(2 * nanos);
    }
}

/// Texts that go with a call.
#[derive(Default)]
struct Texts {
    args: Option<String>,
    kwargs: Option<String>,
    file: Option<String>,
    function: Option<String>,
}

impl Texts {
    unsafe fn of(
        function: &Bound<'_, PyAny>,
        name: &str,
        drivers: &[Py<Driver>],
        args: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
    ) -> Self {
        let py = function.py();
        let mut texts = Self::default();
        for driver in drivers {
            let (wants_args, wants_file, wants_func) = driver.get().wants();
            if wants_args && let Some(handler) = driver.get().args_handler(py) {
                // SAFETY: vectorcall arguments, alive during the call.
                let (args, kwargs) = unsafe { arguments(py, args, count, names) };
                let _quiet = Quiet::new();
                if !args.is_empty() {
                    texts.args = handled(&handler, args.as_any(), name, function);
                }
                if !kwargs.is_empty() {
                    texts.kwargs = handled(&handler, kwargs.as_any(), name, function);
                }
            }
            if (wants_file || wants_func)
                && let Some((file, line, function)) = caller(py)
            {
                if wants_file {
                    texts.file = Some(format!("{file}:{line}"));
                }
                if wants_func {
                    texts.function = Some(function);
                }
            }
        }
        texts
    }

    fn write(&self, state: &ThreadState, id: SpanId) {
        let parts = [
            ("hiq.args", &self.args),
            ("hiq.kwargs", &self.kwargs),
            ("hiq.caller_file", &self.file),
            ("hiq.caller_function", &self.function),
        ];
        state.with_open_span(id, |builder, index| {
            for (name, text) in parts {
                if let Some(text) = text {
                    let key = symbol(name).unwrap_or(Symbol::EMPTY);
                    builder.set_attribute(index, key, ValueRef::Str(text));
                }
            }
        });
    }
}

/// The handler's text, or nothing when it fails: it reads the program's own objects.
fn handled(
    handler: &Py<PyAny>,
    arguments: &Bound<'_, PyAny>,
    name: &str,
    function: &Bound<'_, PyAny>,
) -> Option<String> {
    let handler = handler.bind(arguments.py());
    let text = handler.call1((arguments, name, function)).ok()?;
    let text = text.str().ok()?;
    Some(crate::attributes::lossless(&text))
}

unsafe fn arguments(
    py: Python<'_>,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> (Bound<'_, PyTuple>, Bound<'_, PyDict>) {
    // SAFETY: `args` holds the positional arguments, then one per name; all are borrowed during the call.
    unsafe {
        let positional = ffi::PyVectorcall_NARGS(count).cast_unsigned();
        let at = |index: usize| Bound::from_borrowed_ptr(py, *args.add(index));
        let tuple =
            PyTuple::new(py, (0..positional).map(at)).unwrap_or_else(|_| PyTuple::empty(py));
        let kwargs = PyDict::new(py);
        if !names.is_null() {
            let names = Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>();
            for (offset, name) in names.iter().enumerate() {
                // A dict of our own with text keys: setting cannot fail but for memory.
                let _ = kwargs.set_item(name, at(positional + offset));
            }
        }
        (tuple, kwargs)
    }
}

/// File, line and function that made the call.
fn caller(py: Python<'_>) -> Option<(String, i64, String)> {
    let frame = py
        .import("sys")
        .ok()?
        .getattr("_getframe")
        .ok()?
        .call1((0,))
        .ok()?;
    let line = frame.getattr("f_lineno").ok()?.extract().ok()?;
    let code = frame.getattr("f_code").ok()?;
    let file: String = code.getattr("co_filename").ok()?.extract().ok()?;
    let path = std::path::absolute(&file).map_or(file, |path| path.to_string_lossy().into_owned());
    Some((path, line, code.getattr("co_name").ok()?.extract().ok()?))
}
