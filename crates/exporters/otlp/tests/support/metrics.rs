//! What a snapshot is in OTLP: built from it by hand with the OpenTelemetry project's own messages.

use hiq_core::metric as ours;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::metrics::v1::*;
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The request that holds the whole of `batch`; without groups when it holds no point.
pub(crate) fn expected(batch: &ours::MetricBatch) -> ExportMetricsServiceRequest {
    let metrics: Vec<Metric> = batch.families().iter().map(metric).collect();
    if metrics.is_empty() {
        return ExportMetricsServiceRequest::default();
    }
    let text = |text: Option<hiq_core::wire::Text<'_>>| {
        text.map_or(String::new(), |text| text.as_str().to_owned())
    };
    let (from, by) = (batch.resource(), batch.scope());
    let resource = Resource {
        attributes: from
            .attributes()
            .map(|(key, value)| key_value(key.as_str(), value.to_value()))
            .collect(),
        dropped_attributes_count: from.dropped_attributes(),
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: text(by.name()),
        version: text(by.version()),
        attributes: by
            .attributes()
            .map(|(key, value)| key_value(key.as_str(), value.to_value()))
            .collect(),
        dropped_attributes_count: by.dropped_attributes(),
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                schema_url: by.schema_url().unwrap_or_default().to_owned(),
            }],
            schema_url: from.schema_url().unwrap_or_default().to_owned(),
        }],
    }
}

/// All metrics of several requests: those of one name next to each other are one, as if it had not been divided.
pub(crate) fn joined(requests: Vec<ExportMetricsServiceRequest>) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    let groups = requests
        .into_iter()
        .flat_map(|request| request.resource_metrics);
    for metric in groups
        .flat_map(|group| group.scope_metrics)
        .flat_map(|group| group.metrics)
    {
        let last = metrics
            .last_mut()
            .filter(|last| is_continued_by(last, &metric));
        match last {
            Some(last) => append(last, metric),
            None => metrics.push(metric),
        }
    }
    metrics
}

fn is_continued_by(last: &Metric, next: &Metric) -> bool {
    let words =
        |metric: &Metric| [&metric.name, &metric.description, &metric.unit].map(String::clone);
    let same_data = match (&last.data, &next.data) {
        (Some(metric::Data::Sum(a)), Some(metric::Data::Sum(b))) => {
            a.is_monotonic == b.is_monotonic
        }
        (Some(a), Some(b)) => std::mem::discriminant(a) == std::mem::discriminant(b),
        _ => false,
    };
    words(last) == words(next) && same_data
}

fn append(last: &mut Metric, next: Metric) {
    use metric::Data;
    match (last.data.as_mut(), next.data) {
        (Some(Data::Gauge(a)), Some(Data::Gauge(b))) => a.data_points.extend(b.data_points),
        (Some(Data::Sum(a)), Some(Data::Sum(b))) => a.data_points.extend(b.data_points),
        (Some(Data::Histogram(a)), Some(Data::Histogram(b))) => a.data_points.extend(b.data_points),
        (Some(Data::ExponentialHistogram(a)), Some(Data::ExponentialHistogram(b))) => {
            a.data_points.extend(b.data_points);
        }
        (Some(Data::Summary(a)), Some(Data::Summary(b))) => a.data_points.extend(b.data_points),
        other => panic!("{other:?} do not go together"),
    }
}

/// Points of a request.
pub(crate) fn points(request: &ExportMetricsServiceRequest) -> usize {
    let groups = request.resource_metrics.iter();
    let metrics = groups
        .flat_map(|group| &group.scope_metrics)
        .flat_map(|group| &group.metrics);
    metrics
        .map(|metric| match metric.data.as_ref().expect("data") {
            metric::Data::Gauge(data) => data.data_points.len(),
            metric::Data::Sum(data) => data.data_points.len(),
            metric::Data::Histogram(data) => data.data_points.len(),
            metric::Data::ExponentialHistogram(data) => data.data_points.len(),
            metric::Data::Summary(data) => data.data_points.len(),
        })
        .sum()
}

fn key_value(key: &str, value: hiq_core::value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any_value(value)),
        ..KeyValue::default()
    }
}

fn any_value(value: hiq_core::value::Value) -> AnyValue {
    use hiq_core::value::Value as Ours;
    let value = match value {
        Ours::Str(text) => Any::StringValue(text),
        Ours::Int(int) => Any::IntValue(int),
        Ours::Bool(bool) => Any::BoolValue(bool),
        Ours::Array(items) => Any::ArrayValue(ArrayValue {
            values: items.into_iter().map(any_value).collect(),
        }),
        other => panic!("{other:?} is not in these tests"),
    };
    AnyValue { value: Some(value) }
}

fn labels(labels: &ours::LabelSet) -> Vec<KeyValue> {
    let pairs = labels.iter();
    pairs
        .map(|(key, value)| key_value(key, value.into()))
        .collect()
}

fn metric(family: &ours::Family) -> Metric {
    let descriptor = family.descriptor();
    Metric {
        name: descriptor.name().to_owned(),
        description: descriptor.description().to_owned(),
        unit: descriptor.unit().to_owned(),
        metadata: Vec::new(),
        data: Some(data(family)),
    }
}

fn data(family: &ours::Family) -> metric::Data {
    let points = family.points();
    let cumulative = AggregationTemporality::Cumulative.into();
    match family.descriptor().kind() {
        ours::Kind::Gauge => metric::Data::Gauge(Gauge {
            data_points: points.iter().map(|point| number(point, 0)).collect(),
        }),
        ours::Kind::Sum { monotonic } => metric::Data::Sum(Sum {
            data_points: points
                .iter()
                .map(|point| number(point, point.start().0))
                .collect(),
            aggregation_temporality: cumulative,
            is_monotonic: monotonic,
        }),
        ours::Kind::Histogram => metric::Data::Histogram(Histogram {
            data_points: points.iter().map(histogram).collect(),
            aggregation_temporality: cumulative,
        }),
        ours::Kind::ExponentialHistogram => exponentials(points, |point| match point.value() {
            ours::PointValue::ExponentialHistogram(value) => value.clone(),
            other => panic!("{other:?}"),
        }),
        ours::Kind::Summary if points.iter().all(|point| sketch(point).is_some()) => {
            exponentials(points, |point| sketch(point).expect("a sketch"))
        }
        ours::Kind::Summary => metric::Data::Summary(Summary {
            data_points: points.iter().map(summary).collect(),
        }),
        other => panic!("{other:?}"),
    }
}

fn sketch(point: &ours::Point) -> Option<ours::ExponentialHistogram> {
    match point.value() {
        ours::PointValue::Summary(summary) => summary.sketch.as_deref().cloned(),
        _ => None,
    }
}

fn exponentials(
    points: &[ours::Point],
    value: impl Fn(&ours::Point) -> ours::ExponentialHistogram,
) -> metric::Data {
    metric::Data::ExponentialHistogram(ExponentialHistogram {
        data_points: points
            .iter()
            .map(|point| exponential(point, value(point)))
            .collect(),
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
    })
}

fn number(point: &ours::Point, start: u64) -> NumberDataPoint {
    let ours::PointValue::Number(value) = point.value() else {
        panic!("{point:?}")
    };
    NumberDataPoint {
        attributes: labels(point.labels()),
        start_time_unix_nano: start,
        time_unix_nano: point.time().0,
        exemplars: exemplars(point),
        flags: 0,
        value: Some(match *value {
            ours::Number::Int(int) => number_data_point::Value::AsInt(int),
            ours::Number::F64(double) => number_data_point::Value::AsDouble(double),
        }),
    }
}

fn histogram(point: &ours::Point) -> HistogramDataPoint {
    let ours::PointValue::Histogram(value) = point.value() else {
        panic!("{point:?}")
    };
    HistogramDataPoint {
        attributes: labels(point.labels()),
        start_time_unix_nano: point.start().0,
        time_unix_nano: point.time().0,
        count: value.count,
        sum: value.sum,
        bucket_counts: value.counts.clone(),
        explicit_bounds: value.bounds.to_vec(),
        exemplars: exemplars(point),
        flags: 0,
        min: value.min,
        max: value.max,
    }
}

fn exponential(
    point: &ours::Point,
    value: ours::ExponentialHistogram,
) -> ExponentialHistogramDataPoint {
    use exponential_histogram_data_point::Buckets;
    let buckets = |buckets: ours::Buckets| {
        (!buckets.counts.is_empty()).then_some(Buckets {
            offset: buckets.offset,
            bucket_counts: buckets.counts,
        })
    };
    ExponentialHistogramDataPoint {
        attributes: labels(point.labels()),
        start_time_unix_nano: point.start().0,
        time_unix_nano: point.time().0,
        count: value.count,
        sum: value.sum,
        scale: value.scale,
        zero_count: value.zero_count,
        positive: buckets(value.positive),
        negative: buckets(value.negative),
        flags: 0,
        exemplars: exemplars(point),
        min: value.min,
        max: value.max,
        zero_threshold: value.zero_threshold,
    }
}

fn summary(point: &ours::Point) -> SummaryDataPoint {
    let ours::PointValue::Summary(value) = point.value() else {
        panic!("{point:?}")
    };
    let quantile = |each: &ours::QuantileValue| summary_data_point::ValueAtQuantile {
        quantile: each.quantile,
        value: each.value,
    };
    SummaryDataPoint {
        attributes: labels(point.labels()),
        start_time_unix_nano: point.start().0,
        time_unix_nano: point.time().0,
        count: value.count,
        sum: value.sum,
        quantile_values: value.quantiles.iter().map(quantile).collect(),
        flags: 0,
    }
}

fn exemplars(point: &ours::Point) -> Vec<Exemplar> {
    let exemplar = |each: &ours::Exemplar| Exemplar {
        filtered_attributes: each.labels.as_deref().map(labels).unwrap_or_default(),
        time_unix_nano: each.time.0,
        span_id: if each.span_id.is_valid() {
            each.span_id.to_bytes().to_vec()
        } else {
            Vec::new()
        },
        trace_id: if each.trace_id.is_valid() {
            each.trace_id.0.to_vec()
        } else {
            Vec::new()
        },
        value: Some(match each.value {
            ours::Number::Int(int) => exemplar::Value::AsInt(int),
            ours::Number::F64(double) => exemplar::Value::AsDouble(double),
        }),
    };
    point.exemplars().iter().map(exemplar).collect()
}
