//! Every payload is read back by readers that share nothing with the encoders, and held against what went in.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::decode::Decoder;
use hiq_core::encode::{Cut, DropReason, Encoded, Encoder, Limits};
use hiq_core::span::{Kind, Status};
use hiq_core::tree::SpanTree;
use hiq_jaeger::{
    JaegerBinaryEncoder, JaegerCompactEncoder, JaegerDecoder, JaegerMessageEncoder,
    JaegerProtoEncoder,
};
use hiq_testkit::spans::{BatchIn, EventIn, LinkIn, Origin, Plain, SpanIn, TreeIn, arbitrary, hex};
use hiq_testkit::trees::watched_tree;
use proptest::prelude::*;
use prost::Message as _;
use support::{Span, Value, expected, normal, read_proto, read_thrift};

/// An encoder of each kind, a reader of what it writes, and what that must find.
struct Wire {
    name: &'static str,
    encoder: fn() -> Box<dyn Encoder<TreeBatch>>,
    read: fn(&[u8]) -> Vec<Span>,
    expected: fn(&BatchIn) -> Vec<Span>,
}

const ENCODINGS: [Wire; 4] = [
    Wire {
        name: "jaeger_compact",
        encoder: || Box::new(JaegerCompactEncoder::new()),
        read: read_thrift::compact_call,
        expected: expected::in_micros,
    },
    Wire {
        name: "jaeger_binary_call",
        encoder: || Box::new(JaegerBinaryEncoder::calls()),
        read: read_thrift::binary_call,
        expected: expected::in_micros,
    },
    Wire {
        name: "jaeger_binary",
        encoder: || Box::new(JaegerBinaryEncoder::batches()),
        read: read_thrift::binary,
        expected: expected::in_micros,
    },
    Wire {
        name: "jaeger_proto",
        encoder: || Box::new(JaegerProtoEncoder::new()),
        read: read_proto::spans,
        expected: expected::in_nanos,
    },
];

/// A span a payload, whatever the limits.
const MESSAGE: Wire = Wire {
    name: "jaeger_message",
    encoder: || Box::new(JaegerMessageEncoder::new()),
    read: read_proto::message,
    expected: expected::in_nanos,
};

/// All payloads of a batch, each checked to be appended behind what the buffer held.
fn encode_all(
    encoder: &mut dyn Encoder<TreeBatch>,
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

fn only_payload(encoder: &mut dyn Encoder<TreeBatch>, input: &BatchIn) -> Vec<u8> {
    let mut payloads = encode_all(encoder, &input.build(), &Limits::bytes(usize::MAX));
    assert_eq!(payloads.len(), 1);
    payloads.remove(0).1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn everything_reads_back_as_what_went_in(input in arbitrary::batch()) {
        for kind in ENCODINGS.iter().chain([&MESSAGE]) {
            let payloads = encode_all(&mut *(kind.encoder)(), &input.build(), &Limits::bytes(usize::MAX));
            let found = payloads.iter().filter(|(encoded, _)| encoded.items > 0);
            let found: Vec<Span> = found.flat_map(|(_, payload)| (kind.read)(payload)).collect();
            prop_assert_eq!(normal(found), (kind.expected)(&input), "{}", kind.name);
        }
    }

    #[test]
    fn protobuf_is_byte_for_byte_what_a_canonical_encoder_writes(input in arbitrary::batch()) {
        let input = without_negative_zero(input);
        let payloads = encode_all(&mut JaegerProtoEncoder::new(), &input.build(), &Limits::bytes(usize::MAX));
        for (_, payload) in payloads.iter().filter(|(encoded, _)| encoded.items > 0) {
            prop_assert_eq!(&read_proto::request(payload).encode_to_vec(), payload);
        }
    }

    #[test]
    fn every_span_is_in_one_payload_or_too_large_for_any(
        input in arbitrary::batch(),
        max_bytes in prop_oneof![0..300_usize, 300..2_000_usize, 2_000..60_000_usize],
        max_items in prop_oneof![1..6_usize, 12..18_usize, Just(usize::MAX)],
        cut in prop_oneof![
            Just(Cut::Batch), Just(Cut::Resource), Just(Cut::Service), Just(Cut::Trace), Just(Cut::Span),
        ],
    ) {
        let mut limits = Limits::bytes(max_bytes).with_cut(cut);
        limits.max_items = max_items;
        for kind in ENCODINGS.iter().chain([&MESSAGE]) {
            check_payloads(kind, &input, &limits);
        }
    }
}

/// `jaeger.thrift` and `model.proto`: 1 sampled, 2 debug.
#[test]
fn the_spans_of_a_trace_that_somebody_watches_say_so_and_read_back_as_that() {
    let batch = TreeBatch::new(vec![Arc::new(watched_tree())]);
    let decoders = [
        JaegerDecoder::compact(),
        JaegerDecoder::binary(),
        JaegerDecoder::binary(),
        JaegerDecoder::proto(),
        JaegerDecoder::message(),
    ];
    for (kind, mut decoder) in ENCODINGS.iter().chain([&MESSAGE]).zip(decoders) {
        let payloads = encode_all(&mut *(kind.encoder)(), &batch, &Limits::bytes(usize::MAX));
        let payloads = payloads.iter().filter(|(encoded, _)| encoded.items > 0);
        let mut flags = Vec::new();
        for (_, payload) in payloads {
            flags.extend((kind.read)(payload).iter().map(|span| span.flags));
            let sink = &mut |tree: Arc<SpanTree>| assert!(tree.spans().all(|span| span.is_debug()));
            decoder.decode(payload, sink).unwrap();
        }
        assert_eq!(flags, [3, 3], "{}", kind.name);
    }
}

/// The reader's own encoder takes it for a zero and leaves it out.
fn without_negative_zero(mut input: BatchIn) -> BatchIn {
    let is_negative_zero =
        |value: &Plain| matches!(value, Plain::F64(bits) if *bits == (-0.0_f64).to_bits());
    let keep = |(_, value): &(String, Plain)| !is_negative_zero(value);
    let origins = input.resources.iter_mut().chain(&mut input.scopes);
    origins.for_each(|origin| origin.attributes.retain(keep));
    for span in input.trees.iter_mut().flat_map(|tree| &mut tree.spans) {
        span.attributes.retain(keep);
        span.events
            .iter_mut()
            .for_each(|event| event.attributes.retain(keep));
    }
    input
}

fn check_payloads(kind: &Wire, input: &BatchIn, limits: &Limits) {
    let (batch, mut encoder) = (input.build(), (kind.encoder)());
    let (mut found, mut too_large) = (Vec::new(), 0);
    for (encoded, payload) in encode_all(&mut *encoder, &batch, limits) {
        assert!(payload.len() <= limits.max_bytes, "{} bytes", payload.len());
        assert!(encoded.items <= limits.max_items);
        let is_large = |(reason, _): &(DropReason, usize)| *reason == DropReason::TooLarge;
        assert!(encoded.left_out.iter().all(is_large));
        too_large += encoded.items_left_out();
        if payload.is_empty() {
            assert_eq!(encoded.items, 0);
            continue;
        }
        let spans = (kind.read)(&payload);
        assert_eq!(spans.len(), encoded.items);
        check_cut(kind, limits.cut, &spans, encoded.key.as_deref());
        found.extend(spans);
    }
    let mut expected = (kind.expected)(input);
    assert_eq!(found.len() + too_large, expected.len());
    let alone = Limits::bytes(usize::MAX).with_cut(Cut::Span);
    let oversize = encode_all(&mut *encoder, &batch, &alone).into_iter();
    let oversize = oversize.filter(|(_, payload)| payload.len() > limits.max_bytes);
    let oversize: Vec<u64> = oversize
        .map(|(_, payload)| (kind.read)(&payload)[0].id)
        .collect();
    expected.retain(|span| !oversize.contains(&span.id));
    assert_eq!(normal(found), expected, "{}", kind.name);
}

/// A payload has one process, whatever the limits say.
fn check_cut(kind: &Wire, cut: Cut, spans: &[Span], key: Option<&str>) {
    let first = &spans[0];
    let mut trace = hex(&first.trace_id);
    if kind.name == MESSAGE.name {
        assert_eq!(spans.len(), 1);
        // As Jaeger's own clients write it.
        trace = trace
            .strip_prefix("0000000000000000")
            .map_or(trace.clone(), str::to_owned);
    }
    match cut {
        Cut::Trace => assert!(spans.iter().all(|span| span.trace_id == first.trace_id)),
        Cut::Span => assert_eq!(spans.len(), 1),
        _ => {}
    }
    match cut {
        Cut::Batch => assert_eq!(key, None),
        Cut::Trace | Cut::Span => assert_eq!(key, Some(trace.as_str())),
        _ => assert_eq!(key, Some(first.service.as_str())),
    }
}

fn one_tree(trace_id: u128, parent: u64, spans: Vec<SpanIn>) -> BatchIn {
    BatchIn {
        resources: vec![Origin {
            attributes: vec![("service.name".to_owned(), Plain::text("svc"))],
            ..Origin::default()
        }],
        scopes: vec![Origin::default()],
        trees: vec![TreeIn {
            trace_id: trace_id.to_be_bytes(),
            parent,
            parent_is_remote: false,
            flags: 1,
            trace_state: String::new(),
            resource: 0,
            scope: 0,
            spans,
        }],
    }
}

fn attribute(key: &str, value: Plain) -> (String, Plain) {
    (key.to_owned(), value)
}

/// The batch of which Apache's thrift library made the golden files.
fn golden() -> BatchIn {
    let mut span = SpanIn::new(2, "op");
    span.kind = Kind::Unspecified;
    span.end = span.start + 5_000;
    span.attributes = vec![
        attribute("s", Plain::text("x")),
        attribute("b", Plain::Bool(true)),
        attribute("l", Plain::Int(-3)),
        attribute("d", Plain::f64(1.5)),
    ];
    one_tree(1 << 64 | u128::from(u64::MAX), 0, vec![span])
}

#[test]
fn thrift_is_what_apaches_library_writes() {
    let golden = golden();
    let compact = only_payload(&mut JaegerCompactEncoder::new(), &golden);
    assert_eq!(hex(&compact), include_str!("golden/compact.hex").trim());
    let call = only_payload(&mut JaegerBinaryEncoder::calls(), &golden);
    assert_eq!(hex(&call), include_str!("golden/binary_call.hex").trim());
    let batch = only_payload(&mut JaegerBinaryEncoder::batches(), &golden);
    assert_eq!(hex(&batch), include_str!("golden/binary.hex").trim());
}

#[test]
fn protobuf_is_what_googles_library_writes() {
    let mut span = SpanIn::new(0xb7ad_6b71_6920_3331, "op");
    span.kind = Kind::Unspecified;
    span.start = 1_700_000_000_000_000_001;
    span.end = span.start + 5_000;
    span.attributes = vec![
        attribute("s", Plain::text("x")),
        attribute("b", Plain::Bool(true)),
        attribute("l", Plain::Int(-3)),
        attribute("d", Plain::f64(1.5)),
        attribute("bin", Plain::Bytes(vec![0, 255])),
    ];
    let trace_id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    let input = one_tree(trace_id, 0x00f0_67aa_0ba9_02b7, vec![span]);
    let payload = only_payload(&mut JaegerProtoEncoder::new(), &input);
    let golden = include_str!("golden/proto_batch.hex").trim();
    let length = golden.len() / 2;
    assert_eq!(
        hex(&payload),
        format!("0a{:02x}{:02x}{golden}", length & 0x7f | 0x80, length >> 7)
    );
}

#[test]
fn a_span_of_exactly_the_limit_is_sent_and_one_byte_less_is_not() {
    let batch = golden().build();
    for kind in &ENCODINGS {
        let mut encoder = (kind.encoder)();
        let size = only_payload(&mut *encoder, &golden()).len();
        for (limit, items) in [(size, 1), (size - 1, 0)] {
            let mut out = Vec::new();
            let encoded = encoder.encode(&mut batch.cursor(), &Limits::bytes(limit), &mut out);
            assert_eq!(encoded.items, items, "{}", kind.name);
            assert_eq!(out.len(), if items == 1 { size } else { 0 });
        }
    }
}

/// Around 15 and 128 spans the head of the list takes a byte more.
#[test]
fn payloads_are_filled_to_the_last_byte_however_many_spans_they_hold() {
    for kind in &ENCODINGS {
        for spans in [1, 14, 15, 16, 127, 128, 129, 300] {
            let all = (1..=spans).map(|id| SpanIn::new(id, "same")).collect();
            let input = one_tree(7, 0, all);
            let mut encoder = (kind.encoder)();
            let size = only_payload(&mut *encoder, &input).len();
            for (limit, items) in [(size, spans), (size - 1, spans - 1)] {
                let mut out = Vec::new();
                let limits = Limits::bytes(limit);
                let encoded = encoder.encode(&mut input.build().cursor(), &limits, &mut out);
                assert_eq!(encoded.items as u64, items, "{} {limit}", kind.name);
                assert!(out.len() <= limit);
            }
        }
    }
}

#[test]
fn a_span_too_large_for_any_packet_does_not_take_its_neighbours_along() {
    let mut spans: Vec<_> = (1..=5).map(|id| SpanIn::new(id, "small")).collect();
    spans[2].attributes = vec![attribute("big", Plain::Str("x".repeat(70_000)))];
    let batch = one_tree(7, 0, spans).build();
    for kind in &ENCODINGS {
        let limits = Limits::bytes(hiq_jaeger::MAX_PACKET_BYTES);
        let payloads = encode_all(&mut *(kind.encoder)(), &batch, &limits);
        let ids = payloads
            .iter()
            .flat_map(|(_, payload)| (kind.read)(payload));
        assert_eq!(ids.map(|span| span.id).collect::<Vec<_>>(), [1, 2, 4, 5]);
        let left_out: Vec<_> = payloads
            .iter()
            .flat_map(|(e, _)| e.left_out.clone())
            .collect();
        assert_eq!(left_out, [(DropReason::TooLarge, 1)]);
    }
}

#[test]
fn an_empty_batch_makes_no_envelope() {
    let batch = TreeBatch::new(Vec::new());
    for kind in &ENCODINGS {
        let payloads = encode_all(&mut *(kind.encoder)(), &batch, &Limits::bytes(usize::MAX));
        assert!(payloads.iter().all(|(_, payload)| payload.is_empty()));
    }
}

#[test]
fn a_link_says_itself_whether_it_is_a_child() {
    let mut span = SpanIn::new(1, "linked");
    let link = |span_id, says: &str| LinkIn {
        trace_id: [9; 16],
        span_id,
        trace_state: "lost=1".to_owned(),
        flags: 1,
        attributes: vec![attribute("opentracing.ref_type", Plain::text(says))],
    };
    span.links = vec![link(5, "child_of"), link(6, "follows_from")];
    let input = one_tree(7, 3, vec![span]);
    for kind in &ENCODINGS {
        let found = (kind.read)(&only_payload(&mut *(kind.encoder)(), &input));
        assert_eq!(found[0].parent, 3);
        let follows: Vec<bool> = found[0].references.iter().map(|r| r.follows_from).collect();
        assert_eq!(follows, [false, true], "{}", kind.name);
    }
}

#[test]
fn an_event_that_names_itself_keeps_its_name() {
    let mut span = SpanIn::new(1, "noted");
    span.events = vec![EventIn {
        time: 1_700_000_000_000_000_999,
        name: "other".to_owned(),
        attributes: vec![attribute("event", Plain::text("own"))],
    }];
    let input = one_tree(7, 0, vec![span]);
    for kind in &ENCODINGS {
        let found = (kind.read)(&only_payload(&mut *(kind.encoder)(), &input));
        let fields = [("event".to_owned(), Value::text("own"))];
        assert_eq!(found[0].logs[0].1, fields, "{}", kind.name);
    }
}

/// Names of 0 and 65,536 characters, times at both ends, ids of nothing but zeros, 10,000 attributes, 500 levels.
#[test]
fn what_nobody_should_send_is_carried_as_it_is() {
    let mut spans: Vec<_> = (0..4).map(|id| SpanIn::new(id, "")).collect();
    spans[1].name = "n".repeat(65_536);
    (spans[1].start, spans[1].end) = (0, 1);
    (spans[2].start, spans[2].end) = (u64::MAX - 1, u64::MAX);
    spans[2].attributes = (0..10_000)
        .map(|number| attribute(&format!("k{number}"), Plain::Int(number)))
        .collect();
    (spans[3].start, spans[3].end) = (2_000, 1_000);
    spans[3].status = Status::Error;
    spans[3].message = "nul \0 and \u{202e} turned".to_owned();
    let input = one_tree(0, 0, spans);
    for kind in &ENCODINGS {
        let found = (kind.read)(&only_payload(&mut *(kind.encoder)(), &input));
        assert_eq!(found, (kind.expected)(&input), "{}", kind.name);
    }
    let mut deep = SpanIn::new(1, "deep");
    let nested = (0..500).fold(Plain::Int(7), |inner, _| Plain::Array(vec![inner]));
    deep.attributes = vec![attribute("deep", nested)];
    let cut = format!(
        "{}\"(nested deeper than 64 levels)\"{}",
        "[".repeat(64),
        "]".repeat(64)
    );
    for kind in &ENCODINGS {
        let input = one_tree(7, 0, vec![deep.clone()]);
        let found = (kind.read)(&only_payload(&mut *(kind.encoder)(), &input));
        assert!(
            found[0]
                .tags
                .contains(&("deep".to_owned(), Value::text(&cut)))
        );
    }
}

#[test]
fn a_resource_without_a_name_is_called_as_opentelemetrys_receivers_expect() {
    let mut input = golden();
    input.resources[0].attributes.clear();
    for kind in &ENCODINGS {
        let found = (kind.read)(&only_payload(&mut *(kind.encoder)(), &input));
        assert_eq!(found[0].service, "OTLPResourceNoServiceName");
    }
}
