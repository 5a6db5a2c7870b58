//! What a forked child inherits of an endpoint: a listener that nobody answers at. It closes it at once.
#![allow(
    unsafe_code,
    reason = "a handler of forks that closes descriptors, argued at each"
)]

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

use hiq_core::fork;

/// Descriptors of this process; more than these a child keeps, and closes with its end.
static WATCHED: [AtomicI32; 16] = [const { AtomicI32::new(NONE) }; 16];
const NONE: RawFd = -1;

/// Tells whether this is the process that something was made in.
#[derive(Debug)]
pub(crate) struct Inherited {
    generation: u32,
}

impl Inherited {
    /// Something of this process.
    pub(crate) fn new() -> Self {
        Self {
            generation: fork::generation(),
        }
    }

    /// True in a child of the process that it was made in.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }
}

/// A descriptor that children close.
#[derive(Debug)]
pub(crate) struct Watched {
    descriptor: RawFd,
}

impl Watched {
    pub(crate) fn new(file: &impl AsRawFd) -> Self {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // SAFETY: the handler loads and stores atomics and closes descriptors, which is allowed in a forked child.
            unsafe { libc::pthread_atfork(None, None, Some(close_in_child)) };
        });
        let descriptor = file.as_raw_fd();
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let take = |place: &AtomicI32| {
            (place.compare_exchange(NONE, descriptor, order.0, order.1)).is_ok()
        };
        WATCHED.iter().any(take);
        Self { descriptor }
    }
}

/// Before the descriptor is closed, so that a child never closes what has its number next.
impl Drop for Watched {
    fn drop(&mut self) {
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let give = |place: &AtomicI32| {
            (place.compare_exchange(self.descriptor, NONE, order.0, order.1)).is_ok()
        };
        WATCHED.iter().any(give);
    }
}

extern "C" fn close_in_child() {
    for place in &WATCHED {
        let descriptor = place.swap(NONE, Ordering::AcqRel);
        if descriptor != NONE {
            // SAFETY: the child's copy of what a thread that did not come along works with: nobody uses it here.
            unsafe { libc::close(descriptor) };
        }
    }
}
