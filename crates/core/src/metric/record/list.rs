//! A list that only grows and is read without a lock: a forked child finds it whole, whoever was adding to it.
#![allow(unsafe_code, reason = "a linked list of boxes, argued at each")]

use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

pub(in crate::metric) struct List<T> {
    newest: AtomicPtr<Node<T>>,
}

struct Node<T> {
    value: T,
    older: *mut Node<T>,
}

// SAFETY: nodes are made by one thread, shared as `&T`, and dropped with the list, possibly by another thread.
unsafe impl<T: Send + Sync> Send for List<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for List<T> {}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> List<T> {
    pub(in crate::metric) const fn new() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    pub(in crate::metric) fn push(&self, value: T) -> &T {
        let mut older = self.newest.load(Ordering::Acquire);
        let node = Box::into_raw(Box::new(Node { value, older }));
        loop {
            // SAFETY: nobody else has seen the node yet.
            unsafe { (*node).older = older };
            let order = (Ordering::AcqRel, Ordering::Acquire);
            match self.newest.compare_exchange(older, node, order.0, order.1) {
                // SAFETY: a node in the list lives as long as the list and is only shared.
                Ok(_) => return unsafe { &(*node).value },
                Err(other) => older = other,
            }
        }
    }

    /// From the newest to the oldest.
    pub(in crate::metric) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = self.newest.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: null, or as in `push`.
            let node = unsafe { next.as_ref() }?;
            next = node.older;
            Some(&node.value)
        })
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        let mut next = *self.newest.get_mut();
        while !next.is_null() {
            // SAFETY: made by `Box::into_raw` in `push`; the list is not shared any more.
            next = unsafe { Box::from_raw(next) }.older;
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
