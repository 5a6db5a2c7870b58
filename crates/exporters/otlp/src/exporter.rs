//! OTLP exporters, from settings to something that a pipeline runs.

use std::path::PathBuf;

use hiq_core::batch::TreeBatch;
use hiq_core::config::{
    ConfigError, OtlpSettings, PipelineSettings, Protocol, ProxySettings, SpoolSettings,
};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::{Encodable, Encoder};
use hiq_core::export::Exporter;
use hiq_core::metric::MetricBatch;
use hiq_core::spool::{Spool, SpoolLimits};
use hiq_core::transport::Transport;
#[cfg(feature = "grpc")]
use hiq_grpc::GrpcOptions;
use hiq_http::HttpOptions;

use crate::signal::{METRICS, Signal, TRACES};
use crate::{
    FileTransport, OtlpJsonEncoder, OtlpMetricsJsonEncoder, OtlpMetricsProtoEncoder,
    OtlpProtoEncoder,
};

/// Sends spans by OTLP, over the protocol that its settings name.
///
/// ```
/// use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings};
/// use hiq_core::pipeline::Pipeline;
/// use hiq_otlp::OtlpExporter;
///
/// let env = Env::from_pairs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]);
/// let settings = OtlpSettings::for_traces(&OtlpOptions::default(), &env, &mut Vec::new())?;
/// let otlp = OtlpExporter::new(settings, ProxySettings::default())?;
/// let pipeline = Pipeline::builder().exporter("otlp", move || otlp.build()).build();
/// # drop(pipeline);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OtlpExporter {
    sender: Sender,
    spool: Option<SpoolSettings>,
}

impl OtlpExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(settings: OtlpSettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        Ok(Self {
            sender: Sender::new(&settings, &proxies, &TRACES)?,
            spool: None,
        })
    }

    /// Follows the pipeline's settings: how long spans are kept, and the spool, where there is one.
    #[must_use]
    pub fn with_pipeline_settings(mut self, settings: &PipelineSettings) -> Self {
        self.sender.delivery.max_age = settings.max_age;
        self.spool.clone_from(&settings.spool);
        self
    }

    /// How payloads are delivered; retries, limits, and where a payload ends.
    pub fn delivery_mut(&mut self) -> &mut DeliveryOptions {
        &mut self.sender.delivery
    }

    /// Where it sends, for messages: without user, password and query.
    pub fn target(&self) -> &str {
        &self.sender.target
    }

    /// The exporter. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        match &self.sender.wire {
            Wire::Protobuf(http) => self.encoded(OtlpProtoEncoder::new(), http.build()?),
            Wire::Json(http) => self.encoded(OtlpJsonEncoder::new(), http.build()?),
            #[cfg(feature = "grpc")]
            Wire::Grpc(grpc) => self.encoded(OtlpProtoEncoder::new(), grpc.build()?),
        }
    }

    fn encoded(
        &self,
        encoder: impl Encoder<TreeBatch> + 'static,
        transport: impl Transport + 'static,
    ) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let exporter = self.sender.exporter(encoder, transport);
        Ok(Box::new(match &self.spool {
            Some(spool) => exporter.with_spool(open(spool)?),
            None => exporter,
        }))
    }
}

/// Sends metrics by OTLP, over the protocol that its settings name. All points are cumulative, so what was not
/// delivered is not missed: the next snapshot holds it. For the same reason nothing is spooled.
///
/// ```
/// use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings};
/// use hiq_otlp::OtlpMetricsExporter;
///
/// let env = Env::from_pairs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]);
/// let settings = OtlpSettings::for_metrics(&OtlpOptions::default(), &env, &mut Vec::new())?;
/// let otlp = OtlpMetricsExporter::new(settings, ProxySettings::default())?;
/// assert_eq!(otlp.target(), "http://localhost:4318/v1/metrics");
/// let exporter = otlp.build()?; // opens nothing, starts nothing
/// # drop(exporter);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OtlpMetricsExporter {
    sender: Sender,
}

impl OtlpMetricsExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(settings: OtlpSettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        Ok(Self {
            sender: Sender::new(&settings, &proxies, &METRICS)?,
        })
    }

    /// How payloads are delivered; retries, limits, and where a payload ends.
    pub fn delivery_mut(&mut self) -> &mut DeliveryOptions {
        &mut self.sender.delivery
    }

    /// Where it sends, for messages: without user, password and query.
    pub fn target(&self) -> &str {
        &self.sender.target
    }

    /// The exporter. A reader calls this on its thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
        let sender = &self.sender;
        Ok(match &sender.wire {
            Wire::Protobuf(http) => {
                Box::new(sender.exporter(OtlpMetricsProtoEncoder::new(), http.build()?))
            }
            Wire::Json(http) => {
                Box::new(sender.exporter(OtlpMetricsJsonEncoder::new(), http.build()?))
            }
            #[cfg(feature = "grpc")]
            Wire::Grpc(grpc) => {
                Box::new(sender.exporter(OtlpMetricsProtoEncoder::new(), grpc.build()?))
            }
        })
    }
}

/// What exporters of all signals have in common.
#[derive(Clone, Debug)]
struct Sender {
    target: String,
    wire: Wire,
    delivery: DeliveryOptions,
}

impl Sender {
    fn new(
        settings: &OtlpSettings,
        proxies: &ProxySettings,
        signal: &Signal,
    ) -> Result<Self, ConfigError> {
        let wire = Wire::new(settings, proxies, signal)?;
        wire.check()?;
        let mut delivery = DeliveryOptions::default();
        delivery.compression = settings.compression;
        delivery.timeout = settings.timeout;
        let target = settings.endpoint.to_string();
        Ok(Self {
            target: target.trim_end_matches('/').to_owned(),
            wire,
            delivery,
        })
    }

    fn exporter<B: Encodable, E: Encoder<B>, T: Transport>(
        &self,
        encoder: E,
        transport: T,
    ) -> EncodedExporter<B, E, T> {
        EncodedExporter::new(encoder, transport, self.delivery.clone())
    }
}

/// How payloads travel.
#[derive(Clone, Debug)]
enum Wire {
    Protobuf(HttpOptions),
    Json(HttpOptions),
    #[cfg(feature = "grpc")]
    Grpc(GrpcOptions),
}

impl Wire {
    fn new(
        settings: &OtlpSettings,
        proxies: &ProxySettings,
        signal: &Signal,
    ) -> Result<Self, ConfigError> {
        #[cfg(not(feature = "grpc"))]
        let _ = signal;
        Ok(match settings.protocol {
            Protocol::HttpProtobuf => Self::Protobuf(HttpOptions::for_otlp(settings, proxies)),
            Protocol::HttpJson => Self::Json(HttpOptions::for_otlp(settings, proxies)),
            #[cfg(feature = "grpc")]
            Protocol::Grpc => Self::Grpc(GrpcOptions::for_otlp(settings, proxies, signal.method)),
            other => {
                let problem = format!("{} is not in this build", other.name());
                let fix =
                    "build hiq-otlp with its feature `grpc`, or use http/protobuf and port 4318";
                return Err(ConfigError::new("protocol", problem, fix));
            }
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Protobuf(http) | Self::Json(http) => http.build().map(drop),
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => grpc.build().map(drop),
        }
    }
}

fn open(settings: &SpoolSettings) -> Result<Spool, ConfigError> {
    Spool::open(&settings.dir, "otlp", SpoolLimits::from(settings)).map_err(|error| {
        let fix = "name a folder that you may write to, or unset it";
        ConfigError::new("HIQ_SPOOL_DIR", error.to_string(), fix)
    })
}

/// Appends spans to a file as OTLP JSON, a request a line: the Collector's file format.
#[derive(Clone, Debug)]
pub struct OtlpFileExporter {
    path: PathBuf,
}

impl OtlpFileExporter {
    /// Checks that the file can be appended to; it is made if need be.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        FileTransport::open(&path)?;
        Ok(Self { path })
    }

    /// The exporter. A pipeline calls this on the worker's thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
        let transport = FileTransport::open(&self.path)?;
        Ok(Box::new(EncodedExporter::new(
            OtlpJsonEncoder::new(),
            transport,
            DeliveryOptions::default(),
        )))
    }
}
