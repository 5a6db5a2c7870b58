//! Counters that a trace holds are counters in what becomes of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use hiq_chrome::{ChromeDecoder, ChromeEncoder, PerfettoDecoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::decode::Decoder;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::tree::SpanTree;

fn read(decoder: &mut dyn Decoder, trace: &[u8]) -> Vec<Arc<SpanTree>> {
    let mut trees = Vec::new();
    let sink = &mut |tree| trees.push(tree);
    decoder.decode(trace, sink).unwrap();
    trees
}

fn encode(encoder: &mut dyn Encoder<TreeBatch>, trees: Vec<Arc<SpanTree>>) -> Vec<u8> {
    let mut out = Vec::new();
    let batch = TreeBatch::new(trees);
    encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
    out
}

#[test]
fn counters_are_counters_again() {
    let report = r#"{"traceEvents":[
        {"ph":"C","name":"memory","pid":1,"tid":1,"ts":2.5,"args":{"rss":1.5,"heap":7}},
        {"ph":"C","name":"odd","pid":1,"tid":1,"ts":2.6,"args":{"what":"words"}},
        {"ph":"X","name":"around","pid":1,"tid":1,"ts":1,"dur":5}],
        "baseTimeNanoseconds":1700000000000000000}"#;
    let mut json = encode(
        &mut ChromeEncoder::new(),
        read(&mut ChromeDecoder::new(), report.as_bytes()),
    );
    // By way of Perfetto too, and twice.
    for _ in 0..2 {
        let document: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        let of = |ph: &str| -> Vec<_> { events.iter().filter(|event| event["ph"] == ph).collect() };
        let [counter] = of("C")[..] else {
            panic!("{document}")
        };
        assert_eq!(counter["name"], "memory");
        assert_eq!(
            counter["args"],
            serde_json::json!({"rss": 1.5, "heap": 7.0})
        );
        let [around] = of("X")[..] else {
            panic!("{document}")
        };
        let since = counter["ts"].as_f64().unwrap() - around["ts"].as_f64().unwrap();
        assert!((since - 1.5).abs() < 0.001, "{since}");
        assert_eq!(of("i")[0]["name"], "odd");
        let trees = read(&mut ChromeDecoder::new(), &json);
        let trace = encode(&mut PerfettoEncoder::new(), trees);
        let trees = read(&mut PerfettoDecoder::new(), &trace);
        json = encode(&mut ChromeEncoder::new(), trees);
    }
}
