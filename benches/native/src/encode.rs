//! S4 and S5: a batch of 512 spans into OTLP, protobuf and JSON, by hiq, by OpenTelemetry and by the floor. S6: into Jaeger's forms.
//!
//! Nothing is measured before all have been read back equal.

use std::net::UdpSocket;
use std::sync::Arc;

use crate::floor::Arena;
use crate::worker::Worker;
use crate::{check, hiq, otel, spans};
use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, PayloadId, Transport};
use hiq_jaeger::{
    JaegerBinaryEncoder, JaegerCompactEncoder, JaegerProtoEncoder, MAX_PACKET_BYTES, UdpTransport,
};
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
    jaeger(&mut worker, &ours);
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

fn jaeger<'b>(worker: &mut Worker<'b>, batches: &'b [Arc<TreeBatch>]) {
    let (compact, binary) = (JaegerCompactEncoder::new(), JaegerBinaryEncoder::batches());
    let proto = JaegerProtoEncoder::new();
    worker.call("hiq_jaeger_compact", spans::SPANS, by_hiq(compact, batches));
    worker.call("hiq_jaeger_binary", spans::SPANS, by_hiq(binary, batches));
    worker.call("hiq_jaeger_proto", spans::SPANS, by_hiq(proto, batches));
    worker.call("hiq_jaeger_sent", spans::SPANS, in_packets(batches));
}

/// Each call sends the next batch to a socket of this process, where it is thrown away.
fn in_packets(batches: &[Arc<TreeBatch>]) -> impl FnMut() -> usize {
    let agent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = agent.local_addr().expect("a bound socket").port();
    std::thread::spawn(move || {
        let mut packet = vec![0; MAX_PACKET_BYTES];
        while agent.recv(&mut packet).is_ok() {}
    });
    let mut encoder = JaegerCompactEncoder::new();
    let mut transport = UdpTransport::new("127.0.0.1", port);
    let (limits, deadline) = (Limits::bytes(MAX_PACKET_BYTES), Deadline::never());
    let (mut next, mut out, mut outcomes) = (spans::turns(), Vec::new(), Vec::new());
    move || {
        let batch = &batches[next()];
        let (mut cursor, mut bytes) = (batch.cursor(), 0);
        loop {
            out.clear();
            let encoded = encoder.encode(&mut cursor, &limits, &mut out);
            let packet = Payload::new(&out, encoder.encoding().content_type, encoded.items);
            transport.submit(PayloadId(1), &packet, &deadline);
            transport.poll(&deadline, &mut outcomes);
            assert!(outcomes.drain(..).all(|outcome| outcome.result.is_ok()));
            bytes += out.len();
            if !encoded.more {
                return bytes;
            }
        }
    }
}

/// Each call encodes the next batch.
fn by_hiq(
    mut encoder: impl Encoder<TreeBatch>,
    batches: &[Arc<TreeBatch>],
) -> impl FnMut() -> usize {
    let (mut next, mut out) = (spans::turns(), Vec::new());
    move || {
        hiq::encode(&mut encoder, &batches[next()], &mut out);
        out.len()
    }
}

fn by_floor(arenas: &[Arena], write: impl Fn(&Arena, &mut Vec<u8>)) -> impl FnMut() -> usize {
    let (mut next, mut out) = (spans::turns(), Vec::new());
    move || {
        write(&arenas[next()], &mut out);
        out.len()
    }
}

/// The exporters own what they encode.
fn clones<T: Clone>(batches: &[T]) -> impl FnMut() -> T {
    let mut next = spans::turns();
    move || batches[next()].clone()
}
