//! OTLP's metrics in JSON, read into the OpenTelemetry project's own messages by the rules of its specification.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value as Any,
};
use opentelemetry_proto::tonic::metrics::v1::*;
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value;

use super::Plain;
use super::read_json::{self, Object};

/// Reads a request of OTLP/JSON. Strict: what a rule does not allow is a failure.
pub(crate) fn request(payload: &[u8]) -> ExportMetricsServiceRequest {
    let request = Object::of(read_json::value(payload));
    let groups = request.done(|request| request.list("resourceMetrics"));
    ExportMetricsServiceRequest {
        resource_metrics: groups.into_iter().map(resource_metrics).collect(),
    }
}

fn resource_metrics(group: Value) -> ResourceMetrics {
    let mut group = Object::of(group);
    let resource = Object::of(group.take("resource").expect("a resource"));
    let resource = Resource {
        attributes: resource.done(|it| attributes(it, "attributes")),
        ..Resource::default()
    };
    let scopes = group.done(|group| group.list("scopeMetrics"));
    ResourceMetrics {
        resource: Some(resource),
        scope_metrics: scopes.into_iter().map(scope_metrics).collect(),
        schema_url: String::new(),
    }
}

fn scope_metrics(group: Value) -> ScopeMetrics {
    let mut group = Object::of(group);
    let mut scope = Object::of(group.take("scope").expect("a scope"));
    let scope = InstrumentationScope {
        name: scope.text("name"),
        version: scope.done(|scope| scope.text("version")),
        ..InstrumentationScope::default()
    };
    let metrics = group.done(|group| group.list("metrics"));
    ScopeMetrics {
        scope: Some(scope),
        metrics: metrics.into_iter().map(read_metric).collect(),
        schema_url: String::new(),
    }
}

fn read_metric(metric: Value) -> Metric {
    let mut metric = Object::of(metric);
    let (name, description, unit) = (
        metric.text("name"),
        metric.text("description"),
        metric.text("unit"),
    );
    let (form, data) = metric.only().expect("data");
    Metric {
        name,
        description,
        unit,
        metadata: Vec::new(),
        data: Some(read_data(&form, Object::of(data))),
    }
}

fn read_data(form: &str, mut data: Object) -> metric::Data {
    let points = data.list("dataPoints").into_iter().map(Object::of);
    match form {
        "gauge" => data.done(|_| {
            metric::Data::Gauge(Gauge {
                data_points: points.map(read_number).collect(),
            })
        }),
        "sum" => metric::Data::Sum(Sum {
            data_points: points.map(read_number).collect(),
            aggregation_temporality: data.integer("aggregationTemporality"),
            is_monotonic: data.done(|data| match data.take("isMonotonic") {
                None => false,
                Some(Value::Bool(bool)) => bool,
                Some(other) => panic!("{other}"),
            }),
        }),
        "histogram" => metric::Data::Histogram(Histogram {
            data_points: points.map(read_histogram).collect(),
            aggregation_temporality: data.done(|data| data.integer("aggregationTemporality")),
        }),
        "exponentialHistogram" => metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: points.map(read_exponential).collect(),
            aggregation_temporality: data.done(|data| data.integer("aggregationTemporality")),
        }),
        "summary" => data.done(|_| {
            metric::Data::Summary(Summary {
                data_points: points.map(read_summary).collect(),
            })
        }),
        other => panic!("{other}"),
    }
}

fn read_number(mut point: Object) -> NumberDataPoint {
    let value = match (point.take("asInt"), double(point.take("asDouble"))) {
        (Some(Value::String(int)), None) => {
            number_data_point::Value::AsInt(int.parse().expect("an integer"))
        }
        (None, Some(double)) => number_data_point::Value::AsDouble(double),
        other => panic!("{other:?}"),
    };
    NumberDataPoint {
        attributes: attributes(&mut point, "attributes"),
        start_time_unix_nano: nanos(&mut point, "startTimeUnixNano"),
        time_unix_nano: nanos(&mut point, "timeUnixNano"),
        exemplars: point.done(read_exemplars),
        flags: 0,
        value: Some(value),
    }
}

fn read_histogram(mut point: Object) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(&mut point, "attributes"),
        start_time_unix_nano: nanos(&mut point, "startTimeUnixNano"),
        time_unix_nano: nanos(&mut point, "timeUnixNano"),
        count: point.u64("count"),
        sum: double(point.take("sum")),
        bucket_counts: counts(&mut point),
        explicit_bounds: point
            .list("explicitBounds")
            .into_iter()
            .map(|bound| double(Some(bound)).expect("a bound"))
            .collect(),
        min: double(point.take("min")),
        max: double(point.take("max")),
        flags: 0,
        exemplars: point.done(read_exemplars),
    }
}

fn read_exponential(mut point: Object) -> ExponentialHistogramDataPoint {
    use exponential_histogram_data_point::Buckets;
    let buckets = |point: &mut Object, key| {
        point.take(key).map(|value| {
            let mut value = Object::of(value);
            Buckets {
                offset: value.integer("offset"),
                bucket_counts: value.done(counts),
            }
        })
    };
    ExponentialHistogramDataPoint {
        attributes: attributes(&mut point, "attributes"),
        start_time_unix_nano: nanos(&mut point, "startTimeUnixNano"),
        time_unix_nano: nanos(&mut point, "timeUnixNano"),
        count: point.u64("count"),
        sum: double(point.take("sum")),
        scale: point.integer("scale"),
        zero_count: point.u64("zeroCount"),
        positive: buckets(&mut point, "positive"),
        negative: buckets(&mut point, "negative"),
        min: double(point.take("min")),
        max: double(point.take("max")),
        zero_threshold: double(point.take("zeroThreshold")).unwrap_or_default(),
        flags: 0,
        exemplars: point.done(read_exemplars),
    }
}

fn read_summary(mut point: Object) -> SummaryDataPoint {
    let quantile = |each: Value| {
        let mut each = Object::of(each);
        summary_data_point::ValueAtQuantile {
            quantile: double(each.take("quantile")).expect("a quantile"),
            value: each
                .done(|each| double(each.take("value")))
                .expect("a value"),
        }
    };
    SummaryDataPoint {
        attributes: attributes(&mut point, "attributes"),
        start_time_unix_nano: nanos(&mut point, "startTimeUnixNano"),
        time_unix_nano: nanos(&mut point, "timeUnixNano"),
        count: point.u64("count"),
        sum: double(point.take("sum")).expect("a sum"),
        flags: 0,
        quantile_values: point.done(|point| {
            point
                .list("quantileValues")
                .into_iter()
                .map(quantile)
                .collect()
        }),
    }
}

fn read_exemplars(point: &mut Object) -> Vec<Exemplar> {
    let exemplar = |each: Value| {
        let mut each = Object::of(each);
        let value = match (each.take("asInt"), double(each.take("asDouble"))) {
            (Some(Value::String(int)), None) => {
                exemplar::Value::AsInt(int.parse().expect("an integer"))
            }
            (None, Some(double)) => exemplar::Value::AsDouble(double),
            other => panic!("{other:?}"),
        };
        Exemplar {
            filtered_attributes: attributes(&mut each, "filteredAttributes"),
            time_unix_nano: nanos(&mut each, "timeUnixNano"),
            span_id: each.hex("spanId"),
            trace_id: each.done(|each| each.hex("traceId")),
            value: Some(value),
        }
    };
    point.list("exemplars").into_iter().map(exemplar).collect()
}

fn counts(object: &mut Object) -> Vec<u64> {
    let count = |count: Value| match count {
        Value::String(text) => text.parse().expect("an integer"),
        other => panic!("{other} is no text"),
    };
    object.list("bucketCounts").into_iter().map(count).collect()
}

fn nanos(object: &mut Object, key: &str) -> u64 {
    match object.take(key) {
        None => 0,
        Some(Value::String(text)) => text.parse().expect("an integer"),
        Some(other) => panic!("{key} is {other}"),
    }
}

fn double(value: Option<Value>) -> Option<f64> {
    Some(match value? {
        Value::Number(number) => number.as_f64().expect("a double"),
        Value::String(text) => match text.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            other => panic!("{other} is no double"),
        },
        other => panic!("{other} is no double"),
    })
}

fn attributes(object: &mut Object, key: &str) -> Vec<KeyValue> {
    let attribute = |(key, value): (String, Plain)| KeyValue {
        key,
        value: Some(AnyValue {
            value: Some(match value {
                Plain::Str(text) => Any::StringValue(text),
                Plain::Int(int) => Any::IntValue(int),
                Plain::Bool(bool) => Any::BoolValue(bool),
                other => panic!("{other:?} is not in these tests"),
            }),
        }),
        ..KeyValue::default()
    };
    object
        .attributes_at(key)
        .into_iter()
        .map(attribute)
        .collect()
}
