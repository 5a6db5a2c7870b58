//! Every payload is read back by readers that share nothing with the encoders, and held against what went in.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Cut, DropReason, Encoded, Encoder, Limits};
use hiq_core::span::{Kind, Status};
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use proptest::prelude::*;
use prost::Message as _;
use support::{BatchIn, EventIn, LinkIn, Origin, Plain, SpanIn, SpanOut, TreeIn, arbitrary};
use support::{hex, read_json, read_proto, sorted};

const UNLIMITED: Limits = Limits::bytes(usize::MAX);

fn encode_whole(encoder: &mut impl Encoder<TreeBatch>, batch: &TreeBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let encoded = encoder.encode(&mut batch.cursor(), &UNLIMITED, &mut out);
    assert!(!encoded.more && encoded.left_out.is_empty());
    out
}

/// All payloads of a batch, each checked to be appended behind what the buffer held.
fn encode_all(
    encoder: &mut impl Encoder<TreeBatch>,
    batch: &TreeBatch,
    limits: &Limits,
) -> Vec<(Encoded, Vec<u8>)> {
    let mut cursor = batch.cursor();
    let mut payloads = Vec::new();
    loop {
        let mut out = b"before".to_vec();
        let encoded = encoder.encode(&mut cursor, limits, &mut out);
        assert_eq!(&out[..6], b"before");
        let more = encoded.more;
        payloads.push((encoded, out.split_off(6)));
        if !more {
            return payloads;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn protobuf_reads_back_as_what_went_in(input in arbitrary::batch()) {
        let payload = encode_whole(&mut OtlpProtoEncoder::new(), &input.build());
        prop_assert_eq!(sorted(read_proto::spans(&payload)), input.expected());
    }

    #[test]
    fn protobuf_is_byte_for_byte_what_a_canonical_encoder_writes(input in arbitrary::batch()) {
        let payload = encode_whole(&mut OtlpProtoEncoder::new(), &input.build());
        prop_assert_eq!(read_proto::request(&payload).encode_to_vec(), payload);
    }

    #[test]
    fn json_reads_back_as_what_went_in(input in arbitrary::batch()) {
        let batch = input.build();
        let payload = encode_whole(&mut OtlpJsonEncoder::new(), &batch);
        if payload.is_empty() {
            prop_assert!(input.expected().is_empty());
            return Ok(());
        }
        let expected: Vec<_> = input.expected().into_iter().map(SpanOut::with_one_nan).collect();
        prop_assert_eq!(sorted(read_json::spans(&payload)), expected);
        prop_assert!(!payload.contains(&b'\n'), "a request is one line");
    }

    #[test]
    fn every_span_is_in_one_payload_or_too_large_for_any(
        input in arbitrary::batch(),
        max_bytes in prop_oneof![0..200_usize, 200..2_000_usize, 2_000..60_000_usize],
        max_items in prop_oneof![1..6_usize, Just(usize::MAX)],
        cut in prop_oneof![
            Just(Cut::Batch), Just(Cut::Resource), Just(Cut::Service), Just(Cut::Trace), Just(Cut::Span),
        ],
    ) {
        let mut limits = Limits::bytes(max_bytes).with_cut(cut);
        limits.max_items = max_items;
        check_payloads(&mut OtlpProtoEncoder::new(), &input, &limits, read_proto::spans);
        check_payloads(&mut OtlpJsonEncoder::new(), &input, &limits, read_json::spans);
    }
}

fn check_payloads(
    encoder: &mut impl Encoder<TreeBatch>,
    input: &BatchIn,
    limits: &Limits,
    read: fn(&[u8]) -> Vec<SpanOut>,
) {
    let batch = input.build();
    let (mut found, mut too_large) = (Vec::new(), 0);
    for (encoded, payload) in encode_all(encoder, &batch, limits) {
        assert!(payload.len() <= limits.max_bytes, "{} bytes", payload.len());
        assert!(encoded.items <= limits.max_items);
        too_large += encoded
            .left_out
            .iter()
            .map(|(_, spans)| spans)
            .sum::<usize>();
        assert!(
            encoded
                .left_out
                .iter()
                .all(|(reason, _)| *reason == DropReason::TooLarge)
        );
        if payload.is_empty() {
            assert_eq!(encoded.items, 0);
            continue;
        }
        let spans = read(&payload);
        assert_eq!(spans.len(), encoded.items);
        check_cut(limits.cut, &spans, encoded.key.as_deref());
        found.extend(spans);
    }
    let mut expected: Vec<_> = input
        .expected()
        .into_iter()
        .map(SpanOut::with_one_nan)
        .collect();
    let found: Vec<_> = sorted(found)
        .into_iter()
        .map(SpanOut::with_one_nan)
        .collect();
    assert_eq!(found.len() + too_large, expected.len());
    let alone = Limits::bytes(usize::MAX).with_cut(Cut::Span);
    let oversize = encode_all(encoder, &batch, &alone).into_iter();
    let oversize = oversize.filter(|(_, payload)| payload.len() > limits.max_bytes);
    let oversize: Vec<_> = oversize
        .map(|(_, payload)| read(&payload).remove(0).span_id)
        .collect();
    expected.retain(|span| !oversize.contains(&span.span_id));
    assert_eq!(found, expected);
}

fn check_cut(cut: Cut, spans: &[SpanOut], key: Option<&str>) {
    let service = |span: &SpanOut| {
        let named = |(key, _): &&(String, Plain)| key == "service.name";
        match span.resource.attributes.iter().find(named) {
            Some((_, Plain::Str(name))) => name.clone(),
            other => panic!("{other:?}"),
        }
    };
    let first = &spans[0];
    match cut {
        Cut::Resource => assert!(spans.iter().all(|span| span.resource == first.resource)),
        Cut::Service => assert!(spans.iter().all(|span| service(span) == service(first))),
        Cut::Trace => assert!(spans.iter().all(|span| span.trace_id == first.trace_id)),
        Cut::Span => assert_eq!(spans.len(), 1),
        _ => {}
    }
    match cut {
        Cut::Batch => assert_eq!(key, None),
        Cut::Trace | Cut::Span => assert_eq!(key, Some(hex(&first.trace_id).as_str())),
        _ => assert_eq!(key, Some(service(first).as_str())),
    }
}

fn one_span(span: SpanIn) -> BatchIn {
    let trace_id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    BatchIn {
        resources: vec![Origin {
            attributes: vec![("service.name".to_owned(), Plain::text("svc"))],
            ..Origin::default()
        }],
        scopes: vec![Origin {
            name: "hiq".to_owned(),
            ..Origin::default()
        }],
        trees: vec![TreeIn {
            trace_id,
            parent: 0x00f0_67aa_0ba9_02b7,
            parent_is_remote: false,
            flags: 1,
            trace_state: String::new(),
            resource: 0,
            scope: 0,
            spans: vec![span],
        }],
    }
}

/// The request that a Collector took as protobuf and handed on as JSON.
fn golden() -> BatchIn {
    let attribute = |key: &str, value| (key.to_owned(), value);
    let mut span = SpanIn::new(0xb7ad_6b71_6920_3331, "op");
    span.kind = Kind::Client;
    span.start = 1_700_000_000_000_000_000;
    span.end = 1_700_000_000_000_005_000;
    span.attributes = vec![
        attribute("s", Plain::text("x")),
        attribute("b", Plain::Bool(true)),
        attribute("l", Plain::Int(-3)),
        attribute("d", Plain::f64(1.5)),
        attribute("a", Plain::Array(vec![Plain::text("y"), Plain::Empty])),
    ];
    span.events = vec![EventIn {
        time: 1_700_000_000_000_001_000,
        name: "ev".to_owned(),
        attributes: Vec::new(),
    }];
    span.links = vec![LinkIn {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes(),
        span_id: 0x00f0_67aa_0ba9_02b7,
        trace_state: String::new(),
        flags: 256,
        attributes: Vec::new(),
    }];
    span.status = Status::Error;
    span.message.push_str("bad");
    one_span(span)
}

#[test]
fn protobuf_is_the_request_that_a_collector_took() {
    let payload = encode_whole(&mut OtlpProtoEncoder::new(), &golden().build());
    assert_eq!(hex(&payload), include_str!("golden/collector.hex").trim());
}

#[test]
fn json_is_what_a_collector_made_of_that_request() {
    let payload = encode_whole(&mut OtlpJsonEncoder::new(), &golden().build());
    let text = String::from_utf8(payload).unwrap();
    assert_eq!(text, include_str!("golden/collector.json").trim());
}

/// The project's own JSON reader, which cannot read `"NaN"`, reads the rest as the protobuf reader does.
#[test]
fn opentelemetrys_json_reader_finds_what_its_protobuf_reader_finds() {
    let mut input = golden();
    let mut more = input.trees[0].spans[0].clone();
    more.id = 2;
    more.parent = Some(0);
    more.name = "quotes \" and \\ and \u{1} and ü".to_owned();
    more.own_trace_state = Some("a=1,b=2".to_owned());
    more.attributes
        .push(("bytes".to_owned(), Plain::Bytes(vec![0, 255, 7])));
    more.attributes
        .push(("tiny".to_owned(), Plain::f64(5e-324)));
    let map = Plain::Map(vec![("k".to_owned(), Plain::Int(i64::MIN))]);
    more.attributes.push(("map".to_owned(), map));
    input.trees[0].spans.push(more);
    let batch = input.build();
    let json = encode_whole(&mut OtlpJsonEncoder::new(), &batch);
    let proto = encode_whole(&mut OtlpProtoEncoder::new(), &batch);
    let from_json = serde_json::from_slice(&json).unwrap();
    assert_eq!(read_proto::spans_of(from_json), read_proto::spans(&proto));
}

fn nested(levels: usize) -> Plain {
    (0..levels).fold(Plain::Int(7), |inner, level| match level % 2 {
        0 => Plain::Array(vec![inner]),
        _ => Plain::Map(vec![("in".to_owned(), inner)]),
    })
}

#[test]
fn values_64_levels_deep_are_carried_and_deeper_ones_cut_there() {
    let mut span = SpanIn::new(1, "deep");
    span.attributes = vec![("deep".to_owned(), nested(64))];
    let input = one_span(span.clone());
    let proto = encode_whole(&mut OtlpProtoEncoder::new(), &input.build());
    assert_eq!(read_proto::spans(&proto), input.expected());
    let json = encode_whole(&mut OtlpJsonEncoder::new(), &input.build());
    assert_eq!(read_json::spans(&json), input.expected());

    span.attributes = vec![("deeper".to_owned(), nested(500))];
    let input = one_span(span);
    for found in [
        read_proto::spans(&encode_whole(&mut OtlpProtoEncoder::new(), &input.build())),
        read_json::spans(&encode_whole(&mut OtlpJsonEncoder::new(), &input.build())),
    ] {
        let mut value = &found[0].attributes[0].1;
        let mut levels = 0;
        let end = loop {
            value = match value {
                Plain::Array(items) => &items[0],
                Plain::Map(pairs) => &pairs[0].1,
                end => break end,
            };
            levels += 1;
        };
        assert_eq!(levels, 64);
        assert_eq!(*end, Plain::text("(nested deeper than 64 levels)"));
    }
}

#[test]
fn a_span_of_exactly_the_limit_is_sent_and_one_byte_less_is_not() {
    let batch = golden().build();
    for size in [237, 236] {
        let mut out = Vec::new();
        let limits = Limits::bytes(size);
        let encoded = OtlpProtoEncoder::new().encode(&mut batch.cursor(), &limits, &mut out);
        assert_eq!(encoded.items, usize::from(size == 237));
        assert_eq!(out.len(), if size == 237 { 237 } else { 0 });
    }
}

#[test]
fn a_span_too_large_for_any_payload_does_not_take_its_neighbours_along() {
    let mut input = golden();
    for id in 2..=5 {
        let mut span = SpanIn::new(id, "small");
        if id == 3 {
            span.attributes = vec![("big".to_owned(), Plain::Str("x".repeat(10_000_000)))];
        }
        input.trees[0].spans.push(span);
    }
    let batch = input.build();
    let mut encoder = OtlpProtoEncoder::new();
    let payloads = encode_all(&mut encoder, &batch, &Limits::bytes(100_000));
    let found: Vec<_> = payloads
        .iter()
        .flat_map(|(_, p)| read_proto::spans(p))
        .collect();
    let names: Vec<_> = found.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["op", "small", "small", "small"]);
    let left_out: Vec<_> = payloads
        .iter()
        .flat_map(|(e, _)| e.left_out.clone())
        .collect();
    assert_eq!(left_out, [(DropReason::TooLarge, 1)]);
    let kept = payloads
        .iter()
        .map(|(_, payload)| payload.capacity())
        .max()
        .unwrap();
    assert!(kept <= 2 << 20, "the buffer kept {kept} bytes");
}

#[test]
fn an_empty_batch_makes_no_envelope() {
    let batch = TreeBatch::new(Vec::new());
    assert!(encode_whole(&mut OtlpProtoEncoder::new(), &batch).is_empty());
    assert!(encode_whole(&mut OtlpJsonEncoder::new(), &batch).is_empty());
}
