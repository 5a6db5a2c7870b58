//! The transport: one payload, one message, one delivery report.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::config::ConfigError;
use hiq_core::export::Deadline;
use hiq_core::fork;
use hiq_core::transport::{
    Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};

use crate::config::KafkaSettings;
use crate::names::{KafkaKey, KafkaProfile};
use crate::producer::{Message, Producer, Taken};
use crate::reports::{Failure, Reports, Settled, Ticket};
use crate::words::{Explain, clean};

/// Messages under way: enough for one span each to fill the wire. Their bytes are limited below.
const MAX_IN_FLIGHT: usize = 10_000;
/// KiB that wait in librdkafka at most; then the worker waits.
const MAX_WAITING_KBYTES: &str = "32768";
/// Of a message beside its value: key, headers, and what Kafka puts around them.
const AROUND_BYTES: usize = 1_024;
/// A producer that has never reached a broker for so long is given up: what it holds cannot have arrived.
const FIRST_CONTACT: Duration = Duration::from_secs(3);
/// What is left in librdkafka at the end is purged, which takes a moment.
const LEAVING: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(1);

/// Sends each payload as one message of a topic. Its end is the broker's acknowledgement, never before.
///
/// librdkafka repeats what it can without harm (the same message again, recognized by the broker) for as long as the
/// settings' timeout; then the message comes back, and what is done with it is the delivery loop's business.
///
/// The producer is started by the first payload, and again after a trouble that it does not survive and in a forked child.
#[derive(Debug)]
pub struct KafkaTransport {
    settings: KafkaSettings,
    /// Name of the encoding, in a header of each message.
    encoding: &'static str,
    target: String,
    config: Hidden,
    reports: Arc<Reports>,
    producer: Option<Producer>,
    /// Counts producers.
    started: u32,
    /// Up to which they are gone, and what they had is settled.
    buried: u32,
    /// Which producer has each message that is under way.
    under_way: HashMap<PayloadId, u32>,
    /// Since when the oldest of a burst has been waiting.
    waiting_since: Option<Instant>,
    settled: Vec<Outcome>,
    /// The process that all this belongs to.
    generation: u32,
}

/// Holds secrets that its own `Debug` does not know to be some.
struct Hidden(ClientConfig);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientConfig")
    }
}

impl KafkaTransport {
    /// A transport of payloads whose encoding has this name. Checks the settings; opens no socket and starts no thread.
    pub fn new(settings: KafkaSettings, encoding: &'static str) -> Result<Self, ConfigError> {
        let config = Hidden(producer_config(&settings)?);
        let connection = &settings.connection;
        let reports = Reports::new(connection.secrets(), connection.is_verbose());
        Ok(Self {
            target: settings.target(),
            encoding,
            config,
            reports,
            producer: None,
            started: 0,
            buried: 0,
            under_way: HashMap::new(),
            waiting_since: None,
            settled: Vec::new(),
            generation: fork::generation(),
            settings,
        })
    }

    fn send(
        &mut self,
        id: PayloadId,
        payload: &Payload<'_>,
        deadline: &Deadline,
    ) -> Result<(), TransportError> {
        self.open()?;
        let ticket = Ticket {
            id,
            producer: self.started,
        };
        let key = payload.key.filter(|_| self.settings.key != KafkaKey::None);
        let headers = self.headers(payload);
        loop {
            let seen = self.reports.lock().events;
            let Some(producer) = &self.producer else {
                return Err(self.explained(|explain| explain.no_room()));
            };
            let message = Message {
                topic: &self.settings.topic,
                key,
                headers: headers.clone(),
                body: payload.body,
            };
            match producer.send(&message, ticket) {
                Taken::Yes => break,
                Taken::NoRoom if !deadline.is_over() => {
                    self.reports.wait(seen, LONG, deadline);
                    self.give_up_in_time();
                }
                Taken::NoRoom => return Err(self.explained(|explain| explain.no_room())),
                Taken::No(code) => {
                    let failure = Failure {
                        code,
                        may_have_arrived: false,
                    };
                    return Err(self.explained(|explain| explain.failure(failure)));
                }
            }
        }
        self.under_way.insert(id, self.started);
        self.waiting_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn headers(&self, payload: &Payload<'_>) -> OwnedHeaders {
        let header = |key, value| Header {
            key,
            value: Some(value),
        };
        let headers = OwnedHeaders::new_with_capacity(3)
            .insert(header("content-type", payload.content_type))
            .insert(header(crate::ENCODING_HEADER, self.encoding))
            .insert(header(crate::SIGNAL_HEADER, self.settings.signal.name()));
        match payload.content_encoding {
            Some(encoding) => headers.insert(header("content-encoding", encoding)),
            None => headers,
        }
    }

    fn open(&mut self) -> Result<(), TransportError> {
        if self.producer.is_some() {
            return Ok(());
        }
        let number = self.started + 1;
        self.reports.change(|state| {
            state.producer = number;
            (state.has_delivered, state.is_broken) = (false, false);
        });
        let started = Producer::start(&self.config.0, number, &self.reports);
        let producer = started.map_err(|words| {
            let words = clean(&words, &self.settings.connection.secrets());
            self.explained(|explain| explain.no_producer(&words))
        })?;
        (self.producer, self.started) = (Some(producer), number);
        Ok(())
    }

    fn explained(&self, say: impl FnOnce(Explain<'_>) -> TransportError) -> TransportError {
        let trouble = self.reports.lock().trouble.clone();
        say(Explain {
            target: &self.target,
            topic: &self.settings.topic,
            max_message_bytes: self.settings.max_message_bytes,
            trouble: trouble.as_ref(),
        })
    }

    /// Takes in what has been reported.
    fn collect(&mut self) {
        let (settled, gone) = {
            let mut state = self.reports.lock();
            (std::mem::take(&mut state.settled), state.gone)
        };
        for Settled { ticket, failure } in settled {
            // One that was given up as lost, or the parent's.
            if self.under_way.get(&ticket.id) != Some(&ticket.producer) {
                continue;
            }
            self.under_way.remove(&ticket.id);
            let result = match failure {
                None => Ok(Reply::Acknowledged),
                Some(failure) => Err(self.explained(|explain| explain.failure(failure))),
            };
            self.settled.push(Outcome::new(ticket.id, result));
        }
        self.bury(gone);
        if self.under_way.is_empty() {
            self.waiting_since = None;
        }
    }

    /// Producers that are gone report no more: what they have not reported is lost track of.
    fn bury(&mut self, gone: u32) {
        if gone == self.buried {
            return;
        }
        self.buried = gone;
        let of_gone = |(_, producer): &(PayloadId, u32)| *producer <= gone;
        let all = self.under_way.iter().map(|(id, producer)| (*id, *producer));
        for (id, _) in all.filter(of_gone).collect::<Vec<_>>() {
            self.under_way.remove(&id);
            self.reports.lock().under_way -= 1;
            let failure = Failure {
                code: rdkafka::error::RDKafkaErrorCode::PurgeInflight,
                may_have_arrived: true,
            };
            let error = self.explained(|explain| explain.failure(failure));
            self.settled.push(Outcome::new(id, Err(error)));
        }
    }

    /// Ends a producer that will not work again, or that has found no broker since it was started.
    fn give_up_in_time(&mut self) {
        let is_hopeless = {
            let state = self.reports.lock();
            let waited = self.waiting_since.map(|since| since.elapsed());
            let has_no_contact = state.trouble.is_some() && !state.has_delivered;
            state.is_broken
                || has_no_contact && waited.is_some_and(|waited| waited >= FIRST_CONTACT)
        };
        if is_hopeless && let Some(producer) = self.producer.take() {
            producer.end_aside();
        }
    }

    /// In a forked child everything under way is the parent's business.
    fn leave_parents_wire(&mut self) {
        let generation = fork::generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        if let Some(producer) = self.producer.take() {
            producer.leak();
        }
        let connection = &self.settings.connection;
        let reports = Reports::new(connection.secrets(), connection.is_verbose());
        // A thread of the parent's may have held its lock.
        std::mem::forget(std::mem::replace(&mut self.reports, reports));
        self.under_way.clear();
        self.settled.clear();
        self.waiting_since = None;
    }
}

impl Transport for KafkaTransport {
    fn limits(&self) -> TransportLimits {
        let max_payload_bytes = self.settings.max_message_bytes.saturating_sub(AROUND_BYTES);
        let mut limits = TransportLimits::one_at_a_time(max_payload_bytes);
        limits.max_in_flight = MAX_IN_FLIGHT;
        limits.max_payloads_per_call = MAX_IN_FLIGHT;
        limits
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        self.leave_parents_wire();
        if let Err(error) = self.send(id, payload, deadline) {
            self.settled.push(Outcome::new(id, Err(error)));
        }
    }

    fn poll(&mut self, deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        self.leave_parents_wire();
        loop {
            let seen = self.reports.lock().events;
            self.collect();
            if !self.settled.is_empty() || self.under_way.is_empty() || deadline.is_over() {
                break;
            }
            self.give_up_in_time();
            self.reports.wait(seen, LONG, deadline);
        }
        outcomes.append(&mut self.settled);
    }

    fn shutdown(&mut self, deadline: &Deadline) {
        self.leave_parents_wire();
        while !self.under_way.is_empty() && !deadline.is_over() {
            let seen = self.reports.lock().events;
            self.collect();
            if !self.under_way.is_empty() {
                self.reports.wait(seen, LONG, deadline);
            }
        }
        if let Some(producer) = self.producer.take() {
            producer.end_aside();
        }
        // The program's end would take OpenSSL away from under its threads: they are waited for, if it does not take long.
        let left = deadline.remaining().map_or(LONG, |left| left.min(LONG));
        let started = self.started;
        drop(
            self.reports
                .wait_for(left.max(LEAVING), |state| state.gone >= started),
        );
        self.collect();
        for (id, _) in self.under_way.drain() {
            let error = TransportError::new(TransportErrorKind::Cancelled, "told to stop");
            self.settled.push(Outcome::new(id, Err(error)));
        }
    }
}

impl Drop for KafkaTransport {
    fn drop(&mut self) {
        self.leave_parents_wire();
        if let Some(producer) = self.producer.take() {
            producer.end_aside();
        }
    }
}

impl KafkaSettings {
    /// Where messages go, for people: `kafka://host:port/topic`.
    pub fn target(&self) -> String {
        format!("kafka://{}/{}", self.connection.brokers, self.topic)
    }
}

/// The producer's settings; those that follow from the profile are in `wire-formats` and Oracle's documentation of OCI Streaming.
fn producer_config(settings: &KafkaSettings) -> Result<ClientConfig, ConfigError> {
    let is_oci = settings.connection.profile == KafkaProfile::OciStreaming;
    let mut config = settings.connection.client();
    let timeout = settings
        .timeout
        .map_or(0, |timeout| timeout.as_millis().max(1));
    config.set("acks", "all");
    config.set("enable.idempotence", if is_oci { "false" } else { "true" });
    config.set(
        "max.in.flight.requests.per.connection",
        if is_oci { "1" } else { "5" },
    );
    config.set(
        "message.timeout.ms",
        timeout.min(i32::MAX as u128).to_string(),
    );
    config.set("message.max.bytes", settings.max_message_bytes.to_string());
    config.set("compression.type", settings.compression.name());
    config.set("queue.buffering.max.kbytes", MAX_WAITING_KBYTES);
    // As Java's producer: a key finds the same partition whoever writes.
    config.set("partitioner", "murmur2_random");
    // How long a topic that is not there is taken to be one that was just made.
    config.set("topic.metadata.propagation.max.ms", "3000");
    settings.connection.finish(config)
}
