//! Where settings come from, what they mean to librdkafka, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use hiq_core::config::{ConfigError, Env, Secret};
use hiq_kafka::{
    KafkaEncoding, KafkaExporter, KafkaKey, KafkaOptions, KafkaProfile, KafkaSecurity,
    KafkaSettings, SaslMechanism, VARIABLES,
};

fn read(
    options: &KafkaOptions,
    env: &[(&str, &str)],
) -> (Result<KafkaSettings, ConfigError>, Vec<String>) {
    let mut warnings = Vec::new();
    let settings = KafkaSettings::new(
        options,
        &Env::from_pairs(env.iter().copied()),
        &mut warnings,
    );
    (settings, warnings.iter().map(ToString::to_string).collect())
}

fn settings(options: &KafkaOptions, env: &[(&str, &str)]) -> KafkaSettings {
    let (settings, warnings) = read(options, env);
    assert_eq!(warnings, Vec::<String>::new());
    settings.unwrap()
}

fn with(change: impl FnOnce(&mut KafkaOptions)) -> KafkaOptions {
    let mut options = KafkaOptions::default();
    change(&mut options);
    options
}

fn refused(change: impl FnOnce(&mut KafkaOptions)) -> String {
    read(&with(change), &[]).0.unwrap_err().to_string()
}

/// A file that is there.
const PEM: &str = file!();

/// A variable with a value that is not its default, and the others that it needs.
type Each<'p> = (&'static str, &'p str, Vec<(&'static str, &'p str)>);

fn each(pem: &str) -> [Each<'_>; 17] {
    let user = ("HIQ_KAFKA_USERNAME", "u");
    let password = ("HIQ_KAFKA_PASSWORD", "p");
    [
        ("HIQ_KAFKA_BROKERS", "a:1,b:2", vec![]),
        ("HIQ_KAFKA_TOPIC", "t", vec![]),
        ("HIQ_KAFKA_ENCODING", "zipkin_json", vec![]),
        ("HIQ_KAFKA_KEY", "trace", vec![]),
        ("HIQ_KAFKA_COMPRESSION", "lz4", vec![]),
        ("HIQ_KAFKA_PROFILE", "oci-streaming", vec![user, password]),
        ("HIQ_KAFKA_SECURITY_PROTOCOL", "ssl", vec![]),
        (
            "HIQ_KAFKA_SASL_MECHANISM",
            "SCRAM-SHA-512",
            vec![user, password],
        ),
        ("HIQ_KAFKA_USERNAME", "other", vec![user, password]),
        ("HIQ_KAFKA_PASSWORD", "other", vec![user, password]),
        ("HIQ_KAFKA_CERTIFICATE", pem, vec![]),
        (
            "HIQ_KAFKA_CLIENT_CERTIFICATE",
            pem,
            vec![("HIQ_KAFKA_CLIENT_KEY", pem)],
        ),
        (
            "HIQ_KAFKA_CLIENT_KEY",
            pem,
            vec![("HIQ_KAFKA_CLIENT_CERTIFICATE", pem)],
        ),
        ("HIQ_KAFKA_CLIENT_KEY_PASSWORD", "p", vec![]),
        ("HIQ_KAFKA_TIMEOUT", "1", vec![]),
        ("HIQ_KAFKA_MAX_MESSAGE_BYTES", "4096", vec![]),
        ("HIQ_KAFKA_PROPERTIES", "linger.ms=1", vec![]),
    ]
}

fn pem() -> String {
    // Tests run in the crate's folder, and the path is the workspace's.
    let name = std::path::Path::new(PEM).file_name().unwrap();
    std::path::Path::new("tests")
        .join(name)
        .display()
        .to_string()
}

#[test]
fn each_variable_of_the_table_counts_and_its_defaults_are_those_in_force() {
    let pem = pem();
    let each = each(&pem);
    let listed: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(listed, each.each_ref().map(|(name, ..)| *name));
    for (name, value, others) in &each {
        let half = name.contains("CLIENT_C") || name.ends_with("CLIENT_KEY");
        let without = settings(&KafkaOptions::default(), if half { &[] } else { others });
        let with: Vec<_> = others.iter().copied().chain([(*name, *value)]).collect();
        assert_ne!(settings(&KafkaOptions::default(), &with), without, "{name}");
    }
    let secrets = VARIABLES.iter().filter(|variable| variable.is_secret);
    let secrets: Vec<_> = secrets.map(|variable| variable.name).collect();
    let expected = [
        "HIQ_KAFKA_PASSWORD",
        "HIQ_KAFKA_CLIENT_KEY_PASSWORD",
        "HIQ_KAFKA_PROPERTIES",
    ];
    assert_eq!(secrets, expected);
    let defaults = VARIABLES
        .iter()
        .filter(|variable| !variable.default.is_empty());
    let defaults: Vec<_> = defaults
        .filter(|variable| !variable.name.ends_with("MECHANISM"))
        .map(|variable| (variable.name, variable.default))
        .collect();
    let written = settings(&KafkaOptions::default(), &defaults);
    assert_eq!(written, settings(&KafkaOptions::default(), &[]));
}

#[test]
fn code_is_stronger_than_the_environment() {
    let options = with(|o| {
        o.brokers = Some("code:1".to_owned());
        o.timeout = Some(Duration::ZERO);
    });
    let env = [("HIQ_KAFKA_BROKERS", "env:1"), ("HIQ_KAFKA_TIMEOUT", "5")];
    let settings = settings(&options, &env);
    assert_eq!(settings.connection.brokers, "code:1");
    assert_eq!(settings.timeout, None, "zero is no limit");
}

#[test]
fn the_topic_and_the_key_are_those_that_consumers_of_the_encoding_expect() {
    let topics = [
        ("otlp_proto", "otlp_spans", KafkaKey::None),
        ("otlp_json", "otlp_spans", KafkaKey::None),
        ("jaeger_proto", "jaeger-spans", KafkaKey::Trace),
        ("zipkin_json", "zipkin", KafkaKey::None),
        ("zipkin_proto", "zipkin", KafkaKey::None),
    ];
    for (encoding, topic, key) in topics {
        let found = settings(&with(|o| o.encoding = Some(encoding.parse().unwrap())), &[]);
        assert_eq!((found.topic.as_str(), found.key), (topic, key));
    }
}

#[test]
fn an_encoding_that_is_only_read_is_refused_for_writing() {
    assert_eq!(
        refused(|o| o.encoding = Some("jaeger_json".parse().unwrap())),
        "encoding: jaeger_json is read, not written; give jaeger_proto"
    );
    let env = [("HIQ_KAFKA_ENCODING", "jaeger_json")];
    let (settings, warnings) = read(&KafkaOptions::default(), &env);
    assert_eq!(settings.unwrap().encoding, KafkaEncoding::OtlpProto);
    assert!(
        warnings[0].starts_with("HIQ_KAFKA_ENCODING") && !warnings[0].contains("jaeger_json,"),
        "{warnings:?}"
    );
}

#[test]
fn security_follows_from_what_is_given() {
    let security = |change: fn(&mut KafkaOptions)| settings(&with(change), &[]).connection.security;
    assert_eq!(security(|_| ()), KafkaSecurity::Plaintext);
    assert_eq!(
        security(|o| o.certificate = Some(pem().into())),
        KafkaSecurity::Ssl
    );
    let with_user: fn(&mut KafkaOptions) = |o| {
        o.user = Some("u".to_owned());
        o.password = Some(Secret::new("p"));
    };
    assert_eq!(security(with_user), KafkaSecurity::SaslSsl);
    let scram = settings(
        &with(with_user),
        &[("HIQ_KAFKA_SASL_MECHANISM", "scram-sha-256")],
    );
    assert_eq!(
        scram.connection.sasl.unwrap().mechanism,
        SaslMechanism::ScramSha256
    );
}

#[test]
fn what_does_not_belong_together_is_refused_with_a_fix() {
    let shown = refused(|o| o.user = Some("u".to_owned()));
    assert_eq!(
        shown,
        "password: a user is given, and no password; set HIQ_KAFKA_PASSWORD, or give password"
    );
    let shown = refused(|o| o.security = Some(KafkaSecurity::SaslSsl));
    assert_eq!(
        shown,
        "security_protocol: sasl_ssl needs a user and a password; give username and password"
    );
    let shown = refused(|o| o.profile = Some(KafkaProfile::OciStreaming));
    assert!(
        shown
            .starts_with("profile: OCI Streaming takes user and password over TLS, nothing else; "),
        "{shown}"
    );
    let shown = refused(|o| o.client_key = Some(pem().into()));
    assert!(
        shown.starts_with("client_certificate: only one half"),
        "{shown}"
    );
    let shown = refused(|o| o.certificate = Some("/no/such/file.pem".into()));
    assert!(
        shown.starts_with("certificate: /no/such/file.pem cannot be read: "),
        "{shown}"
    );
    for brokers in ["", "http://a:1", "a b:1", "a:0", "a:99999", "a:1,,b:1"] {
        let shown = refused(|o| o.brokers = Some(brokers.to_owned()));
        assert!(shown.contains("is no broker; give host:port"), "{shown}");
    }
    for brokers in [
        "u:geheim@a:1",
        "SASL_SSL://u:geheim@a:1",
        "b:1,u:geheim@a:1",
    ] {
        let shown = refused(|o| o.brokers = Some(brokers.to_owned()));
        assert!(!shown.contains("geheim"), "{shown}");
        assert!(shown.contains("***@a:1` is no broker"), "{shown}");
    }
    for topic in ["", "..", "a b", "ä", &"x".repeat(250)] {
        let shown = refused(|o| o.topic = Some(topic.to_owned()));
        assert!(shown.contains("is no topic"), "{shown}");
    }
    assert!(refused(|o| o.max_message_bytes = Some(10)).starts_with("max_message_bytes: 10 bytes"));
    let known = "no".parse::<KafkaKey>().unwrap_err().to_string();
    assert_eq!(
        known,
        "key: `no` is not known; give one of none, trace, service"
    );
}

#[test]
fn brokers_may_be_addresses_and_need_no_port() {
    for brokers in [
        "kafka",
        "kafka:9092",
        "10.0.0.1:9092",
        "[::1]:9092",
        " a:1 , b:2 ",
    ] {
        settings(&with(|o| o.brokers = Some(brokers.to_owned())), &[]);
    }
}

#[test]
fn settings_of_librdkafka_are_checked_by_it_and_their_values_are_not_shown() {
    let property = |name: &str, value: &str| {
        refused(|o| o.properties = vec![(name.to_owned(), Secret::new(value))])
    };
    let shown = property("no.such.setting", "secret-value");
    assert!(shown.starts_with("no.such.setting: "), "{shown}");
    let shown = property("linger.ms", "secret-value");
    assert!(shown.starts_with("linger.ms: "), "{shown}");
    assert!(!shown.contains("secret-value"), "{shown}");
    let environment = [("HIQ_KAFKA_PROPERTIES", "linger.ms=7,foo=secret-value")];
    let both = |options: &KafkaOptions| read(options, &environment).0.unwrap_err().to_string();
    let shown = both(&KafkaOptions::default());
    let named = "HIQ_KAFKA_PROPERTIES: No such configuration property: \"foo\"";
    assert!(shown.starts_with(named), "{shown}");
    let by_code = both(&with(|o| {
        o.properties = vec![("foo".to_owned(), Secret::new("bar"))];
    }));
    assert!(by_code.starts_with("foo: "), "{by_code}");
    let (read, warnings) = read(
        &KafkaOptions::default(),
        &[("HIQ_KAFKA_PROPERTIES", "linger.ms=7,half-a-password")],
    );
    assert!(!warnings[0].contains("half"), "{warnings:?}");
    assert_eq!(read.unwrap().connection.properties.len(), 1);
}

#[test]
fn no_secret_is_in_what_is_printed() {
    let options = with(|o| {
        o.user = Some("user".to_owned());
        o.password = Some(Secret::new("pass-word"));
        o.client_key_password = Some(Secret::new("key-pass"));
        o.properties = vec![("ssl.key.pem".to_owned(), Secret::new("pem-key"))];
        o.security = Some(KafkaSecurity::SaslPlaintext);
    });
    let settings = settings(&options, &[]);
    let exporter = KafkaExporter::new(settings.clone()).unwrap();
    let transport = hiq_kafka::KafkaTransport::new(settings.clone(), "text").unwrap();
    let shown = format!(
        "{options:?} {settings:?} {exporter:?} {transport:?} {}",
        exporter.target()
    );
    for secret in ["pass-word", "key-pass", "pem-key"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
