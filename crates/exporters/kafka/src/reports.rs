//! What librdkafka reports from its threads: delivery reports and troubles, handed over to the one who waits for them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use hiq_core::config::Secret;
use hiq_core::export::Deadline;
use hiq_core::transport::PayloadId;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult};
use rdkafka::producer::ProducerContext;

use crate::words::{clean, write_to_stderr};

/// Which message of which producer; those of one transport are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: PayloadId,
    pub(crate) producer: u32,
}

/// How a message ended.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) ticket: Ticket,
    pub(crate) failure: Option<Failure>,
}

/// Why a message was not delivered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) code: RDKafkaErrorCode,
    /// True unless it is certain that the broker does not have it.
    pub(crate) may_have_arrived: bool,
}

/// What is wrong with the connection, in librdkafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) words: String,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) settled: Vec<Settled>,
    /// The last, since a message was delivered.
    pub(crate) trouble: Option<Trouble>,
    /// True once a message of the current producer was delivered.
    pub(crate) has_delivered: bool,
    /// True when the current producer said that it will never work again.
    pub(crate) is_broken: bool,
    /// The number of the current producer.
    pub(crate) producer: u32,
    /// Producers up to this number are gone, and report nothing any more.
    pub(crate) gone: u32,
    /// Messages that are not settled.
    pub(crate) under_way: usize,
    /// Counts what should wake a waiting thread.
    pub(crate) events: u64,
}

/// Shared between a transport, its producers and their threads.
#[derive(Debug)]
pub(crate) struct Reports {
    state: Mutex<State>,
    changed: Condvar,
    secrets: Vec<Secret>,
    is_verbose: bool,
}

impl Reports {
    pub(crate) fn new(secrets: Vec<Secret>, is_verbose: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            secrets,
            is_verbose,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes those that wait.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        state.events += 1;
        self.changed.notify_all();
        result
    }

    /// Waits for the next change after `seen`, at most `longest` and until `deadline`, also when that is pulled forward.
    pub(crate) fn wait(self: &Arc<Self>, seen: u64, longest: Duration, deadline: &Deadline) {
        let waker = Waker::from(Arc::new(Bell(Arc::clone(self))));
        let _guard = deadline.wake_when_pulled(&waker);
        // Asked behind the waker's registration, so that no pull is missed.
        let left = deadline.remaining();
        let longest = left.map_or(longest, |left| left.min(longest));
        drop(self.wait_for(longest, |state| state.events != seen));
    }

    /// Waits until `is_there`, at most `longest`.
    pub(crate) fn wait_for(
        &self,
        longest: Duration,
        is_there: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, longest, |state| !is_there(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Wakes a thread that waits for reports.
struct Bell(Arc<Reports>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.change(|_| ());
    }
}

/// The context of the producer of this number.
#[derive(Debug)]
pub(crate) struct Reporter {
    pub(crate) reports: Arc<Reports>,
    pub(crate) producer: u32,
}

impl ClientContext for Reporter {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        let words = clean(message, &self.reports.secrets);
        if self.reports.is_verbose {
            write_to_stderr(&format!("hiq: librdkafka: {facility}: {words}\n"));
        }
        // Why a connection broke is told in the log alone when nothing was said on it.
        if facility == "FAIL" {
            self.take_note(RDKafkaErrorCode::BrokerTransportFailure, words);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        self.take_note(code, clean(reason, &self.reports.secrets));
    }
}

impl Reporter {
    fn take_note(&self, code: RDKafkaErrorCode, words: String) {
        self.reports.change(|state| {
            if state.producer != self.producer {
                return;
            }
            state.is_broken |= code == RDKafkaErrorCode::Fatal;
            let known = state.trouble.as_ref().map(|trouble| trouble.code);
            if known.is_none_or(|known| weight(code) >= weight(known)) {
                state.trouble = Some(Trouble { code, words });
            }
        });
    }
}

/// How much a trouble tells: that all brokers are down says less than what was said about each, and that a connection broke less
/// than why.
fn weight(code: RDKafkaErrorCode) -> u8 {
    match code {
        RDKafkaErrorCode::AllBrokersDown => 0,
        RDKafkaErrorCode::BrokerTransportFailure => 1,
        _ => 2,
    }
}

impl ProducerContext for Reporter {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let failure = result.as_ref().err().map(|(error, message)| Failure {
            code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
            may_have_arrived: may_have_arrived(message),
        });
        self.reports.change(|state| {
            if failure.is_none() && state.producer == ticket.producer {
                (state.has_delivered, state.trouble) = (true, None);
            }
            state.under_way = state.under_way.saturating_sub(1);
            state.settled.push(Settled {
                ticket: *ticket,
                failure,
            });
        });
    }
}

/// librdkafka knows whether a message ever left for the broker; the binding does not pass that on.
#[expect(unsafe_code, reason = "one call of librdkafka, argued below")]
fn may_have_arrived(message: &BorrowedMessage<'_>) -> bool {
    use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
    // SAFETY: the pointer is of a message that librdkafka has just handed over for its delivery report, and that lives as long
    // as `message`, which holds the report's event. The call reads one field of it.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status != rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}
