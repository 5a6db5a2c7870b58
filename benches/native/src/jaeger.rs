//! S6: a batch of 512 spans into Jaeger's formats, by hiq, by the floor, by fastrace-jaeger and by prost from ready structs.
//!
//! Nothing is measured before hiq and the floor have written the same bytes, and prost has read them as what it writes itself.

use std::borrow::Cow;
use std::net::UdpSocket;
use std::sync::Arc;

use crate::floor::Arena;
use crate::spans::{self, Span, Tree, Value};
use crate::worker::Worker;
use crate::{check, encode, hiq};
use fastrace::collector::{EventRecord, Reporter, SpanId, SpanRecord, TraceId};
use fastrace_jaeger::JaegerReporter;
use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, PayloadId, Transport};
use hiq_jaeger::{JaegerBinaryEncoder, JaegerCompactEncoder, JaegerProtoEncoder, UdpTransport};
use prost::Message;

mod model;

/// Until the runner closes the pipe.
pub fn main() {
    let raw = spans::batches();
    let ours = hiq::batches(&raw);
    let floors = Arena::batches(&raw);
    let structs: Vec<_> = raw.iter().map(|trees| model::request(trees)).collect();
    let (compact, binary) = (Arena::compact_writer(), Arena::binary_writer());
    let proto = Arena::jaeger_proto_writer();
    check::same_bytes(JaegerCompactEncoder::new(), &ours, &floors, &compact);
    check::same_bytes(JaegerBinaryEncoder::batches(), &ours, &floors, &binary);
    check::same_bytes(JaegerProtoEncoder::new(), &ours, &floors, &proto);
    for (floor, expected) in floors.iter().zip(&structs) {
        let mut out = Vec::new();
        proto(floor, &mut out);
        let found = model::Request::decode(&out[..]).expect("jaeger.api_v2");
        assert_eq!(&found, expected, "what was put in");
        assert_eq!(found.encode_to_vec(), out, "the canonical bytes");
    }

    let records: Vec<_> = raw.iter().map(|trees| records(trees)).collect();
    let mut worker = Worker::default();
    worker.call(
        "hiq_compact",
        spans::SPANS,
        encode::by_hiq(JaegerCompactEncoder::new(), &ours),
    );
    worker.call(
        "hiq_binary",
        spans::SPANS,
        encode::by_hiq(JaegerBinaryEncoder::batches(), &ours),
    );
    worker.call(
        "hiq_proto",
        spans::SPANS,
        encode::by_hiq(JaegerProtoEncoder::new(), &ours),
    );
    worker.call(
        "floor_compact",
        spans::SPANS,
        encode::by_floor(&floors, compact),
    );
    worker.call(
        "floor_binary",
        spans::SPANS,
        encode::by_floor(&floors, binary),
    );
    worker.call(
        "floor_proto",
        spans::SPANS,
        encode::by_floor(&floors, proto),
    );
    let mut next = spans::turns();
    let by_prost = move || structs[next()].encode_to_vec();
    worker.call("prost", spans::SPANS, by_prost);

    // Nobody reads: what does not fit into the socket's buffer is thrown away by the kernel, for all alike.
    let agent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = agent.local_addr().expect("its address");
    worker.call("hiq_udp", spans::SPANS, sent_by_hiq(address.port(), &ours));
    let mut reporter = JaegerReporter::new(address, "checkout-service").expect("a reporter");
    worker.consume(
        "fastrace_udp",
        spans::SPANS,
        encode::clones(&records),
        move |batch| reporter.report(batch),
    );
    worker.serve();
}

/// Each call encodes the next batch into packets and sends them.
fn sent_by_hiq(port: u16, batches: &[Arc<TreeBatch>]) -> impl FnMut() -> usize {
    let (mut next, mut packet, mut outcomes) = (spans::turns(), Vec::new(), Vec::new());
    let mut encoder = JaegerCompactEncoder::new();
    let mut transport = UdpTransport::new("127.0.0.1", port);
    let limits = Limits::bytes(transport.limits().max_payload_bytes);
    let content_type = encoder.encoding().content_type;
    move || {
        let batch = &batches[next()];
        let (mut cursor, deadline, mut sent) = (batch.cursor(), Deadline::never(), 0);
        loop {
            packet.clear();
            let encoded = encoder.encode(&mut cursor, &limits, &mut packet);
            let payload = Payload::new(&packet, content_type, encoded.items);
            transport.submit(PayloadId(sent), &payload, &deadline);
            transport.poll(&deadline, &mut outcomes);
            sent += 1;
            if !encoded.more {
                break;
            }
        }
        assert_eq!(outcomes.len() as u64, sent, "every packet is settled");
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
        outcomes.clear();
        packet.len()
    }
}

/// The spans as fastrace's reporters get them. It knows texts only.
fn records(trees: &[Tree]) -> Vec<SpanRecord> {
    let record = |tree: &Tree, span: &Span| SpanRecord {
        trace_id: TraceId(tree.trace_id),
        span_id: SpanId(span.id),
        parent_id: SpanId(span.parent.map_or(0, |parent| tree.spans[parent].id)),
        begin_time_unix_ns: span.start_nanos,
        duration_ns: span.end_nanos - span.start_nanos,
        name: span.name.into(),
        properties: properties(&span.attributes),
        events: span
            .failure
            .iter()
            .map(|failure| EventRecord {
                name: "exception".into(),
                timestamp_unix_ns: failure.nanos,
                properties: properties(&failure.exception),
            })
            .collect(),
        links: Vec::new(),
    };
    let of_tree = |tree: &Tree| {
        let records = tree.spans.iter().map(|span| record(tree, span));
        records.collect::<Vec<_>>()
    };
    trees.iter().flat_map(of_tree).collect()
}

type Property = (Cow<'static, str>, Cow<'static, str>);

fn properties(attributes: &[(&'static str, Value)]) -> Vec<Property> {
    let text = |value: &Value| match value {
        Value::Literal(text) => (*text).into(),
        Value::Text(text) => text.clone().into(),
        Value::Int(int) => int.to_string().into(),
        Value::Bool(bool) => bool.to_string().into(),
        Value::F64(f64) => f64.to_string().into(),
    };
    let pairs = attributes.iter();
    pairs
        .map(|(key, value)| ((*key).into(), text(value)))
        .collect()
}
