//! Exporters, from settings to something that a pipeline runs. The format is a value that they are handed.

use hiq_core::config::{ConfigError, SpoolSettings};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::{Encodable, Encoder};
use hiq_core::export::Exporter;
use hiq_core::spool::{Spool, SpoolLimits};
use hiq_core::transport::Transport;

mod apm;
mod monitoring;
mod streaming;

pub use apm::ApmExporter;
pub use monitoring::MonitoringExporter;
pub use streaming::StreamExporter;

fn encoded<B: Encodable + Send + Sync + 'static>(
    name: &str,
    encoder: impl Encoder<B> + 'static,
    transport: impl Transport + 'static,
    delivery: DeliveryOptions,
    spool: Option<&SpoolSettings>,
) -> Result<Box<dyn Exporter<B>>, ConfigError> {
    let exporter = EncodedExporter::new(encoder, transport, delivery);
    Ok(Box::new(match spool {
        Some(spool) => exporter.with_spool(open(name, spool)?),
        None => exporter,
    }))
}

fn open(name: &str, settings: &SpoolSettings) -> Result<Spool, ConfigError> {
    Spool::open(&settings.dir, name, SpoolLimits::from(settings)).map_err(|error| {
        let fix = "name a folder that you may write to, or unset it";
        ConfigError::new("HIQ_SPOOL_DIR", error.to_string(), fix)
    })
}
