//! The contract of an exporter: a batch out of the process, and a deadline that shutdown can pull forward.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::ledger::{Custody, Ledger};

mod tended;

pub(crate) use tended::{Build, Tended, erase};

/// Takes batches out of the process. Those made of an encoder and a transport are [`crate::deliver::EncodedExporter`]s.
///
/// Blocking, owned by one worker thread. Items come with their [`Custody`], which the exporter settles: at once, or after
/// keeping them for a while. It waits for nothing but its wire: what is to be tried again later is left to
/// the worker, which sleeps until [`Progress::Waiting`] says so and listens to the queue meanwhile.
pub trait Exporter<B: Batch>: fmt::Debug + Send {
    /// Called once, before anything else: takes up what an earlier process left behind, into the account of this one.
    fn start(&mut self, _ledger: &Arc<Ledger>) {}

    /// Takes a batch over. Called only when the last [`Progress`] had room.
    fn export(&mut self, batch: Arc<B>, custody: Custody, deadline: &Deadline) -> Progress;

    /// Goes on with what is under way: collects answers, waiting for the first up to `deadline`, and sends again what is due.
    fn poll(&mut self, _deadline: &Deadline) -> Progress {
        Progress::Done
    }

    /// Somebody waits (a flush; the exit, if the deadline [is pulled](Deadline::is_pulled)): what waits for a better moment is due
    /// now. As [`Exporter::poll`] otherwise.
    fn flush(&mut self, deadline: &Deadline) -> Progress {
        self.poll(deadline)
    }

    /// Ends: closes the wire and drops what is left, for [`DropReason::Shutdown`](crate::encode::DropReason). Called once.
    fn shutdown(&mut self, _deadline: &Deadline) {}

    /// How it fares, for the status line.
    fn health(&self) -> Health {
        Health::Fine
    }
}

/// What an exporter has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Nothing is under way, apart from what is spooled. Takes the next batch.
    Done,
    /// Answers are on their way: [`Exporter::poll`] waits for them.
    Sending {
        /// Takes another batch meanwhile.
        room: bool,
    },
    /// Nothing is on the wire; [`Exporter::poll`] has nothing to do before this moment.
    Waiting {
        /// When the next attempt is due.
        until: Instant,
        /// Takes another batch meanwhile.
        room: bool,
    },
}

impl Progress {
    /// True when another batch may be handed over.
    pub const fn has_room(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Sending { room: true } | Self::Waiting { room: true, .. }
        )
    }
}

/// How an exporter fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// All went well with the last payload.
    #[default]
    Fine,
    /// Nothing is lost, but somebody should know this.
    Warned(String),
    /// The last attempt failed and is going to be repeated; why, in one sentence without a secret.
    Waiting(String),
    /// Items of the last payload were refused or given up for good; why, in one sentence without a secret.
    Losing(String),
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
