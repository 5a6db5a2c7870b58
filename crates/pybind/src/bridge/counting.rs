//! `hiq bridge --to prometheus`: spans become calls, errors and times of functions, which are written remotely at an interval.
//! What was counted is done, and may be committed, once a snapshot taken later was accepted.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use hiq_core::config::{ConfigError, Env, MetricSettings, ProxySettings, Settings};
use hiq_core::detect;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::reader::MetricReader;
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::pipeline::{PipelineBuilder, PipelineReport};
use hiq_core::status::StatusSink;
use hiq_kafka::KafkaPositions;
use hiq_prometheus::{RemoteWriteExporter, RemoteWriteOptions, RemoteWriteSettings};

/// What users write behind `--to`.
pub(super) const NAMES: [&str; 2] = ["prometheus", "remote_write"];
/// Who counts, where nobody says otherwise.
const SERVICE: &str = "hiq-bridge";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
/// From one snapshot to the next, where nobody says otherwise: what comes in meanwhile is counted anew after a kill.
const OFTEN: Duration = Duration::from_secs(5);
/// A snapshot waits for the server's answer for so long; then a newer one takes its place.
const PATIENCE: Duration = Duration::from_secs(30);
/// The reader takes snapshots when it is told to, never by itself.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Counts spans, and knows which of them the server has.
pub(super) struct Counting {
    counted: TreeMetrics,
    reader: MetricReader,
    interval: Duration,
    pushed_at: Instant,
    /// In no snapshot that was accepted.
    open: Share,
    under_way: Option<Push>,
    accepted: u64,
}

/// Messages whose spans were counted; the points in them have been delivered.
#[derive(Default)]
pub(super) struct Share {
    pub(super) positions: KafkaPositions,
    pub(super) spans: u64,
    pub(super) points: u64,
}

/// A snapshot on its way, and what is in it that none before it had.
struct Push {
    share: Share,
    is_accepted: Receiver<bool>,
}

impl Counting {
    /// Counts under a name and an instance of its own; starts nothing and connects to nobody.
    pub(super) fn new(env: &Env, status: StatusSink) -> Result<Self, ConfigError> {
        let mut warnings = Vec::new();
        let options = RemoteWriteOptions::default();
        let settings = RemoteWriteSettings::new(&options, env, &mut warnings)?;
        let proxies = ProxySettings::from_env(env, &mut warnings);
        let write = RemoteWriteExporter::new(settings, proxies)?;
        let (mut settings, odd) = MetricSettings::from_env(env);
        warnings.extend(odd);
        for warning in &warnings {
            super::say(&warning.to_string());
        }
        let given = env.text(INTERVAL).map(|_| settings.export_interval);
        settings.export_interval = NEVER;

        let registry = registry(env);
        let counted = TreeMetrics::new(&registry, TreeMetricsOptions::of(&settings))?;
        let reader = MetricReader::builder(registry)
            .settings(settings)
            .status(status)
            .exporter(NAMES[0], CollectOptions::default(), move || write.build());
        Ok(Self {
            counted,
            reader: reader.build(),
            interval: given.unwrap_or(OFTEN),
            pushed_at: Instant::now(),
            open: Share::default(),
            under_way: None,
            accepted: 0,
        })
    }

    /// Has the pipeline's spans counted.
    pub(super) fn count_in(&self, builder: PipelineBuilder) -> PipelineBuilder {
        builder.exporter_before_sampling(NAMES[0], self.counted.builder())
    }

    /// Takes over messages whose spans were counted, and how many spans and points are in them.
    pub(super) fn take(&mut self, positions: KafkaPositions, (spans, points): (u64, u64)) {
        self.open.join_later(Share {
            positions,
            spans,
            points,
        });
    }

    /// Spans that were counted and that no accepted snapshot holds, and the points beside them.
    pub(super) fn open(&self) -> (u64, u64) {
        let of_push = self.under_way.as_ref().map(|push| &push.share);
        let (spans, points) = of_push.map_or((0, 0), |share| (share.spans, share.points));
        (self.open.spans + spans, self.open.points + points)
    }

    /// Spans that accepted snapshots hold.
    pub(super) fn accepted_spans(&self) -> u64 {
        self.accepted
    }

    /// Looks after the snapshot under way, and sends the next when it is time. Returns what may be committed now.
    pub(super) fn step(&mut self) -> Option<Share> {
        let done = self.look_after_push().or_else(|| self.without_spans());
        if self.under_way.is_none() && self.pushed_at.elapsed() >= self.interval {
            self.push();
        }
        done
    }

    /// Sends a last snapshot, unless the server has it all, and waits for what becomes of it. Returns what may be committed.
    pub(super) fn end(&mut self, timeout: Duration) -> Option<Share> {
        let end = Instant::now() + timeout;
        let left = || end.saturating_duration_since(Instant::now());
        if let Some(push) = self.under_way.take() {
            // The snapshot below holds it as well, and the worker takes that as soon as it is free.
            self.open.join(push.share);
        }
        if self.open.spans == 0 {
            self.reader.shutdown(left());
            return self.without_spans();
        }
        let before = ledger(&self.reader.stats());
        let report = self.reader.shutdown(left());
        let share = std::mem::take(&mut self.open);
        if is_accepted(&before, &report) {
            return Some(self.settle(share));
        }
        self.open = share;
        None
    }

    fn look_after_push(&mut self) -> Option<Share> {
        let is_accepted = match self.under_way.as_ref()?.is_accepted.try_recv() {
            Ok(is_accepted) => is_accepted,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => false,
        };
        let share = self.under_way.take()?.share;
        if is_accepted {
            return Some(self.settle(share)).filter(|share| !share.positions.is_empty());
        }
        self.open.join(share);
        None
    }

    /// Messages that no snapshot has to hold, since there was no span in them.
    fn without_spans(&mut self) -> Option<Share> {
        let is_done =
            self.under_way.is_none() && self.open.spans == 0 && !self.open.positions.is_empty();
        is_done.then(|| std::mem::take(&mut self.open))
    }

    fn settle(&mut self, share: Share) -> Share {
        self.accepted += share.spans;
        share
    }

    /// Sends a snapshot, also when nothing is new: a server takes a series that is silent for minutes for gone.
    fn push(&mut self) {
        self.pushed_at = Instant::now();
        let reader = self.reader.clone();
        let (tell, is_accepted) = channel();
        let thread = std::thread::Builder::new().name("hiq-bridge-push".to_owned());
        let pushed = thread.spawn(move || {
            let before = ledger(&reader.stats());
            let report = reader.flush(PATIENCE);
            // Nobody listens any more when the bridge has ended.
            let _ = tell.send(self::is_accepted(&before, &report));
        });
        if pushed.is_ok() {
            let share = std::mem::take(&mut self.open);
            self.under_way = Some(Push { share, is_accepted });
        }
    }
}

impl Share {
    /// Adds what was counted before this.
    fn join(&mut self, earlier: Self) {
        let later = std::mem::replace(self, earlier);
        self.join_later(later);
    }

    fn join_later(&mut self, later: Self) {
        self.positions.extend(later.positions);
        self.spans += later.spans;
        self.points += later.points;
    }
}

/// One registry a process: its instance is not that of any other bridge.
fn registry(env: &Env) -> Registry {
    let settings = Settings::from_env(env).resource;
    let names = |(key, _): &(String, String)| key == "service.name";
    let is_named = settings.service_name.is_some() || settings.attributes.iter().any(names);
    let own = (!is_named).then(|| ("service.name".to_owned(), SERVICE.into()));
    Registry::of(std::sync::Arc::new(detect::resource(&settings, own)))
}

fn ledger(stats: &hiq_core::pipeline::PipelineStats) -> LedgerSnapshot {
    stats.ledger(NAMES[0]).cloned().unwrap_or_default()
}

/// True when the snapshot arrived whole. One that did not is followed by others, which hold all that it did.
fn is_accepted(before: &LedgerSnapshot, report: &PipelineReport) -> bool {
    let Some(exporter) = report.exporters().first() else {
        return false;
    };
    let after = &exporter.ledger;
    exporter.complete && after.exported > before.exported && failed(after) == failed(before)
}

fn failed(ledger: &LedgerSnapshot) -> u64 {
    let superseded = hiq_core::encode::DropReason::Superseded;
    ledger.rejected + ledger.dropped.total() - ledger.dropped[superseded]
}
