//! The Kafka exporter, from settings to something that a pipeline runs.

use hiq_core::config::{ConfigError, PipelineSettings, SpoolSettings};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::{Encodable, Encoder};
use hiq_core::export::Exporter;
use hiq_core::spool::{Spool, SpoolLimits};

use crate::config::KafkaSettings;
use crate::transport::KafkaTransport;

/// Writes what an encoder makes to a topic. Knows no format: the encoder is handed in.
///
/// ```
/// use hiq_core::config::Env;
/// use hiq_core::pipeline::Pipeline;
/// use hiq_core::render::HiqTextEncoder;
/// use hiq_kafka::{KafkaEncoding, KafkaExporter, KafkaOptions, KafkaSettings};
///
/// let mut options = KafkaOptions::default();
/// options.encoding = Some(KafkaEncoding::HiqText);
/// let settings = KafkaSettings::new(&options, &Env::default(), &mut Vec::new())?;
/// let kafka = KafkaExporter::new(settings)?;
/// assert_eq!(kafka.target(), "kafka://localhost:9092/hiq-trees");
/// let pipeline = Pipeline::builder().exporter("kafka", move || kafka.build(HiqTextEncoder::new())).build();
/// # drop(pipeline);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KafkaExporter {
    settings: KafkaSettings,
    delivery: DeliveryOptions,
    spool: Option<SpoolSettings>,
}

impl KafkaExporter {
    /// Checks the settings, certificate files and librdkafka's own included. Opens no socket and starts no thread.
    pub fn new(settings: KafkaSettings) -> Result<Self, ConfigError> {
        KafkaTransport::new(settings.clone(), "")?;
        let mut delivery = DeliveryOptions::default();
        delivery.timeout = settings.timeout;
        delivery.max_payload_bytes = usize::MAX;
        delivery.cut = settings.key.cut();
        Ok(Self {
            settings,
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

    /// How payloads are delivered; retries, limits, and where a payload ends. Compression is the producer's, see
    /// [`KafkaSettings::compression`](crate::KafkaSettings::compression).
    pub fn delivery_mut(&mut self) -> &mut DeliveryOptions {
        &mut self.delivery
    }

    /// Where it writes, for messages: `kafka://host:port/topic`.
    pub fn target(&self) -> String {
        self.settings.target()
    }

    /// The exporter. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build<B: Encodable, E: Encoder<B> + 'static>(
        &self,
        encoder: E,
    ) -> Result<Box<dyn Exporter<B>>, ConfigError> {
        let transport = KafkaTransport::new(self.settings.clone(), encoder.encoding().name)?;
        let exporter = EncodedExporter::new(encoder, transport, self.delivery.clone());
        Ok(Box::new(match &self.spool {
            Some(spool) => exporter.with_spool(open(spool)?),
            None => exporter,
        }))
    }
}

fn open(settings: &SpoolSettings) -> Result<Spool, ConfigError> {
    Spool::open(&settings.dir, "kafka", SpoolLimits::from(settings)).map_err(|error| {
        let fix = "name a folder that you may write to, or unset it";
        ConfigError::new("HIQ_SPOOL_DIR", error.to_string(), fix)
    })
}
