//! State of the process that is reached with the GIL held.
#![allow(
    unsafe_code,
    reason = "the GIL is a lock that the compiler does not know"
)]

use std::cell::{RefCell, RefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A static that is read and changed under the GIL. The lock is never waited for then; it guards the one user that may come
/// without the GIL, a native thread that ends.
pub(crate) struct GilCell<T>(Mutex<T>);

impl<T> GilCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same for what no thread comes to without the GIL: on the way of every coroutine a lock would be felt.
#[derive(Debug)]
pub(crate) struct GilOnly<T>(RefCell<T>);

// SAFETY: one thread at a time has the GIL, and nobody comes here without it.
unsafe impl<T: Send> Sync for GilOnly<T> {}

impl<T> GilOnly<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// For as long as nothing comes to Python, which may come back here or let another thread go on.
    #[inline]
    pub(crate) fn borrow(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }
}
