//! A decoder for each encoding that messages have.

use std::sync::Arc;

use hiq_core::decode::{DecodeError, Decoder as _};
use hiq_core::metric::MetricBatch;
use hiq_core::render::HiqTextDecoder;
use hiq_core::tree::SpanTree;
use hiq_jaeger::JaegerDecoder;
use hiq_kafka::{KafkaEncoding, KafkaMessage, KafkaSignal};
use hiq_otlp::{LeftOutPoints, OtlpDecoder, OtlpMetricsDecoder, OtlpSignal};
use hiq_zipkin::ZipkinDecoder;

use crate::convert::sniffed;

/// All of them, and what is meant where a message does not say.
pub(super) struct Decoders {
    fallback: Option<KafkaEncoding>,
    signal: Option<KafkaSignal>,
    otlp_proto: OtlpDecoder,
    otlp_json: OtlpDecoder,
    metrics_proto: OtlpMetricsDecoder,
    metrics_json: OtlpMetricsDecoder,
    jaeger_proto: JaegerDecoder,
    jaeger_json: JaegerDecoder,
    zipkin_json: ZipkinDecoder,
    zipkin_proto: ZipkinDecoder,
    text: HiqTextDecoder,
}

/// What was in a message.
pub(super) enum Found {
    Spans(Vec<Arc<SpanTree>>),
    /// Snapshots, and the points that are in none.
    Metrics(Vec<MetricBatch>, LeftOutPoints),
}

impl Decoders {
    pub(super) fn new(fallback: Option<KafkaEncoding>, signal: Option<KafkaSignal>) -> Self {
        Self {
            fallback,
            signal,
            otlp_proto: OtlpDecoder::proto(),
            otlp_json: OtlpDecoder::json(),
            metrics_proto: OtlpMetricsDecoder::proto(),
            metrics_json: OtlpMetricsDecoder::json(),
            jaeger_proto: JaegerDecoder::message(),
            jaeger_json: JaegerDecoder::message_json(),
            zipkin_json: ZipkinDecoder::json(),
            zipkin_proto: ZipkinDecoder::proto(),
            text: HiqTextDecoder::new(),
        }
    }

    /// Decodes a message. The error says what it should have been; what was read before the damage is of no use to anybody.
    pub(super) fn decode(&mut self, message: &KafkaMessage<'_>) -> Result<Found, String> {
        let named = message.encoding.and_then(|name| name.parse().ok());
        let encoding = named.or(self.fallback).or_else(|| guessed(message.value));
        let Some(encoding) = encoding else {
            return Err("it is in none of the encodings that hiq reads; say which by --encoding, if it is one of them".to_owned());
        };
        let said = message.signal.and_then(|name| name.parse().ok());
        let signal = match said {
            Some(signal) => signal,
            None => looks(encoding, message.value)?
                .or(self.signal)
                .unwrap_or_default(),
        };
        let decoded = match signal {
            KafkaSignal::Metrics => self.metrics(encoding, message),
            _ => self.spans(encoding, message),
        };
        decoded.map_err(|problem| match problem {
            Problem::Damaged(error) => format!("it is no {}: {error}", encoding.name()),
            Problem::NotRead(words) => words,
        })
    }

    fn spans(
        &mut self,
        encoding: KafkaEncoding,
        message: &KafkaMessage<'_>,
    ) -> Result<Found, Problem> {
        let mut trees = Vec::new();
        let (value, sink) = (message.value, &mut |tree| trees.push(tree));
        match encoding {
            KafkaEncoding::OtlpProto => self.otlp_proto.decode(value, sink),
            KafkaEncoding::OtlpJson => self.otlp_json.decode(value, sink),
            KafkaEncoding::JaegerProto => self.jaeger_proto.decode(value, sink),
            KafkaEncoding::JaegerJson => self.jaeger_json.decode(value, sink),
            KafkaEncoding::ZipkinJson => self.zipkin_json.decode(value, sink),
            KafkaEncoding::ZipkinProto => self.zipkin_proto.decode(value, sink),
            KafkaEncoding::HiqText => {
                self.text
                    .set_origin(message.topic, message.partition, message.offset);
                self.text.decode(value, sink)
            }
            other => {
                let words = format!("{} is not read by this build", other.name());
                return Err(Problem::NotRead(words));
            }
        }?;
        Ok(Found::Spans(trees))
    }

    fn metrics(
        &mut self,
        encoding: KafkaEncoding,
        message: &KafkaMessage<'_>,
    ) -> Result<Found, Problem> {
        let decoder = match encoding {
            KafkaEncoding::OtlpProto => &mut self.metrics_proto,
            KafkaEncoding::OtlpJson => &mut self.metrics_json,
            other => {
                let words = format!("it is said to hold metrics, which {} has not", other.name());
                return Err(Problem::NotRead(words));
            }
        };
        let mut metrics = Vec::new();
        let left_out = decoder.decode(message.value, &mut |batch| metrics.push(batch))?;
        Ok(Found::Metrics(metrics, left_out))
    }
}

/// Why a message cannot be read.
enum Problem {
    Damaged(DecodeError),
    NotRead(String),
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error)
    }
}

/// The encoding of a message that other programs wrote, by its looks.
fn guessed(value: &[u8]) -> Option<KafkaEncoding> {
    // A trace id of 16 bytes, then a span id of 8.
    let is_jaeger = value.starts_with(&[0x0a, 16]) && value.get(18..20) == Some(&[0x12, 8]);
    if is_jaeger {
        return Some(KafkaEncoding::JaegerProto);
    }
    if is_jaeger_json(value) {
        return Some(KafkaEncoding::JaegerJson);
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

/// A span by itself begins with its ids. Zipkin's are in a list, and have an `id`.
fn is_jaeger_json(value: &[u8]) -> bool {
    let inside = value.trim_ascii_start().strip_prefix(b"{");
    let inside = inside.unwrap_or_default().trim_ascii_start();
    let start = inside.get(..64).unwrap_or(inside);
    let names_span = start.windows(8).any(|bytes| bytes == b"\"spanId\"");
    start.starts_with(b"\"traceId\"") && names_span
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
