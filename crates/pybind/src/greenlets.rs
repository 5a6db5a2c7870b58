//! Greenlets: many stacks in one thread, which take turns. Each gets its own open tree.
//!
//! The library calls a trace function of the thread at every switch; ours goes in at the thread's first root after greenlets
//! were imported, in front of whichever was there.
#![allow(unsafe_code, reason = "per-thread state is swapped under the GIL")]

use std::ptr;
use std::sync::Mutex;

use hiq_core::context::Context;
use hiq_core::record::OpenTree;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyWeakrefReference};

use crate::block;
use crate::context::PyContext;
use crate::exception::undisturbed;
use crate::gil::GilCell;
use crate::loaded;
use crate::open;
use crate::state::{ThreadState, state};

/// What a greenlet was doing when it was switched away from.
struct Stack {
    tree: *mut OpenTree,
    scope: *mut ffi::PyObject,
    task: *mut ffi::PyObject,
    quiet: u32,
    task_blocks: u32,
    silences: u32,
    in_step: bool,
    unsampled: *const Context,
    job: *const PyContext,
}

// SAFETY: moved and followed with the GIL held only.
unsafe impl Send for Stack {}

impl Stack {
    const EMPTY: Self = Self {
        tree: ptr::null_mut(),
        scope: ptr::null_mut(),
        task: ptr::null_mut(),
        quiet: 0,
        task_blocks: 0,
        silences: 0,
        in_step: false,
        unsampled: ptr::null(),
        job: ptr::null(),
    };

    fn take(state: &ThreadState) -> Self {
        let mut stack = Self::EMPTY;
        stack.swap(state);
        stack
    }

    fn swap(&mut self, state: &ThreadState) {
        let tree = state.tree.get();
        state.put_back(self.tree);
        self.tree = tree;
        self.scope = state.scope.replace(self.scope);
        self.task = state.task.replace(self.task);
        self.quiet = state.quiet.replace(self.quiet);
        self.task_blocks = state.task_blocks.replace(self.task_blocks);
        self.silences = state.silences.replace(self.silences);
        self.in_step = state.in_step.replace(self.in_step);
        self.unsampled = state.unsampled.replace(self.unsampled);
        self.job = state.job.replace(self.job);
    }

    fn is_empty(&self) -> bool {
        let is_silent = self.quiet != 0 || !self.unsampled.is_null();
        self.tree.is_null()
            && !is_silent
            && self.task_blocks == 0
            && !self.in_step
            && self.job.is_null()
    }
}

/// Greenlets that are inside a span while others run: address, weak reference, and what they were doing.
static AWAY: GilCell<Vec<(usize, Py<PyWeakrefReference>, Stack)>> = GilCell::new(Vec::new());

fn switch(origin: &Bound<'_, PyAny>, target: &Bound<'_, PyAny>) {
    let state = state();
    let left = Stack::take(state);
    if !left.is_empty()
        && let Ok(reference) = PyWeakrefReference::new(origin)
    {
        let entry = (origin.as_ptr() as usize, reference.unbind(), left);
        AWAY.lock().push(entry);
    }
    if let Some(mut stack) = take(target) {
        stack.swap(state);
    }
}

fn take(target: &Bound<'_, PyAny>) -> Option<Stack> {
    let mut away = AWAY.lock();
    let address = target.as_ptr() as usize;
    let at = away.iter().rposition(|(known, ..)| *known == address)?;
    let (_, reference, stack) = away.swap_remove(at);
    drop(away);
    // Another one may have come to lie where one was that its thread has left behind.
    let is_same = reference
        .bind(target.py())
        .upgrade()
        .is_some_and(|known| known.is(target));
    if is_same {
        return Some(stack);
    }
    finish(stack);
    None
}

fn finish(stack: Stack) {
    // The tree of a task's block leaves with the block.
    if !block::owns(stack.tree) {
        // SAFETY: the tree was the thread's, whose slot it will not come back to.
        unsafe { open::abandon(stack.tree) };
    }
}

/// The thread's trace function.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug, Default)]
struct GreenletTracer {
    before: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl GreenletTracer {
    fn __call__(&self, event: &Bound<'_, PyAny>, args: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(pair) = args.cast::<PyTuple>()
            && let (Ok(origin), Ok(target)) = (pair.get_item(0), pair.get_item(1))
        {
            switch(&origin, &target);
        }
        let py = event.py();
        let before = self.before.lock().ok().and_then(|before| {
            let before = before.as_ref()?;
            Some(before.clone_ref(py))
        });
        let Some(before) = before else { return Ok(()) };
        before.call1(py, (event, args)).map(drop).inspect_err(|_| {
            // The library takes a trace function that fails out. That one is gone then; we come again.
            state().watches_greenlets.set(false);
        })
    }
}

/// Follows the calling thread's greenlets from now on.
#[cold]
pub(crate) fn watch(state: &ThreadState) {
    state.watches_greenlets.set(true);
    undisturbed(|py| {
        // Greenlets that cannot be followed are not: the program goes on.
        let _ = install(py);
    });
}

fn install(py: Python<'_>) -> PyResult<()> {
    let Some(greenlet) = loaded::module(py, "greenlet") else {
        return Ok(());
    };
    let before = greenlet.call_method0("gettrace")?;
    if before.is_instance_of::<GreenletTracer>() {
        return Ok(());
    }
    let before = (!before.is_none()).then(|| before.unbind());
    let tracer = GreenletTracer {
        before: Mutex::new(before),
    };
    greenlet.call_method1("settrace", (Bound::new(py, tracer)?,))?;
    Ok(())
}

/// At interpreter exit: what is suspended leaves, marked as unfinished.
pub(crate) fn finish_all() {
    let away = std::mem::take(&mut *AWAY.lock());
    for (_, _, stack) in away {
        finish(stack);
    }
}

/// In a forked child: the trees of suspended greenlets are the parent's to export; their memory is left alone.
pub(crate) fn after_fork_in_child() {
    for (_, _, stack) in AWAY.lock().iter_mut() {
        stack.tree = ptr::null_mut();
    }
}
