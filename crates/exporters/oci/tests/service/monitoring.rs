//! Metrics: what a call holds, compared with what Oracle's SDK writes, and what its reply means.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::Batch;
use hiq_core::config::{Env, ProxySettings};
use hiq_core::encode::{DropReason, Encoder, Limits};
use hiq_core::export::{Deadline, Progress};
use hiq_core::ledger::{Ledger, LedgerSnapshot};
use hiq_core::metric::{
    Descriptor, Family, Histogram, Kind, LabelSet, MetricBatch, Number, Point, PointValue,
    QuantileValue, Summary,
};
use hiq_core::resource::Resource;
use hiq_core::time::UnixNanos;
use hiq_oci::{MonitoringEncoder, MonitoringExporter, MonitoringOptions, MonitoringSettings};
use hiq_testkit::assert_balances;
use serde_json::Value;

use crate::server::{Service, ok};
use crate::who::{KEY, User, public_half};

/// 2023-02-01T01:02:29.6Z
const TIME: u64 = 1_675_213_349_600_000_000;

fn settings(url: Option<&str>) -> MonitoringSettings {
    let mut options = MonitoringOptions::default();
    options.endpoint = url.map(str::to_owned);
    options.resource_group = Some("frontend-fleet".to_owned());
    let env = Env::from_pairs([
        ("OCI_COMPARTMENT_ID", "ocid1.compartment.oc1..aaaa"),
        ("OCI_MONITORING_NAMESPACE", "shop"),
    ]);
    MonitoringSettings::new(&options, &User::usual().settings(), &env, &mut Vec::new()).unwrap()
}

fn resource() -> Arc<Resource> {
    Arc::new(Resource::new([
        ("service.name", "checkout".into()),
        ("host.name", "h1".into()),
    ]))
}

fn batch(families: Vec<Family>) -> MetricBatch {
    MetricBatch::new(resource(), Arc::default(), families)
}

fn family(name: &str, unit: &str, kind: Kind, points: Vec<(Arc<LabelSet>, PointValue)>) -> Family {
    let points = points
        .into_iter()
        .map(|(labels, value)| Point::new(labels, UnixNanos(TIME - 1), UnixNanos(TIME), value))
        .collect();
    Family::new(
        Arc::new(Descriptor::new(name, kind).with_unit(unit)),
        points,
    )
}

/// As `crates/testkit/oracle/oci_golden.py` has it.
fn shop() -> MetricBatch {
    let city = LabelSet::new([("city", "Hà \"Nội\"\n"), ("a b", "1"), ("empty", "")]);
    let histogram = Histogram {
        count: 3,
        sum: Some(6.5),
        min: Some(0.5),
        max: None,
        bounds: [1.0].into(),
        counts: vec![1, 2],
    };
    let quantile = |quantile, value| QuantileValue { quantile, value };
    let summary = Summary {
        count: 2,
        sum: 0.25,
        quantiles: vec![quantile(0.5, 0.1), quantile(0.99, f64::NAN)],
        sketch: None,
    };
    batch(vec![
        family(
            "shop.orders",
            "{order}",
            Kind::COUNTER,
            vec![(city, Number::Int(7).into())],
        ),
        family(
            "größe",
            "",
            Kind::Gauge,
            vec![(LabelSet::empty(), Number::F64(-1.5).into())],
        ),
        family(
            "1st",
            "s",
            Kind::Histogram,
            vec![(LabelSet::empty(), histogram.into())],
        ),
        family(
            "work",
            "s",
            Kind::Summary,
            vec![(LabelSet::empty(), summary.into())],
        ),
    ])
}

/// Payloads, points in each, and points that were left out.
fn encode(batch: &MetricBatch) -> (Vec<Value>, Vec<usize>, Vec<(DropReason, usize)>) {
    let mut encoder = MonitoringEncoder::new(&settings(None));
    let mut cursor = batch.cursor();
    let (mut payloads, mut items, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let mut out = Vec::new();
        let encoded = encoder.encode(&mut cursor, &Limits::bytes(100_000), &mut out);
        left_out.extend(encoded.left_out);
        if encoded.items > 0 {
            payloads.push(serde_json::from_slice(&out).unwrap());
            items.push(encoded.items);
        } else {
            assert!(out.is_empty());
        }
        if !encoded.more {
            return (payloads, items, left_out);
        }
    }
}

#[test]
fn a_call_is_what_oracles_sdk_would_write() {
    let (payloads, items, left_out) = encode(&shop());
    assert_eq!((items, left_out), (vec![4], vec![]));
    let golden: Value = serde_json::from_str(include_str!("../golden/metrics.json")).unwrap();
    assert_eq!(payloads[0], golden["body"]);
}

#[test]
fn a_call_has_at_most_fifty_series_and_no_point_is_torn() {
    let number = |at: usize| {
        let labels = LabelSet::new([("at", at.to_string())]);
        (labels, PointValue::from(Number::Int(1)))
    };
    let histogram = |at: usize| {
        let (labels, _) = number(at);
        let histogram = Histogram {
            count: 1,
            sum: Some(1.0),
            min: Some(1.0),
            max: Some(1.0),
            ..Histogram::default()
        };
        (labels, PointValue::from(histogram))
    };
    let batch = batch(vec![
        family("a", "", Kind::COUNTER, (0..120).map(number).collect()),
        family("b", "", Kind::Histogram, (0..14).map(histogram).collect()),
    ]);
    let (payloads, items, left_out) = encode(&batch);
    let series: Vec<_> = payloads
        .iter()
        .map(|call| call["metricData"].as_array().unwrap().len())
        .collect();
    assert_eq!(series, [50, 50, 48, 28]);
    assert_eq!(items, [50, 50, 27, 7]);
    assert!(left_out.is_empty());
}

#[test]
fn points_that_the_service_cannot_take_are_left_out_and_counted() {
    let labels = |count: usize| LabelSet::new((0..count).map(|at| (format!("l{at}"), "x")));
    let number = |value: f64| PointValue::from(Number::F64(value));
    let quantiles = (0..60).map(|at| QuantileValue {
        quantile: f64::from(at) / 60.0,
        value: 1.0,
    });
    let summary = Summary {
        quantiles: quantiles.collect(),
        ..Summary::default()
    };
    let long = LabelSet::new([("k".repeat(257), "x")]);
    let batch = batch(vec![
        family(
            "a",
            "",
            Kind::Gauge,
            vec![(labels(20), number(1.0)), (labels(21), number(2.0))],
        ),
        family(
            "b",
            "",
            Kind::Gauge,
            vec![
                (labels(0), number(f64::NAN)),
                (labels(1), number(f64::INFINITY)),
            ],
        ),
        family("c", "", Kind::Gauge, vec![(long, number(1.0))]),
        family("d", "", Kind::Summary, vec![(labels(0), summary.into())]),
        family("e", "", Kind::Gauge, vec![(labels(18), number(3.0))]),
    ]);
    let (payloads, items, left_out) = encode(&batch);
    assert_eq!(
        left_out,
        [(DropReason::Invalid, 4), (DropReason::TooLarge, 1)]
    );
    // The one that is too large ends the first call.
    assert_eq!(items, [1, 1]);
    let data: Vec<_> = payloads.iter().map(|call| &call["metricData"][0]).collect();
    let values: Vec<_> = data
        .iter()
        .map(|series| series["datapoints"][0]["value"].as_f64())
        .collect();
    assert_eq!(values, [Some(1.0), Some(3.0)]);
    let dimensions = |at: usize| data[at]["dimensions"].as_object().unwrap();
    assert_eq!(dimensions(0).len(), 20);
    assert!(!dimensions(0).contains_key("service.name"), "no room");
    assert!(dimensions(1).contains_key("service.name") && !dimensions(1).contains_key("host.name"));
}

#[test]
fn texts_are_cut_to_what_the_service_takes() {
    let labels = LabelSet::new([("k", "ä".repeat(600))]);
    let name = format!("x{}", "ä".repeat(300));
    let batch = batch(vec![family(
        &name,
        &"u".repeat(300),
        Kind::Gauge,
        vec![(labels, Number::Int(1).into())],
    )]);
    let (payloads, _, _) = encode(&batch);
    let series = &payloads[0]["metricData"][0];
    assert_eq!(
        series["dimensions"]["k"].as_str().unwrap().chars().count(),
        512
    );
    assert_eq!(series["metadata"]["unit"].as_str().unwrap().len(), 256);
    assert_eq!(
        series["name"].as_str().unwrap(),
        format!("x{}", "_".repeat(254))
    );
}

fn deliver(url: &str, batch: MetricBatch) -> LedgerSnapshot {
    let user = User::usual().settings();
    let exporter = MonitoringExporter::new(settings(Some(url)), user, ProxySettings::default());
    let mut exporter = exporter.unwrap();
    let retry = &mut exporter.delivery_mut().retry;
    (retry.initial, retry.max) = (Duration::from_millis(1), Duration::from_millis(1));
    let mut exporter = exporter.build().unwrap();
    let (ledger, deadline) = (Ledger::new(), Deadline::never());
    ledger.offer(batch.items());
    let custody = ledger.take(batch.items(), Instant::now());
    let mut progress = exporter.export(Arc::new(batch), custody, &deadline);
    while let Progress::Waiting { until, .. } = progress {
        deadline.sleep(until.saturating_duration_since(Instant::now()));
        progress = exporter.poll(&deadline);
    }
    let ledger = ledger.snapshot();
    assert_balances(&ledger);
    ledger
}

#[test]
fn calls_are_signed_with_their_body_and_failures_inside_a_success_are_counted() {
    let service = Service::start(|_, before| match before {
        0 => (500, String::new(), "{}".to_owned()),
        _ => ok(
            r#"{"failedMetricsCount": 1, "failedMetrics": [{"message": "too old", "metricData": {}}]}"#,
        ),
    });
    let ledger = deliver(&service.url(), shop());
    assert_eq!(
        (ledger.offered, ledger.exported, ledger.rejected),
        (4, 3, 1)
    );
    let requests = service.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("POST", "/20180401/metrics")
        );
        let (_, names) = request.signer(&public_half(KEY)).unwrap();
        assert!(names.ends_with("content-length content-type x-content-sha256"));
    }
    assert_eq!(requests[0].body, requests[1].body);
}

#[test]
fn the_address_follows_from_the_region_and_what_is_missing_is_named() {
    let user = User::usual().settings();
    assert_eq!(
        settings(None).endpoint.expose(),
        "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com/20180401/metrics"
    );
    let with = |options: &MonitoringOptions, env: &Env| {
        MonitoringSettings::new(options, &user, env, &mut Vec::new())
    };
    let error = with(&MonitoringOptions::default(), &Env::default()).unwrap_err();
    assert_eq!(error.place, "OCI_COMPARTMENT_ID");
    let env = Env::from_pairs([("OCI_COMPARTMENT_ID", "ocid1.compartment.oc1..aaaa")]);
    for wrong in ["oci_mine", "oracle_mine", "1st", "with space", "dot.ted"] {
        let mut options = MonitoringOptions::default();
        options.namespace = Some(wrong.to_owned());
        let error = with(&options, &env).unwrap_err();
        assert!(error.problem.contains(wrong), "{error}");
    }
}
