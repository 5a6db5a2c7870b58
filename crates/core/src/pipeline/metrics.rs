//! The same for metrics that others have measured.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::lane::LaneSpec;
use super::{Inner, PipelineReport, PipelineStats, Settings};
use crate::config::PipelineSettings;
use crate::export::{Exporter, erase};
use crate::metric::MetricBatch;
use crate::status::StatusSink;

/// Carries snapshots of metrics that came from elsewhere to exporters: each one, and in the order in which they came. What a
/// program measures itself is a [`MetricReader`](crate::metric::reader::MetricReader)'s, where a newer snapshot takes the
/// place of an older.
///
/// In all else it is a [`Pipeline`](super::Pipeline): a cheap handle, a queue, a ledger and a worker for each exporter, and an
/// end when the last handle is dropped. Ledgers count data points.
///
/// ```
/// use std::time::Duration;
/// use hiq_core::metric::record::Registry;
/// use hiq_core::pipeline::MetricPipeline;
///
/// let pipeline = MetricPipeline::builder().build();
/// pipeline.offer(Registry::new().collect(&Default::default()));
/// assert!(pipeline.shutdown(Duration::from_secs(1)).is_complete());
/// ```
#[derive(Clone, Debug)]
pub struct MetricPipeline {
    inner: Arc<Inner<Arc<MetricBatch>>>,
}

impl MetricPipeline {
    /// A pipeline to be described.
    pub fn builder() -> MetricPipelineBuilder {
        MetricPipelineBuilder::default()
    }

    /// Hands a snapshot to every exporter's queue. Never fails and never waits for an exporter; after
    /// [`MetricPipeline::shutdown`] it counts as dropped. One without points is none.
    pub fn offer(&self, batch: impl Into<Arc<MetricBatch>>) {
        let batch = batch.into();
        if !batch.families().is_empty() {
            self.inner.offer(batch, |_| true);
        }
    }

    /// Has everything that was offered before delivered, in at most `timeout`.
    pub fn flush(&self, timeout: Duration) -> PipelineReport {
        self.inner.flush(timeout, |_| true)
    }

    /// Flushes and ends every exporter, all within `timeout`: one that has not ended by then is left behind, and the points
    /// that it holds count as dropped. Snapshots offered later are dropped.
    pub fn shutdown(&self, timeout: Duration) -> PipelineReport {
        self.inner.shutdown(timeout)
    }

    /// How each exporter fares, in data points.
    pub fn stats(&self) -> PipelineStats {
        PipelineStats::new(self.inner.lanes().list.iter().map(|lane| lane.stats()))
    }
}

/// Describes a [`MetricPipeline`].
#[derive(Debug, Default)]
#[must_use]
pub struct MetricPipelineBuilder {
    settings: Settings,
    exporters: Vec<LaneSpec<Arc<MetricBatch>>>,
}

impl MetricPipelineBuilder {
    /// Adds an exporter. `builder` makes it on its worker thread, when there is something to export, once in each process;
    /// an error is said on the status line, and it is asked again for the next snapshot.
    pub fn exporter<E: fmt::Display>(
        mut self,
        name: impl Into<Arc<str>>,
        builder: impl Fn() -> Result<Box<dyn Exporter<MetricBatch>>, E> + Send + Sync + 'static,
    ) -> Self {
        self.exporters
            .push(LaneSpec::new(name.into(), erase(builder)));
        self
    }

    /// Queues and deadlines, as for spans; a batch is one snapshot, whatever its size. Default: a pipeline's.
    pub fn settings(mut self, settings: PipelineSettings) -> Self {
        self.settings.lane.pipeline = settings;
        self
    }

    /// Where status lines go. Default: standard error.
    pub fn status(mut self, sink: StatusSink) -> Self {
        self.settings.lane.status = sink;
        self
    }

    /// The pipeline. Starts nothing.
    pub fn build(self) -> MetricPipeline {
        MetricPipeline {
            inner: Arc::new(Inner::new(self.settings, self.exporters)),
        }
    }
}
