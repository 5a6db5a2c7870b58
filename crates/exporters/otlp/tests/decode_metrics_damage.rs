//! Requests of metrics that are cut off, wrong or absurd: an error that says where, or less, and never more than that.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use hiq_core::batch::Batch;
use hiq_otlp::OtlpMetricsDecoder;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Any,
};
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use prost::Message as _;
use support::write_metrics::*;

fn items(decoder: OtlpMetricsDecoder, payload: &[u8]) -> Option<usize> {
    let (batches, left_out) = decode(decoder, payload).ok()?;
    let kept: usize = batches.iter().map(Batch::items).sum();
    Some(kept + usize::try_from(left_out.total()).unwrap())
}

#[test]
fn a_request_that_ends_too_early_anywhere_is_an_error_or_has_fewer_points() {
    for hex in [
        include_str!("golden/metrics.hex"),
        include_str!("golden/sdk_metrics.hex"),
    ] {
        let proto = bytes(hex);
        let whole = items(OtlpMetricsDecoder::proto(), &proto).unwrap();
        let errors = (0..proto.len()).filter(|end| {
            let found = items(OtlpMetricsDecoder::proto(), &proto[..*end]);
            found.is_none_or(|found| {
                assert!(found < whole, "{found} of {whole} in {end} bytes");
                false
            })
        });
        assert_eq!(
            errors.count(),
            proto.len() - 1,
            "one resource: any cut is inside it"
        );
    }
    for json in [
        include_str!("golden/metrics.json"),
        include_str!("golden/sdk_metrics.json"),
    ] {
        let json = json.trim().as_bytes();
        for end in 1..json.len() {
            assert_eq!(items(OtlpMetricsDecoder::json(), &json[..end]), None);
        }
    }
}

#[test]
fn nothing_is_a_request_without_points() {
    assert_eq!(items(OtlpMetricsDecoder::proto(), b""), Some(0));
    for json in [
        "",
        " \n",
        "{}",
        r#"{"resourceMetrics":null}"#,
        r#"{"resourceMetrics":[{}]}"#,
    ] {
        assert_eq!(items(OtlpMetricsDecoder::json(), json.as_bytes()), Some(0));
    }
}

#[test]
fn what_is_wrong_in_protobuf_is_said_with_its_place() {
    // The metric begins at byte 6; a kind's first point at byte 10.
    let cases: [(&[u8], &str); 8] = [
        (&[0x0a, 1, 0xff], "byte 8: a text is not UTF-8"),
        (
            &[0x3a, 9, 0],
            "byte 8: a field is longer than what holds it",
        ),
        (
            &[0x28, 1],
            "byte 7: a field has a number where a text or message belongs",
        ),
        (
            &[0x2a, 4, 0x0a, 2, 0x30, 1],
            "byte 11: a field has another wire type than eight bytes",
        ),
        (
            &[0x2a, 4, 0x0a, 2, 0x21, 1],
            "byte 11: a field is longer than what holds it",
        ),
        (
            &[0x2a, 7, 0x0a, 5, 0x2a, 3, 0x22, 1, 7],
            "byte 14: a span id is not 8 bytes long",
        ),
        (
            &[0x4a, 7, 0x0a, 5, 0x32, 3, 1, 2, 3],
            "byte 12: a field is longer than what holds it",
        ),
        (
            &[0x52, 8, 0x0a, 6, 0x42, 4, 0x12, 2, 1, 0x80],
            "byte 15: it ends inside a number",
        ),
    ];
    for (metric, expected) in cases {
        let error = decode(OtlpMetricsDecoder::proto(), &around(metric)).unwrap_err();
        assert_eq!(error.to_string(), format!("OTLP protobuf, {expected}"));
    }
}

#[test]
fn what_is_wrong_in_json_is_said_with_its_place() {
    let cases = [
        (
            r#""gauge":{},"sum":{}"#,
            "byte 0: the metric `m` has data of two kinds",
        ),
        (
            r#""exponentialHistogram":{"dataPoints":[{"scale":2147483648}]}"#,
            "byte 0: scale must be a 32-bit integer, not 2147483648",
        ),
        (
            r#""gauge":{"dataPoints":[{"asInt":1,"exemplars":[{"traceId":"xyz"}]}]}"#,
            "byte 0: a trace id must be 32 hex digits, not `xyz`",
        ),
        (
            r#""gauge":{"dataPoints":[{"asInt":"one"}]}"#,
            "invalid value: string \"one\", expected a 64-bit integer as text or number",
        ),
        (
            r#""sum":{"aggregationTemporality":{}}"#,
            "expected an aggregation temporality as number or name",
        ),
        (
            r#""histogram":{"dataPoints":[{"bucketCounts":[-1]}]}"#,
            "expected an unsigned 64-bit integer as text or number",
        ),
        (
            r#""gauge":{"dataPoints":[{"attributes":[{"key":"k","value":{"bytesValue":"!"}}]}]}"#,
            "byte 0: bytesValue is not base64",
        ),
    ];
    for (data, expected) in cases {
        let error = read_json(data).unwrap_err().to_string();
        assert!(error.starts_with("OTLP JSON, byte "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

fn with_attribute(value: Any) -> Vec<u8> {
    let attribute = KeyValue {
        key: "deep".to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let point = otlp::NumberDataPoint {
        attributes: vec![attribute],
        ..int(1)
    };
    request(vec![metric(sum(vec![point], CUMULATIVE))]).encode_to_vec()
}

fn nested(levels: usize) -> Any {
    (0..levels).fold(Any::IntValue(7), |inner, level| {
        let value = Some(AnyValue { value: Some(inner) });
        if level % 2 == 0 {
            let values = value.into_iter().collect();
            return Any::ArrayValue(ArrayValue { values });
        }
        let pair = KeyValue {
            key: "in".to_owned(),
            value,
            ..KeyValue::default()
        };
        Any::KvlistValue(KeyValueList { values: vec![pair] })
    })
}

#[test]
fn values_are_read_64_levels_deep_and_refused_beyond() {
    let payload = with_attribute(nested(64));
    let (points, _) = points(decode(OtlpMetricsDecoder::proto(), &payload).unwrap());
    let label = points[0].labels().get("deep").unwrap();
    assert_eq!(label.matches("{\"in\":[").count(), 32);
    assert!(label.contains("[7]"), "{label}");
    let error = decode(OtlpMetricsDecoder::proto(), &with_attribute(nested(65))).unwrap_err();
    assert!(
        error.to_string().contains("deeper than 64 levels"),
        "{error}"
    );
}

#[test]
fn the_deepest_value_of_the_deepest_place_is_read_from_json() {
    let deep = |levels: usize| {
        let open = r#"{"kvlistValue":{"values":[{"key":"k","value":"#.repeat(levels);
        let value = format!("{open}{{\"intValue\":\"7\"}}{}", "}]}}".repeat(levels));
        format!(
            r#""gauge":{{"dataPoints":[{{"asInt":1,"exemplars":[{{"asInt":1,"filteredAttributes":[{{"key":"deep",
            "value":{value}}}]}}]}}]}}"#
        )
    };
    let (points, _) = read_json(&deep(64)).unwrap();
    let labels = points[0].exemplars()[0].labels.as_ref().unwrap();
    assert_eq!(labels.get("deep").unwrap().matches("{\"k\":").count(), 64);
    assert!(
        read_json(&deep(80))
            .unwrap_err()
            .to_string()
            .contains("deeper than 64 levels")
    );
}

#[test]
fn absurd_nesting_ends_in_an_error_not_in_an_overflow() {
    for levels in [1_000, 1_000_000] {
        let brackets = b"{\"resourceMetrics\":".repeat(levels);
        let error = decode(OtlpMetricsDecoder::json(), &brackets).unwrap_err();
        assert!(error.to_string().contains("deeper than 64 levels"));
    }
    let mut value = Vec::new();
    for _ in 0..10_000 {
        for tag in [0x0a, 0x2a] {
            let inner = std::mem::take(&mut value);
            value.push(tag);
            prost::encode_length_delimiter(inner.len(), &mut value).unwrap();
            value.extend_from_slice(&inner);
        }
    }
    // Down to the value: resource, scope, metric, gauge, point, attribute.
    for tag in [0x12, 0x3a, 0x0a, 0x2a, 0x12, 0x12, 0x0a] {
        let inner = std::mem::take(&mut value);
        value.push(tag);
        prost::encode_length_delimiter(inner.len(), &mut value).unwrap();
        value.extend_from_slice(&inner);
    }
    let error = decode(OtlpMetricsDecoder::proto(), &value).unwrap_err();
    assert!(
        error.to_string().contains("deeper than 64 levels"),
        "{error}"
    );
}
