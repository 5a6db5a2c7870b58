//! State of the process that is reached with the GIL held.

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
