//! What arrives when all goes well, or well in the end.

use std::sync::Arc;

use hiq_core::config::{Compression, Env, OtlpSettings};
use hiq_core::id::SpanId;
use hiq_otlp::OtlpExporter;

use crate::authority::{Authority, Identity};
use crate::collector::{Answer, Collector, Manners};
use crate::run::Run;

/// Sends to `endpoint` over gRPC.
pub(crate) fn run_to(endpoint: &str) -> Run {
    run_with(endpoint, &[], |_| {}, |_| {})
}

pub(crate) fn run_with(
    endpoint: &str,
    more: &[(&str, &str)],
    configure: impl FnOnce(&mut OtlpSettings),
    tune: impl FnOnce(&mut OtlpExporter),
) -> Run {
    let pairs = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
    ];
    let env = Env::from_pairs(pairs.into_iter().chain(more.iter().copied()));
    Run::told_by(&env, configure, tune)
}

fn sorted(mut ids: Vec<SpanId>) -> Vec<SpanId> {
    ids.sort();
    ids
}

#[test]
fn spans_arrive_with_the_metadata_that_the_environment_asks_for() {
    let collector = Collector::start(|_| Answer::Full);
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=for%20the%20server");
    let run = run_with(&collector.url(), &[headers], |_| {}, |_| {});
    let offered = run.offer(300);
    let ledger = run.settled();
    assert_eq!((ledger.offered, ledger.exported), (300, 300));
    let seen = collector.seen();
    assert_eq!(sorted(seen.ids), sorted(offered));
    let agent = seen.metadata.get("user-agent").unwrap().to_str().unwrap();
    assert!(agent.starts_with("OTel-OTLP-Exporter-hiq/0."), "{agent}");
    assert_eq!(seen.metadata.get("api-key").unwrap(), "for the server");
    assert_eq!(run.lines(), [""; 0]);
}

#[test]
fn one_connection_serves_all_batches() {
    let collector = Collector::start(|_| Answer::Full);
    let run = run_to(&collector.url());
    for _ in 0..5 {
        run.offer(10);
        run.settled();
    }
    assert_eq!(run.ended().exported, 50);
    assert_eq!(collector.connections(), 1);
}

#[test]
fn schemes_and_insecure_decide_about_tls() {
    let collector = Collector::start(|_| Answer::Full);
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    let bare = collector.address.to_string();
    for (endpoint, more) in [(collector.url(), vec![]), (bare, vec![insecure])] {
        let run = run_with(&endpoint, &more, |_| {}, |_| {});
        run.offer(3);
        assert_eq!(run.settled().exported, 3, "{endpoint}");
    }
    let authority = Authority::new("ours");
    let identity = Identity::of(&authority.sign("localhost", |_| {}));
    let manners = Manners {
        tls: Some(identity.config()),
        ..Manners::default()
    };
    let collector = Collector::with(manners, |_| Answer::Full);
    let port = collector.address.port();
    let file = authority.certificate_file();
    let certificate = ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.to_str().unwrap());
    for endpoint in [
        format!("https://localhost:{port}"),
        format!("localhost:{port}"),
    ] {
        let run = run_with(&endpoint, &[certificate], |_| {}, |_| {});
        run.offer(3);
        assert_eq!(run.settled().exported, 3, "{endpoint}");
    }
}

#[test]
fn the_variables_of_traces_beat_the_general_ones() {
    let collector = Collector::start(|_| Answer::Full);
    let url = collector.url();
    let own = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "who=traces"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "who=all"),
    ];
    let run = run_with("http://localhost:9", &own, |_| {}, |_| {});
    run.offer(3);
    assert_eq!(run.settled().exported, 3);
    assert_eq!(collector.seen().metadata.get("who").unwrap(), "traces");
}

#[test]
fn gzip_is_grpcs_own_and_a_server_without_it_is_named_with_the_fix() {
    let gzip = |settings: &mut OtlpSettings| settings.compression = Compression::Gzip;
    let manners = Manners {
        takes_gzip: true,
        ..Manners::default()
    };
    let collector = Collector::with(manners, |_| Answer::Full);
    let run = run_with(&collector.url(), &[], gzip, |_| {});
    let offered = run.offer(300);
    assert_eq!(run.settled().exported, 300);
    let seen = collector.seen();
    assert_eq!(sorted(seen.ids), sorted(offered));
    assert_eq!(seen.metadata.get("grpc-encoding").unwrap(), "gzip");

    let collector = Collector::start(|_| Answer::Full);
    let run = run_with(&collector.url(), &[], gzip, |_| {});
    run.offer(300);
    assert_eq!(run.settled().rejected, 300);
    let line = run.first_line();
    assert!(
        line.contains("unset OTEL_EXPORTER_OTLP_COMPRESSION"),
        "{line}"
    );
}

/// tonic's limit is 4 MiB unless told otherwise, as is that of the others.
#[test]
fn more_than_a_message_may_hold_becomes_several() {
    let collector = Collector::start(|_| Answer::Full);
    let run = run_to(&collector.url());
    let offered: Vec<_> = (0..12).flat_map(|_| run.offer(5_000)).collect();
    assert_eq!(run.settled().exported, 60_000);
    let seen = collector.further();
    assert!(seen.len() > 1, "{} messages", seen.len());
    let ids = seen.into_iter().flat_map(|seen| seen.ids).collect();
    assert_eq!(sorted(ids), sorted(offered));
    assert_eq!(run.lines(), [""; 0]);
}

#[test]
fn a_server_that_takes_less_gets_less_and_every_span() {
    let manners = Manners {
        max_message_bytes: Some(20_000),
        ..Manners::default()
    };
    let collector = Collector::with(manners, |_| Answer::Full);
    let run = run_to(&collector.url());
    let offered = run.offer(1_000);
    assert_eq!(run.settled().exported, 1_000);
    let ids = collector.further().into_iter().flat_map(|seen| seen.ids);
    assert_eq!(sorted(ids.collect()), sorted(offered));
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new("ours");
    let signed = authority.sign("localhost", |_| {});
    let manners = Manners {
        tls: Some(Arc::clone(&Identity::asking(&signed, &authority).config())),
        ..Manners::default()
    };
    let collector = Collector::with(manners, |_| Answer::Full);
    let client = authority.sign("client", |_| {});
    let files = [
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            authority.certificate_file(),
        ),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            authority.file("client.pem", &client.certificate),
        ),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            authority.file("client.key", &client.key),
        ),
    ];
    let more: Vec<_> = files
        .iter()
        .map(|(name, path)| (*name, path.to_str().unwrap()))
        .collect();
    let endpoint = format!("https://localhost:{}", collector.address.port());
    let run = run_with(&endpoint, &more, |_| {}, |_| {});
    run.offer(20);
    assert_eq!(run.settled().exported, 20);
}

#[test]
fn the_example_delivers_its_spans_and_tells_where_nobody_listens() {
    let collector = Collector::start(|_| Answer::Full);
    let url = collector.url();
    let to = |endpoint: &str| Env::from_pairs([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
    crate::example::run(&to(&url)).unwrap();
    let spans: usize = collector.further().iter().map(|seen| seen.ids.len()).sum();
    assert_eq!(spans, 30, "ten orders of three spans");
    let nowhere = format!("http://{}", crate::server::deserted_address());
    let error = crate::example::run(&to(&nowhere)).unwrap_err();
    assert!(error.to_string().contains("is a collector listening?"));
}
