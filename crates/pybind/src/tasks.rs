//! Whether a task is running: work that an event loop, whichever it is, or a pool runs in a `contextvars.Context` of its own.
//!
//! The interpreter keeps the current context in its thread state, but hands out copies only. Where it lies is found once, by
//! entering a context of our own and looking for it.
#![allow(unsafe_code, reason = "the interpreter's thread state is read")]

use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::types::PyAnyMethods as _;

use crate::exception::undisturbed;
use crate::state::state;

/// Words of a thread state that are looked through: all of the smallest one there is, CPython 3.10's of 280 bytes.
const THREAD_STATE_WORDS: usize = 35;

/// Where to look, in words of the thread state and in 32-bit words of a context.
#[derive(Clone, Copy, Debug)]
struct Places {
    current: usize,
    is_entered: usize,
}

static PLACES: OnceLock<Option<Places>> = OnceLock::new();

/// The context that this thread runs in, borrowed; null where there is none yet, and where it is not known.
#[inline]
pub(crate) fn current() -> *mut ffi::PyObject {
    let Some(Some(places)) = PLACES.get() else {
        return ptr::null_mut();
    };
    // SAFETY: as in `running`.
    unsafe {
        let thread = ffi::PyThreadState_Get().cast::<*mut ffi::PyObject>();
        thread.add(places.current).read()
    }
}

/// The context object that was entered last in this thread, for comparing; null where none was, as in a program without tasks.
#[inline]
pub(crate) fn running() -> *mut ffi::PyObject {
    let Some(Some(places)) = PLACES.get() else {
        // Where nothing is known, everything may be a task.
        return ptr::without_provenance_mut(1);
    };
    // SAFETY: called with the GIL; `find` has seen the interpreter write to these places.
    unsafe {
        let thread = ffi::PyThreadState_Get().cast::<*mut ffi::PyObject>();
        let context = thread.add(places.current).read();
        // A thread's first context is made without being entered.
        if context.is_null() || context.cast::<i32>().add(places.is_entered).read() == 0 {
            return ptr::null_mut();
        }
        if ptr::eq(context, state().home.get()) {
            return ptr::null_mut();
        }
        context
    }
}

/// The name that the program gave to the task of asyncio that is running, if it gave one: not that which asyncio counts up.
#[cold]
pub(crate) fn name() -> Option<String> {
    undisturbed(|py| {
        let modules = py.import("sys").ok()?.getattr("modules").ok()?;
        let asyncio = modules.get_item("asyncio").ok()?;
        // Outside of a loop this is an error, which is no concern of ours.
        let task = asyncio.call_method0("current_task").ok()?;
        let name: String = task.call_method0("get_name").ok()?.extract().ok()?;
        let number = name.strip_prefix("Task-");
        let is_counted = number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
        (!is_counted && !name.is_empty()).then_some(name)
    })
}

/// Finds the places, when the module is loaded.
pub(crate) fn look() {
    PLACES.get_or_init(|| {
        // SAFETY: called with the GIL; the references are ours.
        unsafe {
            let (one, other) = (ffi::PyContext_New(), ffi::PyContext_New());
            let found = (!one.is_null() && !other.is_null())
                .then(|| find(one, other))
                .flatten();
            ffi::Py_XDECREF(one);
            ffi::Py_XDECREF(other);
            ffi::PyErr_Clear();
            found
        }
    });
}

/// The words that are as they should be with neither of the two contexts, the first, the second in it, and none again.
unsafe fn find(one: *mut ffi::PyObject, other: *mut ffi::PyObject) -> Option<Places> {
    // SAFETY: called with the GIL and two new contexts, which are left in the reverse order. Only memory of the interpreter's
    // own objects is read: of the thread state as many bytes as any version has, of a context as many as its type says.
    unsafe {
        let outside = Snapshot::take(one);
        if ffi::PyContext_Enter(one) < 0 {
            return None;
        }
        let in_one = Snapshot::take(one);
        let entered = ffi::PyContext_Enter(other) == 0;
        let in_other = Snapshot::take(one);
        if entered {
            ffi::PyContext_Exit(other);
        }
        ffi::PyContext_Exit(one);
        let left = Snapshot::take(one);
        if !entered {
            return None;
        }
        let current = (0..THREAD_STATE_WORDS).find(|at| {
            in_one.thread[*at] == one as usize
                && in_other.thread[*at] == other as usize
                && left.thread[*at] != one as usize
        })?;
        let is_entered = (0..outside.context.len()).rfind(|at| {
            let over_time = [&outside, &in_one, &in_other, &left].map(|then| then.context[*at]);
            over_time == [0, 1, 1, 0]
        })?;
        Some(Places {
            current,
            is_entered,
        })
    }
}

struct Snapshot {
    thread: [usize; THREAD_STATE_WORDS],
    context: Vec<i32>,
}

impl Snapshot {
    unsafe fn take(context: *mut ffi::PyObject) -> Self {
        // SAFETY: as in `find`.
        unsafe {
            let thread = ffi::PyThreadState_Get().cast::<usize>();
            let size = (*ffi::Py_TYPE(context)).tp_basicsize.cast_unsigned() / size_of::<i32>();
            Self {
                thread: std::array::from_fn(|at| thread.add(at).read_volatile()),
                context: (0..size)
                    .map(|at| context.cast::<i32>().add(at).read_volatile())
                    .collect(),
            }
        }
    }
}
