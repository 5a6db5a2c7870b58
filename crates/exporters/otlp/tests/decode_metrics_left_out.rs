//! Points that no snapshot can hold are left out and counted, and nothing else is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use hiq_core::metric::{Buckets, ExponentialHistogram, Number, Point, PointValue, QuantileValue};
use hiq_otlp::{LeftOutPoints, OtlpMetricsDecoder};
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;
use support::write_metrics::*;

#[track_caller]
fn assert_left_out(found: (Vec<Point>, LeftOutPoints), count: impl FnOnce(&mut LeftOutPoints)) {
    let mut expected = LeftOutPoints::default();
    count(&mut expected);
    assert!(found.0.is_empty(), "{:?}", found.0);
    assert_eq!(found.1, expected);
}

#[test]
fn deltas_and_points_of_an_unknown_temporality_are_left_out_and_counted() {
    let found = read(sum(vec![int(1), int(2)], DELTA));
    assert_left_out(found, |left| left.deltas = 2);
    let empty = otlp::HistogramDataPoint::default();
    let found = read(histogram(vec![empty.clone(), empty.clone()], DELTA));
    assert_left_out(found, |left| left.deltas = 2);
    let unknown = |left: &mut LeftOutPoints| left.without_temporality = 1;
    for number in [0, 7, 258, -2] {
        assert_left_out(read(sum(vec![int(1)], number)), unknown);
        let json = r#""sum":{"aggregationTemporality":NUMBER,"dataPoints":[{"asInt":1}]}"#;
        let json = json.replace("NUMBER", &number.to_string());
        assert_left_out(read_json(&json).unwrap(), unknown);
    }
    assert_left_out(read(histogram(vec![empty], 0)), unknown);
}

#[test]
fn a_batch_keeps_the_rest_and_the_sentence_says_what_it_does_not() {
    let ended = otlp::NumberDataPoint { flags: 1, ..int(5) };
    let metrics = vec![
        metric(sum(vec![int(1), ended], CUMULATIVE)),
        metric(sum(vec![int(2)], DELTA)),
        otlp::Metric::default(),
    ];
    let mut twice = request(metrics.clone());
    twice
        .resource_metrics
        .extend(request(metrics).resource_metrics);
    let payload = twice.encode_to_vec();
    let (batches, left_out) = decode(OtlpMetricsDecoder::proto(), &payload).unwrap();
    assert_eq!(batches.len(), 2);
    for batch in &batches {
        assert_eq!(batch.families().len(), 1);
        let (kept, _) = points((vec![batch.clone()], left_out));
        assert_eq!(kept.len(), 1);
        assert_eq!(*kept[0].value(), Number::Int(1).into());
    }
    assert_eq!(
        left_out.to_string(),
        "6 points left out: 2 that are deltas, where totals since a start are kept; 2 without a value; \
         2 of an unknown kind"
    );
    let mut all = left_out;
    all += left_out;
    assert_eq!((all.total(), all.without_value), (12, 4));
}

#[test]
fn the_end_of_a_series_and_a_number_that_is_not_there_are_no_values() {
    let nothing = |left: &mut LeftOutPoints| left.without_value = 1;
    let no_number = otlp::NumberDataPoint::default();
    let gauge = |point| {
        Data::Gauge(otlp::Gauge {
            data_points: vec![point],
        })
    };
    assert_left_out(read(gauge(no_number)), nothing);
    for flags in [1, 0xffff_ffff] {
        let ended = otlp::NumberDataPoint { flags, ..int(1) };
        assert_left_out(read(gauge(ended)), nothing);
        let ended = otlp::HistogramDataPoint {
            flags,
            ..otlp::HistogramDataPoint::default()
        };
        assert_left_out(read(histogram(vec![ended], CUMULATIVE)), nothing);
        let ended = otlp::ExponentialHistogramDataPoint {
            flags,
            ..otlp::ExponentialHistogramDataPoint::default()
        };
        assert_left_out(read(exponential(ended)), nothing);
        let ended = otlp::SummaryDataPoint {
            flags,
            ..otlp::SummaryDataPoint::default()
        };
        let data_points = vec![ended];
        assert_left_out(read(Data::Summary(otlp::Summary { data_points })), nothing);
    }
    let other_flag = otlp::NumberDataPoint { flags: 2, ..int(1) };
    assert_eq!(read(gauge(other_flag)).0.len(), 1);
    for point in [
        "{}",
        r#"{"asInt":"1","flags":1}"#,
        r#"{"asInt":"1","flags":"3"}"#,
    ] {
        let json = format!(r#""gauge":{{"dataPoints":[{point}]}}"#);
        assert_left_out(read_json(&json).unwrap(), nothing);
    }
}

#[test]
fn buckets_that_do_not_fit_their_bounds_are_left_out() {
    let bad = |left: &mut LeftOutPoints| left.malformed = 1;
    let cases: [(&[f64], &[u64]); 9] = [
        (&[1.0], &[]),
        (&[1.0], &[1]),
        (&[1.0], &[1, 2, 3]),
        (&[], &[1, 2]),
        (&[2.0, 1.0], &[1, 1, 1]),
        (&[1.0, 1.0], &[1, 1, 1]),
        (&[f64::NAN], &[1, 1]),
        (&[f64::NEG_INFINITY], &[1, 1]),
        (&[1.0], &[u64::MAX, 1]),
    ];
    for (bounds, counts) in cases {
        let point = otlp::HistogramDataPoint {
            explicit_bounds: bounds.to_vec(),
            bucket_counts: counts.to_vec(),
            ..otlp::HistogramDataPoint::default()
        };
        let found = read(histogram(vec![point], CUMULATIVE));
        assert_left_out(found, bad);
    }
}

fn buckets(offset: i32, bucket_counts: &[u64]) -> otlp::exponential_histogram_data_point::Buckets {
    otlp::exponential_histogram_data_point::Buckets {
        offset,
        bucket_counts: bucket_counts.to_vec(),
    }
}

#[test]
fn an_exponential_histogram_is_read_whole_and_one_beyond_all_doubles_is_left_out() {
    let point = otlp::ExponentialHistogramDataPoint {
        count: 16,
        sum: Some(-3.5),
        scale: -3,
        zero_count: 1,
        zero_threshold: 1e-9,
        positive: Some(buckets(-7, &[1, 0, 300])),
        negative: Some(buckets(i32::from(i16::MIN), &[u64::MAX >> 1])),
        min: Some(-20.0),
        ..otlp::ExponentialHistogramDataPoint::default()
    };
    let expected = ExponentialHistogram {
        count: 16,
        sum: Some(-3.5),
        min: Some(-20.0),
        max: None,
        scale: -3,
        zero_count: 1,
        zero_threshold: 1e-9,
        positive: Buckets {
            offset: -7,
            counts: vec![1, 0, 300],
        },
        negative: Buckets {
            offset: -32_768,
            counts: vec![u64::MAX >> 1],
        },
    };
    let (points, _) = read(exponential(point.clone()));
    assert_eq!(*points[0].value(), expected.into());

    let mut bad = vec![point; 7];
    bad[0].scale = 21;
    bad[1].scale = -12;
    bad[2].positive = Some(buckets(i32::MAX, &[1]));
    bad[3].negative = Some(buckets(i32::MIN, &[1]));
    bad[4].zero_threshold = -1.0;
    bad[5].zero_threshold = f64::NAN;
    bad[6].zero_count = u64::MAX;
    for point in bad {
        let found = read(exponential(point));
        assert_left_out(found, |left| left.malformed = 1);
    }
    // The buckets of the smallest and the largest double at the finest scale.
    let whole_range = otlp::ExponentialHistogramDataPoint {
        scale: 20,
        positive: Some(buckets(-(1_074 << 20) - 1, &[1])),
        negative: Some(buckets((1_024 << 20) - 1, &[1])),
        ..otlp::ExponentialHistogramDataPoint::default()
    };
    assert_eq!(read(exponential(whole_range)).0.len(), 1);
}

#[test]
fn quantiles_are_shares_and_rise() {
    let (points, _) = read(summary(&[(1.0, 9.0), (0.0, f64::NAN), (0.5, 4.0)]));
    let PointValue::Summary(value) = points[0].value() else {
        panic!("{points:?}");
    };
    let [none, half, all] = value.quantiles[..] else {
        panic!("{value:?}");
    };
    assert!(none.quantile == 0.0 && none.value.is_nan());
    let of = |quantile, value| QuantileValue { quantile, value };
    assert_eq!([half, all], [of(0.5, 4.0), of(1.0, 9.0)]);
    for share in [-0.1, 1.1, f64::NAN] {
        let found = read(summary(&[(0.5, 1.0), (share, 1.0)]));
        assert_left_out(found, |left| left.malformed = 1);
    }
}
