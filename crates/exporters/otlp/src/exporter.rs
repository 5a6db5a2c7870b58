//! OTLP exporters, from settings to something that a pipeline runs.

use std::path::PathBuf;

use hiq_core::batch::TreeBatch;
use hiq_core::config::{
    ConfigError, OtlpSettings, PipelineSettings, Protocol, ProxySettings, SpoolSettings,
};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::Encoder;
use hiq_core::export::Exporter;
use hiq_core::spool::{Spool, SpoolLimits};
use hiq_http::HttpOptions;

use crate::{FileTransport, OtlpJsonEncoder, OtlpProtoEncoder};

/// Sends spans by OTLP over HTTP.
///
/// ```
/// use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings};
/// use hiq_core::pipeline::Pipeline;
/// use hiq_otlp::OtlpHttpExporter;
///
/// let env = Env::from_pairs([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]);
/// let settings = OtlpSettings::for_traces(&OtlpOptions::default(), &env, &mut Vec::new())?;
/// let otlp = OtlpHttpExporter::new(settings, ProxySettings::default())?;
/// let pipeline = Pipeline::builder().exporter("otlp", move || otlp.build()).build();
/// # drop(pipeline);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OtlpHttpExporter {
    settings: OtlpSettings,
    http: HttpOptions,
    delivery: DeliveryOptions,
    spool: Option<SpoolSettings>,
}

impl OtlpHttpExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(settings: OtlpSettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        if settings.protocol == Protocol::Grpc {
            let fix = "set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or http/json, and the port to 4318";
            return Err(ConfigError::new(
                "protocol",
                "grpc is not in this build",
                fix,
            ));
        }
        let http = HttpOptions::for_otlp(&settings, &proxies);
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
        match self.settings.protocol {
            Protocol::HttpJson => self.encoded(OtlpJsonEncoder::new()),
            _ => self.encoded(OtlpProtoEncoder::new()),
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
