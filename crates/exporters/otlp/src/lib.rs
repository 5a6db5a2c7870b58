//! OTLP encoders, decoder and exporters.

mod cache;
mod decode;
mod encode_json;
mod encode_proto;
mod exporter;
mod file;
mod flags;
mod json;
mod judge;
mod read;
mod site;
mod value;

pub use decode::OtlpDecoder;
pub use encode_json::OtlpJsonEncoder;
pub use encode_proto::OtlpProtoEncoder;
pub use exporter::{OtlpFileExporter, OtlpHttpExporter};
pub use file::FileTransport;

/// The README's Rust example is compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../../../README.md")]
pub struct Readme;
