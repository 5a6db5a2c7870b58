//! Options are checked when the transport is made, and say what is wrong with them.

use hiq_core::config::Secret;
use hiq_core::transport::Transport;
use hiq_grpc::GrpcOptions;

use crate::client::options;

fn refused(change: impl FnOnce(&mut GrpcOptions)) -> String {
    let mut options = options("http://localhost:4317");
    change(&mut options);
    options.build().unwrap_err().to_string()
}

fn header(name: &str, value: &str) -> String {
    refused(|options| options.headers = vec![(name.to_owned(), Secret::new(value))])
}

#[test]
fn headers_that_grpc_keeps_for_itself_are_refused_by_name() {
    for name in [
        "content-type",
        "te",
        "grpc-timeout",
        "trace-bin",
        "connection",
        "host",
    ] {
        let error = header(name, "value");
        assert!(
            error.contains(name) && error.contains("leave it out"),
            "{error}"
        );
    }
}

#[test]
fn values_are_never_shown() {
    for value in ["line\nbreak-c4n4ry", "ümlaut-c4n4ry"] {
        let error = header("api-key", value);
        assert!(error.contains("api-key"), "{error}");
        assert!(!error.contains("c4n4ry"), "{error}");
    }
    let error = header("no name c4n4ry", "value");
    assert!(!error.contains("c4n4ry"), "{error}");
}

#[test]
fn addresses_and_methods_that_cannot_be_called_are_refused() {
    let error = refused(|options| options.method = "no method".to_owned());
    assert!(error.contains("/package.Service/Method"), "{error}");
    let endpoint = "http://user:c4n4ry@localhost:4317";
    let options = options(endpoint);
    let error = options.build().unwrap_err().to_string();
    assert!(error.contains("authorization header"), "{error}");
    assert!(!error.contains("c4n4ry"), "{error}");
}

#[test]
fn a_message_stays_below_what_servers_take() {
    let limits = options("http://localhost:4317").build().unwrap().limits();
    assert_eq!(
        (limits.max_payload_bytes, limits.max_in_flight),
        (4 << 20, 1)
    );
}
