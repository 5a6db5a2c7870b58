//! What the interpreter calls: the slots and methods of coroutines and generators.
#![allow(
    unsafe_code,
    reason = "iteration slots and their object layout are C; each block is argued"
)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::run::{Ended, Stage, enter, leave};
use super::{SPARES, Stepped, forget};
use crate::exception::Pending;
use crate::object::{self, fast_method, method, offset_member, slot};

static COROUTINE: object::TypeCell = object::TypeCell::new();
static GENERATOR: object::TypeCell = object::TypeCell::new();
static AWAITABLE_GENERATOR: object::TypeCell = object::TypeCell::new();

/// The type of what stands for a coroutine.
pub(super) fn coroutine_type() -> *mut ffi::PyTypeObject {
    COROUTINE.get()
}

/// The type of what stands for a generator.
pub(super) fn generator_type() -> *mut ffi::PyTypeObject {
    GENERATOR.get()
}

/// The type of what stands for a generator that is awaited: the interpreter knows those of its own by their code alone.
pub(super) fn awaitable_generator_type() -> *mut ffi::PyTypeObject {
    AWAITABLE_GENERATOR.get()
}

/// Sends `value` into the coroutine or generator, as one step of it.
unsafe extern "C" fn send_slot(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the interpreter passes an object of ours and a place for the result.
    unsafe {
        let me = object.cast::<Stepped>();
        let outer = enter(me);
        let sent = ffi::PyIter_Send((*me).inner, value, result);
        if let Some(outer) = outer {
            let ended = match sent {
                ffi::PySendResult::PYGEN_NEXT => Ended::No,
                ffi::PySendResult::PYGEN_RETURN => Ended::Returned,
                ffi::PySendResult::PYGEN_ERROR => Ended::Raised,
            };
            leave(me, outer, ended);
        }
        sent
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

/// What an iterator answers: a value, or nothing with `StopIteration` carrying what was returned.
pub(super) unsafe fn as_iteration(
    sent: ffi::PySendResult,
    result: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: `result` is a new reference or null, as `PyIter_Send` leaves it.
    unsafe {
        match sent {
            ffi::PySendResult::PYGEN_NEXT => result,
            ffi::PySendResult::PYGEN_ERROR => ptr::null_mut(),
            ffi::PySendResult::PYGEN_RETURN => {
                if result != ffi::Py_None() {
                    // An instance, since a bare tuple or exception would be taken for arguments or for the exception itself.
                    let stop = ffi::PyObject_CallOneArg(ffi::PyExc_StopIteration, result);
                    if !stop.is_null() {
                        ffi::PyErr_SetObject(ffi::PyExc_StopIteration, stop);
                        ffi::Py_DECREF(stop);
                    }
                }
                ffi::Py_DECREF(result);
                ptr::null_mut()
            }
        }
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
            // A method, unlike the slot, must say StopIteration aloud.
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
        let me = object.cast::<Stepped>();
        let outer = enter(me);
        let result = call_inner((*me).inner, c"throw", args, count, names);
        if let Some(outer) = outer {
            leave(me, outer, ended_by_method(result));
        }
        result
    }
}

/// A null result ends the work: by `StopIteration`, which is a return, or by another exception.
unsafe fn ended_by_method(result: *mut ffi::PyObject) -> Ended {
    // SAFETY: called with the GIL; a null result comes with an exception.
    unsafe {
        if !result.is_null() {
            Ended::No
        } else if ffi::PyErr_ExceptionMatches(ffi::PyExc_StopIteration) != 0 {
            Ended::Returned
        } else {
            Ended::Raised
        }
    }
}

unsafe extern "C" fn close_method(
    object: *mut ffi::PyObject,
    _unused: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`.
    unsafe {
        let me = object.cast::<Stepped>();
        // Closing what never ran makes no span.
        let outer = if matches!((*me).run.stage, Stage::Fresh) {
            None
        } else {
            enter(me)
        };
        let result = call_inner((*me).inner, c"close", ptr::null(), 0, ptr::null_mut());
        match outer {
            Some(outer) => leave(
                me,
                outer,
                if result.is_null() {
                    Ended::Raised
                } else {
                    Ended::Returned
                },
            ),
            None if matches!((*me).run.stage, Stage::Fresh) => (*me).run.stage = Stage::Ended,
            None => {}
        }
        result
    }
}

/// Calls a method of the inner object with vectorcall arguments.
pub(super) unsafe fn call_inner(
    inner: *mut ffi::PyObject,
    name: &CStr,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: live objects; a method that is missing leaves its AttributeError.
    unsafe {
        let method = ffi::PyObject_GetAttrString(inner, name.as_ptr());
        if method.is_null() {
            return ptr::null_mut();
        }
        let result = ffi::PyObject_Vectorcall(method, args, count.cast_unsigned(), names);
        ffi::Py_DECREF(method);
        result
    }
}

pub(super) unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live object from the interpreter.
    unsafe { ffi::Py_INCREF(object) };
    object
}

/// Our methods, else what the inner object answers: `cr_frame`, `__name__`, `__class__`.
pub(super) unsafe extern "C" fn get_attribute(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    const OURS: [&str; 11] = [
        "send",
        "throw",
        "close",
        "__await__",
        "__next__",
        "__iter__",
        "asend",
        "athrow",
        "aclose",
        "__anext__",
        "__aiter__",
    ];
    // SAFETY: live objects from the interpreter.
    unsafe {
        let inner = (*object.cast::<Stepped>()).inner;
        // An attribute that the inner object lacks is not ours to add.
        if OURS.iter().any(|ours| object::is_name(name, ours))
            && ffi::PyObject_HasAttr(inner, name) != 0
        {
            return ffi::PyObject_GenericGetAttr(object, name);
        }
        ffi::PyObject_GetAttr(inner, name)
    }
}

pub(super) unsafe extern "C" fn set_attribute(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: live objects from the interpreter.
    unsafe { ffi::PyObject_SetAttr((*object.cast::<Stepped>()).inner, name, value) }
}

pub(super) unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live object from the interpreter.
    unsafe { ffi::PyObject_Repr((*object.cast::<Stepped>()).inner) }
}

pub(super) unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector with a live object of ours.
    unsafe {
        let me = object.cast::<Stepped>();
        for part in [ffi::Py_TYPE(object).cast(), (*me).inner, (*me).context] {
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

pub(super) unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector. The inner object stays until deallocation, where its clean-up code runs as a step.
    unsafe {
        let me = object.cast::<Stepped>();
        let context = std::mem::replace(&mut (*me).context, ptr::null_mut());
        ffi::Py_XDECREF(context);
    }
    0
}

pub(super) unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. The inner object's clean-up code runs while it is let go, as the last step.
    unsafe {
        let me = object.cast::<Stepped>();
        ffi::PyObject_GC_UnTrack(object.cast());
        if !(*me).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        let pending = (!ffi::PyErr_Occurred().is_null()).then(Pending::take);
        let outer = if matches!((*me).run.stage, Stage::Open { .. } | Stage::SampledOut(_)) {
            enter(me)
        } else {
            None
        };
        let inner = std::mem::replace(&mut (*me).inner, ptr::null_mut());
        ffi::Py_XDECREF(inner);
        if let Some(outer) = outer {
            leave(me, outer, Ended::Returned);
        }
        if let Some(pending) = pending {
            pending.restore();
        }
        forget(me);
        ptr::drop_in_place(&raw mut (*me).run);
        ffi::Py_XDECREF((*me).context);
        SPARES.give_back(object);
    }
}

/// Makes the types of coroutines and generators and adds them to the module.
pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let awaited = slot(ffi::Py_am_await, itself as *mut c_void);
    let iterated = slot(ffi::Py_tp_iter, itself as *mut c_void);
    make(module, &COROUTINE, c"hiq._hiq.TracedCoroutine", &[awaited])?;
    make(module, &GENERATOR, c"hiq._hiq.TracedGenerator", &[iterated])?;
    make(
        module,
        &AWAITABLE_GENERATOR,
        c"hiq._hiq.TracedAwaitableGenerator",
        &[awaited, iterated],
    )
}

fn make(
    module: &Bound<'_, PyModule>,
    cell: &object::TypeCell,
    name: &'static CStr,
    own: &[ffi::PyType_Slot],
) -> PyResult<()> {
    let methods = Box::leak(Box::new([
        method(c"send", send_method, ffi::METH_O),
        fast_method(c"throw", throw_method),
        method(c"close", close_method, ffi::METH_NOARGS),
        ffi::PyMethodDef::zeroed(),
    ]));
    let common = [
        slot(ffi::Py_am_send, send_slot as *mut c_void),
        slot(ffi::Py_tp_iternext, next_slot as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, weak_reference_members().cast()),
        slot(ffi::Py_tp_getattro, get_attribute as *mut c_void),
        slot(ffi::Py_tp_setattro, set_attribute as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let flags =
        ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [own, &common].concat();
    cell.make(module, name, size_of::<Stepped>(), flags, &mut slots)
}

pub(super) fn weak_reference_members() -> *mut ffi::PyMemberDef {
    Box::leak(Box::new([
        offset_member(
            c"__weaklistoffset__",
            std::mem::offset_of!(Stepped, weak_references),
        ),
        object::END_OF_MEMBERS,
    ]))
    .as_mut_ptr()
}
