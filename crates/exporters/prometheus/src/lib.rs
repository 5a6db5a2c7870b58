//! Prometheus: metrics pushed by remote write, versions 1.0 and 2.0.
//!
//! ```
//! use hiq_core::config::{Env, ProxySettings};
//! use hiq_prometheus::{RemoteWriteExporter, RemoteWriteOptions, RemoteWriteSettings};
//!
//! let mut options = RemoteWriteOptions::default();
//! options.endpoint = Some("http://localhost:9090".to_owned());
//! let settings = RemoteWriteSettings::new(&options, &Env::default(), &mut Vec::new())?;
//! let write = RemoteWriteExporter::new(settings, ProxySettings::default())?;
//! assert_eq!(write.target(), "http://localhost:9090/api/v1/write");
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! MetricBatch ─► RemoteWriteEncoder (2.0, or 1.0 from the server's first 415 on) ─► snappy ─► HttpTransport
//!                      └─ judge ◄────────────────────────────────────────────────── reply
//! ```
//!
//! | ours | Prometheus | rule |
//! |---|---|---|
//! | name, unit | `<name>_<unit>`, unit in words | any character that is neither letter, digit, `_` nor `:` becomes `_`, unless the alphabet is UTF-8 |
//! | counter | `_total` | start as `start_timestamp` (2.0) |
//! | gauge, up-down counter | as it is | |
//! | histogram | `_bucket{le=…}`, `_sum`, `_count` | an exemplar stands with its bucket |
//! | exponential histogram | native histogram | finer than schema 8: buckets are joined; wider than schema -4: left out as invalid |
//! | summary | `{quantile=…}`, `_sum`, `_count`; a native histogram where its sketch comes with it | |
//! | labels | labels, sorted, empty ones left out | `job` and `instance` of a point become `exported_job`, `exported_instance` |
//! | `service.namespace`/`service.name`, `service.instance.id` | `job`, `instance` | |
//! | other attributes of the resource | labels of `target_info` | once a snapshot |
//! | description | help | |
//! | exemplar | labels `trace_id`, `span_id` and its own | 128 characters at most |
//! | time | milliseconds | |
//!
//! Sources: Prometheus remote write 1.0 and 2.0-rc.4; OpenTelemetry specification, `compatibility/prometheus_and_openmetrics.md`.

mod config;
mod encode_write;
mod judge;
pub mod names;
mod native;
mod remote_write;
mod series;

pub use config::{RemoteWriteOptions, RemoteWriteSettings, VARIABLES, WriteVersion};
pub use encode_write::RemoteWriteEncoder;
pub use remote_write::RemoteWriteExporter;
