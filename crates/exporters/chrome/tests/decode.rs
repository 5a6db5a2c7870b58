//! Traces that others wrote are read as they meant them, ours lose nothing but what the table says, and bytes that nobody meant
//! do no harm.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use hiq_chrome::{ChromeDecoder, ChromeEncoder, PerfettoDecoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::decode::DecodeError;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::span::Span;
use hiq_core::time::UnixNanos;
use hiq_core::tree::SpanTree;
use hiq_core::value::{Value, ValueRef};
use hiq_testkit::spans::{arbitrary, sorted};
use proptest::prelude::*;
use support::{Lost, normalised, read_trees, tamed};

const VIZTRACER: &str = include_str!("golden/viztracer.json");

fn read(json: &[u8]) -> (Vec<Arc<SpanTree>>, Result<(), DecodeError>) {
    let mut trees = Vec::new();
    let mut source = json;
    let result = ChromeDecoder::new().read(&mut source, &mut |tree| trees.push(tree));
    (trees, result)
}

fn read_well(json: &str) -> Vec<Arc<SpanTree>> {
    let (trees, result) = read(json.as_bytes());
    result.unwrap();
    trees
}

fn read_perfetto(trace: &[u8]) -> (Vec<Arc<SpanTree>>, Result<(), DecodeError>) {
    let mut trees = Vec::new();
    let mut source = trace;
    let result = PerfettoDecoder::new().read(&mut source, &mut |tree| trees.push(tree));
    (trees, result)
}

fn encode(batch: &TreeBatch) -> Vec<u8> {
    encode_with(&mut ChromeEncoder::new(), batch)
}

fn encode_with(encoder: &mut impl Encoder<TreeBatch>, batch: &TreeBatch) -> Vec<u8> {
    let mut out = Vec::new();
    let limits = Limits::bytes(usize::MAX);
    encoder.encode(&mut batch.cursor(), &limits, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_the_encoder_writes_is_read_back(input in arbitrary::batch()) {
        let input = tamed(input);
        let expected = normalised(input.expected(), Lost::InJson);
        let json = encode(&input.build());
        prop_assume!(!json.is_empty());
        let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
        prop_assert!(document["traceEvents"].is_array());
        let (trees, result) = read(&json);
        prop_assert!(result.is_ok(), "{result:?}");
        let found = sorted(trees.iter().flat_map(|tree| read_trees(tree)).collect());
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_the_perfetto_encoder_writes_is_read_back(input in arbitrary::batch()) {
        let input = tamed(input);
        let expected = normalised(input.expected(), Lost::InAnnotations);
        let trace = encode_with(&mut PerfettoEncoder::new(), &input.build());
        let (trees, result) = read_perfetto(&trace);
        prop_assert!(result.is_ok(), "{result:?}");
        let found = sorted(trees.iter().flat_map(|tree| read_trees(tree)).collect());
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn damaged_documents_are_read_or_refused(
        input in arbitrary::batch(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut json = encode(&input.build());
        prop_assume!(!json.is_empty());
        for (place, byte) in damage {
            let place = place.index(json.len());
            json[place] = byte;
        }
        let _ = read(&json);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&[b"{\"traceEvents\":[", &bytes[..]].concat());
        let _ = read_perfetto(&bytes);
    }
}

fn names_above(tree: &SpanTree, span: Span<'_>) -> Vec<String> {
    let parent = span
        .parent_index()
        .and_then(|parent| tree.span(parent as usize));
    parent.map_or_else(Vec::new, |parent| {
        let mut names = names_above(tree, parent);
        names.push(function(parent));
        names
    })
}

fn function(span: Span<'_>) -> String {
    match span
        .attributes()
        .find(|(key, _)| key.as_str() == "code.function.name")
    {
        Some((_, ValueRef::Text(name))) => name.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn attribute(span: Span<'_>, key: &str) -> Option<Value> {
    let mut attributes = span.attributes();
    attributes
        .find(|(own, _)| own.as_str() == key)
        .map(|(_, value)| value.to_value())
}

#[test]
fn a_report_of_viztracer_becomes_the_calls_of_its_program() {
    let trees = read_well(VIZTRACER);
    let mut stacks = Vec::new();
    for tree in &trees {
        for span in tree
            .spans()
            .filter(|span| span.name().as_str().contains("/srv/app/"))
        {
            let thread = tree.thread().name().as_str().to_owned();
            let own: Vec<_> = names_above(tree, span)
                .into_iter()
                .filter(|name| !name.contains("Thread") && !name.starts_with("builtins"))
                .chain([function(span)])
                .collect();
            stacks.push((thread, own.join(" > ")));
        }
    }
    stacks.sort();
    // What the program does: a thread that calls middle(2), then Shop().sell(), which does.
    let thread = "w \"1\"".to_owned();
    let main = "MainThread".to_owned();
    let expected = [
        (main.clone(), "<module>".to_owned()),
        (main.clone(), "<module> > Shop".to_owned()),
        (main.clone(), "<module> > Shop.sell".to_owned()),
        (main.clone(), "<module> > Shop.sell > middle".to_owned()),
        (
            main.clone(),
            "<module> > Shop.sell > middle > leaf".to_owned(),
        ),
        (main, "<module> > Shop.sell > middle > leaf".to_owned()),
        (thread.clone(), "middle".to_owned()),
        (thread.clone(), "middle > leaf".to_owned()),
        (thread, "middle > leaf".to_owned()),
    ];
    assert_eq!(stacks, expected);
}

#[test]
fn a_function_of_a_report_tells_its_place_arguments_and_times() {
    let trees = read_well(VIZTRACER);
    let all = || trees.iter().flat_map(|tree| tree.spans());
    let leaf = all()
        .find(|span| span.name().as_str() == "leaf (/srv/app/small.py:2)")
        .unwrap();
    assert_eq!(
        attribute(leaf, "code.file.path"),
        Some("/srv/app/small.py".into())
    );
    assert_eq!(attribute(leaf, "code.line.number"), Some(Value::Int(2)));
    let arguments = Value::Map(vec![("n".to_owned(), "0".into())]);
    assert_eq!(attribute(leaf, "func_args"), Some(arguments));
    assert_eq!(attribute(leaf, "return_value"), Some("1".into()));
    let in_c = all()
        .find(|span| span.name().as_str() == "dict.get")
        .unwrap();
    assert_eq!(function(in_c), "dict.get");
    assert_eq!(attribute(in_c, "code.file.path"), None);
    let resource = leaf.tree().resource();
    assert_eq!(resource.service_name(), "MainProcess");
    assert_eq!(
        resource.attribute("process.pid"),
        Some(ValueRef::Int(17_950))
    );
    // Every time in the file, to the nanosecond.
    let document: serde_json::Value = serde_json::from_str(VIZTRACER).unwrap();
    let events = document["traceEvents"].as_array().unwrap();
    let nanos = |number: &serde_json::Value| {
        let text = number.to_string();
        let (whole, decimals) = text.split_once('.').unwrap();
        format!("{whole}{decimals:0<3}").parse::<u64>().unwrap()
    };
    let calls = events.iter().filter(|event| event["ph"] == "X");
    let mut expected: Vec<_> = calls
        .map(|call| (nanos(&call["ts"]), nanos(&call["dur"])))
        .collect();
    let mut found: Vec<_> = all()
        .map(|span| (span.start().0, span.duration_nanos()))
        .collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn pages_and_gzip_are_the_same_report() {
    use std::io::Write as _;
    let count = |trees: &[Arc<SpanTree>]| trees.iter().map(|tree| tree.len()).sum::<usize>();
    let expected = count(&read_well(VIZTRACER));
    assert_eq!(expected, 48);
    let page = format!("<!DOCTYPE html><script>\njson_data = {VIZTRACER}\n</script>");
    assert_eq!(count(&read_well(&page)), expected);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(VIZTRACER.as_bytes()).unwrap();
    let (trees, result) = read(&gzip.finish().unwrap());
    result.unwrap();
    assert_eq!(count(&trees), expected);
}

#[test]
fn a_report_that_was_cut_anywhere_gives_what_is_whole_and_says_where_it_ends() {
    let whole = VIZTRACER.find("\"viztracer_metadata\"").unwrap();
    let ends: Vec<usize> = VIZTRACER
        .match_indices("},\n{")
        .map(|(at, _)| at + 1)
        .collect();
    for end in (0..VIZTRACER.len()).step_by(7).chain([whole]) {
        let (trees, result) = read(&VIZTRACER.as_bytes()[..end]);
        let spans: usize = trees.iter().map(|tree| tree.len()).sum();
        let events = ends.iter().filter(|at| **at <= end).count();
        // Three say who the threads are.
        let expected = events.saturating_sub(3);
        assert!(
            (expected..=expected + 1).contains(&spans),
            "{end}: {spans} of {events}"
        );
        let error = result.unwrap_err();
        assert!(error.offset <= end, "{error}");
    }
    let (_, result) = read(&VIZTRACER.as_bytes()[..whole - 40]);
    let message = result.unwrap_err().to_string();
    assert!(
        message.contains("it was cut, or is still being written"),
        "{message}"
    );
}

#[test]
fn a_perfetto_trace_that_was_cut_gives_what_is_whole_and_says_where_it_ends() {
    let batch = TreeBatch::new(vec![Arc::new(hiq_testkit::trees::tree_of(20).0)]);
    let trace = encode_with(&mut PerfettoEncoder::new(), &batch);
    let mut before = 0;
    for cut in 0..trace.len() {
        let (trees, result) = read_perfetto(&trace[..cut]);
        let spans: usize = trees.iter().map(|tree| tree.len()).sum();
        assert!((before..=20).contains(&spans), "{cut}: {spans} spans");
        before = spans;
        if let Err(error) = result {
            assert!(error.to_string().contains("it was cut"), "{error}");
            assert_eq!(error.offset, cut);
        }
    }
    assert_eq!(before, 20);
    let (_, result) = read_perfetto(b"my diary");
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("this is no packet of a trace")
    );
}

fn plain(events: &str) -> Vec<(String, u64, u64, Option<String>, usize)> {
    let trees = read_well(&format!("[{events}]"));
    let mut found = Vec::new();
    for tree in &trees {
        for span in tree.spans() {
            let parent = span
                .parent_index()
                .and_then(|parent| tree.span(parent as usize));
            let parent = parent.map(|parent| parent.name().as_str().to_owned());
            let name = span.name().as_str().to_owned();
            found.push((
                name,
                span.start().0,
                span.end().0,
                parent,
                span.events().len(),
            ));
        }
    }
    found.sort();
    found
}

#[test]
fn begin_and_end_async_and_unfinished_spans_are_spans() {
    let found = plain(
        r#"{"ph":"B","name":"outer","pid":1,"tid":2,"ts":1},
        {"ph":"B","name":"inner","pid":1,"tid":2,"ts":"2.5"},
        {"ph":"i","name":"now","pid":1,"tid":2,"ts":2.6,"s":"t","args":null},
        {"ph":"C","name":"mem","pid":1,"tid":2,"ts":2.7,"args":{"a":1.5}},
        {"ph":"E","pid":1,"tid":2,"ts":3},
        {"ph":"E","pid":9,"tid":9,"ts":3},
        {"ph":"b","name":"request","cat":"net","id":"0x1","pid":1,"tid":2,"ts":0},
        {"ph":"e","name":"request","cat":"net","id":"0x1","pid":1,"tid":3,"ts":9},
        {"ph":"X","name":"last","pid":1,"tid":2,"ts":4,"dur":1e0},
        {"ph":"X","name":"no time","pid":1,"tid":2,"ts":NaN,"dur":1},"#,
    );
    let expected = [
        ("inner", 2_500, 3_000, Some("outer"), 2),
        ("last", 4_000, 5_000, Some("outer"), 0),
        ("outer", 1_000, 5_000, None, 0),
        ("request", 0, 9_000, None, 0),
    ];
    let expected = expected.map(|(name, start, end, parent, events)| {
        (
            name.to_owned(),
            start,
            end,
            parent.map(str::to_owned),
            events,
        )
    });
    assert_eq!(found, expected);
}

#[test]
fn equal_times_nest_by_the_order_of_the_file_which_viztracer_turns_round() {
    let events = r#"{"ph":"X","name":"a","pid":1,"tid":1,"ts":5,"dur":5},{"ph":"X","name":"b","pid":1,"tid":1,"ts":5,"dur":5}"#;
    let parent_of = |json: &str, name: &str| {
        let trees = read_well(json);
        let tree = &trees[0];
        let span = tree
            .spans()
            .find(|span| span.name().as_str() == name)
            .unwrap();
        let parent = span
            .parent_index()
            .and_then(|parent| tree.span(parent as usize));
        parent.map(|parent| parent.name().as_str().to_owned())
    };
    let plain = format!("{{\"traceEvents\":[{events}]}}");
    assert_eq!(parent_of(&plain, "b"), Some("a".to_owned()));
    let report =
        format!("{{\"traceEvents\":[{events}],\"viztracer_metadata\":{{\"version\":\"1.1.1\"}}}}");
    assert_eq!(parent_of(&report, "a"), Some("b".to_owned()));
}

#[test]
fn a_forked_childs_repeated_events_count_once() {
    let event = |pid: u32, ts: u32, name: &str| {
        format!(
            "{{\"ph\":\"X\",\"name\":\"{name}\",\"pid\":{pid},\"tid\":1,\"ts\":{ts},\"dur\":1}}"
        )
    };
    let events = [
        event(1, 10, "before"),
        event(1, 30, "parent"),
        event(2, 10, "before"),
        event(2, 40, "child"),
        event(1, 10, "before"),
    ];
    let names: Vec<_> = plain(&events.join(","))
        .into_iter()
        .map(|span| span.0)
        .collect();
    // The same event twice in one process is two events.
    assert_eq!(names, ["before", "before", "child", "parent"]);
}

#[test]
fn flows_become_links_whichever_end_comes_first() {
    let trees = read_well(
        r#"[{"ph":"X","name":"from","pid":1,"tid":1,"ts":1,"dur":9},
        {"ph":"s","name":"f","cat":"c","id":7,"pid":1,"tid":1,"ts":2},
        {"ph":"X","name":"to","pid":1,"tid":2,"ts":5,"dur":9},
        {"ph":"f","bp":"e","name":"f","cat":"c","id":"7","pid":1,"tid":2,"ts":6}]"#,
    );
    let spans: Vec<_> = trees.iter().flat_map(|tree| tree.spans()).collect();
    let [from, to] = ["from", "to"].map(|name| {
        spans
            .iter()
            .copied()
            .find(|span| span.name().as_str() == name)
            .unwrap()
    });
    assert_eq!(from.links().len() + to.links().len(), 1);
    assert_eq!(to.links().next().unwrap().span_id(), from.id());
}

#[test]
fn the_base_of_the_times_is_the_files_or_the_callers() {
    let event = r#"{"ph":"X","name":"a","pid":1,"tid":1,"ts":5.001,"dur":1}"#;
    let start = |json: &str, decoder: ChromeDecoder| {
        let (mut found, mut decoder, mut source) = (0, decoder, json.as_bytes());
        let sink = &mut |tree: Arc<SpanTree>| found = tree.span(0).unwrap().start().0;
        decoder.read(&mut source, sink).unwrap();
        found
    };
    let own = format!(
        "{{\"traceEvents\":[{event}],\"viztracer_metadata\":{{\"baseTimeNanoseconds\":1700}}}}"
    );
    let none = format!("[{event}]");
    let (new, at) = (ChromeDecoder::new, |nanos| UnixNanos(nanos));
    assert_eq!(start(&own, new()), 1_700 + 5_001);
    assert_eq!(start(&own, new().with_fallback_base(at(9))), 1_700 + 5_001);
    assert_eq!(start(&own, new().with_base(at(100))), 100 + 5_001);
    assert_eq!(start(&none, new().with_fallback_base(at(9))), 9 + 5_001);
    assert_eq!(start(&none, new()), 5_001);
    let unix = r#"[{"ph":"X","name":"a","pid":1,"tid":1,"ts":1700000000000000.5,"dur":1}]"#;
    assert_eq!(
        start(unix, new().with_fallback_base(at(9))),
        1_700_000_000_000_000_500
    );
}

#[test]
fn hostile_documents_end_in_an_error_or_in_little_memory() {
    let deep = format!(
        "[{{\"ph\":\"X\",\"ts\":1,\"args\":{{\"a\":{}",
        "[".repeat(100_000)
    );
    assert!(read(deep.as_bytes()).1.is_err());
    let closed = format!(
        "[{{\"ph\":\"X\",\"ts\":1,\"dur\":1,\"args\":{{\"a\":{}{}}}}}]",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    assert_eq!(read_well(&closed).len(), 1);
    for (json, words) in [
        ("", "the file is empty"),
        ("7", "neither an object nor a list"),
        ("[7]", "an event is not an object"),
        ("[{\"ph\" 1}]", "a colon is missing"),
        ("[{\"ph\":1 2}]", "a comma or bracket is missing"),
        ("<html></html>", "not a report of VizTracer"),
        ("{\"traceEvents\":[", "it was cut"),
    ] {
        let message = read(json.as_bytes()).1.unwrap_err().to_string();
        assert!(message.contains(words), "{json}: {message}");
    }
    let open = "{\"ph\":\"B\",\"ts\":1,\"pid\":1,\"tid\":1},".repeat((1 << 20) + 1);
    let message = read(format!("[{open}").as_bytes())
        .1
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("more than a million spans are open at once"),
        "{message}"
    );
}
