//! Which signal a request carries, of requests that were encoded by others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use hiq_core::batch::Batch as _;
use hiq_otlp::OtlpSignal;
use hiq_testkit::metrics::arbitrary;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;
use support::metrics::expected;

fn request_of_spans(spans: Vec<Span>) -> Vec<u8> {
    let scope = ScopeSpans {
        spans,
        ..ScopeSpans::default()
    };
    let resource = ResourceSpans {
        scope_spans: vec![ScopeSpans::default(), scope],
        ..ResourceSpans::default()
    };
    let resource_spans = vec![ResourceSpans::default(), resource];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A gauge with one point; its name and description as given.
fn request_of_gauge(name: &str, description: &str) -> Vec<u8> {
    let gauge = Gauge {
        data_points: vec![NumberDataPoint::default()],
    };
    let metric = Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        data: Some(Data::Gauge(gauge)),
        ..Metric::default()
    };
    let scope = ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    };
    let resource = ResourceMetrics {
        scope_metrics: vec![scope],
        ..ResourceMetrics::default()
    };
    let resource_metrics = vec![ResourceMetrics::default(), resource];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn requests_of_metrics_are_known_by_their_first_metric(batch in arbitrary()) {
        prop_assume!(batch.items() > 0);
        let request = expected(&batch);
        prop_assert_eq!(OtlpSignal::of_proto(&request.encode_to_vec()), Some(OtlpSignal::Metrics));
        let json = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(OtlpSignal::of_json(&json), Some(OtlpSignal::Metrics));
    }

    #[test]
    fn requests_of_spans_are_known_by_their_first_span(
        trace_id in any::<[u8; 16]>(),
        span_id in any::<[u8; 8]>(),
        name in any::<String>(),
        times in (1_u64.., any::<u64>()),
    ) {
        let span = Span {
            trace_id: trace_id.to_vec(),
            span_id: span_id.to_vec(),
            name,
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            ..Span::default()
        };
        let request = request_of_spans(vec![span]);
        prop_assert_eq!(OtlpSignal::of_proto(&request), Some(OtlpSignal::Traces));
    }
}

#[test]
fn a_gauge_whose_name_and_description_are_as_long_as_ids_is_no_span() {
    for (name, description) in [
        ("queue.length.max", "in items"),
        ("queue.length.max", ""),
        ("depth", "in items"),
        ("größe.in.bytes!", "in items"),
        ("", ""),
    ] {
        let request = request_of_gauge(name, description);
        assert_eq!(
            OtlpSignal::of_proto(&request),
            Some(OtlpSignal::Metrics),
            "{name}"
        );
    }
}

#[test]
fn a_span_without_times_is_known_by_its_ids() {
    let span = |span_id: Vec<u8>| Span {
        trace_id: (0..16).collect(),
        span_id,
        name: "a name".to_owned(),
        ..Span::default()
    };
    for span_id in [(0..8).collect(), Vec::new()] {
        let request = request_of_spans(vec![span(span_id)]);
        assert_eq!(OtlpSignal::of_proto(&request), Some(OtlpSignal::Traces));
    }
}

/// Field 1 of a log record is its time, eight bytes; 2 its severity.
#[test]
fn requests_of_logs_are_neither() {
    let in_field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    };
    let record = [&[1 << 3 | 1][..], &7_u64.to_le_bytes(), &[2 << 3, 9]].concat();
    for record in [&record[..], &record[9..]] {
        let request = in_field(1, &in_field(2, &in_field(2, record)));
        assert_eq!(OtlpSignal::of_proto(&request), Some(OtlpSignal::Logs));
    }
    let json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#;
    assert_eq!(OtlpSignal::of_json(json), Some(OtlpSignal::Logs));
}

#[test]
fn what_holds_nothing_or_is_something_else_has_no_signal() {
    let empty = request_of_spans(Vec::new());
    let cut_short = &request_of_gauge("queue", "")[..3];
    for request in [&b""[..], &empty, cut_short, b"\x00\xff\xff", b"{}"] {
        assert_eq!(OtlpSignal::of_proto(request), None, "{request:?}");
    }
    for text in ["", "{}", "[]", "{\"resource", "{\"traceEvents\": []}", "7"] {
        assert_eq!(OtlpSignal::of_json(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn json_is_known_by_its_field_and_by_nothing_inside() {
    let inside = "\u{feff} {\n \"resource_spans\": [{\"schemaUrl\": \"resourceMetrics\"}]}";
    assert_eq!(
        OtlpSignal::of_json(inside.as_bytes()),
        Some(OtlpSignal::Traces)
    );
    let inside = r#"{"resource_metrics": [{"schemaUrl": "resourceSpans"}]}"#;
    assert_eq!(
        OtlpSignal::of_json(inside.as_bytes()),
        Some(OtlpSignal::Metrics)
    );
}
