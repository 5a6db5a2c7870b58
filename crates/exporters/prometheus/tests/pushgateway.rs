//! A group's address by the rules of the Pushgateway's README, and what becomes of a push.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/client_model.rs"]
mod client_model;
#[path = "../../http/tests/wire/server.rs"]
#[allow(dead_code, reason = "the transport's tests use the rest")]
mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client_model::{LabelPair, families};
use hiq_core::config::{Compression, ConfigError, Env, ProxySettings};
use hiq_core::encode::DropReason;
use hiq_core::export::Health;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::MetricBatch;
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_prometheus::{
    PUSH_VARIABLES, PushMethod, PushgatewayExporter, PushgatewayOptions, PushgatewaySettings,
    Scrape,
};
use hiq_testkit::metrics::deliver;
use server::{Request, Server, response};

fn options(job: &str, grouping: &[(&str, &str)]) -> PushgatewayOptions {
    let mut options = PushgatewayOptions::default();
    options.endpoint = Some("http://gateway:9091/below".to_owned());
    options.job = Some(job.to_owned());
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    options.grouping = grouping.iter().map(own).collect();
    options
}

fn address(job: &str, grouping: &[(&str, &str)]) -> Result<String, ConfigError> {
    let settings =
        PushgatewaySettings::new(&options(job, grouping), &Env::default(), &mut Vec::new())?;
    Ok(settings.endpoint.expose().to_owned())
}

/// The README's own examples are the second to the fifth.
#[test]
fn values_that_a_path_cannot_hold_are_base64() {
    for (job, grouping, expected) in [
        ("some_job", &[][..], "/job/some_job"),
        (
            "directory_cleaner",
            &[("path", "/var/tmp")][..],
            "/job/directory_cleaner/path@base64/L3Zhci90bXA=",
        ),
        (
            "titan",
            &[("name", "Προμηθεύς")],
            "/job/titan/name@base64/zqDPgc6_zrzOt864zrXPjc-C",
        ),
        (
            "example",
            &[("first_label", ""), ("second_label", "foobar")],
            "/job/example/first_label@base64/=/second_label/foobar",
        ),
        ("/var/tmp", &[], "/job@base64/L3Zhci90bXA="),
        ("a b", &[], "/job@base64/YSBi"),
        ("..", &[("v", "1.2-rc_3")], "/job@base64/Li4=/v/1.2-rc_3"),
    ] {
        let expected = format!("http://gateway:9091/below/metrics{expected}");
        assert_eq!(address(job, grouping).unwrap(), expected);
    }
}

#[test]
fn what_cannot_be_a_group_is_said() {
    let error = address("", &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "job: a group has to have a job; give the label job a value"
    );
    for name in ["", "1st", "a-b", "__x", "job", "thời"] {
        let error = address("j", &[(name, "v")]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("grouping: `{name}` cannot")),
            "{error}"
        );
    }
    assert!(address("j", &[("a", "1"), ("a", "2")]).is_err());
}

#[test]
fn the_job_is_the_service_unless_said_otherwise_and_defaults_are_those_of_the_table() {
    let read = |pairs: &[(&str, &str)]| {
        let env = Env::from_pairs(pairs.iter().copied());
        let mut warnings = Vec::new();
        let settings =
            PushgatewaySettings::new(&PushgatewayOptions::default(), &env, &mut warnings);
        assert!(warnings.is_empty(), "{warnings:?}");
        settings.unwrap()
    };
    let job = |pairs: &[(&str, &str)]| read(pairs).endpoint.to_string();
    let base = "http://localhost:9091/metrics/job";
    assert_eq!(job(&[]), format!("{base}/unknown_service"));
    assert_eq!(
        job(&[("OTEL_SERVICE_NAME", "shop")]),
        format!("{base}/shop")
    );
    let both = [
        ("OTEL_SERVICE_NAME", "shop"),
        ("HIQ_PUSHGATEWAY_JOB", "own"),
    ];
    assert_eq!(job(&both), format!("{base}/own"));
    assert_eq!(
        read(&[("HIQ_PUSHGATEWAY_METHOD", "POST")]).method,
        PushMethod::Post
    );
    let defaults = PUSH_VARIABLES
        .iter()
        .filter(|variable| !variable.default.is_empty());
    let listed: Vec<_> = defaults
        .map(|variable| (variable.name, variable.default))
        .collect();
    assert_eq!(read(&listed), read(&[]));
    let secret = read(&[("HIQ_PUSHGATEWAY_HEADERS", "authorization=s3cret")]);
    assert_eq!(secret.headers[0].1.expose(), "s3cret");
    assert!(!format!("{secret:?}").contains("s3cret"));
    let error = "patch".parse::<PushMethod>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "method: `patch` is not known; give put or post"
    );
}

fn three_points() -> MetricBatch {
    let registry = Registry::new();
    let orders = registry.counter("orders").unwrap();
    orders.with([("city", "a")]).add(1);
    orders.with([("city", "b")]).add(2);
    registry.gauge("open").unwrap().plain().set(1.0);
    registry.collect(&CollectOptions::default())
}

fn exporter(server: &Server, method: PushMethod) -> PushgatewayExporter {
    let mut options = options("nightly", &[("instance", "a")]);
    options.endpoint = Some(server.url("/"));
    options.method = Some(method);
    let settings = PushgatewaySettings::new(&options, &Env::default(), &mut Vec::new()).unwrap();
    let mut push = PushgatewayExporter::new(settings, ProxySettings::default()).unwrap();
    let retry = &mut push.delivery_mut().retry;
    (retry.initial, retry.max) = (Duration::from_millis(5), Duration::from_millis(5));
    push
}

/// What becomes of a snapshot of three points, and the requests.
fn pushed(method: PushMethod, answers: &[Vec<u8>]) -> (LedgerSnapshot, Vec<Request>, Health) {
    let left = Arc::new(Mutex::new(answers.to_vec()));
    let answers_left = Arc::clone(&left);
    let server = Server::start(move |talk| {
        while talk.request().is_some() {
            talk.say(answers_left.lock().unwrap().remove(0));
        }
    });
    let mut exporter = exporter(&server, method).build().unwrap();
    let ledger = deliver(&mut *exporter, three_points());
    let unasked = left.lock().unwrap().len();
    assert_eq!(unasked, 0, "{ledger:?}");
    let requests = (0..answers.len()).map(|_| server.request()).collect();
    (ledger, requests, exporter.health())
}

#[test]
fn a_snapshot_is_one_request_by_the_method_that_was_chosen() {
    for (method, name) in [(PushMethod::Put, "PUT"), (PushMethod::Post, "POST")] {
        let (ledger, requests, health) = pushed(method, &[response("200 OK", "", "")]);
        assert_eq!((ledger.offered, ledger.exported), (3, 3));
        assert_eq!(health, Health::Fine);
        let line = format!("{name} /metrics/job/nightly/instance/a HTTP/1.1");
        assert_eq!(requests[0].first_line, line);
        let kind = requests[0].all("content-type")[0];
        assert!(kind.starts_with("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"), "{kind}");
    }
}

/// A Pushgateway writes the group's labels over those of the metrics, after which two series may be one, and refuses all.
#[test]
fn labels_of_the_group_do_not_overwrite_those_of_its_metrics() {
    let server = Server::answering(response("200 OK", "", ""));
    let registry = Registry::new();
    let runs = registry.counter("runs").unwrap();
    for city in ["a", "b"] {
        runs.with([("job", city), ("instance", city), ("city", city)])
            .add(1);
    }
    // A scrape of the same metrics keeps them.
    let accepted = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let scraped = Scrape::new(registry.clone()).answer(accepted, "");
    let scraped = families(&scraped.body);
    let names = scraped[0].metric[0].label.iter().map(|label| &label.name);
    assert_eq!(names.collect::<Vec<_>>(), ["city", "instance", "job"]);
    let mut exporter = exporter(&server, PushMethod::Put).build().unwrap();
    let ledger = deliver(&mut *exporter, registry.collect(&CollectOptions::default()));
    assert_eq!(ledger.exported, 2);
    let read = families(&server.request().body);
    let runs = read.iter().find(|family| family.name == "runs_total");
    let label = |name: &str, value: &str| LabelPair {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    for (metric, city) in runs.unwrap().metric.iter().zip(["a", "b"]) {
        let expected = [
            label("city", city),
            label("exported_instance", city),
            label("exported_job", city),
        ];
        assert_eq!(metric.label, expected);
    }
}

#[test]
fn limits_of_size_do_not_cut_a_group_in_two() {
    let server = Server::answering(response("202 Accepted", "", ""));
    let mut push = exporter(&server, PushMethod::Put);
    push.delivery_mut().max_payload_items = 1;
    push.delivery_mut().max_payload_bytes = 1;
    push.delivery_mut().compression = Compression::Gzip;
    let ledger = deliver(&mut *push.build().unwrap(), three_points());
    assert_eq!(ledger.exported, 3);
    assert_eq!(server.request().all("content-encoding"), ["gzip"]);
    assert_eq!(server.further_requests(), 0);
}

#[test]
fn a_busy_gateway_is_tried_again_and_a_refusal_is_final() {
    let busy = response("503 Service Unavailable", "", "");
    let (ledger, requests, _) = pushed(PushMethod::Put, &[busy, response("200 OK", "", "")]);
    assert_eq!((ledger.exported, requests.len()), (3, 2));
    assert_eq!(requests[0].body, requests[1].body);

    for status in ["400 Bad Request", "413 Content Too Large"] {
        let (ledger, _, health) = pushed(PushMethod::Put, &[response(status, "", "why")]);
        assert_eq!((ledger.exported, ledger.rejected), (0, 3));
        assert!(matches!(health, Health::Losing(words) if words.contains("why")));
    }
}

#[test]
fn a_family_whose_name_is_taken_is_left_out_and_counted() {
    let server = Server::answering(response("200 OK", "", ""));
    let registry = Registry::new();
    registry.counter("orders").unwrap().plain().add(1);
    registry.gauge("orders_").unwrap().plain().set(1.0);
    registry.histogram("orders.").unwrap().plain().observe(1.0);
    let mut exporter = exporter(&server, PushMethod::Put).build().unwrap();
    let ledger = deliver(&mut *exporter, registry.collect(&CollectOptions::default()));
    assert_eq!(ledger.exported, 2);
    let dropped = ledger.dropped.iter().find(|(_, items)| *items > 0);
    assert_eq!(dropped, Some((DropReason::Invalid, 1)));
}

#[test]
fn a_group_is_deleted_by_hand_and_a_failure_says_why() {
    let server = Server::answering(response("202 Accepted", "", ""));
    let push = exporter(&server, PushMethod::Put);
    push.delete(Duration::from_secs(10)).unwrap();
    let request = server.request();
    assert_eq!(
        request.first_line,
        "DELETE /metrics/job/nightly/instance/a HTTP/1.1"
    );
    assert!(request.body.is_empty());

    let refusing = Server::answering(response("403 Forbidden", "", "not yours"));
    let error = exporter(&refusing, PushMethod::Put).delete(Duration::from_secs(10));
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("403") && message.contains("not yours"),
        "{message}"
    );
}
