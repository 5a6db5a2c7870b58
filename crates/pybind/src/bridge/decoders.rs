//! A decoder for each encoding that messages have.

use std::sync::Arc;

use hiq_core::decode::Decoder as _;
use hiq_core::render::HiqTextDecoder;
use hiq_core::tree::SpanTree;
use hiq_jaeger::JaegerDecoder;
use hiq_kafka::{KafkaEncoding, KafkaMessage, KafkaSignal};
use hiq_otlp::{OtlpDecoder, OtlpSignal};
use hiq_zipkin::ZipkinDecoder;

use crate::convert::sniffed;

/// All of them, and which is meant where a message does not say.
pub(super) struct Decoders {
    fallback: Option<KafkaEncoding>,
    otlp_proto: OtlpDecoder,
    otlp_json: OtlpDecoder,
    jaeger: JaegerDecoder,
    zipkin_json: ZipkinDecoder,
    zipkin_proto: ZipkinDecoder,
    text: HiqTextDecoder,
}

impl Decoders {
    pub(super) fn new(fallback: Option<KafkaEncoding>) -> Self {
        Self {
            fallback,
            otlp_proto: OtlpDecoder::proto(),
            otlp_json: OtlpDecoder::json(),
            jaeger: JaegerDecoder::message(),
            zipkin_json: ZipkinDecoder::json(),
            zipkin_proto: ZipkinDecoder::proto(),
            text: HiqTextDecoder::new(),
        }
    }

    /// Decodes a message. The error says what it should have been.
    pub(super) fn decode(
        &mut self,
        message: &KafkaMessage<'_>,
        sink: &mut dyn FnMut(Arc<SpanTree>),
    ) -> Result<(), String> {
        let named = message.encoding.and_then(|name| name.parse().ok());
        let encoding = named.or(self.fallback).or_else(|| guessed(message.value));
        let Some(encoding) = encoding else {
            return Err("it is in none of the encodings that hiq reads; say which by --encoding, if it is one of them".to_owned());
        };
        let value = message.value;
        let signal = message.signal.and_then(|name| name.parse().ok());
        let signal = match signal {
            Some(signal) => signal,
            None => looks(encoding, value)?.unwrap_or_default(),
        };
        if signal == KafkaSignal::Metrics {
            return Err("it holds metrics, and only spans are forwarded".to_owned());
        }
        let decoded = match encoding {
            KafkaEncoding::OtlpProto => self.otlp_proto.decode(value, sink),
            KafkaEncoding::OtlpJson => self.otlp_json.decode(value, sink),
            KafkaEncoding::JaegerProto => self.jaeger.decode(value, sink),
            KafkaEncoding::ZipkinJson => self.zipkin_json.decode(value, sink),
            KafkaEncoding::ZipkinProto => self.zipkin_proto.decode(value, sink),
            KafkaEncoding::HiqText => {
                self.text
                    .set_origin(message.topic, message.partition, message.offset);
                self.text.decode(value, sink)
            }
            other => return Err(format!("{} is not read by this build", other.name())),
        };
        decoded.map_err(|error| format!("it is no {}: {error}", encoding.name()))
    }
}

/// The encoding of a message that other programs wrote, by its looks.
fn guessed(value: &[u8]) -> Option<KafkaEncoding> {
    // A trace id of 16 bytes, then a span id of 8.
    let is_jaeger = value.starts_with(&[0x0a, 16]) && value.get(18..20) == Some(&[0x12, 8]);
    if is_jaeger {
        return Some(KafkaEncoding::JaegerProto);
    }
    if OtlpSignal::of_json(value).is_some() {
        return Some(KafkaEncoding::OtlpJson);
    }
    Some(match sniffed(value)? {
        "hiq-tree" => KafkaEncoding::HiqText,
        "otlp-json" => KafkaEncoding::OtlpJson,
        "otlp-proto" => KafkaEncoding::OtlpProto,
        "zipkin-json" => KafkaEncoding::ZipkinJson,
        "zipkin-proto" => KafkaEncoding::ZipkinProto,
        _ => return None,
    })
}

/// What a message carries that does not say it. The error: neither spans nor metrics.
fn looks(encoding: KafkaEncoding, value: &[u8]) -> Result<Option<KafkaSignal>, String> {
    let signal = match encoding {
        KafkaEncoding::OtlpProto => OtlpSignal::of_proto(value),
        KafkaEncoding::OtlpJson => OtlpSignal::of_json(value),
        _ => None,
    };
    match signal {
        None => Ok(None),
        Some(OtlpSignal::Traces) => Ok(Some(KafkaSignal::Traces)),
        Some(OtlpSignal::Metrics) => Ok(Some(KafkaSignal::Metrics)),
        Some(_) => Err("it holds logs, which hiq does not read".to_owned()),
    }
}
