//! A canary in every place that may hold a secret, and every text that this crate makes.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use hiq_core::config::{Endpoint, Env, ProxySettings, Secret};
use hiq_core::export::Deadline;
use hiq_http::HttpOptions;

use crate::authority::{Authority, Identity};
use crate::client::send_within;
use crate::server::{Conversation, Server, deserted_address, response};

const CANARY: &str = "c4n4ry";
/// `user:c4n4ry`, by Python's base64, without what depends on its end.
const IN_BASE64: &str = "dXNlcjpjNG40cn";

fn check(text: &str) {
    assert!(
        !text.contains(CANARY) && !text.contains(IN_BASE64),
        "a secret in: {text}"
    );
}

/// Options for `server` with secrets wherever they may be.
fn with_secrets(scheme: &str, server: &str, proxies: ProxySettings) -> HttpOptions {
    let url = format!("{scheme}://user:{CANARY}@{server}/v1/traces?key={CANARY}#{CANARY}");
    let mut options = HttpOptions::new(Endpoint::parse("test", &url).unwrap());
    options.headers = vec![("api-key".to_owned(), Secret::new(CANARY))];
    options.proxies = proxies;
    options
}

/// Everything that can be printed before, during and after an attempt.
fn check_all_texts_of(options: &HttpOptions) {
    check(&format!("{options:?}"));
    let mut transport = options.build().unwrap();
    check(&format!("{transport:?} {transport:#?}"));
    for _ in 0..2 {
        let deadline = Deadline::never().within(Duration::from_millis(300));
        match send_within(&mut transport, b"spans", &deadline) {
            Ok(reply) => check(&format!("{} {reply:?}", reply.url)),
            Err(error) => check(&format!("{error} {error:?}")),
        }
        check(&format!("{transport:?} {transport:#?}"));
    }
}

type Script = Box<dyn Fn(&mut Conversation) + Send + Sync>;

#[test]
fn no_text_holds_a_secret_whatever_the_server_does() {
    let (stop, stopped) = channel::<()>();
    let stopped = Mutex::new(stopped);
    let scripts: Vec<Script> = vec![
        Box::new(|talk| _ = talk.say(response("200 OK", "", ""))),
        Box::new(|talk| {
            _ = talk.say(response(
                "302 Found",
                "location: http://127.0.0.1:1/\r\n",
                "",
            ));
        }),
        Box::new(|talk| _ = talk.say("SSH-2.0-x\r\n")),
        Box::new(|talk| _ = talk.say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")),
        Box::new(|talk| _ = talk.say(response("200 OK", "content-encoding: gzip\r\n", "x"))),
        Box::new(|_| ()),
        Box::new(move |_| _ = stopped.lock().unwrap().recv()),
    ];
    let servers: Vec<Server> = scripts
        .into_iter()
        .map(|script| {
            Server::start(move |talk| {
                talk.request();
                script(talk);
            })
        })
        .collect();
    for server in &servers {
        for scheme in ["http", "https"] {
            let address = server.address.to_string();
            check_all_texts_of(&with_secrets(scheme, &address, ProxySettings::default()));
        }
    }
    drop(stop);
}

#[test]
fn no_text_holds_a_secret_when_there_is_no_server() {
    for address in [
        deserted_address().to_string(),
        "no-such-host.invalid".to_owned(),
    ] {
        for scheme in ["http", "https"] {
            check_all_texts_of(&with_secrets(scheme, &address, ProxySettings::default()));
        }
    }
}

#[test]
fn no_text_holds_a_secret_of_a_certificate_problem() {
    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(|talk| {
        talk.request();
    });
    let address = server.address.to_string();
    check_all_texts_of(&with_secrets("https", &address, ProxySettings::default()));
}

#[test]
fn no_text_holds_a_proxys_password() {
    let refusing = Server::answering(response("407 Proxy Authentication Required", "", ""));
    let hanging_up = Server::start(|_| ());
    for address in [refusing.address, hanging_up.address, deserted_address()] {
        let proxy = format!("http://user:{CANARY}@{address}/?{CANARY}");
        for scheme in ["http", "https"] {
            let env = Env::from_pairs([("ALL_PROXY", proxy.as_str())]);
            let proxies = ProxySettings::from_env(&env, &mut Vec::new());
            check_all_texts_of(&with_secrets(scheme, "collector.example", proxies));
        }
    }
}

#[test]
fn a_server_that_sends_a_secret_back_does_not_get_it_into_the_reply() {
    let echo = format!("no access for {CANARY}");
    let server = Server::answering(response(
        "401 Unauthorized",
        "content-type: text/plain\r\n",
        &echo,
    ));
    let options = with_secrets(
        "http",
        &server.address.to_string(),
        ProxySettings::default(),
    );
    let deadline = Deadline::never().within(Duration::from_secs(60));
    let reply = send_within(&mut options.build().unwrap(), b"spans", &deadline).unwrap();
    let masked = format!("no access for {}", "*".repeat(CANARY.len()));
    assert_eq!(String::from_utf8(reply.body).unwrap(), masked);
    check(&format!("{} {}", reply.url, reply.content_type));
}
