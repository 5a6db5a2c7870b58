//! What steps attach, written where the last one was.
//!
//! Each step of a coroutine attaches its place and takes it back when it waits. To set a variable and to reset it costs as much as
//! all else that a step does: a token, and twice a new tree of variables. So what a step sets is a slate, which holds the place; as
//! long as its context is the only one that can come to it, the next steps write on it instead. To copies of the context it is
//! what it was when they were made: from then on it is written no more, and the next step sets another.
//!
//! Most steps start nothing that would ask for their place. A coroutine's first step writes down only who it is; the place is made when
//! somebody reads it, and at the end of the step if somebody still may.
#![allow(
    unsafe_code,
    reason = "the ContextVar is only reachable through the C API; each block is argued"
)]

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use super::{attach_again, fragment, reset, set, sole, variable};
use crate::exception::Pending;
use crate::object::{self, TypeCell, slot};
use crate::step::{self, Stepped};

static TYPE: TypeCell = TypeCell::new();

#[repr(C)]
struct Slate {
    base: ffi::PyObject,
    /// A context object, of ours, or null for nothing.
    content: *mut ffi::PyObject,
    /// A coroutine in its step whose place is the content, once somebody reads it; else null.
    source: *mut Stepped,
    /// References that steps have, which do not read it.
    kept: ffi::Py_ssize_t,
}

/// What `value`, a new reference to what a variable holds or null, says: a new reference, or null, instead of it.
#[inline]
pub(super) unsafe fn read(value: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called with the GIL; a live object or null.
    unsafe {
        if value.is_null() || ffi::Py_TYPE(value) != TYPE.get() {
            return value;
        }
        let slate = value.cast::<Slate>();
        if !(*slate).source.is_null() {
            fill(slate);
        }
        let content = (*slate).content;
        ffi::Py_XINCREF(content);
        ffi::Py_DECREF(value);
        content
    }
}

/// Makes the place that nobody has read yet.
#[cold]
#[inline(never)]
unsafe fn fill(slate: *mut Slate) {
    // SAFETY: a live slate; its source is alive in its step, at whose end it is none any more.
    unsafe {
        let source = std::mem::replace(&mut (*slate).source, ptr::null_mut());
        let place = step::place_object(source);
        ffi::Py_XINCREF(place);
        (*slate).content = place;
    }
}

/// The slate of the running context that nobody else can read; null when there is none.
#[inline]
fn sole_slate() -> *mut Slate {
    let slate = sole::value_of(variable()).cast::<Slate>();
    // SAFETY: null or alive.
    let is_sole = unsafe {
        !slate.is_null()
            && ffi::Py_TYPE(slate.cast()) == TYPE.get()
            && ffi::Py_REFCNT(slate.cast()) == 1 + (*slate).kept
    };
    if is_sole { slate } else { ptr::null_mut() }
}

/// What a step has attached, and what it takes it back for.
pub(crate) struct Placed {
    /// What was attached before, or null; kept alive.
    before: *mut ffi::PyObject,
    /// Where it was written, for comparing; null for nowhere.
    slate: *mut Slate,
    /// Of what was set; null where nothing was.
    token: *mut ffi::PyObject,
    /// Whose place it is, if that was not made; the slate is kept alive then. Else null.
    source: *mut Stepped,
}

impl Placed {
    pub(crate) const NOTHING: Self = Self {
        before: ptr::null_mut(),
        slate: ptr::null_mut(),
        token: ptr::null_mut(),
        source: ptr::null_mut(),
    };

    /// Attaches `object` instead of `before`, which is attached now; null attaches nothing.
    ///
    /// # Safety
    ///
    /// Called with the GIL and live objects or null.
    #[inline]
    pub(crate) unsafe fn instead_of(
        before: *mut ffi::PyObject,
        object: *mut ffi::PyObject,
    ) -> Self {
        // SAFETY: as the caller says.
        unsafe {
            ffi::Py_XINCREF(before);
            let mut placed = Self {
                before,
                ..Self::NOTHING
            };
            if !object.is_null() {
                placed.slate = sole_slate();
                if placed.slate.is_null() {
                    placed.set(object);
                } else {
                    ffi::Py_INCREF(object);
                    write(placed.slate, object);
                }
            }
            placed
        }
    }

    /// Attaches the place of `source`, which makes its first step, where nothing is attached now.
    ///
    /// # Safety
    ///
    /// As for [`Placed::instead_of`]; it is taken back at the end of the step.
    #[inline]
    pub(crate) unsafe fn of_first_step(source: *mut Stepped) -> Self {
        // SAFETY: as the caller says.
        unsafe {
            let mut placed = Self::NOTHING;
            placed.slate = sole_slate();
            if placed.slate.is_null() {
                placed.set(ptr::null_mut());
            }
            if !placed.slate.is_null() {
                placed.source = source;
                (*placed.slate).source = source;
                (*placed.slate).kept += 1;
                ffi::Py_INCREF(placed.slate.cast());
            }
            placed
        }
    }

    /// Nobody has asked for the place yet.
    #[inline]
    pub(crate) fn is_unread(&self) -> bool {
        // SAFETY: the slate is kept alive.
        !self.source.is_null() && unsafe { (*self.slate).source } == self.source
    }

    /// Before the span ends: makes the place if somebody else may come to it, and where the caller says so.
    ///
    /// # Safety
    ///
    /// Called with the GIL by the thread that attached.
    #[inline]
    pub(crate) unsafe fn settle(&self, is_needed: bool) {
        if self.is_unread() && (is_needed || sole_slate() != self.slate) {
            // SAFETY: the slate is kept alive.
            unsafe { fill(self.slate) };
        }
    }

    /// Attaches nothing again, where the place was not read.
    ///
    /// # Safety
    ///
    /// As for [`Placed::settle`], which was called before.
    #[inline]
    pub(crate) unsafe fn take_back_unread(self) {
        // SAFETY: the slate is kept alive until here; nobody has written on it.
        unsafe {
            (*self.slate).source = ptr::null_mut();
            self.release();
            ffi::Py_XDECREF(self.token);
        }
    }

    unsafe fn release(&self) {
        // SAFETY: as in `take_back_unread`.
        unsafe {
            (*self.slate).kept -= 1;
            ffi::Py_DECREF(self.slate.cast());
        }
    }

    /// What was attached before, or null.
    pub(crate) fn before(&self) -> *mut ffi::PyObject {
        self.before
    }

    #[cold]
    #[inline(never)]
    unsafe fn set(&mut self, object: *mut ffi::PyObject) {
        // SAFETY: as in `instead_of`.
        unsafe {
            // What is not of ours is not written down either: it may have references to the context.
            if self.before.is_null() || fragment(self.before).is_some() {
                self.slate = new(object);
            }
            if self.slate.is_null() {
                self.token = set(object);
                return;
            }
            self.token = set(self.slate.cast());
            ffi::Py_DECREF(self.slate.cast());
            if self.token.is_null() {
                self.slate = ptr::null_mut();
            }
        }
    }

    /// Attaches what was, where `now` is. An exception that is pending stays so.
    ///
    /// # Safety
    ///
    /// Called with the GIL by the thread that attached.
    #[inline]
    pub(crate) unsafe fn take_back(self, now: *mut ffi::PyObject) {
        // SAFETY: references of ours. A slate that has gone is only compared, with what is there.
        unsafe {
            if !self.source.is_null() {
                self.release();
            }
            if !self.slate.is_null() && sole_slate() == self.slate {
                write(self.slate, self.before);
                ffi::Py_XDECREF(self.token);
                return;
            }
            if !self.slate.is_null() || !self.token.is_null() || now != self.before {
                self.set_back();
            }
            ffi::Py_XDECREF(self.before);
        }
    }

    /// The same where it was not written down, or others can read it there.
    #[cold]
    #[inline(never)]
    unsafe fn set_back(&self) {
        // SAFETY: as in `take_back`.
        unsafe {
            let failed = (!ffi::PyErr_Occurred().is_null()).then(Pending::take);
            if self.token.is_null() {
                attach_again(self.before);
            } else {
                reset(self.token);
            }
            if let Some(pending) = failed {
                pending.restore();
            }
        }
    }
}

/// Writes `content`, whose reference is handed over; null for nothing.
#[inline]
unsafe fn write(slate: *mut Slate, content: *mut ffi::PyObject) {
    // SAFETY: a live slate, with the GIL held. What is let go are context objects, which run no code of Python's.
    unsafe {
        (*slate).source = ptr::null_mut();
        let before = std::mem::replace(&mut (*slate).content, content);
        ffi::Py_XDECREF(before);
    }
}

/// A slate with `content` on it; null when there is no memory.
unsafe fn new(content: *mut ffi::PyObject) -> *mut Slate {
    // SAFETY: called with the GIL and a live object or null.
    unsafe {
        let slate = ffi::PyType_GenericAlloc(TYPE.get(), 0).cast::<Slate>();
        if slate.is_null() {
            ffi::PyErr_Clear();
            return slate;
        }
        ffi::Py_XINCREF(content);
        (*slate).content = content;
        slate
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; the content is ours.
    unsafe {
        ffi::Py_XDECREF((*object.cast::<Slate>()).content);
        object::free(object);
    }
}

/// Makes the type and adds it to the module; finds out what it needs of the interpreter.
pub(super) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut std::ffi::c_void),
        slot(0, ptr::null_mut()),
    ];
    let name = c"hiq._hiq.AttachedPlace";
    TYPE.make(module, name, size_of::<Slate>(), flags, &mut slots)?;
    sole::look(variable(), module.as_ptr());
    Ok(())
}
