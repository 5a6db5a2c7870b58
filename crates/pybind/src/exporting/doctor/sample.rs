//! One sample, through an exporter of metrics that sends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::metric::reader::MetricReader;
use hiq_core::metric::record::{Registry, Spec};
use hiq_core::resource::Resource;

use super::{Finding, PATIENCE, Said, Try, only};
use crate::exporting::metrics::Push;

const METRIC: &str = "hiq.doctor";

struct Sample {
    push: Arc<Push>,
}

/// Where it sends, and how that is tried.
pub(super) fn way(push: Push) -> (String, Box<dyn Try>) {
    let target = push.target.clone();
    let push = Arc::new(push);
    (target, Box::new(Sample { push }))
}

impl Try for Sample {
    fn send(&self, name: &str, resource: &Arc<Resource>, timeout: Duration) -> Finding {
        let registry = Registry::of(Arc::clone(resource));
        let spec = Spec::new(METRIC).with_description("hiq doctor was here.");
        if let Ok(gauge) = registry.gauge(spec) {
            gauge.plain().set(1.0);
        }
        let (said, push) = (Said::default(), Arc::clone(&self.push));
        let reader = MetricReader::builder(registry)
            .exporter(name.to_owned(), push.collect.clone(), move || {
                push.try_out()
            })
            .status(said.sink())
            .build();
        let began = Instant::now();
        // One snapshot: another one would take its place.
        let mut is_settled = reader.flush(PATIENCE).is_complete();
        while !is_settled && !said.wait() && began.elapsed() < timeout {
            let ledger = only(&reader.stats());
            // Where the machine is busy, the snapshot may not even be taken yet.
            is_settled = ledger.offered > 0 && ledger.unsettled() == 0;
        }
        let (took, mut ledger) = (began.elapsed(), only(&reader.stats()));
        if ledger.offered == 0 {
            (ledger.offered, ledger.queued) = (1, 1);
        }
        let words = said.last();
        // A last snapshot would follow by a shutdown that has time.
        reader.shutdown(Duration::ZERO);
        self.push.clean_up(PATIENCE.max(timeout));
        Finding {
            sent: format!("the metric `{METRIC}`"),
            took,
            words,
            ledger,
        }
    }
}
