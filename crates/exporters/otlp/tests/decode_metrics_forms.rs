//! What a request of metrics may say in several ways: one rule a test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use hiq_core::metric::{
    Buckets, ExponentialHistogram, Histogram, Kind, Number, Point, PointValue, QuantileValue,
    Summary,
};
use hiq_core::time::UnixNanos;
use hiq_otlp::{LeftOutPoints, OtlpMetricsDecoder};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value as Any,
};
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use support::metrics::expected;
use support::read_json::with_protobufs_names;
use support::write_metrics::*;

#[test]
fn a_histogram_may_lack_everything_but_its_count() {
    let counted = otlp::HistogramDataPoint {
        count: 3,
        ..otlp::HistogramDataPoint::default()
    };
    let expected = Histogram {
        count: 3,
        ..Histogram::default()
    };
    let (points, left_out) = read(histogram(vec![counted], CUMULATIVE));
    assert!(left_out.is_empty());
    assert_eq!(*points[0].value(), expected.clone().into());
    assert!(points[0].labels().is_empty());
    let json = r#""histogram":{"aggregationTemporality":2,"dataPoints":[{"count":3}]}"#;
    let (points, _) = read_json(json).unwrap();
    assert_eq!(*points[0].value(), expected.into());
    let zero_sum = otlp::HistogramDataPoint {
        sum: Some(0.0),
        min: Some(0.0),
        bucket_counts: vec![4],
        ..otlp::HistogramDataPoint::default()
    };
    let (points, _) = read(histogram(vec![zero_sum], CUMULATIVE));
    let PointValue::Histogram(value) = points[0].value() else {
        panic!("{points:?}");
    };
    assert_eq!(
        (value.sum, value.min, value.max),
        (Some(0.0), Some(0.0), None)
    );
    assert_eq!((value.counts.as_slice(), value.bounds.len()), (&[4][..], 0));
}

#[test]
fn a_last_bound_at_infinity_is_the_one_that_every_histogram_has() {
    let cases = [
        (
            &[1.0, f64::INFINITY][..],
            &[4_u64, 2, 0][..],
            &[1.0][..],
            &[4_u64, 2][..],
        ),
        (&[f64::INFINITY], &[4, 1], &[], &[5]),
    ];
    for (bounds, counts, true_bounds, true_counts) in cases {
        let point = otlp::HistogramDataPoint {
            explicit_bounds: bounds.to_vec(),
            bucket_counts: counts.to_vec(),
            ..otlp::HistogramDataPoint::default()
        };
        let (points, left_out) = read(histogram(vec![point], CUMULATIVE));
        let PointValue::Histogram(value) = points[0].value() else {
            panic!("{points:?}");
        };
        assert!(left_out.is_empty());
        assert_eq!((&*value.bounds, &*value.counts), (true_bounds, true_counts));
    }
}

#[test]
fn labels_are_texts_of_whatever_the_attributes_are() {
    let pair = |key: &str, value: Option<Any>| KeyValue {
        key: key.to_owned(),
        value: value.map(|value| AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let one = AnyValue {
        value: Some(Any::IntValue(1)),
    };
    let attributes = vec![
        pair("z", Some(Any::StringValue("first".to_owned()))),
        pair("bool", Some(Any::BoolValue(true))),
        pair("int", Some(Any::IntValue(-7))),
        pair("double", Some(Any::DoubleValue(0.5))),
        pair("bytes", Some(Any::BytesValue(vec![1, 2]))),
        pair(
            "list",
            Some(Any::ArrayValue(ArrayValue {
                values: vec![one, AnyValue::default()],
            })),
        ),
        pair(
            "map",
            Some(Any::KvlistValue(KeyValueList {
                values: vec![pair("k", Some(Any::StringValue("v".to_owned())))],
            })),
        ),
        pair("none", None),
        pair("z", Some(Any::StringValue("last".to_owned()))),
    ];
    let expected = [
        ("bool", "true"),
        ("bytes", "AQI="),
        ("double", "0.5"),
        ("int", "-7"),
        ("list", "[1,null]"),
        ("map", r#"{"k":"v"}"#),
        ("none", ""),
        ("z", "last"),
    ];
    let exemplar = otlp::Exemplar {
        filtered_attributes: attributes.clone(),
        value: Some(otlp::exemplar::Value::AsDouble(1.0)),
        ..otlp::Exemplar::default()
    };
    let point = otlp::NumberDataPoint {
        attributes,
        exemplars: vec![exemplar],
        ..int(1)
    };
    let (points, _) = read(sum(vec![point], CUMULATIVE));
    assert!(points[0].labels().iter().eq(expected));
    let of_exemplar = points[0].exemplars()[0].labels.as_ref().unwrap();
    assert!(of_exemplar.iter().eq(expected));
}

#[test]
fn exemplars_are_in_the_order_of_time_and_those_without_a_value_are_lost() {
    let exemplar = |time_unix_nano, value| otlp::Exemplar {
        time_unix_nano,
        value,
        ..otlp::Exemplar::default()
    };
    let point = otlp::NumberDataPoint {
        exemplars: vec![
            exemplar(30, Some(otlp::exemplar::Value::AsInt(-1))),
            exemplar(10, Some(otlp::exemplar::Value::AsDouble(0.5))),
            exemplar(20, None),
        ],
        ..int(1)
    };
    let (points, left_out) = read(sum(vec![point], CUMULATIVE));
    assert!(left_out.is_empty(), "an exemplar is no point");
    let read: Vec<_> = points[0]
        .exemplars()
        .iter()
        .map(|each| (each.time.0, each.value))
        .collect();
    assert_eq!(read, [(10, Number::F64(0.5)), (30, Number::Int(-1))]);
    assert!(!points[0].exemplars()[0].trace_id.is_valid());
}

#[test]
fn what_is_said_of_resource_scope_and_metric_is_kept() {
    let attribute = |key: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::BytesValue(vec![7])),
        }),
        ..KeyValue::default()
    };
    let mut sent = request(vec![metric(sum(vec![int(1)], CUMULATIVE))]);
    let resource = &mut sent.resource_metrics[0];
    resource.schema_url = "of:resource".to_owned();
    resource.resource = Some(Resource {
        attributes: vec![attribute("r")],
        dropped_attributes_count: 3,
        ..Resource::default()
    });
    let scope = &mut resource.scope_metrics[0];
    scope.schema_url = "of:scope".to_owned();
    scope.scope = Some(InstrumentationScope {
        name: "lib".to_owned(),
        version: "2".to_owned(),
        attributes: vec![attribute("s")],
        dropped_attributes_count: 4,
    });
    scope.metrics[0].description = "what it is".to_owned();
    scope.metrics[0].unit = "By".to_owned();
    scope.metrics[0].metadata = vec![attribute("prometheus.type")];
    let payload = sent.encode_to_vec();
    let (batches, _) = decode(OtlpMetricsDecoder::proto(), &payload).unwrap();
    // Metadata is what a snapshot has no place for.
    sent.resource_metrics[0].scope_metrics[0].metrics[0]
        .metadata
        .clear();
    let (resource, scope) = (batches[0].resource(), batches[0].scope());
    assert_eq!(
        (resource.schema_url(), scope.schema_url()),
        (Some("of:resource"), Some("of:scope"))
    );
    assert_eq!(
        (resource.dropped_attributes(), scope.dropped_attributes()),
        (3, 4)
    );
    assert_eq!(scope.version().unwrap().as_str(), "2");
    let of_scope = scope.attributes().next().unwrap();
    assert_eq!(
        (of_scope.0.as_str(), of_scope.1.to_value()),
        ("s", vec![7_u8].into())
    );
    assert_eq!(
        resource.attribute("r").unwrap().to_value(),
        vec![7_u8].into()
    );
    let descriptor = batches[0].families()[0].descriptor();
    assert_eq!(
        (descriptor.description(), descriptor.unit()),
        ("what it is", "By")
    );
}

#[test]
fn each_scope_is_a_batch_of_its_resource() {
    let mut sent = request(vec![metric(sum(vec![int(1)], CUMULATIVE))]);
    let group = sent.resource_metrics[0].scope_metrics[0].clone();
    sent.resource_metrics[0].scope_metrics =
        vec![group.clone(), otlp::ScopeMetrics::default(), group];
    let payload = sent.encode_to_vec();
    let (batches, left_out) = decode(OtlpMetricsDecoder::proto(), &payload).unwrap();
    assert!(left_out.is_empty());
    assert_eq!(batches.len(), 2);
    assert!(std::sync::Arc::ptr_eq(
        batches[0].resource(),
        batches[1].resource()
    ));
}

#[test]
fn lists_of_numbers_need_not_be_packed() {
    let numbers = [1_u64, 2]
        .map(|count| [&[0x31][..], &count.to_le_bytes()].concat())
        .concat();
    let bound = [&[0x39][..], &1.5_f64.to_le_bytes()].concat();
    let data = [fields(&[(0x0a, &[numbers, bound].concat())]), vec![0x10, 2]].concat();
    let payload = around(&fields(&[(0x4a, &data)]));
    let (points, _) = points(decode(OtlpMetricsDecoder::proto(), &payload).unwrap());
    let expected = Histogram {
        bounds: [1.5].into(),
        counts: vec![1, 2],
        ..Histogram::default()
    };
    assert_eq!(*points[0].value(), expected.into());

    let positive = [
        0x08, 0x03, 0x10, 0x05, 0x10, 0xac, 0x02, 0x12, 0x02, 0x07, 0x08,
    ];
    let data = [
        fields(&[(0x0a, &fields(&[(0x42, &positive)]))]),
        vec![0x10, 2],
    ]
    .concat();
    let payload = around(&fields(&[(0x52, &data)]));
    let (points, _) = self::points(decode(OtlpMetricsDecoder::proto(), &payload).unwrap());
    let PointValue::ExponentialHistogram(value) = points[0].value() else {
        panic!("{points:?}");
    };
    assert_eq!(
        (value.positive.offset, &value.positive.counts[..]),
        (-2, &[5, 300, 7, 8][..])
    );
}

/// Protobuf's rules, by which whoever concatenates two messages merges them.
#[test]
fn data_that_comes_in_parts_is_one_and_of_two_kinds_the_last_counts() {
    let one = fields(&[(0x0a, &[0x31, 1, 0, 0, 0, 0, 0, 0, 0])]);
    let two = fields(&[(0x0a, &[0x31, 2, 0, 0, 0, 0, 0, 0, 0])]);
    // The temporality stands in the second part, behind the points of the first.
    let later = [&two[..], &[0x10, 2, 0x18, 1]].concat();
    let cases = [
        (
            fields(&[(0x3a, &one), (0x3a, &later)]),
            Kind::COUNTER,
            &[1, 2][..],
        ),
        (fields(&[(0x3a, &later), (0x2a, &one)]), Kind::Gauge, &[1]),
        (fields(&[(0x2a, &one), (0x3a, &later)]), Kind::COUNTER, &[2]),
    ];
    for (data, kind, numbers) in cases {
        let payload = around(&data);
        let by_prost = ExportMetricsServiceRequest::decode(&payload[..]).unwrap();
        let metric = &by_prost.resource_metrics[0].scope_metrics[0].metrics[0];
        assert_eq!(
            matches!(metric.data, Some(Data::Gauge(_))),
            kind == Kind::Gauge
        );
        let (batches, left_out) = decode(OtlpMetricsDecoder::proto(), &payload).unwrap();
        assert!(left_out.is_empty());
        let family = &batches[0].families()[0];
        assert_eq!(family.descriptor().kind(), kind);
        let read = family.points().iter().map(|point| point.value().clone());
        assert!(read.eq(numbers.iter().map(|number| Number::Int(*number).into())));
    }
}

#[test]
fn a_resource_may_stand_behind_its_metrics_and_unknown_fields_are_skipped() {
    let point = [fields(&[(0x7a, b"?")]), vec![0x31, 7, 0, 0, 0, 0, 0, 0, 0]].concat();
    let gauge = fields(&[
        (0x2a, &fields(&[(0x0a, &point), (0x7a, b"?")])),
        (0x7a, b"?"),
    ]);
    let name = fields(&[(0x0a, b"service.name"), (0x12, &fields(&[(0x0a, b"late")]))]);
    let group = fields(&[
        (0x12, &fields(&[(0x12, &gauge), (0x7a, b"?")])),
        (0x7a, b"?"),
        (0x0a, &fields(&[(0x0a, &name)])),
    ]);
    let payload = fields(&[(0x7a, b"?"), (0x0a, &group)]);
    let (batches, _) = decode(OtlpMetricsDecoder::proto(), &payload).unwrap();
    assert_eq!(batches[0].resource().service_name(), "late");
    assert_eq!(
        *points((batches, LeftOutPoints::default())).0[0].value(),
        Number::Int(7).into()
    );
}

#[test]
fn times_and_the_two_kinds_of_numbers_are_read_to_the_last_bit() {
    let times = |value| otlp::NumberDataPoint {
        start_time_unix_nano: u64::MAX,
        time_unix_nano: u64::MAX - 1,
        value: Some(value),
        ..otlp::NumberDataPoint::default()
    };
    let sent = vec![
        times(number_data_point::Value::AsInt(i64::MIN)),
        times(number_data_point::Value::AsDouble(-0.0)),
        times(number_data_point::Value::AsDouble(f64::NAN)),
    ];
    let (points, _) = read(sum(sent, CUMULATIVE));
    assert_eq!(points[0].start(), UnixNanos(u64::MAX));
    assert_eq!(points[0].time(), UnixNanos(u64::MAX - 1));
    assert_eq!(*points[0].value(), Number::Int(i64::MIN).into());
    let bits = |point: &Point| match point.value() {
        PointValue::Number(Number::F64(double)) => double.to_bits(),
        other => panic!("{other:?}"),
    };
    assert_eq!(bits(&points[1]), (-0.0_f64).to_bits());
    assert_eq!(bits(&points[2]), f64::NAN.to_bits());
}

#[test]
fn json_is_read_as_generously_as_the_specification_asks() {
    let json = r#""sum":{"unknown":[{}],"isMonotonic":true,"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE",
        "dataPoints":[
            {"startTimeUnixNano":5,"timeUnixNano":"9","asInt":-3,"flags":null,"attributes":null,"x":{"y":[1]}},
            {"asInt":"-9223372036854775808"},{"asDouble":2},{"asDouble":"-Infinity"},{"asDouble":"NaN"},{"asDouble":"1e3"},
            {"asInt":"1","exemplars":[{"asDouble":"Infinity","traceId":"0AF7651916CD43DD8448EB211C80319C",
                "spanId":"B7ad6b7169203331","timeUnixNano":4,"filteredAttributes":[{"key":"n","value":{"intValue":8}}]},
                {"spanId":""}]}
        ]}"#;
    let (points, left_out) = read_json(json).unwrap();
    assert!(left_out.is_empty(), "{left_out}");
    assert_eq!(
        (points[0].start(), points[0].time()),
        (UnixNanos(5), UnixNanos(9))
    );
    let values: Vec<_> = points
        .iter()
        .map(|point| format!("{:?}", point.value()))
        .collect();
    let expected = [
        "Number(Int(-3))",
        "Number(Int(-9223372036854775808))",
        "Number(F64(2.0))",
        "Number(F64(-inf))",
        "Number(F64(NaN))",
        "Number(F64(1000.0))",
        "Number(Int(1))",
    ];
    assert_eq!(values, expected);
    let [exemplar] = points[6].exemplars() else {
        panic!("{points:?}");
    };
    assert_eq!(exemplar.value, Number::F64(f64::INFINITY));
    assert_eq!(
        exemplar.trace_id.to_string(),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(exemplar.span_id.to_string(), "b7ad6b7169203331");
    assert!(exemplar.labels.as_ref().unwrap().iter().eq([("n", "8")]));
}

#[test]
fn the_histograms_and_summaries_of_json_are_read_whole() {
    let histogram = r#""histogram":{"aggregationTemporality":2,"dataPoints":[{"count":"6","sum":7.5,"min":0.25,
        "max":"2.5","bucketCounts":["1",2,"3"],"explicitBounds":[0.5,"1"]}]}"#;
    let expected = Histogram {
        count: 6,
        sum: Some(7.5),
        min: Some(0.25),
        max: Some(2.5),
        bounds: [0.5, 1.0].into(),
        counts: vec![1, 2, 3],
    };
    assert_eq!(*read_json(histogram).unwrap().0[0].value(), expected.into());

    let exponential = r#""exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"count":10,"scale":"-1",
        "zeroCount":"1","zeroThreshold":1e-9,"positive":{"offset":-3,"bucketCounts":["1","0","300"]},
        "negative":{"offset":"2","bucketCounts":[5]}}]}"#;
    let expected = ExponentialHistogram {
        count: 10,
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
        ..ExponentialHistogram::default()
    };
    assert_eq!(
        *read_json(exponential).unwrap().0[0].value(),
        expected.into()
    );

    let summary = r#""summary":{"dataPoints":[{"count":"4","sum":2.5,"quantileValues":[
        {"value":0.5},{"quantile":0.99,"value":1.25}]}]}"#;
    let of = |quantile, value| QuantileValue { quantile, value };
    let expected = Summary {
        count: 4,
        sum: 2.5,
        quantiles: vec![of(0.0, 0.5), of(0.99, 1.25)],
        sketch: None,
    };
    assert_eq!(*read_json(summary).unwrap().0[0].value(), expected.into());
}

#[test]
fn lines_of_json_are_read_one_after_the_other_and_an_error_says_where() {
    let line = include_str!("golden/metrics.json").trim();
    let good = format!("{line}\n\n{line}\r\n{line}");
    let (batches, _) = decode(OtlpMetricsDecoder::json(), good.as_bytes()).unwrap();
    assert_eq!(batches.len(), 3);
    let bad = format!("{line}\n{{\"resourceMetrics\":7}}\n{line}\n");
    let mut before_the_error = 0;
    let mut decoder = OtlpMetricsDecoder::json();
    let result = decoder.decode(bad.as_bytes(), &mut |_| before_the_error += 1);
    assert_eq!(before_the_error, 1);
    let error = result.unwrap_err();
    let seven = line.len() + 1 + "{\"resourceMetrics\":".len();
    assert_eq!(error.offset, seven, "{error}");
}

/// No rule of OTLP's, but protobuf's own JSON parsers have to take them, and to ignore a whole request would lose it without a word.
#[test]
fn json_whose_names_are_protobufs_is_the_same() {
    for json in [
        &include_bytes!("golden/metrics.json")[..],
        include_bytes!("golden/sdk_metrics.json"),
    ] {
        let renamed = with_protobufs_names(json);
        assert_ne!(renamed.len(), json.len());
        let [ours, theirs] = [json, &renamed[..]].map(|json| {
            let (batches, left_out) = decode(OtlpMetricsDecoder::json(), json).unwrap();
            let whole: Vec<_> = batches.iter().map(expected).collect();
            format!("{whole:?} {left_out:?}")
        });
        assert_eq!(ours, theirs);
        assert!(ours.len() > json.len(), "not every point is lost in both");
    }
}
