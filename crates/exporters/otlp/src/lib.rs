//! OTLP: spans and metrics in protobuf and JSON, sent over HTTP and gRPC; both read back, spans
//! also kept in a file.
//!
//! ```
//! use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings};
//! use hiq_core::pipeline::Pipeline;
//! use hiq_otlp::OtlpExporter;
//!
//! let (env, mut warnings) = (Env::from_pairs([("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]), Vec::new());
//! let settings = OtlpSettings::for_traces(&OtlpOptions::default(), &env, &mut warnings)?;
//! let otlp = OtlpExporter::new(settings, ProxySettings::from_env(&env, &mut warnings))?;
//! assert_eq!(otlp.target(), "http://localhost:4318/v1/traces");
//! let pipeline = Pipeline::builder().exporter("otlp", move || otlp.build()).build();
//! # drop(pipeline);
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! TreeBatch ─► OtlpProtoEncoder | OtlpJsonEncoder ─► HttpTransport | GrpcTransport | FileTransport
//!                                └─ judge ◄────────── reply
//! bytes ─► OtlpDecoder ─► SpanTree
//! MetricBatch ─► OtlpMetricsProtoEncoder | OtlpMetricsJsonEncoder ─► HttpTransport | GrpcTransport
//! bytes ─► OtlpMetricsDecoder ─► MetricBatch, LeftOutPoints
//! ```
//!
//! | ours | protobuf (JSON) | rule |
//! |---|---|---|
//! | resource, scope | one `ResourceSpans`, `ScopeSpans` for spans next to each other that share it | written once, then copied |
//! | trace id, span id | bytes (lower-case hex) | parent absent for the root of a trace |
//! | start, end, event times | `fixed64` (text) | Unix nanoseconds |
//! | kind, status | number | *unspecified* and *unset* absent; a message only with an error |
//! | trace flags | low byte of `flags` | 0x100 always, 0x200 when the parent is in another process |
//! | attributes of the site, then of the span | `KeyValue` | of a key that both have, the span's value |
//! | extra metrics | double attributes | `hiq.<name>.start` and `.end` of a level, `hiq.<name>` for the growth of a counter |
//! | integer, double | varint (text), double (number; `"NaN"`, `"Infinity"`, `"-Infinity"`) | |
//! | bytes | bytes (base64) | |
//! | list, map | `ArrayValue`, `KeyValueList` | beyond 64 levels `(nested deeper than 64 levels)` |
//! | no value | empty `AnyValue` (`value` absent) | strict JSON readers refuse `{}` |
//! | dropped counts, schema URLs, trace state | fields of these names | absent when zero or empty |
//!
//! | metrics | protobuf (JSON) | rule |
//! |---|---|---|
//! | counter, up-down counter, gauge | `Sum` (monotonic or not), `Gauge` | cumulative; a gauge has no start |
//! | histograms | `Histogram`, `ExponentialHistogram` | cumulative |
//! | summary | `ExponentialHistogram` where its sketch comes with it, else `Summary` | one of the two for a whole family |
//! | labels, exemplars | attributes, exemplars with trace and span id | labels are texts, and read back as such |
//! | what no snapshot holds | deltas, series that ended, buckets that cannot be | left out when read, and counted: [`LeftOutPoints`] |
//!
//! gRPC comes with the feature `grpc`, which is on unless turned off.
//!
//! The wire's own words are in the [OTLP specification](https://opentelemetry.io/docs/specs/otlp/), versions 1.x.

mod decode;
mod encode_json;
mod encode_metrics_json;
mod encode_metrics_proto;
mod encode_proto;
mod exporter;
mod file;
mod flags;
mod json;
mod judge;
mod look;
mod metric_form;
mod signal;

pub use decode::{LeftOutPoints, OtlpDecoder, OtlpMetricsDecoder};
pub use encode_json::OtlpJsonEncoder;
pub use encode_metrics_json::OtlpMetricsJsonEncoder;
pub use encode_metrics_proto::OtlpMetricsProtoEncoder;
pub use encode_proto::OtlpProtoEncoder;
pub use exporter::{OtlpExporter, OtlpFileExporter, OtlpMetricsExporter};
pub use file::FileTransport;
pub use look::OtlpSignal;

/// The README's Rust example is compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../../../README.md")]
pub struct Readme;
