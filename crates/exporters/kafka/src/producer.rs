//! One producer of librdkafka, and the thread that collects what it reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord};

use crate::reports::{Reporter, Reports, Ticket};

/// How long the collector waits for a report in one go while messages are under way.
const SLICE: Duration = Duration::from_millis(20);
/// How often it looks when none is: only words of trouble come then.
const IDLE: Duration = Duration::from_secs(60);

/// A producer. Dropping it takes up to half a second, and whatever a name server takes.
#[derive(Debug)]
pub(crate) struct Producer {
    number: u32,
    native: Arc<Native>,
    collector: Option<JoinHandle<()>>,
    must_stop: Arc<AtomicBool>,
    reports: Arc<Reports>,
}

struct Native(BaseProducer<Reporter>);

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BaseProducer")
    }
}

/// A message on its way in.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) headers: OwnedHeaders,
    pub(crate) body: &'a [u8],
}

/// Whether a message was taken in.
#[derive(Debug)]
pub(crate) enum Taken {
    Yes,
    /// Its memory is full.
    NoRoom,
    No(RDKafkaErrorCode),
}

impl Producer {
    /// Starts one; the error is librdkafka's words.
    pub(crate) fn start(
        config: &ClientConfig,
        number: u32,
        reports: &Arc<Reports>,
    ) -> Result<Self, String> {
        let reporter = Reporter {
            reports: Arc::clone(reports),
            producer: number,
        };
        let native = BaseProducer::from_config_and_context(config, reporter);
        let native = Arc::new(Native(native.map_err(|error| error.to_string())?));
        let must_stop = Arc::new(AtomicBool::new(false));
        let collector = {
            let (native, reports) = (Arc::clone(&native), Arc::clone(reports));
            let must_stop = Arc::clone(&must_stop);
            let collect = move || collect(&native, &reports, &must_stop);
            let thread = std::thread::Builder::new().name("hiq-kafka-reports".to_owned());
            thread
                .spawn(collect)
                .map_err(|error| format!("no thread: {error}"))?
        };
        Ok(Self {
            number,
            native,
            collector: Some(collector),
            must_stop,
            reports: Arc::clone(reports),
        })
    }

    /// Hands `message` over. It is under way from before the call, so that its report is never there first.
    pub(crate) fn send(&self, message: &Message<'_>, ticket: Ticket) -> Taken {
        let mut record = BaseRecord::with_opaque_to(message.topic, Box::new(ticket))
            .payload(message.body)
            .headers(message.headers.clone());
        if let Some(key) = message.key {
            record = record.key(key.as_bytes());
        }
        let before = {
            let mut state = self.reports.lock();
            state.under_way += 1;
            state.under_way - 1
        };
        let taken = match self.native.0.send(record) {
            Ok(()) => Taken::Yes,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Taken::NoRoom,
            Err((error, _)) => {
                Taken::No(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))
            }
        };
        match &self.collector {
            _ if !matches!(taken, Taken::Yes) => self.reports.lock().under_way -= 1,
            Some(collector) if before == 0 => collector.thread().unpark(),
            _ => {}
        }
        taken
    }

    /// Lets go of it without a word to it: after a fork it is the parent's.
    pub(crate) fn leak(self) {
        std::mem::forget(self);
    }

    /// Ends it on a thread of its own, which is what can take long. What it still holds is reported as purged.
    pub(crate) fn end_aside(self) {
        let (number, reports) = (self.number, Arc::clone(&self.reports));
        let is_gone = move || reports.change(|state| state.gone = state.gone.max(number));
        let then = is_gone.clone();
        let thread = std::thread::Builder::new().name("hiq-kafka-end".to_owned());
        let ended = thread.spawn(move || {
            drop(self);
            then();
        });
        if ended.is_err() {
            // There was no thread to be had: with the closure, the producer was dropped here.
            is_gone();
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.must_stop.store(true, Ordering::Release);
        if let Some(collector) = self.collector.take() {
            collector.thread().unpark();
            let _ = collector.join();
        }
    }
}

fn collect(native: &Native, reports: &Reports, must_stop: &AtomicBool) {
    while !must_stop.load(Ordering::Acquire) {
        if reports.lock().under_way == 0 {
            native.0.poll(Duration::ZERO);
            std::thread::park_timeout(IDLE);
        } else {
            native.0.poll(SLICE);
        }
    }
}
