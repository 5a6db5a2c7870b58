//! An exporter by itself, without a queue or thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::batch::TreeBatch;
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::Encoder;
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::{Ledger, LedgerSnapshot};
use hiq_core::spool::Spool;
use hiq_core::transport::Transport;
use hiq_core::tree::SpanTree;

use crate::assert_balances;
use crate::lines::LineEncoder;
use crate::script::{Script, ScriptedTransport};

/// An exporter under test and its account.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery<E = LineEncoder, T = ScriptedTransport> {
    /// The exporter.
    pub exporter: EncodedExporter<TreeBatch, E, T>,
    /// Where its items are counted.
    pub ledger: Arc<Ledger>,
    /// What it is given.
    pub deadline: Deadline,
}

impl Delivery {
    /// An exporter of lines to the far side of `script`.
    pub fn new(script: &Script, options: DeliveryOptions) -> Self {
        Self::over(script.transport(), LineEncoder::new(), options)
    }
}

impl<E: Encoder<TreeBatch>, T: Transport> Delivery<E, T> {
    /// An exporter of what `encoder` writes over `wire`.
    pub fn over(wire: T, encoder: E, options: DeliveryOptions) -> Self {
        Self {
            exporter: EncodedExporter::new(encoder, wire, options),
            ledger: Ledger::new(),
            deadline: Deadline::never(),
        }
    }

    /// The same with a spool, whose content is taken up.
    #[must_use]
    pub fn with_spool(mut self, spool: Spool) -> Self {
        self.exporter = self.exporter.with_spool(spool);
        self.exporter.start(&self.ledger);
        self
    }

    /// Hands `tree` over.
    #[track_caller]
    pub fn export(&mut self, tree: SpanTree) -> Progress {
        self.ledger.offer(tree.len());
        let custody = self.ledger.take(tree.len(), Instant::now());
        let batch = Arc::new(TreeBatch::new(vec![Arc::new(tree)]));
        let progress = self.exporter.export(batch, custody, &self.deadline);
        assert_balances(&self.ledger.snapshot());
        progress
    }

    /// Hands `tree` over and goes on until nothing is left to do.
    #[track_caller]
    pub fn deliver(&mut self, tree: SpanTree) -> LedgerSnapshot {
        let progress = self.export(tree);
        self.finish(progress)
    }

    /// Goes on until nothing is left to do.
    ///
    /// # Panics
    /// When items are left over, or the ledger does not balance.
    #[track_caller]
    pub fn finish(&mut self, mut progress: Progress) -> LedgerSnapshot {
        while progress != Progress::Done {
            if let Progress::Waiting { until, .. } = progress {
                let wait = until.saturating_duration_since(Instant::now());
                assert!(self.deadline.sleep(wait), "the deadline was over");
            }
            progress = self.exporter.poll(&self.deadline);
            assert_balances(&self.ledger.snapshot());
        }
        let ledger = self.ledger.snapshot();
        assert_eq!(ledger.unsettled(), 0, "{ledger:?}");
        ledger
    }

    /// How long it wants to wait after it was told to hurry.
    ///
    /// # Panics
    /// When it does not want to wait.
    #[track_caller]
    pub fn wait_after_flush(&mut self) -> Wait {
        Wait::of(|| self.exporter.flush(&self.deadline))
    }
}

/// How long an exporter wants to wait, counted from some moment while it was asked.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    least: Duration,
    most: Duration,
}

impl Wait {
    /// What the exporter answers.
    ///
    /// # Panics
    /// When it does not want to wait.
    #[track_caller]
    pub fn of(ask: impl FnOnce() -> Progress) -> Self {
        let before = Instant::now();
        match ask() {
            Progress::Waiting { until, .. } => Self {
                least: until.saturating_duration_since(Instant::now()),
                most: until.saturating_duration_since(before),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Whether it is this long, however long the asking took.
    pub fn is(&self, expected: Duration) -> bool {
        // The exporter's clock is not ours.
        let slack = Duration::from_millis(50);
        self.least <= expected + slack && expected <= self.most + slack
    }
}
