//! Spans to OCI APM.

use hiq_core::batch::TreeBatch;
use hiq_core::config::{ConfigError, PipelineSettings, ProxySettings, SpoolSettings};
use hiq_core::deliver::DeliveryOptions;
use hiq_core::encode::Encoder;
use hiq_core::export::Exporter;
use hiq_http::HttpOptions;

use super::encoded;
use crate::config::ApmSettings;
use crate::judge::{Judged, Service};

/// No limit is published; a request of this size is taken.
const MAX_PAYLOAD_BYTES: usize = 900 << 10;

/// Sends spans to OCI APM, in Zipkin's format or OTLP's, as [`ApmSettings::format`] says.
///
/// It is handed the encoder of that format, `hiq_zipkin::ZipkinJsonEncoder` or `hiq_otlp::OtlpProtoEncoder`: exporters know
/// no other.
#[derive(Clone, Debug)]
pub struct ApmExporter {
    target: String,
    http: HttpOptions,
    delivery: DeliveryOptions,
    spool: Option<SpoolSettings>,
}

impl ApmExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(settings: ApmSettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        let mut http = HttpOptions::new(settings.endpoint.clone());
        http.server = "OCI APM";
        http.headers = settings.headers;
        http.certificate = settings.certificate;
        http.proxies = proxies;
        http.build()?;
        let mut delivery = DeliveryOptions::default();
        delivery.timeout = settings.timeout;
        delivery.max_payload_bytes = MAX_PAYLOAD_BYTES;
        Ok(Self {
            target: settings.endpoint.to_string(),
            http,
            delivery,
            spool: None,
        })
    }

    /// Follows the pipeline's settings: how long spans are kept, and the spool, where there is one.
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

    /// Where it sends, for messages: without user, password and data key.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The exporter of what `encoder` writes. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build(
        &self,
        encoder: Box<dyn Encoder<TreeBatch>>,
    ) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let transport = self.http.build()?;
        let encoder = Judged::new(encoder, Service::Apm);
        encoded(
            "oci_apm",
            encoder,
            transport,
            self.delivery.clone(),
            self.spool.as_ref(),
        )
    }
}
