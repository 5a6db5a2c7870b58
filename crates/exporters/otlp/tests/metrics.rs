//! Every payload of metrics is read back by readers that share nothing with the encoders, and held against the snapshot.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../http/tests/wire/server.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod server;
mod support;

use std::sync::Arc;

use hiq_core::batch::Batch as _;
use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings};
use hiq_core::encode::{DropReason, Encoder, Limits};
use hiq_core::export::Health;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, LabelSet,
    MetricBatch, Number, Point, PointValue, QuantileValue, Summary,
};
use hiq_core::resource::{Resource, Scope};
use hiq_core::time::UnixNanos;
use hiq_core::value::Value;
use hiq_otlp::{OtlpMetricsExporter, OtlpMetricsJsonEncoder, OtlpMetricsProtoEncoder};
use hiq_testkit::metrics::{arbitrary, deliver};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use proptest::prelude::*;
use prost::Message as _;
use server::{Server, response};
use support::hex;
use support::metrics::{expected, joined, points};
use support::read_metrics_json::request as read_json;

fn read_proto(payload: &[u8]) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(payload).expect("protobuf that prost reads")
}

fn encode_whole(encoder: &mut impl Encoder<MetricBatch>, batch: &MetricBatch) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let encoded = encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
    assert_eq!(encoded.items, batch.items());
    assert!(!encoded.more && encoded.left_out.is_empty());
    assert_eq!(&out[..6], b"before");
    out.split_off(6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn protobuf_reads_back_as_what_went_in_and_is_as_short_as_can_be(batch in arbitrary()) {
        let payload = encode_whole(&mut OtlpMetricsProtoEncoder::new(), &batch);
        let expected = expected(&batch);
        prop_assert_eq!(read_proto(&payload), expected.clone());
        prop_assert_eq!(payload.len(), expected.encoded_len());
    }

    #[test]
    fn json_reads_back_as_what_went_in(batch in arbitrary()) {
        let payload = encode_whole(&mut OtlpMetricsJsonEncoder::new(), &batch);
        if batch.items() == 0 {
            prop_assert!(payload.is_empty());
            return Ok(());
        }
        prop_assert_eq!(read_json(&payload), expected(&batch));
        prop_assert!(!payload.contains(&b'\n'), "a request is one line");
    }

    #[test]
    fn every_point_is_in_one_payload_or_too_large_for_any(
        batch in arbitrary(),
        max_bytes in prop_oneof![0..200_usize, 200..2_000_usize],
        max_items in prop_oneof![1..6_usize, Just(usize::MAX)],
    ) {
        let mut limits = Limits::bytes(max_bytes);
        limits.max_items = max_items;
        check_payloads(&mut OtlpMetricsProtoEncoder::new(), &batch, &limits, read_proto);
        check_payloads(&mut OtlpMetricsJsonEncoder::new(), &batch, &limits, read_json);
    }
}

fn check_payloads(
    encoder: &mut impl Encoder<MetricBatch>,
    batch: &MetricBatch,
    limits: &Limits,
    read: fn(&[u8]) -> ExportMetricsServiceRequest,
) {
    let (mut requests, mut too_large, mut cursor) = (Vec::new(), 0, batch.cursor());
    loop {
        let before = cursor.remaining();
        let mut out = Vec::new();
        let encoded = encoder.encode(&mut cursor, limits, &mut out);
        assert!(out.len() <= limits.max_bytes, "{} bytes", out.len());
        assert!(encoded.items <= limits.max_items);
        let left_out = encoded.items_left_out();
        assert_eq!(before - cursor.remaining(), encoded.items + left_out);
        let only_too_large = |(reason, _): &(DropReason, usize)| *reason == DropReason::TooLarge;
        assert!(encoded.left_out.iter().all(only_too_large));
        too_large += left_out;
        if encoded.items == 0 {
            assert!(out.is_empty());
        } else {
            let request = read(&out);
            assert_eq!(points(&request), encoded.items);
            requests.push(request);
        }
        if !encoded.more {
            break;
        }
    }
    let found: usize = requests.iter().map(points).sum();
    assert_eq!(found + too_large, batch.items());
    if too_large == 0 {
        assert_eq!(joined(requests), joined(vec![expected(batch)]));
    }
}

const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);
const TIME: UnixNanos = UnixNanos(1_700_000_001_000_000_000);

fn family(descriptor: Descriptor, points: Vec<Point>) -> Family {
    Family::new(Arc::new(descriptor), points)
}

fn exemplar(value: Number) -> Exemplar {
    let trace_id = TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    let span_id = SpanId(0xb7ad_6b71_6920_3331);
    Exemplar::new(UnixNanos(TIME.0 - 1), value, trace_id, span_id)
}

/// What Google's protobuf wrote into `golden/metrics.hex`, and the Collector made JSON of in `golden/metrics.json`.
fn golden() -> MetricBatch {
    let point = |labels: &[(&str, &str)], value: PointValue| {
        Point::new(LabelSet::new(labels.iter().copied()), START, TIME, value)
    };
    let number = |number: Number| PointValue::Number(number);
    let mut order = exemplar(Number::Int(1));
    order.labels = Some(LabelSet::new([("shelf", "3")]));
    let latency = Histogram {
        count: 6,
        sum: Some(7.5),
        min: Some(0.25),
        max: Some(2.5),
        bounds: [0.5, 1.0].into(),
        counts: vec![1, 2, 3],
    };
    let size = ExponentialHistogram {
        count: 10,
        sum: Some(100.0),
        min: Some(-20.0),
        max: Some(64.0),
        scale: -1,
        zero_count: 1,
        zero_threshold: 1e-9,
        positive: Buckets {
            offset: -3,
            counts: vec![1, 0, 300],
        },
        negative: Buckets {
            offset: 2,
            counts: vec![5],
        },
    };
    let quantiles = [(0.5, 0.5), (0.99, 1.25)];
    let duration = Summary {
        count: 4,
        sum: 2.5,
        quantiles: quantiles
            .map(|(quantile, value)| QuantileValue { quantile, value })
            .into(),
        sketch: None,
    };
    let families = vec![
        family(
            Descriptor::new("shop.temperature", Kind::Gauge)
                .with_description("how warm it is")
                .with_unit("Cel"),
            vec![
                point(&[("city", "Hà Nội")], number(Number::F64(-1.5))),
                point(&[("city", "Huế")], number(Number::F64(f64::NAN))),
            ],
        ),
        family(
            Descriptor::new("shop.orders", Kind::COUNTER).with_unit("{order}"),
            vec![point(&[], number(Number::Int(7))).with_exemplars(vec![order])],
        ),
        family(
            Descriptor::new("shop.queue", Kind::UP_DOWN_COUNTER),
            vec![point(&[], number(Number::Int(-2)))],
        ),
        family(
            Descriptor::new("shop.latency", Kind::Histogram).with_unit("s"),
            vec![
                point(&[("path", "/")], latency.into())
                    .with_exemplars(vec![exemplar(Number::F64(2.5))]),
            ],
        ),
        family(
            Descriptor::new("shop.size", Kind::ExponentialHistogram).with_unit("By"),
            vec![point(&[("kind", "big")], size.into())],
        ),
        family(
            Descriptor::new("shop.duration", Kind::Summary)
                .with_description("of calls")
                .with_unit("s"),
            vec![point(&[("function", "f")], duration.into())],
        ),
    ];
    let resource = Resource::new([("service.name", Value::from("svc"))]);
    MetricBatch::new(
        Arc::new(resource),
        Arc::new(Scope::new("hiq", "1")),
        families,
    )
}

#[test]
fn protobuf_is_byte_for_byte_what_googles_encoder_writes() {
    let payload = encode_whole(&mut OtlpMetricsProtoEncoder::new(), &golden());
    assert_eq!(hex(&payload), include_str!("golden/metrics.hex").trim());
}

#[test]
fn json_says_what_the_collector_says() {
    let payload = encode_whole(&mut OtlpMetricsJsonEncoder::new(), &golden());
    let collectors = include_bytes!("golden/metrics.json");
    // As text, because one of the values is not a number, which equals nothing.
    let [ours, theirs] = [&payload[..], collectors].map(|json| format!("{:?}", read_json(json)));
    assert_eq!(ours, theirs);
}

#[test]
fn a_summary_with_its_sketch_is_an_exponential_histogram_and_one_without_stays_a_summary() {
    let sketched = |sketch: Option<ExponentialHistogram>| {
        let summary = Summary {
            count: 4,
            sum: 2.5,
            quantiles: Vec::new(),
            sketch: sketch.map(Box::new),
        };
        let point = Point::new(LabelSet::empty(), START, TIME, summary);
        let descriptor = Descriptor::new("d", Kind::Summary);
        let families = vec![family(descriptor, vec![point])];
        let batch = MetricBatch::new(Arc::default(), Arc::default(), families);
        let request = read_proto(&encode_whole(&mut OtlpMetricsProtoEncoder::new(), &batch));
        request.resource_metrics[0].scope_metrics[0].metrics[0]
            .data
            .clone()
            .unwrap()
    };
    let sketch = ExponentialHistogram {
        count: 4,
        scale: 6,
        ..ExponentialHistogram::default()
    };
    let Data::ExponentialHistogram(histogram) = sketched(Some(sketch)) else {
        panic!("no exponential histogram");
    };
    assert_eq!(
        (
            histogram.data_points[0].count,
            histogram.data_points[0].scale
        ),
        (4, 6)
    );
    let Data::Summary(summary) = sketched(None) else {
        panic!("no summary");
    };
    assert_eq!(summary.data_points[0].count, 4);
}

/// One exporter of metrics to a server with one answer.
fn sent(
    env: &[(&str, &str)],
    path: &str,
    answer: &[u8],
) -> (LedgerSnapshot, server::Request, Health) {
    let server = Server::answering(answer.to_vec());
    let url = server.url(path);
    let mut pairs = vec![("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", url.as_str())];
    pairs.extend_from_slice(env);
    let env = Env::from_pairs(pairs);
    let settings =
        OtlpSettings::for_metrics(&OtlpOptions::default(), &env, &mut Vec::new()).unwrap();
    let otlp = OtlpMetricsExporter::new(settings, ProxySettings::default()).unwrap();
    let mut exporter = otlp.build().unwrap();
    let ledger = deliver(&mut *exporter, golden());
    (ledger, server.request(), exporter.health())
}

#[test]
fn metrics_arrive_over_http_in_either_form_and_the_ledger_counts_points() {
    let success = response("200 OK", "", "");
    let (ledger, request, _) = sent(&[], "/v1/metrics", &success);
    assert_eq!((ledger.offered, ledger.exported), (7, 7));
    assert_eq!(request.first_line, "POST /v1/metrics HTTP/1.1");
    assert_eq!(request.all("content-type"), ["application/x-protobuf"]);
    assert_eq!(
        hex(&request.body),
        include_str!("golden/metrics.hex").trim()
    );

    let json = [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json")];
    let (ledger, request, _) = sent(&json, "/v1/metrics", &success);
    assert_eq!(ledger.exported, 7);
    assert_eq!(request.all("content-type"), ["application/json"]);
    assert_eq!(points(&read_json(&request.body)), 7);
}

#[test]
fn a_partial_success_is_counted_and_said_and_never_tried_again() {
    let body = r#"{"partialSuccess":{"rejectedDataPoints":"2","errorMessage":"out of order"}}"#;
    let answer = response("200 OK", "Content-Type: application/json\r\n", body);
    let (ledger, _, health) = sent(&[], "/v1/metrics", &answer);
    assert_eq!((ledger.exported, ledger.rejected), (5, 2));
    assert!(matches!(health, Health::Losing(why) if why.contains("out of order")));
}

#[test]
fn a_wrong_path_loses_the_points_with_advice() {
    let answer = response(
        "404 Not Found",
        "Content-Type: text/plain\r\n",
        "404 page not found",
    );
    let (ledger, _, health) = sent(&[], "/v1/traces", &answer);
    assert_eq!((ledger.exported, ledger.rejected), (0, 7));
    assert!(matches!(health, Health::Losing(why) if why.contains("/v1/metrics")));
}
