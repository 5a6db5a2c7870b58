//! A canary in every place that may hold a secret, and every text that this crate makes.

use hiq_core::config::{Env, ProxySettings, Secret};
use hiq_grpc::GrpcOptions;

use crate::client::{options, send_within, within};
use crate::grpc_server::{Answer, GrpcServer, grpc_head};
use crate::server::{Server, deserted_address, response};

const CANARY: &str = "c4n4ry";
/// `user:c4n4ry`, by Python's base64, without what depends on its end.
const IN_BASE64: &str = "dXNlcjpjNG40cn";

fn check(text: &str) {
    assert!(
        !text.contains(CANARY) && !text.contains(IN_BASE64),
        "a secret in: {text}"
    );
}

fn with_secrets(url: &str, proxy: Option<&str>) -> GrpcOptions {
    let mut options = options(&format!("{url}/?key={CANARY}#{CANARY}"));
    options.headers = vec![(
        "authorization".to_owned(),
        Secret::new(format!("Bearer {CANARY}")),
    )];
    if let Some(proxy) = proxy {
        let env = Env::from_pairs([("ALL_PROXY", proxy)]);
        options.proxies = ProxySettings::from_env(&env, &mut Vec::new());
    }
    options
}

/// Everything that can be printed before, during and after an attempt.
fn check_all_texts_of(options: &GrpcOptions) {
    check(&format!("{options:?}"));
    let mut transport = options.build().unwrap();
    check(&format!("{transport:?} {transport:#?}"));
    for _ in 0..2 {
        match send_within(&mut transport, b"spans", &within(300)) {
            Ok(reply) => check(&format!("{reply:?}")),
            Err(error) => check(&format!("{error} {error:?}")),
        }
        check(&format!("{transport:?} {transport:#?}"));
    }
}

#[test]
fn no_text_holds_a_secret_whatever_the_server_does() {
    let mut page = grpc_head();
    page[1].1 = format!("text/{CANARY}-{CANARY}").replace(CANARY, "html");
    let answers = [
        Answer::Ok(format!("hello {CANARY}").into_bytes()),
        Answer::Status(16, "no access for Bearer c4n4ry, that is c4n4ry"),
        Answer::Raw(page, Vec::new(), None),
        Answer::Stall(Vec::new()),
        Answer::HangUp,
    ];
    for answer in answers {
        let server = GrpcServer::start(move |_| answer.clone());
        check_all_texts_of(&with_secrets(&server.url(), None));
        check_all_texts_of(&with_secrets(&format!("https://{}", server.address), None));
    }
    let http = Server::answering(response("400 Bad Request", "", CANARY));
    check_all_texts_of(&with_secrets(&http.url(""), None));
    check_all_texts_of(&with_secrets("http://no-such-host.invalid", None));
}

#[test]
fn no_text_holds_a_proxys_password() {
    let refusing = Server::answering(response("407 Proxy Authentication Required", "", ""));
    let hanging_up = Server::start(|_| ());
    for address in [refusing.address, hanging_up.address, deserted_address()] {
        let proxy = format!("http://user:{CANARY}@{address}/?{CANARY}");
        for url in ["http://collector.example", "https://collector.example"] {
            check_all_texts_of(&with_secrets(url, Some(&proxy)));
        }
    }
}

#[test]
fn a_server_that_sends_a_secret_back_does_not_get_it_into_the_reply() {
    let server = GrpcServer::start(|_| Answer::Status(16, "not you, c4n4ry"));
    let mut transport = with_secrets(&server.url(), None).build().unwrap();
    let reply = send_within(&mut transport, b"spans", &within(60_000)).unwrap();
    assert_eq!(reply.message, "not you, ******");
    assert_eq!(server.call().header("authorization"), "Bearer c4n4ry");
}
