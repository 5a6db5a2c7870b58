//! The decoders against this crate's encoders, against vectors of others, and against bytes of nobody.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::span::{Kind, Status};
use hiq_core::value::Value;
use hiq_testkit::spans::{Attributes, BatchIn, Plain, SpanIn, TreeIn, arbitrary, hex};
use hiq_zipkin::{
    AnnotationForm, ZipkinDecoder, ZipkinJsonEncoder, ZipkinJsonV1Encoder, ZipkinMapping,
    ZipkinProtoEncoder,
};
use proptest::prelude::*;
use support::read_trees::{Back, decode, decoded};
use support::{batch_of, payload, span_with, unhex};

/// What must come back of a batch, by the documented losses: times in microseconds, attributes as texts, those of resource and scope among
/// them.
fn expected(batch: &BatchIn, form: AnnotationForm) -> Vec<Back> {
    let of_tree = |tree: &TreeIn| -> Vec<Back> {
        let one = |index| back(batch, tree, index, form);
        (0..tree.spans.len()).map(one).collect()
    };
    let mut all: Vec<Back> = batch.trees.iter().flat_map(of_tree).collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

fn back(batch: &BatchIn, tree: &TreeIn, index: usize, form: AnnotationForm) -> Back {
    let span = &tree.spans[index];
    let (resource, scope) = (
        &batch.resources[tree.resource],
        &batch.scopes[span.own_scope.unwrap_or(tree.scope)],
    );
    let inner = span.parent.map(|parent| tree.spans[parent].id);
    let parent = inner.unwrap_or(span.outer_parent.unwrap_or(tree.parent));
    let first_event = span.events.iter().map(|event| event.time / 1000).min();
    let start = match span.start / 1000 {
        0 => first_event.unwrap_or_default(),
        micros => micros,
    };
    let micros = (span.end.saturating_sub(span.start) / 1000).max(1);
    let mut attributes = texts(&resource.attributes);
    attributes.extend(texts(&scope.attributes));
    attributes.extend(texts(&span.attributes));
    let service = match attributes.remove("service.name") {
        Some(Value::Str(name)) => name,
        _ => String::new(),
    };
    let state = span.own_trace_state.as_ref().unwrap_or(&tree.trace_state);
    let message = match span.status {
        Status::Error => span.message.clone(),
        _ => String::new(),
    };
    let bar = |name: &str, is_bare: bool| match form {
        AnnotationForm::Specification if !is_bare => name.to_owned(),
        _ => name.replace('|', "¦"),
    };
    Back {
        service,
        scope: (scope.name.clone(), scope.version.clone()),
        trace_id: hex(&tree.trace_id),
        id: format!("{:016x}", span.id),
        parent: (parent != 0).then(|| format!("{parent:016x}")),
        name: span.name.clone(),
        kind: span.kind,
        start: start * 1000,
        end: (start + micros).saturating_mul(1000),
        attributes,
        events: span
            .events
            .iter()
            .map(|event| {
                let name = bar(&event.name, event.attributes.is_empty());
                (
                    event.time / 1000 * 1000,
                    name,
                    through_json(&event.attributes),
                )
            })
            .collect(),
        links: span
            .links
            .iter()
            .map(|link| {
                let state = Some(&link.trace_state).filter(|state| !state.contains('|'));
                let ids = (hex(&link.trace_id), format!("{:016x}", link.span_id));
                (
                    ids.0,
                    ids.1,
                    state.cloned().unwrap_or_default(),
                    through_json(&link.attributes),
                )
            })
            .collect(),
        status: (span.status, message),
        trace_state: state.clone(),
        dropped: [
            span.dropped.attributes,
            span.dropped.events,
            span.dropped.links,
        ],
    }
}

fn texts(attributes: &Attributes) -> BTreeMap<String, Value> {
    let pairs = attributes.iter();
    pairs
        .map(|(key, value)| (key.clone(), Value::Str(text(value))))
        .collect()
}

/// Numbers in the shortest form are left to the encoders' own tests: here the library that writes them is asked.
fn text(value: &Plain) -> String {
    match value {
        Plain::Str(text) => text.clone(),
        Plain::Bool(bool) => bool.to_string(),
        Plain::Int(int) => int.to_string(),
        Plain::F64(bits) if f64::from_bits(*bits).is_finite() => zmij::Buffer::new()
            .format_finite(f64::from_bits(*bits))
            .to_owned(),
        Plain::F64(bits) => not_finite(*bits).to_owned(),
        Plain::Bytes(bytes) => STANDARD.encode(bytes),
        Plain::Array(_) | Plain::Map(_) => {
            let mut scratch = Vec::new();
            value.value().as_ref().text(&mut scratch).to_owned()
        }
        Plain::Empty => String::new(),
    }
}

fn not_finite(bits: u64) -> &'static str {
    match f64::from_bits(bits) {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

/// JSON has no bytes and no numbers that are none; of a key that comes twice the last value counts.
fn through_json(attributes: &Attributes) -> BTreeMap<String, Value> {
    let pairs = attributes.iter();
    pairs
        .map(|(key, value)| (key.clone(), of_json(value)))
        .collect()
}

fn of_json(value: &Plain) -> Value {
    match value {
        Plain::F64(bits) if !f64::from_bits(*bits).is_finite() => Value::from(not_finite(*bits)),
        Plain::Bytes(bytes) => Value::Str(STANDARD.encode(bytes)),
        Plain::Array(items) => Value::Array(items.iter().map(of_json).collect()),
        Plain::Map(pairs) => Value::Map(through_json(pairs).into_iter().collect()),
        other => other.value(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_written_reads_back(batch in arbitrary::batch(), of_collector in any::<bool>()) {
        let mut mapping = ZipkinMapping::default();
        if of_collector {
            mapping.annotations = AnnotationForm::Collector;
        }
        let (trees, expected) = (batch.build(), expected(&batch, mapping.annotations));
        if expected.is_empty() {
            return Ok(());
        }
        let json = payload(&mut ZipkinJsonEncoder::with_mapping(mapping.clone()), &trees);
        same(&decoded(ZipkinDecoder::json(), &json), &expected);
        let v1 = payload(&mut ZipkinJsonV1Encoder::with_mapping(mapping.clone()), &trees);
        same(&decoded(ZipkinDecoder::json_v1(), &v1), &expected);
        let proto = payload(&mut ZipkinProtoEncoder::with_mapping(mapping), &trees);
        same(&decoded(ZipkinDecoder::proto(), &proto), &expected);
    }

    #[test]
    fn bytes_of_nobody_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for decoder in [ZipkinDecoder::json(), ZipkinDecoder::json_v1(), ZipkinDecoder::proto()] {
            if let (_, Err(error)) = decode(decoder, &bytes) {
                assert!(error.offset <= bytes.len());
            }
        }
    }
}

#[track_caller]
fn same(found: &[Back], expected: &[Back]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_payload_that_is_cut_anywhere_is_an_error_at_a_place_in_it() {
    let mut spans: Vec<SpanIn> = (1..=3).map(|id| SpanIn::new(id, "work")).collect();
    spans[0].kind = Kind::Client;
    let trees = batch_of(spans).build();
    let json = payload(&mut ZipkinJsonEncoder::new(), &trees);
    let v1 = payload(&mut ZipkinJsonV1Encoder::new(), &trees);
    for (decoder, whole) in [
        (ZipkinDecoder::json(), json),
        (ZipkinDecoder::json_v1(), v1),
    ] {
        for end in 1..whole.len() {
            let (_, result) = decode(decoder.clone(), &whole[..end]);
            assert!(result.unwrap_err().offset <= end);
        }
        assert!(decode(decoder, &whole).1.is_ok());
    }
    let proto = payload(&mut ZipkinProtoEncoder::new(), &trees);
    let errors =
        (1..proto.len()).filter(|end| decode(ZipkinDecoder::proto(), &proto[..*end]).1.is_err());
    // Three spans follow each other: two cuts fall between them.
    assert_eq!(errors.count(), proto.len() - 1 - 2);
}

#[test]
fn what_comes_before_a_mistake_is_handed_out() {
    let json = br#"[{"traceId":"1","id":"2","name":"good"},{"traceId":"1","id":"xyz"}]"#;
    let (trees, result) = decode(ZipkinDecoder::json(), json);
    assert_eq!(trees.len(), 1);
    let error = result.unwrap_err();
    assert_eq!(error.format, "Zipkin JSON");
    assert_eq!(error.message, "an id must be 1 to 16 hex digits, not `xyz`");
    assert!((65..json.len()).contains(&error.offset), "{error}");
}

#[test]
fn the_golden_vector_reads_as_it_was_made() {
    let spans = decoded(
        ZipkinDecoder::proto(),
        &unhex(include_str!("golden/zipkin.hex")),
    );
    let text = |text: &str| Value::from(text);
    let attributes = [
        ("s", text("x")),
        ("peer.service", text("peer")),
        ("network.peer.address", text("127.0.0.1")),
        ("network.peer.port", Value::Int(80)),
    ];
    let expected = Back {
        service: "svc".to_owned(),
        scope: (String::new(), String::new()),
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        id: "b7ad6b7169203331".to_owned(),
        parent: Some("00f067aa0ba902b7".to_owned()),
        name: "op".to_owned(),
        kind: Kind::Client,
        start: 1_700_000_000_000_000_000,
        end: 1_700_000_000_000_005_000,
        attributes: attributes
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
        events: vec![(1_700_000_000_000_001_000, "ev".to_owned(), BTreeMap::new())],
        links: Vec::new(),
        status: (Status::Unset, String::new()),
        trace_state: String::new(),
        dropped: [0; 3],
    };
    assert_eq!(spans, [expected]);
}

/// Zipkin's query answers a list of traces, each a list of spans; ids may be short, upper case and of 64 bits.
#[test]
fn lists_of_lists_and_several_lists_are_read() {
    let json = br#"[[{"traceId":"48485A3953BB6124","id":"1f","unknown":[{"a":[1]}],"name":null}],[]]
        [{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"2","parentId":"0000000000000000","kind":"NEWER","debug":true}]
        {"traceId":"1","id":"3","tags":{"error":"true"},"duration":7}"#;
    let spans = decoded(ZipkinDecoder::json(), json);
    let traces: Vec<_> = spans.iter().map(|span| span.trace_id.as_str()).collect();
    let expected = [
        "463ac35c9f6413ad48485a3953bb6124",
        "00000000000000000000000000000001",
        "000000000000000048485a3953bb6124",
    ];
    assert_eq!(traces, expected);
    assert_eq!(
        (&spans[0].parent, spans[0].kind),
        (&None, Kind::Unspecified)
    );
    assert_eq!(spans[0].attributes["zipkin.debug"], Value::Bool(true));
    assert_eq!(spans[1].status, (Status::Error, String::new()));
    assert_eq!((spans[1].start, spans[1].end), (0, 7_000));
}

/// As `populateStatus` of contrib's `pkg/translator/zipkin/zipkinv2/from_translator.go` writes them, in 0.155.0.
#[test]
fn a_collectors_words_for_a_status_are_understood() {
    let json = br#"[{"traceId":"1","id":"1","tags":{"otel.status_code":"STATUS_CODE_OK"}},
        {"traceId":"1","id":"2","tags":{"otel.status_code":"STATUS_CODE_ERROR","error":"why","otel.status_description":"why"}},
        {"traceId":"1","id":"3","tags":{"otel.status_code":"STATUS_CODE_ERROR","error":"true"}},
        {"traceId":"1","id":"4","tags":{"otel.status_code":"STATUS_CODE_ODD"}}]"#;
    let spans = decoded(ZipkinDecoder::json(), json);
    let found: Vec<_> = spans.iter().map(|span| span.status.clone()).collect();
    let expected = [
        (Status::Ok, String::new()),
        (Status::Error, "why".to_owned()),
        (Status::Error, String::new()),
        (Status::Unset, String::new()),
    ];
    assert_eq!(found, expected);
    for span in &spans[..3] {
        assert!(span.attributes.is_empty(), "{span:?}");
    }
    assert_eq!(
        spans[3].attributes["otel.status_code"],
        Value::from("STATUS_CODE_ODD")
    );
}

#[test]
fn what_is_no_list_of_spans_is_told() {
    let deep = br#"[[[{"traceId":"1","id":"2"}]]]"#;
    let cases: [(&[u8], &str); 5] = [
        (deep, "nested deeper"),
        (b"7", "expected a span or a list of spans"),
        (b"[{\"id\":\"1\"}]", "missing field `traceId`"),
        (
            b"[{\"traceId\":\"1\",\"id\":\"1\",\"tags\":{\"a\":1}}]",
            "invalid type: integer `1`",
        ),
        (
            b"[{\"traceId\":\"1\",\"id\":\"1\",\"timestamp\":-5}]",
            "invalid value: integer `-5`",
        ),
    ];
    for (json, message) in cases {
        let error = decode(ZipkinDecoder::json(), json).1.unwrap_err();
        assert!(error.message.contains(message), "{error}");
    }
    assert!(decode(ZipkinDecoder::json(), b" \n").1.is_ok());
    let brackets = vec![b'['; 1 << 20];
    assert!(decode(ZipkinDecoder::json(), &brackets).1.is_err());
}

/// What `V1SpanConverterTest` of Zipkin calls a shared span.
#[test]
fn a_span_that_both_sides_marked_becomes_two() {
    let json =
        br#"[{"traceId":"1","parentId":"1","id":"2","name":"get","timestamp":1000,"duration":500,
        "annotations":[
            {"timestamp":1000,"value":"cs","endpoint":{"serviceName":"web","ipv4":"192.0.2.1"}},
            {"timestamp":1100,"value":"sr","endpoint":{"serviceName":"app"}},
            {"timestamp":1300,"value":"ss","endpoint":{"serviceName":"app"}},
            {"timestamp":1500,"value":"cr","endpoint":{"serviceName":"web","ipv4":"192.0.2.1"}},
            {"timestamp":1200,"value":"step"}],
        "binaryAnnotations":[
            {"key":"a","value":"asks","endpoint":{"serviceName":"web","ipv4":"192.0.2.1"}},
            {"key":"b","value":"answers","endpoint":{"serviceName":"app"}},
            {"key":"n","value":7},
            {"key":"sa","value":true,"endpoint":{"serviceName":"far","port":80}}]}]"#;
    let mut spans = decoded(ZipkinDecoder::json_v1(), json);
    spans.sort_by_key(|span| span.start);
    let (client, server) = (&spans[0], &spans[1]);
    assert_eq!(
        (client.service.as_str(), client.kind),
        ("web", Kind::Client)
    );
    assert_eq!((client.start, client.end), (1_000_000, 1_500_000));
    assert_eq!(client.events.len(), 1);
    assert_eq!(client.attributes["a"], Value::from("asks"));
    assert_eq!(client.attributes["peer.service"], Value::from("far"));
    assert_eq!(
        (server.service.as_str(), server.kind),
        ("app", Kind::Server)
    );
    assert_eq!((server.start, server.end), (1_100_000, 1_300_000));
    assert_eq!(server.attributes["zipkin.shared"], Value::Bool(true));
    assert_eq!(server.attributes["b"], Value::from("answers"));
    assert_eq!(
        (client.id.as_str(), server.id.as_str()),
        ("0000000000000002", "0000000000000002")
    );
    assert_eq!(client.parent, server.parent);
}

#[test]
fn shared_spans_and_local_addresses_go_round() {
    let mut batch = batch_of(vec![span_with(&[("zipkin.shared", Plain::Bool(true))])]);
    batch.trees[0].spans[0].kind = Kind::Server;
    let address = (
        "network.local.address".to_owned(),
        Plain::text("2001:db8::1"),
    );
    batch.resources[0].attributes.push(address);
    let trees = batch.build();
    let json = payload(&mut ZipkinJsonEncoder::new(), &trees);
    let (found, result) = decode(ZipkinDecoder::json(), &json);
    result.unwrap();
    let again = hiq_core::batch::TreeBatch::new(found);
    assert_eq!(payload(&mut ZipkinJsonEncoder::new(), &again), json);
    let v1 = payload(&mut ZipkinJsonV1Encoder::new(), &again);
    let spans = decoded(ZipkinDecoder::json_v1(), &v1);
    assert_eq!(spans[0].attributes["zipkin.shared"], Value::Bool(true));
}

#[test]
fn a_long_list_is_handed_out_in_parts() {
    const SPANS: usize = 40_000;
    let spans = (1..=SPANS as u64).map(|id| {
        let mut span = SpanIn::new(id, "s");
        span.parent = (id > 1).then_some(0);
        span
    });
    let trees = batch_of(spans.collect()).build();
    let json = payload(&mut ZipkinJsonEncoder::new(), &trees);
    let (fragments, result) = decode(ZipkinDecoder::json(), &json);
    result.unwrap();
    let sizes: Vec<usize> = fragments.iter().map(|tree| tree.len()).collect();
    assert_eq!(sizes, [16_384, 16_384, SPANS - 2 * 16_384]);
    let parent = |tree: usize| fragments[tree].spans().next().unwrap().parent_id();
    assert_eq!(parent(0), None);
    assert!(parent(1).is_some(), "a part knows its parent");
}
