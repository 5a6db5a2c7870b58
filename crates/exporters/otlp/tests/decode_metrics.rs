//! Requests of metrics that others wrote are read as they meant them; what a snapshot cannot hold is counted; bytes that
//! nobody meant are refused without harm.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use hiq_core::batch::Batch as _;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::metric::{
    Buckets, ExponentialHistogram, Family, Histogram, Kind, MetricBatch, Number, Point, PointValue,
    Summary,
};
use hiq_core::value::Value;
use hiq_otlp::{OtlpMetricsDecoder, OtlpMetricsJsonEncoder, OtlpMetricsProtoEncoder};
use hiq_testkit::metrics::arbitrary;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use proptest::prelude::*;
use prost::Message as _;
use support::metrics::{expected, joined};
use support::write_metrics::{bytes, decode};

/// The only batch of `payload`, or an empty one.
fn decode_all(decoder: OtlpMetricsDecoder, payload: &[u8]) -> MetricBatch {
    let (mut batches, left_out) = decode(decoder, payload).unwrap();
    assert!(left_out.is_empty(), "{left_out}");
    assert!(batches.len() < 2);
    batches.pop().unwrap_or_default()
}

fn encode(encoder: &mut impl Encoder<MetricBatch>, batch: &MetricBatch) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
    out
}

/// Snapshots whose counts together are numbers, with exemplars in the order of time: what a snapshot promises.
fn true_to_its_word() -> impl Strategy<Value = MetricBatch> {
    arbitrary().prop_map(|batch| {
        let families = batch.families().iter().map(|family| {
            let points = family.points().iter().map(true_point).collect();
            Family::new(Arc::clone(family.descriptor()), points)
        });
        let families = families.collect();
        MetricBatch::new(
            Arc::clone(batch.resource()),
            Arc::clone(batch.scope()),
            families,
        )
    })
}

fn true_point(point: &Point) -> Point {
    let smaller = |counts: &[u64]| counts.iter().map(|count| count >> 8).collect::<Vec<_>>();
    let exponential = |value: &ExponentialHistogram| {
        let buckets = |buckets: &Buckets| Buckets {
            offset: buckets.offset,
            counts: smaller(&buckets.counts),
        };
        ExponentialHistogram {
            zero_count: value.zero_count >> 8,
            positive: buckets(&value.positive),
            negative: buckets(&value.negative),
            ..value.clone()
        }
    };
    let value: PointValue = match point.value() {
        PointValue::Histogram(value) => Histogram {
            counts: smaller(&value.counts),
            ..value.clone()
        }
        .into(),
        PointValue::ExponentialHistogram(value) => exponential(value).into(),
        PointValue::Summary(value) => Summary {
            sketch: value
                .sketch
                .as_deref()
                .map(|sketch| Box::new(exponential(sketch))),
            ..value.clone()
        }
        .into(),
        other => other.clone(),
    };
    let mut exemplars = point.exemplars().to_vec();
    exemplars.sort_by_key(|exemplar| exemplar.time);
    let labels = Arc::clone(point.labels());
    Point::new(labels, point.start(), point.time(), value).with_exemplars(exemplars)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn protobuf_of_opentelemetrys_types_is_read_as_it_was_meant(batch in true_to_its_word()) {
        let request = expected(&batch);
        let read = decode_all(OtlpMetricsDecoder::proto(), &request.encode_to_vec());
        prop_assert_eq!(expected(&read), request);
        prop_assert_eq!(read.items(), batch.items());
    }

    #[test]
    fn what_the_encoders_write_is_read_back(batch in true_to_its_word()) {
        let payload = encode(&mut OtlpMetricsProtoEncoder::new(), &batch);
        let read = decode_all(OtlpMetricsDecoder::proto(), &payload);
        prop_assert_eq!(expected(&read), expected(&batch));
        let payload = encode(&mut OtlpMetricsJsonEncoder::new(), &batch);
        let read = decode_all(OtlpMetricsDecoder::json(), &payload);
        prop_assert_eq!(expected(&read), expected(&batch));
    }

    #[test]
    fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(OtlpMetricsDecoder::proto(), &payload);
        let _ = decode(OtlpMetricsDecoder::json(), &payload);
    }

    #[test]
    fn damaged_requests_are_read_or_refused(
        batch in arbitrary(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let proto = encode(&mut OtlpMetricsProtoEncoder::new(), &batch);
        let json = encode(&mut OtlpMetricsJsonEncoder::new(), &batch);
        prop_assume!(!proto.is_empty());
        let forms = [
            (proto, OtlpMetricsDecoder::proto()),
            (json, OtlpMetricsDecoder::json()),
        ];
        for (mut payload, decoder) in forms {
            for (place, byte) in &damage {
                let place = place.index(payload.len());
                payload[place] = *byte;
            }
            let _ = decode(decoder, &payload);
        }
    }
}

#[test]
fn a_collectors_json_and_googles_protobuf_are_read_as_other_readers_do() {
    let proto = bytes(include_str!("golden/metrics.hex"));
    let json = include_bytes!("golden/metrics.json");
    // As text, because one of the values is not a number, which equals nothing.
    let theirs = format!(
        "{:?}",
        ExportMetricsServiceRequest::decode(&proto[..]).unwrap()
    );
    let read = decode_all(OtlpMetricsDecoder::proto(), &proto);
    assert_eq!(format!("{:?}", expected(&read)), theirs);
    let read = decode_all(OtlpMetricsDecoder::json(), json);
    assert_eq!(format!("{:?}", expected(&read)), theirs);
}

fn points<'b>(batch: &'b MetricBatch, name: &str) -> &'b [Point] {
    let mut families = batch.families().iter();
    let family = families.find(|family| family.descriptor().name() == name);
    family.unwrap().points()
}

fn labels(point: &Point) -> Vec<(&str, &str)> {
    point.labels().iter().collect()
}

/// What opentelemetry-sdk 1.45.1 and its two encoders made of a program that counted orders, measured latencies and sizes,
/// and watched visits as deltas.
#[test]
fn what_the_python_sdk_sends_is_what_the_program_measured_in_either_form() {
    let proto = bytes(include_str!("golden/sdk_metrics.hex"));
    let json = include_bytes!("golden/sdk_metrics.json");
    for (decoder, payload) in [
        (OtlpMetricsDecoder::proto(), &proto[..]),
        (OtlpMetricsDecoder::json(), json),
    ] {
        let (batches, left_out) = decode(decoder, payload).unwrap();
        assert_eq!((left_out.deltas, left_out.total()), (2, 2));
        assert_eq!(batches.len(), 1, "the other scope has deltas alone");
        check_shop(&batches[0]);
        let theirs = ExportMetricsServiceRequest::decode(&proto[..]).unwrap();
        let [ours, theirs] = [expected(&batches[0]), theirs].map(|request| joined(vec![request]));
        // Beside the labels, which are texts now, and the deltas.
        assert_eq!(ours[1..], theirs[1..5]);
    }
}

fn check_shop(batch: &MetricBatch) {
    let resource = batch.resource();
    assert_eq!(resource.service_name(), "shop");
    let pid = resource.attribute("process.pid").unwrap().to_value();
    assert_eq!(pid, Value::Int(42));
    let scope = batch.scope();
    assert_eq!(scope.name().unwrap().as_str(), "shop.meter");
    assert_eq!(scope.version().unwrap().as_str(), "1.2");
    let url = "https://opentelemetry.io/schemas/1.26.0";
    assert_eq!(scope.schema_url(), Some(url));
    let (key, value) = scope.attributes().next().unwrap();
    assert_eq!((key.as_str(), value.to_value()), ("team", "till".into()));

    let orders = &batch.families()[0];
    let descriptor = orders.descriptor();
    assert_eq!(
        (descriptor.name(), descriptor.unit()),
        ("shop.orders", "{order}")
    );
    assert_eq!(descriptor.description(), "what was ordered");
    assert_eq!(descriptor.kind(), Kind::COUNTER);
    let [hanoi, hue] = orders.points() else {
        panic!("{orders:?}");
    };
    let hanoi_labels = [
        ("city", "Hà Nội"),
        ("paid", "true"),
        ("share", "0.5"),
        ("table", "4"),
    ];
    assert_eq!(labels(hanoi), hanoi_labels);
    assert_eq!(*hanoi.value(), Number::Int(3).into());
    assert_eq!(labels(hue), [("city", "Huế")]);
    assert_eq!(*hue.value(), Number::Int(4).into());
    let exemplar = &hue.exemplars()[0];
    assert_eq!(exemplar.value, Number::Int(4));
    assert_eq!(
        exemplar.trace_id.to_string(),
        "609082d61cd09baaf39bb39b19671e26"
    );
    assert_eq!(exemplar.span_id.to_string(), "78588d9f39365ca6");

    assert_eq!(
        *points(batch, "shop.queue")[0].value(),
        Number::Int(-2).into()
    );
    let latency = Histogram {
        count: 5,
        sum: Some(13.3),
        min: Some(0.2),
        max: Some(9.0),
        bounds: [0.5, 1.0, 2.5].into(),
        counts: vec![1, 2, 1, 1],
    };
    assert_eq!(*points(batch, "shop.latency")[0].value(), latency.into());
    let PointValue::ExponentialHistogram(size) = points(batch, "shop.size")[0].value() else {
        panic!("no exponential histogram");
    };
    assert_eq!(
        (size.count, size.sum, size.zero_count),
        (5, Some(1_001_004.0), 1)
    );
    assert_eq!((size.scale, size.positive.offset), (-1, -1));
    let temperature = &points(batch, "shop.temperature")[0];
    assert_eq!(*temperature.value(), Number::F64(-1.5).into());
    assert_eq!(labels(temperature), [("city", "Huế")]);
}
