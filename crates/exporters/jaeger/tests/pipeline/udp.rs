//! UDP: packets to a socket of the test, or to nobody.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::encode::DropReason;
use hiq_core::id::SpanId;
use hiq_jaeger::{JaegerOptions, MAX_PACKET_BYTES};
use hiq_testkit::PATIENCE;
use hiq_testkit::spans::{BatchIn, Origin, Plain, SpanIn, TreeIn};

use crate::run::Run;
use crate::support::{Span, read_thrift};

fn agent(address: &str) -> (UdpSocket, String) {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    (socket, port)
}

fn run_to(host: &str, port: &str, protocol: &str) -> Run {
    Run::under(&[
        ("OTEL_EXPORTER_JAEGER_PROTOCOL", protocol),
        ("OTEL_EXPORTER_JAEGER_AGENT_HOST", host),
        ("OTEL_EXPORTER_JAEGER_AGENT_PORT", port),
    ])
}

/// Reads packets until `spans` have come, each within the limit.
fn received(agent: &UdpSocket, spans: usize, read: fn(&[u8]) -> Vec<Span>) -> Vec<Vec<Span>> {
    let mut packets: Vec<Vec<Span>> = Vec::new();
    let mut packet = vec![0; 70_000];
    while packets.iter().map(Vec::len).sum::<usize>() < spans {
        let bytes = agent.recv(&mut packet).unwrap();
        assert!(bytes <= MAX_PACKET_BYTES, "a packet of {bytes} bytes");
        packets.push(read(&packet[..bytes]));
    }
    packets
}

fn ids(packets: &[Vec<Span>]) -> Vec<SpanId> {
    let spans = packets.iter().flatten();
    let mut ids: Vec<SpanId> = spans.map(|span| SpanId(span.id)).collect();
    ids.sort();
    ids
}

fn sorted(mut ids: Vec<SpanId>) -> Vec<SpanId> {
    ids.sort();
    ids
}

#[test]
fn what_is_sent_arrives_and_counts_as_unconfirmed() {
    type Read = fn(&[u8]) -> Vec<Span>;
    let protocols: [(&str, Read); 2] = [
        ("udp/thrift.compact", read_thrift::compact_call),
        ("udp/thrift.binary", read_thrift::binary_call),
    ];
    for (protocol, read) in protocols {
        let (agent, port) = agent("127.0.0.1:0");
        let run = run_to("127.0.0.1", &port, protocol);
        let offered = run.offer(20);
        let ledger = run.settled();
        assert_eq!((ledger.sent_unconfirmed, ledger.exported), (20, 0));
        assert_eq!(ids(&received(&agent, 20, read)), sorted(offered));
        assert!(run.lines().is_empty(), "{:?}", run.lines());
    }
}

#[test]
fn an_agent_of_ipv6_is_reached_by_address() {
    let (agent, port) = agent("[::1]:0");
    let run = run_to("[::1]", &port, "udp/thrift.compact");
    let offered = run.offer(3);
    assert_eq!(run.settled().sent_unconfirmed, 3);
    let found = received(&agent, 3, read_thrift::compact_call);
    assert_eq!(ids(&found), sorted(offered));
}

#[test]
fn an_agent_is_reached_by_name() {
    let (agent, port) = agent("127.0.0.1:0");
    let run = run_to("localhost", &port, "udp/thrift.compact");
    let offered = run.offer(3);
    assert_eq!(run.settled().sent_unconfirmed, 3);
    let found = received(&agent, 3, read_thrift::compact_call);
    assert_eq!(ids(&found), sorted(offered));
}

/// A tree of spans with a text of so many bytes each.
fn tree_of_texts(bytes: &[usize]) -> BatchIn {
    let spans = (1..).zip(bytes).map(|(id, bytes)| {
        let mut span = SpanIn::new(id, "spoken");
        span.attributes = vec![("text".to_owned(), Plain::Str("t".repeat(*bytes)))];
        span
    });
    BatchIn {
        resources: vec![Origin::default()],
        scopes: vec![Origin::default()],
        trees: vec![TreeIn {
            trace_id: [3; 16],
            parent: 0,
            parent_is_remote: false,
            flags: 1,
            trace_state: String::new(),
            resource: 0,
            scope: 0,
            spans: spans.collect(),
        }],
    }
}

#[test]
fn spans_are_spread_over_packets_and_only_the_one_too_large_for_any_is_dropped() {
    let (agent, port) = agent("127.0.0.1:0");
    let run = run_to("127.0.0.1", &port, "udp/thrift.compact");
    let texts: Vec<usize> = (0..30)
        .map(|number| {
            if number == 7 {
                MAX_PACKET_BYTES
            } else {
                MAX_PACKET_BYTES / 10
            }
        })
        .collect();
    for tree in tree_of_texts(&texts).build().trees() {
        run.offer_tree(Arc::clone(tree));
    }
    run.begin();
    let packets = received(&agent, 29, read_thrift::compact_call);
    let expected: Vec<_> = (1..=30).filter(|id| *id != 8).map(SpanId).collect();
    assert_eq!(ids(&packets), expected);
    assert!(
        (4..=5).contains(&packets.len()),
        "{} packets",
        packets.len()
    );
    let ledger = run.settled();
    assert_eq!(ledger.sent_unconfirmed, 29);
    assert_eq!(ledger.dropped[DropReason::TooLarge], 1);
}

#[test]
fn packets_are_as_small_as_they_are_asked_to_be() {
    let (agent, port) = agent("127.0.0.1:0");
    let mut options = JaegerOptions::default();
    options.max_packet_bytes = Some(1_000);
    options.agent_host = Some("127.0.0.1".to_owned());
    options.agent_port = Some(port.parse().unwrap());
    let run = Run::with(&options, &[]);
    let offered = run.offer(50);
    assert_eq!(run.settled().sent_unconfirmed, 50);
    let (mut found, mut packet) = (Vec::new(), vec![0; 70_000]);
    while found.len() < 50 {
        let bytes = agent.recv(&mut packet).unwrap();
        assert!(bytes <= 1_000, "a packet of {bytes} bytes");
        found.extend(read_thrift::compact_call(&packet[..bytes]));
    }
    assert_eq!(ids(&[found]), sorted(offered));
}

/// The kernel says at once that nobody listens on this machine.
#[test]
fn where_nobody_listens_spans_wait_and_are_sent_once_somebody_does() {
    let (agent, port) = agent("127.0.0.1:0");
    let address = agent.local_addr().unwrap();
    drop(agent);
    let run = run_to("127.0.0.1", &port, "udp/thrift.compact");
    let offered = run.offer(5);
    run.begin();
    let line = run.first_line();
    let expected = format!(
        "hiq: jaeger exporter: 5 spans wait: nobody listens at udp://127.0.0.1:{port}: is a Jaeger agent running there?"
    );
    assert_eq!(line, expected);
    let agent = UdpSocket::bind(address).unwrap();
    agent.set_read_timeout(Some(PATIENCE)).unwrap();
    let found = received(&agent, 5, read_thrift::compact_call);
    assert_eq!(ids(&found), sorted(offered));
    assert_eq!(run.settled().sent_unconfirmed, 5);
}

#[test]
fn a_dead_agent_does_not_delay_the_exit() {
    let (agent, port) = agent("127.0.0.1:0");
    drop(agent);
    let run = run_to("127.0.0.1", &port, "udp/thrift.compact");
    run.offer(5);
    run.begin();
    run.first_line();
    let began = Instant::now();
    let ledger = run.ended();
    assert_eq!(ledger.dropped[DropReason::Shutdown], 5);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_name_that_nobody_knows_is_said() {
    let run = run_to("no-such-host.invalid", "6831", "udp/thrift.compact");
    run.offer(1);
    run.begin();
    let line = run.first_line();
    let expected =
        "hiq: jaeger exporter: 1 span waits: udp://no-such-host.invalid:6831: the name is not";
    assert!(line.starts_with(expected), "{line}");
    assert_eq!(run.ended().dropped[DropReason::Shutdown], 1);
}
