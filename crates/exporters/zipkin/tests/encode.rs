//! The encoders against readers that know nothing of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Cut, Encoder, Limits};
use hiq_core::span::{Kind, Status};
use hiq_testkit::spans::arbitrary;
use hiq_testkit::spans::{EventIn, Plain, SpanIn};
use hiq_testkit::trees::watched_tree;
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinJsonV1Encoder, ZipkinMapping, ZipkinProtoEncoder};
use proptest::prelude::*;
use prost::Message as _;
use support::{
    Endpoint, ZipkinSpan, batch_of, expect, payload, payloads, read_json, read_proto, read_v1,
    span_with, unhex, written,
};

fn sorted(mut spans: Vec<ZipkinSpan>) -> Vec<ZipkinSpan> {
    spans.sort_by(|a, b| a.id.cmp(&b.id));
    spans
}

fn contains(payload: &[u8], words: &[u8]) -> bool {
    payload.windows(words.len()).any(|window| window == words)
}

/// In v1 tags of four names would be taken for addresses, and have `tag.` before them.
fn named_as_given(mut span: ZipkinSpan) -> ZipkinSpan {
    for (key, _) in &mut span.tags {
        let given = key.strip_prefix("tag.");
        if let Some(given) = given.filter(|given| ["sa", "ca", "ma", "lc"].contains(given)) {
            *key = given.to_owned();
        }
    }
    span
}

/// The one span of `span`'s payload in v1 JSON.
fn written_v1(span: SpanIn, mapping: &ZipkinMapping) -> ZipkinSpan {
    let batch = batch_of(vec![span]).build();
    let json = payload(
        &mut ZipkinJsonV1Encoder::with_mapping(mapping.clone()),
        &batch,
    );
    read_v1::spans(&json).remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_that_a_format_can_say_reads_back(batch in arbitrary::batch(), max_bytes in 0_usize..60_000) {
        let expected = expect::all(&batch);
        let trees = batch.build();
        // Ids of zero cannot come from here.
        for limits in [Limits::bytes(usize::MAX), Limits::bytes(max_bytes)] {
            let (v2, left_out) = payloads(&mut ZipkinJsonEncoder::new(), &trees, limits);
            let found = v2.iter().flat_map(|payload| {
                assert!(!contains(payload, b"yAnnotations\""));
                read_json::spans(payload)
            });
            check(&expected, found.collect(), left_out, limits);
            let (proto, left_out) = payloads(&mut ZipkinProtoEncoder::new(), &trees, limits);
            let found = proto.iter().flat_map(|payload| read_proto::spans(payload));
            check(&expected, found.collect(), left_out, limits);
            let (v1, left_out) = payloads(&mut ZipkinJsonV1Encoder::new(), &trees, limits);
            let found = v1.iter().flat_map(|payload| {
                assert!(!contains(payload, b"Endpoint\"") && !contains(payload, b"\"tags\""));
                read_v1::spans(payload).into_iter().map(named_as_given)
            });
            check(&expected, found.collect(), left_out, limits);
        }
    }
}

fn check(expected: &[expect::Expected], found: Vec<ZipkinSpan>, left_out: usize, limits: Limits) {
    assert_eq!(found.len() + left_out, expected.len());
    assert!(left_out == 0 || limits.max_bytes < usize::MAX);
    let found = sorted(found);
    for span in &found {
        let expected = expected.iter().find(|expected| expected.span.id == span.id);
        expected.unwrap().check(span);
    }
}

#[test]
fn the_independent_reader_reads_and_writes_the_golden_vector() {
    let bytes = unhex(include_str!("golden/zipkin.hex"));
    let list = read_proto::ListOfSpans::decode(&bytes[..]).unwrap();
    assert_eq!(list.encode_to_vec(), bytes);
}

#[test]
fn a_span_says_what_the_golden_vector_says() {
    let golden = read_proto::spans(&unhex(include_str!("golden/zipkin.hex"))).remove(0);
    let mut span = span_with(&[
        ("s", Plain::text("x")),
        ("peer.service", Plain::text("peer")),
        ("network.peer.address", Plain::text("127.0.0.1")),
        ("network.peer.port", Plain::Int(80)),
    ]);
    span.kind = Kind::Client;
    span.outer_parent = Some(0x00f0_67aa_0ba9_02b7);
    span.end = span.start + 5_999;
    span.events = vec![EventIn {
        time: span.start + 1_000,
        name: "ev".to_owned(),
        attributes: Vec::new(),
    }];
    let mut found = written(span, &ZipkinMapping::default());
    found.tags.retain(|(key, _)| key == "s");
    assert_eq!(found, golden);
}

#[test]
fn an_error_is_said_three_times_and_false_is_not_said() {
    let mut failed = span_with(&[
        ("error", Plain::Bool(false)),
        ("otel.status_code", Plain::text("mine")),
    ]);
    (failed.status, failed.message) = (Status::Error, "bad".to_owned());
    let found = written(failed.clone(), &ZipkinMapping::default());
    assert_eq!(found.tag("error"), "bad");
    assert_eq!(found.tag("otel.status_code"), "ERROR");
    assert_eq!(found.tag("otel.status_description"), "bad");
    failed.message = String::new();
    let found = written(failed.clone(), &ZipkinMapping::default());
    assert_eq!(found.tag("error"), "");
    assert!(!found.has_tag("otel.status_description"));
    failed.status = Status::Ok;
    let found = written(failed.clone(), &ZipkinMapping::default());
    assert_eq!(found.tag("otel.status_code"), "OK");
    assert!(!found.has_tag("error"), "false would count as an error");
    failed.status = Status::Unset;
    let found = written(failed, &ZipkinMapping::default());
    assert_eq!(found.tag("otel.status_code"), "mine");
    let said = written(
        span_with(&[("error", Plain::text("true"))]),
        &ZipkinMapping::default(),
    );
    assert_eq!(said.tag("error"), "true");
}

fn remote(kind: Kind, attributes: &[(&str, Plain)]) -> Endpoint {
    let mut span = span_with(attributes);
    span.kind = kind;
    written(span, &ZipkinMapping::default()).remote
}

fn endpoint(service: &str, ip: &str, port: u64) -> Endpoint {
    Endpoint {
        service: service.to_owned(),
        ip: ip.to_owned(),
        port,
    }
}

#[test]
fn the_far_side_is_the_strongest_name_with_any_address() {
    let text = Plain::text;
    let cases: [(&[(&str, Plain)], Endpoint); 9] = [
        (
            &[("server.address", text("b")), ("peer.service", text("a"))],
            endpoint("a", "", 0),
        ),
        (
            &[("net.peer.name", text("c")), ("server.address", text("b"))],
            endpoint("b", "", 0),
        ),
        (&[("db.name", text("orders"))], endpoint("orders", "", 0)),
        (
            &[
                ("db.name", text("orders")),
                ("network.peer.address", text("192.0.2.1")),
            ],
            endpoint("", "192.0.2.1", 0),
        ),
        (
            &[
                ("net.sock.peer.addr", text("2001:db8::1")),
                ("net.sock.peer.port", text("443")),
            ],
            endpoint("", "2001:db8::1", 443),
        ),
        (
            &[
                ("server.socket.address", text("/run/socket")),
                ("server.socket.port", Plain::Int(1)),
            ],
            endpoint("/run/socket", "", 1),
        ),
        (
            &[("network.peer.port", Plain::Int(80))],
            endpoint("", "", 0),
        ),
        (
            &[("peer.service", text("")), ("peer.hostname", text("h"))],
            endpoint("h", "", 0),
        ),
        (
            &[
                ("peer.address", text("x")),
                ("network.peer.address", text("192.0.2.1")),
                ("network.peer.port", Plain::Int(70_000)),
            ],
            endpoint("", "192.0.2.1", 0),
        ),
    ];
    for (attributes, expected) in cases {
        assert_eq!(remote(Kind::Client, attributes), expected, "{attributes:?}");
        assert_eq!(
            remote(Kind::Producer, attributes),
            expected,
            "{attributes:?}"
        );
        for kind in [
            Kind::Server,
            Kind::Consumer,
            Kind::Internal,
            Kind::Unspecified,
        ] {
            assert_eq!(
                remote(kind, attributes),
                Endpoint::default(),
                "only askers have a far side"
            );
        }
    }
}

#[test]
fn the_local_endpoint_is_told_or_the_resources() {
    let mut mapping = ZipkinMapping::default();
    mapping.local_ip = Some([192, 0, 2, 7].into());
    mapping.local_port = Some(8080);
    let found = written(span_with(&[]), &mapping);
    assert_eq!(found.local, endpoint("svc", "192.0.2.7", 8080));
    let mut batch = batch_of(vec![span_with(&[])]);
    let own = [
        ("network.local.address", Plain::text("::1")),
        ("network.local.port", Plain::Int(9)),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value));
    batch.resources[0].attributes.extend(own);
    let json = payload(&mut ZipkinJsonEncoder::new(), &batch.build());
    let found = read_json::spans(&json).remove(0);
    assert_eq!(found.local, endpoint("svc", "::1", 9));
    assert!(!found.has_tag("network.local.address"));
    let json = payload(
        &mut ZipkinJsonEncoder::with_mapping(mapping),
        &batch.build(),
    );
    let found = read_json::spans(&json).remove(0);
    assert_eq!(found.local, endpoint("svc", "192.0.2.7", 8080));
    assert_eq!(found.tag("network.local.address"), "::1");
}

#[test]
fn the_most_particular_value_of_a_key_wins() {
    let mut batch = batch_of(vec![
        span_with(&[("a", Plain::text("span")), ("", Plain::text("span"))]),
        SpanIn::new(2, "plain"),
    ]);
    let pairs = |of: &str, keys: &[&str]| -> Vec<(String, Plain)> {
        keys.iter()
            .map(|key| ((*key).to_owned(), Plain::text(of)))
            .collect()
    };
    let of_resource = ["a", "b", "c", "", "error", "span.kind", "otel.scope.name"];
    batch.resources[0]
        .attributes
        .extend(pairs("resource", &of_resource));
    batch.scopes[0].name = "lib".to_owned();
    batch.scopes[0].attributes = pairs("scope", &["a", "b"]);
    let trees = batch.build();
    let proto = payload(&mut ZipkinProtoEncoder::new(), &trees);
    let v1 = payload(&mut ZipkinJsonV1Encoder::new(), &trees);
    let json = payload(&mut ZipkinJsonEncoder::new(), &trees);
    for spans in [
        read_json::spans(&json),
        read_proto::spans(&proto),
        read_v1::spans(&v1),
    ] {
        let values = |span: &ZipkinSpan| {
            ["a", "b", "c", "", "otel.scope.name"].map(|key| span.tag(key).to_owned())
        };
        assert_eq!(
            values(&spans[0]),
            ["span", "scope", "resource", "span", "lib"]
        );
        assert_eq!(
            values(&spans[1]),
            ["scope", "scope", "resource", "resource", "lib"]
        );
        for span in &spans {
            assert!(!span.has_tag("error"), "a resource makes no span fail");
            assert_eq!(span.tag("span.kind"), "internal");
            let mut keys: Vec<_> = span.tags.iter().map(|(key, _)| key).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), span.tags.len(), "{:?}", span.tags);
        }
    }
}

#[test]
fn the_resource_can_be_left_out_of_the_spans() {
    let mut batch = batch_of(vec![span_with(&[("a", Plain::Bool(true))])]);
    let of_resource = ("team".to_owned(), Plain::text("x"));
    batch.resources[0].attributes.push(of_resource);
    let mut mapping = ZipkinMapping::default();
    mapping.resource_tags = false;
    let json = payload(
        &mut ZipkinJsonEncoder::with_mapping(mapping),
        &batch.build(),
    );
    let found = read_json::spans(&json).remove(0);
    let keys: Vec<_> = found.tags.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "span.kind"]);
    assert_eq!(found.local.service, "svc");
}

/// Zipkin refuses a request for the sake of a word that ends a text anywhere in it.
#[test]
fn words_by_which_servers_guess_the_version_do_not_stand_in_a_payload() {
    let words = [
        "binaryAnnotations",
        "yAnnotations",
        "tags",
        "say \"tags",
        "GetEndpoint",
        "Endpoint",
    ];
    for word in words {
        let mut span = span_with(&[(word, Plain::text(word)), ("n", Plain::text(word))]);
        span.attributes.push((format!("{word}2"), Plain::Int(1)));
        span.attributes
            .push((format!("x.{word}"), Plain::F64(1.5_f64.to_bits())));
        span.name = word.to_owned();
        (span.status, span.message) = (Status::Error, word.to_owned());
        span.events = vec![EventIn {
            time: span.start,
            name: word.to_owned(),
            attributes: Vec::new(),
        }];
        let trees = batch_of(vec![span]).build();
        let v2 = payload(&mut ZipkinJsonEncoder::new(), &trees);
        let v1 = payload(&mut ZipkinJsonV1Encoder::new(), &trees);
        assert!(!contains(&v2, b"yAnnotations\""), "{word}");
        assert!(
            !contains(&v1, b"Endpoint\"") && !contains(&v1, b"\"tags\""),
            "{word}"
        );
        for found in [
            read_json::spans(&v2).remove(0),
            read_v1::spans(&v1).remove(0),
        ] {
            assert_eq!(
                (found.name.as_str(), found.tag(word), found.tag("n")),
                (word, word, word)
            );
            assert_eq!(
                (found.tag("error"), found.tag(&format!("x.{word}"))),
                (word, "1.5")
            );
            assert_eq!(found.annotations[0].1, word);
        }
    }
}

#[test]
fn version_1_keeps_attributes_and_events_apart_from_its_own_marks() {
    let mut span = span_with(&[
        ("sa", Plain::text("a")),
        ("ca", Plain::text("b")),
        ("ma", Plain::text("c")),
        ("lc", Plain::text("d")),
    ]);
    let event = |name: &str| EventIn {
        time: 2_000,
        name: name.to_owned(),
        attributes: Vec::new(),
    };
    span.events = vec![event("cs"), event("step")];
    let found = written_v1(span, &ZipkinMapping::default());
    let tags = ["tag.sa", "tag.ca", "tag.ma", "tag.lc"].map(|key| found.tag(key).to_owned());
    assert_eq!(tags, ["a", "b", "c", "d"]);
    let expected = [(2, "\"cs\"".to_owned()), (2, "step".to_owned())];
    assert_eq!(found.annotations, expected);
    assert_eq!(found.kind, None);
}

#[test]
fn version_1_names_the_service_of_a_span_with_nothing_else() {
    let mut bare = span_with(&[]);
    bare.kind = Kind::Unspecified;
    let found = written_v1(bare, &ZipkinMapping::default());
    assert_eq!((found.local.service.as_str(), found.tags.len()), ("svc", 0));
}

#[test]
fn version_1_writes_addresses_where_asked_for() {
    let mut mapping = ZipkinMapping::default();
    for kind in [Kind::Client, Kind::Producer] {
        let mut span = span_with(&[("peer.service", Plain::text("db"))]);
        span.kind = kind;
        let without = written_v1(span.clone(), &ZipkinMapping::default());
        assert_eq!(without.remote, Endpoint::default());
        mapping.v1_addresses = true;
        let with = written_v1(span, &mapping);
        assert_eq!(with.remote, endpoint("db", "", 0));
        assert_eq!(with.tags, without.tags);
    }
}

#[test]
fn the_spans_of_a_trace_that_somebody_watches_say_so() {
    let batch = TreeBatch::new(vec![Arc::new(watched_tree())]);
    let v2 = payload(&mut ZipkinJsonEncoder::new(), &batch);
    let v1 = payload(&mut ZipkinJsonV1Encoder::new(), &batch);
    let proto = payload(&mut ZipkinProtoEncoder::new(), &batch);
    for spans in [
        read_json::spans(&v2),
        read_v1::spans(&v1),
        read_proto::spans(&proto),
    ] {
        assert_eq!(spans.len(), 2);
        assert!(spans.iter().all(|span| span.debug));
    }
}

#[test]
fn flags_of_zipkins_own_come_back_as_flags() {
    let mut span = span_with(&[
        ("zipkin.shared", Plain::Bool(true)),
        ("zipkin.debug", Plain::text("true")),
        ("a", Plain::Int(1)),
    ]);
    span.kind = Kind::Server;
    let found = written(span.clone(), &ZipkinMapping::default());
    assert!(found.shared && found.debug);
    assert_eq!(found.tags, [("a".to_owned(), "1".to_owned())]);
    let v1 = written_v1(span, &ZipkinMapping::default());
    assert!(v1.shared && v1.debug);
    assert_eq!((v1.timestamp, v1.tag("a")), (None, "1"));
    let kept = written(
        span_with(&[("zipkin.shared", Plain::Bool(false))]),
        &ZipkinMapping::default(),
    );
    assert_eq!((kept.shared, kept.tag("zipkin.shared")), (false, "false"));
}

#[test]
fn tags_are_cut_at_characters() {
    let mut mapping = ZipkinMapping::default();
    mapping.max_tag_value_length = Some(3);
    let mut span = span_with(&[
        ("long", Plain::text("äöüß")),
        ("fits", Plain::text("äöü")),
        ("list", Plain::Array(vec![Plain::Int(12)])),
        ("number", Plain::Int(12_345)),
    ]);
    (span.status, span.message) = (Status::Error, "whole message".to_owned());
    let found = written(span, &mapping);
    assert_eq!(
        ["long", "fits", "list"].map(|key| found.tag(key)),
        ["äöü", "äöü", "[12"]
    );
    assert_eq!(
        (found.tag("number"), found.tag("error")),
        ("12345", "whole message")
    );
}

#[test]
fn ids_of_zeros_cost_their_own_span_only() {
    let mut spans: Vec<SpanIn> = (1..=5).map(|id| SpanIn::new(id, "good")).collect();
    spans[2].id = 0;
    let batch = batch_of(spans);
    let trees = batch.build();
    let (json, left_out) = payloads(
        &mut ZipkinJsonEncoder::new(),
        &trees,
        Limits::bytes(1 << 20),
    );
    assert_eq!((read_json::spans(&json[0]).len(), left_out), (4, 1));
    let (proto, left_out) = payloads(
        &mut ZipkinProtoEncoder::new(),
        &trees,
        Limits::bytes(1 << 20),
    );
    assert_eq!((read_proto::spans(&proto[0]).len(), left_out), (4, 1));
    let mut no_trace = batch;
    no_trace.trees[0].trace_id = [0; 16];
    let (payloads, left_out) = payloads(
        &mut ZipkinJsonV1Encoder::new(),
        &no_trace.build(),
        Limits::bytes(1 << 20),
    );
    assert_eq!((payloads.len(), left_out), (0, 5));
}

#[test]
fn one_span_too_large_is_left_out_alone() {
    let mut spans: Vec<SpanIn> = (1..=9).map(|id| SpanIn::new(id, "good")).collect();
    spans[4].name = "x".repeat(5_000);
    let trees = batch_of(spans).build();
    let limits = Limits::bytes(1_000);
    let (json, left_out) = payloads(&mut ZipkinJsonEncoder::new(), &trees, limits);
    let found: usize = json
        .iter()
        .map(|payload| read_json::spans(payload).len())
        .sum();
    assert_eq!((found, left_out), (8, 1));
    let (v1, left_out) = payloads(&mut ZipkinJsonV1Encoder::new(), &trees, limits);
    let found: usize = v1.iter().map(|payload| read_v1::spans(payload).len()).sum();
    assert_eq!((found, left_out), (8, 1));
    let (proto, left_out) = payloads(&mut ZipkinProtoEncoder::new(), &trees, limits);
    let found: usize = proto
        .iter()
        .map(|payload| read_proto::spans(payload).len())
        .sum();
    assert_eq!((found, left_out), (8, 1));
}

#[test]
fn payloads_end_where_they_are_told_to() {
    let trees = batch_of((1..=3).map(|id| SpanIn::new(id, "s")).collect()).build();
    let limits = Limits::bytes(1 << 20).with_cut(Cut::Span);
    let (json, _) = payloads(&mut ZipkinJsonEncoder::new(), &trees, limits);
    assert!(
        json.iter()
            .all(|payload| read_json::spans(payload).len() == 1)
    );
    assert_eq!(json.len(), 3);
    let empty = batch_of(Vec::new()).build();
    assert_eq!(
        payloads(&mut ZipkinProtoEncoder::new(), &empty, limits),
        (Vec::new(), 0)
    );
}

#[test]
fn odd_values_do_no_harm() {
    let long = "n".repeat(65_536);
    let mut deep = Plain::Int(1);
    for _ in 0..100 {
        deep = Plain::Array(vec![deep]);
    }
    let many = (0..10_000).map(|n| (format!("key {n}"), Plain::Int(n)));
    let mut odd = span_with(&[
        ("nan", Plain::f64(f64::NAN)),
        ("inf", Plain::f64(f64::NEG_INFINITY)),
        ("nul", Plain::text("a\0b")),
        ("deep", deep),
    ]);
    odd.attributes.extend(many);
    odd.name = long.clone();
    // The year 2400; and a clock that went backwards.
    (odd.start, odd.end) = (13_569_465_600_000_000_000, 5);
    let mut nameless = SpanIn::new(7, "");
    (nameless.start, nameless.end) = (0, 0);
    let trees = batch_of(vec![odd, nameless]).build();
    let json = payload(&mut ZipkinJsonEncoder::new(), &trees);
    let proto = payload(&mut ZipkinProtoEncoder::new(), &trees);
    let v1 = payload(&mut ZipkinJsonV1Encoder::new(), &trees);
    let found = read_json::spans(&json);
    assert_eq!(read_proto::spans(&proto), found);
    assert_eq!(read_v1::spans(&v1), found);
    let (odd, nameless) = (&found[0], &found[1]);
    assert_eq!(odd.name, long);
    assert_eq!(
        (odd.timestamp, odd.duration),
        (Some(13_569_465_600_000_000), Some(1))
    );
    assert_eq!(
        (odd.tag("nan"), odd.tag("inf"), odd.tag("nul")),
        ("NaN", "-Infinity", "a\0b")
    );
    assert_eq!(odd.tag("key 9999"), "9999");
    assert!(odd.tag("deep").contains("(nested deeper than 64 levels)"));
    assert_eq!(
        (
            nameless.name.as_str(),
            nameless.timestamp,
            nameless.duration
        ),
        ("", None, Some(1))
    );
}

#[test]
fn encodings_have_the_names_of_configurations() {
    let names = [
        ZipkinJsonEncoder::new().encoding(),
        ZipkinJsonV1Encoder::new().encoding(),
        ZipkinProtoEncoder::new().encoding(),
    ]
    .map(|encoding| (encoding.name, encoding.content_type));
    let json = "application/json";
    assert_eq!(
        names,
        [
            ("zipkin_json", json),
            ("zipkin_json_v1", json),
            ("zipkin_proto", "application/x-protobuf")
        ]
    );
}
