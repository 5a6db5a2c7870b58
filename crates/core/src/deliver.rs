//! Delivery: the bridge from an encoder and a transport to an exporter, and the only place that tries again.
//!
//! ```text
//! export ─► piece ─encode─► parcel ─submit─► on the wire ─judge─► settled
//!             ▲                ▲                           ├────► again later (the same bytes)
//!             │                └───────────────────────────┘
//!             └──── divided: over the server's limit, or one bad item among them
//! ```
//!
//! What was encoded is sent, byte for byte, until it is settled; it is encoded anew only to be divided.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::encode::{DropReason, Encodable, Encoded, Encoder, Limits};
use crate::export::{Deadline, Exporter, Health, Progress};
use crate::ledger::Custody;
use crate::transport::{Outcome, PayloadId, Transport, TransportLimits};

mod buffers;
mod gate;
mod gzip;
mod options;
mod parcel;
mod settle;

pub use crate::config::Compression;
pub use options::{DeliveryOptions, RetryPolicy};

use buffers::Buffers;
use gate::Gate;
use gzip::Gzip;
use parcel::{Attempts, Parcel, Piece};

/// Exports batches as payloads of an encoder over a transport.
#[derive(Debug)]
pub struct EncodedExporter<B: Encodable, E, T> {
    encoder: E,
    transport: T,
    options: DeliveryOptions,
    wire: TransportLimits,
    /// Halved when the server finds a payload too large.
    max_payload_bytes: usize,
    /// To be encoded, in the order of delivery.
    pieces: VecDeque<Piece<B>>,
    /// Encoded and not on the wire, oldest first.
    ready: VecDeque<Parcel<B>>,
    on_wire: Vec<Parcel<B>>,
    outcomes: Vec<Outcome>,
    gate: Gate,
    gzip: Option<Gzip>,
    buffers: Buffers,
    payloads: u64,
    refused_halves: u32,
    health: Health,
}

impl<B: Encodable, E: Encoder<B>, T: Transport> EncodedExporter<B, E, T> {
    /// An exporter of what `encoder` writes, sent by `transport`. Does nothing yet.
    pub fn new(encoder: E, transport: T, options: DeliveryOptions) -> Self {
        let wire = transport.limits();
        Self {
            encoder,
            transport,
            wire,
            max_payload_bytes: wire.max_payload_bytes.min(options.max_payload_bytes),
            pieces: VecDeque::new(),
            ready: VecDeque::new(),
            on_wire: Vec::new(),
            outcomes: Vec::new(),
            gate: Gate::new(options.retry),
            gzip: (options.compression == Compression::Gzip).then(Gzip::new),
            buffers: Buffers::default(),
            payloads: 0,
            refused_halves: 0,
            health: Health::Fine,
            options,
        }
    }
}

impl<B: Encodable, E: Encoder<B>, T: Transport> Exporter<B> for EncodedExporter<B, E, T> {
    fn export(&mut self, batch: Arc<B>, custody: Custody, deadline: &Deadline) -> Progress {
        self.pieces.push_back(Piece::whole(batch, custody));
        self.send(deadline);
        self.progress()
    }

    fn poll(&mut self, deadline: &Deadline) -> Progress {
        if !self.on_wire.is_empty() {
            self.collect(deadline);
        }
        self.send(deadline);
        self.progress()
    }

    fn flush(&mut self, deadline: &Deadline) -> Progress {
        self.gate.hurry(deadline.is_pulled());
        self.poll(deadline)
    }

    fn shutdown(&mut self, deadline: &Deadline) {
        self.transport.shutdown(deadline);
        self.collect(&deadline.within(Duration::ZERO));
        let parcels = self.ready.drain(..).chain(self.on_wire.drain(..));
        for piece in parcels
            .map(|parcel| parcel.piece)
            .chain(self.pieces.drain(..))
        {
            piece.custody.dropped(DropReason::Shutdown);
        }
    }

    fn health(&self) -> Health {
        self.health.clone()
    }
}

impl<B: Encodable, E: Encoder<B>, T: Transport> EncodedExporter<B, E, T> {
    /// Sends what is due, as long as the wire has room.
    fn send(&mut self, deadline: &Deadline) {
        while self.on_wire.len() < self.wire.max_in_flight
            && self.gate.is_open(Instant::now())
            && !deadline.is_over()
            && let Some(parcel) = self.next_parcel()
        {
            self.submit(parcel, deadline);
            self.collect(&deadline.within(Duration::ZERO));
        }
    }

    fn progress(&self) -> Progress {
        let idle = self.pieces.is_empty() && self.ready.is_empty();
        if !self.on_wire.is_empty() {
            let room = idle && self.on_wire.len() < self.wire.max_in_flight;
            return Progress::Sending { room };
        }
        if idle {
            return Progress::Done;
        }
        let until = self.gate.opens_at().unwrap_or_else(Instant::now);
        Progress::Waiting { until, room: false }
    }

    fn next_parcel(&mut self) -> Option<Parcel<B>> {
        self.ready.pop_front().or_else(|| self.encode())
    }

    /// Encodes the next payload.
    fn encode(&mut self) -> Option<Parcel<B>> {
        while let Some(mut piece) = self.pieces.pop_front() {
            let mut body = self.buffers.take();
            let limits = self.limits();
            let (encoded, end) = {
                let mut cursor = piece.cursor();
                let encoded = self.encoder.encode(&mut cursor, &limits, &mut body);
                (encoded, B::position(&cursor))
            };
            let stuck = end == piece.range.start;
            let first = piece.split_off(end, encoded.items + encoded.items_left_out());
            if encoded.more && !stuck {
                self.pieces.push_front(piece);
            } else {
                self.abandon(piece.custody);
            }
            if encoded.items > 0 {
                return Some(self.pack(first, encoded, body));
            }
            self.buffers.give(body);
            self.leave_out(first.custody, &encoded.left_out);
        }
        None
    }

    fn limits(&self) -> Limits {
        Limits {
            max_bytes: self.max_payload_bytes,
            max_items: self.options.max_payload_items,
            cut: self.options.cut,
        }
    }

    fn pack(&mut self, piece: Piece<B>, encoded: Encoded, mut body: Vec<u8>) -> Parcel<B> {
        let encoded_bytes = body.len();
        let gzipped = self.gzip.as_mut().is_some_and(|gzip| {
            let mut packed = self.buffers.take();
            gzip.compress(&body, &mut packed);
            std::mem::swap(&mut body, &mut packed);
            self.buffers.give(packed);
            true
        });
        self.payloads += 1;
        Parcel {
            id: PayloadId(self.payloads),
            body,
            encoded_bytes,
            gzipped,
            key: encoded.key,
            items: encoded.items,
            left_out: encoded.left_out,
            piece,
            attempts: Attempts::default(),
        }
    }

    fn submit(&mut self, mut parcel: Parcel<B>, deadline: &Deadline) {
        parcel.attempts.begin(Instant::now(), self.options.timeout);
        if parcel.attempts.is_first_possible_repeat() {
            parcel.piece.custody.may_repeat();
        }
        let deadline = match parcel.attempts.series_end() {
            Some(end) => deadline.within(end.saturating_duration_since(Instant::now())),
            None => deadline.clone(),
        };
        let payload = parcel.payload(self.encoder.encoding().content_type);
        self.transport.submit(parcel.id, &payload, &deadline);
        self.on_wire.push(parcel);
    }

    /// Settles what has come back, waiting for the first answer up to `deadline`.
    fn collect(&mut self, deadline: &Deadline) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.transport.poll(deadline, &mut outcomes);
        for outcome in outcomes.drain(..) {
            let place = self
                .on_wire
                .iter()
                .position(|parcel| parcel.id == outcome.id);
            if let Some(place) = place {
                let parcel = self.on_wire.remove(place);
                self.settle(parcel, outcome.result, deadline);
            }
        }
        self.outcomes = outcomes;
    }
}
