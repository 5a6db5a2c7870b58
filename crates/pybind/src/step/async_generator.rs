//! Async generators: each `__anext__`, `asend`, `athrow` and `aclose` gives an awaitable whose steps are steps of the generator.
#![allow(
    unsafe_code,
    reason = "iteration slots and their object layout are C; each block is argued"
)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::Stepped;
use super::run::{Ended, enter, leave};
use super::slots::{self, as_iteration, call_inner, itself};
use crate::object::{self, fast_method, method, slot};

static GENERATOR: object::TypeCell = object::TypeCell::new();
static AWAITABLE: object::TypeCell = object::TypeCell::new();

pub(super) fn type_object() -> *mut ffi::PyTypeObject {
    GENERATOR.get()
}

/// One awaitable of an async generator.
#[repr(C)]
struct Awaitable {
    base: ffi::PyObject,
    inner: *mut ffi::PyObject,
    owner: *mut ffi::PyObject,
    /// Its return ends the generator: `aclose()`.
    closes: bool,
}

unsafe fn awaitable(
    owner: *mut ffi::PyObject,
    inner: *mut ffi::PyObject,
    closes: bool,
) -> *mut ffi::PyObject {
    // SAFETY: a live generator of ours and a new reference from the inner one, which is handed on.
    unsafe {
        if inner.is_null() {
            return inner;
        }
        let object = ffi::PyType_GenericAlloc(AWAITABLE.get(), 0).cast::<Awaitable>();
        if object.is_null() {
            ffi::PyErr_Clear();
            return inner;
        }
        ffi::Py_INCREF(owner);
        (*object).inner = inner;
        (*object).owner = owner;
        (*object).closes = closes;
        object.cast()
    }
}

unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: an object of ours from the interpreter.
    unsafe {
        let made = call_inner(
            (*object.cast::<Stepped>()).inner,
            c"__anext__",
            ptr::null(),
            0,
            ptr::null_mut(),
        );
        awaitable(object, made, false)
    }
}

macro_rules! making {
    ($function:ident, $name:expr, $closes:expr) => {
        unsafe extern "C" fn $function(
            object: *mut ffi::PyObject,
            args: *const *mut ffi::PyObject,
            count: ffi::Py_ssize_t,
            names: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject {
            // SAFETY: an object of ours from the interpreter; the arguments are passed on as they are.
            unsafe {
                let made = call_inner((*object.cast::<Stepped>()).inner, $name, args, count, names);
                awaitable(object, made, $closes)
            }
        }
    };
}

making!(asend, c"asend", false);
making!(athrow, c"athrow", false);
making!(aclose, c"aclose", true);

unsafe extern "C" fn send_slot(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: an object of ours from the interpreter, and a place for the result.
    unsafe {
        let me = object.cast::<Awaitable>();
        let generator = (*me).owner.cast::<Stepped>();
        let outer = enter(generator);
        let sent = ffi::PyIter_Send((*me).inner, value, result);
        if let Some(outer) = outer {
            leave(generator, outer, ended(me, sent));
        }
        sent
    }
}

/// An item is a return of the awaitable, not of the generator; that ends by `StopAsyncIteration`, by `aclose` or by an error.
unsafe fn ended(me: *mut Awaitable, sent: ffi::PySendResult) -> Ended {
    // SAFETY: a live object of ours; an error comes with an exception.
    unsafe {
        match sent {
            ffi::PySendResult::PYGEN_RETURN if (*me).closes => Ended::Returned,
            ffi::PySendResult::PYGEN_NEXT | ffi::PySendResult::PYGEN_RETURN => Ended::No,
            ffi::PySendResult::PYGEN_ERROR
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_StopAsyncIteration) != 0 =>
            {
                Ended::Returned
            }
            ffi::PySendResult::PYGEN_ERROR => Ended::Raised,
        }
    }
}

unsafe extern "C" fn next_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`.
    unsafe {
        let mut result = ptr::null_mut();
        let sent = send_slot(object, ffi::Py_None(), &raw mut result);
        as_iteration(sent, result)
    }
}

unsafe extern "C" fn send_method(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`.
    unsafe {
        let mut result = ptr::null_mut();
        let sent = send_slot(object, value, &raw mut result);
        let answer = as_iteration(sent, result);
        if answer.is_null() && ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_SetNone(ffi::PyExc_StopIteration);
        }
        answer
    }
}

unsafe extern "C" fn throw_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`; the arguments are passed on as they are.
    unsafe {
        let me = object.cast::<Awaitable>();
        let generator = (*me).owner.cast::<Stepped>();
        let outer = enter(generator);
        let result = call_inner((*me).inner, c"throw", args, count, names);
        if let Some(outer) = outer {
            let ended = if !result.is_null()
                || ffi::PyErr_ExceptionMatches(ffi::PyExc_StopIteration) != 0
            {
                Ended::No
            } else {
                ended(me, ffi::PySendResult::PYGEN_ERROR)
            };
            leave(generator, outer, ended);
        }
        result
    }
}

unsafe extern "C" fn close_method(
    object: *mut ffi::PyObject,
    _unused: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`.
    unsafe {
        call_inner(
            (*object.cast::<Awaitable>()).inner,
            c"close",
            ptr::null(),
            0,
            ptr::null_mut(),
        )
    }
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector with a live object of ours.
    unsafe {
        let me = object.cast::<Awaitable>();
        for part in [ffi::Py_TYPE(object).cast(), (*me).inner, (*me).owner] {
            if !part.is_null() {
                let found = visit(part, arg);
                if found != 0 {
                    return found;
                }
            }
        }
    }
    0
}

unsafe extern "C" fn clear(_object: *mut ffi::PyObject) -> c_int {
    // The generator breaks the cycle; an awaitable without its parts could not be stepped.
    0
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; the fields are ours.
    unsafe {
        let me = object.cast::<Awaitable>();
        ffi::PyObject_GC_UnTrack(object.cast());
        ffi::Py_XDECREF((*me).inner);
        ffi::Py_XDECREF((*me).owner);
        object::free(object);
    }
}

/// Makes the two types and adds them to the module.
pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let methods = Box::leak(Box::new([
        fast_method(c"asend", asend),
        fast_method(c"athrow", athrow),
        fast_method(c"aclose", aclose),
        ffi::PyMethodDef::zeroed(),
    ]));
    let flags =
        ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_am_aiter, itself as *mut c_void),
        slot(ffi::Py_am_anext, next as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, slots::weak_reference_members().cast()),
        slot(ffi::Py_tp_getattro, slots::get_attribute as *mut c_void),
        slot(ffi::Py_tp_setattro, slots::set_attribute as *mut c_void),
        slot(ffi::Py_tp_repr, slots::repr as *mut c_void),
        slot(ffi::Py_tp_traverse, slots::traverse as *mut c_void),
        slot(ffi::Py_tp_clear, slots::clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, slots::dealloc as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    GENERATOR.make(
        module,
        c"hiq._hiq.TracedAsyncGenerator",
        size_of::<Stepped>(),
        flags,
        &mut slots,
    )?;
    add_awaitable(module, c"hiq._hiq.TracedAwaitable", flags)
}

fn add_awaitable(
    module: &Bound<'_, PyModule>,
    name: &'static CStr,
    flags: std::ffi::c_ulong,
) -> PyResult<()> {
    let methods = Box::leak(Box::new([
        method(c"send", send_method, ffi::METH_O),
        fast_method(c"throw", throw_method),
        method(c"close", close_method, ffi::METH_NOARGS),
        ffi::PyMethodDef::zeroed(),
    ]));
    let mut slots = [
        slot(ffi::Py_am_await, itself as *mut c_void),
        slot(ffi::Py_am_send, send_slot as *mut c_void),
        slot(ffi::Py_tp_iter, itself as *mut c_void),
        slot(ffi::Py_tp_iternext, next_slot as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    AWAITABLE.make(module, name, size_of::<Awaitable>(), flags, &mut slots)
}
