//! One pipeline with one Zipkin exporter, and what can be asked of it.

use std::sync::Arc;
use std::time::Duration;

use hiq_core::config::{Env, PipelineSettings, ProxySettings};
use hiq_core::id::SpanId;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::pipeline::Pipeline;
use hiq_testkit::trees::{tree_named, tree_of, tree_with};
use hiq_testkit::{PATIENCE, Watched, assert_balances, recorded_status};
use hiq_zipkin::{ZipkinExporter, ZipkinOptions, ZipkinSettings};

/// Between two attempts, where the server does not ask for more.
const PAUSE: Duration = Duration::from_millis(20);

/// No test needs the exit to take longer.
const EXIT: Duration = Duration::from_millis(200);

pub(crate) struct Run {
    pipeline: Pipeline,
    lines: Arc<Watched<Vec<String>>>,
}

impl Run {
    /// Sends to `endpoint` in v2 JSON.
    pub(crate) fn to(endpoint: &str) -> Self {
        Self::with(endpoint, |_| {}, |_| {})
    }

    pub(crate) fn with(
        endpoint: &str,
        configure: impl FnOnce(&mut ZipkinOptions),
        tune: impl FnOnce(&mut ZipkinExporter),
    ) -> Self {
        let settings = PipelineSettings::default();
        Self::in_pipeline(settings, endpoint, configure, tune)
    }

    pub(crate) fn in_pipeline(
        pipeline: PipelineSettings,
        endpoint: &str,
        configure: impl FnOnce(&mut ZipkinOptions),
        tune: impl FnOnce(&mut ZipkinExporter),
    ) -> Self {
        let env = Env::from_pairs([("OTEL_EXPORTER_ZIPKIN_ENDPOINT", endpoint)]);
        let mut options = ZipkinOptions::default();
        configure(&mut options);
        let settings = ZipkinSettings::new(&options, &env, &mut Vec::new()).unwrap();
        let zipkin = ZipkinExporter::new(settings, ProxySettings::default()).unwrap();
        let mut zipkin = zipkin.with_pipeline_settings(&pipeline);
        let retry = &mut zipkin.delivery_mut().retry;
        (retry.initial, retry.max) = (PAUSE, PAUSE);
        retry.jitter = || 1.0;
        tune(&mut zipkin);
        let (status, lines) = recorded_status();
        let pipeline = Pipeline::builder()
            .settings(pipeline)
            .exporter("zipkin", move || zipkin.build())
            .status(status)
            .build();
        Self { pipeline, lines }
    }

    /// Has the worker look for what an earlier process left.
    pub(crate) fn start(&self) {
        self.pipeline.start();
    }

    /// Offers a tree of `spans` spans and returns their ids.
    pub(crate) fn offer(&self, spans: usize) -> Vec<SpanId> {
        let (tree, ids) = tree_of(spans);
        self.pipeline.offer(tree);
        ids
    }

    /// Offers a tree whose spans have these names.
    pub(crate) fn offer_named(&self, names: &[&str]) {
        let spans: Vec<_> = names.iter().map(|name| (SpanId::next(), *name)).collect();
        self.pipeline.offer(tree_named(&spans));
    }

    /// Offers a tree whose spans have these ids.
    pub(crate) fn offer_with_ids(&self, ids: &[SpanId]) {
        self.pipeline.offer(tree_with(ids));
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
        let ledger = stats.ledger("zipkin").unwrap().clone();
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

    /// The ledger after an exit that leaves spans in the spool.
    pub(crate) fn ended_with_spool(&self) -> LedgerSnapshot {
        self.pipeline.shutdown(EXIT);
        self.ledger()
    }

    /// The ledger after an exit that waits for answers.
    pub(crate) fn ended_patiently(&self) -> LedgerSnapshot {
        self.pipeline.shutdown(PATIENCE);
        self.ledger()
    }

    /// The ledger after an exit that cannot wait.
    pub(crate) fn ended(&self) -> LedgerSnapshot {
        self.pipeline.shutdown(EXIT);
        let ledger = self.ledger();
        assert_eq!(ledger.unsettled(), 0, "nothing is open after the end");
        ledger
    }
}
