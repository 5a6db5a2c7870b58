//! One exporter's part of a reader: when its worker does what, its ledger, its thread.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::worker::Worker;
use crate::config::MetricSettings;
use crate::encode::DropReason;
use crate::export::{Build, Deadline, Health, Progress};
use crate::ledger::Ledger;
use crate::metric::MetricBatch;
use crate::metric::record::{CollectOptions, Registry};
use crate::os;
use crate::pipeline::{ExporterReport, ExporterStats};
use crate::status::{StatusLine, StatusSink};

/// A worker that listens to its deadline has ended this long after it.
const GRACE: Duration = Duration::from_millis(150);

/// What outlives a fork: how to make the exporter.
pub(super) struct LaneSpec {
    pub(super) name: Arc<str>,
    pub(super) collect: CollectOptions,
    pub(super) build: Build<MetricBatch>,
}

impl fmt::Debug for LaneSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaneSpec({})", self.name)
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) spec: Arc<LaneSpec>,
    pub(super) registry: Registry,
    pub(super) settings: MetricSettings,
    pub(super) ledger: Arc<Ledger>,
    /// The worker's life; shutdown pulls it forward.
    pub(super) deadline: Deadline,
    status: Mutex<StatusLine>,
    state: Mutex<State>,
    /// The worker sleeps on it.
    work: Condvar,
    /// Those that wait for a flush or for the worker's end sleep on it.
    done: Condvar,
    thread: Mutex<Thread>,
}

#[derive(Debug, Default)]
struct State {
    /// Flushes that were asked for.
    wanted: u64,
    /// Flushes whose snapshot has been taken.
    taken: u64,
    /// Flushes whose snapshot is settled, or on disk.
    settled: u64,
    /// When the next snapshot is taken.
    next: Option<Instant>,
    wake_ups: u64,
    stopping: bool,
    ended: bool,
}

#[derive(Debug, Default)]
enum Thread {
    #[default]
    NotStarted,
    Running(JoinHandle<()>),
    /// Somebody waits, or has waited, for its end.
    Over,
}

/// What the worker does next.
#[derive(Debug)]
pub(super) enum Task {
    /// Take a snapshot. `urgent`: somebody waits for it.
    Collect { urgent: bool },
    /// Let the exporter go on.
    Poll,
    /// End.
    Stop,
}

impl Lane {
    pub(super) fn new(
        spec: Arc<LaneSpec>,
        registry: Registry,
        settings: MetricSettings,
        status: StatusSink,
    ) -> Arc<Self> {
        Arc::new(Self {
            status: Mutex::new(StatusLine::new(Arc::clone(&spec.name), status).of("point")),
            spec,
            registry,
            settings,
            ledger: Ledger::new(),
            deadline: Deadline::never(),
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            thread: Mutex::default(),
        })
    }

    /// Starts the worker, unless it has been started or the lane is closed.
    pub(super) fn start(self: &Arc<Self>) {
        let mut thread = lock(&self.thread);
        if matches!(*thread, Thread::NotStarted) {
            lock(&self.state).next = Some(Instant::now() + self.settings.export_interval);
            let worker = Worker::new(Arc::clone(self));
            let name = format!("hiq-{}", self.spec.name);
            match os::spawn_without_signals(name, move || worker.run()) {
                Ok(running) => *thread = Thread::Running(running),
                // The next series tries again.
                Err(error) => self.say(&Health::Waiting(format!("no thread: {error}"))),
            }
        }
    }

    /// Says how the exporter fares, if that has changed.
    pub(super) fn say(&self, health: &Health) {
        lock(&self.status).update(health, &self.ledger, Instant::now());
    }

    /// Waits until there is something to do for a worker whose exporter made this `progress`. `is_idle`: no snapshot waits.
    pub(super) fn next_task(&self, progress: Progress, is_idle: bool) -> Task {
        let mut state = lock(&self.state);
        loop {
            let now = Instant::now();
            if state.stopping && self.deadline.is_over() {
                return Task::Stop;
            }
            let is_settled = progress == Progress::Done && is_idle;
            if is_settled && state.settled < state.taken {
                state.settled = state.taken;
                self.done.notify_all();
            }
            if state.taken < state.wanted {
                state.taken = state.wanted;
                return Task::Collect { urgent: true };
            }
            if state.stopping && is_settled {
                return Task::Stop;
            }
            let next = state.next.filter(|_| !state.stopping);
            if next.is_some_and(|next| next <= now) {
                let missed = now.saturating_duration_since(next.unwrap_or(now));
                // What was missed (a machine asleep) is not caught up with.
                let late = missed.as_nanos() % self.settings.export_interval.as_nanos().max(1);
                let late = Duration::from_nanos(u64::try_from(late).unwrap_or(0));
                state.next = Some(now + self.settings.export_interval.saturating_sub(late));
                return Task::Collect { urgent: false };
            }
            let due = match progress {
                Progress::Done => None,
                Progress::Sending { .. } => return Task::Poll,
                Progress::Waiting { until, .. } if until <= now => return Task::Poll,
                Progress::Waiting { until, .. } => Some(until),
            };
            if state.stopping && due.is_some_and(|due| self.ends_before(due)) {
                return Task::Stop;
            }
            state = self.sleep(state, due.into_iter().chain(next).min(), now);
        }
    }

    fn ends_before(&self, moment: Instant) -> bool {
        self.deadline.at().is_some_and(|end| end <= moment)
    }

    fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
        now: Instant,
    ) -> MutexGuard<'a, State> {
        let mut state = match until {
            None => self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let woken = self
                    .work
                    .wait_timeout(state, until.saturating_duration_since(now));
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.wake_ups += 1;
        state
    }

    /// Asks for a snapshot now. Returns the mark to [wait for](Lane::wait_for_flush).
    pub(super) fn request_flush(&self) -> u64 {
        let mut state = lock(&self.state);
        state.wanted += 1;
        self.work.notify_one();
        state.wanted
    }

    /// Waits, up to `deadline`, until the snapshot of `mark` is settled or on disk.
    pub(super) fn wait_for_flush(&self, mark: u64, deadline: Instant) -> bool {
        let done = |state: &State| state.settled >= mark || state.ended;
        self.wait_until(deadline, done).settled >= mark
    }

    /// Has the worker send a last snapshot and end by `at`.
    pub(super) fn begin_shutdown(&self, at: Instant) {
        self.deadline.pull_forward(at);
        let mut state = lock(&self.state);
        if !state.stopping {
            state.stopping = true;
            state.wanted += 1;
        }
        self.work.notify_one();
    }

    /// Waits for the worker and closes the account; leaves it behind when it hangs.
    pub(super) fn end_shutdown(&self, at: Instant) -> ExporterReport {
        let thread = std::mem::replace(&mut *lock(&self.thread), Thread::Over);
        if matches!(thread, Thread::NotStarted) {
            self.end();
        }
        let ended = self.wait_until(at + GRACE, |state| state.ended).ended;
        if let Thread::Running(thread) = thread
            && ended
        {
            // It has nothing left to do but return.
            let _ = thread.join();
        }
        self.ledger.close();
        let lost = self.ledger.snapshot().dropped[DropReason::Shutdown] > 0;
        self.report(ended && !lost)
    }

    /// For a lane of a reader that is shut down already.
    pub(super) fn close_unstarted(&self) {
        *lock(&self.thread) = Thread::Over;
        self.end();
        self.ledger.close();
    }

    /// The worker has ended.
    pub(super) fn end(&self) {
        lock(&self.state).ended = true;
        self.done.notify_all();
    }

    pub(super) fn report(&self, complete: bool) -> ExporterReport {
        let name = Arc::clone(&self.spec.name);
        ExporterReport::new(name, complete, self.ledger.snapshot())
    }

    pub(super) fn stats(&self) -> ExporterStats {
        let wake_ups = lock(&self.state).wake_ups;
        ExporterStats::new(
            Arc::clone(&self.spec.name),
            self.ledger.snapshot(),
            wake_ups,
        )
    }

    fn wait_until(
        &self,
        deadline: Instant,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if done(&state) || left.is_zero() {
                return state;
            }
            let woken = self.done.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
