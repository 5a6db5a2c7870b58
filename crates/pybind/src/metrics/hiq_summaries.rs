//! HiQ's metrics: a summary for each tag, `hiq_main` for the spans named `__main`, in seconds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use hiq_core::batch::TreeBatch;
use hiq_core::config::ConfigError;
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::Custody;
use hiq_core::metric::record::{Instrument, Registry, Spec, Summary};
use hiq_core::pipeline::{Pipeline, PipelineBuilder};
use hiq_core::tree::SpanTree;
use pyo3::prelude::*;

use super::instrument;
use crate::exporting;
use crate::module::errors;

/// The exporter's name, in the ledger.
const NAME: &str = "prometheus";
/// Tags that have a summary of their own; the spans of further ones share one.
const MAX_SUMMARIES: usize = 1_000;
const OVERFLOW: &str = "hiq_other";

/// Their registry: the names are HiQ's, and other exporters have `hiq.function.duration` for the same.
pub(super) fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::new)
}

/// Somebody has asked for them: a pipeline that is built later has them as well.
static FOLLOWED: AtomicBool = AtomicBool::new(false);

/// Has the spans of this process summed up from now on.
#[pyfunction]
pub(super) fn follow_hiq_summaries(py: Python<'_>) -> PyResult<()> {
    FOLLOWED.store(true, Ordering::Relaxed);
    let pipeline: Pipeline = exporting::running_pipeline(py)?;
    if pipeline.stats().ledger(NAME).is_none() {
        pipeline.attach_before_sampling(NAME, build);
    }
    Ok(())
}

/// The pipeline with them, if somebody has asked for them.
pub(crate) fn follow_in(builder: PipelineBuilder) -> PipelineBuilder {
    if FOLLOWED.load(Ordering::Relaxed) {
        builder.exporter_before_sampling(NAME, build)
    } else {
        builder
    }
}

/// The summary `name`, for measurements by hand.
#[pyfunction]
pub(super) fn hiq_summary(py: Python<'_>, name: &str, description: &str) -> PyResult<Py<PyAny>> {
    let made = summary(name, description).map_err(|error| errors::config(&error))?;
    instrument::new(py, made)
}

fn summary(name: &str, description: &str) -> Result<Instrument<Summary>, ConfigError> {
    registry().summary(Spec::new(name).with_description(description))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a pipeline takes builders that may fail"
)]
fn build() -> Result<Box<dyn Exporter<TreeBatch>>, Infallible> {
    Ok(Box::new(HiqSummaries::default()))
}

/// Sums spans up, as an exporter that sends nothing.
#[derive(Debug, Default)]
struct HiqSummaries {
    by_tag: HashMap<String, Arc<Summary>>,
}

impl Exporter<TreeBatch> for HiqSummaries {
    fn export(
        &mut self,
        batch: Arc<TreeBatch>,
        custody: Custody,
        _deadline: &Deadline,
    ) -> Progress {
        batch.trees().iter().for_each(|tree| self.sum_up(tree));
        custody.delivered();
        Progress::Done
    }
}

impl HiqSummaries {
    fn sum_up(&mut self, tree: &SpanTree) {
        for span in tree.spans() {
            let nanos = span.duration_nanos();
            #[expect(
                clippy::cast_precision_loss,
                reason = "a double holds a hundred days to the nanosecond"
            )]
            let seconds = nanos as f64 / 1e9;
            if let Some(summary) = self.of(span.name().as_str()) {
                summary.observe(seconds);
            }
        }
    }

    fn of(&mut self, tag: &str) -> Option<&Arc<Summary>> {
        if !self.by_tag.contains_key(tag) {
            let made = self.make(tag)?;
            self.by_tag.insert(tag.to_owned(), made);
        }
        self.by_tag.get(tag)
    }

    #[cold]
    fn make(&self, tag: &str) -> Option<Arc<Summary>> {
        let name = if self.by_tag.len() < MAX_SUMMARIES {
            name_of(tag)
        } else {
            OVERFLOW.to_owned()
        };
        Some(summary(&name, &name).ok()?.plain())
    }
}

/// `hiq_main` for `__main`; a tag of one character has no prefix, and stays as it is.
fn name_of(tag: &str) -> String {
    match tag.strip_prefix("__") {
        Some(rest) => format!("hiq_{rest}"),
        None if tag.is_empty() => OVERFLOW.to_owned(),
        None => tag.to_owned(),
    }
}
