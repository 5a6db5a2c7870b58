//! Payloads of remote write are read by prost with Prometheus' messages, and held against what stands in the snapshot.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../http/tests/wire/server.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod server;
mod support;

use std::sync::{Arc, Mutex};

use hiq_core::batch::Batch as _;
use hiq_core::config::{Env, ProxySettings};
use hiq_core::encode::{DropReason, Encoder as _, Limits};
use hiq_core::export::Health;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::{
    Buckets, Descriptor, Exemplar, ExponentialHistogram, Family, Histogram, Kind, LabelSet,
    MetricBatch, Number, Point, PointValue, QuantileValue, Summary,
};
use hiq_core::resource::{Resource, Scope};
use hiq_core::time::UnixNanos;
use hiq_core::value::Value;
use hiq_prometheus::names::Alphabet;
use hiq_prometheus::{
    RemoteWriteEncoder, RemoteWriteExporter, RemoteWriteOptions, RemoteWriteSettings, VARIABLES,
    WriteVersion,
};
use hiq_testkit::metrics::{arbitrary, deliver};
use proptest::prelude::*;
use prost::Message as _;
use server::{Server, response};
use support::{Plain, read_v1, read_v2, unpacked, v1};

const START: UnixNanos = UnixNanos(1_700_000_000_000_000_000);
const TIME: UnixNanos = UnixNanos(1_700_000_001_234_567_890);
const MILLIS: i64 = 1_700_000_001_234;

fn encoder(version: WriteVersion) -> RemoteWriteEncoder {
    RemoteWriteEncoder::new(version, Alphabet::Classic)
}

/// The whole of `batch` in one payload.
fn encoded(mut encoder: RemoteWriteEncoder, batch: &MetricBatch) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let encoded = encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
    assert_eq!((encoded.items, encoded.more), (batch.items(), false));
    assert_eq!(&out[..6], b"before");
    out.split_off(6)
}

fn family(descriptor: Descriptor, points: Vec<Point>) -> Family {
    Family::new(Arc::new(descriptor), points)
}

fn point(labels: &[(&str, &str)], value: impl Into<PointValue>) -> Point {
    Point::new(LabelSet::new(labels.iter().copied()), START, TIME, value)
}

fn exemplar(value: f64) -> Exemplar {
    let trace_id = TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    Exemplar::new(
        TIME,
        Number::F64(value),
        trace_id,
        SpanId(0xb7ad_6b71_6920_3331),
    )
}

fn snapshot(resource: Resource, families: Vec<Family>) -> MetricBatch {
    MetricBatch::new(
        Arc::new(resource),
        Arc::new(Scope::new("hiq", "1")),
        families,
    )
}

fn shop() -> Resource {
    Resource::new([
        ("service.name", Value::from("shop")),
        ("service.namespace", Value::from("hanoi")),
        ("service.instance.id", Value::from("a1")),
        ("host.name", Value::from("h")),
        ("cores", Value::from(8_i64)),
    ])
}

/// A snapshot with each kind of metric.
fn every_kind() -> MetricBatch {
    let mut order = exemplar(1.0);
    order.labels = Some(LabelSet::new([("shelf", "3"), ("long", &"x".repeat(120))]));
    let latency = Histogram {
        count: 6,
        sum: Some(7.5),
        bounds: [0.5, 1.0].into(),
        counts: vec![1, 2, 3],
        ..Histogram::default()
    };
    let size = ExponentialHistogram {
        count: 310,
        sum: Some(100.0),
        scale: -1,
        zero_count: 4,
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
    let quantiles = [(0.5, 0.25), (1.0, f64::NAN)];
    let duration = Summary {
        count: 4,
        sum: 2.5,
        quantiles: quantiles
            .map(|(quantile, value)| QuantileValue { quantile, value })
            .into(),
        sketch: None,
    };
    let families = vec![
        family(
            Descriptor::new("shop.temperature", Kind::Gauge)
                .with_description("how warm")
                .with_unit("Cel"),
            vec![point(
                &[("city", "Hà Nội"), ("empty", "")],
                Number::F64(-1.5),
            )],
        ),
        family(
            Descriptor::new("orders", Kind::COUNTER).with_unit("{order}"),
            vec![
                point(
                    &[("job", "cook"), ("le.vel", "x"), ("le_vel", "y")],
                    Number::Int(7),
                )
                .with_exemplars(vec![order]),
            ],
        ),
        family(
            Descriptor::new("queue", Kind::UP_DOWN_COUNTER),
            vec![point(&[("Zone", "z")], Number::Int(-2))],
        ),
        family(
            Descriptor::new("wait", Kind::Histogram).with_unit("s"),
            vec![point(&[], latency).with_exemplars(vec![exemplar(0.5), exemplar(2.5)])],
        ),
        family(
            Descriptor::new("size", Kind::ExponentialHistogram).with_unit("By"),
            vec![point(&[], size).with_exemplars(vec![exemplar(9.0)])],
        ),
        family(
            Descriptor::new("work", Kind::Summary).with_unit("s"),
            vec![point(&[("function", "f")], duration)],
        ),
    ];
    snapshot(shop(), families)
}

/// What Prometheus is to store of [`every_kind`].
const EXPECTED: &[(&str, &str)] = &[
    (
        r#"target_info{cores="8",host_name="h",instance="a1",job="hanoi/shop"}"#,
        "1.0",
    ),
    (
        r#"shop_temperature_celsius{city="Hà Nội",instance="a1",job="hanoi/shop"}"#,
        "-1.5",
    ),
    (
        r#"orders_total{exported_job="cook",instance="a1",job="hanoi/shop",le_vel="x;y"}"#,
        "7.0",
    ),
    (r#"queue{Zone="z",instance="a1",job="hanoi/shop"}"#, "-2.0"),
    (
        r#"wait_seconds_bucket{instance="a1",job="hanoi/shop",le="0.5"}"#,
        "1.0",
    ),
    (
        r#"wait_seconds_bucket{instance="a1",job="hanoi/shop",le="1.0"}"#,
        "3.0",
    ),
    (
        r#"wait_seconds_bucket{instance="a1",job="hanoi/shop",le="+Inf"}"#,
        "6.0",
    ),
    (r#"wait_seconds_sum{instance="a1",job="hanoi/shop"}"#, "7.5"),
    (
        r#"wait_seconds_count{instance="a1",job="hanoi/shop"}"#,
        "6.0",
    ),
    (
        r#"size_bytes{instance="a1",job="hanoi/shop"}"#,
        "count 310 sum 100.0 schema -1 zero 4 up to 1e-9 positive {-2: 1, 0: 300} negative {3: 5}",
    ),
    (
        r#"work_seconds{function="f",instance="a1",job="hanoi/shop",quantile="0.5"}"#,
        "0.25",
    ),
    (
        r#"work_seconds{function="f",instance="a1",job="hanoi/shop",quantile="1.0"}"#,
        "NaN",
    ),
    (
        r#"work_seconds_sum{function="f",instance="a1",job="hanoi/shop"}"#,
        "2.5",
    ),
    (
        r#"work_seconds_count{function="f",instance="a1",job="hanoi/shop"}"#,
        "4.0",
    ),
];

#[test]
fn both_versions_say_the_same_of_every_kind_of_metric() {
    let batch = every_kind();
    let first = read_v1(&encoded(encoder(WriteVersion::V1), &batch));
    let second = read_v2(&encoded(encoder(WriteVersion::V2), &batch));
    for read in [&first, &second] {
        let found: Vec<_> = read
            .iter()
            .map(|each| (each.series.as_str(), each.value.as_str()))
            .collect();
        assert_eq!(found, EXPECTED);
        assert!(read.iter().all(|each| each.millis == MILLIS));
    }
    let without_start = |mut each: Plain| {
        each.start_millis = 0;
        each
    };
    let second: Vec<_> = second.into_iter().map(without_start).collect();
    assert_eq!(first, second);
}

#[test]
fn types_help_units_exemplars_and_starts_go_with_their_series() {
    let batch = every_kind();
    let read = read_v2(&encoded(encoder(WriteVersion::V2OrV1), &batch));
    let of = |name: &str| {
        let named = |each: &&Plain| each.series.split('{').next() == Some(name);
        read.iter().find(named).unwrap()
    };
    let texts = |kind: i32, help: &str, unit: &str| (kind, help.to_owned(), unit.to_owned());
    assert_eq!(of("target_info").metadata, texts(2, "Target metadata", ""));
    assert_eq!(
        of("shop_temperature_celsius").metadata,
        texts(2, "how warm", "celsius")
    );
    assert_eq!(of("orders_total").metadata, texts(1, "", ""));
    assert_eq!(of("queue").metadata, texts(2, "", ""));
    assert_eq!(of("wait_seconds_sum").metadata, texts(3, "", "seconds"));
    assert_eq!(of("size_bytes").metadata, texts(3, "", "bytes"));
    assert_eq!(of("work_seconds").metadata, texts(5, "", "seconds"));

    let ids = r#"span_id="b7ad6b7169203331",trace_id="0af7651916cd43dd8448eb211c80319c""#;
    let with_shelf = format!(r#"{{shelf="3",{ids}}} 1.0 {MILLIS}"#);
    assert_eq!(of("orders_total").exemplars, [with_shelf]);
    let of_bucket = |bound: &str| {
        let wanted = format!("le={bound:?}");
        let found = read.iter().find(|each| each.series.contains(&wanted));
        found.unwrap().exemplars.clone()
    };
    assert_eq!(of_bucket("0.5"), [format!("{{{ids}}} 0.5 {MILLIS}")]);
    assert_eq!(of_bucket("1.0"), [""; 0]);
    assert_eq!(of_bucket("+Inf"), [format!("{{{ids}}} 2.5 {MILLIS}")]);
    assert_eq!(
        of("size_bytes").exemplars,
        [format!("{{{ids}}} 9.0 {MILLIS}")]
    );

    let start = 1_700_000_000_000;
    for (name, expected) in [
        ("orders_total", start),
        ("wait_seconds_bucket", start),
        ("size_bytes", start),
        ("work_seconds_count", start),
        ("queue", 0),
        ("shop_temperature_celsius", 0),
    ] {
        assert_eq!(of(name).start_millis, expected, "{name}");
    }
}

/// The golden request: the same messages, written by Prometheus' own encoder.
#[test]
fn a_series_has_the_bytes_that_prometheus_itself_writes() {
    let golden = "0a3a0a150a085f5f6e616d655f5f1209785f7365636f6e64730a0f0a087175616e74696c651203302e35121009000000000000d03f1080d095ffbc31";
    let bytes: Vec<u8> = (0..golden.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&golden[at..at + 2], 16).unwrap())
        .collect();
    let summary = Summary {
        quantiles: vec![QuantileValue {
            quantile: 0.5,
            value: 0.25,
        }],
        ..Summary::default()
    };
    let at = UnixNanos(1_700_000_000_000_000_000);
    let point = Point::new(LabelSet::empty(), UnixNanos(0), at, summary);
    let work = family(
        Descriptor::new("x", Kind::Summary).with_unit("s"),
        vec![point],
    );
    let payload = encoded(
        encoder(WriteVersion::V1),
        &snapshot(Resource::default(), vec![work]),
    );
    let mut request = v1::WriteRequest::decode(&unpacked(&payload)[..]).unwrap();
    // The label that every series of ours has.
    request.timeseries.truncate(1);
    request.timeseries[0]
        .labels
        .retain(|label| label.name != "job");
    request.metadata.clear();
    assert_eq!(request.encode_to_vec(), bytes);
    assert_eq!(v1::WriteRequest::decode(&bytes[..]).unwrap(), request);
}

#[test]
fn a_histogram_with_buckets_wider_than_any_of_prometheus_is_left_out_alone() {
    let of_scale = |scale: i32| {
        point(
            &[("scale", &scale.to_string())],
            ExponentialHistogram {
                scale,
                ..ExponentialHistogram::default()
            },
        )
    };
    let points = [-5, -4, 8, 20].map(of_scale).to_vec();
    let sizes = family(Descriptor::new("size", Kind::ExponentialHistogram), points);
    let batch = snapshot(Resource::default(), vec![sizes]);
    for version in [WriteVersion::V1, WriteVersion::V2] {
        let mut out = Vec::new();
        let encoded =
            encoder(version).encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
        assert_eq!(
            (encoded.items, &encoded.left_out[..]),
            (3, &[(DropReason::Invalid, 1)][..])
        );
    }
}

#[test]
fn labels_of_the_formats_own_names_are_exported_ones_and_no_series_is_written_twice() {
    let histogram = Histogram {
        count: 1,
        sum: Some(1.0),
        bounds: [2.0].into(),
        counts: vec![1, 0],
        ..Histogram::default()
    };
    let names = [("le", "a"), ("instance", "i"), ("exported_job", "j")];
    let other = [("le", "b"), ("instance", "i"), ("exported_job", "j")];
    let points = vec![point(&names, histogram.clone()), point(&other, histogram)];
    let wait = family(Descriptor::new("wait", Kind::Histogram), points);
    let batch = snapshot(shop(), vec![wait]);
    let own = r#"exported_exported_job="j",exported_instance="i""#;
    let targets = r#"instance="a1",job="hanoi/shop""#;
    let mut expected = vec![];
    for le in ["a", "b"] {
        let labels = format!(r#"{own},exported_le="{le}",{targets}"#);
        expected.push(format!(r#"wait_bucket{{{labels},le="2.0"}}"#));
        expected.push(format!(r#"wait_bucket{{{labels},le="+Inf"}}"#));
        expected.push(format!("wait_sum{{{labels}}}"));
        expected.push(format!("wait_count{{{labels}}}"));
    }
    for read in [
        read_v1(&encoded(encoder(WriteVersion::V1), &batch)),
        read_v2(&encoded(encoder(WriteVersion::V2), &batch)),
    ] {
        let series: Vec<_> = read.iter().map(|each| each.series.clone()).collect();
        assert_eq!(series[1..], expected);
    }
}

#[test]
fn utf8_names_are_kept_where_they_are_wanted() {
    let gauge = Descriptor::new("thời.gian", Kind::Gauge);
    let points = vec![point(&[("thành phố", "Huế")], Number::Int(1))];
    let batch = snapshot(Resource::default(), vec![family(gauge, points)]);
    for (alphabet, expected) in [
        (
            Alphabet::Utf8,
            r#"thời.gian{job="unknown_service",thành phố="Huế"}"#,
        ),
        (
            Alphabet::Classic,
            r#"th_i_gian{job="unknown_service",th_nh_ph_="Huế"}"#,
        ),
    ] {
        let encoder = RemoteWriteEncoder::new(WriteVersion::V2, alphabet);
        assert_eq!(read_v2(&encoded(encoder, &batch))[0].series, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_point_is_in_one_payload_of_the_size_allowed_or_left_out_for_a_reason(
        batch in arbitrary(),
        max_bytes in prop_oneof![0..300_usize, 300..3_000_usize, Just(usize::MAX)],
        max_items in prop_oneof![1..6_usize, Just(usize::MAX)],
    ) {
        let mut limits = Limits::bytes(max_bytes);
        limits.max_items = max_items;
        let whole = |version, read| payloads(&batch, version, &Limits::bytes(usize::MAX), read);
        let (first, _) = whole(WriteVersion::V1, read_v1 as fn(&[u8]) -> Vec<Plain>);
        let (second, _) = whole(WriteVersion::V2, read_v2);
        let texts = |read: &[Plain]| -> Vec<_> {
            read.iter().map(|each| (each.series.clone(), each.value.clone())).collect()
        };
        prop_assert_eq!(texts(&first), texts(&second));
        for (version, read) in [
            (WriteVersion::V1, read_v1 as fn(&[u8]) -> Vec<Plain>),
            (WriteVersion::V2, read_v2),
        ] {
            let (found, too_large) = payloads(&batch, version, &limits, read);
            if too_large == 0 {
                prop_assert_eq!(texts(&found), texts(&first));
            }
        }
    }
}

/// The series of all payloads, and how many points were too large.
fn payloads(
    batch: &MetricBatch,
    version: WriteVersion,
    limits: &Limits,
    read: fn(&[u8]) -> Vec<Plain>,
) -> (Vec<Plain>, usize) {
    let (mut encoder, mut cursor) = (encoder(version), batch.cursor());
    let (mut series, mut items, mut too_large) = (Vec::new(), 0, 0);
    loop {
        let mut out = Vec::new();
        let encoded = encoder.encode(&mut cursor, limits, &mut out);
        items += encoded.items + encoded.items_left_out();
        for (reason, left_out) in encoded.left_out {
            match reason {
                DropReason::TooLarge => too_large += left_out,
                DropReason::Invalid => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(encoded.items <= limits.max_items);
        if encoded.items > 0 {
            assert!(unpacked(&out).len() <= limits.max_bytes);
            series.extend(read(&out));
        } else {
            assert!(out.is_empty());
        }
        if !encoded.more {
            break;
        }
    }
    assert_eq!(items, batch.items());
    (series, too_large)
}

/// Delivers [`every_kind`] to a server with these answers.
fn sent(version: &str, answers: &[Vec<u8>]) -> (LedgerSnapshot, Vec<server::Request>, Health) {
    let left = Arc::new(Mutex::new(answers.to_vec()));
    let answers_left = Arc::clone(&left);
    let server = Server::start(move |talk| {
        while talk.request().is_some() {
            talk.say(answers_left.lock().unwrap().remove(0));
        }
    });
    let pairs = [
        ("HIQ_REMOTE_WRITE_ENDPOINT", server.url("/")),
        ("HIQ_REMOTE_WRITE_VERSION", version.to_owned()),
        (
            "HIQ_REMOTE_WRITE_HEADERS",
            "authorization=Bearer%20s3cret".to_owned(),
        ),
    ];
    let env = Env::from_pairs(pairs);
    let mut warnings = Vec::new();
    let settings =
        RemoteWriteSettings::new(&RemoteWriteOptions::default(), &env, &mut warnings).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(!format!("{settings:?}").contains("s3cret"));
    let write = RemoteWriteExporter::new(settings, ProxySettings::default()).unwrap();
    let mut exporter = write.build().unwrap();
    let ledger = deliver(&mut *exporter, every_kind());
    let unasked = left.lock().unwrap().len();
    assert_eq!(unasked, 0, "{ledger:?}");
    let requests = (0..answers.len()).map(|_| server.request()).collect();
    (ledger, requests, exporter.health())
}

fn written(status: &str, samples: usize) -> Vec<u8> {
    let header = format!("X-Prometheus-Remote-Write-Samples-Written: {samples}\r\n");
    response(status, &header, "")
}

#[test]
fn requests_have_the_headers_of_their_version() {
    let (ledger, requests, health) = sent("auto", &[written("204 No Content", 13)]);
    assert_eq!((ledger.offered, ledger.exported), (6, 6));
    assert_eq!(health, Health::Fine);
    let request = &requests[0];
    assert_eq!(request.first_line, "POST /api/v1/write HTTP/1.1");
    assert_eq!(
        request.all("content-type"),
        ["application/x-protobuf;proto=io.prometheus.write.v2.Request"]
    );
    assert_eq!(request.all("x-prometheus-remote-write-version"), ["2.0.0"]);
    assert_eq!(request.all("content-encoding"), ["snappy"]);
    assert_eq!(request.all("authorization"), ["Bearer s3cret"]);
    assert!(request.all("user-agent")[0].starts_with("hiq/"));
    assert_eq!(read_v2(&request.body).len(), 14);

    let (ledger, requests, _) = sent("1", &[response("204 No Content", "", "")]);
    assert_eq!(ledger.exported, 6);
    assert_eq!(requests[0].all("content-type"), ["application/x-protobuf"]);
    assert_eq!(
        requests[0].all("x-prometheus-remote-write-version"),
        ["0.1.0"]
    );
    assert_eq!(read_v1(&requests[0].body).len(), 14);
}

#[test]
fn a_server_of_version_1_gets_version_1_and_nothing_is_lost() {
    let unknown = response("415 Unsupported Media Type", "", "");
    let silent = response("204 No Content", "", "");
    for first in [unknown, silent] {
        let (ledger, requests, _) = sent("auto", &[first, response("204 No Content", "", "")]);
        assert_eq!((ledger.offered, ledger.exported), (6, 6));
        assert_eq!(requests[1].all("content-type"), ["application/x-protobuf"]);
        assert_eq!(read_v1(&requests[1].body).len(), 14);
    }
}

#[test]
fn a_server_without_native_histograms_gets_given_bounds() {
    let refusal = response(
        "500 Internal Server Error",
        "",
        "native histograms are disabled\n",
    );
    let (ledger, requests, health) = sent("1", &[refusal, response("204 No Content", "", "")]);
    assert_eq!((ledger.offered, ledger.exported), (6, 6));
    assert_eq!(health, Health::Fine);
    let read = read_v1(&requests[1].body);
    let size: Vec<_> = read
        .iter()
        .filter(|each| each.series.starts_with("size_bytes"))
        .map(|each| (each.series.as_str(), each.value.as_str()))
        .collect();
    // Base 4: -3 is from 4^-3 to 4^-2, -1 from 4^-1 to 1; below zero 2 is from -4^3 to -4^2.
    let of = |le: &str| format!(r#"size_bytes_bucket{{instance="a1",job="hanoi/shop",le="{le}"}}"#);
    let bounds = ["-16.0", "0.0", "0.0625", "1.0", "+Inf"].map(of);
    let counts = ["5.0", "9.0", "10.0", "310.0", "310.0"];
    let mut expected: Vec<_> = bounds.iter().map(String::as_str).zip(counts).collect();
    expected.push((r#"size_bytes_sum{instance="a1",job="hanoi/shop"}"#, "100.0"));
    expected.push((
        r#"size_bytes_count{instance="a1",job="hanoi/shop"}"#,
        "310.0",
    ));
    assert_eq!(size, expected);
}

#[test]
fn one_refused_sample_costs_one_point() {
    // The whole, its first half, the second half of three points, that half's first point, and the two behind it.
    let [bad, good] = ["400 Bad Request", "204 No Content"];
    let answers = [bad, good, bad, bad, good];
    let (ledger, requests, health) = sent("2", &answers.map(|status| written(status, 4)));
    assert_eq!((ledger.exported, ledger.rejected), (5, 1));
    assert_eq!(requests.len(), 5);
    assert!(matches!(health, Health::Losing(why) if why.contains("400")));

    let refused = response(bad, "", "out of order sample");
    let taken = response(good, "", "");
    let answers = [&refused, &taken, &refused, &refused, &taken].map(Vec::clone);
    let (ledger, _, health) = sent("1", &answers);
    assert_eq!((ledger.exported, ledger.rejected), (5, 1));
    assert!(matches!(health, Health::Losing(why) if why.contains("out of order sample")));
}

#[test]
fn the_defaults_in_the_table_are_those_in_force_and_code_beats_the_environment() {
    let read = |options: &RemoteWriteOptions, env: &Env| {
        let mut warnings = Vec::new();
        let settings = RemoteWriteSettings::new(options, env, &mut warnings).unwrap();
        (settings, warnings)
    };
    let defaults = VARIABLES
        .iter()
        .filter(|variable| !variable.default.is_empty());
    let listed = Env::from_pairs(defaults.map(|variable| (variable.name, variable.default)));
    let none = RemoteWriteOptions::default();
    assert_eq!(read(&none, &listed), read(&none, &Env::default()));

    let mut options = RemoteWriteOptions::default();
    options.endpoint = Some("http://code:1/push".to_owned());
    options.version = Some(WriteVersion::V2);
    options.headers = Some(Vec::new());
    let env = Env::from_pairs([
        ("HIQ_REMOTE_WRITE_ENDPOINT", "http://env:2"),
        ("HIQ_REMOTE_WRITE_VERSION", "1"),
        ("HIQ_REMOTE_WRITE_HEADERS", "a=1"),
        ("HIQ_REMOTE_WRITE_TIMEOUT", "soon"),
    ]);
    let (settings, warnings) = read(&options, &env);
    assert_eq!(settings.endpoint.to_string(), "http://code:1/push");
    assert_eq!(settings.version, WriteVersion::V2);
    assert!(settings.headers.is_empty());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let error = "3".parse::<WriteVersion>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "version: `3` is not known; give one of 1, 2, auto"
    );
}

/// The names of the series of a payload, each with its time.
fn names_and_times(encoder: &mut RemoteWriteEncoder, batch: &MetricBatch) -> Vec<(String, i64)> {
    let mut out = Vec::new();
    let encoded = encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
    assert_eq!((encoded.items, encoded.more), (batch.items(), false));
    let request = v1::WriteRequest::decode(&*unpacked(&out)).unwrap();
    let series = request.timeseries.into_iter();
    series
        .map(|series| {
            let mut names = series
                .labels
                .iter()
                .filter(|label| label.name == "__name__");
            (
                names.next().unwrap().value.clone(),
                series.samples[0].timestamp,
            )
        })
        .collect()
}

#[test]
fn a_snapshot_that_is_older_than_the_last_brings_its_points_and_no_older_metadata() {
    let at = |millis: u64, host: &str| {
        let texts = [("service.name", "shop"), ("host.name", host)];
        let named = |(key, value): (&str, &str)| (key.to_owned(), Value::from(value));
        let time = UnixNanos(millis * 1_000_000);
        let point = Point::new(LabelSet::new([("a", "b")]), START, time, Number::Int(1));
        let family = family(Descriptor::new("level", Kind::Gauge), vec![point]);
        let resource = Arc::new(Resource::new(texts.map(named)));
        MetricBatch::new(resource, Arc::new(Scope::default()), vec![family])
    };
    let with = |millis: i64| {
        vec![
            ("target_info".to_owned(), millis),
            ("level".to_owned(), millis),
        ]
    };
    let mut encoder = encoder(WriteVersion::V1);
    assert_eq!(names_and_times(&mut encoder, &at(2_000, "h")), with(2_000));
    // Sent again, or in halves: the same moment.
    assert_eq!(names_and_times(&mut encoder, &at(2_000, "h")), with(2_000));
    let late = names_and_times(&mut encoder, &at(1_999, "h"));
    assert_eq!(late, [("level".to_owned(), 1_999)]);
    // Of another target.
    assert_eq!(names_and_times(&mut encoder, &at(1_000, "i")), with(1_000));
    assert_eq!(names_and_times(&mut encoder, &at(2_001, "h")), with(2_001));
    let late = names_and_times(&mut encoder, &at(2_000, "h"));
    assert_eq!(late, [("level".to_owned(), 2_000)]);
}
