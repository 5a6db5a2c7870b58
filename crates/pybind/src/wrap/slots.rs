//! What the interpreter asks of a wrapper besides calling it: how it binds, and everything else as the original answers it.
#![allow(
    unsafe_code,
    reason = "a type's slots and its object layout are C; each block is argued"
)]

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::{TracedObject, call_as_source, traced_object};
use crate::object::{END_OF_MEMBERS, TypeCell, free, is_name, method, offset_member, slot};

/// Wrappers of what binds as functions do, which the interpreter may call with the instance in front at once.
pub(super) static TYPE: TypeCell = TypeCell::new();
/// Wrappers of all else: built-in functions, callable objects, descriptors of the program's own.
pub(super) static UNBOUND_TYPE: TypeCell = TypeCell::new();

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
        if is_name(name, "__reduce_ex__") || is_name(name, "__reduce__") {
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
        free(object);
    }
}

/// Makes the type and adds it to the module.
pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let members = Box::leak(Box::new([
        offset_member(
            c"__vectorcalloffset__",
            std::mem::offset_of!(TracedObject, vectorcall),
        ),
        offset_member(
            c"__weaklistoffset__",
            std::mem::offset_of!(TracedObject, weak_references),
        ),
        END_OF_MEMBERS,
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
