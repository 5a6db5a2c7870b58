#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::*;

fn reply(status: u16, body: &str) -> HttpReply {
    let mut reply = HttpReply::new(status);
    reply.content_type = "application/json".to_owned();
    reply.body = body.as_bytes().to_vec();
    reply.url = "https://h.example/20180401/metrics".into();
    reply
}

fn verdict(service: Service, reply: HttpReply) -> Verdict {
    judge(service, &Reply::Http(reply), 10)
}

const SERVICES: [Service; 3] = [Service::Apm, Service::Streaming, Service::Monitoring];

#[test]
fn what_is_busy_is_asked_again() {
    for service in SERVICES {
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(
                verdict(service, reply(status, "{}")),
                Verdict::Retry { .. }
            ));
        }
        let is_final = verdict(service, reply(404, "{}"));
        assert!(matches!(is_final, Verdict::Rejected { .. }), "{is_final:?}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_of_with_how_wrong_it_is() {
    let said = |ahead: Option<i64>| {
        let mut reply = reply(401, r#"{"code":"NotAuthenticated"}"#);
        reply.clock_ahead_seconds = ahead;
        match verdict(Service::Monitoring, reply) {
            Verdict::Unauthorized { message } => message,
            other => panic!("{other:?}"),
        }
    };
    assert!(said(Some(1800)).contains("this machine's clock is 1800 s behind the server's"));
    assert!(said(Some(-301)).contains("clock is 301 s ahead of the server's"));
    for fine in [None, Some(300), Some(-300), Some(0)] {
        let said = said(fine);
        assert!(
            !said.contains("clock") && said.contains("fingerprint"),
            "{said}"
        );
    }
}

/// The shapes are those of `oci.monitoring.models.PostMetricDataResponseDetails`.
#[test]
fn series_that_monitoring_does_not_take_are_counted_with_the_first_reason() {
    let body = r#"{"failedMetricsCount": 2, "failedMetrics": [
        {"message": "timestamp too\nold", "metricData": {"name": "a"}}, {"message": "other", "metricData": {}}]}"#;
    let expected = Verdict::Delivered {
        rejected: 2,
        message: Some(
            "https://h.example/20180401/metrics did not take 2 series: timestamp too old"
                .to_owned(),
        ),
    };
    assert_eq!(verdict(Service::Monitoring, reply(200, body)), expected);
    let all = Verdict::Delivered {
        rejected: 0,
        message: None,
    };
    let body = r#"{"failedMetricsCount": 0, "failedMetrics": []}"#;
    assert_eq!(verdict(Service::Monitoring, reply(200, body)), all);
    assert_eq!(verdict(Service::Apm, reply(204, "")), all);
}

#[test]
fn a_message_that_streaming_did_not_take_is_sent_again() {
    let entry = r#"{"partition": null, "offset": null, "timestamp": null, "error": "429", "errorMessage": "slow\ndown"}"#;
    match verdict(Service::Streaming, reply(200, entry)) {
        Verdict::Retry { message, .. } => {
            assert!(
                message.ends_with("did not take a message: 429: slow down"),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
    let entry = r#"{"partition": "0", "offset": 7, "timestamp": "2026-01-01T00:00:00Z", "error": null, "errorMessage": null}"#;
    let taken = verdict(Service::Streaming, reply(200, entry));
    assert!(
        matches!(taken, Verdict::Delivered { rejected: 0, .. }),
        "{taken:?}"
    );
}
