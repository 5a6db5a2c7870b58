//! One gRPC call per payload: proxies, TLS, deadline. Hands back the raw status and never tries again.
//!
//! ```
//! use hiq_core::config::Endpoint;
//! use hiq_grpc::GrpcOptions;
//!
//! let endpoint = Endpoint::parse("endpoint", "http://localhost:4317")?;
//! let options = GrpcOptions::new(endpoint, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
//! let transport = options.build()?; // opens nothing, starts nothing
//! # Ok::<(), hiq_core::config::ConfigError>(())
//! ```
//!
//! ```text
//! submit ─► one framed message ─► wire (private runtime, one kept connection) ─► Reply::Grpc
//!                                  └─ deadline over, or pulled forward: the call is cancelled, the connection closed
//! ```
//!
//! | far side | outcome |
//! |---|---|
//! | any gRPC status | [`GrpcReply`](hiq_core::transport::GrpcReply), not interpreted; `RetryInfo` becomes its delay |
//! | HTTP/2 without gRPC, status not 200 | the gRPC status that the protocol assigns to it |
//! | name unknown, nobody listens, proxy refuses; call refused before it was taken | `Dns`, `Connect` |
//! | certificate, version, plain text on a TLS port | `Tls` |
//! | no whole answer by the deadline | `Timeout`; `Connect` while no call was made; `Cancelled` at exit |
//! | connection or call broke, answer cut short | `Reset` |
//! | HTTP/1, or TLS on a plain port; a web page | `Protocol` |
//! | a message of more than 4 MiB | `ReplyTooLarge` |
//!
//! A new connection carries no call before the far side has proven to speak HTTP/2. An attempt that failed closes its
//! connection, so that the next one starts from nothing. Nothing is shared between transports or processes; in a forked
//! child a transport starts over.
//!
//! Payloads that are gzip already travel as gRPC's own compression does: flag and `grpc-encoding`. Answers come through
//! tonic's codec; requests are framed here, because tonic would compress anew for each attempt.

mod config;
mod connect;
mod details;
mod error;
mod greeting;
mod reply;
mod transport;
mod wire;

pub use config::GrpcOptions;
pub use reply::MAX_REPLY_BYTES;
pub use transport::GrpcTransport;
