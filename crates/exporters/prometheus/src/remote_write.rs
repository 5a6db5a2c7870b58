//! The exporter of remote write, from settings to something that a reader runs.

use hiq_core::config::{ConfigError, ProxySettings, Secret};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::export::Exporter;
use hiq_core::metric::MetricBatch;
use hiq_core::transport::TransportError;
use hiq_http::{Authorizer, Draft, HttpOptions};

use crate::encode_write::{RemoteWriteEncoder, TYPE_V2};
use crate::{RemoteWriteSettings, judge};

/// Bytes of a request before compression: half of what Prometheus reads.
const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// Sends metrics to a server that takes Prometheus' remote write. All points are cumulative, so what was not delivered is
/// not missed: the next snapshot holds it. For the same reason nothing is spooled.
///
/// ```
/// use hiq_core::config::{Env, ProxySettings};
/// use hiq_prometheus::{RemoteWriteExporter, RemoteWriteOptions, RemoteWriteSettings};
///
/// let env = Env::from_pairs([("HIQ_REMOTE_WRITE_ENDPOINT", "http://prometheus:9090")]);
/// let settings = RemoteWriteSettings::new(&RemoteWriteOptions::default(), &env, &mut Vec::new())?;
/// let write = RemoteWriteExporter::new(settings, ProxySettings::default())?;
/// assert_eq!(write.target(), "http://prometheus:9090/api/v1/write");
/// let exporter = write.build()?; // opens nothing, starts nothing
/// # drop(exporter);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RemoteWriteExporter {
    settings: RemoteWriteSettings,
    http: HttpOptions,
    delivery: DeliveryOptions,
}

impl RemoteWriteExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(settings: RemoteWriteSettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        let mut http = HttpOptions::new(settings.endpoint.clone());
        http.server = "a receiver of remote write";
        http.headers.clone_from(&settings.headers);
        http.certificate.clone_from(&settings.certificate);
        http.client_identity.clone_from(&settings.client_identity);
        http.proxies = proxies;
        http.max_payload_bytes = MAX_PAYLOAD_BYTES;
        http.kept_headers = &judge::WRITTEN;
        http.build()?;
        let mut delivery = DeliveryOptions::default();
        delivery.timeout = settings.timeout;
        Ok(Self {
            settings,
            http,
            delivery,
        })
    }

    /// How payloads are delivered: retries and limits. They are compressed by the protocol's own rule.
    pub fn delivery_mut(&mut self) -> &mut DeliveryOptions {
        &mut self.delivery
    }

    /// Where it sends, for messages: without user, password and query.
    pub fn target(&self) -> String {
        self.settings.endpoint.to_string()
    }

    /// The exporter. A reader calls this on its thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
        let encoder = RemoteWriteEncoder::new(self.settings.version, self.settings.alphabet);
        let transport = self
            .http
            .build()?
            .with_authorizer(Box::new(ProtocolHeaders));
        let exporter = EncodedExporter::new(encoder, transport, self.delivery.clone());
        Ok(Box::new(exporter))
    }
}

/// The headers that the protocol asks for, which depend on the payload's version.
#[derive(Debug)]
struct ProtocolHeaders;

impl Authorizer for ProtocolHeaders {
    fn headers(&mut self, draft: &Draft<'_>) -> Result<Vec<(String, Secret)>, TransportError> {
        let version = match draft.content_type {
            TYPE_V2 => "2.0.0",
            _ => "0.1.0",
        };
        Ok([
            ("content-encoding", "snappy"),
            ("x-prometheus-remote-write-version", version),
        ]
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .to_vec())
    }
}
