//! One exporter's part of a pipeline: its queue, its ledger and, from the first tree on, its worker thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::worker::Worker;
use super::{ExporterId, ExporterReport, ExporterStats};
use crate::batch::TreeBatch;
use crate::config::PipelineSettings;
use crate::encode::DropReason;
use crate::export::{Deadline, Exporter, Health};
use crate::ledger::Ledger;
use crate::os;
use crate::queue::Queue;
use crate::status::{StatusLine, StatusSink};
use crate::tree::SpanTree;

/// A worker that listens to its deadline has ended this long after it.
const GRACE: Duration = Duration::from_millis(150);

pub(super) type Build = Box<dyn Fn() -> Result<Box<dyn Exporter<TreeBatch>>, String> + Send + Sync>;

/// Lets builders fail with any error; the status line is all that it is for.
pub(super) fn erase<E: fmt::Display>(
    builder: impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, E> + Send + Sync + 'static,
) -> Build {
    Box::new(move || builder().map_err(|error| error.to_string()))
}

/// What outlives a fork: how to make the exporter.
pub(super) struct LaneSpec {
    pub(super) id: ExporterId,
    pub(super) name: Arc<str>,
    pub(super) build: Build,
}

impl LaneSpec {
    pub(super) fn new(name: Arc<str>, build: Build) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = ExporterId(NEXT.fetch_add(1, Ordering::Relaxed));
        Self { id, name, build }
    }
}

impl fmt::Debug for LaneSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaneSpec({})", self.name)
    }
}

/// What holds for every lane of a pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneSettings {
    pub(super) pipeline: PipelineSettings,
    pub(super) status: StatusSink,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) spec: Arc<LaneSpec>,
    pub(super) settings: LaneSettings,
    pub(super) ledger: Arc<Ledger>,
    pub(super) queue: Queue,
    /// The worker's life; shutdown pulls it forward.
    pub(super) deadline: Deadline,
    started: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Lane {
    pub(super) fn new(
        spec: Arc<LaneSpec>,
        settings: &LaneSettings,
        sampled_out: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let ledger = Ledger::with_sampled_out(sampled_out);
        Arc::new(Self {
            spec,
            settings: settings.clone(),
            queue: Queue::new(settings.pipeline.clone(), Arc::clone(&ledger)),
            ledger,
            deadline: Deadline::never(),
            started: AtomicBool::new(false),
            thread: Mutex::default(),
        })
    }

    #[inline]
    pub(super) fn offer(self: &Arc<Self>, tree: Arc<SpanTree>, bytes: usize, now: Instant) {
        self.queue.offer(tree, bytes, now);
        if !self.started.load(Ordering::Relaxed) {
            self.start();
        }
    }

    /// Starts the worker, unless it has been started or the lane is closed.
    #[cold]
    pub(super) fn start(self: &Arc<Self>) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let worker = Worker::new(Arc::clone(self));
        let name = format!("hiq-{}", self.spec.name);
        match os::spawn_without_signals(name, move || worker.run()) {
            Ok(thread) => *self.thread() = Some(thread),
            Err(error) => {
                self.say_not_started(&error);
                self.started.store(false, Ordering::Release);
            }
        }
    }

    fn say_not_started(&self, error: &std::io::Error) {
        let health = Health::Waiting(format!("no thread could be started: {error}"));
        self.status_line()
            .update(&health, &self.ledger, Instant::now());
    }

    pub(super) fn status_line(&self) -> StatusLine {
        StatusLine::new(Arc::clone(&self.spec.name), self.settings.status.clone())
    }

    /// Has the worker drain the queue and end by `at`.
    pub(super) fn begin_shutdown(&self, at: Instant) {
        self.deadline.pull_forward(at);
        self.queue.stop();
    }

    /// Waits for the worker and closes the account; leaves it behind when it hangs.
    pub(super) fn end_shutdown(&self, at: Instant) -> ExporterReport {
        let thread = self.thread().take();
        let ended = thread.is_none() || self.queue.wait_for_end(at + GRACE);
        if let Some(thread) = thread.filter(|_| ended) {
            // It has nothing left to do but return.
            let _ = thread.join();
        }
        self.close();
        let ledger = self.ledger.snapshot();
        let lost = ledger.dropped[DropReason::Shutdown] > 0;
        ExporterReport::new(Arc::clone(&self.spec.name), ended && !lost, ledger)
    }

    /// Takes nothing in any more; what is there counts as dropped.
    pub(super) fn close(&self) {
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

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
