//! Fixtures for the tests of hiq's crates: trees, a readable encoding, a transport that follows a script, and checks
//! that hold for every exporter.

pub mod allocations;
pub mod delivery;
pub mod lines;
pub mod metrics;
pub mod script;
pub mod spans;
pub mod timing;
pub mod trees;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::ledger::LedgerSnapshot;
use hiq_core::status::StatusSink;

/// No test waits longer than this for something that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Panics unless every item is accounted for.
///
/// # Panics
/// When the ledger does not balance.
#[track_caller]
pub fn assert_balances(ledger: &LedgerSnapshot) {
    assert!(ledger.balances(), "the ledger does not balance: {ledger:?}");
}

/// A value that threads change and wait for, so that no test has to sleep.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Arc<Self> {
        Arc::new(Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        })
    }

    /// Looks at the value, or changes it, and wakes those that wait.
    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let result = look(&mut value);
        self.changed.notify_all();
        result
    }

    /// Waits until `look` finds something.
    ///
    /// # Panics
    /// When it has not within [`PATIENCE`].
    #[track_caller]
    pub fn wait_for<R>(&self, mut look: impl FnMut(&mut T) -> Option<R>) -> R {
        let deadline = Instant::now() + PATIENCE;
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = look(&mut value) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing happened within {PATIENCE:?}");
            let waited = self.changed.wait_timeout(value, left);
            value = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A status sink that keeps the lines.
pub fn recorded_status() -> (StatusSink, Arc<Watched<Vec<String>>>) {
    let lines = Watched::new(Vec::new());
    let recorder = Arc::clone(&lines);
    let sink = StatusSink::to(move |line| recorder.with(|lines| lines.push(line.to_owned())));
    (sink, lines)
}
