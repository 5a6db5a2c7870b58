//! An exporter in the care of its worker: built when it is needed, let go when it panics.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::{Deadline, Exporter, Health, Progress};
use crate::batch::Batch;
use crate::ledger::Ledger;

/// Makes an exporter; it is asked again for the next batch when it fails.
pub(crate) type Build<B> = Box<dyn Fn() -> Result<Box<dyn Exporter<B>>, String> + Send + Sync>;

/// Lets builders fail with any error; the status line is all that it is for.
pub(crate) fn erase<B: Batch, E: fmt::Display>(
    builder: impl Fn() -> Result<Box<dyn Exporter<B>>, E> + Send + Sync + 'static,
) -> Build<B> {
    Box::new(move || builder().map_err(|error| error.to_string()))
}

#[derive(Debug)]
pub(crate) struct Tended<B: Batch> {
    exporter: Option<Box<dyn Exporter<B>>>,
    /// Why there is no exporter, when there should be one.
    trouble: Option<String>,
    /// The worker's life.
    life: Deadline,
    export_timeout: Option<Duration>,
}

impl<B: Batch> Tended<B> {
    pub(crate) fn new(life: Deadline, export_timeout: Option<Duration>) -> Self {
        Self {
            exporter: None,
            trouble: None,
            life,
            export_timeout,
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.exporter.is_some()
    }

    /// Builds an exporter, unless there is one. Returns whether there is one now.
    pub(crate) fn ensure(&mut self, build: &Build<B>, ledger: &Arc<Ledger>) -> bool {
        if !self.is_there() {
            self.build(build, ledger);
        }
        self.is_there()
    }

    fn build(&mut self, build: &Build<B>, ledger: &Arc<Ledger>) {
        let built = catch_unwind(AssertUnwindSafe(build));
        match built.unwrap_or_else(|panic| Err(panic_text(&*panic))) {
            Ok(exporter) => (self.exporter, self.trouble) = (Some(exporter), None),
            Err(error) => self.trouble = Some(format!("cannot start: {error}")),
        }
        self.call(|exporter, _| {
            exporter.start(ledger);
            Progress::Done
        });
    }

    /// Calls the exporter. One that panics is let go; the custody it held counts its items as lost.
    pub(crate) fn call(
        &mut self,
        call: impl FnOnce(&mut dyn Exporter<B>, &Deadline) -> Progress,
    ) -> Progress {
        let Some(exporter) = self.exporter.as_deref_mut() else {
            return Progress::Done;
        };
        let life = &self.life;
        let deadline = (self.export_timeout).map_or_else(|| life.clone(), |time| life.within(time));
        let called = catch_unwind(AssertUnwindSafe(|| call(exporter, &deadline)));
        called.unwrap_or_else(|panic| {
            self.trouble = Some(format!("stopped by a defect: {}", panic_text(&*panic)));
            self.let_go();
            Progress::Done
        })
    }

    pub(crate) fn poll(&mut self) -> Progress {
        self.call(|exporter, deadline| exporter.poll(deadline))
    }

    pub(crate) fn flush(&mut self) -> Progress {
        self.call(|exporter, deadline| exporter.flush(deadline))
    }

    pub(crate) fn shutdown(&mut self) {
        self.call(|exporter, deadline| {
            exporter.shutdown(deadline);
            Progress::Done
        });
    }

    /// Drops the exporter, which may panic as well.
    pub(crate) fn let_go(&mut self) {
        let exporter = self.exporter.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(exporter)));
    }

    pub(crate) fn health(&self) -> Health {
        match (&self.trouble, &self.exporter) {
            (Some(trouble), _) => Health::Losing(trouble.clone()),
            (None, Some(exporter)) => exporter.health(),
            (None, None) => Health::Fine,
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic")
        .to_owned()
}
