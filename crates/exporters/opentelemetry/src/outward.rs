//! From a pipeline to a span exporter of the SDK.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::TreeBatch;
use hiq_core::encode::DropReason;
use hiq_core::export::{Deadline, Exporter, Health, Progress};
use hiq_core::ledger::Custody;
use hiq_core::resource::{Resource, Scope};
use hiq_core::tree::SpanTree;
use hiq_net::end::End;
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Runtime;

use crate::span_data::{sdk_resource, sdk_scope, span_data};

/// Spans handed over at a time, as the SDK's batch processor does (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
const MAX_SPANS: usize = 512;

/// Resources whose exporters are kept; of one more the oldest is shut down.
const MAX_RESOURCES: usize = 16;

/// A span exporter of the SDK as an exporter of a pipeline.
///
/// The SDK tells an exporter of its resource once, so each resource has an exporter of its own, made by the builder when its
/// first span comes. What such an exporter fails to send counts as dropped ([`DropReason::ExporterFailed`]): whether to try again
/// is its own business. It runs on the worker's thread, inside a private runtime of Tokio's.
///
/// ```
/// use hiq_core::pipeline::Pipeline;
/// use hiq_opentelemetry::SdkExporter;
/// use opentelemetry_sdk::trace::InMemorySpanExporter;
///
/// let memory = InMemorySpanExporter::default();
/// let build = move || Ok::<_, std::io::Error>(memory.clone());
/// let pipeline = Pipeline::builder()
///     .exporter("sdk", move || SdkExporter::new(build.clone()).map(SdkExporter::boxed))
///     .build();
/// # drop(pipeline);
/// ```
pub struct SdkExporter<E> {
    build: Box<dyn Fn() -> Result<E, String> + Send>,
    runtime: Runtime,
    lanes: Vec<(Arc<Resource>, E)>,
    health: Health,
}

impl<E: SpanExporter + 'static> SdkExporter<E> {
    /// An exporter that has `build` make one for each resource. `build` is called inside the runtime, as exporters on top of Tokio ask.
    ///
    /// Fails when the system gives no runtime.
    pub fn new<X: fmt::Display>(
        build: impl Fn() -> Result<E, X> + Send + 'static,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            build: Box::new(move || build().map_err(|error| error.to_string())),
            runtime,
            lanes: Vec::new(),
            health: Health::Fine,
        })
    }

    /// The exporter as pipelines take it.
    pub fn boxed(self) -> Box<dyn Exporter<TreeBatch>> {
        Box::new(self)
    }

    fn send(
        &mut self,
        resource: &Arc<Resource>,
        spans: Vec<SpanData>,
        deadline: &Deadline,
    ) -> Result<(), String> {
        let runtime = &self.runtime;
        let lane = match lane_of(&mut self.lanes, resource) {
            Some(lane) => lane,
            None => {
                let guard = runtime.enter();
                let mut exporter = (self.build)()?;
                drop(guard);
                exporter.set_resource(&sdk_resource(resource));
                if self.lanes.len() == MAX_RESOURCES {
                    let (_, oldest) = self.lanes.remove(0);
                    let _ = oldest.shutdown();
                }
                self.lanes.push((Arc::clone(resource), exporter));
                self.lanes.len() - 1
            }
        };
        let export = self.lanes[lane].1.export(spans);
        within(runtime, deadline, export).map_err(|error| error.to_string())
    }
}

impl<E: SpanExporter + 'static> Exporter<TreeBatch> for SdkExporter<E> {
    fn export(
        &mut self,
        batch: Arc<TreeBatch>,
        mut custody: Custody,
        deadline: &Deadline,
    ) -> Progress {
        self.health = Health::Fine;
        for trees in batch
            .trees()
            .chunk_by(|a, b| Arc::ptr_eq(a.resource(), b.resource()))
        {
            let mut spans = spans_of(trees).into_iter().peekable();
            while spans.peek().is_some() {
                let part: Vec<_> = spans.by_ref().take(MAX_SPANS).collect();
                let custody = custody.split_off(part.len());
                match self.send(trees[0].resource(), part, deadline) {
                    Ok(()) => custody.delivered(),
                    Err(problem) => {
                        self.health = Health::Losing(problem);
                        custody.dropped(DropReason::ExporterFailed);
                    }
                }
            }
        }
        Progress::Done
    }

    fn flush(&mut self, _deadline: &Deadline) -> Progress {
        let _inside = self.runtime.enter();
        for (_, exporter) in &self.lanes {
            if let Err(error) = exporter.force_flush() {
                self.health = Health::Warned(error.to_string());
            }
        }
        Progress::Done
    }

    fn shutdown(&mut self, deadline: &Deadline) {
        let _inside = self.runtime.enter();
        for (_, exporter) in self.lanes.drain(..) {
            // An exporter that fails to end has nothing left to lose: each batch was settled by its answer.
            let _ = exporter.shutdown_with_timeout(deadline.remaining().unwrap_or(MAX_WAIT));
        }
    }

    fn health(&self) -> Health {
        self.health.clone()
    }
}

/// How long the end of an exporter may take where no deadline says so.
const MAX_WAIT: Duration = Duration::from_secs(30);

impl<E> fmt::Debug for SdkExporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkExporter")
            .field("resources", &self.lanes.len())
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

/// The spans of `trees` as the SDK has them.
fn spans_of(trees: &[Arc<SpanTree>]) -> Vec<SpanData> {
    let mut scopes: Vec<(&Arc<Scope>, InstrumentationScope)> = Vec::new();
    let mut spans = Vec::with_capacity(trees.iter().map(|tree| tree.len()).sum());
    for span in trees.iter().flat_map(|tree| tree.spans()) {
        let ours = span.scope();
        let known = scopes
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, ours));
        let at = known.unwrap_or_else(|| {
            scopes.push((ours, sdk_scope(ours)));
            scopes.len() - 1
        });
        spans.push(span_data(span, scopes[at].1.clone()));
    }
    spans
}

fn lane_of<E>(lanes: &mut [(Arc<Resource>, E)], resource: &Arc<Resource>) -> Option<usize> {
    lanes
        .iter()
        .position(|(known, _)| Arc::ptr_eq(known, resource))
}

/// Runs `export` to its end, or to the deadline, wherever that is pulled to. Without one, the time is the exporter's own affair.
fn within(
    runtime: &Runtime,
    deadline: &Deadline,
    export: impl Future<Output = OTelSdkResult>,
) -> OTelSdkResult {
    runtime.block_on(async {
        let began = Instant::now();
        tokio::select! {
            biased;
            result = export => result,
            () = End::of(deadline) => Err(OTelSdkError::Timeout(began.elapsed())),
        }
    })
}
