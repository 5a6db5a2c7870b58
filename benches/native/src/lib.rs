//! The benchmark programs, and what they share: the spans, the same spans in each library's own form, the measuring loop.

pub mod check;
pub mod clock;
pub mod compress;
pub mod deliver;
pub mod encode;
pub mod floor;
pub mod grpc;
pub mod hiq;
pub mod import;
pub mod jaeger;
pub mod kafka;
pub mod metrics;
pub mod otel;
pub mod record;
pub mod sink;
pub mod spans;
pub mod worker;
pub mod zipkin;
