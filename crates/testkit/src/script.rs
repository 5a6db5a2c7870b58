//! A transport that follows a script and keeps what it was given.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::export::Deadline;
use hiq_core::transport::{
    HttpReply, Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};

use crate::Watched;

/// What a scripted transport was given: one attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Counted from zero.
    pub number: usize,
    /// The payload's id.
    pub id: PayloadId,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its content type.
    pub content_type: &'static str,
    /// Its content encoding.
    pub content_encoding: Option<&'static str>,
    /// Spans in it.
    pub items: usize,
    /// Time that it was given; `None`: any.
    pub time_left: Option<Duration>,
    /// When.
    pub at: Instant,
}

/// What becomes of an attempt.
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer {
    /// This comes back.
    Reply(Reply),
    /// It goes wrong on the way.
    Error(TransportErrorKind),
    /// Nothing comes back before the deadline.
    Stall,
}

impl Answer {
    /// An HTTP response without a body.
    pub fn status(status: u16) -> Self {
        Self::Reply(Reply::Http(HttpReply::new(status)))
    }

    /// An HTTP response with a body.
    pub fn text(status: u16, body: &str) -> Self {
        let mut reply = HttpReply::new(status);
        reply.body = body.as_bytes().to_vec();
        Self::Reply(Reply::Http(reply))
    }

    /// An HTTP response with a `Retry-After`.
    pub fn retry_after(status: u16, after: Duration) -> Self {
        let mut reply = HttpReply::new(status);
        reply.retry_after = Some(after);
        Self::Reply(Reply::Http(reply))
    }
}

type Respond = Box<dyn FnMut(&Attempt) -> Answer + Send>;

/// What the far side does, attempt by attempt, and what it was given. Clones are the same far side.
#[derive(Clone)]
pub struct Script {
    respond: Arc<Mutex<Respond>>,
    attempts: Arc<Watched<Vec<Attempt>>>,
    renewals: Arc<Watched<usize>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({} attempts)", self.attempts().len())
    }
}

impl Script {
    /// A far side that answers each attempt as `respond` says. `respond` may block: then the far side hangs.
    pub fn new(respond: impl FnMut(&Attempt) -> Answer + Send + 'static) -> Self {
        Self {
            respond: Arc::new(Mutex::new(Box::new(respond))),
            attempts: Watched::new(Vec::new()),
            renewals: Watched::new(0),
        }
    }

    /// A far side that takes everything.
    pub fn accepting() -> Self {
        Self::new(|_| Answer::status(200))
    }

    /// A far side where nobody listens.
    pub fn refusing_connections() -> Self {
        Self::new(|_| Answer::Error(TransportErrorKind::Connect))
    }

    /// A far side that gives these answers one after the other, and then takes everything.
    pub fn answers(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        Self::new(move |_| answers.pop_front().unwrap_or_else(|| Answer::status(200)))
    }

    /// The wire to it, which takes one payload at a time and answers at once.
    pub fn transport(&self) -> ScriptedTransport {
        ScriptedTransport {
            script: self.clone(),
            limits: TransportLimits::one_at_a_time(usize::MAX),
            waits_for_poll: false,
            settled: VecDeque::new(),
        }
    }

    /// A wire to it that takes several payloads at a time and gives one answer a poll.
    pub fn transport_with_in_flight(&self, max_in_flight: usize) -> ScriptedTransport {
        let mut transport = self.transport();
        transport.limits.max_in_flight = max_in_flight;
        transport.waits_for_poll = true;
        transport
    }

    /// All attempts so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.with(|attempts| attempts.clone())
    }

    /// How often credentials were asked for.
    pub fn renewals(&self) -> usize {
        self.renewals.with(|renewals| *renewals)
    }

    /// Waits until there have been `count` attempts, and returns all of them.
    ///
    /// # Panics
    /// When they do not come within [`crate::PATIENCE`].
    #[track_caller]
    pub fn wait_for_attempts(&self, count: usize) -> Vec<Attempt> {
        self.attempts
            .wait_for(|attempts| (attempts.len() >= count).then(|| attempts.clone()))
    }

    fn attempt(&self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) -> Answer {
        let attempt = self.attempts.with(|attempts| {
            let attempt = Attempt {
                number: attempts.len(),
                id,
                body: payload.body.to_vec(),
                content_type: payload.content_type,
                content_encoding: payload.content_encoding,
                items: payload.items,
                time_left: deadline.remaining(),
                at: Instant::now(),
            };
            attempts.push(attempt.clone());
            attempt
        });
        let mut respond = self.respond.lock().unwrap_or_else(PoisonError::into_inner);
        respond(&attempt)
    }
}

/// The wire to a [`Script`].
#[derive(Debug)]
pub struct ScriptedTransport {
    script: Script,
    limits: TransportLimits,
    waits_for_poll: bool,
    settled: VecDeque<Outcome>,
}

impl ScriptedTransport {
    /// The same with this limit of a payload's bytes.
    #[must_use]
    pub fn with_max_payload_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_payload_bytes = bytes;
        self
    }
}

impl Transport for ScriptedTransport {
    fn limits(&self) -> TransportLimits {
        self.limits
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        let result = match self.script.attempt(id, payload, deadline) {
            Answer::Reply(reply) => Ok(reply),
            Answer::Error(kind) => Err(TransportError::new(kind, format!("{kind:?} by script"))),
            Answer::Stall => {
                deadline.sleep(crate::PATIENCE);
                let kind = TransportErrorKind::Timeout;
                Err(TransportError::new(kind, "no answer in time by script"))
            }
        };
        self.settled.push_back(Outcome::new(id, result));
    }

    fn poll(&mut self, deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        if !self.waits_for_poll {
            outcomes.extend(self.settled.drain(..));
        } else if !deadline.is_over() {
            outcomes.extend(self.settled.pop_front());
        }
    }

    /// Takes a moment, as asking somebody does.
    fn renew_credentials(&mut self, deadline: &Deadline) -> bool {
        self.script.renewals.with(|renewals| *renewals += 1);
        deadline.sleep(Duration::from_nanos(1))
    }
}
