//! The thread that serves one exporter: the only one that calls it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::lane::Lane;
use crate::batch::TreeBatch;
use crate::encode::DropReason;
use crate::export::{Deadline, Exporter, Health, Progress};
use crate::ledger::Custody;
use crate::queue::Task;
use crate::tree::SpanTree;

type BoxedExporter = Box<dyn Exporter<TreeBatch>>;

#[derive(Debug)]
pub(super) struct Worker {
    lane: Arc<Lane>,
    exporter: Option<BoxedExporter>,
    /// Why there is no exporter, when there should be one.
    trouble: Option<String>,
}

impl Worker {
    pub(super) fn new(lane: Arc<Lane>) -> Self {
        Self {
            lane,
            exporter: None,
            trouble: None,
        }
    }

    pub(super) fn run(mut self) {
        let lane = Arc::clone(&self.lane);
        let _end = EndOnDrop(&lane);
        self.build();
        let mut progress = self.call(|exporter, deadline| exporter.poll(deadline));
        loop {
            self.say();
            progress = match lane.queue.next_task(progress, &lane.deadline) {
                Task::Export(trees, custody) => self.export(trees, custody),
                Task::Poll => self.call(|exporter, deadline| exporter.poll(deadline)),
                Task::Flush => self.call(|exporter, deadline| exporter.flush(deadline)),
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

    fn export(&mut self, trees: Vec<Arc<SpanTree>>, custody: Custody) -> Progress {
        if self.exporter.is_none() {
            self.build();
        }
        if self.exporter.is_none() {
            custody.dropped(DropReason::ExporterFailed);
            return Progress::Done;
        }
        let batch = Arc::new(TreeBatch::new(trees));
        self.call(|exporter, deadline| exporter.export(batch, custody, deadline))
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

    /// Calls the exporter. One that panics is let go; the custody it held counts its items as lost.
    fn call(
        &mut self,
        call: impl FnOnce(&mut dyn Exporter<TreeBatch>, &Deadline) -> Progress,
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
        self.0.queue.end();
    }
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic")
        .to_owned()
}
