//! Requests of metrics in JSON.

use std::fmt;

use hiq_core::decode::DecodeError;
use hiq_core::metric::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, Number,
    PointValue, QuantileValue, Summary,
};
use hiq_core::time::UnixNanos;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::parts::{JsonOrigin, KeyValue, Made, attributes, each_document, span_id, trace_id};
use crate::decode::left_out::LeftOutPoints;
use crate::decode::model::{ResourceMetrics, ScopeMetrics};
use crate::decode::points::{LoosePoint, Points, Temporality, labels};
use crate::json::{Double, Int64, Uint64};

/// Hands the metrics of each resource to `take`, request after request, and counts in `left_out` what is not among them.
pub(in crate::decode) fn each_resource_metrics(
    payload: &[u8],
    left_out: &mut LeftOutPoints,
    mut take: impl FnMut(ResourceMetrics),
) -> Result<(), DecodeError> {
    each_document(payload, |request: Request| {
        for metrics in request.resource_metrics.unwrap_or_default() {
            take(metrics.make(left_out)?);
        }
        Ok(())
    })
}

/// Every field may be missing or `null`, and called as in protobuf; unknown ones are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(alias = "resource_metrics")]
    resource_metrics: Option<Vec<JsonResourceMetrics>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResourceMetrics {
    resource: Option<JsonOrigin>,
    #[serde(alias = "scope_metrics")]
    scope_metrics: Option<Vec<JsonScopeMetrics>>,
    #[serde(alias = "schema_url")]
    schema_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonScopeMetrics {
    scope: Option<JsonOrigin>,
    metrics: Option<Vec<JsonMetric>>,
    #[serde(alias = "schema_url")]
    schema_url: Option<String>,
}

/// One of the kinds is set, or none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonMetric {
    name: Option<String>,
    description: Option<String>,
    unit: Option<String>,
    gauge: Option<Measured>,
    sum: Option<Measured>,
    histogram: Option<Measured>,
    #[serde(alias = "exponential_histogram")]
    exponential_histogram: Option<Measured>,
    summary: Option<Measured>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    #[serde(alias = "data_points")]
    data_points: Option<Vec<JsonPoint>>,
    #[serde(alias = "aggregation_temporality")]
    aggregation_temporality: Option<JsonTemporality>,
    #[serde(alias = "is_monotonic")]
    is_monotonic: Option<bool>,
}

/// A point of any kind: each has its part of the fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonPoint {
    attributes: Option<Vec<KeyValue>>,
    #[serde(alias = "start_time_unix_nano")]
    start_time_unix_nano: Option<Uint64>,
    #[serde(alias = "time_unix_nano")]
    time_unix_nano: Option<Uint64>,
    flags: Option<Uint64>,
    exemplars: Option<Vec<JsonExemplar>>,
    #[serde(alias = "as_double")]
    as_double: Option<Double>,
    #[serde(alias = "as_int")]
    as_int: Option<Int64>,
    count: Option<Uint64>,
    sum: Option<Double>,
    min: Option<Double>,
    max: Option<Double>,
    #[serde(alias = "bucket_counts")]
    bucket_counts: Option<Vec<Uint64>>,
    #[serde(alias = "explicit_bounds")]
    explicit_bounds: Option<Vec<Double>>,
    scale: Option<Int64>,
    #[serde(alias = "zero_count")]
    zero_count: Option<Uint64>,
    #[serde(alias = "zero_threshold")]
    zero_threshold: Option<Double>,
    positive: Option<JsonBuckets>,
    negative: Option<JsonBuckets>,
    #[serde(alias = "quantile_values")]
    quantile_values: Option<Vec<JsonQuantile>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonBuckets {
    offset: Option<Int64>,
    #[serde(alias = "bucket_counts")]
    bucket_counts: Option<Vec<Uint64>>,
}

#[derive(Deserialize)]
struct JsonQuantile {
    quantile: Option<Double>,
    value: Option<Double>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonExemplar {
    #[serde(alias = "filtered_attributes")]
    filtered_attributes: Option<Vec<KeyValue>>,
    #[serde(alias = "time_unix_nano")]
    time_unix_nano: Option<Uint64>,
    #[serde(alias = "as_double")]
    as_double: Option<Double>,
    #[serde(alias = "as_int")]
    as_int: Option<Int64>,
    #[serde(alias = "span_id")]
    span_id: Option<String>,
    #[serde(alias = "trace_id")]
    trace_id: Option<String>,
}

impl JsonResourceMetrics {
    fn make(self, left_out: &mut LeftOutPoints) -> Made<ResourceMetrics> {
        let resource = self.resource.unwrap_or_default().make()?;
        let scopes = self.scope_metrics.unwrap_or_default().into_iter();
        Ok(ResourceMetrics {
            resource: resource.into_resource(&self.schema_url.unwrap_or_default()),
            scopes: scopes
                .map(|group| group.make(left_out))
                .collect::<Made<_>>()?,
        })
    }
}

impl JsonScopeMetrics {
    fn make(self, left_out: &mut LeftOutPoints) -> Made<ScopeMetrics> {
        let scope = self.scope.unwrap_or_default().make()?;
        let mut families = Vec::new();
        for metric in self.metrics.unwrap_or_default() {
            families.extend(metric.make(left_out)?);
        }
        Ok(ScopeMetrics {
            scope: scope.into_scope(&self.schema_url.unwrap_or_default()),
            families,
        })
    }
}

impl JsonMetric {
    /// `None` where it has no data of a known kind, or no point that can be kept.
    fn make(mut self, left_out: &mut LeftOutPoints) -> Made<Option<Family>> {
        let Some((kind, data)) = self.take_data()? else {
            left_out.of_unknown_kind += 1;
            return Ok(None);
        };
        let temporality = match kind {
            Kind::Gauge | Kind::Summary => Temporality::Cumulative,
            _ => data.aggregation_temporality.unwrap_or_default().0,
        };
        let mut points = Points::new(temporality, left_out);
        for point in data.data_points.unwrap_or_default() {
            points.take(point.make(kind)?);
        }
        let descriptor = Descriptor::new(self.name.unwrap_or_default(), kind)
            .with_description(self.description.unwrap_or_default())
            .with_unit(self.unit.unwrap_or_default());
        let family = points.into_family(descriptor);
        Ok((!family.points().is_empty()).then_some(family))
    }

    fn take_data(&mut self) -> Made<Option<(Kind, Measured)>> {
        let sum = self.sum.take().map(|data| {
            let monotonic = data.is_monotonic.unwrap_or_default();
            (Kind::Sum { monotonic }, data)
        });
        let others = [
            (Kind::Gauge, self.gauge.take()),
            (Kind::Histogram, self.histogram.take()),
            (
                Kind::ExponentialHistogram,
                self.exponential_histogram.take(),
            ),
            (Kind::Summary, self.summary.take()),
        ];
        let others = others
            .into_iter()
            .filter_map(|(kind, data)| Some((kind, data?)));
        let mut all = sum.into_iter().chain(others);
        let data = all.next();
        if all.next().is_some() {
            let name = self.name.as_deref().unwrap_or_default();
            let shown: String = name.chars().take(64).collect();
            return Err(format!("the metric `{shown}` has data of two kinds"));
        }
        Ok(data)
    }
}

impl JsonPoint {
    fn make(mut self, kind: Kind) -> Made<LoosePoint<'static>> {
        let mut exemplars = Vec::new();
        for exemplar in self.exemplars.take().unwrap_or_default() {
            exemplars.extend(exemplar.make()?);
        }
        Ok(LoosePoint {
            attributes: attributes(self.attributes.take())?,
            start: self.start_time_unix_nano.unwrap_or_default().0,
            time: self.time_unix_nano.unwrap_or_default().0,
            flags: self.flags.unwrap_or_default().0,
            value: self.value(kind)?,
            exemplars,
        })
    }

    fn value(self, kind: Kind) -> Made<Option<PointValue>> {
        Ok(match kind {
            Kind::Histogram => Some(self.histogram().into()),
            Kind::ExponentialHistogram => Some(self.exponential()?.into()),
            Kind::Summary => Some(self.summary().into()),
            _ => number(self.as_int, self.as_double).map(PointValue::from),
        })
    }

    fn histogram(self) -> Histogram {
        let bounds = self.explicit_bounds.unwrap_or_default();
        Histogram {
            count: self.count.unwrap_or_default().0,
            sum: self.sum.map(|sum| sum.0),
            min: self.min.map(|min| min.0),
            max: self.max.map(|max| max.0),
            bounds: bounds.into_iter().map(|bound| bound.0).collect(),
            counts: numbers(self.bucket_counts),
        }
    }

    fn exponential(self) -> Made<ExponentialHistogram> {
        Ok(ExponentialHistogram {
            count: self.count.unwrap_or_default().0,
            sum: self.sum.map(|sum| sum.0),
            min: self.min.map(|min| min.0),
            max: self.max.map(|max| max.0),
            scale: int32("scale", self.scale)?,
            zero_count: self.zero_count.unwrap_or_default().0,
            zero_threshold: self.zero_threshold.unwrap_or_default().0,
            positive: self.positive.unwrap_or_default().make()?,
            negative: self.negative.unwrap_or_default().make()?,
        })
    }

    fn summary(self) -> Summary {
        let quantiles = self.quantile_values.unwrap_or_default().into_iter();
        Summary {
            count: self.count.unwrap_or_default().0,
            sum: self.sum.unwrap_or_default().0,
            quantiles: quantiles
                .map(|each| QuantileValue {
                    quantile: each.quantile.unwrap_or_default().0,
                    value: each.value.unwrap_or_default().0,
                })
                .collect(),
            sketch: None,
        }
    }
}

impl JsonBuckets {
    fn make(self) -> Made<Buckets> {
        Ok(Buckets {
            offset: int32("offset", self.offset)?,
            counts: numbers(self.bucket_counts),
        })
    }
}

impl JsonExemplar {
    /// `None` where it has no value.
    fn make(self) -> Made<Option<Exemplar>> {
        let (trace, span) = (trace_id(self.trace_id)?, span_id(self.span_id)?);
        let attributes = attributes(self.filtered_attributes)?;
        let time = UnixNanos(self.time_unix_nano.unwrap_or_default().0);
        Ok(number(self.as_int, self.as_double).map(|value| {
            let mut exemplar = Exemplar::new(time, value, trace, span);
            exemplar.labels = (!attributes.is_empty()).then(|| labels(&attributes));
            exemplar
        }))
    }
}

fn number(int: Option<Int64>, double: Option<Double>) -> Option<Number> {
    let int = int.map(|int| Number::Int(int.0));
    int.or_else(|| double.map(|double| Number::F64(double.0)))
}

fn numbers(numbers: Option<Vec<Uint64>>) -> Vec<u64> {
    let numbers = numbers.unwrap_or_default().into_iter();
    numbers.map(|number| number.0).collect()
}

fn int32(what: &str, number: Option<Int64>) -> Made<i32> {
    let number = number.unwrap_or_default().0;
    i32::try_from(number).map_err(|_| format!("{what} must be a 32-bit integer, not {number}"))
}

/// The name or number of an `AggregationTemporality`.
#[derive(Default)]
struct JsonTemporality(Temporality);

impl<'de> Deserialize<'de> for JsonTemporality {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TemporalityVisitor)
    }
}

struct TemporalityVisitor;

impl Visitor<'_> for TemporalityVisitor {
    type Value = JsonTemporality;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an aggregation temporality as number or name")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<JsonTemporality, E> {
        let number = u8::try_from(number).unwrap_or_default();
        Ok(JsonTemporality(Temporality::from_otlp(number)))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<JsonTemporality, E> {
        Ok(JsonTemporality::default())
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<JsonTemporality, E> {
        Ok(JsonTemporality(match name {
            "AGGREGATION_TEMPORALITY_DELTA" => Temporality::Delta,
            "AGGREGATION_TEMPORALITY_CUMULATIVE" => Temporality::Cumulative,
            _ => Temporality::Unknown,
        }))
    }
}
