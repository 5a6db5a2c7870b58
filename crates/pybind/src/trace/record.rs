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

use crate::attributes::{self, Foreign};
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
        let state = state();
        if !state.is_silent() && !crate::status::is_off() {
            record_now(state, *args, args.add(1), names);
        }
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}

#[inline]
fn record_now(
    state: &ThreadState,
    name: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) {
    let foreign = Foreign::among(keywords(values, names).map(|(_, value)| value));
    let describe = |builder: &mut TreeBuilder, index: u32| {
        for (position, (key, value)) in keywords(values, names).enumerate() {
            foreign.set(builder, index, key, (position, value));
        }
    };
    let tick = Clock::ticks();
    let _turn = state.needs_a_turn().then(|| Turn::take(state));
    let split_due = state.with_tree(|tree| {
        let name = attributes::key_symbol(tree.builder(), name);
        let index = tree.add_moment(Role::new(name, SiteId::NONE), tick);
        describe(tree.builder(), index);
        tree.is_split_due(tick)
    });
    match split_due {
        Some(true) => return state.split(),
        Some(false) => return,
        None => {}
    }
    let (text, name) = (name, attributes::text_symbol(name).unwrap_or(Symbol::EMPTY));
    let begun = state.begin_root(&Root {
        role: Role::new(name, SiteId::NONE),
        tick,
        parent: Parent::Attached,
    });
    if let Begun::Recording(id) = begun {
        state.with_open_span(id, |builder, index| {
            if name == Symbol::EMPTY {
                let name = attributes::key_symbol(builder, text);
                builder.set_name(index, name);
            }
            describe(builder, index);
        });
        state.end(id, tick);
    }
}

/// The names and values of vectorcall keywords: `names` is null or a tuple with one name for each of `values`.
#[inline]
fn keywords(
    values: *const *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) -> impl Iterator<Item = (*mut ffi::PyObject, *mut ffi::PyObject)> {
    // SAFETY: a live tuple.
    let count = if names.is_null() {
        0
    } else {
        unsafe { ffi::PyTuple_GET_SIZE(names) }
    };
    // SAFETY: both are there for each position.
    (0..count).map(move |at| unsafe { (ffi::PyTuple_GET_ITEM(names, at), *values.offset(at)) })
}
