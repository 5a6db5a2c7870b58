//! Jaeger's own formats: thrift over UDP and HTTP, protobuf over gRPC; for agents and collectors that do not take OTLP.
//!
//! ```
//! use hiq_core::config::{Env, ProxySettings};
//! use hiq_core::pipeline::Pipeline;
//! use hiq_jaeger::{JaegerExporter, JaegerOptions, JaegerSettings};
//!
//! let (env, mut warnings) = (Env::from_pairs([("OTEL_EXPORTER_JAEGER_AGENT_HOST", "agent")]), Vec::new());
//! let settings = JaegerSettings::new(&JaegerOptions::default(), &env, &mut warnings)?;
//! let jaeger = JaegerExporter::new(settings, ProxySettings::from_env(&env, &mut warnings))?;
//! assert_eq!(jaeger.target(), "udp://agent:6831");
//! let pipeline = Pipeline::builder().exporter("jaeger", move || jaeger.build()).build();
//! # drop(pipeline);
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! TreeBatch ─► JaegerCompactEncoder | JaegerBinaryEncoder | JaegerProtoEncoder ─► UdpTransport | HttpTransport | GrpcTransport
//!              └ judge ◄───────────────────────────────────────────────────────── reply, or none
//!              JaegerMessageEncoder ─► a queue, a span a message
//! bytes ─► JaegerDecoder ─► SpanTree
//! ```
//!
//! | ours | thrift (protobuf) | rule |
//! |---|---|---|
//! | resource | `Process` of a batch | one in a payload: spans of another resource are in another payload |
//! | service name | `serviceName`, no tag | `OTLPResourceNoServiceName` without one: receivers turn that back into none |
//! | trace id | `traceIdLow`, `traceIdHigh` (bytes) | big-endian halves as signed numbers |
//! | parent | `parentSpanId` (first reference, `CHILD_OF`) | 0 (absent) for the root of a trace |
//! | links | `references`, `FOLLOWS_FROM` | `CHILD_OF` where an attribute `opentracing.ref_type` says `child_of`; their attributes, flags and trace state are lost |
//! | start, end, event times | microseconds (nanoseconds) | rounded down; a duration is at least one microsecond |
//! | trace flags | `flags` | bit 0 alone: bit 1 is *debug* here |
//! | kind | tag `span.kind` | lower case; none when unspecified |
//! | status | tags `otel.status_code`, `otel.status_description` | an error also `error` = true; none when unset |
//! | events | `logs` | the name is the field `event`, unless an attribute has that key |
//! | trace state | tag `w3c.tracestate` | |
//! | scope | tags `otel.scope.name`, `otel.scope.version`, and its attributes | on each of its spans |
//! | attributes of the site, then of the span | tags | of a key that both have, the span's value |
//! | extra metrics | double tags | `hiq.<name>.start` and `.end` of a level, `hiq.<name>` for the growth of a counter |
//! | texts, numbers, truth values, bytes | their types | |
//! | lists, maps | JSON in a text | beyond 64 levels `(nested deeper than 64 levels)`; bytes in base64, no value `null` |
//! | no value | empty text | |
//! | dropped counts | tags `otel.dropped_attributes_count`, `..._events_count`, `..._links_count` | absent when zero |
//! | schema URLs | | lost |
//!
//! Receivers take a `FOLLOWS_FROM` within a trace for the parent of a span that has none: a root that links to a span of its own trace
//! does not stay a root.
//!
//! What travels by UDP is never confirmed: it counts as `sent_unconfirmed`. A packet holds 65,000 bytes with all that is around the spans
//! (macOS: 9,216); a span that is larger by itself is dropped and counted, and the others go.
//!
//! The numbers are those of [`jaeger.thrift` and `model.proto`](https://github.com/jaegertracing/jaeger-idl); the mapping is
//! OpenTelemetry's, of its [Jaeger exporter](https://github.com/open-telemetry/opentelemetry-specification/blob/v1.31.0/specification/trace/sdk_exporters/jaeger.md)
//! and of formats [other than OTLP](https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/).

mod config;
mod decode;
mod encode_message;
mod encode_proto;
mod encode_thrift;
mod exporter;
mod follows;
mod form;
mod judge;
mod payload;
mod process;
mod tags;
mod udp;

pub use config::{JaegerOptions, JaegerProtocol, JaegerSettings, JaegerTarget, VARIABLES};
pub use decode::JaegerDecoder;
pub use encode_message::JaegerMessageEncoder;
pub use encode_proto::JaegerProtoEncoder;
pub use encode_thrift::{JaegerBinaryEncoder, JaegerCompactEncoder};
pub use exporter::JaegerExporter;
pub use udp::{MAX_PACKET_BYTES, UdpTransport};
