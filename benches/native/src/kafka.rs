//! S11: a batch of 512 spans encoded as OTLP protobuf and written to Kafka as one message, to librdkafka's mock cluster in another
//! process: what the client's process spends. The peers write one span a message, by OpenTelemetry's encoder or already encoded.
//!
//! What is measured is a burst of messages: what a producer spends on waking up, lingering and flushing belongs to all of them.
//! The broker's own speed is kept out by a socket that takes in whole requests, since librdkafka's thread spends CPU on waiting
//! for a reader that has fallen behind; on a busy machine that was three times what its messages cost.

use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::TreeBatch;
use hiq_core::config::Env;
use hiq_core::decode::Decoder as _;
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::Ledger;
use hiq_kafka::{KafkaExporter, KafkaOptions, KafkaSettings};
use hiq_otlp::{OtlpDecoder, OtlpProtoEncoder};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::clock::thread_cpu;
use crate::deliver::{cpu_of, start_sink};
use crate::floor::Arena;
use crate::worker::Worker;
use crate::{hiq, otel, spans};

const TOPIC: &str = "spans";
const PARTITIONS: i32 = 4;
/// What bridges read: 524,288 spans, as many in each partition. The mock keeps 5 MiB of each.
const FULL_TOPIC: &str = "full";
const FULL_PARTITIONS: usize = 64;
const FULL_MESSAGES: usize = 1_024;
/// Of one span in OTLP protobuf, with a resource of its own around it.
const SPAN_BYTES: usize = 300;
/// Messages of 512 spans that an iteration sends; fewer, and the row shows what it costs to begin.
const BURST: usize = 256;
const BURST_SPANS: usize = BURST * spans::SPANS;
/// Of all producers: a few requests, and what hiq keeps waiting at most.
const SOCKET_BYTES: &str = "4194304";
const WAITING_KBYTES: &str = "32768";
const PATIENCE: Duration = Duration::from_secs(30);

/// What a bridge does with each message, fetching and sending apart.
fn by_decoder(batches: &[Arc<TreeBatch>]) -> impl FnMut() -> usize {
    let mut encoder = OtlpProtoEncoder::new();
    let encoded = |batch: &Arc<TreeBatch>| {
        let mut body = Vec::new();
        hiq::encode(&mut encoder, batch, &mut body);
        body
    };
    let bodies: Vec<Vec<u8>> = batches.iter().map(encoded).collect();
    let (mut decoder, mut next) = (OtlpDecoder::proto(), spans::turns());
    move || {
        let mut spans = 0;
        let decoded = decoder.decode(&bodies[next()], &mut |tree| spans += tree.len());
        decoded.expect("what hiq wrote");
        spans
    }
}

/// Until the runner closes the pipe.
pub fn main() {
    let (mut broker, brokers) = start_sink("kafka");
    let raw = spans::batches();
    let (ours, floors) = (hiq::batches(&raw), Arena::batches(&raw));
    let theirs = otel::batches(&raw);
    let mut worker = Worker::default();
    worker.timed("hiq", BURST_SPANS, by_hiq(exporter(&brokers), &ours));
    worker.timed("floor", BURST_SPANS, by_floor(&brokers, &floors));
    worker.timed(
        "otel_span_a_message",
        BURST_SPANS,
        by_otel(&brokers, &theirs),
    );
    worker.timed("span_a_message", BURST_SPANS, by_spans(&brokers));
    worker.call("decode", spans::SPANS, by_decoder(&ours));
    worker.serve();
    end(&mut broker);
}

/// The mock cluster: prints where it is, and ends when its standard input does.
pub fn broker() -> std::io::Result<()> {
    let cluster = MockCluster::new(1).map_err(std::io::Error::other)?;
    let topic = cluster.create_topic(TOPIC, PARTITIONS, 1);
    topic.map_err(std::io::Error::other)?;
    let full = cluster.create_topic(FULL_TOPIC, FULL_PARTITIONS as i32, 1);
    full.map_err(std::io::Error::other)?;
    fill(&cluster.bootstrap_servers());
    let mut out = std::io::stdout();
    writeln!(out, "{}", cluster.bootstrap_servers())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// Writes what a traced program would have: batches in OTLP protobuf, with the header that says so.
fn fill(brokers: &str) {
    let (producer, mut encoder) = (producer(brokers), OtlpProtoEncoder::new());
    let (batches, mut next) = (hiq::batches(&spans::batches()), spans::turns());
    let mut body = Vec::new();
    for message in 0..FULL_MESSAGES {
        hiq::encode(&mut encoder, &batches[next()], &mut body);
        let header = Header {
            key: hiq_kafka::ENCODING_HEADER,
            value: Some("otlp_proto"),
        };
        let record = BaseRecord::<(), [u8]>::to(FULL_TOPIC).payload(&body);
        let record = record.partition((message % FULL_PARTITIONS) as i32);
        send_record(
            &producer,
            record.headers(OwnedHeaders::new().insert(header)),
        );
    }
    producer.flush(PATIENCE).expect("all are delivered");
}

fn end(broker: &mut Child) {
    drop(broker.stdin.take());
    broker.wait().expect("the broker ends");
}

fn exporter(brokers: &str) -> Box<dyn Exporter<TreeBatch>> {
    let socket = format!("socket.send.buffer.bytes={SOCKET_BYTES}");
    let env = Env::from_pairs([
        ("HIQ_KAFKA_BROKERS", brokers),
        ("HIQ_KAFKA_TOPIC", TOPIC),
        ("HIQ_KAFKA_PROPERTIES", &socket),
    ]);
    let settings = KafkaSettings::new(&KafkaOptions::default(), &env, &mut Vec::new());
    let kafka = KafkaExporter::new(settings.expect("settings")).expect("an exporter");
    kafka.build(OtlpProtoEncoder::new()).expect("an exporter")
}

fn by_hiq(
    mut exporter: Box<dyn Exporter<TreeBatch>>,
    batches: &[Arc<TreeBatch>],
) -> impl FnMut(u64) -> u64 {
    let (mut next, ledger, deadline) = (spans::turns(), Ledger::new(), Deadline::never());
    move |iterations| {
        let delivered_before = ledger.snapshot().exported;
        let nanos = cpu_of(|| {
            let mut progress = Progress::Done;
            for _ in 0..iterations * BURST as u64 {
                while !progress.has_room() {
                    progress = exporter.poll(&deadline.within(PATIENCE));
                }
                let batch = Arc::clone(&batches[next()]);
                ledger.offer(spans::SPANS);
                let custody = ledger.take(spans::SPANS, Instant::now());
                progress = exporter.export(batch, custody, &deadline.within(PATIENCE));
            }
            while progress != Progress::Done {
                progress = exporter.poll(&deadline.within(PATIENCE));
            }
        });
        let delivered = ledger.snapshot().exported - delivered_before;
        assert_eq!(
            delivered,
            iterations * BURST_SPANS as u64,
            "all are delivered"
        );
        nanos
    }
}

fn producer(brokers: &str) -> ThreadedProducer<DefaultProducerContext> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("socket.send.buffer.bytes", SOCKET_BYTES)
        .set("queue.buffering.max.kbytes", WAITING_KBYTES)
        .create();
    producer.expect("a producer")
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, body: &[u8]) {
    send_record(producer, BaseRecord::to(TOPIC).payload(body));
}

fn send_record(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut record: BaseRecord<'_, (), [u8]>,
) {
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back
            }
            Err((error, _)) => panic!("{error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The floor's encoder and rdkafka's own producer.
fn by_floor(brokers: &str, arenas: &[Arena]) -> impl FnMut(u64) -> u64 {
    let (producer, mut next) = (producer(brokers), spans::turns());
    let mut body = Vec::new();
    move |iterations| {
        cpu_of(|| {
            for _ in 0..iterations * BURST as u64 {
                body.clear();
                arenas[next()].write_proto(&mut body);
                send(&producer, &body);
            }
            producer.flush(PATIENCE).expect("all are delivered");
        })
    }
}

/// One span a message, encoded beforehand.
fn by_spans(brokers: &str) -> impl FnMut(u64) -> u64 {
    let producer = producer(brokers);
    let body = vec![b'x'; SPAN_BYTES];
    move |iterations| {
        cpu_of(|| {
            for _ in 0..iterations * BURST_SPANS as u64 {
                send(&producer, &body);
            }
            producer.flush(PATIENCE).expect("all are delivered");
        })
    }
}

/// One span a message, with its resource, as OpenTelemetry's types make it.
fn by_otel(brokers: &str, batches: &[Vec<SpanData>]) -> impl FnMut(u64) -> u64 {
    let (producer, mut next) = (producer(brokers), spans::turns());
    let resource = ResourceAttributesWithSchema::from(&otel::resource());
    move |iterations| {
        let mut copying = 0;
        let nanos = cpu_of(|| {
            for _ in 0..iterations * BURST as u64 {
                let start = thread_cpu();
                // An exporter is given spans of its own.
                let batch = batches[next()].clone();
                copying += thread_cpu() - start;
                for span in batch {
                    let body = otel::request(vec![span], &resource).encode_to_vec();
                    send(&producer, &body);
                }
            }
            producer.flush(PATIENCE).expect("all are delivered");
        });
        nanos - copying
    }
}
