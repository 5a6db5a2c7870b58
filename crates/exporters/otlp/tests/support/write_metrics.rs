//! Requests of metrics in the OpenTelemetry project's own messages, and what the decoder makes of them.

use hiq_core::decode::DecodeError;
use hiq_core::metric::{MetricBatch, Point};
use hiq_otlp::{LeftOutPoints, OtlpMetricsDecoder};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;

pub(crate) const DELTA: i32 = 1;
pub(crate) const CUMULATIVE: i32 = 2;

pub(crate) fn decode(
    mut decoder: OtlpMetricsDecoder,
    payload: &[u8],
) -> Result<(Vec<MetricBatch>, LeftOutPoints), DecodeError> {
    let mut batches = Vec::new();
    let left_out = decoder.decode(payload, &mut |batch| batches.push(batch))?;
    Ok((batches, left_out))
}

pub(crate) fn request(metrics: Vec<otlp::Metric>) -> ExportMetricsServiceRequest {
    let scope = otlp::ScopeMetrics {
        metrics,
        ..otlp::ScopeMetrics::default()
    };
    let resource = otlp::ResourceMetrics {
        scope_metrics: vec![scope],
        ..otlp::ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![resource],
    }
}

pub(crate) fn metric(data: Data) -> otlp::Metric {
    otlp::Metric {
        name: "m".to_owned(),
        data: Some(data),
        ..otlp::Metric::default()
    }
}

/// What becomes of the points of `data`, a metric by itself.
pub(crate) fn read(data: Data) -> (Vec<Point>, LeftOutPoints) {
    let payload = request(vec![metric(data)]).encode_to_vec();
    points(decode(OtlpMetricsDecoder::proto(), &payload).unwrap())
}

pub(crate) fn points(
    (batches, left_out): (Vec<MetricBatch>, LeftOutPoints),
) -> (Vec<Point>, LeftOutPoints) {
    let families = batches.iter().flat_map(MetricBatch::families);
    let points = families.flat_map(|family| family.points().to_vec());
    (points.collect(), left_out)
}

/// The points of a metric in JSON: `data` is its kind with what it holds.
pub(crate) fn read_json(data: &str) -> Result<(Vec<Point>, LeftOutPoints), DecodeError> {
    let json = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{data}}}]}}]}}]}}"#
    );
    decode(OtlpMetricsDecoder::json(), json.as_bytes()).map(points)
}

pub(crate) fn int(int: i64) -> otlp::NumberDataPoint {
    otlp::NumberDataPoint {
        value: Some(otlp::number_data_point::Value::AsInt(int)),
        ..otlp::NumberDataPoint::default()
    }
}

pub(crate) fn sum(data_points: Vec<otlp::NumberDataPoint>, aggregation_temporality: i32) -> Data {
    Data::Sum(otlp::Sum {
        data_points,
        aggregation_temporality,
        is_monotonic: true,
    })
}

pub(crate) fn histogram(
    data_points: Vec<otlp::HistogramDataPoint>,
    aggregation_temporality: i32,
) -> Data {
    Data::Histogram(otlp::Histogram {
        data_points,
        aggregation_temporality,
    })
}

pub(crate) fn exponential(point: otlp::ExponentialHistogramDataPoint) -> Data {
    Data::ExponentialHistogram(otlp::ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: CUMULATIVE,
    })
}

pub(crate) fn summary(quantiles: &[(f64, f64)]) -> Data {
    let value = |&(quantile, value): &(f64, f64)| otlp::summary_data_point::ValueAtQuantile {
        quantile,
        value,
    };
    Data::Summary(otlp::Summary {
        data_points: vec![otlp::SummaryDataPoint {
            quantile_values: quantiles.iter().map(value).collect(),
            ..otlp::SummaryDataPoint::default()
        }],
    })
}

/// A message in protobuf: its fields, each a tag and a body with its length.
pub(crate) fn fields(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let field =
        |&(tag, body): &(u8, &[u8])| [&[tag, u8::try_from(body.len()).unwrap()], body].concat();
    fields.iter().flat_map(field).collect()
}

/// A request of one metric.
pub(crate) fn around(metric: &[u8]) -> Vec<u8> {
    [0x12, 0x12, 0x0a]
        .iter()
        .fold(metric.to_vec(), |inner, tag| fields(&[(*tag, &inner)]))
}

/// The bytes of a file of hex digits.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.trim().as_bytes().chunks(2).map(byte).collect()
}
