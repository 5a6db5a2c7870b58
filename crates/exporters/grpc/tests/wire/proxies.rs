//! Through proxies, which gRPC asks for a tunnel, whatever the endpoint's scheme.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use hiq_core::config::{Env, ProxySettings, Secret};
use hiq_core::transport::TransportErrorKind;
use hiq_grpc::GrpcOptions;

use crate::authority::{Authority, Identity};
use crate::client::{failure_of, options, send};
use crate::grpc_server::{Answer, GrpcServer};
use crate::server::{Server, Stream, deserted_address, response};

fn from_env<const N: usize>(pairs: [(&str, &str); N]) -> ProxySettings {
    let mut warnings = Vec::new();
    let proxies = ProxySettings::from_env(&Env::from_pairs(pairs), &mut warnings);
    assert!(warnings.is_empty(), "{warnings:?}");
    proxies
}

fn through(url: &str, proxies: ProxySettings) -> GrpcOptions {
    let mut options = options(url);
    options.proxies = proxies;
    options
}

/// Copies both directions between the client and the server that it asks for; tells the test what it was asked.
fn tunnel(mut client: Box<dyn Stream>, raw: &TcpStream, tell: &Sender<String>) {
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
    let mut server = TcpStream::connect(address).unwrap();
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .unwrap();
    client.flush().unwrap();
    relay(&mut client, raw, &mut server);
}

/// One thread for both directions, because TLS has one state: looks at each side in turn.
fn relay(client: &mut Box<dyn Stream>, raw: &TcpStream, server: &mut TcpStream) {
    let patience = Some(std::time::Duration::from_millis(2));
    raw.set_read_timeout(patience).unwrap();
    server.set_read_timeout(patience).unwrap();
    let mut buffer = [0; 16 << 10];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => server.write_all(&buffer[..read]).unwrap(),
            Err(error) if is_patience(&error) => {}
            Err(_) => break,
        }
        match server.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                if client.write_all(&buffer[..read]).is_err() || client.flush().is_err() {
                    break;
                }
            }
            Err(error) if is_patience(&error) => {}
            Err(_) => break,
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn is_patience(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// A tunnelling proxy: its address, and the heads of what it was asked for.
fn proxy(identity: Option<Identity>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (tell, identity) = (tell.clone(), identity.clone());
            std::thread::spawn(move || {
                let raw = stream.try_clone().unwrap();
                let client: Box<dyn Stream> = match identity {
                    Some(identity) => identity.accept(stream).unwrap(),
                    None => Box::new(stream),
                };
                tunnel(client, &raw, &tell);
            });
        }
    });
    (address, told)
}

#[test]
fn plain_calls_go_through_a_tunnel_that_learns_nothing_but_the_address() {
    let server = GrpcServer::answering(b"through");
    let (address, asked) = proxy(None);
    let address = format!("user:p%40ss@{address}");
    let mut options = through(&server.url(), from_env([("HTTP_PROXY", &address)]));
    options.headers = vec![("api-key".to_owned(), Secret::new("for the server"))];
    let mut transport = options.build().unwrap();
    for _ in 0..3 {
        assert_eq!(send(&mut transport, b"spans").unwrap().body, b"through");
    }
    let head = asked.recv().unwrap();
    let expected = format!("CONNECT {} HTTP/1.1\r\n", server.address);
    assert!(head.starts_with(&expected), "{head}");
    let head = head.to_ascii_lowercase();
    // `user:p@ss`, by Python's base64.
    assert!(
        head.contains("\r\nproxy-authorization: basic dxnlcjpwqhnz\r\n"),
        "{head}"
    );
    assert!(!head.contains("api-key"), "{head}");
    let call = server.call();
    assert_eq!(call.header("proxy-authorization"), "");
    assert_eq!(call.header("api-key"), "for the server");
    assert!(asked.try_recv().is_err(), "one tunnel for all calls");
}

#[test]
fn tls_goes_through_a_proxy_that_speaks_tls_itself() {
    let authority = Authority::new("ours");
    let identity = Identity::of(&authority.sign("127.0.0.1", |_| ()));
    let server = GrpcServer::tls(&identity.config(), |_| Answer::Ok(b"through".to_vec()));
    let (address, asked) = proxy(Some(identity));
    let proxy = format!("https://{address}");
    let target = format!("https://{}", server.address);
    let mut options = through(&target, from_env([("https_proxy", &proxy)]));
    options.certificate = Some(authority.certificate_file());
    assert_eq!(
        send(&mut options.build().unwrap(), b"spans").unwrap().body,
        b"through"
    );
    let head = asked.recv().unwrap();
    assert!(
        head.starts_with(&format!("CONNECT {} ", server.address)),
        "{head}"
    );
}

#[test]
fn hosts_of_no_proxy_are_reached_directly() {
    let server = GrpcServer::answering(b"direct");
    let proxy = deserted_address().to_string();
    let proxies = from_env([("HTTP_PROXY", &proxy), ("NO_PROXY", "127.0.0.0/8")]);
    let mut transport = through(&server.url(), proxies).build().unwrap();
    assert_eq!(send(&mut transport, b"spans").unwrap().body, b"direct");
}

#[test]
fn what_proxies_say_is_told_without_their_password() {
    let answers: [(&str, &str); 4] = [
        (
            "407 Proxy Authentication Required",
            "asks for a user and a password",
        ),
        ("403 Forbidden", "refuses to connect to the server: 403"),
        ("", "closed the connection when asked"),
        ("SSH", "does not answer as a proxy does"),
    ];
    for (status, words) in answers {
        let server = Server::start(move |talk| {
            talk.head();
            match status {
                "" => {}
                "SSH" => _ = talk.say("SSH-2.0-OpenSSH_9.9\r\n\r\n"),
                _ => _ = talk.say(response(status, "", "")),
            }
        });
        let proxy = format!("http://user:secret@{}", server.address);
        let proxies = from_env([("ALL_PROXY", &proxy)]);
        let mut transport = through("http://collector.example:4317", proxies)
            .build()
            .unwrap();
        let message = failure_of(&mut transport, TransportErrorKind::Connect);
        assert!(
            message.contains("the proxy http://***@127.0.0.1"),
            "{message}"
        );
        assert!(message.contains(words), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn a_proxy_that_nobody_runs_is_told() {
    let proxy = deserted_address().to_string();
    let proxies = from_env([("HTTP_PROXY", &proxy)]);
    let mut transport = through("http://collector.example:4317", proxies)
        .build()
        .unwrap();
    let message = failure_of(&mut transport, TransportErrorKind::Connect);
    assert!(message.contains("is a proxy listening there?"), "{message}");
}
