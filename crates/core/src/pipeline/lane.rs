//! One exporter's part of a pipeline: its queue, its ledger and, from the first tree on, its worker thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::worker::Worker;
use super::{ExporterId, ExporterReport, ExporterStats};
use crate::config::PipelineSettings;
use crate::encode::DropReason;
use crate::export::{Build, Deadline, Health};
use crate::ledger::Ledger;
use crate::os;
use crate::queue::{Cargo, Queue};
use crate::status::{StatusLine, StatusSink};

/// A worker that listens to its deadline has ended this long after it.
const GRACE: Duration = Duration::from_millis(150);

/// What outlives a fork: how to make the exporter.
pub(super) struct LaneSpec<C: Cargo> {
    pub(super) id: ExporterId,
    pub(super) name: Arc<str>,
    pub(super) build: Build<C::Batch>,
    /// It is given sampled-out trees as well.
    pub(super) is_before_sampling: bool,
}

impl<C: Cargo> LaneSpec<C> {
    pub(super) fn new(name: Arc<str>, build: Build<C::Batch>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = ExporterId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            id,
            name,
            build,
            is_before_sampling: false,
        }
    }

    pub(super) fn before_sampling(mut self) -> Self {
        self.is_before_sampling = true;
        self
    }
}

impl<C: Cargo> fmt::Debug for LaneSpec<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaneSpec({})", self.name)
    }
}

/// What holds for every lane of a pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneSettings {
    pub(super) pipeline: PipelineSettings,
    pub(super) status: StatusSink,
    pub(super) on_start: OnStart,
}

/// Who is told that a worker has been started.
#[derive(Clone)]
pub(super) struct OnStart(Arc<dyn Fn() + Send + Sync>);

impl OnStart {
    pub(super) fn new(hook: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl Default for OnStart {
    fn default() -> Self {
        Self::new(|| {})
    }
}

impl fmt::Debug for OnStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnStart")
    }
}

#[derive(Debug)]
pub(super) struct Lane<C: Cargo> {
    pub(super) spec: Arc<LaneSpec<C>>,
    pub(super) settings: PipelineSettings,
    pub(super) ledger: Arc<Ledger>,
    pub(super) queue: Queue<C>,
    /// The worker's life; shutdown pulls it forward.
    pub(super) deadline: Deadline,
    status: Mutex<StatusLine>,
    on_start: OnStart,
    /// Whether there is no need to look at `thread`.
    started: AtomicBool,
    thread: Mutex<Thread>,
}

#[derive(Debug, Default)]
enum Thread {
    #[default]
    NotStarted,
    Running(JoinHandle<()>),
    /// Somebody waits, or has waited, for its end.
    Over,
}

impl<C: Cargo> Lane<C> {
    pub(super) fn new(
        spec: Arc<LaneSpec<C>>,
        settings: &LaneSettings,
        sampled_out: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let ledger = if spec.is_before_sampling {
            Ledger::new()
        } else {
            Ledger::with_sampled_out(sampled_out)
        };
        let status = StatusLine::new(Arc::clone(&spec.name), settings.status.clone()).of(C::ITEM);
        Arc::new(Self {
            spec,
            settings: settings.pipeline.clone(),
            queue: Queue::new(settings.pipeline.clone(), Arc::clone(&ledger)),
            ledger,
            deadline: Deadline::never(),
            status: Mutex::new(status),
            on_start: settings.on_start.clone(),
            started: AtomicBool::new(false),
            thread: Mutex::default(),
        })
    }

    #[inline]
    pub(super) fn takes_sampled_out(&self) -> bool {
        self.spec.is_before_sampling
    }

    #[inline]
    pub(super) fn offer(self: &Arc<Self>, cargo: C, bytes: usize, now: Instant) {
        self.queue.offer(cargo, bytes, now);
        if !self.started.load(Ordering::Relaxed) {
            self.start();
        }
    }

    /// Starts the worker, unless it has been started or the lane is closed.
    #[cold]
    pub(super) fn start(self: &Arc<Self>) {
        let mut thread = lock(&self.thread);
        if matches!(*thread, Thread::NotStarted) {
            let worker = Worker::new(Arc::clone(self));
            let name = format!("hiq-{}", self.spec.name);
            self.queue.expect_worker(true);
            match os::spawn_without_signals(name, move || worker.run()) {
                Ok(running) => *thread = Thread::Running(running),
                // The next tree tries again.
                Err(error) => {
                    self.queue.expect_worker(false);
                    return self.say(&Health::Waiting(format!("no thread: {error}")));
                }
            }
        }
        self.started.store(true, Ordering::Relaxed);
        drop(thread);
        (self.on_start.0)();
    }

    /// Says how the exporter fares, if that has changed.
    pub(super) fn say(&self, health: &Health) {
        lock(&self.status).update(health, &self.ledger, Instant::now());
    }

    /// Has the worker drain the queue and end by `at`.
    pub(super) fn begin_shutdown(&self, at: Instant) {
        lock(&self.status).expect_last_word();
        self.deadline.pull_forward(at);
        self.queue.stop();
    }

    /// Waits for the worker and closes the account; leaves it behind when it hangs.
    pub(super) fn end_shutdown(&self, at: Instant) -> ExporterReport {
        let thread = std::mem::replace(&mut *lock(&self.thread), Thread::Over);
        if matches!(thread, Thread::NotStarted) {
            self.queue.end();
        }
        let ended = self.queue.wait_for_end(at + GRACE);
        if let Thread::Running(thread) = thread
            && ended
        {
            // It has nothing left to do but return.
            let _ = thread.join();
        }
        self.close();
        let lost = self.ledger.snapshot().dropped[DropReason::Shutdown] > 0;
        lock(&self.status).last_word(&self.ledger, Instant::now());
        self.report(ended && !lost)
    }

    /// For a lane of a pipeline that is shut down already.
    pub(super) fn close_unstarted(&self) {
        *lock(&self.thread) = Thread::Over;
        self.queue.end();
        self.close();
    }

    /// Takes nothing in any more; what is there counts as dropped.
    fn close(&self) {
        self.queue.clear();
        self.ledger.close();
    }

    pub(super) fn report(&self, complete: bool) -> ExporterReport {
        ExporterReport::new(
            Arc::clone(&self.spec.name),
            complete,
            self.ledger.snapshot(),
        )
    }

    pub(super) fn stats(&self) -> ExporterStats {
        let name = Arc::clone(&self.spec.name);
        ExporterStats::new(name, self.ledger.snapshot(), self.queue.wake_ups())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
