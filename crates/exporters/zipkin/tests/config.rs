//! Settings: code beats the environment beats the defaults, and what cannot be is told with the fix.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use hiq_core::config::{ConfigError, Env, ProxySettings, Secret, Warning};
use hiq_zipkin::{VARIABLES, ZipkinExporter, ZipkinFormat, ZipkinOptions, ZipkinSettings};

const ENDPOINT: &str = "OTEL_EXPORTER_ZIPKIN_ENDPOINT";

fn settings(
    options: &ZipkinOptions,
    env: &[(&str, &str)],
) -> (Result<ZipkinSettings, ConfigError>, Vec<Warning>) {
    let mut warnings = Vec::new();
    let env = Env::from_pairs(env.iter().copied());
    (ZipkinSettings::new(options, &env, &mut warnings), warnings)
}

fn resolved(
    endpoint: Option<&str>,
    format: Option<&str>,
    env: &[(&str, &str)],
) -> (String, ZipkinFormat) {
    let mut options = ZipkinOptions::default();
    options.endpoint = endpoint.map(str::to_owned);
    options.format = format.map(|format| format.parse().unwrap());
    let (settings, warnings) = settings(&options, env);
    assert_eq!(warnings, []);
    let settings = settings.unwrap();
    (settings.endpoint.to_string(), settings.format)
}

#[test]
fn the_address_is_the_argument_then_the_variable_then_localhost() {
    let (v2, v1, proto) = (
        ZipkinFormat::JsonV2,
        ZipkinFormat::JsonV1,
        ZipkinFormat::Protobuf,
    );
    let at = |text: &str, format| (text.to_owned(), format);
    let env = [(ENDPOINT, "http://env:1/api/v2/spans")];
    assert_eq!(
        resolved(None, None, &[]),
        at("http://localhost:9411/api/v2/spans", v2)
    );
    assert_eq!(
        resolved(None, Some("v1"), &[]),
        at("http://localhost:9411/api/v1/spans", v1)
    );
    assert_eq!(
        resolved(None, None, &env),
        at("http://env:1/api/v2/spans", v2)
    );
    assert_eq!(
        resolved(Some("http://arg"), Some("PROTO"), &env),
        at("http://arg/api/v2/spans", proto)
    );
    let v1_path = "http://z:9411/zipkin/api/v1/spans";
    assert_eq!(resolved(Some(v1_path), None, &[]), at(v1_path, v1));
    let own_path = "https://z/collect?key=s3cret";
    assert_eq!(
        resolved(Some(own_path), Some("v1"), &[]),
        at("https://z/collect?***", v1)
    );
    assert_eq!(
        resolved(Some("http://z/"), None, &[]),
        at("http://z/api/v2/spans", v2)
    );
}

#[test]
fn the_timeout_is_in_milliseconds_and_zero_has_no_limit() {
    let timeout = |options: &ZipkinOptions, value: &str| {
        let (settings, _) = settings(options, &[("OTEL_EXPORTER_ZIPKIN_TIMEOUT", value)]);
        settings.unwrap().timeout
    };
    let mut options = ZipkinOptions::default();
    assert_eq!(timeout(&options, ""), Some(Duration::from_secs(10)));
    assert_eq!(
        timeout(&options, "2500"),
        Some(Duration::from_millis(2_500))
    );
    assert_eq!(timeout(&options, "0"), None);
    options.timeout = Some(Duration::from_secs(1));
    assert_eq!(timeout(&options, "2500"), options.timeout);
    let (settings, warnings) = settings(
        &ZipkinOptions::default(),
        &[("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "soon")],
    );
    assert_eq!(settings.unwrap().timeout, Some(Duration::from_secs(10)));
    assert!(
        warnings[0]
            .to_string()
            .contains("`soon` is not a whole number of milliseconds")
    );
}

#[test]
fn what_cannot_be_is_told_with_the_fix() {
    let mut options = ZipkinOptions::default();
    options.endpoint = Some("http://z/api/v1/spans".to_owned());
    options.format = Some(ZipkinFormat::Protobuf);
    let error = settings(&options, &[]).0.unwrap_err().to_string();
    assert_eq!(
        error,
        "endpoint: http://z/api/v1/spans takes another version of Zipkin's API than format `proto`; use a path that ends in api/v2/spans"
    );
    let error = settings(&ZipkinOptions::default(), &[(ENDPOINT, "zipkin:9411")])
        .0
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("OTEL_EXPORTER_ZIPKIN_ENDPOINT: "),
        "{error}"
    );
    let error = "v3".parse::<ZipkinFormat>().unwrap_err().to_string();
    assert_eq!(
        error,
        "format: `v3` is not known; give one of v2, v1, proto"
    );
    let mut options = ZipkinOptions::default();
    options.mapping.max_tag_value_length = Some(0);
    assert!(settings(&options, &[]).0.is_err());
    let mut options = ZipkinOptions::default();
    options.mapping.local_port = Some(0);
    assert!(settings(&options, &[]).0.is_err());
}

#[test]
fn headers_and_certificates_are_checked_before_anything_is_sent() {
    let mut options = ZipkinOptions::default();
    options.headers = vec![("bad name".to_owned(), Secret::new("s3cret"))];
    let built = |options: &ZipkinOptions| {
        let settings = settings(options, &[]).0.unwrap();
        ZipkinExporter::new(settings, ProxySettings::default())
    };
    let error = built(&options).unwrap_err().to_string();
    assert!(
        error.contains("a header's name") && !error.contains("s3cret"),
        "{error}"
    );
    let mut options = ZipkinOptions::default();
    options.endpoint = Some("https://z".to_owned());
    options.certificate = Some("no-such-file.pem".into());
    assert!(
        built(&options)
            .unwrap_err()
            .to_string()
            .contains("no-such-file.pem")
    );
}

#[test]
fn each_variable_is_listed_with_its_default() {
    let env: Vec<_> = VARIABLES
        .iter()
        .map(|variable| (variable.name, variable.default))
        .collect();
    let with = settings(&ZipkinOptions::default(), &env).0.unwrap();
    let without = settings(&ZipkinOptions::default(), &[]).0.unwrap();
    assert_eq!(with, without);
    assert_eq!(VARIABLES.len(), 2);
}
