//! The reader: every interval a snapshot of a registry goes to every exporter; a scrape takes one when it comes.
//!
//! ```text
//! Registry ─ collect() ─► lane: worker ─► Exporter<MetricBatch>
//!                     └─► lane: worker ─► Exporter<MetricBatch>
//! ```
//!
//! A snapshot that its exporter has no room for yet gives way to the next one, which says all that it did: its points count
//! as [superseded](crate::encode::DropReason::Superseded). Flush and shutdown send one more. Like a pipeline it owns
//! builders: no thread runs before the first series is made, and a forked child starts its own.
//!
//! ```
//! use hiq_core::metric::reader::MetricReader;
//! use hiq_core::metric::record::Registry;
//! use std::time::Duration;
//!
//! let reader = MetricReader::builder(Registry::new()).build();
//! reader.registry().counter("orders")?.plain().add(1);
//! assert_eq!(reader.registry().collect(&Default::default()).families().len(), 1);
//! assert!(reader.shutdown(Duration::from_secs(5)).is_complete());
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::MetricBatch;
use super::record::list::List;
use super::record::{CollectOptions, Registry};
use crate::config::MetricSettings;
use crate::export::{Exporter, erase};
use crate::fork;
use crate::pipeline::{PipelineReport, PipelineStats, after};
use crate::status::StatusSink;

mod lane;
mod worker;

use lane::{Lane, LaneSpec};

/// Sends snapshots of a registry. A cheap handle: clones are the same reader, which is
/// [shut down](MetricReader::shutdown) when the last one is dropped.
#[derive(Clone, Debug)]
pub struct MetricReader {
    inner: Arc<Inner>,
}

impl MetricReader {
    /// A reader of `registry`, to be described.
    pub fn builder(registry: Registry) -> MetricReaderBuilder {
        MetricReaderBuilder {
            registry,
            settings: MetricSettings::default(),
            shutdown_timeout: Duration::from_secs(5),
            status: StatusSink::default(),
            specs: Vec::new(),
        }
    }

    /// What is read.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Starts the workers now instead of with the first series.
    pub fn start(&self) {
        self.inner.lanes().list.iter().for_each(Lane::start);
    }

    /// Has a snapshot of now delivered, or written to the spool, in at most `timeout`.
    pub fn flush(&self, timeout: Duration) -> PipelineReport {
        let deadline = after(timeout);
        let lanes = self.inner.lanes();
        let marks: Vec<_> = (lanes.list.iter())
            .map(|lane| {
                lane.start();
                lane.request_flush()
            })
            .collect();
        let report =
            |(lane, mark): (&Arc<Lane>, u64)| lane.report(lane.wait_for_flush(mark, deadline));
        PipelineReport::new(lanes.list.iter().zip(marks).map(report))
    }

    /// Sends a last snapshot and ends every exporter, all within `timeout`: one that has not ended by then is left behind,
    /// and the points that it holds count as dropped.
    pub fn shutdown(&self, timeout: Duration) -> PipelineReport {
        self.inner.shutdown(timeout)
    }

    /// How long a shutdown takes at most when the last handle is dropped.
    pub fn shutdown_timeout(&self) -> Duration {
        self.inner.shutdown_timeout
    }

    /// How each exporter fares, in data points.
    pub fn stats(&self) -> PipelineStats {
        PipelineStats::new(self.inner.lanes().list.iter().map(|lane| lane.stats()))
    }
}

/// Describes a [`MetricReader`].
#[derive(Debug)]
#[must_use]
pub struct MetricReaderBuilder {
    registry: Registry,
    settings: MetricSettings,
    shutdown_timeout: Duration,
    status: StatusSink,
    specs: Vec<LaneSpec>,
}

impl MetricReaderBuilder {
    /// Adds an exporter, which is given what `collect` says: [sketches](CollectOptions::sketches), where it writes
    /// histograms. `builder` makes it on its worker thread, once in each process; an error is said on the status line, and
    /// it is asked again for the next snapshot.
    pub fn exporter<E: fmt::Display>(
        mut self,
        name: impl Into<Arc<str>>,
        collect: CollectOptions,
        builder: impl Fn() -> Result<Box<dyn Exporter<MetricBatch>>, E> + Send + Sync + 'static,
    ) -> Self {
        self.specs.push(LaneSpec {
            name: name.into(),
            collect,
            build: erase(builder),
        });
        self
    }

    /// Intervals and timeouts. Default: OpenTelemetry's.
    pub fn settings(mut self, settings: MetricSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The one deadline of flush and shutdown when the last handle is dropped. Default: 5 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Where status lines go. Default: standard error.
    pub fn status(mut self, sink: StatusSink) -> Self {
        self.status = sink;
        self
    }

    /// The reader. Starts nothing, unless there are series already.
    pub fn build(self) -> MetricReader {
        let has_series = self.registry.has_series();
        let specs: Vec<_> = self.specs.into_iter().map(Arc::new).collect();
        let settings = self.settings;
        let new_lane = {
            let registry = self.registry.clone();
            move |spec: &Arc<LaneSpec>| {
                Lane::new(
                    Arc::clone(spec),
                    registry.clone(),
                    settings.clone(),
                    self.status.clone(),
                )
            }
        };
        let inner = Arc::new(Inner {
            lanes: ArcSwap::from_pointee(Lanes::new(specs.iter().map(&new_lane))),
            new_lane: Box::new(new_lane),
            registry: self.registry,
            shutdown_timeout: self.shutdown_timeout,
            closed: AtomicBool::new(false),
        });
        READERS.push(Arc::downgrade(&inner));
        let reader = MetricReader { inner };
        if has_series {
            reader.start();
        }
        reader
    }
}

/// All readers that ever were, so that the first series starts their workers, in a forked child as well.
static READERS: List<Weak<Inner>> = List::new();

/// What else is to be done when a series is made.
static WATCHERS: List<Box<dyn Fn() + Send + Sync>> = List::new();

/// Has `watcher` called whenever a series is made in any registry, and when one is first used in a forked child: for what
/// starts with the first measurement, in a child as well. It is never forgotten and must cost next to nothing.
pub fn watch_series(watcher: impl Fn() + Send + Sync + 'static) {
    WATCHERS.push(Box::new(watcher));
}

/// Starts the workers of readers that have something to read. Called when a series is made.
#[cold]
pub(super) fn wake_all() {
    for reader in READERS.iter() {
        if let Some(inner) = reader.upgrade() {
            inner.lanes().list.iter().for_each(Lane::start);
        }
    }
    for watcher in WATCHERS.iter() {
        watcher();
    }
}

struct Inner {
    registry: Registry,
    shutdown_timeout: Duration,
    /// Those of this process, or of the one that it was forked from.
    lanes: ArcSwap<Lanes>,
    new_lane: Box<NewLane>,
    closed: AtomicBool,
}

type NewLane = dyn Fn(&Arc<LaneSpec>) -> Arc<Lane> + Send + Sync;

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricReader")
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Lanes {
    generation: u32,
    list: Vec<Arc<Lane>>,
}

impl Lanes {
    fn new(lanes: impl Iterator<Item = Arc<Lane>>) -> Self {
        Self {
            generation: fork::generation(),
            list: lanes.collect(),
        }
    }
}

impl Inner {
    /// The lanes of this process.
    fn lanes(&self) -> Guard<Arc<Lanes>> {
        let lanes = self.lanes.load();
        if lanes.generation == fork::generation() {
            return lanes;
        }
        drop(lanes);
        self.start_over_after_fork();
        self.lanes.load()
    }

    /// Puts fresh lanes in the place of the parent's, which are leaked: their locks may be held and their threads do not
    /// exist here.
    #[cold]
    fn start_over_after_fork(&self) {
        let generation = fork::generation();
        let parents = self.lanes.rcu(|lanes| {
            if lanes.generation == generation {
                return Arc::clone(lanes);
            }
            let specs = lanes.list.iter().map(|lane| &lane.spec);
            let fresh = Lanes::new(specs.map(&*self.new_lane));
            if self.closed.load(Ordering::Acquire) {
                fresh.list.iter().for_each(|lane| lane.close_unstarted());
            }
            Arc::new(fresh)
        });
        if parents.generation != generation {
            std::mem::forget(parents);
        }
    }

    fn shutdown(&self, timeout: Duration) -> PipelineReport {
        self.closed.store(true, Ordering::Release);
        let deadline = after(timeout);
        let lanes = self.lanes();
        let begin = |lane: &Arc<Lane>| lane.begin_shutdown(deadline);
        lanes.list.iter().for_each(begin);
        PipelineReport::new(lanes.list.iter().map(|lane| lane.end_shutdown(deadline)))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let lanes = self.lanes.load_full();
        if lanes.generation != fork::generation() {
            // The parent's: see `start_over_after_fork`.
            std::mem::forget(lanes);
        } else if !self.closed.load(Ordering::Acquire) {
            self.shutdown(self.shutdown_timeout);
        }
    }
}
