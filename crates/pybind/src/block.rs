//! `with` blocks inside tasks.
//!
//! Other tasks run before such a block is left, so its span is the root of a fragment of its own, and the ContextVar, which each
//! task has for itself, says what is inside it. The context object that the variable holds owns the fragment.
#![allow(
    unsafe_code,
    reason = "trees behind raw pointers, guarded by the GIL; each block is argued"
)]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

use hiq_core::fork;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::record::OpenTree;
use hiq_core::time::Clock;
use hiq_core::tree::{Role, TreeBuilder};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::context::{self, Attached};
use crate::exception::{self, OpenSpan};
use crate::gil::GilCell;
use crate::open::{self, Handle};
use crate::otel;
use crate::state::{Opened, Parent, Root, ThreadState, context_of, deliver};
use crate::tasks;

/// An entry into a block that has not been left.
#[derive(Debug)]
pub(crate) struct Block {
    /// The number of the thread that entered.
    thread: u64,
    /// None when it is not recorded.
    handle: Option<Handle>,
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
    thread: AtomicU64,
    /// Calls that are recording in the tree.
    turns: AtomicU32,
    /// The block was left during such a call: the last of them lets the fragment go.
    is_left: AtomicBool,
    /// It stands for a task's `suppress()`.
    is_silence: AtomicBool,
    /// It stands for a block whose span is in a tree with others.
    pub(crate) is_of_tree: bool,
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
        let thread = state.number();
        let around = Attached::now();
        let parent = state.capture_with(&around);
        let opened = state.open_root(&Root {
            role,
            tick: Clock::ticks(),
            parent: Parent::Given(parent.as_ref()),
        });
        let (tree, root, place) = match opened {
            Opened::Tree(tree, root) => {
                // SAFETY: `open_root` has just made the tree, and it is ours now.
                let open = unsafe { &mut *tree };
                let index = open.current();
                describe(open.builder(), index);
                (tree, root, context_of(open, &around))
            }
            Opened::SampledOut(context) => {
                crate::state::pass_on(&context);
                (ptr::null_mut(), SpanId::INVALID, *context)
            }
        };
        // SAFETY: not null, it is the tree that the context object keeps from here on.
        let handle = (!tree.is_null()).then(|| unsafe { Handle::on(tree) });
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
            thread,
            handle,
            root,
            attached: attached as usize,
            token: token as usize,
            passed_on,
        }
    }

    /// Trace and id of its span; invalid when it is not recorded.
    pub(crate) fn span(&self) -> (TraceId, SpanId) {
        let trace_id = self.handle.as_ref().and_then(|handle| {
            let trace_id = |tree: &mut OpenTree| tree.peek().trace_id();
            handle.with_tree(trace_id)
        });
        trace_id.map_or((TraceId::INVALID, SpanId::INVALID), |trace_id| {
            (trace_id, self.root)
        })
    }

    /// True in the task that is inside it.
    pub(crate) fn is_of_running_task(&self) -> bool {
        self.attached == context::attached_object() as usize
    }

    /// Ends its span, with `error` unless that is None, and lets the fragment go.
    pub(crate) fn leave(&self, py: Python<'_>, state: &ThreadState, error: &Bound<'_, PyAny>) {
        if let Some(entered_in) = crate::state::thread(self.thread) {
            entered_in.task_blocks.update(|open| open.saturating_sub(1));
        }
        OPEN.lock()
            .retain(|(_, attached)| *attached != self.attached);
        if let Some(fragment) = self.fragment() {
            let has_turns = fragment.turns.load(Relaxed) != 0;
            self.end_span(py, state, has_turns, error);
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
        has_turns: bool,
        error: &Bound<'_, PyAny>,
    ) {
        let tick = Clock::ticks();
        if !error.is_none() {
            exception::record(py, state, self, tick, error);
        }
        let Some(handle) = &self.handle else { return };
        handle.with_tree(|tree| {
            if has_turns {
                // What goes on inside stays open until it ends itself.
                let root = tree.root();
                tree.builder().end(root, tick);
            } else {
                let _ = tree.end(self.root, tick);
            }
        });
    }

    fn fragment(&self) -> Option<&Fragment> {
        context::fragment(self.attached as *mut ffi::PyObject)
    }
}

impl OpenSpan for Block {
    fn write<R>(&self, then: impl FnOnce(&mut TreeBuilder, u32) -> R) -> Option<R> {
        self.handle.as_ref()?.with_tree(|tree| {
            let index = tree.index_of_open(self.root)?;
            Some(then(tree.builder(), index))
        })?
    }
}

/// True where a block of the running task is not left before another task runs: not in a call or step of ours within the task.
pub(crate) fn is_beside_others(state: &ThreadState) -> bool {
    let task = tasks::running();
    if task.is_null() {
        return false;
    }
    let is_inside = state.in_step.get() || !state.tree.get().is_null();
    !is_inside || state.task.get() != task
}

/// The context object of a task's `suppress()`: its place is the one around it.
pub(crate) fn new_silence(state: &ThreadState) -> *mut ffi::PyObject {
    let silence = context::new_object(state.capture().unwrap_or_else(context::nowhere));
    if let Some(fragment) = context::fragment(silence) {
        fragment.is_silence.store(true, Relaxed);
    }
    silence
}

/// The block of a silence was left: tasks that were started in it and go on are recorded again.
pub(crate) fn end_silence(silence: *mut ffi::PyObject, token: *mut ffi::PyObject) {
    if let Some(fragment) = context::fragment(silence) {
        fragment.is_silence.store(false, Relaxed);
    }
    // SAFETY: references that the entry got.
    unsafe {
        if !token.is_null() {
            context::reset(token);
        }
        ffi::Py_XDECREF(silence);
    }
}

/// True in a task that is inside its `suppress()`.
pub(crate) fn is_silenced() -> bool {
    let fragment = context::fragment(context::attached_object());
    fragment.is_some_and(|fragment| fragment.is_silence.load(Relaxed))
}

impl Fragment {
    pub(crate) fn of_tree() -> Self {
        Self {
            is_of_tree: true,
            ..Self::default()
        }
    }

    fn tree(&self) -> *mut OpenTree {
        self.tree.load(Relaxed)
    }

    unsafe fn take(&self) -> Option<OpenTree> {
        // SAFETY: as the caller says.
        unsafe { open::take(self.tree.swap(ptr::null_mut(), Relaxed)) }
    }

    fn let_go(&self) {
        // SAFETY: the fragment's own tree, which it has just given up; nobody records in it any more.
        if let Some(tree) = unsafe { self.take() } {
            deliver(tree.finish());
        }
    }
}

/// While it lives, the thread's open tree is the one that the running task records in: that of the block that the task is in,
/// else none, and the next call is a root.
pub(crate) struct Turn<'a> {
    state: &'a ThreadState,
    /// Its tree, and the scope and task of that.
    outer: (*mut OpenTree, *mut ffi::PyObject, *mut ffi::PyObject),
    /// Kept alive: it owns the tree. Null without a block.
    attached: *mut ffi::PyObject,
    process: u32,
}

impl<'a> Turn<'a> {
    /// `state` is the calling thread's.
    pub(crate) fn take(state: &'a ThreadState) -> Self {
        let attached = context::attached_object();
        let fragment = context::fragment(attached).filter(|fragment| {
            fragment.thread.load(Relaxed) == state.number.get() && !fragment.tree().is_null()
        });
        // SAFETY: the calling thread's state, with the GIL held; the attached object is alive while it is attached.
        unsafe {
            let mut turn = Self {
                state,
                outer: (state.tree.get(), state.scope.get(), state.task.get()),
                attached: ptr::null_mut(),
                process: fork::generation(),
            };
            if let Some(fragment) = fragment {
                fragment.turns.fetch_add(1, Relaxed);
                ffi::Py_INCREF(attached);
                turn.attached = attached;
                state.tree.set(fragment.tree());
                state.scope.set(attached);
                state.task.set(tasks::running());
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
            self.state.put_back(self.outer.0);
            self.state.scope.set(self.outer.1);
            self.state.task.set(self.outer.2);
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
            // SAFETY: as in `let_go`.
            if let Some(tree) = unsafe { fragment.take() } {
                deliver(tree.finish_unfinished());
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
