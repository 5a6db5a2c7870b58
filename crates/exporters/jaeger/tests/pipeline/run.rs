//! One pipeline with one Jaeger exporter, and what can be asked of it.

use std::sync::Arc;
use std::time::Duration;

use hiq_core::config::{Env, ProxySettings};
use hiq_core::id::SpanId;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::pipeline::Pipeline;
use hiq_core::tree::SpanTree;
use hiq_jaeger::{JaegerExporter, JaegerOptions, JaegerSettings};
use hiq_testkit::trees::tree_of;
use hiq_testkit::{PATIENCE, Watched, assert_balances, recorded_status};

/// Between two attempts, where the server does not ask for more.
const PAUSE: Duration = Duration::from_millis(20);

/// No test needs the exit to take longer.
const EXIT: Duration = Duration::from_millis(200);

pub(crate) struct Run {
    pipeline: Pipeline,
    lines: Arc<Watched<Vec<String>>>,
}

impl Run {
    /// Under these variables.
    pub(crate) fn under(variables: &[(&str, &str)]) -> Self {
        Self::with(&JaegerOptions::default(), variables)
    }

    pub(crate) fn with(options: &JaegerOptions, variables: &[(&str, &str)]) -> Self {
        let env = Env::from_pairs(variables.iter().copied());
        let settings = JaegerSettings::new(options, &env, &mut Vec::new()).unwrap();
        let mut jaeger = JaegerExporter::new(settings, ProxySettings::default()).unwrap();
        let retry = &mut jaeger.delivery_mut().retry;
        (retry.initial, retry.max) = (PAUSE, PAUSE);
        retry.jitter = || 1.0;
        let (status, lines) = recorded_status();
        let pipeline = Pipeline::builder()
            .exporter("jaeger", move || jaeger.build())
            .status(status)
            .build();
        Self { pipeline, lines }
    }

    /// Offers a tree of `spans` spans and returns their ids.
    pub(crate) fn offer(&self, spans: usize) -> Vec<SpanId> {
        let (tree, ids) = tree_of(spans);
        self.offer_tree(tree);
        ids
    }

    pub(crate) fn offer_tree(&self, tree: impl Into<Arc<SpanTree>>) {
        self.pipeline.offer_shared(tree.into());
    }

    /// The ledger once everything is settled.
    pub(crate) fn settled(&self) -> LedgerSnapshot {
        let report = self.pipeline.flush(PATIENCE);
        assert!(report.is_complete(), "not settled: {report:?}");
        self.ledger()
    }

    /// Has the worker begin, without waiting for it.
    pub(crate) fn begin(&self) {
        self.pipeline.flush(Duration::ZERO);
    }

    pub(crate) fn ledger(&self) -> LedgerSnapshot {
        let stats = self.pipeline.stats();
        let ledger = stats.ledger("jaeger").unwrap().clone();
        assert_balances(&ledger);
        ledger
    }

    /// The first line that the exporter said aloud.
    pub(crate) fn first_line(&self) -> String {
        self.lines.wait_for(|lines| lines.first().cloned())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.with(|lines| lines.clone())
    }

    /// The ledger after an exit that cannot wait.
    pub(crate) fn ended(&self) -> LedgerSnapshot {
        self.pipeline.shutdown(EXIT);
        let ledger = self.ledger();
        assert_eq!(ledger.unsettled(), 0, "nothing is open after the end");
        ledger
    }
}
