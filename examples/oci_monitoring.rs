//! A gauge to OCI Monitoring: `cargo run -p hiq-oci --example oci_monitoring`
//!
//! Signs with the profile that `OCI_CLI_PROFILE` names in `~/.oci/config`; `OCI_COMPARTMENT_ID` is the compartment. Prints what
//! became of the point.

#![allow(
    clippy::print_stdout,
    reason = "a program that talks to whoever runs it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::Batch;
use hiq_core::config::{Env, ProxySettings};
use hiq_core::export::{Deadline, Progress};
use hiq_core::ledger::Ledger;
use hiq_core::metric::{Descriptor, Family, Kind, LabelSet, MetricBatch, Number, Point};
use hiq_core::resource::Resource;
use hiq_core::time::Clock;
use hiq_oci::{MonitoringExporter, MonitoringOptions, MonitoringSettings, OciOptions, OciSettings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (env, mut warnings) = (Env::process(), Vec::new());
    let proxies = ProxySettings::from_env(&env, &mut warnings);
    let oci = OciSettings::new(&OciOptions::default(), &env, &proxies, &mut warnings)?;
    let options = MonitoringOptions::default();
    let settings = MonitoringSettings::new(&options, &oci, &env, &mut warnings)?;
    let monitoring = MonitoringExporter::new(settings, oci, proxies)?;
    println!("to {}", monitoring.target());

    let batch = Arc::new(queue_length(7));
    let (ledger, deadline) = (
        Ledger::new(),
        Deadline::never().within(Duration::from_secs(10)),
    );
    ledger.offer(batch.items());
    let custody = ledger.take(batch.items(), Instant::now());
    let mut exporter = monitoring.build()?;
    let mut progress = exporter.export(batch, custody, &deadline);
    while progress != Progress::Done && !deadline.is_over() {
        progress = exporter.flush(&deadline);
    }
    println!("{:?}", exporter.health());
    exporter.shutdown(&deadline);
    println!(
        "exported {}, lost {}",
        ledger.snapshot().exported,
        ledger.snapshot().offered - ledger.snapshot().exported
    );
    Ok(())
}

/// A gauge of the service `checkout`.
fn queue_length(length: i64) -> MetricBatch {
    let now = Clock::unix_nanos();
    let descriptor = Descriptor::new("queue.length", Kind::Gauge).with_unit("{order}");
    let point = Point::new(
        LabelSet::new([("city", "Hanoi")]),
        now,
        now,
        Number::Int(length),
    );
    let resource = Arc::new(Resource::new([("service.name", "checkout".into())]));
    let family = Family::new(Arc::new(descriptor), vec![point]);
    MetricBatch::new(resource, Arc::default(), vec![family])
}
