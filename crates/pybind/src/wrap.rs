//! `Traced`: the object that stands where a declared function stood.
//!
//! A call costs one vectorcall slot, two clock reads and one arena node. Everything that is rare (a root, an exception,
//! extra metrics) leaves the straight line at once.
#![allow(
    unsafe_code,
    reason = "a vectorcall slot and its object layout are C; each block is argued"
)]

use std::ffi::{c_int, c_void};
use std::ptr;

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

/// What the original's calls return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returns {
    /// A result.
    Value,
    /// A coroutine.
    Coroutine,
    /// A generator.
    Generator,
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

/// Wrappers of what binds as functions do, which the interpreter may call with the instance in front at once.
static TYPE: crate::object::TypeCell = crate::object::TypeCell::new();
/// Wrappers of all else: built-in functions, callable objects, descriptors of the program's own.
static UNBOUND_TYPE: crate::object::TypeCell = crate::object::TypeCell::new();

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
        let state = state();
        if !(*state).is_plain() || status::is_off() {
            return call_carefully(me, state, args, count, names);
        }
        let tree = (*state).tree;
        if tree.is_null() {
            return call_root(me, state, args, count, names);
        }
        call_inside(me, state, args, count, names)
    }
}

/// A call inside the open tree.
#[inline(always)]
unsafe fn call_inside(
    me: *mut TracedObject,
    state: *mut ThreadState,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_recorded`; the tree is not null.
    unsafe {
        let started = (*(*state).tree).start((*me).role, Clock::ticks());
        if started.split_due {
            (*state).split();
        }
        let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
        let tick = Clock::ticks();
        if result.is_null() {
            record_pending(&mut *state, started.id, tick);
        }
        (*state).end(started.id, tick);
        result
    }
}

/// A call that is not recorded, or in a thread where tasks take turns.
#[cold]
#[inline(never)]
unsafe fn call_carefully(
    me: *mut TracedObject,
    state: *mut ThreadState,
    args: Args,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `call_recorded`.
    unsafe {
        if (*state).quiet != 0 || status::is_off() {
            return ffi::PyObject_Vectorcall((*me).func, args, count, names);
        }
        let _turn = (*state).needs_a_turn().then(|| Turn::take(state));
        if (*state).tree.is_null() {
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
    state: *mut ThreadState,
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
        match (*state).begin_root(&root) {
            Begun::Recording(id) => {
                let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
                let tick = Clock::ticks();
                if result.is_null() {
                    record_pending(&mut *state, id, tick);
                }
                (*state).end(id, tick);
                result
            }
            Begun::SampledOut(context) => {
                let outer = std::mem::replace(&mut (*state).unsampled, &raw const *context);
                (*state).quiet += 1;
                crate::state::pass_on(&context);
                let result = ffi::PyObject_Vectorcall((*me).func, args, count, names);
                (*state).quiet -= 1;
                (*state).unsampled = outer;
                crate::otel::leave(context.span_id);
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
        if (*state).quiet != 0 || status::is_off() {
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
        let silent = (*state).quiet != 0 && (*state).unsampled.is_null();
        if result.is_null() || silent || status::is_off() {
            return result;
        }
        step::wrap(me, &mut *state, result)
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

/// Reads the original as the interpreter would, and traces what it gives.
unsafe extern "C" fn bind_by_original(
    object: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes live objects, or null for no instance; each branch returns a new reference.
    unsafe {
        let func = (*object.cast::<TracedObject>()).func;
        let Some(get) = (*ffi::Py_TYPE(func)).tp_descr_get else {
            // What does not bind (a built-in function, a callable object) does not begin to.
            ffi::Py_INCREF(object);
            return object;
        };
        let given = get(func, instance, owner);
        if given == func {
            ffi::Py_DECREF(given);
            ffi::Py_INCREF(object);
            return object;
        }
        if given.is_null() || ffi::PyCallable_Check(given) == 0 {
            return given;
        }
        let made = ffi::PyType_GenericAlloc(UNBOUND_TYPE.get(), 0).cast::<TracedObject>();
        if made.is_null() {
            ffi::PyErr_Clear();
            return given;
        }
        let me = object.cast::<TracedObject>();
        ffi::Py_INCREF(object);
        (*made).func = given;
        (*made).role = (*me).role;
        (*made).returns = (*me).returns;
        (*made).plan = (*me).plan;
        (*made).source = object;
        (*made).vectorcall = Some(call_as_source);
        made.cast()
    }
}

unsafe extern "C" fn bind(
    object: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes live objects; each branch returns a new reference.
    unsafe {
        if instance.is_null()
            || instance == ffi::Py_None() && owner != ffi::Py_TYPE(ffi::Py_None()).cast()
        {
            ffi::Py_INCREF(object);
            return object;
        }
        PyMethod_New(object, instance)
    }
}

unsafe extern "C" {
    fn PyMethod_New(
        function: *mut ffi::PyObject,
        instance: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

unsafe extern "C" fn get_attribute(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: live objects from the interpreter. Only the two names below are ours.
    unsafe {
        if crate::object::is_name(name, "__reduce_ex__")
            || crate::object::is_name(name, "__reduce__")
        {
            return ffi::PyObject_GenericGetAttr(object, name);
        }
        ffi::PyObject_GetAttr((*object.cast::<TracedObject>()).func, name)
    }
}

unsafe extern "C" fn set_attribute(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: live objects from the interpreter; a null value deletes, for the original as for us.
    unsafe { ffi::PyObject_SetAttr((*object.cast::<TracedObject>()).func, name, value) }
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live object from the interpreter.
    unsafe { ffi::PyObject_Repr((*object.cast::<TracedObject>()).func) }
}

unsafe extern "C" fn hash(object: *mut ffi::PyObject) -> ffi::Py_hash_t {
    // SAFETY: a live object from the interpreter.
    unsafe { ffi::PyObject_Hash((*object.cast::<TracedObject>()).func) }
}

/// Equal to itself, to the original, and to whatever equals that.
unsafe extern "C" fn compare(
    object: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    operation: c_int,
) -> *mut ffi::PyObject {
    // SAFETY: live objects from the interpreter.
    unsafe {
        let other = traced_object(other).map_or(other, |other| (*other).func);
        ffi::PyObject_RichCompare((*object.cast::<TracedObject>()).func, other, operation)
    }
}

/// Pickles by reference: the module's attribute is looked up by name, as for a function.
unsafe extern "C" fn reduce(
    object: *mut ffi::PyObject,
    _protocol: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a live object from the interpreter.
    unsafe {
        ffi::PyObject_GetAttrString(
            (*object.cast::<TracedObject>()).func,
            c"__qualname__".as_ptr(),
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
        let me = object.cast::<TracedObject>();
        for part in [ffi::Py_TYPE(object).cast(), (*me).source, (*me).func] {
            if !part.is_null() {
                let found = visit(part, arg);
                if found != 0 {
                    return found;
                }
            }
        }
        0
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector; whoever still calls a cleared wrapper must find a callable, so None takes the place.
    unsafe {
        let me = object.cast::<TracedObject>();
        let func = (*me).func;
        ffi::Py_INCREF(ffi::Py_None());
        (*me).func = ffi::Py_None();
        ffi::Py_XDECREF(func);
    }
    0
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; the fields are ours.
    unsafe {
        let me = object.cast::<TracedObject>();
        ffi::PyObject_GC_UnTrack(object.cast());
        if !(*me).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        ffi::Py_XDECREF((*me).func);
        if !(*me).source.is_null() {
            ffi::Py_DECREF((*me).source);
        } else if !(*me).plan.is_null() {
            drop(Box::from_raw((*me).plan));
        }
        crate::object::free(object);
    }
}

/// Makes the type and adds it to the module.
pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    use crate::object::{method, offset_member, slot};
    let members = Box::leak(Box::new([
        offset_member(
            c"__vectorcalloffset__",
            std::mem::offset_of!(TracedObject, vectorcall),
        ),
        offset_member(
            c"__weaklistoffset__",
            std::mem::offset_of!(TracedObject, weak_references),
        ),
        crate::object::END_OF_MEMBERS,
    ]));
    let methods = Box::leak(Box::new([
        method(c"__reduce_ex__", reduce, ffi::METH_O),
        method(c"__reduce__", reduce, ffi::METH_NOARGS),
        ffi::PyMethodDef::zeroed(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_descr_get, bind as *mut c_void),
        slot(ffi::Py_tp_getattro, get_attribute as *mut c_void),
        slot(ffi::Py_tp_setattro, set_attribute as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_hash, hash as *mut c_void),
        slot(ffi::Py_tp_richcompare, compare as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR
        | ffi::Py_TPFLAGS_HAVE_GC;
    let size = size_of::<TracedObject>();
    TYPE.make(module, c"hiq._hiq.Traced", size, flags, &mut slots)?;
    for slot in &mut slots {
        if slot.slot == ffi::Py_tp_descr_get {
            slot.pfunc = bind_by_original as *mut c_void;
        }
    }
    let name = c"hiq._hiq.TracedUnbound";
    let flags = flags & !ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
    UNBOUND_TYPE.make(module, name, size, flags, &mut slots)
}
