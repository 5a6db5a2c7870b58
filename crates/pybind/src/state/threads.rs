//! The threads that record: who they are, and what becomes of what they have open when they end.
#![allow(
    unsafe_code,
    reason = "per-thread state behind a raw pointer, guarded by the GIL"
)]

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use hiq_core::context::Context;
use hiq_core::fork;
use hiq_core::record::OpenTree;
use hiq_core::thread::Thread;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{ThreadState, abandon, deliver, state};
use crate::context;
use crate::exception::{LastException, undisturbed};
use crate::greenlets;
use crate::open;

/// The states of all threads that have ever opened a root: what is open at exit is found through them.
static THREADS: crate::gil::GilCell<Vec<usize>> = crate::gil::GilCell::new(Vec::new());

/// The state of the thread of this number, while it lives.
pub(crate) fn thread<'a>(number: u64) -> Option<&'a ThreadState> {
    let here = state();
    if here.number.get() == number {
        return Some(here);
    }
    let threads = THREADS.lock();
    // SAFETY: threads leave the list before their state goes.
    let mut states = threads
        .iter()
        .map(|thread| unsafe { &*(*thread as *const ThreadState) });
    states.find(|state| state.number.get() == number)
}

/// For threads that end without Python's knowledge; the state of others has been left by then.
struct Unregister;

impl Drop for Unregister {
    fn drop(&mut self) {
        let me = ptr::from_ref(state()) as usize;
        // A native thread may end without the GIL: the list has a lock of its own for that.
        THREADS.lock().retain(|thread| *thread != me);
        drop(state().exception.replace(LastException::NONE));
    }
}

/// Stands in the interpreter's dict of a thread, which goes, with the GIL held, when the thread ends.
#[pyclass(frozen, module = "hiq._hiq")]
struct ThreadEnd {
    number: u64,
    process: u32,
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        // In a forked child the other threads' dicts go as well. They have not ended, they were never there.
        if self.process == fork::generation()
            && let Some(state) = thread(self.number)
        {
            state.end_thread();
        }
    }
}

thread_local! {
    static AT_THREAD_EXIT: Unregister = const { Unregister };
}

impl ThreadState {
    /// Makes the thread known to [`finish_all_threads`].
    #[cold]
    pub(super) fn register(&self) {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        self.number.set(NUMBERS.fetch_add(1, Ordering::Relaxed));
        THREADS.lock().push(ptr::from_ref(self) as usize);
        AT_THREAD_EXIT.with(|_| ());
        self.wait_for_end();
        self.home.set(context::thread_context());
        if let Some(name) = context::thread_name() {
            Thread::name_current(&name);
        }
    }

    fn wait_for_end(&self) {
        let end = ThreadEnd {
            number: self.number.get(),
            process: fork::generation(),
        };
        undisturbed(|py| {
            // SAFETY: called with the GIL; the dict is borrowed and may be missing.
            let dict = unsafe {
                Bound::from_borrowed_ptr_or_opt(py, ffi::PyThreadState_GetDict())
                    .map(|dict| dict.cast_into_unchecked::<PyDict>())
            };
            // Without it, what is open at the thread's end leaves at the interpreter's.
            if let (Some(dict), Ok(end)) = (dict, Py::new(py, end)) {
                let _ = dict.set_item("hiq.thread", end);
            }
        });
    }

    /// The thread has ended: what it has open leaves as unfinished, unless somebody else can still end it. Another one of
    /// Python's may come in the same thread of the system.
    fn end_thread(&self) {
        let me = ptr::from_ref(self) as usize;
        THREADS.lock().retain(|thread| *thread != me);
        self.number.set(0);
        self.home.set(ptr::null_mut());
        let tree = self.tree.replace(ptr::null_mut());
        self.quiet.set(0);
        self.task_blocks.set(0);
        self.silences.set(0);
        self.in_step.set(false);
        self.unsampled.set(ptr::null());
        self.job.set(ptr::null());
        self.watches_greenlets.set(false);
        abandon(tree);
    }

    /// The sampled-out root that propagates `context` has ended.
    pub(crate) fn leave_unsampled(&self, context: Box<Context>) {
        if ptr::eq(self.unsampled.get(), &raw const *context) {
            self.unsampled.set(ptr::null());
            self.quiet.update(|quiet| quiet.saturating_sub(1));
        } else {
            // A step that the thread is in the middle of has put it aside, and will put it back.
            Box::leak(context);
        }
    }

    /// The thread goes on without the open tree, which leaves as unfinished unless somebody else can still end it.
    pub(crate) fn abandon_tree(&self) {
        abandon(self.tree.replace(ptr::null_mut()));
    }
}

/// No thread has `tree` open any more: somebody else lets it go. True when one had.
pub(crate) fn forget_tree(tree: *mut OpenTree) -> bool {
    let mut was_there = false;
    for thread in THREADS.lock().iter() {
        // SAFETY: as in `finish_all_threads`.
        let state = unsafe { &*(*thread as *const ThreadState) };
        if state.tree.get() == tree {
            state.tree.set(ptr::null_mut());
            was_there = true;
        }
    }
    was_there
}

/// At interpreter exit: what is open in any thread leaves, marked as unfinished.
pub(crate) fn finish_all_threads() {
    greenlets::finish_all();
    open::finish_all();
    let threads: Vec<usize> = THREADS.lock().clone();
    for thread in threads {
        // SAFETY: threads leave the list before their state goes, and the GIL keeps them from running meanwhile.
        let state = unsafe { &*(thread as *const ThreadState) };
        if !crate::block::owns(state.tree.get())
            && let Some(tree) = state.take_tree()
        {
            deliver(tree.finish_unfinished());
        }
    }
}

/// In a forked child: no thread has come along but the one that forked.
pub(super) fn after_fork_in_child(only: &ThreadState) {
    let only = ptr::from_ref(only) as usize;
    THREADS.lock().retain(|thread| *thread == only);
}
