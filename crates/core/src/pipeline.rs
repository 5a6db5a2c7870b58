//! The pipeline: from finished trees to every exporter, each with its own queue, ledger and worker thread.
//!
//! ```text
//! offer ─► lane: queue ─► worker: exporter
//!     └──► lane: queue ─► worker: exporter
//! ```
//!
//! It owns **builders** of exporters, not exporters: nothing starts before the first finished tree, and a forked child
//! starts its own. One deadline covers flush and shutdown; a dead backend delays neither another backend nor the exit.
//!
//! ```
//! use std::time::Duration;
//! use hiq_core::pipeline::Pipeline;
//!
//! let pipeline = Pipeline::builder().build();
//! assert!(pipeline.flush(Duration::from_secs(1)).is_complete());
//! assert!(pipeline.shutdown(pipeline.shutdown_timeout()).is_complete());
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use crate::batch::TreeBatch;
use crate::config::PipelineSettings;
use crate::export::{Exporter, erase};
use crate::fork;
use crate::queue::Cargo;
use crate::resource::Resource;
use crate::sample::Sampler;
use crate::status::StatusSink;
use crate::time::Clock;
use crate::tree::SpanTree;

mod lane;
mod metrics;
mod report;
mod worker;

pub use metrics::{MetricPipeline, MetricPipelineBuilder};
pub use report::{ExporterReport, ExporterStats, PipelineReport, PipelineStats};

use lane::{Lane, LaneSettings, LaneSpec, OnStart};

/// Carries finished trees to its exporters. A cheap handle: clones are the same pipeline, which is
/// [shut down](Pipeline::shutdown) when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Pipeline {
    inner: Arc<Inner<Arc<SpanTree>>>,
}

/// Names an exporter that was attached to a running pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExporterId(u64);

impl Pipeline {
    /// A pipeline to be described.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::default()
    }

    /// Who produces the spans; trees are begun with it.
    pub fn resource(&self) -> &Arc<Resource> {
        &self.inner.settings.resource
    }

    /// Which traces are recorded; asked when a root starts.
    pub fn sampler(&self) -> &Sampler {
        &self.inner.settings.sampler
    }

    /// Hands a finished tree to every exporter's queue. Never fails and never waits for an exporter; after
    /// [`Pipeline::shutdown`] the tree counts as dropped.
    #[inline]
    pub fn offer(&self, tree: SpanTree) {
        self.inner.offer(Arc::new(tree), |_| true);
    }

    /// As [`Pipeline::offer`], for a tree that others hold as well.
    #[inline]
    pub fn offer_shared(&self, tree: Arc<SpanTree>) {
        self.inner.offer(tree, |_| true);
    }

    /// True when an exporter is to be given sampled-out trees, so that those must be recorded.
    #[inline]
    pub fn wants_sampled_out(&self) -> bool {
        self.inner.lanes().any_before_sampling
    }

    /// Hands a finished tree that was sampled out to the exporters [before sampling](PipelineBuilder::exporter_before_sampling);
    /// for the others it counts as sampled out.
    pub fn offer_sampled_out(&self, tree: Arc<SpanTree>) {
        self.sample_out(tree.len() as u64);
        self.inner.offer(tree, Lane::takes_sampled_out);
    }

    /// Counts spans that were not recorded because of sampling.
    #[inline]
    pub fn sample_out(&self, spans: u64) {
        self.inner
            .lanes()
            .sampled_out
            .fetch_add(spans, Ordering::Relaxed);
    }

    /// Starts every exporter's worker now instead of with the first tree: for exporters that have something to deliver
    /// from an earlier process.
    pub fn start(&self) {
        self.inner.lanes().list.iter().for_each(Lane::start);
    }

    /// Adds an exporter. Trees offered from now on go there as well.
    pub fn attach<E: fmt::Display>(
        &self,
        name: impl Into<Arc<str>>,
        builder: impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, E> + Send + Sync + 'static,
    ) -> ExporterId {
        self.inner
            .attach(LaneSpec::new(name.into(), erase(builder)))
    }

    /// As [`Pipeline::attach`], for an exporter that is given sampled-out trees as well.
    pub fn attach_before_sampling<E: fmt::Display>(
        &self,
        name: impl Into<Arc<str>>,
        builder: impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, E> + Send + Sync + 'static,
    ) -> ExporterId {
        let spec = LaneSpec::new(name.into(), erase(builder));
        self.inner.attach(spec.before_sampling())
    }

    /// Takes an exporter out and shuts it down, in at most `timeout`. `None` when there is no such exporter (any more).
    pub fn detach(&self, id: ExporterId, timeout: Duration) -> Option<ExporterReport> {
        self.inner.detach(id, timeout)
    }

    /// Has everything that was offered before delivered, or written to the spool, in at most `timeout`. What a spool holds
    /// from before, also from an earlier process if the worker [has been started](Pipeline::start), is sent once more, now.
    pub fn flush(&self, timeout: Duration) -> PipelineReport {
        self.inner.flush(timeout, |_| true)
    }

    /// As [`Pipeline::flush`], for the exporters [before sampling](PipelineBuilder::exporter_before_sampling) alone: what
    /// they count is then up to date, and nothing has been waited for that is sent.
    pub fn flush_before_sampling(&self, timeout: Duration) -> PipelineReport {
        self.inner.flush(timeout, Lane::takes_sampled_out)
    }

    /// How long a shutdown takes at most unless told otherwise; also that of the last handle's drop.
    pub fn shutdown_timeout(&self) -> Duration {
        self.inner.settings.lane.pipeline.shutdown_timeout
    }

    /// Flushes and ends every exporter, all within `timeout`: one that has not ended by then is left behind, and what it
    /// holds counts as dropped. Trees offered later are dropped.
    pub fn shutdown(&self, timeout: Duration) -> PipelineReport {
        self.inner.shutdown(timeout)
    }

    /// How each exporter fares.
    pub fn stats(&self) -> PipelineStats {
        PipelineStats::new(self.inner.lanes().list.iter().map(|lane| lane.stats()))
    }
}

/// Describes a [`Pipeline`].
#[derive(Debug, Default)]
pub struct PipelineBuilder {
    settings: Settings,
    exporters: Vec<LaneSpec<Arc<SpanTree>>>,
}

impl PipelineBuilder {
    /// Who produces the spans. Default: nobody in particular.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<Arc<Resource>>) -> Self {
        self.settings.resource = resource.into();
        self
    }

    /// Adds an exporter. `builder` makes it on its worker thread, when there is something to export, once in each process;
    /// an error is said on the status line, and it is asked again for the next batch.
    #[must_use]
    pub fn exporter<E: fmt::Display>(
        mut self,
        name: impl Into<Arc<str>>,
        builder: impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, E> + Send + Sync + 'static,
    ) -> Self {
        self.exporters
            .push(LaneSpec::new(name.into(), erase(builder)));
        self
    }

    /// As [`PipelineBuilder::exporter`], for an exporter that is given sampled-out trees as well: what is counted from
    /// them is then true of all that happened. Every root is recorded then.
    #[must_use]
    pub fn exporter_before_sampling<E: fmt::Display>(
        mut self,
        name: impl Into<Arc<str>>,
        builder: impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, E> + Send + Sync + 'static,
    ) -> Self {
        let spec = LaneSpec::new(name.into(), erase(builder));
        self.exporters.push(spec.before_sampling());
        self
    }

    /// Which traces are recorded. Default: as the parent, else all.
    #[must_use]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.settings.sampler = sampler;
        self
    }

    /// Queues, batches and deadlines. Default: OpenTelemetry's, with a longer queue.
    #[must_use]
    pub fn settings(mut self, settings: PipelineSettings) -> Self {
        self.settings.lane.pipeline = settings;
        self
    }

    /// Where status lines go. Default: standard error.
    #[must_use]
    pub fn status(mut self, sink: StatusSink) -> Self {
        self.settings.lane.status = sink;
        self
    }

    /// Has `hook` called whenever a worker has been started: by the thread that offers the first tree, before its offer
    /// returns, once for each exporter in each process. Default: nothing.
    #[must_use]
    pub fn on_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.lane.on_start = OnStart::new(hook);
        self
    }

    /// The pipeline. Starts nothing.
    pub fn build(self) -> Pipeline {
        Pipeline {
            inner: Arc::new(Inner::new(self.settings, self.exporters)),
        }
    }
}

#[derive(Debug, Default)]
struct Settings {
    resource: Arc<Resource>,
    sampler: Sampler,
    lane: LaneSettings,
}

#[derive(Debug)]
struct Inner<C: Cargo> {
    settings: Settings,
    /// Those of this process, or of the one that it was forked from.
    lanes: ArcSwap<Lanes<C>>,
    closed: AtomicBool,
}

/// The exporters of one process, and what was counted for all of them.
#[derive(Debug)]
struct Lanes<C: Cargo> {
    generation: u32,
    list: Vec<Arc<Lane<C>>>,
    any_before_sampling: bool,
    sampled_out: Arc<AtomicU64>,
}

impl<C: Cargo> Lanes<C> {
    fn new(specs: impl Iterator<Item = Arc<LaneSpec<C>>>, settings: &Settings) -> Self {
        let sampled_out = Arc::default();
        let lane = |spec| Lane::new(spec, &settings.lane, Arc::clone(&sampled_out));
        let list = specs.map(lane).collect();
        Self::of(fork::generation(), list, sampled_out)
    }

    fn of(generation: u32, list: Vec<Arc<Lane<C>>>, sampled_out: Arc<AtomicU64>) -> Self {
        Self {
            generation,
            any_before_sampling: list.iter().any(|lane| lane.takes_sampled_out()),
            list,
            sampled_out,
        }
    }

    fn with(&self, list: Vec<Arc<Lane<C>>>) -> Self {
        Self::of(self.generation, list, Arc::clone(&self.sampled_out))
    }
}

impl<C: Cargo> Inner<C> {
    /// Starts nothing.
    fn new(settings: Settings, exporters: Vec<LaneSpec<C>>) -> Self {
        let specs = exporters.into_iter().map(Arc::new);
        Self {
            lanes: ArcSwap::from_pointee(Lanes::new(specs, &settings)),
            settings,
            closed: AtomicBool::new(false),
        }
    }

    /// The lanes of this process.
    #[inline]
    fn lanes(&self) -> Guard<Arc<Lanes<C>>> {
        let lanes = self.lanes.load();
        if lanes.generation == fork::generation() {
            return lanes;
        }
        drop(lanes);
        self.start_over_after_fork();
        self.lanes.load()
    }

    /// Puts fresh lanes in the place of the parent's. Those are leaked: their locks may be held and their threads do not
    /// exist here.
    #[cold]
    fn start_over_after_fork(&self) {
        let generation = fork::generation();
        let parents = self.lanes.rcu(|lanes| {
            if lanes.generation == generation {
                return Arc::clone(lanes);
            }
            let fresh = Lanes::new(
                lanes.list.iter().map(|lane| Arc::clone(&lane.spec)),
                &self.settings,
            );
            if self.closed.load(Ordering::Acquire) {
                fresh.list.iter().for_each(|lane| lane.close_unstarted());
            }
            Arc::new(fresh)
        });
        if parents.generation != generation {
            std::mem::forget(parents);
        }
    }

    #[inline]
    fn offer(&self, cargo: C, takes: impl Fn(&Lane<C>) -> bool) {
        let lanes = self.lanes();
        let mut takers = lanes.list.iter().filter(|lane| takes(lane));
        let Some(mut lane) = takers.next() else {
            return cargo.let_go_here();
        };
        let (bytes, now) = (cargo.heap_bytes(), Clock::instant());
        for next in takers {
            lane.offer(cargo.clone(), bytes, now);
            lane = next;
        }
        lane.offer(cargo, bytes, now);
    }

    fn flush(&self, timeout: Duration, is_meant: impl Fn(&Lane<C>) -> bool) -> PipelineReport {
        let deadline = after(timeout);
        let lanes = self.lanes();
        let meant = lanes.list.iter().filter(|lane| is_meant(lane));
        let marked: Vec<_> = meant
            .map(|lane| (lane, lane.queue.request_flush()))
            .collect();
        let report = |(lane, mark): (&Arc<Lane<C>>, u64)| {
            lane.report(lane.queue.wait_for_flush(mark, deadline))
        };
        PipelineReport::new(marked.into_iter().map(report))
    }

    fn attach(&self, spec: LaneSpec<C>) -> ExporterId {
        let id = spec.id;
        let sampled_out = Arc::clone(&self.lanes().sampled_out);
        let lane = Lane::new(Arc::new(spec), &self.settings.lane, sampled_out);
        self.lanes.rcu(|lanes| {
            let mut list = lanes.list.clone();
            list.push(Arc::clone(&lane));
            lanes.with(list)
        });
        if self.closed.load(Ordering::Acquire) {
            lane.close_unstarted();
        }
        id
    }

    fn detach(&self, id: ExporterId, timeout: Duration) -> Option<ExporterReport> {
        let lanes = self.lanes();
        let lane = lanes.list.iter().find(|lane| lane.spec.id == id)?;
        self.lanes.rcu(|lanes| {
            let others = lanes.list.iter().filter(|lane| lane.spec.id != id);
            lanes.with(others.cloned().collect())
        });
        let deadline = after(timeout);
        lane.begin_shutdown(deadline);
        Some(lane.end_shutdown(deadline))
    }

    fn shutdown(&self, timeout: Duration) -> PipelineReport {
        self.closed.store(true, Ordering::Release);
        let deadline = after(timeout);
        let lanes = self.lanes();
        lanes
            .list
            .iter()
            .for_each(|lane| lane.begin_shutdown(deadline));
        PipelineReport::new(lanes.list.iter().map(|lane| lane.end_shutdown(deadline)))
    }
}

impl<C: Cargo> Drop for Inner<C> {
    fn drop(&mut self) {
        let lanes = self.lanes.load_full();
        if lanes.generation != fork::generation() {
            // The parent's: see `start_over_after_fork`.
            std::mem::forget(lanes);
        } else if !self.closed.load(Ordering::Acquire) {
            self.shutdown(self.settings.lane.pipeline.shutdown_timeout);
        }
    }
}

pub(crate) fn after(timeout: Duration) -> Instant {
    let now = Instant::now();
    // A century is as good as forever.
    now.checked_add(timeout)
        .unwrap_or(now + Duration::from_secs(100 * 365 * 86_400))
}
