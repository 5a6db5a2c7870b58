//! The thread that serves one exporter: the only one that calls it.

use std::sync::Arc;

use super::lane::Lane;
use crate::encode::DropReason;
use crate::export::{Progress, Tended};
use crate::ledger::Custody;
use crate::queue::{Cargo, Task};

#[derive(Debug)]
pub(super) struct Worker<C: Cargo> {
    lane: Arc<Lane<C>>,
    exporter: Tended<C::Batch>,
}

impl<C: Cargo> Worker<C> {
    pub(super) fn new(lane: Arc<Lane<C>>) -> Self {
        let exporter = Tended::new(lane.deadline.clone(), lane.settings.export_timeout);
        Self { lane, exporter }
    }

    pub(super) fn run(mut self) {
        let lane = Arc::clone(&self.lane);
        let _end = EndOnDrop(&lane);
        self.ensure_exporter();
        let mut progress = self.exporter.poll();
        loop {
            lane.say(&self.exporter.health());
            progress = match lane.queue.next_task(progress, &lane.deadline) {
                Task::Export(cargo, custody) => self.export(cargo, custody),
                Task::Poll => self.exporter.poll(),
                Task::Flush => self.exporter.flush(),
                Task::Stop => break,
            };
        }
        self.exporter.shutdown();
        lane.say(&self.exporter.health());
        self.exporter.let_go();
    }

    fn export(&mut self, cargo: Vec<C>, custody: Custody) -> Progress {
        if !self.ensure_exporter() {
            custody.dropped(DropReason::ExporterFailed);
            return Progress::Done;
        }
        let batch = C::pack(cargo);
        self.exporter
            .call(|exporter, deadline| exporter.export(batch, custody, deadline))
    }

    fn ensure_exporter(&mut self) -> bool {
        let lane = &self.lane;
        self.exporter.ensure(&lane.spec.build, &lane.ledger)
    }
}

/// Tells those that wait for the worker's end, also when it panics.
struct EndOnDrop<'a, C: Cargo>(&'a Lane<C>);

impl<C: Cargo> Drop for EndOnDrop<'_, C> {
    fn drop(&mut self) {
        self.0.queue.end();
    }
}
