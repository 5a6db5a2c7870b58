//! S8: recording a span with four attributes, by hiq, by the OpenTelemetry SDK, by fastrace and by the floor; and what
//! a second thread adds.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;

use crate::clock::{thread_cpu, wall};
use crate::floor::recording::{self, Words};
use crate::worker::Worker;
use fastrace::collector::{Config, Reporter, SpanRecord};
use fastrace::prelude::{LocalSpan, Span as FastSpan, SpanContext as FastContext};
use hiq_core::batch::TreeBatch;
use hiq_core::config::ConfigError;
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::Custody;
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::{Key, Tracer};
use hiq_core::value::ValueRef;
use opentelemetry::trace::{Span, Tracer as _, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
    SpanProcessor,
};

/// Spans below one root.
const CHILDREN: usize = 100;
const SPANS: usize = CHILDREN + 1;

/// Until the runner closes the pipe.
pub fn main() {
    let recycling = Tracer::new(Pipeline::builder().build());
    let discarding = Tracer::new(Pipeline::builder().exporter("discard", discard).build());
    let sdk = SdkTracerProvider::builder()
        .with_span_processor(Discard)
        .build();
    let batching = batching_provider();
    let (sdk_tracer, batch_tracer) = (sdk.tracer("bench"), batching.tracer("bench"));
    fastrace::set_reporter(DiscardRecords, Config::default());

    let mut worker = Worker::default();
    worker.call("hiq", SPANS, || record_hiq(&recycling));
    worker.call("hiq_handed_over", SPANS, || record_hiq(&discarding));
    worker.call("sdk", 1, || record_sdk(&sdk_tracer));
    let flush = || batching.force_flush().expect("the batch processor flushes");
    let record = || record_sdk(&batch_tracer);
    worker.timed("sdk_batch", 1, between_flushes(20_000, record, flush));
    worker.timed(
        "fastrace",
        SPANS,
        between_flushes(200, record_fastrace, fastrace::flush),
    );
    worker.call("floor", SPANS, record_floor);
    worker.call("floor_handed_over", SPANS, hand_floor_over());
    worker.value("hiq_1_thread", || {
        in_threads(1, SPANS, || record_hiq(&discarding))
    });
    worker.value("hiq_2_threads", || {
        in_threads(2, SPANS, || record_hiq(&discarding))
    });
    worker.value("sdk_batch_1_thread", || {
        flushed(in_threads(1, 1, record), flush)
    });
    worker.value("sdk_batch_2_threads", || {
        flushed(in_threads(2, 1, record), flush)
    });
    worker.value("fastrace_1_thread", || {
        in_threads(1, SPANS, record_fastrace)
    });
    worker.value("fastrace_2_threads", || {
        in_threads(2, SPANS, record_fastrace)
    });
    worker.value("floor_1_thread", || in_threads(1, SPANS, record_floor));
    worker.value("floor_2_threads", || in_threads(2, SPANS, record_floor));
    worker.serve();
}

fn record_hiq(tracer: &Tracer) {
    static ROOT: Key = Key::new("bench.root");
    static NAME: Key = Key::new("cart.add_item");
    static METHOD: Key = Key::new("http.request.method");
    static CODE: Key = Key::new("http.response.status_code");
    static ADDRESS: Key = Key::new("server.address");
    static HIT: Key = Key::new("cache.hit");
    let _root = tracer.span(&ROOT);
    for _ in 0..CHILDREN {
        tracer.span(&NAME).set_attributes([
            (&METHOD, ValueRef::Str("GET")),
            (&CODE, ValueRef::Int(200)),
            (&ADDRESS, ValueRef::Str("cart.internal")),
            (&HIT, ValueRef::Bool(true)),
        ]);
    }
}

fn record_sdk(tracer: &SdkTracer) {
    let mut span = tracer.start("cart.add_item");
    span.set_attribute(KeyValue::new("http.request.method", "GET"));
    span.set_attribute(KeyValue::new("http.response.status_code", 200_i64));
    span.set_attribute(KeyValue::new("server.address", "cart.internal"));
    span.set_attribute(KeyValue::new("cache.hit", true));
    span.end();
}

fn record_fastrace() {
    let root = FastSpan::root("bench.root", FastContext::random());
    let _guard = root.set_local_parent();
    for _ in 0..CHILDREN {
        let _span = LocalSpan::enter_with_local_parent("cart.add_item").with_properties(|| {
            [
                ("http.request.method", "GET"),
                ("http.response.status_code", "200"),
                ("server.address", "cart.internal"),
                ("cache.hit", "true"),
            ]
        });
    }
}

fn record_floor() {
    recording::with_tree(|tree| {
        record_floor_spans(tree);
        black_box(tree.len());
    });
}

/// The tree goes through a channel, as to a worker.
fn hand_floor_over() -> impl FnMut() -> usize {
    let (sender, receiver) = std::sync::mpsc::channel();
    move || {
        sender
            .send(recording::hand_over(record_floor_spans))
            .expect("the receiver lives");
        receiver.recv().expect("a tree was sent").len()
    }
}

fn record_floor_spans(tree: &mut recording::FlatTree) {
    const WORDS: Words = [(1, 0, 5), (2, 1, 200), (3, 0, 9), (4, 2, 1)];
    tree.span(1, &WORDS, |tree| {
        for _ in 0..CHILDREN {
            tree.span(2, &WORDS, |_| ());
        }
    });
}

/// Times `record`; every `calls` calls `flush` empties the library's queue, outside the measured time, so that nothing
/// is dropped.
fn between_flushes(calls: u64, record: impl Fn(), flush: impl Fn()) -> impl FnMut(u64) -> u64 {
    move |iterations| {
        let (mut nanos, mut left) = (0, iterations);
        while left > 0 {
            let now = left.min(calls);
            left -= now;
            let start = thread_cpu();
            for _ in 0..now {
                record();
            }
            nanos += thread_cpu() - start;
            flush();
        }
        nanos
    }
}

fn flushed(nanos: f64, flush: impl Fn()) -> f64 {
    flush();
    nanos
}

/// Wall nanoseconds per span of all threads together, each of which records for a while.
fn in_threads(threads: usize, spans: usize, record: impl Fn() + Sync) -> f64 {
    const SPANS_OF_A_THREAD: usize = 100_000;
    let calls = SPANS_OF_A_THREAD / spans;
    let start = wall();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..calls).for_each(|_| record()));
        }
    });
    (wall() - start) as f64 / (threads * calls * spans) as f64
}

fn batching_provider() -> SdkTracerProvider {
    // Room for every span of a measurement: dropping is cheaper than keeping.
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(1 << 18)
        .with_max_export_batch_size(512)
        .build();
    let processor = BatchSpanProcessor::builder(DiscardBatches)
        .with_batch_config(config)
        .build();
    SdkTracerProvider::builder()
        .with_span_processor(processor)
        .build()
}

fn discard() -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> {
    Ok(Box::new(DiscardTrees))
}

#[derive(Debug)]
struct DiscardTrees;

impl Exporter<TreeBatch> for DiscardTrees {
    fn export(&mut self, batch: Arc<TreeBatch>, custody: Custody, _: &Deadline) -> Progress {
        drop(batch);
        custody.delivered();
        Progress::Done
    }
}

#[derive(Debug)]
struct Discard;

impl SpanProcessor for Discard {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        black_box(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[derive(Debug)]
struct DiscardBatches;

impl SpanExporter for DiscardBatches {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        black_box(batch);
        Ok(())
    }
}

struct DiscardRecords;

impl Reporter for DiscardRecords {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        black_box(spans);
    }
}
