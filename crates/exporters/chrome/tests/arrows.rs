//! A span in another thread than its parent's is joined to it by a flow, and nothing else is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use hiq_chrome::{ChromeDecoder, ChromeEncoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::decode::Decoder as _;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::thread::Thread;
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::Value as Attribute;
use prost::Message;
use serde_json::Value;

const NOON: u64 = 1_700_000_000_000_000_000;

/// The program: `work` in one thread, `job`s in others, which end before it; a request of another process is served in `serve`.
struct Program {
    trace: TraceId,
    resource: Arc<Resource>,
    work: SpanId,
    jobs: [SpanId; 2],
}

impl Program {
    fn new() -> Self {
        let attributes = [
            ("service.name".to_owned(), Attribute::from("shop")),
            ("process.pid".to_owned(), Attribute::Int(77)),
        ];
        Self {
            trace: TraceId::random(),
            resource: Arc::new(Resource::new(attributes)),
            work: SpanId::next(),
            jobs: [SpanId::next(), SpanId::next()],
        }
    }

    /// One tree: a root, and in it a call.
    fn tree(
        &self,
        thread: u64,
        parent: SpanId,
        is_remote: bool,
        root: (SpanId, &str, [u64; 2]),
    ) -> Arc<SpanTree> {
        let scope = Arc::new(Scope::new("shop", "1"));
        let mut start = TreeStart::new(self.trace, Arc::clone(&self.resource), scope);
        start.parent = parent;
        start.parent_is_remote = is_remote;
        start.thread = Thread::new(thread, "");
        let mut tree = TreeBuilder::new(start, SpanLimits::default());
        let (id, name, [begin, end]) = root;
        for (id, name, parent, begin, end) in [
            (id, name, None, begin, end),
            (SpanId::next(), "call", Some(0), begin + 10, end - 10),
        ] {
            let name = tree.symbol(name);
            let span = tree.start_with_id(id, name, SiteId::NONE, parent, NOON + begin);
            tree.end(span, NOON + end);
        }
        Arc::new(tree.finish())
    }

    fn job(&self, number: u8) -> Arc<SpanTree> {
        let begin = 1_000 + u64::from(number) * 100;
        let root = (
            self.jobs[usize::from(number)],
            "job",
            [begin, begin + 1_000],
        );
        self.tree(100 + u64::from(number), self.work, false, root)
    }

    fn work(&self) -> Arc<SpanTree> {
        self.tree(9, SpanId::INVALID, false, (self.work, "work", [0, 5_000]))
    }

    fn serve(&self) -> Arc<SpanTree> {
        let root = (SpanId::next(), "serve", [6_000, 7_000]);
        self.tree(9, SpanId::next(), true, root)
    }

    /// Batches in the order in which trees end.
    fn batches(&self) -> [TreeBatch; 3] {
        [
            TreeBatch::new(vec![self.job(0)]),
            TreeBatch::new(vec![self.job(1), self.work()]),
            TreeBatch::new(vec![self.serve()]),
        ]
    }
}

fn payloads(
    encoder: &mut dyn Encoder<TreeBatch>,
    batches: &[TreeBatch],
    max_bytes: usize,
) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for batch in batches {
        let mut cursor = batch.cursor();
        loop {
            let mut payload = Vec::new();
            let encoded = encoder.encode(&mut cursor, &Limits::bytes(max_bytes), &mut payload);
            assert_eq!(encoded.items_left_out(), 0);
            payloads.push(payload);
            if !encoded.more {
                break;
            }
        }
    }
    payloads
}

/// The events of all documents.
fn events(payloads: &[Vec<u8>]) -> Vec<Value> {
    let documents = payloads
        .iter()
        .map(|payload| serde_json::from_slice::<Value>(payload).unwrap());
    documents
        .flat_map(|document| document["traceEvents"].as_array().unwrap().clone())
        .collect()
}

/// Where an event is drawn.
fn place(event: &Value) -> [&Value; 3] {
    [&event["pid"], &event["tid"], &event["ts"]]
}

fn check_json(max_bytes: usize) {
    let program = Program::new();
    let payloads = payloads(&mut ChromeEncoder::new(), &program.batches(), max_bytes);
    let events = events(&payloads);
    let of =
        |ph: &str| -> Vec<&Value> { events.iter().filter(|event| event["ph"] == ph).collect() };
    let slice = |id: SpanId| {
        let id = id.to_string();
        let found = of("X")
            .into_iter()
            .find(|event| event["args"]["hiq.span_id"] == id.as_str());
        place(found.unwrap())
    };
    for (ph, at) in [("s", [program.work; 2]), ("f", program.jobs)] {
        let ends = of(ph);
        assert_eq!(ends.len(), 2, "{ph}");
        for (job, slice_of) in program.jobs.iter().zip(at) {
            let id = format!("0x{job}");
            let end = ends.iter().find(|end| end["id"] == id.as_str()).unwrap();
            assert_eq!(place(end), slice(slice_of), "{ph}");
            assert_eq!(
                (&end["cat"], &end["name"]),
                (&"hiq.child".into(), &"child".into())
            );
        }
    }
    assert!(of("f").iter().all(|end| end["bp"] == "e"));
}

#[test]
fn chrome_json_joins_parent_and_child_at_their_slices() {
    check_json(usize::MAX);
}

#[test]
fn what_was_taken_back_for_lack_of_room_is_joined_all_the_same() {
    check_json(1_500);
}

#[test]
fn arrows_are_not_read_back_as_links() {
    let program = Program::new();
    let mut links = 0;
    let mut spans = 0;
    let batch = TreeBatch::new(vec![program.job(0), program.job(1), program.work()]);
    for payload in payloads(&mut ChromeEncoder::new(), &[batch], usize::MAX) {
        let read = &mut |tree: Arc<SpanTree>| {
            spans += tree.len();
            links += tree.spans().map(|span| span.links().len()).sum::<usize>();
        };
        ChromeDecoder::new().decode(&payload, read).unwrap();
    }
    assert_eq!((spans, links), (6, 0));
}

/// The parts of `perfetto.protos.Trace` that are looked at.
#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packets: Vec<Packet>,
}

#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(message, optional, tag = "11")]
    event: Option<TrackEvent>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(int32, tag = "9")]
    kind: i32,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
}

#[test]
fn perfetto_joins_parent_and_child_at_their_slices() {
    const SLICE_BEGIN: i32 = 1;
    let program = Program::new();
    let payloads = payloads(&mut PerfettoEncoder::new(), &program.batches(), usize::MAX);
    // Payloads one after the other are one trace.
    let trace = Trace::decode(&payloads.concat()[..]).unwrap();
    let mut flows = Vec::new();
    for packet in trace.packets {
        let event = packet.event.unwrap_or_default();
        let at = packet.timestamp.unwrap_or_default().saturating_sub(NOON);
        assert!(event.flow_ids.is_empty() || event.kind == SLICE_BEGIN);
        flows.extend(event.flow_ids.iter().map(|id| (*id, at)));
    }
    flows.sort_unstable();
    let [first, second] = program.jobs.map(|job| job.0);
    let mut expected = [(first, 0), (first, 1_000), (second, 0), (second, 1_100)];
    expected.sort_unstable();
    assert_eq!(flows, expected);
}

#[test]
fn a_child_on_its_parents_track_has_no_arrow() {
    let program = Program::new();
    // What ended while its root stayed open leaves before it, and is drawn in it.
    let early = program.tree(
        9,
        program.work,
        false,
        (SpanId::next(), "early", [100, 200]),
    );
    let batches = [
        TreeBatch::new(vec![early]),
        TreeBatch::new(vec![program.work()]),
    ];
    let payloads = payloads(&mut ChromeEncoder::new(), &batches, usize::MAX);
    let events = events(&payloads);
    assert!(events.iter().all(|event| event["ph"] != "s"));
}

#[test]
fn a_parent_of_too_many_for_a_payload_has_as_many_arrows_as_fit() {
    let program = Program::new();
    let jobs = (0..100).map(|thread| {
        let root = (SpanId::next(), "job", [1_000, 2_000]);
        program.tree(100 + thread, program.work, false, root)
    });
    let batches = [
        TreeBatch::new(jobs.collect()),
        TreeBatch::new(vec![program.work()]),
    ];
    let payloads = payloads(&mut ChromeEncoder::new(), &batches, 4_096);
    let events = events(&payloads);
    let count = |ph: &str| events.iter().filter(|event| event["ph"] == ph).count();
    assert_eq!(count("X"), 202);
    assert!((5..50).contains(&count("s")), "{}", count("s"));
    assert_eq!(count("f"), count("s"));
}

#[test]
fn a_child_whose_parent_never_comes_leaves_no_end_of_an_arrow() {
    let program = Program::new();
    let batches = [TreeBatch::new(vec![program.job(0), program.job(1)])];
    let payloads = payloads(&mut ChromeEncoder::new(), &batches, usize::MAX);
    let events = events(&payloads);
    assert!(events.iter().all(|event| event["ph"] != "f"));
}
