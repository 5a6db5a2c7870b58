//! A round: messages that are delivered and committed together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::Batch as _;
use hiq_core::metric::MetricBatch;
use hiq_core::tree::SpanTree;
use hiq_kafka::{KafkaMessage, KafkaPositions};
use hiq_otlp::LeftOutPoints;

use super::counts::Counts;
use super::decoders::{Decoders, Found};
use super::targets::Takers;

/// A round is closed when it has this many items or bytes, or is this old.
pub(super) const MAX_ITEMS: usize = 32_768;
const MAX_BYTES: usize = 24 << 20;
/// Snapshots of metrics leave one by one: what a kill has others deliver again is to be this many requests, not all that was read.
const MAX_SNAPSHOTS: usize = 128;
pub(super) const MAX_WAIT: Duration = Duration::from_millis(50);

/// What was in its messages, and where those were.
#[derive(Default)]
pub(super) struct Round {
    pub(super) trees: Vec<Arc<SpanTree>>,
    pub(super) metrics: Vec<MetricBatch>,
    pub(super) spans: usize,
    pub(super) points: usize,
    bytes: usize,
    pub(super) positions: KafkaPositions,
    pub(super) began: Option<Instant>,
}

impl Round {
    pub(super) fn is_full(&self) -> bool {
        self.spans + self.points >= MAX_ITEMS
            || self.bytes >= MAX_BYTES
            || self.metrics.len() >= MAX_SNAPSHOTS
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_full() || self.began.is_some_and(|began| began.elapsed() >= MAX_WAIT)
    }
}

/// What takes messages in.
pub(super) struct Intake {
    pub(super) decoders: Decoders,
    pub(super) takers: Takers,
    /// Points of all messages that no snapshot can hold.
    pub(super) left_out: LeftOutPoints,
}

/// What is to be told of a message.
pub(super) enum Told {
    Nothing,
    /// It was left out: a line that names it.
    Skipped(String),
    /// Some of its points cannot be read.
    PointsLeftOut,
    /// Nobody takes what is in it, or not everybody: the line.
    NotForAll(String),
}

impl Intake {
    /// Decodes `message` into `round`.
    pub(super) fn take(
        &mut self,
        round: &mut Round,
        counts: &mut Counts,
        message: &KafkaMessage<'_>,
    ) -> Told {
        round.began.get_or_insert_with(Instant::now);
        round.positions.note(message);
        counts.messages += 1;
        match self.decoders.decode(message) {
            Ok(found) => self.keep(found, round, counts),
            Err(words) => {
                counts.skipped += 1;
                let KafkaMessage {
                    topic,
                    partition,
                    offset,
                    ..
                } = message;
                Told::Skipped(format!(
                    "message {offset} of {topic}, partition {partition}, is left out: {words}"
                ))
            }
        }
    }

    fn keep(&mut self, found: Found, round: &mut Round, counts: &mut Counts) -> Told {
        match found {
            Found::Spans(trees) => self.keep_spans(trees, round, counts),
            Found::Metrics(metrics, left_out) => {
                let told = self.keep_metrics(metrics, round, counts);
                if left_out.is_empty() {
                    return told;
                }
                counts.points.read += left_out.total();
                counts.points.left_out += left_out.total();
                self.left_out += left_out;
                Told::PointsLeftOut
            }
        }
    }

    fn keep_spans(
        &self,
        trees: Vec<Arc<SpanTree>>,
        round: &mut Round,
        counts: &mut Counts,
    ) -> Told {
        let spans: usize = trees.iter().map(|tree| tree.len()).sum();
        counts.spans.read += spans as u64;
        if self.takers.of_spans {
            round.spans += spans;
            round.bytes += trees.iter().map(|tree| tree.heap_bytes()).sum::<usize>();
            round.trees.extend(trees);
        } else {
            counts.spans.left_out += spans as u64;
        }
        told(spans, self.takers.words_about_spans())
    }

    fn keep_metrics(
        &self,
        metrics: Vec<MetricBatch>,
        round: &mut Round,
        counts: &mut Counts,
    ) -> Told {
        let points: usize = metrics.iter().map(MetricBatch::items).sum();
        counts.points.read += points as u64;
        if self.takers.of_points {
            round.points += points;
            round.bytes += metrics.iter().map(MetricBatch::heap_bytes).sum::<usize>();
            round.metrics.extend(metrics);
        } else {
            counts.points.left_out += points as u64;
        }
        told(points, self.takers.words_about_points())
    }
}

fn told(items: usize, words: Option<&str>) -> Told {
    match words {
        Some(words) if items > 0 => Told::NotForAll(words.to_owned()),
        _ => Told::Nothing,
    }
}
