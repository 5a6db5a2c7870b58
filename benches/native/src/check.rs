//! Whether what is measured does the same work: every encoder's output, read back by OpenTelemetry's own types.

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::Encoder;
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;

use crate::floor::Arena;
use crate::{hiq, otel};

/// Ends the program with a message when an encoder's output differs from what OpenTelemetry makes of the same spans.
pub fn encoders_agree(ours: &[Arc<TreeBatch>], theirs: &[Vec<SpanData>], floors: &[Arena]) {
    let resource = ResourceAttributesWithSchema::from(&otel::resource());
    let (mut proto, mut json) = (OtlpProtoEncoder::new(), OtlpJsonEncoder::new());
    let mut out = Vec::new();
    for ((ours, theirs), floor) in ours.iter().zip(theirs).zip(floors) {
        let expected = normal(otel::request(theirs.clone(), &resource));
        hiq::encode(&mut proto, ours, &mut out);
        assert_same("hiq's protobuf", &from_proto(&out), &expected);
        hiq::encode(&mut json, ours, &mut out);
        assert_same("hiq's JSON", &from_json(&out), &expected);
        floor.write_proto(&mut out);
        assert_same("the floor's protobuf", &from_proto(&out), &expected);
        floor.write_json(&mut out);
        assert_same("the floor's JSON", &from_json(&out), &expected);
    }
}

fn from_proto(bytes: &[u8]) -> ExportTraceServiceRequest {
    normal(ExportTraceServiceRequest::decode(bytes).expect("OTLP protobuf"))
}

fn from_json(bytes: &[u8]) -> ExportTraceServiceRequest {
    normal(serde_json::from_slice(bytes).expect("OTLP/JSON"))
}

/// Without what may be written or left out: a status that says nothing; and in one order.
fn normal(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for resource_spans in &mut request.resource_spans {
        if let Some(resource) = &mut resource_spans.resource {
            resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
        }
        let spans = resource_spans
            .scope_spans
            .iter_mut()
            .flat_map(|scope| &mut scope.spans);
        for span in spans {
            span.status = span.status.take().filter(|status| status.code != 0);
        }
    }
    request
}

fn assert_same(
    what: &str,
    found: &ExportTraceServiceRequest,
    expected: &ExportTraceServiceRequest,
) {
    if found == expected {
        return;
    }
    let spans = |request: &ExportTraceServiceRequest| {
        let scopes = request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans);
        scopes
            .flat_map(|scope| &scope.spans)
            .cloned()
            .collect::<Vec<_>>()
    };
    let difference = spans(found)
        .into_iter()
        .zip(spans(expected))
        .find(|(a, b)| a != b);
    panic!(
        "{what} is not what OpenTelemetry writes; {} and {} spans; first difference: {difference:#?}",
        spans(found).len(),
        spans(expected).len()
    );
}

/// Panics unless hiq and the floor write the same.
pub fn same_bytes(
    mut encoder: impl Encoder<TreeBatch>,
    ours: &[Arc<TreeBatch>],
    floors: &[Arena],
    floor: impl Fn(&Arena, &mut Vec<u8>),
) {
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for (ours, arena) in ours.iter().zip(floors) {
        hiq::encode(&mut encoder, ours, &mut found);
        floor(arena, &mut expected);
        let name = encoder.encoding().name;
        let differ = found.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(differ, None, "{name}: hiq and the floor differ here");
        assert_eq!(found.len(), expected.len(), "{name}");
    }
}
