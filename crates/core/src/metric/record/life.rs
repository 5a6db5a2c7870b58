//! Since when a series counts, and in which process.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::fork::{self, Lock};
use crate::metric::reader;
use crate::time::{Clock, UnixNanos};

/// A forked child begins at zero: what its parent counted is the parent's to export.
#[derive(Debug)]
pub(super) struct Life {
    generation: AtomicU32,
    start_unix_nanos: AtomicU64,
    beginning: Lock<()>,
}

impl Life {
    pub(super) fn new() -> Self {
        reader::wake_all();
        Self {
            generation: AtomicU32::new(fork::generation()),
            start_unix_nanos: AtomicU64::new(Clock::unix_nanos().0),
            beginning: Lock::new(()),
        }
    }

    /// True in the process that it counts in.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.generation.load(Ordering::Acquire) == fork::generation()
    }

    /// Begins again if this is another process than the one it counts in; `reset` sets everything to zero.
    #[inline]
    pub(super) fn ensure(&self, reset: impl FnOnce()) {
        if !self.is_current() {
            self.begin(reset);
        }
    }

    #[cold]
    fn begin(&self, reset: impl FnOnce()) {
        let _one_at_a_time = self.beginning.lock();
        if !self.is_current() {
            reset();
            let now = Clock::unix_nanos().0;
            self.start_unix_nanos.store(now, Ordering::Relaxed);
            self.generation.store(fork::generation(), Ordering::Release);
            reader::wake_all();
        }
    }

    /// What was measured at `time` is counted here: it began then, if not before.
    pub(super) fn include(&self, time: UnixNanos) {
        if time.0 > 0 {
            self.start_unix_nanos.fetch_min(time.0, Ordering::Relaxed);
        }
    }

    pub(super) fn start(&self) -> UnixNanos {
        UnixNanos(self.start_unix_nanos.load(Ordering::Relaxed))
    }
}
