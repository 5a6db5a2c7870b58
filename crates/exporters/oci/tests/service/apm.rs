//! Spans to APM: addresses, keys, replies.

use std::time::{Duration, Instant};

use hiq_core::config::{Env, ProxySettings, Secret};
use hiq_core::export::{Deadline, Progress};
use hiq_core::ledger::{Ledger, LedgerSnapshot};
use hiq_oci::{ApmExporter, ApmFormat, ApmOptions, ApmSettings};
use hiq_testkit::assert_balances;
use hiq_testkit::lines::LineEncoder;
use hiq_testkit::trees::tree_of;

use crate::server::{Service, ok};

const KEY: &str = "SECRETDATAKEY/+&1";

fn options(base: &str) -> ApmOptions {
    let mut options = ApmOptions::default();
    options.base_url = Some(base.to_owned());
    options.data_key = Some(Secret::new(KEY));
    options
}

fn exporter(options: &ApmOptions) -> ApmExporter {
    let settings = ApmSettings::new(options, &Env::default(), &mut Vec::new()).unwrap();
    let mut exporter = ApmExporter::new(settings, ProxySettings::default()).unwrap();
    let retry = &mut exporter.delivery_mut().retry;
    (retry.initial, retry.max) = (Duration::from_millis(1), Duration::from_millis(1));
    exporter
}

/// Sends `spans` spans and goes on until they are settled.
fn deliver(exporter: &ApmExporter, spans: usize) -> LedgerSnapshot {
    let mut exporter = exporter.build(Box::new(LineEncoder::new())).unwrap();
    let (ledger, deadline) = (Ledger::new(), Deadline::never());
    ledger.offer(spans);
    let custody = ledger.take(spans, Instant::now());
    let batch = hiq_core::batch::TreeBatch::new(vec![std::sync::Arc::new(tree_of(spans).0)]);
    let mut progress = exporter.export(std::sync::Arc::new(batch), custody, &deadline);
    while let Progress::Waiting { until, .. } = progress {
        deadline.sleep(until.saturating_duration_since(Instant::now()));
        progress = exporter.poll(&deadline);
    }
    let ledger = ledger.snapshot();
    assert_balances(&ledger);
    ledger
}

#[test]
fn each_format_and_key_has_the_address_that_oracle_names() {
    let service = Service::start(|_, _| (204, String::new(), String::new()));
    for format in [ApmFormat::Zipkin, ApmFormat::Otlp] {
        for private in [false, true] {
            let mut options = options(&service.url());
            (options.format, options.private) = (format, Some(private));
            assert_eq!(deliver(&exporter(&options), 3).exported, 3);
        }
    }
    let seen: Vec<_> = service
        .requests()
        .iter()
        .map(|request| {
            let authorization = request.header("authorization").unwrap_or_default();
            (request.target.clone(), authorization.to_owned())
        })
        .collect();
    let zipkin = |side| {
        let query = "dataFormat=zipkin&dataFormatVersion=2&dataKey=SECRETDATAKEY%2F%2B%261";
        (
            format!("/20200101/observations/{side}?{query}"),
            String::new(),
        )
    };
    let otlp = |side| {
        let path = format!("/20200101/opentelemetry/{side}/v1/traces");
        (path, format!("dataKey {KEY}"))
    };
    let expected = [
        zipkin("public-span"),
        zipkin("private-span"),
        otlp("public"),
        otlp("private"),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_busy_service_is_asked_again_and_a_wrong_key_is_not() {
    let service = Service::start(|_, before| match before {
        0 => (429, String::new(), String::new()),
        1 => (500, String::new(), String::new()),
        _ => ok(""),
    });
    assert_eq!(deliver(&exporter(&options(&service.url())), 2).exported, 2);
    assert_eq!(service.requests().len(), 3);
    let service = Service::start(|request, _| (401, String::new(), request.target.clone()));
    let ledger = deliver(&exporter(&options(&service.url())), 2);
    assert_eq!((ledger.rejected, service.requests().len()), (2, 1));
}

#[test]
fn no_text_holds_the_data_key_even_when_the_service_repeats_it() {
    let service =
        Service::start(|request, _| (403, String::new(), format!("bad {}", request.target)));
    for format in [ApmFormat::Zipkin, ApmFormat::Otlp] {
        let mut options = options(&service.url());
        options.format = format;
        let exporter = exporter(&options);
        let mut built = exporter.build(Box::new(LineEncoder::new())).unwrap();
        let ledger = Ledger::new();
        ledger.offer(1);
        let custody = ledger.take(1, Instant::now());
        let batch = hiq_core::batch::TreeBatch::new(vec![std::sync::Arc::new(tree_of(1).0)]);
        built.export(std::sync::Arc::new(batch), custody, &Deadline::never());
        let texts = format!(
            "{options:?} {exporter:?} {} {built:?} {:?}",
            exporter.target(),
            built.health()
        );
        assert!(texts.contains("403"), "{texts}");
        assert!(!texts.contains("SECRETDATAKEY"), "{texts}");
    }
}

#[test]
fn settings_come_from_the_variables_that_hiq_has() {
    let base = (
        "APM_BASE_URL",
        "https://aaaa.apm-agt.eu-frankfurt-1.oci.oraclecloud.com/",
    );
    let endpoint = |more: &[(&str, &str)]| {
        let env = Env::from_pairs([base].iter().chain(more).copied());
        let settings = ApmSettings::new(&ApmOptions::default(), &env, &mut Vec::new());
        settings.map(|settings| settings.endpoint.expose().to_owned())
    };
    let host = base.1;
    assert_eq!(
        endpoint(&[("APM_PUB_KEY", "PUB"), ("APM_PRIVATE_KEY", "PRIV")]).unwrap(),
        format!(
            "{host}20200101/observations/public-span?dataFormat=zipkin&dataFormatVersion=2&dataKey=PUB"
        )
    );
    assert_eq!(
        endpoint(&[("APM_PRIVATE_KEY", "PRIV"), ("APM_API_VER", "20300101")]).unwrap(),
        format!(
            "{host}20300101/observations/private-span?dataFormat=zipkin&dataFormatVersion=2&dataKey=PRIV"
        )
    );
    assert_eq!(endpoint(&[]).unwrap_err().place, "APM_PUB_KEY");
    let query = [
        ("APM_PUB_KEY", "PUB"),
        ("APM_BASE_URL", "https://h.example/?dataKey=PUB"),
    ];
    let error = endpoint(&query).unwrap_err();
    assert!(
        error.problem.contains("has a query") && !error.to_string().contains("PUB?"),
        "{error}"
    );
    let env = Env::from_pairs([("APM_PUB_KEY", "PUB")]);
    let error = ApmSettings::new(&ApmOptions::default(), &env, &mut Vec::new()).unwrap_err();
    assert_eq!(error.place, "APM_BASE_URL");
}
