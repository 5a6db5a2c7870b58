//! `with` blocks inside tasks.
//!
//! Other tasks run before such a block is left, so its span is the root of a fragment of its own, and the ContextVar, which each
//! task has for itself, says what is inside it. The context object that the variable holds owns the fragment.
#![allow(
    unsafe_code,
    reason = "trees behind raw pointers, guarded by the GIL; each block is argued"
)]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::Relaxed};

use hiq_core::fork;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::record::OpenTree;
use hiq_core::time::Clock;
use hiq_core::tree::{Role, TreeBuilder};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::context;
use crate::exception;
use crate::gil::GilCell;
use crate::otel;
use crate::state::{Begun, Parent, Root, ThreadState, context_of, deliver};

/// An entry into a block that has not been left.
#[derive(Debug)]
pub(crate) struct Block {
    thread: usize,
    root: SpanId,
    attached: usize,
    token: usize,
    /// The id that is propagated meanwhile.
    passed_on: SpanId,
}

/// What a context object has of the block that it stands for. Touched with the GIL held only.
#[derive(Debug, Default)]
pub(crate) struct Fragment {
    /// Null: it stands for no block, or for one that was left or sampled out.
    tree: AtomicPtr<OpenTree>,
    /// The thread that entered: another one, which may inherit the context, does not record in the tree.
    thread: AtomicPtr<ThreadState>,
    /// Calls that are recording in the tree.
    turns: AtomicU32,
    /// The block was left during such a call: the last of them lets the fragment go.
    is_left: AtomicBool,
}

/// Context objects of open blocks, with the ids of the blocks' spans.
static OPEN: GilCell<Vec<(SpanId, usize)>> = GilCell::new(Vec::new());

impl Block {
    /// Opens the root of a fragment and attaches its place. `describe` adds its attributes.
    pub(crate) fn enter(
        state: &ThreadState,
        role: Role,
        describe: impl FnOnce(&mut TreeBuilder, u32),
    ) -> Self {
        let thread = ptr::from_ref(state).cast_mut();
        let parent = state.capture();
        let outer = (state.tree.replace(ptr::null_mut()), state.scope.get());
        let begun = state.begin_root(&Root {
            role,
            tick: Clock::ticks(),
            parent: Parent::Given(parent.as_ref()),
        });
        let tree = state.tree.replace(outer.0);
        state.scope.set(outer.1);
        let (root, place) = match begun {
            Begun::Recording(root) => {
                // SAFETY: `begin_root` has just made the tree, and it is ours now.
                let open = unsafe { &mut *tree };
                let index = open.current();
                describe(open.builder(), index);
                (root, context_of(open))
            }
            Begun::SampledOut(context) => {
                crate::state::pass_on(&context);
                (SpanId::INVALID, *context)
            }
        };
        let passed_on = place.span_id;
        let attached = context::new_object(place);
        if let Some(fragment) = context::fragment(attached) {
            fragment.tree.store(tree, Relaxed);
            fragment.thread.store(thread, Relaxed);
        }
        // SAFETY: a live object; the token is a new reference.
        let token = unsafe { context::set(attached) };
        state.task_blocks.update(|open| open + 1);
        OPEN.lock().push((root, attached as usize));
        Self {
            thread: thread as usize,
            root,
            attached: attached as usize,
            token: token as usize,
            passed_on,
        }
    }

    /// Trace and id of its span; invalid when it is not recorded.
    pub(crate) fn span(&self) -> (TraceId, SpanId) {
        // SAFETY: the tree lives until the block is left.
        let tree = unsafe {
            self.fragment()
                .and_then(|fragment| fragment.tree().as_ref())
        };
        tree.map_or((TraceId::INVALID, SpanId::INVALID), |tree| {
            (tree.peek().trace_id(), self.root)
        })
    }

    /// True in the task that is inside it.
    pub(crate) fn is_of_running_task(&self) -> bool {
        self.attached == context::attached_object() as usize
    }

    /// Ends its span, with `error` unless that is None, and lets the fragment go.
    pub(crate) fn leave(&self, py: Python<'_>, state: &ThreadState, error: &Bound<'_, PyAny>) {
        // SAFETY: the state of the thread that entered outlives its open blocks; usually it is ours.
        let entered_in = unsafe { &*(self.thread as *const ThreadState) };
        entered_in.task_blocks.update(|open| open - 1);
        OPEN.lock()
            .retain(|(_, attached)| *attached != self.attached);
        if let Some(fragment) = self.fragment() {
            let has_turns = fragment.turns.load(Relaxed) != 0;
            self.end_span(py, state, fragment.tree(), has_turns, error);
            if has_turns {
                fragment.is_left.store(true, Relaxed);
            } else {
                fragment.let_go();
            }
        }
        otel::leave(self.passed_on);
        // SAFETY: references that `enter` got.
        unsafe {
            if self.token != 0 {
                context::reset(self.token as *mut ffi::PyObject);
            }
            ffi::Py_XDECREF(self.attached as *mut ffi::PyObject);
        }
    }

    fn end_span(
        &self,
        py: Python<'_>,
        state: &ThreadState,
        tree: *mut OpenTree,
        has_turns: bool,
        error: &Bound<'_, PyAny>,
    ) {
        if tree.is_null() {
            return;
        }
        let tick = Clock::ticks();
        let outer = (state.tree.replace(tree), state.scope.get());
        if !error.is_none() {
            exception::record(py, state, self.root, tick, error);
        }
        // SAFETY: the fragment has not been let go.
        let tree = unsafe { &mut *tree };
        if has_turns {
            // What goes on inside stays open until it ends itself.
            let root = tree.root();
            tree.builder().end(root, tick);
        } else {
            let _ = tree.end(self.root, tick);
        }
        state.tree.set(outer.0);
        state.scope.set(outer.1);
    }

    fn fragment(&self) -> Option<&Fragment> {
        context::fragment(self.attached as *mut ffi::PyObject)
    }
}

impl Fragment {
    fn tree(&self) -> *mut OpenTree {
        self.tree.load(Relaxed)
    }

    fn let_go(&self) {
        let tree = self.tree.swap(ptr::null_mut(), Relaxed);
        if !tree.is_null() {
            // SAFETY: the tree was made by `Box::into_raw`; nobody records in it and nobody else finds it any more.
            deliver(unsafe { Box::from_raw(tree) }.finish());
        }
    }
}

/// While it lives, the thread's open tree is the one that the running task records in: that of the block that the task is in,
/// else none, and the next call is a root.
pub(crate) struct Turn<'a> {
    state: &'a ThreadState,
    outer: (*mut OpenTree, *mut ffi::PyObject),
    /// Kept alive: it owns the tree. Null without a block.
    attached: *mut ffi::PyObject,
    process: u32,
}

impl<'a> Turn<'a> {
    /// `state` is the calling thread's.
    pub(crate) fn take(state: &'a ThreadState) -> Self {
        let attached = context::attached_object();
        let fragment = context::fragment(attached).filter(|fragment| {
            ptr::eq(fragment.thread.load(Relaxed), state) && !fragment.tree().is_null()
        });
        // SAFETY: the calling thread's state, with the GIL held; the attached object is alive while it is attached.
        unsafe {
            let mut turn = Self {
                state,
                outer: (state.tree.get(), state.scope.get()),
                attached: ptr::null_mut(),
                process: fork::generation(),
            };
            if let Some(fragment) = fragment {
                fragment.turns.fetch_add(1, Relaxed);
                ffi::Py_INCREF(attached);
                turn.attached = attached;
                state.tree.set(fragment.tree());
                state.scope.set(attached);
            } else {
                state.tree.set(ptr::null_mut());
            }
            turn
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // SAFETY: dropped by the thread that took it; the reference is that of `take`.
        unsafe {
            if self.process != fork::generation() {
                // A forked child: the trees are the parent process's, and their memory is left alone.
                self.state.tree.set(ptr::null_mut());
                self.state.scope.set(ptr::null_mut());
                return;
            }
            self.state.tree.set(self.outer.0);
            self.state.scope.set(self.outer.1);
            if let Some(fragment) = context::fragment(self.attached) {
                let was_last = fragment.turns.fetch_sub(1, Relaxed) == 1;
                if was_last && fragment.is_left.load(Relaxed) {
                    fragment.let_go();
                }
            }
            ffi::Py_XDECREF(self.attached);
        }
    }
}

/// Calls `then` with the tree of the open block whose span is `id`.
pub(crate) fn with_tree_of<R>(id: SpanId, then: impl FnOnce(&mut OpenTree) -> R) -> Option<R> {
    let attached = OPEN
        .lock()
        .iter()
        .find(|(root, _)| *root == id)
        .map(|(_, attached)| *attached)?;
    let fragment = context::fragment(attached as *mut ffi::PyObject)?;
    // SAFETY: the context objects in the list are kept alive by their blocks, and so are their trees.
    unsafe { fragment.tree().as_mut() }.map(then)
}

/// True when `tree` belongs to an open block: a thread that records in it does not own it.
pub(crate) fn owns(tree: *const OpenTree) -> bool {
    let open = OPEN.lock();
    open.iter().any(|(_, attached)| {
        let fragment = context::fragment(*attached as *mut ffi::PyObject);
        fragment.is_some_and(|fragment| ptr::eq(fragment.tree(), tree))
    })
}

/// At interpreter exit: blocks that were never left leave as unfinished. Of one that a thread is recording in this very moment,
/// the finished spans leave.
pub(crate) fn finish_all() {
    let open = OPEN.lock().clone();
    for (_, attached) in open {
        let Some(fragment) = context::fragment(attached as *mut ffi::PyObject) else {
            continue;
        };
        if fragment.turns.load(Relaxed) == 0 {
            let tree = fragment.tree.swap(ptr::null_mut(), Relaxed);
            if !tree.is_null() {
                // SAFETY: as in `let_go`.
                deliver(unsafe { Box::from_raw(tree) }.finish_unfinished());
            }
        } else {
            // SAFETY: in use, so it has not been let go; the GIL keeps its user from going on.
            let finished = unsafe { fragment.tree().as_mut() }.and_then(OpenTree::split);
            finished.into_iter().for_each(deliver);
        }
    }
}

/// In a forked child: the parent process exports these spans. What the child records hangs under them.
pub(crate) fn after_fork_in_child() {
    for (_, attached) in OPEN.lock().iter() {
        if let Some(fragment) = context::fragment(*attached as *mut ffi::PyObject) {
            // The tree's memory is left alone.
            fragment.tree.store(ptr::null_mut(), Relaxed);
        }
    }
}
