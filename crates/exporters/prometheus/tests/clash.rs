//! Metrics that Prometheus would call the same: whatever there is, no page and no request has a name or a series twice, and
//! what is left out for it is counted and said.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use hiq_core::batch::Batch as _;
use hiq_core::config::Env;
use hiq_core::encode::{DropReason, Encoder as _, Limits};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::metric::record::Registry;
use hiq_core::metric::{
    Descriptor, Exemplar, Family, Histogram, Kind, LabelSet, MetricBatch, Number, Point,
    PointValue, QuantileValue, Summary,
};
use hiq_core::resource::{Resource, Scope};
use hiq_core::status::StatusSink;
use hiq_core::time::UnixNanos;
use hiq_core::value::Value;
use hiq_prometheus::form::{Form, Format};
use hiq_prometheus::names::Alphabet;
use hiq_prometheus::{
    ClashReport, RemoteWriteEncoder, Scrape, ScrapeOptions, ScrapeServer, ScrapeSettings,
    WriteVersion, expose,
};
use proptest::prelude::*;

#[path = "support/client_model.rs"]
mod client_model;
mod support;

use client_model::families;
use support::{read_v1, read_v2};

const START: UnixNanos = UnixNanos(1_520_430_000_123_000_000);
const NOW: UnixNanos = UnixNanos(1_520_879_607_789_000_000);

fn value(kind: Kind) -> PointValue {
    match kind {
        Kind::Histogram => PointValue::Histogram(Histogram {
            count: 1,
            sum: Some(1.0),
            bounds: [2.0].into(),
            counts: vec![1, 0],
            ..Histogram::default()
        }),
        Kind::Summary => PointValue::Summary(Summary {
            count: 1,
            sum: 1.0,
            quantiles: vec![QuantileValue {
                quantile: 0.5,
                value: 1.0,
            }],
            sketch: None,
        }),
        _ => PointValue::Number(Number::Int(1)),
    }
}

fn family(name: &str, kind: Kind, labels: &[&[(&str, &str)]]) -> Family {
    let example = Exemplar::new(NOW, Number::Int(1), TraceId([7; 16]), SpanId(7));
    let point = |labels: &&[(&str, &str)]| {
        Point::new(
            LabelSet::new(labels.iter().copied()),
            START,
            NOW,
            value(kind),
        )
        .with_exemplars(vec![example.clone()])
    };
    let points = labels.iter().map(point).collect();
    Family::new(Arc::new(Descriptor::new(name, kind)), points)
}

fn batch(families: Vec<Family>) -> MetricBatch {
    let shop = Resource::new([
        ("service.name", Value::from("shop")),
        ("zone", Value::from("b")),
    ]);
    MetricBatch::new(Arc::new(shop), Arc::new(Scope::default()), families)
}

/// The page, and how many points are left out.
fn page(batch: &MetricBatch, format: Format) -> (String, usize) {
    let mut page = Vec::new();
    let left_out = expose(batch, Form::new(format), &mut page);
    (String::from_utf8(page).unwrap(), left_out)
}

/// Without the target's metadata and times of creation.
fn lines(page: &str) -> Vec<&str> {
    let is_plain = |line: &&str| !line.contains("target") && !line.contains("_created");
    page.lines().filter(is_plain).collect()
}

#[test]
fn a_name_that_two_metrics_have_is_one_family_and_a_series_that_both_have_is_the_firsts() {
    let batch = batch(vec![
        family("a.b", Kind::COUNTER, &[&[], &[("n", "1")]]),
        family("a_b", Kind::COUNTER, &[&[], &[("n", "2")]]),
    ]);
    let (text, left_out) = page(&batch, Format::Text);
    let expected = [
        "# TYPE a_b_total counter",
        "a_b_total 1",
        "a_b_total{n=\"1\"} 1",
        "a_b_total{n=\"2\"} 1",
    ];
    assert_eq!((lines(&text), left_out), (expected.to_vec(), 1));
}

#[test]
fn of_two_kinds_the_first_is_written_whole() {
    for (first, second) in [
        (("x", Kind::COUNTER), ("x_total", Kind::Gauge)),
        (("x", Kind::COUNTER), ("x.created", Kind::Gauge)),
        (("x.total", Kind::Gauge), ("x", Kind::COUNTER)),
        (("sm", Kind::Summary), ("sm_sum", Kind::Gauge)),
        (("sm.count", Kind::Gauge), ("sm", Kind::Summary)),
        (("h", Kind::Histogram), ("h_bucket", Kind::Summary)),
        (("h", Kind::Histogram), ("h", Kind::Summary)),
        (("h.", Kind::Histogram), ("h_", Kind::Gauge)),
        (("h", Kind::Histogram), ("h", Kind::COUNTER)),
    ] {
        let alone = batch(vec![family(first.0, first.1, &[&[]])]);
        let both = batch(vec![
            family(first.0, first.1, &[&[]]),
            family(second.0, second.1, &[&[], &[("n", "1")]]),
        ]);
        for format in [Format::Text, Format::OpenMetrics] {
            let (expected, none) = page(&alone, format);
            assert_eq!(
                (page(&both, format), none),
                ((expected, 2), 0),
                "{second:?}"
            );
        }
    }
}

#[test]
fn one_that_is_left_out_takes_no_name_from_others() {
    let batch = batch(vec![
        family("x_sum", Kind::Gauge, &[&[]]),
        family("x", Kind::Summary, &[&[]]),
        family("x_count", Kind::Gauge, &[&[]]),
    ]);
    let (text, left_out) = page(&batch, Format::Text);
    let expected = [
        "# TYPE x_sum gauge",
        "x_sum 1",
        "# TYPE x_count gauge",
        "x_count 1",
    ];
    assert_eq!((lines(&text), left_out), (expected.to_vec(), 1));
}

#[test]
fn a_counter_beside_a_metric_of_its_name_without_total_is_lost_in_no_form() {
    let batch = batch(vec![
        family("x", Kind::Gauge, &[&[]]),
        family("x_total", Kind::COUNTER, &[&[]]),
    ]);
    let (text, left_out) = page(&batch, Format::Text);
    let expected = [
        "# TYPE x gauge",
        "x 1",
        "# TYPE x_total counter",
        "x_total 1",
    ];
    assert_eq!((lines(&text), left_out), (expected.to_vec(), 0));
    let (open, left_out) = page(&batch, Format::OpenMetrics);
    let expected = [
        "# TYPE x gauge",
        "x 1",
        "# TYPE x_total unknown",
        "x_total 1",
        "# EOF",
    ];
    assert_eq!((lines(&open), left_out), (expected.to_vec(), 0));
}

#[test]
fn the_targets_metadata_keeps_its_name() {
    let batch = batch(vec![
        family("target", Kind::Gauge, &[&[]]),
        family("target_info", Kind::Gauge, &[&[]]),
        family("target.info", Kind::COUNTER, &[&[]]),
    ]);
    let info = "target_info{service_name=\"shop\",zone=\"b\"} 1";
    let (open, left_out) = page(&batch, Format::OpenMetrics);
    let expected = [
        "# TYPE target_info gauge",
        "# HELP target_info Target metadata",
        info,
        "# TYPE target gauge",
        "target 1",
        "# TYPE target_info_total unknown",
        "target_info_total 1",
        "# EOF",
    ];
    assert_eq!((open.lines().collect(), left_out), (expected.to_vec(), 1));
}

#[test]
fn labels_that_become_the_same_are_one_series() {
    let labels: &[&[(&str, &str)]] = &[
        &[("a.b", "x")],
        &[("a_b", "x")],
        &[("a_b", "x"), ("empty", "")],
        &[("a.b", "1"), ("a_b", "2")],
        &[("a_b", "1;2")],
        &[("a_b", "3")],
    ];
    let batch = batch(vec![family("c", Kind::COUNTER, labels)]);
    let (text, left_out) = page(&batch, Format::Text);
    let expected = [
        "# TYPE c_total counter",
        "c_total{a_b=\"x\"} 1",
        "c_total{a_b=\"1;2\"} 1",
        "c_total{a_b=\"3\"} 1",
    ];
    assert_eq!((lines(&text), left_out), (expected.to_vec(), 3));
    let mut utf8 = Form::new(Format::Text);
    utf8.alphabet = Alphabet::Utf8;
    assert_eq!(
        expose(&batch, utf8, &mut Vec::new()),
        1,
        "but for the empty one"
    );
}

/// Which is asked once of labels that many pages and metrics share.
#[test]
fn labels_that_one_page_or_metric_keeps_may_be_others_in_the_next() {
    let [dotted, plain, le] =
        [("a.b", "x"), ("a_b", "x"), ("le", "1")].map(|label| LabelSet::new([label]));
    let family = |name, kind, labels: &[&Arc<LabelSet>]| {
        let point =
            |labels: &&Arc<LabelSet>| Point::new(Arc::clone(labels), START, NOW, value(kind));
        let points = labels.iter().map(point).collect();
        Family::new(Arc::new(Descriptor::new(name, kind)), points)
    };
    let batch = batch(vec![
        family("c", Kind::COUNTER, &[&dotted, &plain]),
        family("g", Kind::Gauge, &[&le]),
        family("h", Kind::Histogram, &[&le]),
    ]);
    let mut utf8 = Form::new(Format::Text);
    utf8.alphabet = Alphabet::Utf8;
    assert_eq!(expose(&batch, utf8, &mut Vec::new()), 0);
    let (text, left_out) = page(&batch, Format::Text);
    let shown: Vec<_> = lines(&text)
        .into_iter()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let expected = [
        "c_total{a_b=\"x\"} 1",
        "g{le=\"1\"} 1",
        "h_bucket{exported_le=\"1\",le=\"2.0\"} 1",
        "h_bucket{exported_le=\"1\",le=\"+Inf\"} 1",
        "h_sum{exported_le=\"1\"} 1.0",
        "h_count{exported_le=\"1\"} 1",
    ];
    assert_eq!((shown, left_out), (expected.to_vec(), 1));
}

#[test]
fn remote_write_counts_what_it_leaves_out_and_names_both() {
    let batch = batch(vec![
        family("a.b", Kind::COUNTER, &[&[]]),
        family("a_b", Kind::COUNTER, &[&[], &[("n", "1")]]),
        family("sm", Kind::Summary, &[&[]]),
        family("sm_sum", Kind::Gauge, &[&[], &[("n", "1")]]),
    ]);
    for version in [WriteVersion::V1, WriteVersion::V2] {
        let mut encoder = RemoteWriteEncoder::new(version, Alphabet::Classic);
        let encoded = encoder.encode(
            &mut batch.cursor(),
            &Limits::bytes(usize::MAX),
            &mut Vec::new(),
        );
        let left_out = [(DropReason::Invalid, 3)];
        assert_eq!((encoded.items, &encoded.left_out[..]), (3, &left_out[..]));
        let expected = "the metric `sm_sum` is left out: to Prometheus its name is `sm_sum`, which the metric `sm` has; \
            rename one of them (and 1 more)";
        assert_eq!(encoder.why_left_out().unwrap(), expected);
    }
}

#[test]
fn pages_say_once_what_they_leave_out() {
    let registry = Registry::new();
    registry.counter("a.b").unwrap().plain().add(1);
    registry.counter("a_b").unwrap().plain().add(2);
    registry.gauge("a_b_total").unwrap().plain().set(3.0);
    let kinds = registry.gauge("k").unwrap();
    kinds.with([("a.b", "x")]).set(1.0);
    kinds.with([("a_b", "x")]).set(2.0);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let status = StatusSink::to(move |line| hear.lock().unwrap().push(line.to_owned()));
    let scrape = Scrape::new(registry.clone()).with_clash_report(ClashReport::to(status.clone()));
    let expected = [
        "hiq: prometheus: the metric `a_b_total` is left out: to Prometheus its name is `a_b_total`, which the metric \
         `a.b` has; rename one of them",
        "hiq: prometheus: the metric `a_b` is left out where the metric `a.b` has the same series to Prometheus, `a_b`; \
         rename one of them",
        "hiq: prometheus: the metric `k` has two sets of labels that are one to Prometheus, `k{a_b=\"x\"}`, and the second \
         is left out; rename a label",
    ];
    for _ in 0..3 {
        scrape.answer("", "");
        assert_eq!(*heard.lock().unwrap(), expected);
    }

    heard.lock().unwrap().clear();
    let mut options = ScrapeOptions::default();
    (options.host, options.port) = (Some("127.0.0.1".to_owned()), Some(0));
    let mut settings = ScrapeSettings::new(&options, &Env::default(), &mut Vec::new());
    settings.status = status;
    let server = ScrapeServer::start(&registry, &settings).unwrap();
    for _ in 0..2 {
        support::get(server.address(), "/metrics");
        assert_eq!(*heard.lock().unwrap(), expected);
    }
}

const NAMES: [&str; 14] = [
    "x",
    "x.",
    "x_total",
    "x.total",
    "x_sum",
    "x.count",
    "x_bucket",
    "x_created",
    "x_sum_total",
    "x_total_created",
    "target",
    "target.info",
    "target_info_total",
    "y",
];
const KINDS: [Kind; 5] = [
    Kind::Gauge,
    Kind::COUNTER,
    Kind::UP_DOWN_COUNTER,
    Kind::Histogram,
    Kind::Summary,
];
const LABELS: [&[(&str, &str)]; 8] = [
    &[],
    &[("a", "")],
    &[("a.b", "1")],
    &[("a_b", "1")],
    &[("le", "1")],
    &[("exported_le", "1")],
    &[("exported.le", "1"), ("quantile", "1")],
    &[("job", "1"), ("instance", "1")],
];

fn anything() -> impl Strategy<Value = MetricBatch> {
    let labels = prop::sample::subsequence(LABELS.to_vec(), 1..4);
    let family = (prop::sample::select(&NAMES[..]), 0..KINDS.len(), labels)
        .prop_map(|(name, kind, labels)| family(name, KINDS[kind], &labels));
    prop::collection::vec(family, 1..7).prop_map(batch)
}

/// `prometheus_client`'s rule for `OpenMetrics`: no name of a family, with a suffix of its type or without, is another's.
fn clashing_name(page: &str) -> Option<String> {
    let mut seen = HashSet::new();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for (name, kind) in types.map(|line| line.split_once(' ').unwrap()) {
        let suffixes: &[&str] = match kind {
            "counter" => &["", "_total", "_created"],
            "summary" => &["", "_count", "_sum", "_created"],
            "histogram" => &["", "_count", "_sum", "_bucket", "_created"],
            "info" => &["", "_info"],
            _ => &[""],
        };
        for suffix in suffixes {
            let name = format!("{name}{suffix}");
            if !seen.insert(name.clone()) {
                return Some(name);
            }
        }
    }
    None
}

/// What stands on more than one line before the value.
fn twice<'p>(lines: impl Iterator<Item = &'p str>) -> Option<&'p str> {
    let mut seen = HashSet::new();
    let mut lines = lines;
    lines.find(|line| !seen.insert(*line))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_measured_no_name_and_no_series_is_there_twice(batch in anything()) {
        for format in [Format::Text, Format::OpenMetrics] {
            let (page, left_out) = page(&batch, format);
            let targets_own = |family: &Family| family.descriptor().name() == "target.info";
            let is_written = !targets_own(&batch.families()[0]);
            prop_assert!(!is_written || left_out < batch.items(), "the first family is lost");
            if format == Format::OpenMetrics {
                prop_assert_eq!(clashing_name(&page), None, "{}", page);
            }
            let heads = page.lines().filter(|line| line.starts_with("# TYPE"));
            prop_assert_eq!(twice(heads.map(|line| line.rsplit_once(' ').unwrap().0)), None, "{}", page);
            let samples = page.lines().filter(|line| !line.starts_with('#'));
            let series = samples.map(|line| line.split(" # ").next().unwrap().rsplit_once(' ').unwrap().0);
            prop_assert_eq!(twice(series), None, "{}", page);
        }
        let mut proto = Vec::new();
        let left_out = expose(&batch, Form::new(Format::Proto), &mut proto);
        let read = families(&proto);
        let written: usize = read[1..].iter().map(|family| family.metric.len()).sum();
        prop_assert_eq!(written + left_out, batch.items());
        prop_assert_eq!(twice(read.iter().map(|family| family.name.as_str())), None);
        for (version, read) in [
            (WriteVersion::V1, read_v1 as fn(&[u8]) -> Vec<support::Plain>),
            (WriteVersion::V2, read_v2),
        ] {
            let mut encoder = RemoteWriteEncoder::new(version, Alphabet::Classic);
            let mut payload = Vec::new();
            let encoded = encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut payload);
            prop_assert_eq!(encoded.items + encoded.items_left_out(), batch.items());
            prop_assert_eq!(encoded.items, written);
            let read = if written == 0 { Vec::new() } else { read(&payload) };
            prop_assert_eq!(twice(read.iter().map(|each| each.series.as_str())), None);
        }
    }
}
