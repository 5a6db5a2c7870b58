//! Prometheus: metrics scraped from an endpoint, pushed by remote write, or left with a Pushgateway.
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
//! Scraped, they are text 0.0.4, OpenMetrics 1.0 or protobuf with native histograms, whatever the scraper wants most:
//!
//! ```
//! use hiq_core::config::Env;
//! use hiq_core::metric::record::Registry;
//! use hiq_prometheus::{ScrapeOptions, ScrapeServer, ScrapeSettings};
//!
//! let registry = Registry::new();
//! registry.summary("shop.latency")?.plain().observe(0.25);
//! let mut options = ScrapeOptions::default();
//! options.port = Some(0); // any; 9464 unless said otherwise
//! let settings = ScrapeSettings::new(&options, &Env::default(), &mut Vec::new());
//! let server = ScrapeServer::start(&registry, &settings)?;
//! assert_ne!(server.address().port(), 0);
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! Registry ─ collect() ─► Scrape ─ Form::negotiate ─► expose ─► ScrapeServer
//! MetricBatch ─► RemoteWriteEncoder (2.0, or 1.0 from the server's first 415 on) ─► snappy ─► HttpTransport
//!                      └─ judge ◄────────────────────────────────────────────────── reply
//! MetricBatch ─► expose ─► HttpTransport ─► Pushgateway: PUT or POST of a group, DELETE by hand
//! ```
//!
//! | ours | Prometheus | rule |
//! |---|---|---|
//! | name, unit | `<name>_<unit>`, unit in words | any character that is neither letter, digit, `_` nor `:` becomes `_`, unless the alphabet is UTF-8 |
//! | counter | `_total` | start as `start_timestamp` (2.0) |
//! | gauge, up-down counter | as it is | |
//! | histogram | `_bucket{le=…}`, `_sum`, `_count` | an exemplar stands with its bucket |
//! | exponential histogram | native histogram; in the text forms, and for a server that says it takes none, a bucket for each power of two | finer than schema 8: buckets are joined; wider than schema -4: left out as invalid |
//! | summary | `{quantile=…}`, `_sum`, `_count`; a native histogram where its sketch comes with it and the form has such | |
//! | two metrics of one name, or of one that the other adds | the first; of one kind, both, but for series that both have | `a.b` and `a_b`, `x` and `x_sum`; a counter beside its name without `_total` is of unknown type in OpenMetrics |
//! | labels | labels, sorted, empty ones left out | a point's own that somebody else sets become `exported_…`: `le` and `quantile` in histograms and summaries; by remote write `job` and `instance`, to a Pushgateway the group's |
//! | `service.namespace`/`service.name`, `service.instance.id` | `job`, `instance` | when pushed; a scraper knows its own |
//! | (other) attributes of the resource | labels of `target_info` | once a snapshot |
//! | start | `_created` | OpenMetrics; as a timestamp in protobuf and remote write 2.0 |
//! | description | help | |
//! | exemplar | labels `trace_id`, `span_id` and its own | 128 characters at most |
//! | time | milliseconds | |
//!
//! The feature `registry`, which is off unless turned on, puts metrics of ours into a `prometheus::Registry` that a service
//! already has.
//!
//! Sources: prometheus/docs, `exposition_formats.md`; OpenMetrics 1.0; Prometheus remote write 1.0 and 2.0-rc.4; OpenTelemetry specification, `compatibility/prometheus_and_openmetrics.md`.

mod clash;
#[cfg(feature = "registry")]
mod collector;
mod config;
mod encode_proto;
mod encode_text;
mod encode_write;
mod exposition;
pub mod form;
mod group;
mod inherited;
mod judge;
pub mod names;
mod native;
mod octaves;
mod push_config;
mod pushgateway;
mod remote_write;
mod scrape;
mod scrape_config;
mod series;
mod serve;
mod target;

#[cfg(feature = "registry")]
pub use collector::RegistryCollector;
pub use config::{RemoteWriteOptions, RemoteWriteSettings, VARIABLES, WriteVersion};
pub use encode_write::RemoteWriteEncoder;
pub use exposition::{ClashReport, expose};
pub use group::ScrapeGroup;
pub use push_config::{PUSH_VARIABLES, PushMethod, PushgatewayOptions, PushgatewaySettings};
pub use pushgateway::PushgatewayExporter;
pub use remote_write::RemoteWriteExporter;
pub use scrape::{Page, Scrape};
pub use scrape_config::{SCRAPE_VARIABLES, ScrapeOptions, ScrapeSettings};
pub use serve::ScrapeServer;
