//! The thread that takes snapshots for one exporter: the only one that calls it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::lane::{Lane, Task};
use crate::batch::Batch;
use crate::encode::DropReason;
use crate::export::{Deadline, Exporter, Health, Progress};
use crate::metric::MetricBatch;
use crate::pipeline::panic_text;

#[derive(Debug)]
pub(super) struct Worker {
    lane: Arc<Lane>,
    exporter: Option<Box<dyn Exporter<MetricBatch>>>,
    /// A snapshot that the exporter has no room for yet; queued in the ledger.
    waiting: Option<MetricBatch>,
    /// Why there is no exporter, when there should be one.
    trouble: Option<String>,
}

impl Worker {
    pub(super) fn new(lane: Arc<Lane>) -> Self {
        Self {
            lane,
            exporter: None,
            waiting: None,
            trouble: None,
        }
    }

    pub(super) fn run(mut self) {
        let lane = Arc::clone(&self.lane);
        let _end = EndOnDrop(&lane);
        self.build();
        let mut progress = self.call(|exporter, deadline| exporter.poll(deadline));
        loop {
            progress = self.hand_over(progress);
            self.say();
            progress = match lane.next_task(progress, self.waiting.is_none()) {
                Task::Collect { urgent } => self.collect(progress, urgent),
                Task::Poll => self.call(|exporter, deadline| exporter.poll(deadline)),
                Task::Stop => break,
            };
        }
        self.call(|exporter, deadline| {
            exporter.shutdown(deadline);
            Progress::Done
        });
        self.say();
        self.let_go();
    }

    /// Takes a snapshot, in the place of one that still waits.
    fn collect(&mut self, progress: Progress, urgent: bool) -> Progress {
        if self.exporter.is_none() {
            self.build();
        }
        let ledger = &self.lane.ledger;
        if let Some(older) = self.waiting.take() {
            ledger.drop_queued(older.items(), DropReason::Superseded);
        }
        let newest = self.lane.registry.collect(&self.lane.spec.collect);
        if newest.items() > 0 {
            ledger.offer(newest.items());
            self.waiting = Some(newest);
        }
        if urgent && progress != Progress::Done {
            return self.call(|exporter, deadline| exporter.flush(deadline));
        }
        progress
    }

    /// Hands the snapshot that waits to the exporter, if there is room.
    fn hand_over(&mut self, progress: Progress) -> Progress {
        let Some(snapshot) = self.waiting.take_if(|_| progress.has_room()) else {
            return progress;
        };
        let custody = self.lane.ledger.take(snapshot.items(), Instant::now());
        if self.exporter.is_none() {
            custody.dropped(DropReason::ExporterFailed);
            return Progress::Done;
        }
        let snapshot = Arc::new(snapshot);
        self.call(|exporter, deadline| exporter.export(snapshot, custody, deadline))
    }

    fn build(&mut self) {
        let built = catch_unwind(AssertUnwindSafe(|| (self.lane.spec.build)()));
        match built.unwrap_or_else(|panic| Err(panic_text(&*panic))) {
            Ok(exporter) => (self.exporter, self.trouble) = (Some(exporter), None),
            Err(error) => self.trouble = Some(format!("cannot start: {error}")),
        }
        let lane = Arc::clone(&self.lane);
        self.call(|exporter, _| {
            exporter.start(&lane.ledger);
            Progress::Done
        });
    }

    /// Calls the exporter. One that panics is let go; the custody it held counts its points as lost.
    fn call(
        &mut self,
        call: impl FnOnce(&mut dyn Exporter<MetricBatch>, &Deadline) -> Progress,
    ) -> Progress {
        let Some(exporter) = self.exporter.as_deref_mut() else {
            return Progress::Done;
        };
        let life = &self.lane.deadline;
        let timeout = self.lane.settings.export_timeout;
        let deadline = timeout.map_or_else(|| life.clone(), |timeout| life.within(timeout));
        let called = catch_unwind(AssertUnwindSafe(|| call(exporter, &deadline)));
        called.unwrap_or_else(|panic| {
            self.trouble = Some(format!("stopped by a defect: {}", panic_text(&*panic)));
            self.let_go();
            Progress::Done
        })
    }

    /// Drops the exporter, which may panic as well.
    fn let_go(&mut self) {
        let exporter = self.exporter.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(exporter)));
    }

    fn say(&self) {
        self.lane.say(&match (&self.trouble, &self.exporter) {
            (Some(trouble), _) => Health::Losing(trouble.clone()),
            (None, Some(exporter)) => exporter.health(),
            (None, None) => Health::Fine,
        });
    }
}

/// Tells those that wait for the worker's end, also when it panics.
struct EndOnDrop<'a>(&'a Lane);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
