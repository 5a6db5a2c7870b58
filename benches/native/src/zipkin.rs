//! S5 and S6: a batch of 512 spans into Zipkin's formats, by hiq, by the floor, by opentelemetry-zipkin and by prost from ready structs.
//!
//! opentelemetry-zipkin writes the attributes of the span and the scope, but nothing of the resource; hiq can be told to name
//! only its service. Nothing is measured before hiq and the floor have written the same bytes, and before these have been read
//! back as the spans that were put in.
#![expect(deprecated, reason = "what programs with Zipkin still have")]

use crate::floor::Arena;
use crate::spans::{self, Tree};
use crate::worker::Worker;
use crate::{check, encode, hiq, otel};
use async_trait::async_trait;
use bytes::Bytes;
use futures_executor::block_on;
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinMapping, ZipkinProtoEncoder};
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use opentelemetry_zipkin::ZipkinExporter;
use prost::Message;
use serde_json::Value;

mod model;

/// Until the runner closes the pipe.
pub fn main() {
    let raw = spans::batches();
    let (ours, floors) = (hiq::batches(&raw), Arena::batches(&raw));
    let structs: Vec<_> = raw.iter().map(|trees| model::list(trees)).collect();
    let theirs = otel::batches(&raw);
    let mut worker = Worker::default();

    for (has_resource, ours_name, floor_name) in [
        (true, "hiq_json", "floor_json"),
        (false, "hiq_json_service", "floor_json_service"),
    ] {
        let floor = Arena::zipkin_json_writer(has_resource);
        let encoder = || ZipkinJsonEncoder::with_mapping(mapping(has_resource));
        check::same_bytes(encoder(), &ours, &floors, &floor);
        read_json(&raw, &floors, &floor);
        worker.call(ours_name, spans::SPANS, encode::by_hiq(encoder(), &ours));
        worker.call(floor_name, spans::SPANS, encode::by_floor(&floors, floor));
    }
    let exporter = exporter_to_nowhere();
    let clones = encode::clones(&theirs);
    worker.consume("otel_json", spans::SPANS, clones, move |batch| {
        export(&exporter, batch);
    });

    let floor = Arena::zipkin_proto_writer(true);
    check::same_bytes(ZipkinProtoEncoder::new(), &ours, &floors, &floor);
    read_proto(&structs, &floors, &floor);
    worker.call(
        "hiq_proto",
        spans::SPANS,
        encode::by_hiq(ZipkinProtoEncoder::new(), &ours),
    );
    worker.call(
        "floor_proto",
        spans::SPANS,
        encode::by_floor(&floors, floor),
    );
    let mut next = spans::turns();
    let structs = &structs;
    let by_prost = move || structs[next()].encode_to_vec();
    worker.call("prost", spans::SPANS, by_prost);
    worker.serve();
}

fn mapping(has_resource: bool) -> ZipkinMapping {
    let mut mapping = ZipkinMapping::default();
    mapping.resource_tags = has_resource;
    mapping
}

fn read_json(raw: &[Vec<Tree>], floors: &[Arena], floor: impl Fn(&Arena, &mut Vec<u8>)) {
    let mut out = Vec::new();
    for (trees, arena) in raw.iter().zip(floors) {
        floor(arena, &mut out);
        let found: Vec<Value> = serde_json::from_slice(&out).expect("a list of spans");
        let expected = trees.iter().flat_map(|tree| {
            let spans = tree.spans.iter();
            spans.map(|span| (format!("{:032x}", tree.trace_id), span))
        });
        assert_eq!(found.len(), spans::SPANS, "all spans");
        for (found, (trace_id, span)) in found.iter().zip(expected) {
            assert_eq!(found["traceId"], trace_id);
            assert_eq!(found["id"], format!("{:016x}", span.id));
            assert_eq!(found["timestamp"], span.start_nanos / 1_000);
            for (key, _) in &span.attributes {
                assert!(found["tags"][*key].is_string(), "{key} of {found}");
            }
        }
    }
}

fn read_proto(
    structs: &[model::ListOfSpans],
    floors: &[Arena],
    floor: impl Fn(&Arena, &mut Vec<u8>),
) {
    let mut out = Vec::new();
    for (expected, arena) in structs.iter().zip(floors) {
        floor(arena, &mut out);
        let found = model::ListOfSpans::decode(&out[..]).expect("zipkin.proto3");
        assert_eq!(&found, expected, "what was put in");
        assert_eq!(found.encoded_len(), out.len(), "the canonical length");
    }
}

/// opentelemetry-zipkin without a network.
pub fn exporter_to_nowhere() -> ZipkinExporter {
    let builder = ZipkinExporter::builder().with_http_client(Nowhere);
    builder.build().expect("an exporter")
}

pub fn export(exporter: &ZipkinExporter, batch: Vec<SpanData>) {
    block_on(exporter.export(batch)).expect("nowhere takes everything");
}

/// Takes requests as a server would that costs nothing.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl HttpClient for Nowhere {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        assert!(request.body().len() > spans::SPANS, "a body");
        Ok(Response::new(Bytes::new()))
    }
}
