//! A `with` block whose span is in a tree that others record in as well.

use hiq_core::id::SpanId;
use hiq_core::record::OpenTree;
use hiq_core::time::Clock;
use hiq_core::tree::TreeBuilder;
use pyo3::prelude::*;

use crate::context::{self, Inherited};
use crate::exception::{self, OpenSpan};
use crate::loaded;
use crate::open::Handle;
use crate::state::{ThreadState, state};
use crate::step;

/// A span in a tree that others record in as well.
#[derive(Debug)]
pub(super) struct Inside {
    thread: u64,
    handle: Handle,
    pub(super) id: SpanId,
    /// In a step, between which and the next the block may stay open.
    inherited: Option<Inherited>,
}

impl Inside {
    /// The innermost span of the thread's open tree, on which `handle` is.
    pub(super) fn new(state: &ThreadState, handle: Handle, id: SpanId) -> Self {
        let is_in_step = state.in_step.get();
        Self {
            thread: state.number(),
            handle,
            id,
            inherited: is_in_step.then(|| Inherited::attach(state)).flatten(),
        }
    }

    /// In the thread that entered, or in its tree.
    pub(super) fn is_here(&self, state: &ThreadState) -> bool {
        self.handle.is_on(state.tree.get()) || self.thread == state.number.get()
    }

    /// Ends its span, with `error` unless that is None.
    pub(super) fn leave(mut self, py: Python<'_>, state: &ThreadState, error: &Bound<'_, PyAny>) {
        self.close(py, state, error);
        if let Some(inherited) = self.inherited.take() {
            inherited.detach(|id| self.has_open(state, id));
        } else {
            self.forget_places();
        }
    }

    /// Ends its span if that is the innermost one, inside another, and nothing was attached for it. False: nothing is done.
    /// Runs no code of Python's.
    #[inline]
    pub(super) fn end_innermost(&self, tick: u64) -> bool {
        self.inherited.is_none()
            && self.handle.with_tree(|tree| {
                let is_innermost = tree.current_id() == self.id && tree.current() != tree.root();
                if is_innermost {
                    let _ = tree.end(self.id, tick);
                }
                is_innermost
            }) == Some(true)
    }

    /// Nobody is to find the places inside it any more.
    #[inline]
    pub(super) fn forget_places(&self) {
        if loaded::contextvars() {
            context::forget_places(self.id);
        }
    }

    fn close(&self, py: Python<'_>, state: &ThreadState, error: &Bound<'_, PyAny>) {
        let tick = Clock::ticks();
        if !error.is_none() {
            exception::record(py, state, self, tick, error);
        }
        if self.handle.with_tree(|tree| self.is_open_in(tree)) == Some(true) {
            self.handle.end(self.id, tick);
        } else if state.with_tree(|tree| self.is_open_in(tree)) == Some(true) {
            state.end(self.id, tick);
        } else {
            // Never a root: those of coroutines and generators are their own.
            step::with_tree_of(self.id, |tree| tree.end(self.id, tick));
        }
    }

    /// What is inside it has been taken along, see [`Self::write`].
    fn has_open(&self, state: &ThreadState, id: SpanId) -> bool {
        let is_open = |tree: &mut OpenTree| tree.index_of_open(id).is_some();
        self.handle.with_tree(is_open) == Some(true)
            || state.with_tree(is_open) == Some(true)
            || step::with_tree_of(id, |_| ()).is_some()
    }

    fn is_open_in(&self, tree: &mut OpenTree) -> bool {
        tree.index_of_open(self.id).is_some()
    }
}

impl OpenSpan for Inside {
    /// In the tree that it began in. A coroutine or generator that was making its first step has taken it along since, into
    /// its own: that is the thread's in the middle of a step, and suspended between steps.
    fn write<R>(&self, then: impl FnOnce(&mut TreeBuilder, u32) -> R) -> Option<R> {
        let write = |tree: &mut OpenTree| {
            let index = tree.index_of_open(self.id)?;
            Some(then(tree.builder(), index))
        };
        if self.handle.with_tree(|tree| self.is_open_in(tree)) == Some(true) {
            self.handle.with_tree(write)?
        } else if state().with_tree(|tree| self.is_open_in(tree)) == Some(true) {
            state().with_tree(write)?
        } else {
            step::with_tree_of(self.id, write)?
        }
    }
}
