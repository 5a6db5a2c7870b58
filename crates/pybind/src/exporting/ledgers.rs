//! Ledgers as Python has them.

use hiq_core::fork;
use hiq_core::pipeline::{Pipeline, PipelineStats};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::metrics;
use crate::gil::GilCell;
use crate::runtime;

/// Those of the pipeline that was shut down last, and the process that it was in: what became of the spans can be asked
/// for afterwards.
static LAST: GilCell<Option<(u32, PipelineStats)>> = GilCell::new(None);

/// Keeps the last word of a pipeline that has ended.
pub(super) fn keep_last(pipeline: &Pipeline) {
    *LAST.lock() = Some((fork::generation(), all_of(pipeline)));
}

/// The loss ledger, by exporter.
#[pyfunction]
pub(super) fn stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let stats = PyDict::new(py);
    if let Some(pipeline) = &runtime::current().pipeline {
        put_stats(&stats, &all_of(pipeline))?;
    } else if let Some((generation, last)) = &*LAST.lock()
        && *generation == fork::generation()
    {
        put_stats(&stats, last)?;
    }
    Ok(stats)
}

/// Those of spans, then those of metrics.
fn all_of(pipeline: &Pipeline) -> PipelineStats {
    let spans = pipeline.stats();
    match metrics::stats() {
        Some(points) => spans.and(points),
        None => spans,
    }
}

/// The ledgers of a pipeline, by exporter.
pub(super) fn stats_of<'py>(py: Python<'py>, pipeline: &Pipeline) -> PyResult<Bound<'py, PyDict>> {
    let stats = PyDict::new(py);
    put_stats(&stats, &pipeline.stats())?;
    Ok(stats)
}

/// Adds those of `of`.
fn put_stats(stats: &Bound<'_, PyDict>, of: &PipelineStats) -> PyResult<()> {
    let py = stats.py();
    for exporter in of.exporters() {
        let ledger = &exporter.ledger;
        let row = PyDict::new(py);
        let dropped = PyDict::new(py);
        for (reason, spans) in ledger.dropped.iter().filter(|(_, spans)| *spans > 0) {
            dropped.set_item(reason.name(), spans)?;
        }
        let terms = [
            ("offered", ledger.offered),
            ("recovered", ledger.recovered),
            ("exported", ledger.exported),
            ("sent_unconfirmed", ledger.sent_unconfirmed),
            ("rejected", ledger.rejected),
            ("queued", ledger.queued),
            ("in_flight", ledger.in_flight),
            ("spooled", ledger.spooled),
            ("possible_repeats", ledger.possible_repeats),
            ("sampled_out", ledger.sampled_out),
        ];
        for (name, spans) in terms {
            row.set_item(name, spans)?;
        }
        row.set_item("dropped", dropped)?;
        stats.set_item(&*exporter.name, row)?;
    }
    Ok(())
}
