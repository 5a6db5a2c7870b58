//! Delivery: the bridge from an encoder and a transport to an exporter, and the only place that tries again.
//!
//! ```text
//! export ─► piece ─encode─► parcel ─submit─► on the wire ─judge─► settled
//!             ▲                ▲                           ├────► again later (the same bytes)
//!             │                └───────────────────────────┘
//!             └──── divided: over the server's limit, or one bad item among them
//! ```
//!
//! What was encoded is sent, byte for byte, until it is settled; it is encoded anew only to be divided. With a spool, it is
//! on disk before the first attempt and until it is settled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::encode::{DropReason, Encodable, Encoded, Encoder, Limits};
use crate::export::{Deadline, Exporter, Health, Progress};
use crate::ledger::{Custody, Ledger};
use crate::spool::Spool;
use crate::transport::{Outcome, PayloadId, Transport, TransportLimits};

mod buffers;
mod gate;
mod gzip;
mod options;
mod parcel;
mod settle;
mod stock;

pub use crate::config::Compression;
pub use options::{DeliveryOptions, RetryPolicy};

use buffers::Buffers;
use gate::Gate;
use gzip::Gzip;
use parcel::{Attempts, Parcel, Piece};
use stock::Stock;

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
    /// In the order of their attempts: answers come back in about that order.
    on_wire: VecDeque<Parcel<B>>,
    outcomes: Vec<Outcome>,
    gate: Gate,
    stock: Option<Stock>,
    gzip: Option<Gzip>,
    buffers: Buffers,
    payloads: u64,
    refused_halves: u32,
    health: Health,
    /// Why something of the last batch was lost: what goes through after it is no reason to keep silent.
    lost: Option<String>,
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
            on_wire: VecDeque::new(),
            outcomes: Vec::new(),
            gate: Gate::new(options.retry),
            stock: None,
            gzip: (options.compression == Compression::Gzip).then(Gzip::new),
            buffers: Buffers::default(),
            payloads: 0,
            refused_halves: 0,
            health: Health::Fine,
            lost: None,
            options,
        }
    }

    /// Keeps payloads in `spool` until they are settled, and delivers what an earlier process left there.
    #[must_use]
    pub fn with_spool(mut self, spool: Spool) -> Self {
        self.stock = Some(Stock::new(spool));
        self
    }
}

impl<B: Encodable, E: Encoder<B>, T: Transport> Exporter<B> for EncodedExporter<B, E, T> {
    fn start(&mut self, ledger: &Arc<Ledger>) {
        if let Some(stock) = &mut self.stock {
            stock.take_up(ledger);
        }
    }

    fn export(&mut self, batch: Arc<B>, custody: Custody, deadline: &Deadline) -> Progress {
        self.lost = None;
        self.pieces.push_back(Piece::whole(batch, custody));
        self.send(deadline);
        self.progress()
    }

    fn poll(&mut self, deadline: &Deadline) -> Progress {
        if !self.on_wire.is_empty() {
            self.collect(deadline, deadline);
        }
        self.send(deadline);
        self.progress()
    }

    fn flush(&mut self, deadline: &Deadline) -> Progress {
        self.gate.hurry(deadline.is_pulled());
        if let Some(stock) = &mut self.stock {
            stock.sync();
        }
        self.poll(deadline)
    }

    fn shutdown(&mut self, deadline: &Deadline) {
        self.transport.shutdown(deadline);
        self.collect(&deadline.within(Duration::ZERO), deadline);
        for parcel in self.ready.drain(..).chain(self.on_wire.drain(..)) {
            let mut custody = parcel.custody;
            for (reason, items) in parcel.left_out {
                custody.split_off(items).dropped(reason);
            }
            if parcel.record.is_none() {
                custody.dropped(DropReason::Shutdown);
            }
        }
        for piece in self.pieces.drain(..) {
            piece.custody.dropped(DropReason::Shutdown);
        }
        if let Some(stock) = &mut self.stock {
            stock.sync();
        }
    }

    fn health(&self) -> Health {
        let trouble = self.stock.as_ref().and_then(Stock::trouble);
        match (&self.health, trouble) {
            (Health::Fine, Some(trouble)) => Health::Warned(trouble.to_owned()),
            (health, _) => health.clone(),
        }
    }
}

impl<B: Encodable, E: Encoder<B>, T: Transport> EncodedExporter<B, E, T> {
    /// Sends what is due, as long as the wire has room.
    fn send(&mut self, deadline: &Deadline) {
        self.spool_pieces();
        while self.on_wire.len() < self.wire.max_in_flight
            && self.gate.is_open(Instant::now())
            && !deadline.is_over()
            && let Some(parcel) = self.next_parcel()
        {
            self.submit(parcel, deadline);
            self.collect(&deadline.within(Duration::ZERO), deadline);
            self.spool_pieces();
        }
    }

    fn progress(&self) -> Progress {
        let room = self.has_room();
        if !self.on_wire.is_empty() {
            return Progress::Sending { room };
        }
        let stock = self.stock.as_ref();
        let in_memory = !self.pieces.is_empty() || !self.ready.is_empty();
        let due = if in_memory || stock.is_some_and(Stock::has_more) {
            Some(self.gate.opens_at().unwrap_or_else(Instant::now))
        } else {
            None
        };
        let sync_due = stock.and_then(Stock::sync_due);
        match due.into_iter().chain(sync_due).min() {
            Some(until) => Progress::Waiting { until, room },
            None => Progress::Done,
        }
    }

    /// True when the next batch would not pile up in memory.
    fn has_room(&self) -> bool {
        let all_on_disk = |parcel: &Parcel<B>| parcel.record.is_some();
        let wire_is_full = self.on_wire.len() >= self.wire.max_in_flight;
        match &self.stock {
            Some(_) => {
                self.pieces.is_empty() && self.ready.iter().chain(&self.on_wire).all(all_on_disk)
            }
            None => self.pieces.is_empty() && self.ready.is_empty() && !wire_is_full,
        }
    }

    fn next_parcel(&mut self) -> Option<Parcel<B>> {
        let ready = self.ready.pop_front();
        ready.or_else(|| self.encode()).or_else(|| self.read_back())
    }

    /// Encodes the next payload.
    fn encode(&mut self) -> Option<Parcel<B>> {
        while let Some(mut piece) = self.pieces.pop_front() {
            let mut body = self.buffers.take();
            let limits = self.limits();
            let (encoded, end) = {
                let mut cursor = piece.source.cursor();
                let encoded = self.encoder.encode(&mut cursor, &limits, &mut body);
                (encoded, B::position(&cursor))
            };
            let stuck = end == piece.source.start();
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
        Parcel {
            id: self.next_id(),
            body,
            content_type: self.encoder.encoding().content_type,
            encoded_bytes,
            gzipped,
            key: encoded.key,
            items: encoded.items,
            left_out: encoded.left_out,
            custody: piece.custody,
            source: Some(piece.source),
            record: None,
            attempts: Attempts::default(),
        }
    }

    fn next_id(&mut self) -> PayloadId {
        self.payloads += 1;
        PayloadId(self.payloads)
    }

    fn submit(&mut self, mut parcel: Parcel<B>, deadline: &Deadline) {
        parcel.attempts.begin(Instant::now(), self.options.timeout);
        if parcel.attempts.is_first_possible_repeat() {
            parcel.custody.may_repeat();
        }
        let deadline = match parcel.attempts.series_end() {
            Some(end) => deadline.within(end.saturating_duration_since(Instant::now())),
            None => deadline.clone(),
        };
        let payload = parcel.payload();
        self.transport.submit(parcel.id, &payload, &deadline);
        self.on_wire.push_back(parcel);
    }

    /// Settles what has come back, waiting for the first answer up to `patience`.
    fn collect(&mut self, patience: &Deadline, deadline: &Deadline) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        self.transport.poll(patience, &mut outcomes);
        for outcome in outcomes.drain(..) {
            let place = self
                .on_wire
                .iter()
                .position(|parcel| parcel.id == outcome.id);
            if let Some(parcel) = place.and_then(|place| self.on_wire.remove(place)) {
                self.settle(parcel, outcome.result, deadline);
            }
        }
        self.outcomes = outcomes;
    }
}
