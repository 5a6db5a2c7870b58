//! S10: a batch of 512 spans encoded as OTLP protobuf and compressed, up to the wire.
//!
//! hiq's delivery loop compresses by gzip at level 1, OpenTelemetry's exporter at level 6. Nothing is measured before both have
//! been unpacked as what was packed.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::floor::Arena;
use crate::worker::Worker;
use crate::{encode, hiq, otel, spans};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use hiq_core::batch::TreeBatch;
use hiq_core::deliver::{Compression as OfDelivery, DeliveryOptions, EncodedExporter};
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::Ledger;
use hiq_core::transport::{Outcome, Payload, PayloadId, Reply, Transport, TransportLimits};
use hiq_otlp::OtlpProtoEncoder;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use prost::Message;

/// Until the runner closes the pipe.
pub fn main() {
    let raw = spans::batches();
    let (ours, theirs) = (hiq::batches(&raw), otel::batches(&raw));
    let floors = Arena::batches(&raw);
    let resource = ResourceAttributesWithSchema::from(&otel::resource());
    unpack(&ours, &floors);

    let mut worker = Worker::default();
    let (mut hiq, mut next, ours) = (Ours::new(None), spans::turns(), &ours);
    worker.call("hiq_gzip", spans::SPANS, move || hiq.deliver(&ours[next()]));
    let (mut floor, mut out) = (Floor::new(), Vec::new());
    let (mut next, floors) = (spans::turns(), &floors);
    worker.call("floor_gzip", spans::SPANS, move || {
        floor.pack(&floors[next()], &mut out);
        out.len()
    });
    let clones = encode::clones(&theirs);
    worker.consume("otel_gzip", spans::SPANS, clones, |batch| {
        let body = otel::request(batch, &resource).encode_to_vec();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&body).expect("memory takes everything");
        gzip.finish().expect("memory takes everything")
    });
    worker.serve();
}

/// Ends the program with a message when something else is unpacked than the encoders write.
fn unpack(ours: &[Arc<TreeBatch>], floors: &[Arena]) {
    let seen = Seen::default();
    let (mut hiq, mut floor) = (Ours::new(Some(Arc::clone(&seen))), Floor::new());
    let mut packed = Vec::new();
    let (mut encoder, mut expected) = (OtlpProtoEncoder::new(), Vec::new());
    for (batch, arena) in ours.iter().zip(floors) {
        hiq.deliver(batch);
        hiq::encode(&mut encoder, batch, &mut expected);
        assert!(
            unpacked(&seen.lock().expect("one thread")) == expected,
            "what hiq delivers"
        );
        floor.pack(arena, &mut packed);
        arena.write_proto(&mut expected);
        assert!(unpacked(&packed) == expected, "what the floor packs");
    }
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut gzip = GzDecoder::new(packed);
    gzip.read_to_end(&mut plain).expect("gzip");
    plain
}

/// hiq's delivery loop, before a wire that takes everything at once.
struct Ours {
    exporter: EncodedExporter<TreeBatch, OtlpProtoEncoder, Nowhere>,
    ledger: Arc<Ledger>,
}

impl Ours {
    /// A copy of each payload is left in `seen`.
    fn new(seen: Option<Seen>) -> Self {
        let mut options = DeliveryOptions::default();
        options.compression = OfDelivery::Gzip;
        let wire = Nowhere {
            seen,
            outcomes: Vec::new(),
        };
        Self {
            exporter: EncodedExporter::new(OtlpProtoEncoder::new(), wire, options),
            ledger: Ledger::new(),
        }
    }

    fn deliver(&mut self, batch: &Arc<TreeBatch>) {
        self.ledger.offer(spans::SPANS);
        let custody = self.ledger.take(spans::SPANS, Instant::now());
        let progress = self
            .exporter
            .export(Arc::clone(batch), custody, &Deadline::never());
        assert_eq!(progress, Progress::Done, "nowhere answers at once");
    }
}

type Seen = Arc<Mutex<Vec<u8>>>;

#[derive(Debug)]
struct Nowhere {
    seen: Option<Seen>,
    outcomes: Vec<Outcome>,
}

impl Transport for Nowhere {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(64 << 20)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, _deadline: &Deadline) {
        assert_eq!(payload.content_encoding, Some("gzip"));
        if let Some(seen) = &self.seen {
            payload
                .body
                .clone_into(&mut seen.lock().expect("one thread"));
        }
        let reply = Ok(Reply::Acknowledged);
        self.outcomes.push(Outcome::new(id, reply));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.outcomes);
    }
}

/// The floor's encoder, and a compressor that is kept.
struct Floor {
    deflate: Compress,
    plain: Vec<u8>,
}

impl Floor {
    fn new() -> Self {
        Self {
            deflate: Compress::new(Compression::fast(), false),
            plain: Vec::new(),
        }
    }

    fn pack(&mut self, arena: &Arena, out: &mut Vec<u8>) {
        arena.write_proto(&mut self.plain);
        out.clear();
        out.reserve(self.plain.len() + 64);
        out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255]);
        self.deflate.reset();
        let packed = self
            .deflate
            .compress_vec(&self.plain, out, FlushCompress::Finish);
        assert!(matches!(packed, Ok(Status::StreamEnd)), "it has room");
        let mut crc = Crc::new();
        crc.update(&self.plain);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&crc.amount().to_le_bytes());
    }
}
