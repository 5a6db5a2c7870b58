//! `hiq.record`: a span in one call.
#![allow(
    unsafe_code,
    reason = "vectorcall keywords are read where they lie; each block is argued"
)]

use std::ptr;

use hiq_core::intern::{SiteId, Symbol};
use hiq_core::time::Clock;
use hiq_core::tree::{Role, TreeBuilder};
use pyo3::ffi;

use crate::attributes;
use crate::block::Turn;
use crate::state::{Begun, Parent, Root, ThreadState, state};

/// `record(name, /, **attributes)`: a span that starts and ends now.
pub(super) unsafe extern "C" fn record(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: vectorcall arguments from the interpreter; the thread's state is used with the GIL held.
    unsafe {
        if count != 1 || ffi::PyUnicode_Check(*args) == 0 {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"record() takes a name and keyword attributes".as_ptr(),
            );
            return ptr::null_mut();
        }
        let state = &mut *state();
        if state.quiet == 0 && !crate::status::is_off() {
            record_now(state, *args, args.add(1), names);
        }
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}

#[inline]
unsafe fn record_now(
    state: &mut ThreadState,
    name: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) {
    let tick = Clock::ticks();
    let _turn = state.needs_a_turn().then(|| Turn::take(state));
    // SAFETY: as in `record`.
    unsafe {
        if let Some(tree) = state.open() {
            let name = attributes::key_symbol(tree.builder(), name);
            let index = tree.add_moment(Role::new(name, SiteId::NONE), tick);
            describe(tree.builder(), index, values, names);
            if tree.is_split_due(tick) {
                state.split();
            }
            return;
        }
        let name = attributes::text_symbol(name).unwrap_or(Symbol::EMPTY);
        let begun = state.begin_root(&Root {
            role: Role::new(name, SiteId::NONE),
            tick,
            parent: Parent::Attached,
        });
        if let Begun::Recording(id) = begun {
            if let Some(tree) = state.open() {
                let index = tree.current();
                describe(tree.builder(), index, values, names);
            }
            state.end(id, tick);
        }
    }
}

/// Sets the attributes that vectorcall keywords name.
#[inline]
unsafe fn describe(
    builder: &mut TreeBuilder,
    index: u32,
    values: *const *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) {
    if names.is_null() {
        return;
    }
    // SAFETY: a tuple with one name for each value.
    unsafe {
        for position in 0..ffi::PyTuple_GET_SIZE(names) {
            let key = ffi::PyTuple_GET_ITEM(names, position);
            attributes::set(builder, index, key, *values.offset(position));
        }
    }
}
