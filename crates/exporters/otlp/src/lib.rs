//! OTLP encoders, decoder and exporters.

mod cache;
mod encode_proto;
mod flags;
mod json;
mod judge;
mod read;
mod value;

pub use encode_proto::OtlpProtoEncoder;
