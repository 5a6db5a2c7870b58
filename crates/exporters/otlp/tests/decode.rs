//! Requests that others wrote are read as they meant them, and bytes that nobody meant are refused without harm.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use hiq_core::batch::TreeBatch;
use hiq_core::decode::{DecodeError, Decoder};
use hiq_core::encode::{Encoder, Limits};
use hiq_core::tree::SpanTree;
use hiq_otlp::{OtlpDecoder, OtlpJsonEncoder, OtlpProtoEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue;
use proptest::prelude::*;
use prost::Message as _;
use support::{Origin, Plain, SpanOut, arbitrary, read_json, read_trees, sorted, write_proto};

fn decode(mut decoder: OtlpDecoder, payload: &[u8]) -> Result<Vec<Arc<SpanTree>>, DecodeError> {
    let mut trees = Vec::new();
    decoder
        .decode(payload, &mut |tree| trees.push(tree))
        .map(|()| trees)
}

fn decode_spans(decoder: OtlpDecoder, payload: &[u8]) -> Vec<SpanOut> {
    let trees = decode(decoder, payload).unwrap();
    sorted(
        trees
            .iter()
            .flat_map(|tree| read_trees::spans(tree))
            .collect(),
    )
}

fn error(decoder: OtlpDecoder, payload: &[u8]) -> String {
    decode(decoder, payload).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn protobuf_of_opentelemetrys_types_is_read_as_it_was_meant(input in arbitrary::batch()) {
        let expected = input.expected();
        let payload = write_proto::request(&expected).encode_to_vec();
        prop_assert_eq!(decode_spans(OtlpDecoder::proto(), &payload), expected);
    }

    #[test]
    fn what_the_encoders_write_is_read_back(input in arbitrary::batch()) {
        let expected = input.expected();
        let batch = input.build();
        let payload = encode(&mut OtlpProtoEncoder::new(), &batch);
        prop_assert_eq!(decode_spans(OtlpDecoder::proto(), &payload), expected.clone());
        let payload = encode(&mut OtlpJsonEncoder::new(), &batch);
        let expected: Vec<_> = expected.into_iter().map(SpanOut::with_one_nan).collect();
        prop_assert_eq!(decode_spans(OtlpDecoder::json(), &payload), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(OtlpDecoder::proto(), &payload);
        let _ = decode(OtlpDecoder::json(), &payload);
    }

    #[test]
    fn damaged_requests_are_read_or_refused(
        input in arbitrary::batch(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = input.build();
        let proto = encode(&mut OtlpProtoEncoder::new(), &batch);
        let json = encode(&mut OtlpJsonEncoder::new(), &batch);
        for (mut payload, decoder) in [(proto, OtlpDecoder::proto()), (json, OtlpDecoder::json())] {
            prop_assume!(!payload.is_empty());
            for (place, byte) in &damage {
                let place = place.index(payload.len());
                payload[place] = *byte;
            }
            let _ = decode(decoder.clone(), &payload);
            payload.truncate(cut.index(payload.len()));
            let _ = decode(decoder, &payload);
        }
    }
}

fn encode(encoder: &mut impl Encoder<TreeBatch>, batch: &TreeBatch) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
    out
}

#[test]
fn a_collectors_json_and_protobuf_say_the_same() {
    let hex = include_str!("golden/collector.hex").trim().as_bytes();
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let proto: Vec<u8> = hex.chunks(2).map(byte).collect();
    let json = include_bytes!("golden/collector.json");
    let spans = decode_spans(OtlpDecoder::proto(), &proto);
    assert_eq!(spans, decode_spans(OtlpDecoder::json(), json));
    assert_eq!(spans.len(), 1);
    assert_eq!(
        (spans[0].name.as_str(), spans[0].kind, spans[0].flags),
        ("op", 3, 257)
    );
    assert_eq!(spans[0].status, Some((2, "bad".to_owned())));
    assert_eq!(spans[0].attributes[2], ("l".to_owned(), Plain::Int(-3)));
}

#[test]
fn json_whose_names_are_protobufs_is_the_same() {
    let json = include_bytes!("golden/collector.json");
    let renamed = read_json::with_protobufs_names(json);
    assert!(renamed.starts_with(b"{\"resource_spans\""));
    let spans = decode_spans(OtlpDecoder::json(), &renamed);
    assert_eq!(spans, decode_spans(OtlpDecoder::json(), json));
    assert_eq!(spans.len(), 1);
}

#[test]
fn json_is_read_as_generously_as_the_specification_asks() {
    let json =
        br#"{"resourceSpans":[{"resource":null,"unknown":{"a":[1,{}]},"scopeSpans":[{"spans":[{
        "traceId":"0AF7651916CD43DD8448EB211C80319C","spanId":"B7ad6b7169203331","parentSpanId":"",
        "startTimeUnixNano":5,"endTimeUnixNano":"9","kind":2,"name":null,"status":{},
        "attributes":[
            {"key":"number","value":{"intValue":-3}},
            {"key":"double","value":{"doubleValue":"-Infinity"}},
            {"key":"whole","value":{"doubleValue":2}},
            {"key":"none"},{"key":"empty","value":{}},
            {"key":"list","value":{"arrayValue":{}}}
        ]}]}]}]}"#;
    let span = decode_spans(OtlpDecoder::json(), json).remove(0);
    assert_eq!(span.span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!((span.start, span.end, span.kind), (5, 9, 2));
    assert_eq!(span.parent_id, Vec::<u8>::new());
    let expected = [
        ("number", Plain::Int(-3)),
        ("double", Plain::f64(f64::NEG_INFINITY)),
        ("whole", Plain::f64(2.0)),
        ("none", Plain::Empty),
        ("empty", Plain::Empty),
        ("list", Plain::Array(Vec::new())),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(span.attributes, expected);
}

#[test]
fn what_events_and_links_lost_before_is_not_forgotten() {
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
        "traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","name":"s",
        "events":[{"name":"e","timeUnixNano":"5","droppedAttributesCount":3}],
        "links":[{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203332",
            "droppedAttributesCount":4}]}]}]}]}"#;
    let trees = decode(OtlpDecoder::json(), json).unwrap();
    let proto = encode(&mut OtlpProtoEncoder::new(), &TreeBatch::new(trees.clone()));
    for tree in [&trees[0], &decode(OtlpDecoder::proto(), &proto).unwrap()[0]] {
        let span = tree.spans().next().unwrap();
        assert_eq!(span.events().next().unwrap().dropped_attributes(), 3);
        assert_eq!(span.links().next().unwrap().dropped_attributes(), 4);
    }
    let request = read_request(&proto);
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.events[0].dropped_attributes_count, 3);
    assert_eq!(span.links[0].dropped_attributes_count, 4);
}

fn read_request(payload: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(payload).unwrap()
}

#[test]
fn lines_are_read_one_after_the_other_and_an_error_says_where() {
    let line = include_str!("golden/collector.json").trim();
    let good = format!("{line}\n\n{line}\r\n{line}");
    assert_eq!(
        decode(OtlpDecoder::json(), good.as_bytes()).unwrap().len(),
        3
    );

    let bad = format!("{line}\n{{\"resourceSpans\":7}}\n{line}\n");
    let mut before_the_error = 0;
    let result = OtlpDecoder::json().decode(bad.as_bytes(), &mut |_| before_the_error += 1);
    assert_eq!(before_the_error, 1);
    let error = result.unwrap_err();
    let seven = line.len() + 1 + "{\"resourceSpans\":".len();
    assert_eq!(error.offset, seven, "{error}");
    assert!(error.to_string().contains("expected a sequence"), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let span = |field: &[u8]| {
        let scope_spans = [&[0x12, u8::try_from(field.len()).unwrap()], field].concat();
        let groups = [
            &[0x12, u8::try_from(scope_spans.len()).unwrap()],
            &scope_spans[..],
        ]
        .concat();
        [&[0x0a, u8::try_from(groups.len()).unwrap()], &groups[..]].concat()
    };
    let cases: [(&[u8], &str); 6] = [
        (
            &[0x0a, 3, 1, 2, 3],
            "byte 8: a trace id is not 16 bytes long",
        ),
        (&[0x12, 1, 1], "byte 8: a span id is not 8 bytes long"),
        (&[0x2a, 1, 0xff], "byte 8: a text is not UTF-8"),
        (
            &[0x2a, 9, 0x61],
            "byte 8: a field is longer than what holds it",
        ),
        (
            &[0x28, 1],
            "byte 7: a field has a number where a text or message belongs",
        ),
        (
            &[0x3b],
            "byte 7: a field has a wire type that no message uses",
        ),
    ];
    for (field, expected) in cases {
        let error = error(OtlpDecoder::proto(), &span(field));
        assert_eq!(error, format!("OTLP protobuf, {expected}"));
    }
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}"#;
    let error = error(OtlpDecoder::json(), json);
    assert_eq!(
        error,
        "OTLP JSON, byte 0: a trace id must be 32 hex digits, not `xyz`"
    );
}

/// Protobuf's rule, by which whoever concatenates two messages merges them.
#[test]
fn of_a_value_that_is_said_twice_the_last_word_counts() {
    let int = [0x18, 5];
    let texts = [&[0x0a, 1, b'a'][..], &[0x0a, 1, b'b']];
    let cases = [
        ([texts[0], &int].concat(), Plain::Int(5)),
        ([&int, texts[0]].concat(), Plain::Str("a".to_owned())),
        (texts.concat(), Plain::Str("b".to_owned())),
    ];
    for (value, expected) in cases {
        let read = AnyValue::decode(&value[..]).unwrap();
        assert_eq!(
            format!("{expected:?}").contains('5'),
            read.value == Some(IntValue(5))
        );
        let mut payload = value;
        // An attribute without a key, its span, scope spans, resource spans.
        for tag in [0x12, 0x4a, 0x12, 0x12, 0x0a] {
            payload = [&[tag, u8::try_from(payload.len()).unwrap()], &payload[..]].concat();
        }
        let spans = decode_spans(OtlpDecoder::proto(), &payload);
        assert_eq!(spans[0].attributes, [(String::new(), expected)]);
    }
}

#[test]
fn values_are_read_64_levels_deep_and_refused_beyond() {
    let nested = |levels| {
        (0..levels).fold(Plain::Int(7), |inner, level| match level % 2 {
            0 => Plain::Array(vec![inner]),
            _ => Plain::Map(vec![("in".to_owned(), inner)]),
        })
    };
    let mut span = span(1, 0);
    span.attributes = vec![("deep".to_owned(), nested(64))];
    let payload = write_proto::request(std::slice::from_ref(&span)).encode_to_vec();
    assert_eq!(decode_spans(OtlpDecoder::proto(), &payload), [span.clone()]);
    let trees = decode(OtlpDecoder::proto(), &payload).unwrap();
    let json = encode(&mut OtlpJsonEncoder::new(), &TreeBatch::new(trees));
    assert_eq!(decode_spans(OtlpDecoder::json(), &json), [span.clone()]);

    span.attributes = vec![("deeper".to_owned(), nested(65))];
    let payload = write_proto::request(&[span]).encode_to_vec();
    assert!(error(OtlpDecoder::proto(), &payload).contains("deeper than 64 levels"));
}

#[test]
fn absurd_nesting_ends_in_an_error_not_in_an_overflow() {
    for levels in [1_000, 1_000_000] {
        let brackets = b"{\"resourceSpans\":".repeat(levels);
        assert!(error(OtlpDecoder::json(), &brackets).contains("deeper than 64 levels"));
        let in_unknown_field = [&b"{\"x\":"[..], &b"[".repeat(levels)].concat();
        assert!(error(OtlpDecoder::json(), &in_unknown_field).contains("deeper than 64 levels"));
    }
    let mut value = Vec::new();
    for _ in 0..10_000 {
        let mut array = vec![0x0a];
        prost::encode_length_delimiter(value.len(), &mut array).unwrap();
        array.extend_from_slice(&value);
        value = vec![0x2a];
        prost::encode_length_delimiter(array.len(), &mut value).unwrap();
        value.extend_from_slice(&array);
    }
    // Down to the value: resource spans, scope spans, span, attribute.
    for tag in [0x12, 0x4a, 0x12, 0x12, 0x0a] {
        let inner = std::mem::take(&mut value);
        value.push(tag);
        prost::encode_length_delimiter(inner.len(), &mut value).unwrap();
        value.extend_from_slice(&inner);
    }
    assert!(error(OtlpDecoder::proto(), &value).contains("deeper than 64 levels"));
}

/// A span of trace 1; `parent` zero for none.
fn span(id: u64, parent: u64) -> SpanOut {
    SpanOut {
        resource: Origin::default(),
        scope: Origin::default(),
        trace_id: vec![1; 16],
        span_id: id.to_be_bytes().to_vec(),
        parent_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        trace_state: String::new(),
        flags: 0x101,
        name: format!("span {}", id % 100),
        kind: 1,
        start: 100 + id,
        end: 1_000_000,
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        status: None,
        dropped: [0; 3],
    }
}

/// The trees made of `spans`, all in one group, as lists of span ids.
fn trees_of(spans: &[SpanOut]) -> Vec<Arc<SpanTree>> {
    let mut request = write_proto::request(&spans[..1]);
    let group = &mut request.resource_spans[0].scope_spans[0].spans;
    *group = spans.iter().map(write_proto::span).collect();
    let trees = decode(OtlpDecoder::proto(), &request.encode_to_vec()).unwrap();
    let found = trees
        .iter()
        .flat_map(|tree| read_trees::spans(tree))
        .collect();
    assert!(
        sorted(found) == sorted(spans.to_vec()),
        "not every span once, as it was"
    );
    trees
}

fn ids(tree: &SpanTree) -> Vec<u64> {
    tree.spans().map(|span| span.id().0).collect()
}

#[test]
fn parents_come_before_children_whatever_the_order_of_the_bytes_and_clocks() {
    let mut child = span(1, 2);
    child.start = 50;
    let trees = trees_of(&[child, span(4, 1), span(3, 2), span(2, 0)]);
    assert_eq!(trees.len(), 1);
    assert_eq!(ids(&trees[0]), [2, 1, 3, 4]);
    let parents: Vec<_> = trees[0].spans().map(|span| span.parent_index()).collect();
    assert_eq!(parents, [None, Some(0), Some(0), Some(1)]);
}

#[test]
fn a_span_with_a_remote_parent_begins_a_fragment_even_beside_that_parent() {
    let mut server = span(2, 1);
    server.flags = 0x301;
    let trees = trees_of(&[span(1, 0), server, span(3, 2), span(4, 1)]);
    let mut fragments: Vec<_> = trees.iter().map(|tree| ids(tree)).collect();
    fragments.sort();
    assert_eq!(fragments, [vec![1, 4], vec![2, 3]]);
}

#[test]
fn cycles_are_cut_and_lose_nothing() {
    let own_parent = trees_of(&[span(1, 1)]);
    assert_eq!(own_parent[0].span(0).unwrap().parent_index(), None);
    let trees = trees_of(&[span(1, 3), span(2, 1), span(3, 2), span(4, 3)]);
    assert_eq!(trees.len(), 1);
    assert_eq!(trees[0].len(), 4);
}

#[test]
fn traces_and_unknown_parents_are_kept_apart() {
    let mut other_trace = span(3, 1);
    other_trace.trace_id = vec![2; 16];
    let trees = trees_of(&[span(1, 77), span(2, 78), other_trace]);
    assert_eq!(trees.len(), 2);
    assert_eq!(trees.iter().map(|tree| tree.len()).max(), Some(2));
}

#[test]
fn a_deep_chain_is_read_without_a_deep_stack() {
    let chain: Vec<_> = (1..=50_000).rev().map(|id| span(id, id - 1)).collect();
    let trees = trees_of(&chain);
    assert_eq!(trees.len(), 1);
    assert_eq!(trees[0].len(), 50_000);
}

#[test]
fn spans_of_two_traces_that_take_turns_come_apart_and_each_in_one_piece() {
    let turns = |id: u64| {
        let mut span = span(id, id.saturating_sub(2));
        span.trace_id = vec![u8::try_from(id % 2).unwrap() + 1; 16];
        span
    };
    for spans in [8, 200] {
        let trees = trees_of(&(1..=spans).map(turns).collect::<Vec<_>>());
        assert_eq!(trees.len(), 2);
        let odd: Vec<_> = (1..=spans).step_by(2).collect();
        assert_eq!(ids(&trees[0]), odd);
    }
}

#[test]
fn of_two_spans_with_one_id_the_first_is_the_parent_however_many_there_are() {
    for others in [1, 100] {
        let mut spans = vec![span(1, 0), span(1, 0), span(2, 1)];
        spans[1].start += 1;
        spans.extend((3..3 + others).map(|id| span(id, 2)));
        let trees = trees_of(&spans);
        let parent_of = |id: u64| {
            let mut spans = trees[0].spans();
            spans.find(|span| span.id().0 == id).unwrap().parent_index()
        };
        assert_eq!(parent_of(2), Some(0));
    }
}

#[test]
fn names_that_look_alike_are_told_apart() {
    // Of one length, with the same first, middle and last letter, and many of them.
    let alike = |id: u64| {
        let mut span = span(id, 0);
        span.name = format!("a{:02}m{:02}z", id % 37, id % 53);
        span
    };
    trees_of(&(1..=300).map(alike).collect::<Vec<_>>());
}
