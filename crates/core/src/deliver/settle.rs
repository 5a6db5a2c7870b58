//! What becomes of a payload that came back.

use std::time::{Duration, Instant};

use super::EncodedExporter;
use super::parcel::{Parcel, Piece, Source};
use crate::encode::{DropReason, Encodable, Encoder, Verdict};
use crate::export::{Deadline, Health};
use crate::ledger::Custody;
use crate::transport::{Reply, Transport, TransportError, TransportErrorKind};

/// A server's limit is never taken to be lower than this: below, its 413 means the items themselves.
const MIN_PAYLOAD_BYTES: usize = 1 << 10;

/// A payload of 1 GiB is below the smallest limit after this many divisions; an encoder that ignores limits never is.
const MAX_DIVISIONS: u8 = 20;

/// Halves that may be refused in a row before the rest is taken to be as bad. One bad item among 2^20 takes 21.
const MAX_REFUSED_HALVES: u32 = 32;

impl<B: Encodable, E: Encoder<B>, T: Transport> EncodedExporter<B, E, T> {
    pub(super) fn settle(
        &mut self,
        mut parcel: Parcel<B>,
        result: Result<Reply, TransportError>,
        deadline: &Deadline,
    ) {
        let verdict = match result {
            Ok(reply) => self.encoder.judge(&reply, parcel.items),
            Err(error) => return self.settle_unanswered(parcel, error),
        };
        match verdict {
            Verdict::Delivered { rejected, message } => self.delivered(parcel, rejected, message),
            Verdict::SentUnconfirmed => self.sent_unconfirmed(parcel),
            Verdict::Rejected { message } => self.rejected(parcel, message),
            Verdict::Retry { after, message } => self.retry_later(parcel, after, message),
            Verdict::TooLarge { message } => self.divide_by_size(parcel, message),
            Verdict::Split { message } => self.divide_in_halves(parcel, message),
            Verdict::Reencode { message } => self.encode_anew(parcel, message),
            Verdict::Unauthorized { message } => {
                let renewed = !std::mem::replace(&mut parcel.attempts.credentials_renewed, true)
                    && self.transport.renew_credentials(deadline);
                if renewed {
                    self.ready.push_front(parcel);
                } else {
                    self.rejected(parcel, message);
                }
            }
        }
    }

    fn settle_unanswered(&mut self, mut parcel: Parcel<B>, error: TransportError) {
        parcel.attempts.may_have_arrived |= error.kind.may_have_arrived();
        if error.kind == TransportErrorKind::TooLarge {
            self.divide_by_size(parcel, error.message);
        } else if error.kind.is_temporary() {
            self.retry_later(parcel, None, error.message);
        } else {
            self.lose(error.message);
            self.finish(parcel, |custody| custody.dropped(DropReason::Refused));
        }
    }

    fn delivered(&mut self, parcel: Parcel<B>, rejected: usize, message: Option<String>) {
        self.wire_works();
        if rejected > 0 {
            let (items, words) = (parcel.items, message.unwrap_or_default());
            self.lose(format!(
                "the server rejected {rejected} of {items}: {words}"
            ));
        } else {
            self.settled_well(message);
        }
        self.finish(parcel, |mut custody| {
            custody.split_off(rejected).rejected();
            custody.delivered();
        });
    }

    fn sent_unconfirmed(&mut self, parcel: Parcel<B>) {
        self.wire_works();
        self.settled_well(None);
        self.finish(parcel, Custody::sent_unconfirmed);
    }

    fn rejected(&mut self, parcel: Parcel<B>, message: String) {
        // It answers: nothing is gained by making the next payload wait.
        self.gate.reset();
        self.lose(message);
        self.finish(parcel, Custody::rejected);
    }

    /// Items are lost for this reason.
    pub(super) fn lose(&mut self, why: String) {
        self.lost = Some(why.clone());
        self.health = Health::Losing(why);
    }

    /// Nothing is lost now, with or without words of warning.
    fn settled_well(&mut self, words: Option<String>) {
        self.health = match (&self.lost, words) {
            (Some(why), _) => Health::Losing(why.clone()),
            (None, Some(words)) => Health::Warned(words),
            (None, None) => Health::Fine,
        };
    }

    fn wire_works(&mut self) {
        self.gate.reset();
        self.refused_halves = 0;
    }

    /// Keeps the payload for another attempt, unless its items have become too old.
    fn retry_later(&mut self, parcel: Parcel<B>, server_wish: Option<Duration>, why: String) {
        let now = Instant::now();
        let max_age = match (&parcel.record, &self.stock) {
            (Some(_), Some(stock)) => stock.max_age(),
            _ => self.options.max_age,
        };
        let expires = parcel.custody.since().checked_add(max_age);
        if expires.is_some_and(|expires| expires <= now) {
            self.lose(format!("given up after {max_age:?}: {why}"));
            return self.finish(parcel, |custody| custody.dropped(DropReason::Expired));
        }
        self.health = Health::Waiting(why);
        self.gate
            .close(now, parcel.attempts.last_began(), server_wish, expires);
        let place = self.ready.partition_point(|other| other.id < parcel.id);
        self.ready.insert(place, parcel);
    }

    /// The server takes less than we thought: from now on payloads are half as large.
    fn divide_by_size(&mut self, mut parcel: Parcel<B>, message: String) {
        self.gate.reset();
        let half = (parcel.encoded_bytes / 2).max(MIN_PAYLOAD_BYTES);
        let divisible = parcel.items > 1 && parcel.encoded_bytes > MIN_PAYLOAD_BYTES;
        let may_divide = |source: &mut Source<B>| divisible && source.divisions() < MAX_DIVISIONS;
        if let Some(source) = parcel.source.take_if(may_divide) {
            self.max_payload_bytes = self.max_payload_bytes.min(half);
            let piece = self.unpack(parcel, source);
            self.pieces.push_front(piece);
        } else {
            self.lose(message);
            self.finish(parcel, |custody| custody.dropped(DropReason::TooLarge));
        }
    }

    /// One item is bad: each half is tried by itself, so that the others get through.
    fn divide_in_halves(&mut self, mut parcel: Parcel<B>, message: String) {
        self.gate.reset();
        self.refused_halves += 1;
        let divisible = self.refused_halves <= MAX_REFUSED_HALVES;
        let source = parcel.source.take_if(|_| divisible);
        let middle = source.as_ref().and_then(Source::middle);
        let (Some(source), Some((middle, first_items))) = (source, middle) else {
            return self.rejected(parcel, message);
        };
        let mut second = self.unpack(parcel, source);
        let first = second.split_off(middle, first_items);
        self.pieces.push_front(second);
        self.pieces.push_front(first);
    }

    /// The encoder writes something else from now on.
    fn encode_anew(&mut self, mut parcel: Parcel<B>, message: String) {
        self.gate.reset();
        let may_change = |source: &mut Source<B>| source.divisions() < MAX_DIVISIONS;
        match parcel.source.take_if(may_change) {
            Some(source) => {
                let piece = self.unpack(parcel, source);
                self.pieces.push_front(piece);
            }
            None => self.rejected(parcel, message),
        }
    }

    /// A parcel that is to be encoded anew.
    fn unpack(&mut self, parcel: Parcel<B>, source: Source<B>) -> Piece<B> {
        self.buffers.give(parcel.body);
        if let (Some(stock), Some(record)) = (&mut self.stock, parcel.record) {
            stock.replace(record);
        }
        Piece {
            source: source.divided(),
            custody: parcel.custody,
        }
    }

    /// Settles what was sent as `settle` says, and drops what the encoder had left out.
    pub(super) fn finish(&mut self, parcel: Parcel<B>, settle: impl FnOnce(Custody)) {
        self.buffers.give(parcel.body);
        let mut custody = parcel.custody;
        let sent = custody.split_off(parcel.items);
        settle(sent);
        self.leave_out(custody, &parcel.left_out);
        if let (Some(stock), Some(record)) = (&mut self.stock, parcel.record) {
            stock.settle(record);
        }
    }

    /// Drops what the encoder left out.
    pub(super) fn leave_out(&mut self, mut custody: Custody, left_out: &[(DropReason, usize)]) {
        for (reason, items) in left_out {
            let name = self.encoder.encoding().name;
            let why = self.encoder.why_left_out();
            let why = why.filter(|_| *reason == DropReason::Invalid);
            let why = why.unwrap_or_else(|| reason.name().to_owned());
            self.lose(format!("{items} left out of {name}: {why}"));
            custody.split_off(*items).dropped(*reason);
        }
        self.abandon(custody);
    }

    /// Drops what the encoder has not accounted for.
    pub(super) fn abandon(&mut self, custody: Custody) {
        if custody.items() > 0 {
            let name = self.encoder.encoding().name;
            self.lose(format!("the {name} encoder left items behind"));
            custody.dropped(DropReason::Encode);
        }
    }
}
