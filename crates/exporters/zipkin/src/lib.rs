//! Zipkin: spans in JSON of versions 2 and 1 and in protobuf, sent over HTTP, and read back.
//!
//! ```
//! use hiq_core::config::{Env, ProxySettings};
//! use hiq_core::pipeline::Pipeline;
//! use hiq_zipkin::{ZipkinExporter, ZipkinOptions, ZipkinSettings};
//!
//! let settings = ZipkinSettings::new(&ZipkinOptions::default(), &Env::default(), &mut Vec::new())?;
//! let zipkin = ZipkinExporter::new(settings, ProxySettings::default())?;
//! assert_eq!(zipkin.target(), "http://localhost:9411/api/v2/spans");
//! let pipeline = Pipeline::builder().exporter("zipkin", move || zipkin.build()).build();
//! # drop(pipeline);
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! TreeBatch ─► ZipkinJsonEncoder | ZipkinJsonV1Encoder | ZipkinProtoEncoder ─► HttpTransport
//!                                └─ judge ◄─────────────────────────────────── reply
//! bytes ─► ZipkinDecoder ─► SpanTree
//! ```
//!
//! | ours | v2 JSON and protobuf | v1 JSON | rule |
//! |---|---|---|---|
//! | trace id, span id, parent | lower-case hex (bytes) | the same | a span with an id of zeros is left out: servers refuse the whole request |
//! | name | `name` | the same | servers write it in lower case |
//! | start, duration | `timestamp`, `duration` | the same | microseconds, cut; a duration is at least 1; a start of 0 is absent |
//! | kind | `kind` | marks `cs` `cr`, `sr` `ss`, `ms`, `mr` | *internal* as tag `span.kind`, *unspecified* as nothing |
//! | service name; `network.local.address` and `.port`, or the settings | `localEndpoint` | `endpoint` of marks and tags | |
//! | who a client or producer talks to | `remoteEndpoint` | `sa`, `ma`, where asked for | the strongest of `peer.service`, `server.address`, `net.peer.name`, `network.peer.address`, ... `db.name` |
//! | attributes of the resource, scope, site and span | `tags` | `binaryAnnotations` | of a key that several have, the span's, else the site's, scope's, resource's value |
//! | scope | tags `otel.scope.name`, `otel.scope.version` | the same | |
//! | status | tags `otel.status_code`, `error`, `otel.status_description` | the same | `error` with an error only; an attribute `error` that is false is left out |
//! | events | `annotations` | the same | `"name": {attributes}`, or as a Collector has it; `\|` in a name becomes `¦` |
//! | links | tags `otlp.link.0` ... | the same | `trace\|span\|state\|{attributes}\|dropped` |
//! | trace state, dropped counts | tags `w3c.tracestate`, `otel.dropped_..._count` | the same | absent when empty or zero |
//! | integer, double, truth value | text | text | `NaN`, `Infinity`, `-Infinity` |
//! | bytes | base64 | base64 | |
//! | list, map | JSON | JSON | beyond 64 levels `(nested deeper than 64 levels)` |
//! | attributes `zipkin.shared`, `zipkin.debug` that are true | `shared`, `debug` | no times; `debug` | as the decoders make them |
//! | trace flags, schema URLs, a resource's and a scope's dropped counts | | | lost |
//!
//! The formats' own words are in [Zipkin's API](https://zipkin.io/zipkin-api/) and in OpenTelemetry's
//! [mapping](https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/).

mod config;
mod constants;
mod decode;
mod encode_json;
mod encode_json_v1;
mod encode_proto;
mod endpoint;
mod exporter;
mod form;
mod json;
mod judge;
mod keys;
mod mapping;
mod tags;
mod value;

pub use config::{VARIABLES, ZipkinFormat, ZipkinOptions, ZipkinSettings};
pub use decode::ZipkinDecoder;
pub use encode_json::ZipkinJsonEncoder;
pub use encode_json_v1::ZipkinJsonV1Encoder;
pub use encode_proto::ZipkinProtoEncoder;
pub use exporter::ZipkinExporter;
pub use mapping::{AnnotationForm, ZipkinMapping};
