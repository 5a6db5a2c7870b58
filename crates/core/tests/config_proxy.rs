//! Which proxy is used for which target.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use hiq_core::config::{Endpoint, Env, ProxySettings};

fn proxies(pairs: &[(&str, &str)]) -> ProxySettings {
    let mut warnings = Vec::new();
    let proxies = ProxySettings::from_env(&Env::from_pairs(pairs.iter().copied()), &mut warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    proxies
}

fn used(proxies: &ProxySettings, target: &str) -> Option<String> {
    let target = Endpoint::parse("endpoint", target).unwrap();
    proxies.proxy_for(&target).map(ToString::to_string)
}

#[test]
fn the_scheme_of_the_target_chooses_the_proxy() {
    let both = proxies(&[("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "p:2")]);
    assert_eq!(used(&both, "https://c/"), Some("http://s:1/".to_owned()));
    assert_eq!(
        used(&both, "http://c/"),
        Some("http://p:2/".to_owned()),
        "http without a scheme"
    );
    let all = proxies(&[("ALL_PROXY", "http://all:3"), ("https_proxy", "http://s:1")]);
    assert_eq!(used(&all, "https://c/"), Some("http://s:1/".to_owned()));
    assert_eq!(used(&all, "http://c/"), Some("http://all:3/".to_owned()));
    assert_eq!(used(&proxies(&[]), "https://c/"), None);
}

#[test]
fn lower_case_wins_over_upper_case() {
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        let lower = name.to_lowercase();
        let both = proxies(&[(name, "http://upper:1"), (&lower, "http://lower:1")]);
        let target = if name == "HTTPS_PROXY" {
            "https://c"
        } else {
            "http://c"
        };
        assert_eq!(
            used(&both, target),
            Some("http://lower:1/".to_owned()),
            "{name}"
        );
    }
    let both = proxies(&[("HTTP_PROXY", "p:1"), ("NO_PROXY", "c"), ("no_proxy", "d")]);
    assert!(used(&both, "http://c").is_some() && used(&both, "http://d").is_none());
}

#[test]
fn a_cgi_program_does_not_trust_its_clients_proxy_header() {
    let cgi = proxies(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil:1")]);
    assert_eq!(used(&cgi, "http://c"), None);
    let cgi = proxies(&[("REQUEST_METHOD", "GET"), ("http_proxy", "http://good:1")]);
    assert!(used(&cgi, "http://c").is_some());
}

#[test]
fn no_proxy_means_names_and_all_below_addresses_networks_and_ports() {
    for (entry, target, direct) in [
        ("*", "http://anything", true),
        ("example.com", "http://example.com", true),
        ("example.com", "http://a.b.Example.COM.", true),
        (".example.com", "http://a.example.com", true),
        (".example.com", "http://example.com", true),
        ("*.example.com", "http://a.example.com", true),
        ("example.com", "http://notexample.com", false),
        ("example.com", "http://example.com.evil.org", false),
        ("ample.com", "http://example.com", false),
        ("example.com:4318", "http://example.com:4318", true),
        ("example.com:4318", "http://example.com:4317", false),
        ("example.com:443", "https://example.com", true),
        ("127.0.0.1", "http://127.0.0.1:9", true),
        ("127.0.0.1", "http://127.0.0.10:9", false),
        ("10.0.0.0/8", "http://10.200.3.4", true),
        ("10.0.0.0/8", "http://11.0.0.1", false),
        ("192.168.1.128/25", "http://192.168.1.127", false),
        ("192.168.1.128/25", "http://192.168.1.129", true),
        ("0.0.0.0/0", "http://8.8.8.8", true),
        ("0.0.0.0/0", "http://name", false),
        ("10.0.0.0/99", "http://10.0.0.1", false),
        ("::1", "http://[::1]:4318", true),
        ("[::1]:4318", "http://[::1]:4318", true),
        ("[::1]:4318", "http://[::1]:4317", false),
        ("fd00::/8", "http://[fd12:3456::1]", true),
        ("fd00::/8", "http://[fe80::1]", false),
        ("a, localhost ,b", "http://localhost:4318", true),
        ("a localhost", "http://localhost:4318", true),
        (".", "http://localhost", false),
    ] {
        let proxies = proxies(&[
            ("http_proxy", "p:1"),
            ("https_proxy", "p:1"),
            ("no_proxy", entry),
        ]);
        assert_eq!(used(&proxies, target).is_none(), direct, "{entry} {target}");
    }
}

#[test]
fn a_proxy_that_is_no_address_is_warned_of_without_its_password() {
    for bad in ["socks5://user:c4n4ry@p:1080", "http://user:c4n4ry@:1"] {
        let mut warnings = Vec::new();
        let env = Env::from_pairs([("HTTPS_PROXY", bad)]);
        let proxies = ProxySettings::from_env(&env, &mut warnings);
        assert_eq!(used(&proxies, "https://c"), None);
        let text = warnings[0].to_string();
        assert!(
            text.starts_with("HTTPS_PROXY: ") && !text.contains("c4n4ry"),
            "{text}"
        );
    }
    let good = proxies(&[("HTTPS_PROXY", "http://user:c4n4ry@p:1")]);
    assert!(!format!("{good:?}").contains("c4n4ry"));
}
