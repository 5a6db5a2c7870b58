//! S4 and S5: a batch of 512 spans into OTLP, protobuf and JSON, by hiq, by OpenTelemetry and by the floor.
//!
//! Nothing is measured before all have been read back equal.

use std::sync::Arc;

use crate::floor::Arena;
use crate::worker::Worker;
use crate::{check, hiq, otel, spans};
use hiq_core::batch::TreeBatch;
use hiq_core::encode::Encoder;
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use prost::Message;

/// Until the runner closes the pipe.
pub fn main() {
    let raw = spans::batches();
    let ours = hiq::batches(&raw);
    let theirs = otel::batches(&raw);
    let floors = Arena::batches(&raw);
    let resource = ResourceAttributesWithSchema::from(&otel::resource());
    check::encoders_agree(&ours, &theirs, &floors);

    let mut worker = Worker::default();
    worker.call(
        "hiq_proto",
        spans::SPANS,
        by_hiq(OtlpProtoEncoder::new(), &ours),
    );
    worker.call(
        "hiq_json",
        spans::SPANS,
        by_hiq(OtlpJsonEncoder::new(), &ours),
    );
    worker.call(
        "floor_proto",
        spans::SPANS,
        by_floor(&floors, Arena::write_proto),
    );
    worker.call(
        "floor_json",
        spans::SPANS,
        by_floor(&floors, Arena::write_json),
    );
    worker.consume("otel_proto", spans::SPANS, clones(&theirs), |batch| {
        otel::request(batch, &resource).encode_to_vec()
    });
    worker.consume("otel_json", spans::SPANS, clones(&theirs), |batch| {
        serde_json::to_vec(&otel::request(batch, &resource)).expect("JSON")
    });
    worker.serve();
}

/// Each call encodes the next batch.
pub fn by_hiq(
    mut encoder: impl Encoder<TreeBatch>,
    batches: &[Arc<TreeBatch>],
) -> impl FnMut() -> usize {
    let (mut next, mut out) = (spans::turns(), Vec::new());
    move || {
        hiq::encode(&mut encoder, &batches[next()], &mut out);
        out.len()
    }
}

pub fn by_floor(arenas: &[Arena], write: impl Fn(&Arena, &mut Vec<u8>)) -> impl FnMut() -> usize {
    let (mut next, mut out) = (spans::turns(), Vec::new());
    move || {
        write(&arenas[next()], &mut out);
        out.len()
    }
}

/// The exporters own what they encode.
pub fn clones<T: Clone>(batches: &[T]) -> impl FnMut() -> T {
    let mut next = spans::turns();
    move || batches[next()].clone()
}
