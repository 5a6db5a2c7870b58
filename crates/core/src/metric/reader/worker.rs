//! The thread that takes snapshots for one exporter: the only one that calls it.

use std::sync::Arc;
use std::time::Instant;

use super::lane::{Lane, Task};
use crate::batch::Batch;
use crate::encode::DropReason;
use crate::export::{Progress, Tended};
use crate::metric::MetricBatch;

#[derive(Debug)]
pub(super) struct Worker {
    lane: Arc<Lane>,
    exporter: Tended<MetricBatch>,
    /// A snapshot that the exporter has no room for yet; queued in the ledger.
    waiting: Option<MetricBatch>,
}

impl Worker {
    pub(super) fn new(lane: Arc<Lane>) -> Self {
        Self {
            exporter: Tended::new(lane.deadline.clone(), lane.settings.export_timeout),
            lane,
            waiting: None,
        }
    }

    pub(super) fn run(mut self) {
        let lane = Arc::clone(&self.lane);
        let _end = EndOnDrop(&lane);
        self.ensure_exporter();
        let mut progress = self.exporter.poll();
        loop {
            progress = self.hand_over(progress);
            lane.say(&self.exporter.health());
            progress = match lane.next_task(progress, self.waiting.is_none()) {
                Task::Collect { urgent } => self.collect(progress, urgent),
                Task::Poll => self.exporter.poll(),
                Task::Stop => break,
            };
        }
        self.exporter.shutdown();
        lane.say(&self.exporter.health());
        self.exporter.let_go();
    }

    /// Takes a snapshot, in the place of one that still waits.
    fn collect(&mut self, progress: Progress, urgent: bool) -> Progress {
        self.ensure_exporter();
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
            return self.exporter.flush();
        }
        progress
    }

    /// Hands the snapshot that waits to the exporter, if there is room.
    fn hand_over(&mut self, progress: Progress) -> Progress {
        let Some(snapshot) = self.waiting.take_if(|_| progress.has_room()) else {
            return progress;
        };
        let custody = self.lane.ledger.take(snapshot.items(), Instant::now());
        if !self.exporter.is_there() {
            custody.dropped(DropReason::ExporterFailed);
            return Progress::Done;
        }
        let snapshot = Arc::new(snapshot);
        self.exporter
            .call(|exporter, deadline| exporter.export(snapshot, custody, deadline))
    }

    fn ensure_exporter(&mut self) -> bool {
        let lane = &self.lane;
        self.exporter.ensure(&lane.spec.build, &lane.ledger)
    }
}

/// Tells those that wait for the worker's end, also when it panics.
struct EndOnDrop<'a>(&'a Lane);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
