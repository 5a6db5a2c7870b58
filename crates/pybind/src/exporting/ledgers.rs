//! Ledgers as Python has them.

use hiq_core::pipeline::{Pipeline, PipelineStats};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The ledgers of a pipeline, by exporter.
pub(super) fn stats_of<'py>(py: Python<'py>, pipeline: &Pipeline) -> PyResult<Bound<'py, PyDict>> {
    let stats = PyDict::new(py);
    put_stats(&stats, &pipeline.stats())?;
    Ok(stats)
}

/// Adds those of `of`.
pub(super) fn put_stats(stats: &Bound<'_, PyDict>, of: &PipelineStats) -> PyResult<()> {
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
