//! The memory of open trees, and the handles by which a span in one is ended from anywhere.
//!
//! A tree is kept by the slot that it is recorded in: a thread's, a coroutine's, a greenlet's. Slots are changed and put back
//! on every step, in every thread, so whoever has to come back to a span later, as a `with` block does, holds a [`Handle`] on
//! its tree instead of looking for it in a slot. A tree that no slot keeps any more stays open as long as a handle is alive.
#![allow(
    unsafe_code,
    reason = "trees behind raw pointers, guarded by the GIL; each block is argued"
)]

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;
use std::sync::Arc;

use hiq_core::fork;
use hiq_core::id::SpanId;
use hiq_core::record::OpenTree;
use hiq_core::tree::SpanTree;

use crate::gil::{GilCell, GilOnly};
use crate::otel;
use crate::state::{deliver, forget_tree, state};

/// A tree with what is known of those who may still come to it. The tree is first, so that its address is that of the whole.
#[repr(C)]
struct Shared {
    /// Taken out when `is_open` becomes false.
    tree: ManuallyDrop<OpenTree>,
    is_open: bool,
    /// A slot has the address.
    is_kept: bool,
    handles: u32,
}

/// Memory of trees that have left, for the next ones: nearly every root gives back what the last one had.
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
static SPARE: GilOnly<Vec<Box<MaybeUninit<Shared>>>> = GilOnly::new(Vec::new());
const MOST_SPARE: usize = 16;

/// Open trees that no slot keeps: their handles do.
static PARKED: GilCell<Vec<usize>> = GilCell::new(Vec::new());

/// Puts a tree into memory of its own, for a slot to keep.
#[inline]
pub(crate) fn keep(tree: OpenTree) -> *mut OpenTree {
    let spare = SPARE.borrow().pop();
    let place = spare.unwrap_or_else(Box::new_uninit);
    let shared = Box::write(
        place,
        Shared {
            tree: ManuallyDrop::new(tree),
            is_open: true,
            is_kept: true,
            handles: 0,
        },
    );
    Box::into_raw(shared).cast()
}

/// Takes the tree out of the slot that keeps it, which forgets the address. `None` for null, and when it was ended by a handle.
///
/// # Safety
///
/// The address is null or one of [`keep`] that a slot has had since.
#[inline]
pub(crate) unsafe fn take(tree: *mut OpenTree) -> Option<OpenTree> {
    if tree.is_null() {
        return None;
    }
    let shared = tree.cast::<Shared>();
    // SAFETY: kept memory is there; the tree in it is taken once, when it ceases to be open.
    unsafe {
        let taken = take_open(shared);
        (*shared).is_kept = false;
        free_if_unused(shared);
        taken
    }
}

/// The same for a tree whose root is closed: the root's id, and the tree, which is finished where it lies.
///
/// # Safety
///
/// As for [`take`].
#[inline]
pub(crate) unsafe fn finish(tree: *mut OpenTree) -> Option<(SpanId, Arc<SpanTree>)> {
    if tree.is_null() {
        return None;
    }
    let shared = tree.cast::<Shared>();
    // SAFETY: as in `take`.
    unsafe {
        let finished = std::mem::replace(&mut (*shared).is_open, false).then(|| {
            let root = (*shared).tree.root_id();
            (root, ManuallyDrop::take(&mut (*shared).tree).finish())
        });
        (*shared).is_kept = false;
        free_if_unused(shared);
        finished
    }
}

/// What a slot that was put aside gets back: null when a handle has ended the tree meanwhile.
///
/// # Safety
///
/// As for [`take`].
#[inline]
pub(crate) unsafe fn still_open(tree: *mut OpenTree) -> *mut OpenTree {
    // SAFETY: as in `take`.
    unsafe {
        if tree.is_null() || (*tree.cast::<Shared>()).is_open {
            return tree;
        }
        drop(take(tree));
        ptr::null_mut()
    }
}

/// The slot is gone, and its tree with it, unless a handle can still end that.
///
/// # Safety
///
/// As for [`take`].
#[cold]
pub(crate) unsafe fn abandon(tree: *mut OpenTree) {
    let shared = tree.cast::<Shared>();
    // SAFETY: as in `take`.
    unsafe {
        if !tree.is_null() && (*shared).is_open && (*shared).handles != 0 {
            (*shared).is_kept = false;
            PARKED.lock().push(tree as usize);
            // What is finished need not wait for somebody who may never come.
            (*shared).tree.split().into_iter().for_each(deliver);
        } else if let Some(tree) = take(tree) {
            leave_unfinished(tree);
        }
    }
}

/// At interpreter exit: trees that only their handles keep leave as unfinished.
pub(crate) fn finish_all() {
    let parked = std::mem::take(&mut *PARKED.lock());
    for shared in parked {
        // SAFETY: a parked tree is open, and its handles keep the memory.
        if let Some(tree) = unsafe { take_open(shared as *mut Shared) } {
            leave_unfinished(tree);
        }
    }
}

/// In a forked child: the parent process exports these; their memory is left alone.
pub(crate) fn after_fork_in_child() {
    PARKED.lock().clear();
}

fn leave_unfinished(tree: OpenTree) {
    otel::leave(tree.root_id());
    deliver(tree.finish_unfinished());
}

#[inline]
unsafe fn take_open(shared: *mut Shared) -> Option<OpenTree> {
    // SAFETY: live memory, with the GIL held; see `Shared::tree`.
    unsafe {
        std::mem::replace(&mut (*shared).is_open, false)
            .then(|| ManuallyDrop::take(&mut (*shared).tree))
    }
}

#[inline]
unsafe fn free_if_unused(shared: *mut Shared) {
    // SAFETY: live memory from `keep`; nobody has the address any more. An open tree is taken out before.
    unsafe {
        if !(*shared).is_kept && (*shared).handles == 0 {
            give_back(shared);
        }
    }
}

/// Apart, since most handles are dropped while their tree is open.
#[inline(never)]
unsafe fn give_back(shared: *mut Shared) {
    // SAFETY: as in `free_if_unused`.
    unsafe {
        let place = Box::from_raw(shared.cast::<MaybeUninit<Shared>>());
        let mut spare = SPARE.borrow();
        if spare.len() < MOST_SPARE {
            spare.push(place);
        }
    }
}

/// Keeps the memory of a tree, and ends spans of it, whatever slot it is in and whichever thread comes.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: *mut Shared,
    /// The process that it was made in: in a forked child the tree is the parent's.
    process: u32,
}

// SAFETY: made, used and dropped with the GIL held.
unsafe impl Send for Handle {}

impl Handle {
    /// A handle on the tree that a slot keeps.
    ///
    /// # Safety
    ///
    /// The address is one of [`keep`] that a slot still has.
    #[inline]
    pub(crate) unsafe fn on(tree: *mut OpenTree) -> Self {
        let shared = tree.cast::<Shared>();
        // SAFETY: live memory, as the caller says.
        unsafe { (*shared).handles += 1 };
        Self {
            shared,
            process: fork::generation(),
        }
    }

    /// True for the handle's tree.
    pub(crate) fn is_on(&self, tree: *const OpenTree) -> bool {
        ptr::eq(self.shared.cast(), tree)
    }

    /// Calls `then` with the tree while it is open. It must not come to Python.
    pub(crate) fn with_tree<R>(&self, then: impl FnOnce(&mut OpenTree) -> R) -> Option<R> {
        // SAFETY: a handle keeps the memory; nothing but `then` is in the tree meanwhile.
        unsafe {
            let is_there = self.process == fork::generation() && (*self.shared).is_open;
            is_there.then(|| then(&mut (*self.shared).tree))
        }
    }

    /// Ends the span `id`, and what is open inside it; the tree leaves with its root.
    #[inline]
    pub(crate) fn end(&self, id: SpanId, tick: u64) {
        if self.with_tree(|tree| tree.end(id, tick)) == Some(true) {
            self.complete();
        }
    }

    #[cold]
    #[inline(never)]
    fn complete(&self) {
        // SAFETY: a handle keeps the memory. A slot that was put aside finds the tree closed when it comes back.
        unsafe {
            let Some(tree) = take_open(self.shared) else {
                return;
            };
            if !(*self.shared).is_kept {
                self.forget_parked();
            } else if is_here(self.shared.cast()) || forget_tree(self.shared.cast()) {
                (*self.shared).is_kept = false;
            }
            otel::leave(tree.root_id());
            deliver(tree.finish());
        }
    }

    fn forget_parked(&self) {
        let me = self.shared as usize;
        PARKED.lock().retain(|parked| *parked != me);
    }
}

/// Empties the calling thread's slot if it has the tree: the usual case of [`forget_tree`].
fn is_here(tree: *mut OpenTree) -> bool {
    let state = state();
    let is_here = ptr::eq(state.tree.get(), tree);
    if is_here {
        state.tree.set(ptr::null_mut());
    }
    is_here
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.process != fork::generation() {
            return;
        }
        // SAFETY: a handle keeps the memory, and is counted until here.
        unsafe {
            (*self.shared).handles -= 1;
            let is_last = (*self.shared).handles == 0 && !(*self.shared).is_kept;
            if is_last && let Some(tree) = take_open(self.shared) {
                self.forget_parked();
                leave_unfinished(tree);
            }
            free_if_unused(self.shared);
        }
    }
}
