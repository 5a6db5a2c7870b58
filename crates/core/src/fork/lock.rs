//! A lock that a forked child can take although a thread of its parent held it.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::generation;

/// Guards a value for moments only: those that wait spin.
///
/// The holder's [`generation`] stands in the word. A child that finds its parent's there knows that the thread did not come
/// along: it takes the lock over, and puts `T::default()` in the place of a value that may be half changed and is leaked.
#[derive(Default)]
pub(crate) struct Lock<T> {
    /// Zero, or the generation of the process whose thread holds it.
    holder: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a guard, of which there is one at a time.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T: Default> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            holder: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let mut rounds = 0_u32;
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            rounds += 1;
            if rounds.is_multiple_of(64) {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let own = generation();
        let order = (Ordering::Acquire, Ordering::Relaxed);
        match self.holder.compare_exchange(0, own, order.0, order.1) {
            Ok(_) => Some(Guard { lock: self }),
            Err(theirs) if theirs == own => None,
            Err(parents) => {
                let taken = self.holder.compare_exchange(parents, own, order.0, order.1);
                taken.ok()?;
                // SAFETY: the holder did not come along, and the word is this thread's now. The old value is not dropped.
                unsafe { mem::forget(ptr::replace(self.value.get(), T::default())) };
                Some(Guard { lock: self })
            }
        }
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.lock.holder.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::in_child;
    use super::*;

    #[test]
    fn threads_take_turns() {
        let lock = Lock::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), 40_000);
    }

    #[test]
    fn a_child_takes_over_what_a_thread_of_its_parent_held() {
        let lock = Lock::new(vec![1]);
        let free = Lock::new(vec![2]);
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        assert!(in_child(|| {
            let was_reset = lock.lock().is_empty();
            let is_held = lock.try_lock().is_some();
            was_reset && is_held && *free.lock() == [2]
        }));
        assert_eq!(*guard, [1]);
    }
}
