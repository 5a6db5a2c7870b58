//! The example of metrics, run as its first lines say.

use std::path::PathBuf;
use std::process::Command;

use crate::server::{Service, ok};
use crate::who::{KEY, User, public_half};

/// `cargo test` builds examples beside tests.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    built.join("examples").join("oci_monitoring")
}

#[test]
fn the_example_of_metrics_signs_its_point_and_says_what_became_of_it() {
    let service = Service::start(|_, _| ok(r#"{"failedMetricsCount": 0, "failedMetrics": []}"#));
    let user = User::usual();
    let finished = Command::new(example())
        .env_clear()
        .env("HOME", user.home.path())
        .env("OCI_COMPARTMENT_ID", "ocid1.compartment.oc1..aaaa")
        .env("OCI_MONITORING_ENDPOINT", service.url())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", example().display()));
    let said = String::from_utf8(finished.stdout).unwrap();
    assert!(finished.status.success(), "{said}");
    assert_eq!(finished.stderr, b"");
    assert!(said.ends_with("exported 1, lost 0\n"), "{said}");

    let requests = service.requests();
    assert_eq!(requests.len(), 1);
    requests[0].signer(&public_half(KEY)).unwrap();
    let sent = &requests[0].json()["metricData"][0];
    assert_eq!(sent["compartmentId"], "ocid1.compartment.oc1..aaaa");
    assert_eq!(sent["dimensions"]["city"], "Hanoi");
    assert_eq!(sent["datapoints"][0]["value"], 7.0);
}
