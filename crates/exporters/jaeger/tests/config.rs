//! Settings: which of code, `OTEL_EXPORTER_JAEGER_*`, `JAEGER_*` and defaults counts, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use hiq_core::config::{ConfigError, Env, ProxySettings, Secret};
use hiq_jaeger::{
    JaegerExporter, JaegerOptions, JaegerProtocol, JaegerSettings, MAX_PACKET_BYTES, VARIABLES,
};

fn read(
    options: &JaegerOptions,
    variables: &[(&str, &str)],
) -> (Result<JaegerSettings, ConfigError>, Vec<String>) {
    let (env, mut warnings) = (Env::from_pairs(variables.iter().copied()), Vec::new());
    let settings = JaegerSettings::new(options, &env, &mut warnings);
    (settings, warnings.iter().map(ToString::to_string).collect())
}

fn settings(options: &JaegerOptions, variables: &[(&str, &str)]) -> JaegerSettings {
    let (settings, warnings) = read(options, variables);
    assert!(warnings.is_empty(), "{warnings:?}");
    settings.unwrap()
}

fn target(options: &JaegerOptions, variables: &[(&str, &str)]) -> (JaegerProtocol, String) {
    let settings = settings(options, variables);
    (settings.protocol, settings.target.to_string())
}

fn with(set: impl FnOnce(&mut JaegerOptions)) -> JaegerOptions {
    let mut options = JaegerOptions::default();
    set(&mut options);
    options
}

#[test]
fn without_a_word_thrift_goes_to_the_collector_on_this_machine() {
    let found = settings(&JaegerOptions::default(), &[]);
    assert_eq!(found.protocol, JaegerProtocol::HttpBinary);
    assert_eq!(
        found.target.to_string(),
        "http://localhost:14268/api/traces"
    );
    assert_eq!(found.timeout, Some(Duration::from_secs(10)));
    assert_eq!(found.max_packet_bytes, MAX_PACKET_BYTES);
    assert_eq!(found.credentials, None);
}

#[test]
fn the_address_decides_the_protocol_unless_it_is_named() {
    let host = |host: &str| with(|options| options.agent_host = Some(host.to_owned()));
    let udp = JaegerProtocol::UdpCompact;
    assert_eq!(target(&host("a"), &[]), (udp, "udp://a:6831".to_owned()));
    assert_eq!(
        target(&host("[::1]"), &[]),
        (udp, "udp://[::1]:6831".to_owned())
    );
    let port = with(|options| options.agent_port = Some(7));
    assert_eq!(target(&port, &[]), (udp, "udp://localhost:7".to_owned()));
    let agent = [("JAEGER_AGENT_HOST", "b")];
    assert_eq!(
        target(&JaegerOptions::default(), &agent),
        (udp, "udp://b:6831".to_owned())
    );
    let both = [
        ("JAEGER_AGENT_HOST", "b"),
        ("JAEGER_ENDPOINT", "http://c:1"),
    ];
    let http = (
        JaegerProtocol::HttpBinary,
        "http://c:1/api/traces".to_owned(),
    );
    assert_eq!(target(&JaegerOptions::default(), &both), http);
    let named = [("OTEL_EXPORTER_JAEGER_PROTOCOL", "udp/thrift.binary")];
    let binary = (JaegerProtocol::UdpBinary, "udp://localhost:6832".to_owned());
    assert_eq!(target(&JaegerOptions::default(), &named), binary);
    let grpc = with(|options| {
        options.protocol = Some(JaegerProtocol::Grpc);
        options.endpoint = Some("localhost:14250".to_owned());
    });
    let expected = (JaegerProtocol::Grpc, "http://localhost:14250/".to_owned());
    assert_eq!(target(&grpc, &named), expected);
}

#[test]
fn code_beats_opentelemetrys_names_which_beat_jaegers_own() {
    let variables = [
        ("JAEGER_ENDPOINT", "http://weak:1/x"),
        ("OTEL_EXPORTER_JAEGER_ENDPOINT", "http://strong:2/y"),
        ("JAEGER_USER", "weak"),
        ("OTEL_EXPORTER_JAEGER_USER", "strong"),
        ("JAEGER_PASSWORD", "only"),
        ("OTEL_EXPORTER_JAEGER_TIMEOUT", "250"),
    ];
    let found = settings(&JaegerOptions::default(), &variables);
    assert_eq!(found.target.to_string(), "http://strong:2/y");
    let credentials = Some(("strong".to_owned(), Secret::new("only")));
    assert_eq!(found.credentials, credentials);
    assert_eq!(found.timeout, Some(Duration::from_millis(250)));
    assert!(!format!("{found:?}").contains("only"), "{found:?}");
    let agents = [
        ("JAEGER_AGENT_HOST", "weak"),
        ("OTEL_EXPORTER_JAEGER_AGENT_HOST", "strong"),
        ("JAEGER_AGENT_PORT", "1"),
        ("OTEL_EXPORTER_JAEGER_AGENT_PORT", "2"),
    ];
    let (_, agent) = target(&JaegerOptions::default(), &agents);
    assert_eq!(agent, "udp://strong:2");
    let found = settings(&JaegerOptions::default(), &variables[..1]);
    assert_eq!(found.target.to_string(), "http://weak:1/x");
    let code = with(|options| {
        options.endpoint = Some("http://code:3".to_owned());
        options.timeout = Some(Duration::ZERO);
        options.user = Some("me".to_owned());
        options.password = Some(Secret::new("mine"));
    });
    let found = settings(&code, &variables);
    assert_eq!(found.target.to_string(), "http://code:3/api/traces");
    assert_eq!(found.timeout, None);
    assert_eq!(
        found.credentials,
        Some(("me".to_owned(), Secret::new("mine")))
    );
}

#[test]
fn what_would_send_spans_nowhere_is_an_error_that_names_the_fix() {
    let cases = [
        (
            with(|o| o.agent_host = Some("http://agent".to_owned())),
            "without a scheme, path or port",
        ),
        (
            with(|o| o.agent_host = Some("u:geheim@agent".to_owned())),
            "agent_host: `***@agent` is no host",
        ),
        (
            with(|o| o.agent_host = Some(String::new())),
            "agent_host: `` is no host",
        ),
        (with(|o| o.agent_port = Some(0)), "give 1 to 65535"),
        (
            with(|o| o.endpoint = Some("jaeger:14268".to_owned())),
            "has no scheme",
        ),
        (
            with(|o| o.max_packet_bytes = Some(100)),
            "give 256 to 65507",
        ),
        (
            with(|o| o.max_packet_bytes = Some(65_508)),
            "give 256 to 65507",
        ),
    ];
    for (options, words) in cases {
        let error = read(&options, &[]).0.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let unknown = "udp".parse::<JaegerProtocol>().unwrap_err().to_string();
    assert!(unknown.contains("udp/thrift.compact"), "{unknown}");
}

#[test]
fn what_is_not_understood_in_the_environment_is_warned_of() {
    let variables = [
        ("OTEL_EXPORTER_JAEGER_PROTOCOL", "thrift"),
        ("JAEGER_TAGS", "a=1, nonsense ,b=2"),
    ];
    let (settings, warnings) = read(&JaegerOptions::default(), &variables);
    assert_eq!(settings.unwrap().protocol, JaegerProtocol::HttpBinary);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains("`thrift` is not one of"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("`nonsense` is not key=value"),
        "{warnings:?}"
    );
}

type Others = &'static [(&'static str, &'static str)];

/// With what else has to be set for it to matter.
const EACH: [(&str, &str, Others); 14] = [
    ("OTEL_EXPORTER_JAEGER_PROTOCOL", "grpc", &[]),
    ("OTEL_EXPORTER_JAEGER_AGENT_HOST", "a", &[]),
    ("OTEL_EXPORTER_JAEGER_AGENT_PORT", "1", &[]),
    ("OTEL_EXPORTER_JAEGER_ENDPOINT", "http://a:1", &[]),
    ("OTEL_EXPORTER_JAEGER_TIMEOUT", "1", &[]),
    ("OTEL_EXPORTER_JAEGER_USER", "u", &[]),
    (
        "OTEL_EXPORTER_JAEGER_PASSWORD",
        "p",
        &[("JAEGER_USER", "u")],
    ),
    ("JAEGER_AGENT_HOST", "a", &[]),
    ("JAEGER_AGENT_PORT", "1", &[]),
    ("JAEGER_ENDPOINT", "http://a:1", &[]),
    ("JAEGER_USER", "u", &[]),
    ("JAEGER_PASSWORD", "p", &[("JAEGER_USER", "u")]),
    ("JAEGER_SERVICE_NAME", "s", &[]),
    ("JAEGER_TAGS", "a=1", &[]),
];

#[test]
fn each_variable_of_the_table_counts_and_its_defaults_are_those_in_force() {
    let listed: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(listed, EACH.map(|(name, ..)| name));
    for (name, value, others) in EACH {
        let without = settings(&JaegerOptions::default(), others);
        let with: Vec<_> = others.iter().copied().chain([(name, value)]).collect();
        assert_ne!(
            settings(&JaegerOptions::default(), &with),
            without,
            "{name}"
        );
    }
    let secrets = VARIABLES.iter().filter(|variable| variable.is_secret);
    let secrets: Vec<_> = secrets.map(|variable| variable.name).collect();
    assert_eq!(
        secrets,
        ["OTEL_EXPORTER_JAEGER_PASSWORD", "JAEGER_PASSWORD"]
    );
    let defaults = VARIABLES
        .iter()
        .filter(|variable| !variable.default.is_empty());
    let defaults: Vec<_> = defaults
        .map(|variable| (variable.name, variable.default))
        .collect();
    let written = settings(&JaegerOptions::default(), &defaults);
    assert_eq!(written, settings(&JaegerOptions::default(), &[]));
}

#[test]
fn an_exporter_names_its_target_without_secrets() {
    let options = with(|o| o.endpoint = Some("https://user:pass@jaeger/api/traces".to_owned()));
    let exporter = JaegerExporter::new(settings(&options, &[]), ProxySettings::default()).unwrap();
    assert_eq!(exporter.target(), "https://***@jaeger/api/traces");
    assert!(!format!("{exporter:?}").contains("pass@"));
}
