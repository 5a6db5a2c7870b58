//! What cannot work is said before anything is sent, and never with the secret.

use hiq_core::config::{ConfigError, Secret};
use hiq_core::transport::Transport;

use crate::client::{options, transport};

fn refused(name: &str, value: &str) -> ConfigError {
    let mut options = options("http://localhost:4318/");
    options.headers = vec![(name.to_owned(), Secret::new(value))];
    options.build().expect_err("the header is refused")
}

#[test]
fn headers_that_frame_the_payload_are_ours() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "connection",
        "Content-Type",
        "upgrade",
    ] {
        let error = refused(name, "1").to_string();
        assert!(
            error.contains(&format!("`{}`", name.to_lowercase())),
            "{error}"
        );
    }
}

#[test]
fn a_header_that_would_become_two_is_refused_by_name() {
    for value in ["secret\r\nx: y", "secret\n", "sec\0ret", "secret\u{7f}"] {
        let error = refused("x-key", value).to_string();
        assert!(
            error.contains("`x-key`") && !error.contains("sec"),
            "{error}"
        );
    }
    let error = refused("secret key", "v").to_string();
    assert!(
        !error.contains("secret"),
        "a name that is none may be a secret: {error}"
    );
}

#[test]
fn a_user_agent_is_a_header_too() {
    let mut options = options("http://localhost:4318/");
    options.user_agent = "shop\r\nx: y".to_owned();
    let error = options.build().unwrap_err();
    assert_eq!(error.place, "user_agent");
}

#[test]
fn payloads_may_have_64_mib_unless_told_otherwise() {
    let url = "http://localhost:4318/";
    let limits = transport(url).limits();
    assert_eq!(
        (limits.max_payload_bytes, limits.max_in_flight),
        (64 << 20, 1)
    );
    let mut options = options(url);
    options.max_payload_bytes = 1000;
    assert_eq!(options.build().unwrap().limits().max_payload_bytes, 1000);
}
