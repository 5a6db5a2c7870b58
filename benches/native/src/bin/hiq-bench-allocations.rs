//! S7: allocations while batches are encoded, once the encoder has seen each of them.
//!
//! A program of its own, since counting costs time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hiq_bench::worker::Worker;
use hiq_bench::{hiq, otel, spans, zipkin};
use hiq_chrome::{ChromeEncoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::encode::Encoder;
use hiq_jaeger::{JaegerBinaryEncoder, JaegerCompactEncoder, JaegerProtoEncoder};
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinProtoEncoder};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use prost::Message;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn main() {
    let raw = spans::batches();
    let (ours, theirs) = (hiq::batches(&raw), otel::batches(&raw));
    let resource = ResourceAttributesWithSchema::from(&otel::resource());
    let mut worker = Worker::default();
    worker.value("hiq_proto", by_hiq(OtlpProtoEncoder::new(), &ours));
    worker.value("hiq_json", by_hiq(OtlpJsonEncoder::new(), &ours));
    let (compact, binary) = (JaegerCompactEncoder::new(), JaegerBinaryEncoder::batches());
    let proto = JaegerProtoEncoder::new();
    worker.value("hiq_jaeger_compact", by_hiq(compact, &ours));
    worker.value("hiq_jaeger_binary", by_hiq(binary, &ours));
    worker.value("hiq_jaeger_proto", by_hiq(proto, &ours));
    worker.value("hiq_zipkin_json", by_hiq(ZipkinJsonEncoder::new(), &ours));
    worker.value("hiq_zipkin_proto", by_hiq(ZipkinProtoEncoder::new(), &ours));
    worker.value("hiq_chrome_json", by_hiq(ChromeEncoder::new(), &ours));
    worker.value("hiq_perfetto", by_hiq(PerfettoEncoder::new(), &ours));
    let (zipkin, batches) = (zipkin::exporter_to_nowhere(), &theirs);
    worker.value("otel_zipkin_json", move || {
        allocations_for(batches.clone(), |batch| zipkin::export(&zipkin, batch))
    });
    worker.value("otel_proto", || {
        allocations_for(theirs.clone(), |batch| {
            black_box(otel::request(batch, &resource).encode_to_vec());
        })
    });
    worker.value("otel_json", || {
        allocations_for(theirs.clone(), |batch| {
            black_box(serde_json::to_vec(&otel::request(batch, &resource)).expect("JSON"));
        })
    });
    worker.serve();
}

fn by_hiq(mut encoder: impl Encoder<TreeBatch>, batches: &[Arc<TreeBatch>]) -> impl FnMut() -> f64 {
    let mut out = Vec::new();
    move || {
        allocations_for(batches.iter().collect(), |batch: &Arc<TreeBatch>| {
            hiq::encode(&mut encoder, batch, &mut out);
        })
    }
}

/// Allocations a span.
fn allocations_for<T>(batches: Vec<T>, encode: impl FnMut(T)) -> f64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    batches.into_iter().for_each(encode);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    allocations as f64 / (spans::BATCHES * spans::SPANS) as f64
}

struct Counting;

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}
