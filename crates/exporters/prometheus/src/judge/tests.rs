use super::*;

fn reply(status: u16, written: Option<&str>) -> Reply {
    let mut reply = HttpReply::new(status);
    reply.url = "http://prometheus:9090/api/v1/write".into();
    if let Some(written) = written {
        reply.headers = vec![(WRITTEN[0], written.to_owned())];
    }
    Reply::Http(reply)
}

fn judged(status: u16, written: Option<&str>, version: WriteVersion) -> &'static str {
    match judge(&reply(status, written), version) {
        Verdict::Delivered { rejected: 0, .. } => "delivered",
        Verdict::Reencode { .. } => "again as 1.0",
        Verdict::Split { .. } => "halved",
        Verdict::Rejected { .. } => "rejected",
        Verdict::Retry { .. } => "again",
        Verdict::TooLarge { .. } => "too large",
        Verdict::Unauthorized { .. } => "unauthorized",
        other => panic!("{other:?}"),
    }
}

#[test]
fn version_1_is_tried_again_after_429_and_5xx_and_halved_after_400_and_else_given_up() {
    for (status, expected) in [
        (200, "delivered"),
        (204, "delivered"),
        (400, "halved"),
        (401, "unauthorized"),
        (404, "rejected"),
        (409, "rejected"),
        (413, "too large"),
        (415, "rejected"),
        (429, "again"),
        (500, "again"),
        (501, "again"),
        (503, "again"),
    ] {
        assert_eq!(judged(status, None, WriteVersion::V1), expected, "{status}");
    }
}

#[test]
fn a_server_that_does_not_say_what_it_wrote_spoke_version_1() {
    let auto = WriteVersion::V2OrV1;
    assert_eq!(judged(204, Some("7"), auto), "delivered");
    assert_eq!(judged(204, Some("0"), auto), "delivered");
    assert_eq!(judged(204, None, auto), "again as 1.0");
    assert_eq!(judged(204, Some("many"), auto), "again as 1.0");
    assert_eq!(judged(415, None, auto), "again as 1.0");
    assert_eq!(judged(400, None, auto), "halved");
    assert_eq!(judged(503, None, auto), "again");
}

#[test]
fn version_2_alone_never_falls_back_and_says_what_to_do() {
    assert_eq!(judged(204, Some("7"), WriteVersion::V2), "delivered");
    assert_eq!(judged(415, None, WriteVersion::V2), "rejected");
    let Verdict::Rejected { message } = judge(&reply(204, None), WriteVersion::V2) else {
        panic!("taken for delivered");
    };
    assert_eq!(
        message,
        "http://prometheus:9090/api/v1/write does not speak version 2.0 of remote write, it answered 204; let the version be 1 or auto"
    );
}

#[test]
fn a_server_without_native_histograms_is_known_by_its_words() {
    let mut reply = HttpReply::new(500);
    reply.body = b"native histograms are disabled\n".to_vec();
    let message = refuses_natives(&Reply::Http(reply.clone())).unwrap();
    assert!(
        message.contains("native histograms are disabled"),
        "{message}"
    );
    reply.body = b"disk full".to_vec();
    assert_eq!(refuses_natives(&Reply::Http(reply)), None);
}

#[test]
fn a_wrong_path_is_told_the_right_one() {
    let Verdict::Rejected { message } = judge(&reply(404, None), WriteVersion::V2OrV1) else {
        panic!("not rejected");
    };
    assert!(
        message
            .contains("/api/v1/write, when it is started with --web.enable-remote-write-receiver"),
        "{message}"
    );
}

#[test]
fn a_login_page_is_no_success_in_any_version() {
    let mut page = HttpReply::new(200);
    page.content_type = "text/html".to_owned();
    for version in [WriteVersion::V1, WriteVersion::V2, WriteVersion::V2OrV1] {
        let verdict = judge(&Reply::Http(page.clone()), version);
        assert!(matches!(verdict, Verdict::Rejected { .. }), "{verdict:?}");
    }
}
