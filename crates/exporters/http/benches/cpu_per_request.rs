//! CPU time of the sending thread per request, beside the least that a request can cost: a blocking socket that is
//! handed finished bytes.
//!
//! `cargo bench -p hiq-http`
#![allow(clippy::print_stdout, reason = "its output is the result")]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use hiq_core::config::Endpoint;
use hiq_core::export::Deadline;
use hiq_core::transport::{Payload, PayloadId, Reply, Transport};
use hiq_http::{HttpOptions, HttpTransport};
use rustix::time::{ClockId, clock_gettime};

/// A batch of 512 spans of OTLP, and one span.
const SIZES: [(&str, usize, usize); 3] = [
    ("1 span", 1, 291),
    ("512 spans", 512, 149_000),
    ("4,096 spans", 4_096, 1_192_000),
];
const ROUNDS: usize = 7;

fn main() {
    let sink = start_sink();
    println!(
        "{:12} {:>22} {:>22} {:>12}",
        "payload", "bare socket", "hiq-http", "over socket"
    );
    for (name, spans, bytes) in SIZES {
        let payload = vec![7; bytes];
        let requests = (64_000_000 / (bytes + 30_000)).max(50);
        let bare = best_of(|| bare_socket(sink, &payload, requests));
        let ours = best_of(|| transport(sink, &payload, requests));
        let per_span = |cpu: Duration| cpu.as_nanos() / spans as u128;
        println!(
            "{name:12} {:>10.1?} {:>5} ns/span {:>10.1?} {:>5} ns/span {:>11.2}x",
            bare,
            per_span(bare),
            ours,
            per_span(ours),
            ours.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

fn best_of(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| measure()).min().unwrap_or_default()
}

fn transport(sink: SocketAddr, payload: &[u8], requests: usize) -> Duration {
    let url = format!("http://{sink}/v1/traces");
    let endpoint = Endpoint::parse("bench", &url).expect("an address");
    let mut transport = HttpOptions::new(endpoint).build().expect("valid options");
    per_request(requests, || send(&mut transport, payload))
}

fn send(transport: &mut HttpTransport, payload: &[u8]) {
    let deadline = Deadline::never().within(Duration::from_secs(10));
    let payload = Payload::new(payload, "application/x-protobuf", 1);
    let mut outcomes = Vec::new();
    transport.submit(PayloadId(1), &payload, &deadline);
    transport.poll(&deadline, &mut outcomes);
    let result = outcomes.pop().map(|outcome| outcome.result);
    assert!(matches!(result, Some(Ok(Reply::Http(reply))) if reply.status == 200));
}

fn bare_socket(sink: SocketAddr, payload: &[u8], requests: usize) -> Duration {
    let mut stream = TcpStream::connect(sink).expect("the sink listens");
    stream.set_nodelay(true).expect("a socket");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {sink}\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        payload.len()
    );
    let mut reply = [0; 1024];
    per_request(requests, || {
        let parts = [head.as_bytes(), payload].map(std::io::IoSlice::new);
        let mut sent = stream.write_vectored(&parts).expect("sent");
        while sent < head.len() + payload.len() {
            sent += stream.write(&payload[sent - head.len()..]).expect("sent");
        }
        let got = stream.read(&mut reply).expect("a reply");
        assert!(black_box(&reply[..got]).starts_with(b"HTTP/1.1 200"));
    })
}

/// CPU time of this thread for one request, after a few to warm up.
fn per_request(requests: usize, mut request: impl FnMut()) -> Duration {
    for _ in 0..10 {
        request();
    }
    let before = thread_cpu();
    for _ in 0..requests {
        request();
    }
    thread_cpu().saturating_sub(before) / u32::try_from(requests).expect("few requests")
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("time is positive")
}

/// Reads requests and answers each with an empty success.
fn start_sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || swallow(stream));
        }
    });
    address
}

fn swallow(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 18];
    let mut filled = 0;
    let started = Instant::now();
    loop {
        let Ok(got @ 1..) = stream.read(&mut buffer[filled..]) else {
            return;
        };
        filled += got;
        let Some(body) = buffer[..filled]
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
        else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..body]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length: usize = length
            .split("\r\n")
            .next()
            .expect("a line")
            .parse()
            .expect("a number");
        let mut left = length - (filled - body - 4);
        while left > 0 {
            let room = left.min(buffer.len());
            let Ok(got @ 1..) = stream.read(&mut buffer[..room]) else {
                return;
            };
            left -= got;
        }
        filled = 0;
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(answer).is_err() || started.elapsed() > Duration::from_secs(600) {
            return;
        }
    }
}
