//! `Traced`: the object that stands where a declared function stood.
//!
//! A call costs one vectorcall slot, two clock reads and one arena node. Everything that is rare (a root, an exception,
//! extra metrics) leaves the straight line at once.
#![allow(
    unsafe_code,
    reason = "a vectorcall slot and its object layout are C; each block is argued"
)]

use hiq_core::time::Clock;
use hiq_core::tree::Role;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::block::Turn;
use crate::exception::record_pending;
use crate::state::{Begun, Parent, Root, ThreadState, state};
use crate::status;
use crate::step;
use crate::subscribe::Plan;

mod slots;

pub(crate) use slots::add_to_module;

use slots::{TYPE, UNBOUND_TYPE};

/// What the original's calls return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returns {
    /// A result.
    Value,
    /// A coroutine.
    Coroutine,
    /// A generator.
    Generator,
    /// A generator that is awaited, as those of `types.coroutine`.
    AwaitableGenerator,
    /// An async generator.
    AsyncGenerator,
}

/// The object's memory.
#[repr(C)]
pub(crate) struct TracedObject {
    base: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    pub(crate) func: *mut ffi::PyObject,
    /// What its spans are; `drivers` is the set that subscribed.
    pub(crate) role: Role,
    pub(crate) returns: Returns,
    pub(crate) plan: *mut Plan,
    weak_references: *mut ffi::PyObject,
    /// The wrapper whose original gave `func` when it was read from an instance or class, and whose plan this is; else null.
    source: *mut ffi::PyObject,
}

/// The wrapper's memory, if `object` is one.
#[inline]
pub(crate) fn traced_object(object: *mut ffi::PyObject) -> Option<*mut TracedObject> {
    // SAFETY: a live object's type is read.
    let kind = unsafe { ffi::Py_TYPE(object) };
    (kind == TYPE.get() || kind == UNBOUND_TYPE.get()).then_some(object.cast())
}

/// Makes a wrapper without subscribers.
pub(crate) fn new(
    py: Python<'_>,
    func: &Bound<'_, PyAny>,
    role: Role,
    returns: Returns,
) -> PyResult<Py<PyAny>> {
    if !func.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "{} is not callable: a function or method is needed",
            func.get_type().name()?
        )));
    }
    // SAFETY: the type was made in `add_to_module`; the fields behind the header are written before anybody sees the object.
    unsafe {
        let kind = if crate::object::binds_as_functions_do(func.as_ptr()) {
            TYPE.get()
        } else {
            UNBOUND_TYPE.get()
        };
        let object = ffi::PyType_GenericAlloc(kind, 0).cast::<TracedObject>();
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        (*object).func = func.clone().into_ptr();
        (*object).role = role;
        (*object).returns = returns;
        (*object).plan = Box::into_raw(Box::new(Plan::default()));
        (*object).vectorcall = Some(call_through);
        Ok(Bound::from_owned_ptr(py, object.cast()).unbind())
    }
}

/// Makes the wrapper do what its plan says, from the next call on.
pub(crate) fn apply_plan(object: *mut TracedObject) {
    // SAFETY: called with the GIL and a live wrapper.
    unsafe {
        let plan = &*(*object).plan;
        (*object).role.drivers = plan.driver_set();
        (*object).vectorcall = Some(match (plan.is_active(), (*object).returns) {
            (false, _) => call_through,
            (true, Returns::Value) if plan.has_extras() => call_with_extras,
            (true, Returns::Value) => call_recorded,
            (true, _) => call_stepped,
        });
    }
}

type Args = *const *mut ffi::PyObject;

/// Switched off: the original, untouched.
unsafe extern "C" fn call_through(
    callable: *mut ffi::PyObject,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls us with our own object and a vectorcall's arguments, which are passed on as they are.
    unsafe { ffi::PyObject_Vectorcall((*callable.cast::<TracedObject>()).func, args, count, names) }
}

/// The straight line: a call inside an open root.
unsafe extern "C" fn call_recorded(
    callable: *mut ffi::PyObject,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_through`; the thread's state is used with the GIL held, and read anew after the call, which may
    // have changed anything.
    unsafe {
        let me = callable.cast::<TracedObject>();
        if status::is_off() {
            return ffi::PyObject_Vectorcall((*me).func, args, count, names);
        }
        let state = state();
        if !state.is_plain() {
            return call_carefully(me, state, args, count, names);
        }
        if state.tree.get().is_null() {
            return call_root(me, state, args, count, names);
        }
        call_inside(me, state, args, count, names)
    }
}

/// A call inside the open tree.
#[inline(always)]
unsafe fn call_inside(
    me: *mut TracedObject,
    state: &ThreadState,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_recorded`; the tree is not null.
    unsafe {
        let started = (*state.tree.get()).start((*me).role, Clock::ticks());
        if started.split_due {
            state.split();
        }
        let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
        let tick = Clock::ticks();
        if result.is_null() {
            record_pending(state, started.id, tick);
        }
        state.end(started.id, tick);
        result
    }
}

/// A call that is not recorded, or in a thread where tasks take turns.
#[cold]
#[inline(never)]
unsafe fn call_carefully(
    me: *mut TracedObject,
    state: &ThreadState,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_recorded`.
    unsafe {
        if state.is_silent() {
            return ffi::PyObject_Vectorcall((*me).func, args, count, names);
        }
        let _turn = state.needs_a_turn().then(|| Turn::take(state));
        if state.tree.get().is_null() {
            call_root(me, state, args, count, names)
        } else {
            call_inside(me, state, args, count, names)
        }
    }
}

/// A call outside any open tree.
#[cold]
#[inline(never)]
unsafe fn call_root(
    me: *mut TracedObject,
    state: &ThreadState,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_recorded`.
    unsafe {
        let root = Root {
            role: (*me).role,
            tick: Clock::ticks(),
            parent: Parent::Attached,
        };
        match state.begin_root(&root) {
            Begun::Recording(id) => {
                let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
                let tick = Clock::ticks();
                if result.is_null() {
                    record_pending(state, id, tick);
                }
                state.end(id, tick);
                if crate::loaded::contextvars() {
                    crate::context::forget_places(id);
                }
                result
            }
            Begun::SampledOut(context) => {
                let outer = state.unsampled.replace(&raw const *context);
                state.quiet.update(|quiet| quiet + 1);
                crate::state::pass_on(&context);
                let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
                state.quiet.update(|quiet| quiet - 1);
                state.unsampled.set(outer);
                crate::otel::leave(context.span_id);
                if crate::loaded::contextvars() {
                    crate::context::forget_places(context.span_id);
                }
                result
            }
        }
    }
}

/// A call whose drivers want more than times.
unsafe extern "C" fn call_with_extras(
    callable: *mut ffi::PyObject,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_through`; the plan is shared, so that a change during the call leaves ours alive.
    unsafe {
        let me = callable.cast::<TracedObject>();
        let state = state();
        if state.is_silent() || status::is_off() {
            return ffi::PyObject_Vectorcall((*me).func, args, count, names);
        }
        crate::extras::call(me, state, args, count, names)
    }
}

/// A call that makes a coroutine or generator: the span begins with its first step.
unsafe extern "C" fn call_stepped(
    callable: *mut ffi::PyObject,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_through`.
    unsafe {
        let me = callable.cast::<TracedObject>();
        let state = state();
        let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
        let silent = state.is_silent() && state.unsampled.get().is_null();
        if result.is_null() || silent || status::is_off() {
            return result;
        }
        step::wrap(me, state, result)
    }
}

/// A call of what an original gave when it was read: as the wrapper of the original would do it now.
unsafe extern "C" fn call_as_source(
    callable: *mut ffi::PyObject,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_through`; the source is alive while we are, and so is its plan, which is ours.
    unsafe {
        let me = callable.cast::<TracedObject>();
        let source = (*me).source.cast::<TracedObject>();
        (*me).role = (*source).role;
        (*source).vectorcall.unwrap_or(call_through)(callable, args, count, names)
    }
}
