//! The place of a `with` block inside a step of ours: tasks that are started in it inherit the ContextVar, and hang there.
#![allow(
    unsafe_code,
    reason = "the ContextVar is only reachable through the C API"
)]

use std::ptr;

use hiq_core::id::SpanId;
use pyo3::ffi;

use super::{Attached, attached_object, fragment, new_block_object, set, span_id, variable};
use crate::state::{ThreadState, context_of};

/// The block's context object is attached, until the block is left.
#[derive(Debug)]
pub(crate) struct Inherited {
    object: *mut ffi::PyObject,
    token: *mut ffi::PyObject,
    /// What was attached before, or null.
    before: *mut ffi::PyObject,
}

// SAFETY: made, used and dropped with the GIL held.
unsafe impl Send for Inherited {}

impl Inherited {
    /// Attaches the place of the innermost span of the thread's open tree.
    pub(crate) fn attach(state: &ThreadState) -> Option<Self> {
        let around = Attached::now();
        let place = state.with_tree(|tree| context_of(tree, &around))?;
        let before = around.object();
        // SAFETY: called with the GIL; `before` is alive as long as it is attached, and then by our reference.
        unsafe {
            ffi::Py_XINCREF(before);
            let object = new_block_object(place);
            let token = set(object);
            Some(Self {
                object,
                token,
                before,
            })
        }
    }

    /// The block was left: what was attached before is again, unless something else has been attached since. A block inside
    /// this one that was not left has ended with it: `is_open` says which spans have not.
    pub(crate) fn detach(self, is_open: impl FnOnce(SpanId) -> bool) {
        let now = attached_object();
        let is_ours = ptr::eq(now, self.object);
        if is_ours || stands_for_block(now) && !span_id(now).is_some_and(is_open) {
            // SAFETY: called with the GIL; the token is that of `attach`, and `before` is ours.
            unsafe {
                if self.token.is_null() || ffi::PyContextVar_Reset(variable(), self.token) < 0 {
                    // It was attached in another context, as in an async generator that is closed by another task.
                    ffi::PyErr_Clear();
                    attach_again(self.before);
                }
            }
        }
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        // SAFETY: references that `attach` got.
        unsafe {
            ffi::Py_XDECREF(self.token);
            ffi::Py_XDECREF(self.object);
            ffi::Py_XDECREF(self.before);
        }
    }
}

fn stands_for_block(object: *mut ffi::PyObject) -> bool {
    fragment(object).is_some_and(|fragment| fragment.is_of_tree)
}

/// Attaches what was attached before; null: nothing.
pub(crate) unsafe fn attach_again(before: *mut ffi::PyObject) {
    // SAFETY: called with the GIL and a live object or null.
    unsafe {
        let value = if before.is_null() {
            ffi::Py_None()
        } else {
            before
        };
        ffi::Py_XDECREF(set(value));
    }
}
