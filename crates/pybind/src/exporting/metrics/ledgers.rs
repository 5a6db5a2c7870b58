//! The ledgers of this process as metrics: what became of its spans and points.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use arc_swap::ArcSwapOption;
use hiq_core::metric::ledgers::show_ledgers;
use hiq_core::metric::reader::MetricReader;
use hiq_core::pipeline::{Pipeline, PipelineStats};

use crate::metrics::{registry, settings};
use crate::runtime;

static SHOWN: AtomicBool = AtomicBool::new(false);
/// Somebody has said that they are not to be shown.
static REFUSED: AtomicBool = AtomicBool::new(false);
/// The reader whose ledgers are shown beside the pipeline's. Whoever reads metrics comes without the GIL, and a fork may come
/// at any moment: no lock is held for it.
static READER: ArcSwapOption<MetricReader> = ArcSwapOption::const_empty();

/// Shows them if that is `wished`, or, where nobody has said anything, by `default`.
pub(super) fn show(wished: Option<bool>, default: bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| show_ledgers(registry(), stats));
    SHOWN.store(wished.unwrap_or(default), Ordering::Relaxed);
    REFUSED.store(wished == Some(false), Ordering::Relaxed);
}

/// Shows them from now on, as pages are read by scrapers, unless somebody does not want that.
pub(crate) fn show_on_pages() {
    if !SHOWN.load(Ordering::Relaxed) && !REFUSED.load(Ordering::Relaxed) {
        show(settings().exporter_metrics, true);
    }
}

/// Shows nothing any more, and forgets what was wished.
pub(super) fn forget() {
    show(None, false);
    READER.store(None);
}

/// Shows the ledgers of `reader` as well.
pub(super) fn follow(reader: &Arc<MetricReader>) {
    READER.store(Some(Arc::clone(reader)));
}

fn stats() -> PipelineStats {
    if !SHOWN.load(Ordering::Relaxed) {
        return PipelineStats::default();
    }
    let pipeline = runtime::current().pipeline.as_ref();
    let spans = pipeline.map(Pipeline::stats);
    let points = READER.load().as_ref().map(|reader| reader.stats());
    spans.unwrap_or_default().and(points.unwrap_or_default())
}
