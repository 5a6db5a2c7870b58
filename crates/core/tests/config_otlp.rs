//! Where OTLP goes, by OpenTelemetry's specification of the exporter's variables; secrets stay hidden.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::path::Path;
use std::time::Duration;

use hiq_core::config::{
    Compression, ConfigError, Endpoint, Env, OtlpOptions, OtlpSettings, Protocol, Secret, Warning,
};

type Read = (Result<OtlpSettings, ConfigError>, Vec<Warning>);

fn read_with(options: &OtlpOptions, pairs: &[(&str, &str)]) -> Read {
    let mut warnings = Vec::new();
    let env = Env::from_pairs(pairs.iter().copied());
    (
        OtlpSettings::for_traces(options, &env, &mut warnings),
        warnings,
    )
}

/// Settings that must be free of errors and warnings.
fn read(pairs: &[(&str, &str)]) -> OtlpSettings {
    let (settings, warnings) = read_with(&OtlpOptions::default(), pairs);
    assert!(warnings.is_empty(), "{warnings:?}");
    settings.unwrap()
}

fn endpoint(pairs: &[(&str, &str)]) -> String {
    read(pairs).endpoint.expose().to_owned()
}

fn code(set: impl FnOnce(&mut OtlpOptions)) -> OtlpOptions {
    let mut options = OtlpOptions::default();
    set(&mut options);
    options
}

const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

#[test]
fn nothing_set_means_http_protobuf_to_localhost() {
    let settings = read(&[]);
    assert_eq!(
        settings.endpoint.expose(),
        "http://localhost:4318/v1/traces"
    );
    assert_eq!(settings.protocol, Protocol::HttpProtobuf);
    assert_eq!(settings.compression, Compression::None);
    assert_eq!(settings.timeout, Some(Duration::from_secs(10)));
    assert!(settings.headers.is_empty() && settings.certificate.is_none());
    assert!(settings.client_identity.is_none());
    assert_eq!(endpoint(&[(PROTOCOL, "grpc")]), "http://localhost:4317/");
}

#[test]
fn a_base_address_gets_the_path_below_its_own() {
    for (base, expected) in [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/mine", "https://c/mine/v1/traces"),
        ("https://c/mine/", "https://c/mine/v1/traces"),
        ("http://c:4318?tenant=1", "http://c:4318/v1/traces?tenant=1"),
        ("HTTP://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ] {
        assert_eq!(endpoint(&[(BASE, base)]), expected);
    }
}

#[test]
fn an_address_for_traces_is_used_as_it_is_and_wins() {
    let own = |address| endpoint(&[(BASE, "http://base:1"), (TRACES, address)]);
    assert_eq!(own("http://c:4318/v1/traces"), "http://c:4318/v1/traces");
    assert_eq!(own("http://c:4318/other/"), "http://c:4318/other/");
    assert_eq!(own("http://c:4318"), "http://c:4318/");
}

#[test]
fn an_address_in_code_wins_and_gets_the_path_only_when_it_has_none() {
    let pairs = [(BASE, "http://base:1"), (TRACES, "http://own:2")];
    let given = |address: &str| {
        let options = code(|o| o.endpoint = Some(address.to_owned()));
        read_with(&options, &pairs)
            .0
            .unwrap()
            .endpoint
            .expose()
            .to_owned()
    };
    assert_eq!(given("http://code:4318"), "http://code:4318/v1/traces");
    assert_eq!(given("http://code:4318/in"), "http://code:4318/in");
}

#[test]
fn each_setting_follows_code_then_traces_then_general_then_default() {
    let general = [
        (PROTOCOL, "http/json"),
        (HEADERS, "a=1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/1"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/1c"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/1k"),
    ];
    let settings = read(&general);
    assert_eq!(settings.protocol, Protocol::HttpJson);
    assert_eq!(settings.headers, [("a".to_owned(), Secret::new("1"))]);
    assert_eq!(settings.compression, Compression::Gzip);
    assert_eq!(settings.timeout, Some(Duration::from_millis(1)));
    assert_eq!(settings.certificate.as_deref(), Some(Path::new("/1")));
    assert_eq!(settings.client_identity.unwrap().key, Path::new("/1k"));

    let own = [
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=2"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/2"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/2c"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/2k"),
    ];
    let both: Vec<_> = general.into_iter().chain(own).collect();
    let settings = read(&both);
    assert_eq!(settings.protocol, Protocol::HttpProtobuf);
    assert_eq!(
        settings.headers,
        [("b".to_owned(), Secret::new("2"))],
        "not merged"
    );
    assert_eq!(settings.compression, Compression::None);
    assert_eq!(settings.timeout, None, "0 means no limit");
    assert_eq!(settings.certificate.as_deref(), Some(Path::new("/2")));
    assert_eq!(
        settings.client_identity.unwrap().certificate,
        Path::new("/2c")
    );

    let options = code(|o| {
        o.protocol = Some(Protocol::HttpJson);
        o.headers = Some(vec![("C".to_owned(), Secret::new("%41"))]);
        o.compression = Some(Compression::Gzip);
        o.timeout = Some(Duration::from_secs(3));
        o.certificate = Some("/3".into());
        o.client_certificate = Some("/3c".into());
        o.client_key = Some("/3k".into());
    });
    let settings = read_with(&options, &both).0.unwrap();
    assert_eq!(settings.protocol, Protocol::HttpJson);
    assert_eq!(
        settings.headers,
        [("c".to_owned(), Secret::new("%41"))],
        "code is not decoded"
    );
    assert_eq!(settings.compression, Compression::Gzip);
    assert_eq!(settings.timeout, Some(Duration::from_secs(3)));
    assert_eq!(settings.certificate.as_deref(), Some(Path::new("/3")));
    assert_eq!(settings.client_identity.unwrap().key, Path::new("/3k"));
}

#[test]
fn metrics_have_variables_of_their_own_which_beat_the_general_ones() {
    let settings = |pairs: &[(&str, &str)]| {
        let (env, mut warnings) = (Env::from_pairs(pairs.iter().copied()), Vec::new());
        let options = OtlpOptions::default();
        let settings = OtlpSettings::for_metrics(&options, &env, &mut warnings);
        (settings.unwrap(), warnings)
    };
    let address = |pairs: &[(&str, &str)]| settings(pairs).0.endpoint.expose().to_owned();
    assert_eq!(address(&[]), "http://localhost:4318/v1/metrics");
    assert_eq!(
        address(&[(BASE, "http://c:1/base")]),
        "http://c:1/base/v1/metrics"
    );
    assert_eq!(
        address(&[(BASE, "http://c:1"), (METRICS, "http://m:2/x")]),
        "http://m:2/x"
    );
    assert_eq!(
        address(&[(TRACES, "http://t:1/v1/traces")]),
        "http://localhost:4318/v1/metrics"
    );
    let own = [
        (PROTOCOL, "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
        (HEADERS, "a=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "b=2"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "m.pem"),
    ];
    let (found, warnings) = settings(&own);
    assert_eq!(found.protocol, Protocol::HttpJson);
    assert_eq!(found.headers[0].0, "b");
    assert_eq!(found.compression, Compression::Gzip);
    assert_eq!(found.timeout, Some(Duration::from_millis(2)));
    assert_eq!(found.certificate.as_deref(), Some(Path::new("m.pem")));
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_wish_for_delta_temporality_is_warned_of() {
    const NAME: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    for (wish, expected) in [
        ("cumulative", 0),
        ("delta", 1),
        ("LowMemory", 1),
        ("often", 1),
    ] {
        let (env, mut warnings) = (Env::from_pairs([(NAME, wish)]), Vec::new());
        let settings = OtlpSettings::for_metrics(&OtlpOptions::default(), &env, &mut warnings);
        assert!(settings.is_ok());
        assert_eq!(warnings.len(), expected, "{wish}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.place == NAME));
    }
}

#[test]
fn an_unknown_word_warns_and_the_next_weaker_place_counts() {
    let (settings, warnings) = read_with(
        &OtlpOptions::default(),
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/xml"),
            (PROTOCOL, "HTTP/JSON"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ],
    );
    let settings = settings.unwrap();
    assert_eq!(settings.protocol, Protocol::HttpJson);
    assert_eq!(settings.compression, Compression::None);
    assert_eq!(settings.timeout, Some(Duration::from_secs(10)));
    let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    for value in ["`http/xml`", "`zstd`", "`10s`"] {
        assert!(
            texts.iter().any(|text| text.contains(value)),
            "{value} in {texts:?}"
        );
    }
}

#[test]
fn grpc_takes_a_target_without_a_scheme_and_insecure_decides() {
    let grpc = |pairs: &[(&str, &str)]| {
        let mut all = vec![(PROTOCOL, "grpc")];
        all.extend_from_slice(pairs);
        endpoint(&all)
    };
    assert_eq!(grpc(&[(BASE, "c:4317")]), "https://c:4317/");
    assert_eq!(
        grpc(&[(BASE, "c:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "True")]),
        "http://c:4317/"
    );
    assert_eq!(
        grpc(&[
            (BASE, "c:4317"),
            ("OTEL_EXPORTER_OTLP_SPAN_INSECURE", "true")
        ]),
        "http://c:4317/"
    );
    let own_wins = [
        (BASE, "c:4317"),
        ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false"),
        ("OTEL_EXPORTER_OTLP_SPAN_INSECURE", "true"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
    ];
    assert_eq!(grpc(&own_wins), "https://c:4317/");
    let scheme_wins = [
        (BASE, "https://c:4317"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
    ];
    assert_eq!(grpc(&scheme_wins), "https://c:4317/");
    assert_eq!(
        grpc(&[(BASE, "http://b:1"), (TRACES, "http://c:4317")]),
        "http://c:4317/"
    );
}

#[test]
fn what_points_at_the_wrong_door_is_warned_of() {
    let warned = |pairs: &[(&str, &str)]| {
        let (settings, warnings) = read_with(&OtlpOptions::default(), pairs);
        let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        (settings.unwrap().endpoint.to_string(), texts.join("\n"))
    };
    let (address, warning) = warned(&[(PROTOCOL, "grpc"), (BASE, "http://c:4317/v1/traces")]);
    assert_eq!(address, "http://c:4317/");
    assert!(warning.contains("/v1/traces"), "{warning}");
    assert!(
        warned(&[(PROTOCOL, "grpc"), (BASE, "http://c:4318")])
            .1
            .contains("port 4318")
    );
    assert!(warned(&[(BASE, "http://c:4317")]).1.contains("port 4317"));
}

#[test]
fn a_bad_address_is_an_error_that_names_place_value_and_fix() {
    for (bad, part) in [
        ("localhost:4318", "`localhost:4318` has no scheme"),
        ("ftp://c:4318", "scheme other than http"),
        ("grpc://c:4317", "scheme other than http"),
        ("http://", "names no host"),
        ("http:///v1/traces", "names no host"),
        ("http://:4318", "names no host"),
        ("http://c:99999", "port"),
        ("http://c:0", "port 0"),
        ("http://a b:4318", "is no address"),
        ("http://c:4318\r\n/x", "control character"),
        ("http://[::1:4318", "is no address"),
    ] {
        for name in [BASE, TRACES] {
            let error = read_with(&OtlpOptions::default(), &[(name, bad)])
                .0
                .unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("{name}: ")), "{text}");
            assert!(text.contains(part), "{text} should contain {part}");
            assert!(text.contains("write it as http://host:port"), "{text}");
        }
        let options = code(|o| o.endpoint = Some(bad.to_owned()));
        assert_eq!(read_with(&options, &[]).0.unwrap_err().place, "endpoint");
    }
}

#[test]
fn header_values_are_percent_decoded_and_names_lower_case() {
    let settings = read(&[(
        HEADERS,
        " Authorization = Basic%20QWxh%3D , x-t=a=b;c , , x-T=last",
    )]);
    let shown: Vec<_> = settings
        .headers
        .iter()
        .map(|(k, v)| (k.as_str(), v.expose()))
        .collect();
    assert_eq!(shown, [("authorization", "Basic QWxh="), ("x-t", "last")]);
    let kept = read(&[(HEADERS, "x-t=a=b;c")]);
    assert_eq!(
        kept.headers[0].1.expose(),
        "a=b;c",
        "no properties after a semicolon"
    );
}

const CANARY: &str = "c4n4ry-s3cret";

#[test]
fn a_member_that_is_no_header_is_left_out_without_being_shown() {
    for bad in [CANARY, &format!("Bearer {CANARY}=="), &format!("={CANARY}")] {
        let (settings, warnings) =
            read_with(&OtlpOptions::default(), &[(HEADERS, &format!("a=1,{bad}"))]);
        assert_eq!(settings.unwrap().headers.len(), 1, "{bad}");
        let text = format!("{warnings:?}");
        assert!(
            text.contains("member 2") && !text.contains(CANARY),
            "{text}"
        );
    }
    let (settings, warnings) = read_with(
        &OtlpOptions::default(),
        &[(HEADERS, &format!("k={CANARY}%zz"))],
    );
    assert_eq!(
        settings.unwrap().headers[0].1.expose(),
        format!("{CANARY}%zz")
    );
    assert!(warnings[0].message.contains("`k`") && !warnings[0].message.contains(CANARY));
}

#[test]
fn line_breaks_and_nul_in_a_header_are_an_error_that_names_the_key_only() {
    for escape in ["%0d", "%0A", "%00", "%7f", "%1b"] {
        let text = format!("ok=1,token={CANARY}{escape}x: y");
        let error = read_with(&OtlpOptions::default(), &[(HEADERS, &text)])
            .0
            .unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("`token`") && shown.contains(HEADERS),
            "{shown}"
        );
        assert!(!shown.contains(CANARY), "{shown}");
    }
    let options = code(|o| o.headers = Some(vec![("t".to_owned(), Secret::new("a\nb"))]));
    assert_eq!(read_with(&options, &[]).0.unwrap_err().place, "headers");
    let options = code(|o| o.headers = Some(vec![(format!("bad {CANARY}"), Secret::new("1"))]));
    let error = read_with(&options, &[]).0.unwrap_err().to_string();
    assert!(
        !error.contains(CANARY),
        "a name that is no token may be a secret: {error}"
    );
}

#[test]
fn grpc_refuses_headers_that_it_cannot_carry() {
    let refused = |header: &str| {
        let pairs = [(PROTOCOL, "grpc"), (HEADERS, header)];
        read_with(&OtlpOptions::default(), &pairs)
            .0
            .unwrap_err()
            .to_string()
    };
    assert!(refused("blob-bin=1").contains("`blob-bin`"));
    assert!(refused("grpc-timeout=1").contains("`grpc-timeout`"));
    assert!(refused("name=Am%C3%A9lie").contains("`name`"));
    assert_eq!(
        read(&[(HEADERS, "name=Am%C3%A9lie")]).headers[0].1.expose(),
        "Amélie"
    );
}

#[test]
fn no_secret_is_in_any_text() {
    let address = format!("https://user:{CANARY}@c:4318/in?key={CANARY}");
    let (settings, _) = read_with(
        &OtlpOptions::default(),
        &[
            (BASE, &address),
            (HEADERS, &format!("authorization={CANARY}")),
        ],
    );
    let settings = settings.unwrap();
    assert!(settings.endpoint.expose().contains(CANARY) && settings.endpoint.has_credentials());
    assert_eq!(
        settings.endpoint.to_string(),
        "https://***@c:4318/in/v1/traces?***"
    );
    assert!(!format!("{settings:?}").contains(CANARY));

    for bad in [
        format!("ftp://user:{CANARY}@c"),
        format!("user:{CANARY}@c:4318"),
        format!("http://user:{CANARY}/{CANARY}@c:x/"),
        format!("http://c:x/?key={CANARY}"),
        format!("http://c:x/?key={CANARY}@{CANARY}"),
        format!("http://a:{CANARY}?x@c:y"),
    ] {
        let error = Endpoint::parse("endpoint", &bad).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
    }
    let grpc = [(PROTOCOL, "grpc"), (BASE, address.as_str())];
    let error = read_with(&OtlpOptions::default(), &grpc).0.unwrap_err();
    assert!(
        error.to_string().contains("authorization header") && !error.to_string().contains(CANARY)
    );
    let options = code(|o| o.headers = Some(vec![("k".to_owned(), Secret::new(CANARY))]));
    assert!(!format!("{options:?}").contains(CANARY));
}

#[test]
fn half_a_client_identity_is_an_error() {
    let cert = [("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem")];
    let error = read_with(&OtlpOptions::default(), &cert).0.unwrap_err();
    assert_eq!(error.place, "OTEL_EXPORTER_OTLP_CLIENT_KEY");
    let key = [("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem")];
    let error = read_with(&OtlpOptions::default(), &key).0.unwrap_err();
    assert_eq!(error.place, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE");
}

#[test]
fn words_of_code_are_parsed_with_clear_errors() {
    assert_eq!("GRPC".parse::<Protocol>().unwrap(), Protocol::Grpc);
    assert_eq!("gzip".parse::<Compression>().unwrap(), Compression::Gzip);
    let error = "udp".parse::<Protocol>().unwrap_err().to_string();
    assert_eq!(
        error,
        "protocol: `udp` is not known; give one of grpc, http/protobuf, http/json"
    );
    for protocol in [Protocol::Grpc, Protocol::HttpJson, Protocol::HttpProtobuf] {
        assert_eq!(protocol.name().parse::<Protocol>().unwrap(), protocol);
    }
    let env = Env::from_pairs([(PROTOCOL, "http/json")]);
    assert_eq!(Protocol::of_traces(&env), Some(Protocol::HttpJson));
    assert_eq!(Protocol::of_traces(&Env::default()), None);
}
