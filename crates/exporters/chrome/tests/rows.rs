//! A trace that was read in fragments is drawn as its program ran: every thread on one row, every call in the one that made it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use hiq_chrome::{ChromeDecoder, ChromeEncoder, PerfettoDecoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::decode::Decoder;
use hiq_core::encode::{Encoder, Limits};
use prost::Message;
use serde_json::Value;

/// What the program itself notes of its calls: thread and name of the call, and the name of the calling one.
type Calls = HashMap<String, (u32, Option<String>)>;

/// A program whose profiler writes a call when it ends, as `VizTracer` does.
#[derive(Default)]
struct Program {
    thread: u32,
    nanos: u64,
    stack: Vec<(String, u64)>,
    report: String,
    calls: Calls,
}

impl Program {
    fn run(threads: &[fn(&mut Self)]) -> Self {
        let mut program = Self::default();
        for (thread, body) in (100..).zip(threads) {
            (program.thread, program.nanos) = (thread, 10_000);
            body(&mut program);
        }
        program
    }

    fn call(&mut self, body: impl FnOnce(&mut Self)) {
        let name = format!("call {}", self.calls.len());
        let caller = self.stack.last().map(|(name, _)| name.clone());
        self.calls.insert(name.clone(), (self.thread, caller));
        self.nanos += 1;
        self.stack.push((name, self.nanos));
        body(self);
        self.nanos += 1;
        let (name, start) = self.stack.pop().unwrap();
        let [ts, dur] = [start, self.nanos - start]
            .map(|nanos| format!("{}.{:03}", nanos / 1000, nanos % 1000));
        let thread = self.thread;
        writeln!(
            self.report,
            r#"{{"ph":"X","cat":"fee","name":"{name}","pid":9,"tid":{thread},"ts":{ts},"dur":{dur}}},"#
        )
        .unwrap();
    }

    fn fib(&mut self, n: u32) {
        self.call(|program| {
            if n >= 2 {
                program.fib(n - 1);
                program.fib(n - 2);
            }
        });
    }

    /// Calls something, then itself.
    fn descend(&mut self, levels: u32) {
        self.call(|program| {
            for _ in 0..10 {
                program.call(|_| {});
            }
            if levels > 0 {
                program.descend(levels - 1);
            }
        });
    }

    fn document(&self) -> String {
        let events = self.report.trim_end_matches(",\n");
        format!(
            "{{\"traceEvents\":[{events}],\"viztracer_metadata\":{{\"version\":\"1.1.1\",\"baseTimeNanoseconds\":1700000000000000000}}}}"
        )
    }
}

fn programs() -> Vec<Program> {
    let many_leaves = |program: &mut Program| {
        program.call(|program| (0..9_000).for_each(|_| program.call(|_| {})));
    };
    let many_roots = |program: &mut Program| {
        (0..3_000).for_each(|_| program.fib(3));
        program.fib(16);
    };
    vec![
        Program::run(&[|program| program.fib(17)]),
        Program::run(&[many_leaves, |program| program.fib(16), many_roots]),
        Program::run(&[|program| program.descend(500)]),
    ]
}

/// What `decoder` reads of `document`, tree after tree as the pipeline would get them.
fn converted(
    decoder: &mut dyn Decoder,
    document: &[u8],
    encoder: &mut dyn Encoder<TreeBatch>,
) -> Vec<Vec<u8>> {
    let mut trees = Vec::new();
    decoder
        .decode(document, &mut |tree| trees.push(tree))
        .unwrap();
    let batch = TreeBatch::new(trees);
    let mut payloads = Vec::new();
    let mut cursor = batch.cursor();
    loop {
        let mut payload = Vec::new();
        let encoded = encoder.encode(&mut cursor, &Limits::bytes(usize::MAX), &mut payload);
        payloads.push(payload);
        if !encoded.more {
            return payloads;
        }
    }
}

/// A slice as a viewer lays it out: its row, its start, how it sorts among those that begin with it, and its end.
struct Slice {
    row: u64,
    start: u64,
    end: u64,
    name: String,
}

/// The slices around each slice, by the rule of viewers: on one row, the longer of two that begin at once is the outer one.
fn nested(mut slices: Vec<Slice>) -> HashMap<String, (u64, Option<String>)> {
    slices.sort_by_key(|slice| (slice.row, slice.start, u64::MAX - slice.end));
    let mut open: Vec<&Slice> = Vec::new();
    let mut found = HashMap::new();
    for slice in &slices {
        while open
            .pop_if(|around| around.row != slice.row || around.end <= slice.start)
            .is_some()
        {}
        if let Some(around) = open.last() {
            assert!(
                slice.end <= around.end,
                "{} overlaps {}",
                slice.name,
                around.name
            );
        }
        let around = open.last().map(|around| around.name.clone());
        found.insert(slice.name.clone(), (slice.row, around));
        open.push(slice);
    }
    found
}

/// Slices of a Chrome document, in nanoseconds.
fn slices(document: &Value) -> Vec<Slice> {
    let events = document["traceEvents"].as_array().unwrap();
    let nanos = |value: &Value| {
        let nanos = format!("{:.0}", value.as_f64().unwrap() * 1e3);
        nanos.parse::<u64>().unwrap()
    };
    let slices = events.iter().filter(|event| event["ph"] == "X");
    slices
        .map(|event| Slice {
            row: event["tid"].as_u64().unwrap(),
            start: nanos(&event["ts"]),
            end: nanos(&event["ts"]) + nanos(&event["dur"]),
            name: event["name"].as_str().unwrap().to_owned(),
        })
        .collect()
}

fn assert_drawn_as_run(calls: &Calls, found: &HashMap<String, (u64, Option<String>)>) {
    let rows: HashSet<_> = found.values().map(|(row, _)| *row).collect();
    let threads: HashSet<_> = calls.values().map(|(thread, _)| *thread).collect();
    assert_eq!(rows.len(), threads.len(), "a row for each thread");
    assert_eq!(found.len(), calls.len());
    for (name, (_, caller)) in calls {
        assert_eq!(&found[name].1, caller, "{name}");
    }
}

#[test]
fn a_report_is_drawn_in_chrome_json_as_its_program_ran() {
    for program in programs() {
        let report = program.document();
        let payloads = converted(
            &mut ChromeDecoder::new(),
            report.as_bytes(),
            &mut ChromeEncoder::new(),
        );
        let [payload] = &payloads[..] else {
            panic!("one document")
        };
        let document: Value = serde_json::from_slice(payload).unwrap();
        assert_drawn_as_run(&program.calls, &nested(slices(&document)));
        let rows: HashSet<_> = slices(&document).iter().map(|slice| slice.row).collect();
        let threads: HashSet<_> = program
            .calls
            .values()
            .map(|(thread, _)| u64::from(*thread))
            .collect();
        assert_eq!(rows, threads, "rows have the numbers of their threads");
        let text = std::str::from_utf8(payload).unwrap();
        assert!(!text.contains("hiq.child"), "no arrows");
        // Ours, with ids in it, read again.
        let again = converted(
            &mut ChromeDecoder::new(),
            payload,
            &mut ChromeEncoder::new(),
        );
        let document: Value = serde_json::from_slice(&again[0]).unwrap();
        assert_drawn_as_run(&program.calls, &nested(slices(&document)));
    }
}

/// The parts of `perfetto.protos.Trace` that are looked at.
#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packets: Vec<Packet>,
}

#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(uint64, tag = "8")]
    timestamp: u64,
    #[prost(message, optional, tag = "11")]
    event: Option<TrackEvent>,
    #[prost(message, optional, tag = "12")]
    interned: Option<Interned>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(int32, tag = "9")]
    kind: i32,
    #[prost(uint64, tag = "10")]
    name_iid: u64,
    #[prost(uint64, tag = "11")]
    track: u64,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Interned {
    #[prost(message, repeated, tag = "2")]
    names: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(uint64, tag = "1")]
    iid: u64,
    #[prost(string, tag = "2")]
    name: String,
}

/// What is around each slice, by the rule of the trace processor: events by time, equal ones in the order of the file, and an end
/// ends what began last.
fn nested_in_perfetto(trace: Trace) -> HashMap<String, (u64, Option<String>)> {
    let (mut names, mut by_time) = (HashMap::new(), BTreeMap::<_, Vec<_>>::new());
    for packet in trace.packets {
        let interned = packet.interned.unwrap_or_default().names;
        names.extend(interned.into_iter().map(|named| (named.iid, named.name)));
        if let Some(event) = packet.event {
            assert_eq!(event.flow_ids, [0; 0], "no arrows");
            let name = (event.kind == 1).then(|| names[&event.name_iid].clone());
            by_time
                .entry(packet.timestamp)
                .or_default()
                .push((event.track, name));
        }
    }
    let mut open = HashMap::<_, Vec<_>>::new();
    let mut found = HashMap::new();
    for (track, name) in by_time.into_values().flatten() {
        let open = open.entry(track).or_default();
        match name {
            Some(name) => {
                found.insert(name.clone(), (track, open.last().cloned()));
                open.push(name);
            }
            None => drop(open.pop().unwrap()),
        }
    }
    found
}

#[test]
fn a_report_is_drawn_in_perfetto_as_its_program_ran() {
    for program in programs() {
        let report = program.document();
        let payloads = converted(
            &mut ChromeDecoder::new(),
            report.as_bytes(),
            &mut PerfettoEncoder::new(),
        );
        let trace = payloads.concat();
        let found = nested_in_perfetto(Trace::decode(&trace[..]).unwrap());
        assert_drawn_as_run(&program.calls, &found);
        let again = converted(
            &mut PerfettoDecoder::new(),
            &trace,
            &mut PerfettoEncoder::new(),
        );
        let found = nested_in_perfetto(Trace::decode(&again.concat()[..]).unwrap());
        assert_drawn_as_run(&program.calls, &found);
    }
}
