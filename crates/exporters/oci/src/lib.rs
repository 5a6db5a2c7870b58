//! Oracle Cloud: spans to APM, payloads of any format to Streaming, metrics to Monitoring, and the signatures that the latter
//! two ask for.
//!
//! ```
//! use hiq_core::config::{Env, ProxySettings};
//! use hiq_oci::{ApmExporter, ApmOptions, ApmSettings};
//!
//! let env = Env::from_pairs([
//!     ("APM_BASE_URL", "https://aaaa.apm-agt.eu-frankfurt-1.oci.oraclecloud.com"),
//!     ("APM_PUB_KEY", "PUBLICKEY"),
//! ]);
//! let settings = ApmSettings::new(&ApmOptions::default(), &env, &mut Vec::new())?;
//! let apm = ApmExporter::new(settings, ProxySettings::default())?;
//! assert!(apm.target().ends_with("/20200101/observations/public-span?***"));
//! // apm.build(Box::new(hiq_zipkin::ZipkinJsonEncoder::new())) is what a pipeline runs.
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! TreeBatch ─► an encoder that is handed over ─► ApmExporter     ─► HttpTransport, data key
//!     or                                        StreamExporter  ─► StreamTransport ─► HttpTransport ◄─ OciAuthorizer
//! MetricBatch ─► MonitoringEncoder ───────────► MonitoringExporter ───────────────► HttpTransport ◄─ OciAuthorizer
//!                                     judge ◄── reply
//! ```
//!
//! | service | address | authorization |
//! |---|---|---|
//! | APM, Zipkin | `<APM_BASE_URL>/20200101/observations/public-span` or `private-span` | `dataKey` in the query |
//! | APM, OTLP | `<APM_BASE_URL>/20200101/opentelemetry/public/v1/traces` or `private` | header `Authorization: dataKey ...` |
//! | Streaming | `<OCI_STM_END>/20180418/streams/<OCI_STM_OCID>/messages` | signature without the body |
//! | Monitoring | `https://telemetry-ingestion.<region>.oraclecloud.com/20180401/metrics` | signature with the body |
//!
//! How metrics become Monitoring's is told at [`MonitoringEncoder`]. Signatures are of version 1: RSA with SHA-256, by a user's
//! key or session token from `~/.oci/config`, by an instance's certificates, or by a resource's token of version 2.2. Keys
//! may be PKCS#8 or PKCS#1, protected with a passphrase by PBES2 (AES, 3DES; PBKDF2, scrypt) or in OpenSSL's traditional way
//! (AES, 3DES). Not supported: PBES1, keys in hardware, delegation tokens, resource principals of other versions.
//!
//! | reply | what follows |
//! |---|---|
//! | 429, 500 to 599 | again |
//! | 401 | signed once more where the key or token is a new one; a clock that is wrong is told of |
//! | 400 | APM, Monitoring: halved until the bad item is found |
//! | 200 of Streaming, in which a message failed | that message again |
//! | 200 of Monitoring, in which series failed | they count as rejected |
//! | other | rejected |
//!
//! Oracle's own words: [request signatures](https://docs.oracle.com/en-us/iaas/Content/API/Concepts/signingrequests.htm), the
//! references of [Streaming](https://docs.oracle.com/en-us/iaas/api/#/en/streaming/20180418/) and
//! [Monitoring](https://docs.oracle.com/en-us/iaas/api/#/en/monitoring/20180401/).

mod config;
mod encode_metrics;
mod exporter;
mod federation;
mod identity;
mod judge;
mod key;
mod profile;
mod sign;
mod transport;

pub use config::{
    APM_VARIABLES, ApmFormat, ApmOptions, ApmSettings, MONITORING_VARIABLES, MonitoringOptions,
    MonitoringSettings, OciAuth, OciOptions, OciSettings, STREAM_VARIABLES, StreamKey,
    StreamOptions, StreamSettings, VARIABLES,
};
pub use encode_metrics::MonitoringEncoder;
pub use exporter::{ApmExporter, MonitoringExporter, StreamExporter};
pub use judge::Entry;
pub use sign::{OciAuthorizer, Signed};
pub use transport::{Message, PutReply, StreamTransport};
