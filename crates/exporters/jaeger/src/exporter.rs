//! Jaeger exporters, from settings to something that a pipeline runs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::batch::TreeBatch;
use hiq_core::config::{
    ConfigError, Endpoint, PipelineSettings, ProxySettings, Secret, SpoolSettings,
};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::Encoder;
use hiq_core::export::Exporter;
use hiq_core::spool::{Spool, SpoolLimits};
use hiq_core::transport::Transport;
use hiq_grpc::GrpcOptions;
use hiq_http::HttpOptions;

use crate::udp::UdpTransport;
use crate::{
    JaegerBinaryEncoder, JaegerCompactEncoder, JaegerProtoEncoder, JaegerProtocol, JaegerSettings,
    JaegerTarget,
};

/// The collector's method.
const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";

/// Sends spans to a Jaeger agent or collector.
///
/// ```
/// use hiq_core::config::{Env, ProxySettings};
/// use hiq_core::pipeline::Pipeline;
/// use hiq_jaeger::{JaegerExporter, JaegerOptions, JaegerSettings};
///
/// let env = Env::from_pairs([("OTEL_EXPORTER_JAEGER_AGENT_HOST", "localhost")]);
/// let settings = JaegerSettings::new(&JaegerOptions::default(), &env, &mut Vec::new())?;
/// let jaeger = JaegerExporter::new(settings, ProxySettings::default())?;
/// let pipeline = Pipeline::builder().exporter("jaeger", move || jaeger.build()).build();
/// # drop(pipeline);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JaegerExporter {
    settings: JaegerSettings,
    proxies: ProxySettings,
    delivery: DeliveryOptions,
    spool: Option<SpoolSettings>,
}

impl JaegerExporter {
    /// Checks the settings. Opens no socket and starts no thread.
    pub fn new(settings: JaegerSettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        let mut delivery = DeliveryOptions::default();
        delivery.timeout = settings.timeout;
        let exporter = Self {
            settings,
            proxies,
            delivery,
            spool: None,
        };
        exporter.check()?;
        Ok(exporter)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let JaegerTarget::Collector(endpoint) = &self.settings.target {
            match self.settings.protocol {
                JaegerProtocol::Grpc => drop(self.grpc(endpoint).build()?),
                _ => drop(self.http(endpoint).build()?),
            }
        }
        Ok(())
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
        self.settings.target.to_string()
    }

    /// The exporter. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let names = self.settings.names.clone();
        match (self.settings.protocol, &self.settings.target) {
            (JaegerProtocol::UdpBinary, JaegerTarget::Agent { host, port }) => {
                let encoder = JaegerBinaryEncoder::calls().with_names(names);
                self.encoded(encoder, self.udp(host, *port))
            }
            (_, JaegerTarget::Agent { host, port }) => {
                let encoder = JaegerCompactEncoder::with_names(names);
                self.encoded(encoder, self.udp(host, *port))
            }
            (JaegerProtocol::Grpc, JaegerTarget::Collector(endpoint)) => {
                let encoder = JaegerProtoEncoder::with_names(names);
                self.encoded(encoder, self.grpc(endpoint).build()?)
            }
            (_, JaegerTarget::Collector(endpoint)) => {
                let encoder = JaegerBinaryEncoder::batches().with_names(names);
                self.encoded(encoder, self.http(endpoint).build()?)
            }
        }
    }

    fn udp(&self, host: &str, port: u16) -> UdpTransport {
        UdpTransport::new(host, port).with_max_packet_bytes(self.settings.max_packet_bytes)
    }

    fn http(&self, endpoint: &Endpoint) -> HttpOptions {
        let mut options = HttpOptions::new(endpoint.clone());
        options.proxies = self.proxies.clone();
        options.headers = self.authorization();
        options
    }

    fn grpc(&self, endpoint: &Endpoint) -> GrpcOptions {
        let mut options = GrpcOptions::new(endpoint.clone(), POST_SPANS);
        options.proxies = self.proxies.clone();
        options.headers = self.authorization();
        options
    }

    /// Of user and password, where there are any.
    fn authorization(&self) -> Vec<(String, Secret)> {
        let credentials = self.settings.credentials.iter();
        let headers = credentials.map(|(user, password)| {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
            let basic = Secret::new(format!("Basic {pair}"));
            ("authorization".to_owned(), basic)
        });
        headers.collect()
    }

    fn encoded<E: Encoder<TreeBatch> + 'static, T: Transport + 'static>(
        &self,
        encoder: E,
        transport: T,
    ) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let exporter = EncodedExporter::new(encoder, transport, self.delivery.clone());
        Ok(Box::new(match &self.spool {
            Some(spool) => exporter.with_spool(open(spool)?),
            None => exporter,
        }))
    }
}

fn open(settings: &SpoolSettings) -> Result<Spool, ConfigError> {
    Spool::open(&settings.dir, "jaeger", SpoolLimits::from(settings)).map_err(|error| {
        let fix = "name a folder that you may write to, or unset it";
        ConfigError::new("HIQ_SPOOL_DIR", error.to_string(), fix)
    })
}
