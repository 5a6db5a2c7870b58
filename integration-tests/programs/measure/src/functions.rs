//! Functions that are traced, and counted by hiq for that reason.

use std::collections::BTreeMap;
use std::time::Instant;

use hiq_core::metric::record::Registry;
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::Tracer;
use hiq_core::span::Status;
use serde_json::{Value as Json, json};

use crate::Failure;

const CALLS: usize = 300;

/// Calls a few functions, and returns the program's own account: calls, errors, and the seconds that they took as a clock
/// outside of them says.
pub(crate) fn call(registry: &Registry) -> Result<Json, Failure> {
    let counted = TreeMetrics::new(registry, TreeMetricsOptions::default())?;
    let pipeline = Pipeline::builder()
        .exporter_before_sampling("metrics", counted.builder())
        .build();
    let tracer = Tracer::new(pipeline.clone());
    let mut journal: BTreeMap<&str, Account> = BTreeMap::new();
    for number in 0..CALLS {
        let began = Instant::now();
        {
            let _order = tracer.span("place order");
            let search = Instant::now();
            drop(tracer.span("search"));
            journal.entry("search").or_default().add(search, false);
            let pay = Instant::now();
            let fails = number % 3 == 0;
            {
                let mut payment = tracer.span("pay");
                if fails {
                    payment.set_status(Status::Error, "no money");
                }
            }
            journal.entry("pay").or_default().add(pay, fails);
        }
        journal.entry("place order").or_default().add(began, false);
    }
    let report = pipeline.flush(pipeline.shutdown_timeout());
    if !report.is_complete() {
        return Err("not all calls were counted in time".into());
    }
    let accounts = journal.into_iter();
    Ok(json!({
        "functions": accounts.map(|(name, account)| (name, account.said())).collect::<BTreeMap<_, _>>(),
    }))
}

#[derive(Default)]
struct Account {
    calls: u64,
    errors: u64,
    seconds: f64,
}

impl Account {
    fn add(&mut self, began: Instant, fails: bool) {
        self.calls += 1;
        self.errors += u64::from(fails);
        self.seconds += began.elapsed().as_secs_f64();
    }

    fn said(&self) -> Json {
        json!({"calls": self.calls, "errors": self.errors, "seconds": self.seconds})
    }
}
