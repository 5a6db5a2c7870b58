//! `hiq bridge`: spans and metrics from topics of Kafka to any exporter. What was read is committed once it was delivered, never
//! before: whoever is killed leaves to others what nobody has.
//!
//! Messages are taken up in rounds: while one is being delivered, the next is read and decoded. For Prometheus spans are
//! counted, see [`counting`]; metrics are written as they are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hiq_core::config::{ConfigError, Env, Settings};
use hiq_core::pipeline::{MetricPipeline, Pipeline, PipelineStats};
use hiq_core::status::StatusSink;
use hiq_kafka::{
    KafkaConnection, KafkaEncoding, KafkaOptions, KafkaPositions, KafkaSignal, KafkaSource,
    KafkaSourceSettings, Polled,
};
use hiq_otlp::LeftOutPoints;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::exporting::{Forward, Spec};
use crate::module::errors;

mod counting;
mod counts;
mod decoders;
mod round;
mod stop;
mod targets;

use counting::{Counting, Share};
use counts::Counts;
use decoders::Decoders;
use round::{Intake, MAX_ITEMS, MAX_WAIT, Round, Told};
use stop::Stop;
use targets::Targets;

/// How often a round under way is looked after.
const LOOK: Duration = Duration::from_millis(1);
/// After so long a wait for the far side, the group is shown that its member lives.
const LONG_WAIT: Duration = Duration::from_secs(1);
/// How often Python's signals are looked after.
const SIGNALS_EVERY: Duration = Duration::from_millis(100);
/// The same line is not written again for so long.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Messages that cannot be read and are told of one by one; of more there is a line now and then.
const MAX_TOLD: u64 = 5;

/// Reads `topics` as a member of `group` and sends spans and points to the exporters `to`, until `stop.is_set()` or, where
/// `until_end`, the topics' end. `encoding` is for messages whose header does not say theirs, `signal` for those whose looks do
/// not say it either.
#[pyfunction]
#[pyo3(signature = (topics, group, to, stop, *, brokers=None, encoding=None, signal=None, from_start=true, until_end=false))]
#[expect(clippy::too_many_arguments, reason = "the options of a command")]
fn bridge<'py>(
    py: Python<'py>,
    topics: Vec<String>,
    group: &str,
    to: Vec<String>,
    stop: Py<PyAny>,
    brokers: Option<String>,
    encoding: Option<&str>,
    signal: Option<&str>,
    from_start: bool,
    until_end: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let env = environment();
    let targets = Targets::new(py, to, &env)?;
    let refused = |error: ConfigError| errors::config(&error);
    let encoding = encoding.map(str::parse::<KafkaEncoding>).transpose();
    let signal = signal.map(str::parse::<KafkaSignal>).transpose();
    let decoders = Decoders::new(encoding.map_err(refused)?, signal.map_err(refused)?);
    let mut settings = source_settings(brokers, topics, group, &env).map_err(refused)?;
    (settings.from_start, settings.until_end) = (from_start, until_end);
    targets.refuse_circles(&settings).map_err(refused)?;
    let stop = Stop::new(stop);
    let (counts, interrupt) = py
        .detach(|| {
            let counting = (targets.counts)
                .then(|| Counting::new(&env, StatusSink::stderr()))
                .transpose()?;
            let source = KafkaSource::open(settings)?;
            let mut bridge = Bridge::new(source, targets, counting, decoders, &env);
            bridge.run(until_end, &stop);
            Ok::<_, ConfigError>((bridge.end(), stop.into_interrupt()))
        })
        .map_err(refused)?;
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

struct Bridge {
    source: KafkaSource,
    intake: Intake,
    /// Of spans, and of points.
    pipelines: Pipelines,
    counting: Option<Counting>,
    timeout: Duration,
    next: Round,
    under_way: Option<Round>,
    counts: Counts,
    said: Said,
}

struct Pipelines {
    spans: Pipeline,
    points: MetricPipeline,
}

impl Pipelines {
    fn new(
        spans: Vec<Spec>,
        metrics: Vec<Forward>,
        counting: Option<&Counting>,
        env: &Env,
    ) -> Self {
        let mut settings = Settings::from_env(env).pipeline;
        // A round is all that there is, and is to leave at once, in requests as large as the far side takes.
        settings.schedule_delay = LOOK;
        settings.max_batch_spans = settings.max_batch_spans.max(8_192);
        settings.max_queue_spans = 64 * MAX_ITEMS;
        settings.max_queue_bytes = usize::MAX / 4;
        let mut of_points = MetricPipeline::builder()
            .settings(settings.clone())
            .status(StatusSink::stderr());
        for forward in metrics {
            of_points = of_points.exporter(forward.name, forward.build);
        }
        let mut of_spans = Pipeline::builder()
            .settings(settings)
            .status(StatusSink::stderr());
        for spec in spans {
            of_spans = of_spans.exporter(spec.name, spec.build);
        }
        if let Some(counting) = counting {
            of_spans = counting.count_in(of_spans);
        }
        Self {
            spans: of_spans.build(),
            points: of_points.build(),
        }
    }

    fn offer(&self, round: &mut Round) {
        for tree in round.trees.drain(..) {
            self.spans.offer_shared(tree);
        }
        for metrics in round.metrics.drain(..) {
            self.points.offer(metrics);
        }
    }

    /// Spans and points that wait for a far side.
    fn unsettled(&self) -> (u64, u64) {
        (
            unsettled(&self.spans.stats()),
            unsettled(&self.points.stats()),
        )
    }

    /// Lets what is there arrive, within `timeout`; false when that did not come to an end.
    fn flush(&self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        // Its workers try again now, while the others are waited for.
        self.points.flush(Duration::ZERO);
        let spans = self.spans.flush(timeout);
        let points = self
            .points
            .flush(end.saturating_duration_since(Instant::now()));
        spans.is_complete() && points.is_complete()
    }
}

fn unsettled(stats: &PipelineStats) -> u64 {
    let ledgers = stats.exporters().iter();
    ledgers.map(|exporter| exporter.ledger.unsettled()).sum()
}

/// Lines that were said.
#[derive(Default)]
struct Said {
    last: Option<(String, Instant)>,
    once: BTreeSet<String>,
    left_out_at: Option<Instant>,
    skipped_at: Option<Instant>,
}

impl Said {
    fn say(&mut self, words: String) {
        let last = self.last.as_ref();
        if last.is_none_or(|(said, at)| *said != words || at.elapsed() >= SAY_EVERY) {
            say(&words);
            self.last = Some((words, Instant::now()));
        }
    }

    fn say_once(&mut self, words: String) {
        if !self.once.contains(&words) {
            say(&words);
            self.once.insert(words);
        }
    }

    /// Says that a message was left out, with which there are `count` of them.
    fn say_skipped(&mut self, words: &str, count: u64) {
        if count <= MAX_TOLD {
            say(words);
        } else if self.skipped_at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            say(&format!(
                "{count} messages are left out by now, the last: {words}"
            ));
            self.skipped_at = Some(Instant::now());
        }
    }

    /// Says what has been left out by now, from time to time.
    fn say_left_out(&mut self, left_out: &LeftOutPoints) {
        let is_due = |at: Instant| at.elapsed() >= SAY_EVERY;
        if self.left_out_at.is_none_or(is_due) {
            say(&left_out.to_string());
            self.left_out_at = Some(Instant::now());
        }
    }
}

impl Bridge {
    fn new(
        source: KafkaSource,
        targets: Targets,
        counting: Option<Counting>,
        decoders: Decoders,
        env: &Env,
    ) -> Self {
        Self {
            source,
            intake: Intake {
                decoders,
                takers: targets.takers,
                left_out: LeftOutPoints::default(),
            },
            pipelines: Pipelines::new(targets.spans, targets.metrics, counting.as_ref(), env),
            counting,
            timeout: Settings::from_env(env).pipeline.shutdown_timeout,
            next: Round::default(),
            under_way: None,
            counts: Counts::default(),
            said: Said::default(),
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
        let (intake, next, counts) = (&mut self.intake, &mut self.next, &mut self.counts);
        let mut told = Told::Nothing;
        let polled = self.source.poll(wait, |message| {
            told = intake.take(next, counts, &message);
        });
        if let Polled::Trouble(words) = polled {
            self.said.say(words);
        }
        match told {
            Told::Nothing => {}
            Told::Skipped(words) => self.said.say_skipped(&words, self.counts.skipped),
            Told::NotForAll(words) => self.said.say_once(words),
            Told::PointsLeftOut => self.said.say_left_out(&self.intake.left_out),
        }
    }

    /// Hands the round that was read to the exporters.
    fn send(&mut self) {
        let mut round = std::mem::take(&mut self.next);
        self.pipelines.offer(&mut round);
        self.under_way = Some(round);
    }

    /// Is done with the round under way once nothing of it waits for the far side.
    fn settle(&mut self) {
        if self.under_way.is_some()
            && self.pipelines.unsettled() == (0, 0)
            && let Some(round) = self.under_way.take()
        {
            let items = (round.spans as u64, round.points as u64);
            match &mut self.counting {
                None => self.commit(&round.positions, items),
                Some(counting) => counting.take(round.positions, items),
            }
        }
        self.commit_counted(Counting::step);
    }

    /// Commits what accepted snapshots hold.
    fn commit_counted(&mut self, found: impl FnOnce(&mut Counting) -> Option<Share>) {
        if let Some(share) = self.counting.as_mut().and_then(found) {
            self.commit(&share.positions, (share.spans, share.points));
        }
    }

    fn commit(&mut self, positions: &KafkaPositions, (spans, points): (u64, u64)) {
        if let Err(words) = self.source.commit(positions) {
            // Somebody else has these partitions now, and reads it again.
            self.counts.spans.possible_repeats += spans;
            self.counts.points.possible_repeats += points;
            self.said.say(format!(
                "delivered, but not committed, so that others may deliver it again: {words}"
            ));
        }
    }

    /// Lets what is under way arrive, within the time for an exit; what was only read stays in its topic.
    fn end(mut self) -> Counts {
        let end = Instant::now() + self.timeout;
        if self.pipelines.flush(self.timeout) {
            self.settle();
        }
        let left = end.saturating_duration_since(Instant::now());
        self.commit_counted(|counting| counting.end(left));
        self.count_open();
        for exporter in self.pipelines.spans.stats().exporters() {
            if *exporter.name == *counting::NAMES[0] {
                // Counted is not delivered.
                self.counts.spans.lost +=
                    exporter.ledger.rejected + exporter.ledger.dropped.total();
            } else {
                self.counts.spans.add(&exporter.ledger);
            }
        }
        for exporter in self.pipelines.points.stats().exporters() {
            self.counts.points.add(&exporter.ledger);
        }
        self.pipelines.spans.shutdown(Duration::ZERO);
        self.pipelines.points.shutdown(Duration::ZERO);
        self.counts
    }

    /// What was read and is not committed.
    fn count_open(&mut self) {
        let (spans, points) = (&mut self.counts.spans, &mut self.counts.points);
        spans.left += self.next.spans as u64;
        points.left += self.next.points as u64;
        if let Some(round) = &self.under_way {
            let waits = self.pipelines.unsettled();
            spans.add_open_round(round.spans as u64, waits.0);
            points.add_open_round(round.points as u64, waits.1);
        }
        if let Some(counting) = &self.counting {
            let open = counting.open();
            spans.left += open.0;
            // These have been delivered.
            points.possible_repeats += open.1;
            spans.delivered += counting.accepted_spans();
        }
    }
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
