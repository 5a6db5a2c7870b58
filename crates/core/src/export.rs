//! The contract of an exporter: a batch out of the process, and a deadline that shutdown can pull forward.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
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
    stop: Mutex<Stop>,
    pulled: Condvar,
}

#[derive(Debug, Default)]
struct Stop {
    at: Option<Instant>,
    /// Futures that wait, each under the number of its guard.
    wakers: Vec<(u64, Waker)>,
    next_guard: u64,
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
        let mut stop = self.lock();
        stop.at = Some(stop.at.map_or(at, |before| before.min(at)));
        for (_, waker) in &stop.wakers {
            waker.wake_by_ref();
        }
        self.shared.pulled.notify_all();
    }

    /// True once somebody has called [`Deadline::pull_forward`].
    pub fn is_pulled(&self) -> bool {
        self.lock().at.is_some()
    }

    /// When it ends; `None`: never, as things stand.
    pub fn at(&self) -> Option<Instant> {
        match (self.own, self.lock().at) {
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
        let mut stop = self.lock();
        loop {
            let end = match (self.own, stop.at) {
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
            let waited = self.shared.pulled.wait_timeout(stop, until - now);
            stop = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has `waker` called by each [`Deadline::pull_forward`] until the guard is dropped: for waits that are futures.
    pub fn wake_when_pulled(&self, waker: &Waker) -> WakeGuard {
        let mut stop = self.lock();
        let number = stop.next_guard;
        stop.next_guard += 1;
        stop.wakers.push((number, waker.clone()));
        WakeGuard {
            deadline: self.clone(),
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stop> {
        self.shared
            .stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a waker with its [`Deadline`], see [`Deadline::wake_when_pulled`].
#[derive(Debug)]
#[must_use = "the waker is forgotten when the guard is dropped"]
pub struct WakeGuard {
    deadline: Deadline,
    number: u64,
}

impl Drop for WakeGuard {
    fn drop(&mut self) {
        let mut stop = self.deadline.lock();
        stop.wakers.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[test]
    fn a_future_is_woken_by_a_pull_as_long_as_its_guard_lives() {
        #[derive(Default)]
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count::default());
        let deadline = Deadline::never().within(Duration::from_secs(600));
        let guard = deadline.wake_when_pulled(&Waker::from(Arc::clone(&count)));
        deadline.clone().pull_forward(Instant::now());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        drop(guard);
        deadline.pull_forward(Instant::now());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

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
