//! Payloads of any format as messages of OCI Streaming.

use hiq_core::config::{ConfigError, PipelineSettings, ProxySettings, SpoolSettings};
use hiq_core::deliver::DeliveryOptions;
use hiq_core::encode::{Encodable, Encoder};
use hiq_core::export::Exporter;
use hiq_http::HttpOptions;

use super::encoded;
use crate::config::{OciSettings, StreamSettings};
use crate::judge::{Judged, Service};
use crate::sign::{OciAuthorizer, Signed};
use crate::transport::StreamTransport;

/// Puts payloads into a stream, each of them a message. It is handed the encoder of the format.
#[derive(Clone, Debug)]
pub struct StreamExporter {
    target: String,
    http: HttpOptions,
    oci: OciSettings,
    delivery: DeliveryOptions,
    spool: Option<SpoolSettings>,
}

impl StreamExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(
        settings: StreamSettings,
        oci: OciSettings,
        proxies: ProxySettings,
    ) -> Result<Self, ConfigError> {
        let mut http = HttpOptions::new(settings.endpoint.clone());
        http.server = "OCI Streaming";
        http.certificate = settings.certificate;
        http.proxies = proxies;
        http.build()?;
        let mut delivery = DeliveryOptions::default();
        delivery.timeout = settings.timeout;
        delivery.cut = settings.key.cut();
        Ok(Self {
            target: settings.endpoint.to_string(),
            http,
            oci,
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

    /// Where it sends, for messages.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The wire alone, for messages that are no payloads of a pipeline.
    pub fn transport(&self) -> Result<StreamTransport, ConfigError> {
        let authorizer = OciAuthorizer::new(&self.oci, Signed::WithoutBody);
        let http = self.http.build()?.with_authorizer(Box::new(authorizer));
        Ok(StreamTransport::new(http))
    }

    /// The exporter of what `encoder` writes. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build<B: Encodable + Send + Sync + 'static>(
        &self,
        encoder: Box<dyn Encoder<B>>,
    ) -> Result<Box<dyn Exporter<B>>, ConfigError> {
        let encoder = Judged::new(encoder, Service::Streaming);
        let transport = self.transport()?;
        encoded(
            "oci_streaming",
            encoder,
            transport,
            self.delivery.clone(),
            self.spool.as_ref(),
        )
    }
}
