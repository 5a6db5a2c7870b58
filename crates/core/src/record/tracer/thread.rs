//! What a thread is recording: a root and what is open below it, inside of others that wait.
#![allow(unsafe_code, reason = "one look at thread-local memory, argued there")]

use std::cell::{RefCell, RefMut};
use std::mem::ManuallyDrop;
use std::ptr;

use crate::context::Context;
use crate::fork;
use crate::id::{SpanId, reseed_thread};
use crate::record::OpenTree;
use crate::tree::Closed;

thread_local! {
    // Without a destructor, so that an access is one address calculation: what a thread that ends has open is its guards' to end.
    static THREAD: RefCell<Thread> =
        const { RefCell::new(Thread { level: ManuallyDrop::new(None), generation: 0 }) };
}

/// What this thread is recording, to be let go of before anything else asks for it.
///
/// No closure, as `LocalKey::with` takes one: in programs with several places that record, the compiler left closures as functions
/// of their own, where attributes that are known where they are set were looked at one by one.
///
/// # Panics
/// While somebody has it.
#[inline(always)]
pub(super) fn this_thread() -> RefMut<'static, Thread> {
    let cell = THREAD.with(ptr::from_ref);
    // SAFETY: it needs no initialization and has no destructor, so it stands at one place for as long as the thread runs, and
    // neither the reference nor the guard can be sent to another thread.
    let cell = unsafe { &*cell };
    cell.borrow_mut()
}

#[derive(Debug)]
pub(super) struct Thread {
    level: ManuallyDrop<Option<Level>>,
    generation: u32,
}

/// A root, and what is open below it.
#[derive(Debug)]
pub(super) struct Level {
    /// The tracer that records in the tree; zero for a silent one.
    pub(super) owner: usize,
    pub(super) root: SpanId,
    pub(super) recording: Recording,
    /// Goes on when this root has ended.
    pub(super) outer: Option<Box<Self>>,
}

#[derive(Debug)]
pub(super) enum Recording {
    Tree(OpenTree),
    /// Below a root that was sampled out, or that another process exports: the place travels on.
    Silent(Context),
}

impl Level {
    #[inline]
    pub(super) fn tree(&mut self) -> Option<&mut OpenTree> {
        match &mut self.recording {
            Recording::Tree(tree) => Some(tree),
            Recording::Silent(_) => None,
        }
    }

    fn close(&mut self, id: SpanId, tick: u64) -> Closed {
        match &mut self.recording {
            Recording::Tree(tree) => tree.close(id, tick),
            Recording::Silent(_) if self.root == id => Closed::Root,
            Recording::Silent(_) => Closed::NotThis,
        }
    }

    /// Ends the span `id` of a level outside of this one: guards may be dropped out of turn.
    fn end_outer(&mut self, id: SpanId, tick: u64) -> Option<Self> {
        let mut place = &mut self.outer;
        loop {
            match place.as_mut()?.close(id, tick) {
                Closed::InsideOf(_) => return None,
                Closed::Root => {
                    let mut level = *place.take()?;
                    *place = level.outer.take();
                    return Some(level);
                }
                Closed::NotThis => place = &mut place.as_mut()?.outer,
            }
        }
    }

    /// Where the next span would hang.
    fn context(&self) -> Context {
        match &self.recording {
            Recording::Tree(tree) => tree.context(),
            Recording::Silent(place) => place.clone(),
        }
    }

    /// Where children of its open span `id` hang.
    fn context_of(&self, id: SpanId) -> Option<Context> {
        match &self.recording {
            Recording::Tree(tree) => tree.index_of_open(id).map(|_| Context {
                span_id: id,
                ..tree.context()
            }),
            Recording::Silent(place) => (self.root == id).then(|| place.clone()),
        }
    }
}

impl Thread {
    /// The open tree of `owner`, unless something else is recording inside of it.
    #[inline]
    pub(super) fn tree_of(&mut self, owner: usize) -> Option<&mut OpenTree> {
        let level = self.level.as_mut().filter(|level| level.owner == owner)?;
        level.tree()
    }

    /// The innermost open tree.
    #[inline]
    pub(super) fn tree(&mut self) -> Option<&mut OpenTree> {
        self.level.as_mut()?.tree()
    }

    /// Begins a root inside of what is open.
    #[inline]
    pub(super) fn enter(&mut self, owner: usize, root: SpanId, recording: Recording) {
        let outer = self.level.take().map(Box::new);
        *self.level = Some(Level {
            owner,
            root,
            recording,
            outer,
        });
    }

    /// Ends the span `id` if it is one inside the innermost root. Else [`Thread::end`] does.
    #[inline]
    pub(super) fn end_inside(&mut self, id: SpanId, tick: u64) -> bool {
        let closed = self.tree().map(|tree| tree.close(id, tick));
        matches!(closed, Some(Closed::InsideOf(_)))
    }

    /// Ends the span `id`, of this or an outer level; the level, when that was its root.
    pub(super) fn end(&mut self, id: SpanId, tick: u64) -> Option<Level> {
        match self.level.as_mut()?.close(id, tick) {
            Closed::InsideOf(_) => None,
            Closed::Root => {
                let mut level = self.level.take()?;
                *self.level = level.outer.take().map(|outer| *outer);
                Some(level)
            }
            Closed::NotThis => self.level.as_mut()?.end_outer(id, tick),
        }
    }

    /// Where the next span would hang.
    pub(super) fn context(&self) -> Option<Context> {
        Some(self.level.as_ref()?.context())
    }

    /// Where children of the open span `id` hang.
    pub(super) fn context_of(&self, id: SpanId) -> Option<Context> {
        let levels = std::iter::successors(self.level.as_ref(), |level| level.outer.as_deref());
        levels.into_iter().find_map(|level| level.context_of(id))
    }

    /// In a forked child the open tree is the parent process's to export; its innermost span stays the parent of what follows.
    pub(super) fn look_for_fork(&mut self) {
        let before = std::mem::replace(&mut self.generation, fork::generation());
        if before == 0 || before == self.generation {
            return;
        }
        reseed_thread();
        if let Some(inherited) = self.level.take() {
            let mut place = inherited.context();
            place.is_remote = true;
            self.enter(0, inherited.root, Recording::Silent(place));
            // Other threads may have been changing what it points to.
            std::mem::forget(inherited);
        }
    }
}
