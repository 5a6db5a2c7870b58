//! Metrics to OCI Monitoring.

use hiq_core::config::{ConfigError, PipelineSettings, ProxySettings, SpoolSettings};
use hiq_core::deliver::DeliveryOptions;
use hiq_core::export::Exporter;
use hiq_core::metric::MetricBatch;
use hiq_http::HttpOptions;

use super::encoded;
use crate::config::{MonitoringSettings, OciSettings};
use crate::encode_metrics::MonitoringEncoder;
use crate::sign::{OciAuthorizer, Signed};

/// The service names no limit; 50 series are far below this.
const MAX_PAYLOAD_BYTES: usize = 900 << 10;

/// Posts metrics to OCI Monitoring.
#[derive(Clone, Debug)]
pub struct MonitoringExporter {
    settings: MonitoringSettings,
    http: HttpOptions,
    oci: OciSettings,
    delivery: DeliveryOptions,
    spool: Option<SpoolSettings>,
}

impl MonitoringExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(
        settings: MonitoringSettings,
        oci: OciSettings,
        proxies: ProxySettings,
    ) -> Result<Self, ConfigError> {
        let mut http = HttpOptions::new(settings.endpoint.clone());
        http.server = "OCI Monitoring";
        http.certificate.clone_from(&settings.certificate);
        http.proxies = proxies;
        http.build()?;
        let mut delivery = DeliveryOptions::default();
        delivery.timeout = settings.timeout;
        delivery.max_payload_bytes = MAX_PAYLOAD_BYTES;
        Ok(Self {
            settings,
            http,
            oci,
            delivery,
            spool: None,
        })
    }

    /// Follows the pipeline's settings: how long points are kept, and the spool, where there is one.
    #[must_use]
    pub fn with_pipeline_settings(mut self, settings: &PipelineSettings) -> Self {
        self.delivery.max_age = settings.max_age;
        self.spool.clone_from(&settings.spool);
        self
    }

    /// How payloads are delivered; retries, limits, and where a payload ends.
    pub fn delivery_mut(&mut self) -> &mut DeliveryOptions {
        &mut self.delivery
    }

    /// Where it sends, for messages.
    pub fn target(&self) -> String {
        self.settings.endpoint.to_string()
    }

    /// The exporter. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
        let authorizer = OciAuthorizer::new(&self.oci, Signed::WithBody);
        let transport = self.http.build()?.with_authorizer(Box::new(authorizer));
        let encoder = MonitoringEncoder::new(&self.settings);
        encoded(
            "oci_monitoring",
            encoder,
            transport,
            self.delivery.clone(),
            self.spool.as_ref(),
        )
    }
}
