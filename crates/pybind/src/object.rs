//! Making C types by hand: the few pieces that all of ours share.
#![allow(unsafe_code, reason = "type objects are C structures")]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::gil::GilOnly;

/// A type that is made when the module is loaded.
pub(crate) struct TypeCell(AtomicPtr<ffi::PyTypeObject>);

impl TypeCell {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline]
    pub(crate) fn get(&self) -> *mut ffi::PyTypeObject {
        self.0.load(Ordering::Relaxed)
    }

    /// Makes the type from `slots` and adds it to the module under the last part of `name`. It lives for ever.
    pub(crate) fn make(
        &self,
        module: &Bound<'_, PyModule>,
        name: &'static CStr,
        size: usize,
        flags: std::ffi::c_ulong,
        slots: &mut [ffi::PyType_Slot],
    ) -> PyResult<()> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "sizes of small structures, flags of 32 bits"
        )]
        let mut spec = ffi::PyType_Spec {
            name: name.as_ptr(),
            basicsize: size as c_int,
            itemsize: 0,
            flags: flags as u32,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the spec and its slots are valid during the call; name, methods and members live for ever.
        let made = unsafe {
            let made = ffi::PyType_FromSpec(&raw mut spec);
            Bound::from_owned_ptr_or_err(module.py(), made)?
        };
        let short = name
            .to_str()
            .ok()
            .and_then(|name| name.rsplit('.').next())
            .unwrap_or_default();
        module.add(short, made.cast::<PyType>()?)?;
        self.0.store(made.into_ptr().cast(), Ordering::Relaxed);
        Ok(())
    }
}

pub(crate) const fn slot(slot: c_int, pfunc: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc }
}

/// A member that tells the interpreter where in the object a pointer lies.
#[expect(clippy::cast_possible_wrap, reason = "offsets are small")]
pub(crate) const fn offset_member(name: &'static CStr, offset: usize) -> ffi::PyMemberDef {
    ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    }
}

pub(crate) const END_OF_MEMBERS: ffi::PyMemberDef = ffi::PyMemberDef {
    name: ptr::null(),
    type_code: 0,
    offset: 0,
    flags: 0,
    doc: ptr::null(),
};

pub(crate) const fn method(
    name: &'static CStr,
    function: ffi::PyCFunction,
    flags: c_int,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: function,
        },
        ml_flags: flags,
        ml_doc: ptr::null(),
    }
}

pub(crate) const fn fast_method(
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: function,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: ptr::null(),
    }
}

pub(crate) const fn positional_method(
    name: &'static CStr,
    function: ffi::PyCFunctionFast,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFast: function,
        },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: ptr::null(),
    }
}

/// Memory of objects of one size that have been, for the next ones: what the interpreter keeps of its own coroutines and frames.
pub(crate) struct Spares(GilOnly<Vec<usize>>);

/// More are seldom made and let go in turn.
const MOST_SPARES: usize = 64;

impl Spares {
    pub(crate) const fn new() -> Self {
        Self(GilOnly::new(Vec::new()))
    }

    /// An object of `kind` that the collector does not know yet, with nothing behind its header; null when there is no memory.
    ///
    /// # Safety
    /// Called with the GIL; `kind` is a heap type, collected or not as the others are, whose objects have the size that these have.
    pub(crate) unsafe fn allocate(&self, kind: *mut ffi::PyTypeObject) -> *mut ffi::PyObject {
        let spare = self.0.borrow().pop();
        // SAFETY: by the caller's promise; a spare is memory that `give_back` was given, and nobody else knows it.
        unsafe {
            match spare {
                Some(spare) => ffi::PyObject_Init(spare as *mut ffi::PyObject, kind),
                None if ffi::PyType_IS_GC(kind) != 0 => ffi::PyObject_GC_New(kind),
                None => ffi::PyObject_New(kind),
            }
        }
    }

    /// Takes the memory of an object of [`Spares::allocate`], and its reference to the type.
    ///
    /// # Safety
    /// As for [`free`]; the collector does not know the object any more.
    pub(crate) unsafe fn give_back(&self, object: *mut ffi::PyObject) {
        let mut spares = self.0.borrow();
        // SAFETY: by the caller's promise. A type that is let go with its last object frees no spare: those have none.
        unsafe {
            if spares.len() == MOST_SPARES {
                drop(spares);
                return free(object);
            }
            let kind = ffi::Py_TYPE(object);
            spares.push(object as usize);
            drop(spares);
            ffi::Py_DECREF(kind.cast());
        }
    }
}

/// Frees an object of a heap type: its memory, and its reference to the type.
///
/// # Safety
/// `object` is being deallocated and its fields have been released.
pub(crate) unsafe fn free(object: *mut ffi::PyObject) {
    // SAFETY: by the caller's promise; heap types' objects hold a reference to their type.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if let Some(free) = (*kind).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(kind.cast());
    }
}

/// True when nobody but the one who asks has a reference to `object`, which is alive.
#[inline]
pub(crate) fn has_one_owner(object: *mut ffi::PyObject) -> bool {
    // SAFETY: by the caller's promise.
    unsafe { ffi::Py_REFCNT(object) == 1 }
}

/// True when `name` is the text `expected`.
#[inline]
pub(crate) fn is_name(name: *mut ffi::PyObject, expected: &str) -> bool {
    // SAFETY: attribute names are live string objects; the length is compared first, which settles nearly all.
    unsafe {
        ffi::PyUnicode_GET_LENGTH(name).cast_unsigned() == expected.len()
            && crate::attributes::with_utf8(name, |text| text == expected).unwrap_or(false)
    }
}

/// True when `function` becomes a bound method when it is read from an instance, as functions do: by the flag that lets the
/// interpreter call it with the instance in front and leave the method out.
pub(crate) fn binds_as_functions_do(function: *mut ffi::PyObject) -> bool {
    // SAFETY: a live object's type is read.
    unsafe {
        ffi::PyType_HasFeature(ffi::Py_TYPE(function), ffi::Py_TPFLAGS_METHOD_DESCRIPTOR) != 0
    }
}
