//! Metrics of span trees: calls, errors and times by function, and what extra metrics read.
//!
//! ```text
//! pipeline ─ exporter_before_sampling ─► TreeMetrics ─► Registry ─► collect()
//! ```
//!
//! | metric | kind | of |
//! |---|---|---|
//! | `hiq.function.calls` | counter, `{call}` | every span |
//! | `hiq.function.errors` | counter, `{error}` | spans whose status is an error |
//! | `hiq.function.duration` | summary, `s` | the spans' durations |
//! | `hiq.function.<column>` | a gauge for a level, a counter or an up-down counter for growth | [columns](crate::tree::Column), in base units |
//!
//! The label `function` is the span's name. Spans of another service than the registry's have `service.name` as well.
//!
//! ```
//! use hiq_core::metric::record::Registry;
//! use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
//! use hiq_core::pipeline::Pipeline;
//! use hiq_core::record::tracer::Tracer;
//!
//! let registry = Registry::new();
//! let counted = TreeMetrics::new(&registry, TreeMetricsOptions::default())?;
//! let pipeline = Pipeline::builder()
//!     .exporter_before_sampling("metrics", counted.builder())
//!     .build();
//! let tracer = Tracer::new(pipeline.clone());
//! drop(tracer.span("checkout"));
//! pipeline.flush(pipeline.shutdown_timeout());
//! assert_eq!(registry.collect(&Default::default()).families().len(), 3);
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::record::{Counter, Instrument, Registry, Spec, Summary};
use super::{Exemplar, LabelSet, Number};
use crate::batch::TreeBatch;
use crate::config::{ConfigError, ExemplarFilter, MetricSettings};
use crate::context::SAMPLED;
use crate::export::{Deadline, Exporter, Progress};
use crate::ledger::{Custody, Ledger};
use crate::span::{Span, Status};
use crate::tree::SpanTree;

mod columns;
mod services;

use columns::Columns;
use services::{Function, Services};

/// How trees are counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeMetricsOptions {
    /// What the metrics' names begin with. Default: `hiq.function`.
    pub prefix: String,
    /// Shares whose quantiles the durations show. Default: 0.5, 0.9 and 0.99.
    pub quantiles: Arc<[f64]>,
    /// How long a duration counts for them. Default: 10 min.
    pub max_age: Duration,
    /// Functions that are told apart. Default: 10,000.
    pub max_series: usize,
    /// Which spans may be shown as examples. Default: those of sampled traces.
    pub exemplars: ExemplarFilter,
}

impl Default for TreeMetricsOptions {
    fn default() -> Self {
        Self::of(&MetricSettings::default())
    }
}

impl TreeMetricsOptions {
    /// What `settings` say, the rest by default.
    pub fn of(settings: &MetricSettings) -> Self {
        Self {
            prefix: "hiq.function".to_owned(),
            quantiles: super::record::DEFAULT_QUANTILES.into(),
            max_age: settings.max_age,
            max_series: settings.max_series,
            exemplars: settings.exemplars,
        }
    }
}

/// Counts trees. A cheap handle; what the pipeline's worker holds is made by its [builder](TreeMetrics::builder).
#[derive(Clone, Debug)]
pub struct TreeMetrics {
    registry: Registry,
    instruments: Instruments,
    options: Arc<TreeMetricsOptions>,
}

#[derive(Clone, Debug)]
struct Instruments {
    calls: Instrument<Counter>,
    errors: Instrument<Counter>,
    duration: Instrument<Summary>,
}

impl TreeMetrics {
    /// Counts into instruments of `registry`. Fails when their names are taken by others of another kind.
    pub fn new(registry: &Registry, options: TreeMetricsOptions) -> Result<Self, ConfigError> {
        let spec = |name: &str, unit: &str, description: &str| {
            Spec::new(format!("{}.{name}", options.prefix))
                .with_unit(unit)
                .with_description(description)
                .with_max_series(options.max_series)
        };
        let duration = spec("duration", "s", "How long calls took.")
            .with_quantiles(Arc::clone(&options.quantiles))
            .with_max_age(options.max_age);
        let calls = spec("calls", "{call}", "Calls that have ended.");
        let errors = spec("errors", "{error}", "Calls that ended in an error.");
        let instruments = Instruments {
            calls: registry.counter(calls)?,
            errors: registry.counter(errors)?,
            duration: registry.summary(duration)?,
        };
        registry.note_calls(instruments.calls.descriptor());
        Ok(Self {
            registry: registry.clone(),
            instruments,
            options: Arc::new(options),
        })
    }

    /// What a pipeline takes as the builder of an exporter
    /// [before sampling](crate::pipeline::PipelineBuilder::exporter_before_sampling).
    pub fn builder(
        &self,
    ) -> impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, Infallible> + Send + Sync + 'static {
        let counted = self.clone();
        move || Ok(Box::new(counted.exporter()) as Box<dyn Exporter<TreeBatch>>)
    }

    /// Counts the trees that it is given.
    pub fn exporter(&self) -> TreeMetricsExporter {
        TreeMetricsExporter {
            registry: self.registry.clone(),
            services: Services::new(
                self.registry.resource().service_name().into(),
                self.options.max_series,
            ),
            columns: Columns::new(self.registry.clone(), Arc::clone(&self.options)),
            instruments: self.instruments.clone(),
            exemplars: self.options.exemplars,
            batches: 0,
        }
    }
}

/// Counts trees, as an exporter that sends nothing.
#[derive(Debug)]
pub struct TreeMetricsExporter {
    registry: Registry,
    services: Services,
    columns: Columns,
    instruments: Instruments,
    exemplars: ExemplarFilter,
    batches: u64,
}

impl Exporter<TreeBatch> for TreeMetricsExporter {
    fn start(&mut self, ledger: &Arc<Ledger>) {
        self.registry.note_ledger(ledger);
    }

    fn export(
        &mut self,
        batch: Arc<TreeBatch>,
        custody: Custody,
        _deadline: &Deadline,
    ) -> Progress {
        self.batches += 1;
        batch.trees().iter().for_each(|tree| self.count(tree));
        custody.delivered();
        Progress::Done
    }
}

impl TreeMetricsExporter {
    fn count(&mut self, tree: &SpanTree) {
        let instruments = &self.instruments;
        let service = self.services.of(tree.resource());
        let shows_examples = self.shows_examples(tree);
        for (span, node) in tree.spans().zip(&tree.nodes) {
            let name = || tree.text(node.name).as_str();
            let function = self.services.function(service, node.name, name, |labels| {
                Function::new(instruments, labels)
            });
            function.calls.add(1);
            function.duration.observe(seconds(span.duration_nanos()));
            let failed = span.status() == Status::Error;
            if failed {
                function.errors.add(1);
            }
            if shows_examples && function.is_due_for_example(self.batches, failed) {
                function.show(&span, failed);
            }
        }
        if !tree.columns().is_empty() {
            self.columns.count(tree, service, &self.services);
        }
    }

    fn shows_examples(&self, tree: &SpanTree) -> bool {
        match self.exemplars {
            ExemplarFilter::TraceBased => tree
                .span(0)
                .is_some_and(|root| root.trace_flags() & SAMPLED != 0),
            ExemplarFilter::AlwaysOn => true,
            ExemplarFilter::AlwaysOff => false,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a double holds a hundred days to the nanosecond"
)]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl Function {
    fn new(instruments: &Instruments, labels: Arc<LabelSet>) -> Self {
        Self {
            calls: instruments.calls.with_labels(&labels),
            errors: instruments.errors.with_labels(&labels),
            duration: instruments.duration.with_labels(&labels),
            labels,
            example_of_batch: [0; 2],
        }
    }

    /// One call and one error of each batch are enough.
    fn is_due_for_example(&mut self, batch: u64, failed: bool) -> bool {
        let last = &mut self.example_of_batch[usize::from(failed)];
        std::mem::replace(last, batch) != batch
    }

    #[cold]
    fn show(&self, span: &Span<'_>, failed: bool) {
        let (time, trace, id) = (span.end(), span.trace_id(), span.id());
        let one = Exemplar::new(time, Number::Int(1), trace, id);
        if failed {
            self.errors.set_example(one.clone());
        }
        self.calls.set_example(one);
        let duration = Number::F64(seconds(span.duration_nanos()));
        self.duration
            .set_example(Exemplar::new(time, duration, trace, id));
    }
}
