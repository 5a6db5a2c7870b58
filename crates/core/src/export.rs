//! The contract of an exporter: a batch out of the process, and a deadline that shutdown can pull forward.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::batch::Batch;

/// Takes batches out of the process.
///
/// Blocking, owned by one worker thread, which settles every item in the exporter's ledger: nothing is returned
/// and forgotten. Exporters that have an encoder and a transport are made by [`crate::deliver`].
pub trait Exporter<B: Batch>: fmt::Debug + Send {
    /// Takes a batch, up to `deadline`. Returns what became of its items; items neither settled nor kept by
    /// the exporter are to be offered again.
    fn export(&mut self, batch: &Arc<B>, deadline: &Deadline) -> Exported;

    /// Settles what is under way, waiting up to `deadline`.
    fn poll(&mut self, deadline: &Deadline) -> Exported;

    /// Ends: settles or gives up what is under way. Called once.
    fn shutdown(&mut self, deadline: &Deadline) -> Exported {
        self.poll(deadline)
    }
}

/// What became of items: each is counted exactly once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Confirmed by the far side.
    pub delivered: usize,
    /// Sent on a wire that never confirms.
    pub sent_unconfirmed: usize,
    /// Refused by the far side.
    pub rejected: usize,
    /// Dropped by us.
    pub dropped: Vec<(crate::encode::DropReason, usize)>,
    /// Kept by the exporter and still to be settled.
    pub pending: usize,
    /// Of the delivered ones: those that may have arrived more than once.
    pub possible_repeats: usize,
}

/// A moment by which work must be done; a shared handle, so that shutdown can pull it forward.
#[derive(Clone, Debug)]
pub struct Deadline {
    shared: Arc<Shared>,
    own: Option<Instant>,
}

#[derive(Debug, Default)]
struct Shared {
    stop_at: Mutex<Option<Instant>>,
    pulled: Condvar,
}

impl Deadline {
    /// A handle without an end of its own, for one worker's life.
    pub fn never() -> Self {
        Self {
            shared: Arc::default(),
            own: None,
        }
    }

    /// The same handle, ending at the latest `after` from now.
    #[must_use]
    pub fn within(&self, after: Duration) -> Self {
        let end = Instant::now().checked_add(after);
        let own = match (self.own, end) {
            (Some(own), Some(end)) => Some(own.min(end)),
            (own, end) => own.or(end),
        };
        Self {
            shared: Arc::clone(&self.shared),
            own,
        }
    }

    /// Makes all handles of this family end at the latest at `at`, and wakes those that wait.
    pub fn pull_forward(&self, at: Instant) {
        let mut stop_at = self.lock();
        *stop_at = Some(stop_at.map_or(at, |before| before.min(at)));
        self.shared.pulled.notify_all();
    }

    /// True once somebody has called [`Deadline::pull_forward`].
    pub fn is_pulled(&self) -> bool {
        self.lock().is_some()
    }

    /// When it ends; `None`: never, as things stand.
    pub fn at(&self) -> Option<Instant> {
        match (self.own, *self.lock()) {
            (Some(own), Some(stop)) => Some(own.min(stop)),
            (own, stop) => own.or(stop),
        }
    }

    /// Time left; `None`: without end.
    pub fn remaining(&self) -> Option<Duration> {
        self.at()
            .map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// True when it has passed.
    pub fn is_over(&self) -> bool {
        self.remaining().is_some_and(|left| left.is_zero())
    }

    /// Waits for `wish`, at most until the deadline, also when that is pulled forward meanwhile.
    /// Returns false when the deadline came first.
    pub fn sleep(&self, wish: Duration) -> bool {
        let wake = Instant::now() + wish;
        let mut stop_at = self.lock();
        loop {
            let end = match (self.own, *stop_at) {
                (Some(own), Some(stop)) => Some(own.min(stop)),
                (own, stop) => own.or(stop),
            };
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) {
                return false;
            }
            if wake <= now {
                return true;
            }
            let until = end.map_or(wake, |end| end.min(wake));
            let waited = self.shared.pulled.wait_timeout(stop_at, until - now);
            stop_at = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.shared
            .stop_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutdown_ends_a_wait_that_has_begun() {
        let deadline = Deadline::never().within(Duration::from_secs(600));
        let waiting = deadline.clone();
        let waiter = std::thread::spawn(move || waiting.sleep(Duration::from_secs(300)));
        deadline.pull_forward(Instant::now());
        assert!(!waiter.join().unwrap(), "the wait was cut short");
        assert!(deadline.is_over());
    }

    #[test]
    fn a_deadline_within_a_deadline_ends_with_the_earlier() {
        let outer = Deadline::never().within(Duration::from_millis(1));
        let inner = outer.within(Duration::from_secs(60));
        assert!(inner.remaining().unwrap() <= Duration::from_millis(1));
        assert!(Deadline::never().remaining().is_none());
        assert!(Deadline::never().sleep(Duration::ZERO));
    }
}
