//! S9: a batch of 512 spans encoded as OTLP protobuf and delivered over HTTP/1.1 or gRPC, without compression, to a server in
//! another process: what the client's process spends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::process_cpu;
use crate::floor::Arena;
use crate::worker::Worker;
use crate::{check, grpc, hiq, otel, spans};
use futures_executor::block_on;
use hiq_core::batch::TreeBatch;
use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings};
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::Ledger;
use hiq_otlp::OtlpExporter;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// Until the runner closes the pipe.
pub fn main() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nobody came first");
    let (mut sink, base) = start_http_sink("");
    let (mut grpc_sink, grpc_base) = start_http_sink("grpc");

    let raw = spans::batches();
    let (ours, theirs) = (hiq::batches(&raw), otel::batches(&raw));
    let floors = Arena::batches(&raw);
    check::encoders_agree(&ours, &theirs, &floors);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let otlp = otlp_exporter(&base);
    let otlp_grpc = runtime.block_on(async { grpc::otlp_exporter(&grpc_base) });

    let mut worker = Worker::default();
    worker.timed(
        "hiq",
        spans::SPANS,
        by_hiq(hiq_exporter(&base, "http/protobuf"), &ours),
    );
    worker.timed("floor", spans::SPANS, by_floor(&runtime, &base, &floors));
    worker.timed("otel", spans::SPANS, by_otel(&otlp, &theirs));
    worker.timed(
        "hiq_grpc",
        spans::SPANS,
        by_hiq(hiq_exporter(&grpc_base, "grpc"), &ours),
    );
    worker.timed(
        "floor_grpc",
        spans::SPANS,
        grpc::by_floor(&runtime, &grpc_base, &floors),
    );
    worker.timed(
        "otel_grpc",
        spans::SPANS,
        grpc::by_otel(&runtime, &otlp_grpc, &theirs),
    );
    worker.serve();
    for sink in [&mut sink, &mut grpc_sink] {
        drop(sink.stdin.take());
        sink.wait().expect("the sink ends");
    }
}

/// The server of HTTP or gRPC, and its URL.
fn start_http_sink(kind: &str) -> (Child, String) {
    let (sink, port) = start_sink(kind);
    (sink, format!("http://127.0.0.1:{port}"))
}

/// A server, and what it says about where it is.
pub(crate) fn start_sink(kind: &str) -> (Child, String) {
    let program = std::env::current_exe().expect("this program's path");
    let mut sink = Command::new(program)
        .arg("sink")
        .args(Some(kind).filter(|kind| !kind.is_empty()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the sink starts");
    let stdout = sink.stdout.take().expect("a pipe");
    let mut place = String::new();
    BufReader::new(stdout)
        .read_line(&mut place)
        .expect("the sink names its place");
    (sink, place.trim().to_owned())
}

/// CPU time of all threads of the process.
pub(crate) fn cpu_of(work: impl FnOnce()) -> u64 {
    let start = process_cpu();
    work();
    process_cpu() - start
}

fn hiq_exporter(base: &str, protocol: &str) -> Box<dyn Exporter<TreeBatch>> {
    let env = Env::from_pairs([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", base),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
    ]);
    let settings = OtlpSettings::for_traces(&OtlpOptions::default(), &env, &mut Vec::new());
    let otlp = OtlpExporter::new(settings.expect("an endpoint"), ProxySettings::default());
    otlp.expect("an exporter").build().expect("an exporter")
}

fn by_hiq(
    mut exporter: Box<dyn Exporter<TreeBatch>>,
    batches: &[Arc<TreeBatch>],
) -> impl FnMut(u64) -> u64 {
    let (mut next, ledger, deadline) = (spans::turns(), Ledger::new(), Deadline::never());
    move |iterations| {
        let delivered_before = ledger.snapshot().exported;
        let nanos = cpu_of(|| {
            for _ in 0..iterations {
                let batch = Arc::clone(&batches[next()]);
                ledger.offer(spans::SPANS);
                let custody = ledger.take(spans::SPANS, Instant::now());
                let deadline = deadline.within(Duration::from_secs(10));
                let mut progress = exporter.export(batch, custody, &deadline);
                while progress != Progress::Done {
                    progress = exporter.poll(&deadline);
                }
            }
        });
        let delivered = ledger.snapshot().exported - delivered_before;
        assert_eq!(
            delivered,
            iterations * spans::SPANS as u64,
            "all are delivered"
        );
        nanos
    }
}

fn by_otel(
    exporter: &opentelemetry_otlp::SpanExporter,
    batches: &[Vec<SpanData>],
) -> impl FnMut(u64) -> u64 {
    let mut next = spans::turns();
    move |iterations| {
        let mut nanos = 0;
        for _ in 0..iterations {
            let batch = batches[next()].clone();
            nanos += cpu_of(|| block_on(exporter.export(batch)).expect("the sink answers"));
        }
        nanos
    }
}

/// The floor's encoder and reqwest.
fn by_floor(
    runtime: &tokio::runtime::Runtime,
    base: &str,
    arenas: &[Arena],
) -> impl FnMut(u64) -> u64 {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("{base}/v1/traces");
    let mut next = spans::turns();
    move |iterations| {
        cpu_of(|| {
            for _ in 0..iterations {
                let mut body = Vec::new();
                arenas[next()].write_proto(&mut body);
                runtime
                    .block_on(post(&client, &url, body))
                    .expect("the sink answers");
            }
        })
    }
}

async fn post(client: &reqwest::Client, url: &str, body: Vec<u8>) -> reqwest::Result<()> {
    let request = client
        .post(url)
        .header("content-type", "application/x-protobuf");
    let reply = request.body(body).send().await?.error_for_status()?;
    reply.bytes().await?;
    Ok(())
}

fn otlp_exporter(base: &str) -> opentelemetry_otlp::SpanExporter {
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{base}/v1/traces"))
        .build()
        .expect("an exporter");
    exporter.set_resource(&otel::resource());
    exporter
}
