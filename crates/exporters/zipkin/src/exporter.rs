//! The Zipkin exporter, from settings to something that a pipeline runs.

use hiq_core::batch::TreeBatch;
use hiq_core::config::{ConfigError, PipelineSettings, ProxySettings, SpoolSettings};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::Encoder;
use hiq_core::export::Exporter;
use hiq_core::spool::{Spool, SpoolLimits};
use hiq_http::HttpOptions;

use crate::{
    ZipkinFormat, ZipkinJsonEncoder, ZipkinJsonV1Encoder, ZipkinProtoEncoder, ZipkinSettings,
};

/// Sends spans to a Zipkin server, or to anything that takes its formats.
///
/// ```
/// use hiq_core::config::{Env, ProxySettings};
/// use hiq_core::pipeline::Pipeline;
/// use hiq_zipkin::{ZipkinExporter, ZipkinOptions, ZipkinSettings};
///
/// let env = Env::from_pairs([("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://localhost:9411/api/v2/spans")]);
/// let settings = ZipkinSettings::new(&ZipkinOptions::default(), &env, &mut Vec::new())?;
/// let zipkin = ZipkinExporter::new(settings, ProxySettings::default())?;
/// let pipeline = Pipeline::builder().exporter("zipkin", move || zipkin.build()).build();
/// # drop(pipeline);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ZipkinExporter {
    settings: ZipkinSettings,
    http: HttpOptions,
    delivery: DeliveryOptions,
    spool: Option<SpoolSettings>,
}

impl ZipkinExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(settings: ZipkinSettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        let mut http = HttpOptions::new(settings.endpoint.clone());
        http.server = "Zipkin";
        http.headers.clone_from(&settings.headers);
        http.certificate.clone_from(&settings.certificate);
        http.client_identity.clone_from(&settings.client_identity);
        http.proxies = proxies;
        http.build()?;
        let mut delivery = DeliveryOptions::default();
        delivery.compression = settings.compression;
        delivery.timeout = settings.timeout;
        Ok(Self {
            settings,
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

    /// Where it sends, for messages: without user, password and query.
    pub fn target(&self) -> String {
        self.settings.endpoint.to_string()
    }

    /// The exporter. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let mapping = self.settings.mapping.clone();
        match self.settings.format {
            ZipkinFormat::JsonV2 => self.encoded(ZipkinJsonEncoder::with_mapping(mapping)),
            ZipkinFormat::JsonV1 => self.encoded(ZipkinJsonV1Encoder::with_mapping(mapping)),
            ZipkinFormat::Protobuf => self.encoded(ZipkinProtoEncoder::with_mapping(mapping)),
        }
    }

    fn encoded<E: Encoder<TreeBatch> + 'static>(
        &self,
        encoder: E,
    ) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let transport = self.http.build()?;
        let exporter = EncodedExporter::new(encoder, transport, self.delivery.clone());
        Ok(Box::new(match &self.spool {
            Some(spool) => exporter.with_spool(open(spool)?),
            None => exporter,
        }))
    }
}

fn open(settings: &SpoolSettings) -> Result<Spool, ConfigError> {
    Spool::open(&settings.dir, "zipkin", SpoolLimits::from(settings)).map_err(|error| {
        let fix = "name a folder that you may write to, or unset it";
        ConfigError::new("HIQ_SPOOL_DIR", error.to_string(), fix)
    })
}
