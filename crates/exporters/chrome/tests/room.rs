//! What shares a row, and what has to move to another one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::sync::Arc;

use hiq_chrome::ChromeEncoder;
use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::SiteId;
use hiq_core::resource::Resource;
use hiq_core::thread::Thread;
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use serde_json::Value;

const NOON: u64 = 1_700_000_000_000_000_000;

/// A thread of one process.
#[derive(Default)]
struct Program {
    resource: Arc<Resource>,
}

/// Where a span hangs: its trace, its parent, and the root that it left before.
struct Above(TraceId, SpanId, SpanId);

fn nothing() -> Above {
    Above(TraceId::random(), SpanId::INVALID, SpanId::INVALID)
}

impl Program {
    fn span(&self, name: &str, id: SpanId, above: &Above, times: [u64; 2]) -> Arc<SpanTree> {
        let mut start = TreeStart::new(above.0, Arc::clone(&self.resource), Arc::default());
        start.thread = Thread::new(9, "worker");
        (start.parent, start.root) = (above.1, above.2);
        let mut tree = TreeBuilder::new(start, SpanLimits::default());
        let name = tree.symbol(name);
        let span = tree.start_with_id(id, name, SiteId::NONE, None, NOON + times[0]);
        tree.end(span, NOON + times[1]);
        Arc::new(tree.finish())
    }
}

/// The row of each span by its name, when the trees come one after the other.
fn rows(trees: impl IntoIterator<Item = Arc<SpanTree>>) -> HashMap<String, u64> {
    let mut encoder = ChromeEncoder::new();
    let mut rows = HashMap::new();
    for tree in trees {
        let (batch, mut out) = (TreeBatch::new(vec![tree]), Vec::new());
        encoder.encode(&mut batch.cursor(), &Limits::bytes(usize::MAX), &mut out);
        let document: Value = serde_json::from_slice(&out).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        let slices = events.iter().filter(|event| event["ph"] == "X");
        let row = |event: &Value| {
            let name = event["name"].as_str().unwrap().to_owned();
            (name, event["tid"].as_u64().unwrap())
        };
        rows.extend(slices.map(row));
    }
    rows
}

#[test]
fn what_left_before_its_root_keeps_the_row_for_it() {
    let (program, root) = (Program::default(), SpanId::next());
    let above = nothing();
    let early = Above(above.0, root, root);
    let rows = rows([
        program.span("early", SpanId::next(), &early, [10, 20]),
        program.span("another", SpanId::next(), &nothing(), [30, 40]),
        program.span("later", SpanId::next(), &early, [50, 60]),
        program.span("root", root, &above, [0, 100]),
        program.span("behind", SpanId::next(), &nothing(), [200, 300]),
    ]);
    assert_eq!(
        [rows["early"], rows["later"], rows["behind"]],
        [rows["root"]; 3]
    );
    assert_ne!(rows["another"], rows["root"]);
}

#[test]
fn a_span_stands_inside_no_other_than_its_parents() {
    let (program, parent) = (Program::default(), SpanId::next());
    let above = nothing();
    let child = Above(above.0, parent, SpanId::INVALID);
    let rows = rows([
        program.span("child", SpanId::next(), &child, [10, 20]),
        program.span("stranger", SpanId::next(), &nothing(), [0, 30]),
        program.span("parent", parent, &above, [5, 25]),
    ]);
    assert_eq!(rows["child"], rows["parent"]);
    assert_ne!(rows["child"], rows["stranger"]);
}

#[test]
fn a_long_row_knows_what_stands_on_it() {
    let program = Program::default();
    let many = (0..5_000).map(|number| {
        let name = format!("span {number}");
        let times = [number * 100, number * 100 + 50];
        program.span(&name, SpanId::next(), &nothing(), times)
    });
    let overlapping = [1_000, 2_500, 4_990].map(|number| {
        let times = [number * 100 + 25, number * 100 + 75];
        program.span("overlapping", SpanId::next(), &nothing(), times)
    });
    for overlapping in overlapping {
        let rows = rows(many.clone().chain([overlapping]));
        assert!((0..5_000).all(|number| rows[&format!("span {number}")] == rows["span 0"]));
        assert_ne!(rows["overlapping"], rows["span 0"]);
    }
}
