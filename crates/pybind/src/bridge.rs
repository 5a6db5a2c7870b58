//! `hiq bridge`: spans from topics of Kafka to any exporter. What was read is committed once it was delivered, never before: whoever
//! is killed leaves to others what nobody has.
//!
//! Messages are taken up in rounds: while one is being delivered, the next is read and decoded. For Prometheus they are counted,
//! see [`counting`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::config::{ConfigError, Env, Settings};
use hiq_core::pipeline::Pipeline;
use hiq_core::status::StatusSink;
use hiq_core::tree::SpanTree;
use hiq_kafka::{
    KafkaConnection, KafkaEncoding, KafkaMessage, KafkaOptions, KafkaPositions, KafkaSource,
    KafkaSourceSettings, Polled,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::exporting::{self, Spec};
use crate::module::errors;

mod counting;
mod decoders;

use counting::Counting;
use decoders::Decoders;

/// A round is closed when it has this many spans or bytes, or is this old.
const MAX_SPANS: usize = 32_768;
const MAX_BYTES: usize = 24 << 20;
const MAX_WAIT: Duration = Duration::from_millis(50);
/// How often a round under way is looked after.
const LOOK: Duration = Duration::from_millis(1);
/// After so long a wait for the far side, the group is shown that its member lives.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// How often Python's signals are looked after.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);
/// The same line is not written again for so long.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Reads `topics` as a member of `group` and sends all spans to the exporters `to`, until `stop.is_set()` or, where `until_end`,
/// the topics' end. `encoding` is for messages whose header does not say theirs.
#[pyfunction]
#[pyo3(signature = (topics, group, to, stop, *, brokers=None, encoding=None, from_start=true, until_end=false))]
#[expect(clippy::too_many_arguments, reason = "the options of a command")]
fn bridge<'py>(
    py: Python<'py>,
    topics: Vec<String>,
    group: &str,
    to: Vec<String>,
    stop: Py<PyAny>,
    brokers: Option<String>,
    encoding: Option<&str>,
    from_start: bool,
    until_end: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let env = environment();
    let counts_as = |name: &String| counting::NAMES.contains(&name.as_str());
    let (of_counting, others): (Vec<_>, Vec<_>) = to.into_iter().partition(counts_as);
    let names = PyList::new(py, &others)?.into_any();
    let specs = exporting::specs_in(py, &names, &env)?;
    let encoding = encoding.map(str::parse::<KafkaEncoding>).transpose();
    let encoding = encoding.map_err(|error| errors::config(&error))?;
    let mut settings =
        source_settings(brokers, topics, group, &env).map_err(|error| errors::config(&error))?;
    (settings.from_start, settings.until_end) = (from_start, until_end);
    let stop = Stop::new(stop);
    let (counts, interrupt) = py
        .detach(|| {
            let counting = (!of_counting.is_empty())
                .then(|| Counting::new(&env, StatusSink::stderr()))
                .transpose()?;
            let source = KafkaSource::open(settings)?;
            let mut bridge = Bridge::new(source, specs, counting, encoding, &env);
            bridge.run(until_end, &stop);
            Ok::<_, ConfigError>((bridge.end(), stop.into_interrupt()))
        })
        .map_err(|error| errors::config(&error))?;
    if let Some(interrupt) = interrupt {
        return Err(interrupt);
    }
    counts.into_dict(py)
}

/// The environment, but for how long spans wait and where: they wait in their topic, for as long as it takes.
fn environment() -> Env {
    const FOREVER_MILLIS: &str = "315360000000";
    let own = |name: &str| matches!(name, "HIQ_QUEUE_MAX_AGE" | "HIQ_SPOOL_DIR");
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let others = all.filter(|(name, _)| !own(name));
    Env::from_pairs(others.chain([("HIQ_QUEUE_MAX_AGE".to_owned(), FOREVER_MILLIS.into())]))
}

fn source_settings(
    brokers: Option<String>,
    topics: Vec<String>,
    group: &str,
    env: &Env,
) -> Result<KafkaSourceSettings, ConfigError> {
    let mut options = KafkaOptions::default();
    options.brokers = brokers;
    let mut warnings = Vec::new();
    let connection = KafkaConnection::new(&options, env, &mut warnings)?;
    for warning in &warnings {
        say(&warning.to_string());
    }
    KafkaSourceSettings::new(connection, topics, group)
}

/// Asks Python, which alone hears of signals, whether to go on.
struct Stop {
    event: Py<PyAny>,
    asked: Mutex<Asked>,
}

struct Asked {
    at: Option<Instant>,
    is_set: bool,
    /// What a handler raised.
    interrupt: Option<PyErr>,
}

impl Stop {
    fn new(event: Py<PyAny>) -> Self {
        let asked = Asked {
            at: None,
            is_set: false,
            interrupt: None,
        };
        Self {
            event,
            asked: Mutex::new(asked),
        }
    }

    fn is_set(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_set || asked.at.is_some_and(|at| at.elapsed() < SIGNALS_EVERY) {
            return asked.is_set;
        }
        asked.at = Some(Instant::now());
        let answer = Python::attach(|py| {
            py.check_signals()?;
            self.event.call_method0(py, "is_set")?.extract(py)
        });
        match answer {
            Ok(is_set) => asked.is_set = is_set,
            Err(error) => (asked.is_set, asked.interrupt) = (true, Some(error)),
        }
        asked.is_set
    }

    fn into_interrupt(self) -> Option<PyErr> {
        let asked = self.asked.into_inner();
        asked.unwrap_or_else(PoisonError::into_inner).interrupt
    }
}

/// Messages that are delivered and committed together.
#[derive(Default)]
struct Round {
    trees: Vec<Arc<SpanTree>>,
    spans: usize,
    bytes: usize,
    positions: KafkaPositions,
    began: Option<Instant>,
}

impl Round {
    fn is_full(&self) -> bool {
        self.spans >= MAX_SPANS || self.bytes >= MAX_BYTES
    }

    fn is_due(&self) -> bool {
        self.is_full() || self.began.is_some_and(|began| began.elapsed() >= MAX_WAIT)
    }
}

/// What became of everything.
#[derive(Default)]
struct Counts {
    messages: u64,
    skipped: u64,
    read: u64,
    delivered: u64,
    lost: u64,
    possible_repeats: u64,
    left: u64,
}

impl Counts {
    fn into_dict(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let dict = PyDict::new(py);
        let all = [
            ("messages", self.messages),
            ("skipped", self.skipped),
            ("read", self.read),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("possible_repeats", self.possible_repeats),
            ("left", self.left),
        ];
        for (name, count) in all {
            dict.set_item(name, count)?;
        }
        Ok(dict)
    }
}

struct Bridge {
    source: KafkaSource,
    decoders: Decoders,
    pipeline: Pipeline,
    counting: Option<Counting>,
    timeout: Duration,
    next: Round,
    under_way: Option<Round>,
    counts: Counts,
    said: Option<(String, Instant)>,
}

impl Bridge {
    fn new(
        source: KafkaSource,
        specs: Vec<Spec>,
        counting: Option<Counting>,
        encoding: Option<KafkaEncoding>,
        env: &Env,
    ) -> Self {
        let mut settings = Settings::from_env(env).pipeline;
        let timeout = settings.shutdown_timeout;
        // A round is all that there is, and is to leave at once, in requests as large as the far side takes.
        settings.schedule_delay = LOOK;
        settings.max_batch_spans = settings.max_batch_spans.max(8_192);
        settings.max_queue_spans = 64 * MAX_SPANS;
        settings.max_queue_bytes = usize::MAX / 4;
        let mut builder = Pipeline::builder()
            .settings(settings)
            .status(StatusSink::stderr());
        for spec in specs {
            builder = builder.exporter(spec.name, spec.build);
        }
        if let Some(counting) = &counting {
            builder = counting.count_in(builder);
        }
        Self {
            source,
            decoders: Decoders::new(encoding),
            pipeline: builder.build(),
            counting,
            timeout,
            next: Round::default(),
            under_way: None,
            counts: Counts::default(),
            said: None,
        }
    }

    fn run(&mut self, until_end: bool, stop: &Stop) {
        let mut waiting_since = None;
        while !stop.is_set() {
            self.settle();
            let is_over = until_end && self.source.is_at_end();
            if self.under_way.is_none() && (self.next.is_due() || is_over) {
                if self.next.positions.is_empty() && is_over {
                    return;
                }
                self.send();
            }
            if self.under_way.is_some() && self.next.is_full() {
                self.wait_for_far_side(*waiting_since.get_or_insert_with(Instant::now));
            } else {
                waiting_since = None;
                self.read();
            }
        }
    }

    /// Nothing more can be read before the round under way is delivered.
    fn wait_for_far_side(&mut self, since: Instant) {
        if since.elapsed() < LONG_WAIT {
            return std::thread::sleep(LOOK);
        }
        self.source.pause();
        // A rebalance may have brought partitions that are not paused: what they hand out belongs to the round as well.
        self.take_message(SIGNALS_EVERY);
    }

    fn read(&mut self) {
        self.source.resume();
        let patience = match self.next.began {
            _ if self.under_way.is_some() => LOOK,
            Some(began) => MAX_WAIT.saturating_sub(began.elapsed()),
            None => SIGNALS_EVERY,
        };
        self.take_message(patience);
    }

    fn take_message(&mut self, wait: Duration) {
        let (next, decoders, counts) = (&mut self.next, &mut self.decoders, &mut self.counts);
        let mut problem = None;
        let polled = self.source.poll(wait, |message| {
            problem = take(next, decoders, counts, &message).err();
        });
        match (polled, problem) {
            (Polled::Trouble(words), _) | (_, Some(words)) => self.say(words),
            _ => {}
        }
    }

    /// Hands the round that was read to the exporters.
    fn send(&mut self) {
        let mut round = std::mem::take(&mut self.next);
        for tree in round.trees.drain(..) {
            self.pipeline.offer_shared(tree);
        }
        self.under_way = Some(round);
    }

    /// Is done with the round under way once nothing of it waits for the far side.
    fn settle(&mut self) {
        if self.under_way.is_some()
            && self.unsettled() == 0
            && let Some(round) = self.under_way.take()
        {
            let spans = round.spans as u64;
            match &mut self.counting {
                None => self.commit(&round.positions, spans),
                Some(counting) => counting.take(round.positions, spans),
            }
        }
        self.commit_counted(Counting::step);
    }

    /// Commits what accepted snapshots hold.
    fn commit_counted(&mut self, found: impl FnOnce(&mut Counting) -> Option<KafkaPositions>) {
        let Some(counting) = &mut self.counting else {
            return;
        };
        let before = counting.accepted_spans();
        let positions = found(counting);
        let spans = counting.accepted_spans() - before;
        if let Some(positions) = positions {
            self.commit(&positions, spans);
        }
    }

    fn commit(&mut self, positions: &KafkaPositions, spans: u64) {
        if let Err(words) = self.source.commit(positions) {
            // Somebody else has these partitions now, and reads it again.
            self.counts.possible_repeats += spans;
            self.say(format!(
                "delivered, but not committed, so that others may deliver it again: {words}"
            ));
        }
    }

    fn unsettled(&self) -> u64 {
        let stats = self.pipeline.stats();
        stats
            .exporters()
            .iter()
            .map(|exporter| exporter.ledger.unsettled())
            .sum()
    }

    /// Lets what is under way arrive, within the time for an exit; what was only read stays in its topic.
    fn end(mut self) -> Counts {
        let end = Instant::now() + self.timeout;
        if self.pipeline.flush(self.timeout).is_complete() {
            self.settle();
        }
        let left = end.saturating_duration_since(Instant::now());
        self.commit_counted(|counting| counting.end(left));
        self.counts.left = self.next.spans as u64;
        if let Some(round) = &self.under_way {
            let waits = self.unsettled().min(round.spans as u64);
            self.counts.left += waits;
            self.counts.possible_repeats += round.spans as u64 - waits;
        }
        for exporter in self.pipeline.stats().exporters() {
            let ledger = &exporter.ledger;
            if *exporter.name != *counting::NAMES[0] {
                self.counts.delivered += ledger.exported + ledger.sent_unconfirmed;
            }
            self.counts.lost += ledger.rejected + ledger.dropped.total();
            self.counts.possible_repeats += ledger.possible_repeats;
        }
        if let Some(counting) = &self.counting {
            self.counts.left += counting.open_spans();
            self.counts.delivered += counting.accepted_spans();
        }
        self.pipeline.shutdown(Duration::ZERO);
        self.counts
    }

    fn say(&mut self, words: String) {
        let is_new = self
            .said
            .as_ref()
            .is_none_or(|(said, at)| *said != words || at.elapsed() >= SAY_EVERY);
        if is_new {
            say(&words);
            self.said = Some((words, Instant::now()));
        }
    }
}

/// Decodes `message` into `round`. The error is a line that names it.
fn take(
    round: &mut Round,
    decoders: &mut Decoders,
    counts: &mut Counts,
    message: &KafkaMessage<'_>,
) -> Result<(), String> {
    round.began.get_or_insert_with(Instant::now);
    round.positions.note(message);
    counts.messages += 1;
    let before = round.trees.len();
    let decoded = decoders.decode(message, &mut |tree| round.trees.push(tree));
    if let Err(words) = decoded {
        // Spans that were read before the damage are of no use to anybody.
        round.trees.truncate(before);
        counts.skipped += 1;
        let KafkaMessage {
            topic,
            partition,
            offset,
            ..
        } = message;
        return Err(format!(
            "message {offset} of {topic}, partition {partition}, is left out: {words}"
        ));
    }
    for tree in &round.trees[before..] {
        round.spans += tree.len();
        round.bytes += tree.heap_bytes();
        counts.read += tree.len() as u64;
    }
    Ok(())
}

/// One line, in one `write`.
fn say(words: &str) {
    use std::io::Write as _;
    let line = format!("hiq: bridge: {words}\n");
    // Nobody is left to be told that nobody can be told.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(bridge, module)?)
}
