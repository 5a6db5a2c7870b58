//! What is read back is what went in, but for what the format cannot carry; hostile bytes are an error.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use hiq_core::decode::{DecodeError, Decoder};
use hiq_core::encode::{Encoder, Limits};
use hiq_core::span::{Kind, Status};
use hiq_core::tree::SpanTree;
use hiq_jaeger::{
    JaegerBinaryEncoder, JaegerCompactEncoder, JaegerDecoder, JaegerMessageEncoder,
    JaegerProtoEncoder,
};
use hiq_testkit::spans::{Attributes, BatchIn, EventIn, Origin, SpanOut, arbitrary};
use proptest::prelude::*;
use support::Value;

#[path = "../../otlp/tests/support/read_trees.rs"]
mod read_trees;

/// For the readers of trees, which stand beside these in another crate.
use hiq_testkit::spans::{LinkIn, Plain};

fn decode(decoder: &mut JaegerDecoder, payload: &[u8]) -> Result<Vec<Arc<SpanTree>>, DecodeError> {
    let mut trees = Vec::new();
    decoder.decode(payload, &mut |tree| trees.push(tree))?;
    Ok(trees)
}

/// All payloads of a batch, decoded again.
fn through(
    encoder: &mut dyn Encoder<hiq_core::batch::TreeBatch>,
    decoder: &mut JaegerDecoder,
    input: &BatchIn,
) -> Vec<SpanOut> {
    let batch = input.build();
    let (mut cursor, mut found) = (batch.cursor(), Vec::new());
    loop {
        let mut out = Vec::new();
        let encoded = encoder.encode(&mut cursor, &Limits::bytes(usize::MAX), &mut out);
        if encoded.items > 0 {
            let trees = decode(decoder, &out).unwrap();
            found.extend(trees.iter().flat_map(|tree| read_trees::spans(tree)));
        }
        if !encoded.more {
            return found;
        }
    }
}

/// Attributes of any order, lists and maps as JSON, of a key that comes twice the last.
type Tags = BTreeMap<String, String>;

/// What a format without lists, scopes and attributes of links leaves of a span.
#[derive(Debug, PartialEq)]
struct Left {
    ids: [Vec<u8>; 3],
    texts: [String; 4],
    numbers: [u64; 4],
    status: Option<(i32, String)>,
    dropped: [u32; 4],
    resource: Tags,
    tags: Tags,
    events: Vec<(u64, String, Tags)>,
    links: Vec<([u8; 16], u64)>,
}

fn tags<'a>(attributes: impl IntoIterator<Item = &'a (String, Plain)>) -> Tags {
    let shown = |(key, value): &(String, Plain)| (key.clone(), format!("{:?}", Value::of(value)));
    attributes.into_iter().map(shown).collect()
}

fn left(span: SpanOut, unit: u64) -> Left {
    let micros_at_least_one = |nanos: u64| match unit {
        1 => nanos,
        _ => (nanos / unit).max(1),
    };
    let duration = micros_at_least_one(span.end - span.start);
    Left {
        texts: [
            span.name,
            span.trace_state,
            span.scope.name,
            span.scope.version,
        ],
        numbers: [
            span.start / unit,
            duration,
            u64::from(span.flags & 1),
            u64::from(span.kind.unsigned_abs()),
        ],
        ids: [span.trace_id, span.span_id, span.parent_id],
        status: span.status,
        dropped: [
            span.dropped[0],
            span.dropped[1],
            span.dropped[2],
            span.resource.dropped,
        ],
        resource: tags(&span.resource.attributes),
        tags: tags(span.attributes.iter().chain(&span.scope.attributes)),
        events: span
            .events
            .into_iter()
            .map(|event| (event.time / unit, event.name, tags(&event.attributes)))
            .collect(),
        links: span
            .links
            .into_iter()
            .map(|link| (link.trace_id, link.span_id))
            .collect(),
    }
}

fn all_left(mut spans: Vec<SpanOut>, unit: u64) -> Vec<Left> {
    spans.sort_by_key(|span| span.span_id.clone());
    spans.into_iter().map(|span| left(span, unit)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_was_written_is_read_back(input in arbitrary::batch()) {
        let expected = |unit| all_left(input.expected(), unit);
        let mut compact = JaegerCompactEncoder::new();
        let found = through(&mut compact, &mut JaegerDecoder::compact(), &input);
        prop_assert_eq!(all_left(found, 1_000), expected(1_000));
        for mut binary in [JaegerBinaryEncoder::calls(), JaegerBinaryEncoder::batches()] {
            let found = through(&mut binary, &mut JaegerDecoder::binary(), &input);
            prop_assert_eq!(all_left(found, 1_000), expected(1_000));
        }
        let found = through(&mut JaegerProtoEncoder::new(), &mut JaegerDecoder::proto(), &input);
        prop_assert_eq!(all_left(found, 1), expected(1));
        let found = through(&mut JaegerMessageEncoder::new(), &mut JaegerDecoder::message(), &input);
        prop_assert_eq!(all_left(found, 1), expected(1));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for mut decoder in all_decoders() {
            let _ = decode(&mut decoder, &bytes);
        }
    }

    #[test]
    fn damage_and_cuts_are_an_error_or_harmless(
        input in arbitrary::batch(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = input.build();
        let mut encoders: Vec<Box<dyn Encoder<hiq_core::batch::TreeBatch>>> = vec![
            Box::new(JaegerCompactEncoder::new()),
            Box::new(JaegerBinaryEncoder::calls()),
            Box::new(JaegerProtoEncoder::new()),
        ];
        for encoder in &mut encoders {
            let mut payload = Vec::new();
            encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut payload);
            if payload.is_empty() {
                continue;
            }
            let place = at.index(payload.len());
            payload[place] ^= 1 << bit;
            payload.truncate(cut.index(payload.len()) + 1);
            for mut decoder in all_decoders() {
                let _ = decode(&mut decoder, &payload);
            }
        }
    }
}

fn all_decoders() -> [JaegerDecoder; 5] {
    [
        JaegerDecoder::compact(),
        JaegerDecoder::binary(),
        JaegerDecoder::proto(),
        JaegerDecoder::json(),
        JaegerDecoder::message_json(),
    ]
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.trim().as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn what_other_libraries_wrote_is_read() {
    let compact = bytes_of(include_str!("golden/compact.hex"));
    let call = bytes_of(include_str!("golden/binary_call.hex"));
    let batch = bytes_of(include_str!("golden/binary.hex"));
    let (mut thrift, mut strict) = (JaegerDecoder::compact(), JaegerDecoder::binary());
    for trees in [
        decode(&mut thrift, &compact),
        decode(&mut strict, &call),
        decode(&mut strict, &batch),
    ] {
        let spans = read_trees::spans(&trees.unwrap()[0]);
        assert_eq!(spans.len(), 1);
        let span = &spans[0];
        assert_eq!((span.name.as_str(), span.kind), ("op", 0));
        assert_eq!(span.start, 1_700_000_000_000_000_000);
        assert_eq!(span.end - span.start, 5_000);
        assert_eq!(
            hiq_testkit::spans::hex(&span.trace_id),
            "0000000000000001ffffffffffffffff"
        );
        let expected = [
            ("s".to_owned(), Plain::text("x")),
            ("b".to_owned(), Plain::Bool(true)),
            ("l".to_owned(), Plain::Int(-3)),
            ("d".to_owned(), Plain::f64(1.5)),
        ];
        assert_eq!(span.attributes, expected);
        assert_eq!(
            span.resource.attributes,
            [("service.name".to_owned(), Plain::text("svc"))]
        );
    }
    for cut in 1..compact.len() {
        assert!(
            decode(&mut thrift, &compact[..cut]).is_err(),
            "cut at {cut}"
        );
    }
}

/// What Jaeger 2.13 answers of two spans of two services that it was sent as OTLP.
#[test]
fn what_jaegers_query_api_answers_is_read_with_all_that_it_says() {
    let page = include_bytes!("golden/query.json");
    let trees = decode(&mut JaegerDecoder::json(), page).unwrap();
    let spans: Vec<SpanOut> = trees
        .iter()
        .flat_map(|tree| read_trees::spans(tree))
        .collect();
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (buy, take) = (named("buy"), named("take"));
    assert_eq!(
        hiq_testkit::spans::hex(&buy.trace_id),
        "0000000000000000d448eb211c80319c"
    );
    assert_eq!(
        (buy.start, buy.end),
        (1_795_000_000_000_000_000, 1_795_000_000_005_000_000)
    );
    assert_eq!(
        (buy.kind, take.kind),
        (Kind::Server as i32, Kind::Client as i32)
    );
    assert_eq!(buy.status, Some((Status::Error as i32, "bad".to_owned())));
    assert_eq!(take.status, Some((Status::Ok as i32, String::new())));
    assert_eq!(buy.trace_state, "a=1");
    assert_eq!(
        (buy.scope.name.as_str(), buy.scope.version.as_str()),
        ("lib", "1.2")
    );
    let attribute = |key: &str, value| (key.to_owned(), value);
    let expected = [
        attribute("b", Plain::Bool(true)),
        attribute("bin", Plain::Bytes(vec![0, 255])),
        attribute("d", Plain::f64(1.5)),
        attribute("l", Plain::Int(-9_007_199_254_740_993)),
        attribute("list", Plain::text("[\"y\",2]")),
        attribute("s", Plain::text("x")),
    ];
    assert_eq!(buy.attributes, expected);
    let event = EventIn {
        time: 1_795_000_000_001_000_000,
        name: "ev".to_owned(),
        attributes: vec![attribute("at", Plain::Int(1))],
    };
    assert_eq!(buy.events, [event]);
    assert_eq!(buy.links[0].span_id, 0x00f0_67aa_0ba9_02b7);
    assert_eq!(take.parent_id, buy.span_id);
    assert_eq!(
        (buy.flags & 0x200, take.flags & 0x200),
        (0, 0x200),
        "in another process"
    );
    let resource = |span: &SpanOut| span.resource.attributes.clone();
    let size = attribute("shop.size", Plain::Int(7));
    assert_eq!(
        resource(buy),
        [attribute("service.name", Plain::text("shop")), size]
    );
    assert_eq!(
        resource(take),
        [attribute("service.name", Plain::text("stock"))]
    );
}

/// Written by Jaeger's own model, jaeger-idl 0.9.0, and gogo's jsonpb, with which the Collector's Kafka exporter writes `jaeger_json`.
#[test]
fn a_span_in_protobufs_json_is_read_with_all_that_it_says() {
    let lines = include_str!("golden/message.jsonl");
    let read = |line: &str| {
        let trees = decode(&mut JaegerDecoder::message_json(), line.as_bytes()).unwrap();
        let mut spans = read_trees::spans(&trees[0]);
        assert_eq!((trees.len(), spans.len()), (1, 1));
        spans.remove(0)
    };
    let spans: Vec<SpanOut> = lines.lines().map(read).collect();
    let [whole, bare, old] = &spans[..] else {
        panic!("three lines");
    };
    let hex = hiq_testkit::spans::hex;
    assert_eq!(hex(&whole.trace_id), "0102030405060708090a0b0c0d0e0f10");
    assert_eq!(hex(&whole.span_id), "a1a2a3a4a5a6a7a8");
    assert_eq!(hex(&whole.parent_id), "b1b2b3b4b5b6b7b8");
    assert_eq!(whole.name, "pick ☂ \"q\"\n");
    assert_eq!(
        (whole.start, whole.end),
        (1_700_000_000_123_456_789, 1_700_000_001_623_457_789)
    );
    assert_eq!((whole.kind, whole.flags & 1), (Kind::Client as i32, 1));
    let broken = Some((Status::Error as i32, "broken".to_owned()));
    assert_eq!(
        (&whole.status, whole.trace_state.as_str()),
        (&broken, "vendor=1")
    );
    assert_eq!(
        (whole.scope.name.as_str(), whole.scope.version.as_str()),
        ("orchard", "2.1")
    );
    let of = |key: &str, value| (key.to_owned(), value);
    let expected = [
        of("text", Plain::text("plain <&>")),
        of("empty", Plain::text("")),
        of("yes", Plain::Bool(true)),
        of("no", Plain::Bool(false)),
        of("big", Plain::Int(i64::MAX)),
        of("zero", Plain::Int(0)),
        of("pi", Plain::f64(3.5)),
        of("none", Plain::f64(0.0)),
        of("infinite", Plain::f64(f64::NEG_INFINITY)),
        of("bytes", Plain::Bytes(vec![0, 255, 32])),
        of("jaeger.warning", Plain::text("clock was skewed")),
    ];
    assert_eq!(whole.attributes, expected);
    let event = EventIn {
        time: 1_700_000_000_200_000_000,
        name: "ripe".to_owned(),
        attributes: vec![of("at", Plain::Int(-3))],
    };
    assert_eq!(whole.events, [event]);
    let [link] = &whole.links[..] else {
        panic!("one link: {:?}", whole.links);
    };
    let seven = 7_u128.to_be_bytes();
    assert_eq!((link.trace_id, link.span_id), (seven, 9));
    let orchard = [
        of("host.number", Plain::Int(4)),
        of("service.name", Plain::text("orchard")),
        of("test.run", Plain::text("7")),
    ];
    let mut resource = whole.resource.attributes.clone();
    resource.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(resource, orchard);

    assert_eq!((bare.name.as_str(), bare.flags & 1), ("", 0));
    assert_eq!(
        (bare.attributes.len(), bare.resource.attributes.len()),
        (0, 0)
    );
    assert_eq!(bare.end - bare.start, 1);
    // Less than nothing, as clocks that were set back have it; no span ends at time zero.
    assert_eq!((old.start, old.end), (0, 1));
}

#[test]
fn a_message_in_json_that_is_no_span_says_where_and_why() {
    let ids = r#""traceId": "AQIDBAUGBwgJCgsMDQ4PEA==", "spanId": "oaKjpKWmp6g=""#;
    let with = |rest: &str| format!("{{{ids}, {rest}}}");
    let cases = [
        ("{}".to_owned(), "missing field `traceId`"),
        (
            r#"{"traceId": "0102", "spanId": "oaKjpKWmp6g="}"#.to_owned(),
            "id `0102` is not base64 of 16 bytes",
        ),
        (
            r#"{"traceId": "AQIDBAUGBwgJCgsMDQ4PEA==", "spanId": "AQID"}"#.to_owned(),
            "id `AQID` is not base64 of 8 bytes",
        ),
        (
            with(r#""startTime": "yesterday""#),
            "`yesterday` is no time",
        ),
        (with(r#""duration": 7"#), "invalid type: integer `7`"),
        (with(r#""duration": "long""#), "`long` is no duration"),
        (
            with(r#""tags": [{"key": "k", "vType": "INT64", "vInt64": "much"}]"#),
            "tag `k` is no INT64",
        ),
        (
            with(r#""tags": [{"key": "k", "vType": "ODD"}]"#),
            "tag `k` is no ODD",
        ),
        (format!("{}]", with(r#""flags": 1"#)), "trailing characters"),
    ];
    for (message, words) in cases {
        let error = decode(&mut JaegerDecoder::message_json(), message.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    // Ids of older clients.
    let short = br#"{"traceId": "AAAAAAAAAAc=", "spanId": "AAAAAAAAAAk="}"#;
    let trees = decode(&mut JaegerDecoder::message_json(), short).unwrap();
    assert_eq!(
        read_trees::spans(&trees[0])[0].trace_id,
        7_u128.to_be_bytes()
    );
}

/// Older clients say no more than that.
#[test]
fn a_span_with_nothing_but_the_tag_error_has_failed() {
    let page = br#"{"spans": [{"traceID": "1", "spanID": "2", "tags": [
        {"key": "error", "type": "bool", "value": true}, {"key": "k", "type": "string", "value": "v"}]}]}"#;
    let trees = decode(&mut JaegerDecoder::json(), page).unwrap();
    let spans = read_trees::spans(&trees[0]);
    assert_eq!(spans[0].status, Some((Status::Error as i32, String::new())));
    assert_eq!(spans[0].attributes, [("k".to_owned(), Plain::text("v"))]);
}

#[test]
fn json_that_is_no_trace_says_where_and_why() {
    let cases = [
        ("{}", "neither `data` nor `spans`"),
        ("{\"data\": [{\"spans\": [{}]}]}", "traceID"),
        ("[1]", "expected"),
        (
            "{\"spans\": [{\"traceID\": \"xyz\", \"spanID\": \"1\"}]}",
            "`xyz` is not at most 32 hex digits",
        ),
        (
            "{\"spans\": [{\"traceID\": \"1\", \"spanID\": \"1\", \"tags\": [{\"key\": \"k\", \"type\": \"int64\", \"value\": \"much\"}]}]}",
            "tag `k` is no int64: \"much\"",
        ),
    ];
    for (page, words) in cases {
        let error = decode(&mut JaegerDecoder::json(), page.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let deep = format!("{{\"data\": {}", "[".repeat(100_000));
    assert!(decode(&mut JaegerDecoder::json(), deep.as_bytes()).is_err());
}

/// Structs in structs, lists that claim more than there is.
#[test]
fn hostile_thrift_is_an_error_and_costs_no_memory() {
    let nested = vec![0x3c; 100_000];
    let endless = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for payload in [&nested[..], &endless] {
        assert!(decode(&mut JaegerDecoder::compact(), payload).is_err());
    }
    let endless = [15, 0, 2, 12, 0x7f, 0xff, 0xff, 0xff];
    assert!(decode(&mut JaegerDecoder::binary(), &endless).is_err());
}
