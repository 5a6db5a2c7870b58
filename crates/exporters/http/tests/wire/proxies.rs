//! Through proxies: a tiny one that forwards `http` and tunnels `https`, as squid does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use hiq_core::config::{Env, ProxySettings, Secret};
use hiq_core::transport::TransportErrorKind;
use hiq_http::HttpOptions;

use crate::authority::{Authority, Identity};
use crate::client::{failure_of, options, send};
use crate::server::{Conversation, Server, deserted_address, response};

/// What the environment says about proxies.
fn from_env<const N: usize>(pairs: [(&str, &str); N]) -> ProxySettings {
    let mut warnings = Vec::new();
    let proxies = ProxySettings::from_env(&Env::from_pairs(pairs), &mut warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    proxies
}

fn through(url: &str, proxies: ProxySettings) -> HttpOptions {
    let mut options = options(url);
    options.proxies = proxies;
    options
}

/// Copies both directions between the client and the server that it asks for; tells the test its requests.
fn tunnel(stream: TcpStream, tell: &std::sync::mpsc::Sender<String>) {
    let mut client = stream;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let address = head.split(' ').nth(1).unwrap().to_owned();
    tell.send(head).unwrap();
    let Ok(server) = TcpStream::connect(address) else {
        let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
        return;
    };
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .unwrap();
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    copy(client.try_clone().unwrap(), server.try_clone().unwrap());
    copy(server, client);
}

/// A tunnelling proxy: its address, and the heads of what it was asked for.
fn tunnelling_proxy() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || tunnel(stream, &tell));
        }
    });
    (address, told)
}

fn answers(talk: &mut Conversation) {
    while talk.request().is_some() {
        talk.say(response("200 OK", "", "through"));
    }
}

#[test]
fn plain_requests_are_handed_to_the_proxy_with_their_whole_address() {
    let proxy = Server::start(answers);
    let address = format!("user:p%40ss@{}", proxy.address);
    let proxies = from_env([("HTTP_PROXY", &address)]);
    let options = through("http://collector.example:4318/v1/traces?a=b", proxies);
    assert_eq!(
        send(&mut options.build().unwrap(), b"spans").unwrap().body,
        b"through"
    );
    let request = proxy.request();
    assert_eq!(
        request.first_line,
        "POST http://collector.example:4318/v1/traces?a=b HTTP/1.1"
    );
    assert_eq!(request.all("host"), ["collector.example:4318"]);
    // `user:p@ss`, by Python's base64.
    assert_eq!(request.all("proxy-authorization"), ["Basic dXNlcjpwQHNz"]);
    assert_eq!(request.body, b"spans");
}

#[test]
fn tls_goes_through_a_tunnel_that_sees_neither_headers_nor_spans() {
    let authority = Authority::new("ours");
    let server = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(answers);
    let (address, asked) = tunnelling_proxy();
    let proxy = format!("http://user:pass@{address}");
    let target = format!("https://{}/v1/traces", server.address);
    let mut options = through(&target, from_env([("https_proxy", &proxy)]));
    options.certificate = Some(authority.certificate_file());
    options.headers = vec![("api-key".to_owned(), Secret::new("for the server"))];
    let mut transport = options.build().unwrap();
    for _ in 0..3 {
        assert_eq!(send(&mut transport, b"spans").unwrap().body, b"through");
    }
    let head = asked.recv().unwrap().to_ascii_lowercase();
    let expected = format!("connect {0} http/1.1\r\nhost: {0}\r\n", server.address);
    assert!(head.starts_with(&expected), "{head}");
    assert!(
        head.contains("\r\nproxy-authorization: basic dxnlcjpwyxnz\r\n"),
        "{head}"
    );
    assert!(
        !head.contains("api-key") && !head.contains("/v1/traces"),
        "{head}"
    );
    let request = server.request();
    assert_eq!(request.all("proxy-authorization"), [""; 0]);
    assert_eq!(request.all("api-key"), ["for the server"]);
    assert!(asked.try_recv().is_err(), "one tunnel for all requests");
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    let authority = Authority::new("ours");
    let proxy = Identity::of(&authority.sign("127.0.0.1", |_| ())).serve(answers);
    let address = format!("https://{}", proxy.address);
    let mut options = through(
        "http://collector.example/",
        from_env([("ALL_PROXY", &address)]),
    );
    options.certificate = Some(authority.certificate_file());
    assert_eq!(
        send(&mut options.build().unwrap(), b"spans").unwrap().body,
        b"through"
    );
    assert_eq!(
        proxy.request().first_line,
        "POST http://collector.example/ HTTP/1.1"
    );
}

#[test]
fn no_proxy_leads_past_it() {
    let server = Server::start(answers);
    let proxy = Server::start(answers);
    for (no_proxy, direct) in [
        ("127.0.0.0/8", true),
        ("example.com,127.0.0.1", true),
        ("example.com", false),
    ] {
        let address = proxy.address.to_string();
        let proxies = from_env([("HTTP_PROXY", &address), ("NO_PROXY", no_proxy)]);
        let before = (server.connections(), proxy.connections());
        send(
            &mut through(&server.url("/"), proxies).build().unwrap(),
            b"spans",
        )
        .unwrap();
        let after = (
            server.connections() - before.0,
            proxy.connections() - before.1,
        );
        assert_eq!(after, if direct { (1, 0) } else { (0, 1) }, "{no_proxy}");
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the child is told its server's address"
)]
fn the_environment_of_the_process_is_not_looked_at_again() {
    // Core has read it; a client that read it once more would send spans where nobody asked for them.
    const ADDRESS: &str = "HIQ_TEST_SERVER";
    if let Ok(url) = std::env::var(ADDRESS) {
        send(&mut options(&url).build().unwrap(), b"spans").unwrap();
        return;
    }
    let proxy = Server::start(answers);
    let server = Server::start(answers);
    let this_test = "proxies::the_environment_of_the_process_is_not_looked_at_again";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", this_test])
        .env(ADDRESS, server.url("/"));
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        child.env(name, proxy.address.to_string());
    }
    let ran = child.output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!((server.connections(), proxy.connections()), (1, 0));
}

#[test]
fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let address = deserted_address();
    for target in ["http://collector.example/", "https://collector.example/"] {
        let proxy = format!("http://user:hunter2@{address}");
        let message = failure_of(
            &mut through(target, from_env([("ALL_PROXY", &proxy)]))
                .build()
                .unwrap(),
            TransportErrorKind::Connect,
        );
        assert!(
            message.contains(&format!("the proxy http://***@{address}")),
            "{message}"
        );
        assert!(message.contains("is a proxy listening there?"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_proxy_that_refuses_says_why() {
    let cases = [
        (
            "407 Proxy Authentication Required",
            "asks for a user and a password",
        ),
        ("403 Forbidden", "refuses to connect to the server"),
        ("502 Bad Gateway", "refuses to connect to the server"),
    ];
    for (status, words) in cases {
        let proxy = Server::answering(response(status, "", ""));
        let address = proxy.url("");
        let proxies = from_env([("HTTPS_PROXY", &address)]);
        let mut transport = through("https://collector.example/", proxies)
            .build()
            .unwrap();
        let message = failure_of(&mut transport, TransportErrorKind::Connect);
        assert!(message.contains(words), "{message}");
        assert!(
            message.contains(&format!("the proxy {address}/")),
            "{message}"
        );
    }
}

#[test]
fn a_forwarding_proxys_own_answer_is_a_reply() {
    let proxy = Server::answering(response("407 Proxy Authentication Required", "", ""));
    let address = proxy.url("");
    let options = through(
        "http://collector.example/",
        from_env([("HTTP_PROXY", &address)]),
    );
    assert_eq!(
        send(&mut options.build().unwrap(), b"spans")
            .unwrap()
            .status,
        407
    );
}
