//! The object that `hiq.trace(...)` gives, as the interpreter sees it.
//!
//! A block makes one, enters it, leaves it and lets it go: each of these is a C function that does the usual case by itself, in memory
//! that the last object left. What may run the program's code, or drop errors, is done as `pyo3` would.
#![allow(unsafe_code, reason = "a C type made by hand; each block is argued")]

use std::ffi::{CStr, c_void};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

use super::{Entries, Given, Ready, Trace};
use crate::object::{Spares, TypeCell, method, positional_method, slot};
use crate::state::state;

type Object = *mut ffi::PyObject;

static TYPE: TypeCell = TypeCell::new();
static SPARES: Spares = Spares::new();

pub(super) fn new(py: Python<'_>, given: Given) -> PyResult<Py<PyAny>> {
    // SAFETY: called with the GIL; all fields are written before anybody sees the object.
    unsafe {
        let made = SPARES.allocate(TYPE.get()).cast::<Trace>();
        if !made.is_null() {
            (&raw mut (*made).given).write(given);
            (&raw mut (*made).entered).write(Entries::default());
        }
        Bound::from_owned_ptr_or_err(py, made.cast()).map(Bound::unbind)
    }
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: the last reference is gone; the fields are dropped once.
    unsafe {
        let trace = object.cast::<Trace>();
        if !(*trace).entered.is_empty() {
            guarded(|_| drop((&raw mut (*trace).entered).replace(Entries::default())));
        }
        ptr::drop_in_place(&raw mut (*trace).entered);
        ptr::drop_in_place(&raw mut (*trace).given);
        SPARES.give_back(object);
    }
}

/// What `pyo3` drops meanwhile is gone at once, and not when somebody comes next.
fn guarded<R>(run: impl Fn(Python<'_>) -> R) -> R {
    // SAFETY: called with the GIL. While the interpreter shuts down nobody may say so.
    Python::try_attach(&run).unwrap_or_else(|| run(unsafe { Python::assume_attached() }))
}

/// The same for a method, whose error is raised.
fn answered(run: impl Fn(Python<'_>) -> PyResult<Py<PyAny>>) -> Object {
    guarded(|py| returned(py, run(py)))
}

/// As a C function gives out what it has made: null is an error, which is raised.
pub(super) fn returned(py: Python<'_>, made: PyResult<Py<PyAny>>) -> Object {
    made.map_or_else(
        |error| {
            error.restore(py);
            ptr::null_mut()
        },
        Py::into_ptr,
    )
}

unsafe fn of<'a>(object: Object) -> &'a Trace {
    // SAFETY: the interpreter has checked that it is one of ours, and keeps it alive during the call.
    unsafe { &*object.cast::<Trace>() }
}

unsafe extern "C" fn enter(object: Object, _none: Object) -> Object {
    // SAFETY: called by the interpreter with an object of ours, here and below.
    let trace = unsafe { of(object) };
    let state = state();
    let enter = |py: Python<'_>| Ok(trace.enter(state).object(py)?.into_any());
    let is_usual = !state.tree.get().is_null() && trace.given.is_plain();
    if is_usual {
        // SAFETY: called with the GIL.
        let py = unsafe { Python::assume_attached() };
        return returned(py, enter(py));
    }
    answered(enter)
}

unsafe extern "C" fn exit(object: Object, args: *mut Object, count: ffi::Py_ssize_t) -> Object {
    // SAFETY: as above, with as many arguments as it says.
    unsafe {
        let Some(error) = error_among(c"__exit__", args, count) else {
            return ptr::null_mut();
        };
        let is_left = error == ffi::Py_None() && of(object).leave_innermost();
        if !is_left {
            guarded(|py| of(object).exit(py, &Bound::from_borrowed_ptr(py, error)));
        }
        ffi::Py_INCREF(ffi::Py_False());
        ffi::Py_False()
    }
}

unsafe extern "C" fn async_enter(object: Object, _none: Object) -> Object {
    answered(|py| {
        // SAFETY: as above.
        let span = unsafe { of(object) }.enter(state()).object(py)?;
        Ready::object(py, span.into_any())
    })
}

unsafe extern "C" fn async_exit(
    object: Object,
    args: *mut Object,
    count: ffi::Py_ssize_t,
) -> Object {
    // SAFETY: as above, with as many arguments as it says.
    unsafe {
        let Some(error) = error_among(c"__aexit__", args, count) else {
            return ptr::null_mut();
        };
        answered(|py| {
            of(object).exit(py, &Bound::from_borrowed_ptr(py, error));
            Ready::object(py, PyBool::new(py, false).to_owned().into_any().unbind())
        })
    }
}

/// The exception among the type, the exception and the traceback that a block is left with; `None` is an error.
unsafe fn error_among(name: &CStr, args: *const Object, count: ffi::Py_ssize_t) -> Option<Object> {
    if count == 3 {
        // SAFETY: there are three.
        return Some(unsafe { *args.add(1) });
    }
    answered(|_| {
        let name = name.to_string_lossy();
        Err(PyTypeError::new_err(format!(
            "{name}() takes an exception's type, the exception and its traceback, but {count} arguments were given"
        )))
    });
    None
}

unsafe extern "C" fn call(object: Object, args: Object, keywords: Object) -> Object {
    answered(|py| {
        // SAFETY: as above, with a tuple, and a dict or null.
        let (trace, args, keywords) = unsafe {
            (
                of(object),
                Bound::from_borrowed_ptr(py, args).cast_into::<PyTuple>()?,
                Bound::from_borrowed_ptr_or_opt(py, keywords),
            )
        };
        let keywords = keywords.map(Bound::cast_into::<PyDict>).transpose()?;
        let named = match &keywords {
            Some(keywords) => keywords.get_item("func")?,
            None => None,
        };
        let count = args.len() + keywords.map_or(0, |keywords| keywords.len());
        match (args.get_item(0).ok().or(named), count) {
            (Some(func), 1) => trace.given.decorate(py, &func),
            _ => Err(PyTypeError::new_err(
                "what trace() gives takes one argument, the function that it traces",
            )),
        }
    })
}

/// Makes the type and adds it to the module.
pub(super) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let documented = |method, ml_doc: &'static CStr| ffi::PyMethodDef {
        ml_doc: ml_doc.as_ptr(),
        ..method
    };
    let methods = Box::leak(Box::new([
        documented(
            method(c"__enter__", enter, ffi::METH_NOARGS),
            c"__enter__($self, /)\n--\n\n",
        ),
        documented(
            positional_method(c"__exit__", exit),
            c"__exit__($self, kind, value, tb, /)\n--\n\n",
        ),
        documented(
            method(c"__aenter__", async_enter, ffi::METH_NOARGS),
            c"__aenter__($self, /)\n--\n\n",
        ),
        documented(
            positional_method(c"__aexit__", async_exit),
            c"__aexit__($self, kind, value, tb, /)\n--\n\n",
        ),
        ffi::PyMethodDef::zeroed(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_doc, HELP.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_call, call as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    TYPE.make(
        module,
        c"hiq._hiq.Trace",
        size_of::<Trace>(),
        flags,
        &mut slots,
    )
}

const HELP: &CStr = c"One use of `hiq.trace(...)`: a context manager, sync and async, and a decorator. The same object may be entered
again before it is left, and by several threads and tasks.";
