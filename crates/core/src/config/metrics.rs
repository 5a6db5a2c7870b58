//! How often metrics leave, and how much of them is kept.

use std::time::Duration;

use super::propagation;
use super::reader::{Reader, unlimited_if_zero};
use super::{Env, Warning};
use crate::metric::record::{DEFAULT_MAX_AGE, DEFAULT_MAX_SERIES};

/// How metrics are counted and leave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricSettings {
    /// `OTEL_METRICS_EXPORTER`: names of exporters as they were written. Empty where nothing is said, as for `none`:
    /// OpenTelemetry's `otlp` would send what nobody has asked for.
    pub exporters: Vec<String>,
    /// `OTEL_METRIC_EXPORT_INTERVAL`: from one snapshot that is pushed to the next; 60 s.
    pub export_interval: Duration,
    /// `OTEL_METRIC_EXPORT_TIMEOUT`: how long one series of attempts may take; 30 s, `None`: no limit.
    pub export_timeout: Option<Duration>,
    /// `OTEL_METRICS_EXEMPLAR_FILTER`: which measurements may be shown as examples.
    pub exemplars: ExemplarFilter,
    /// `HIQ_EXPORTER_METRICS`: whether what became of spans and points is shown as metrics; `None`: where they are scraped.
    pub exporter_metrics: Option<bool>,
    /// `HIQ_METRIC_MAX_SERIES`: series of one metric, beyond which they share one; 10,000.
    pub max_series: usize,
    /// `HIQ_METRIC_MAX_AGE`: how long a measurement counts for quantiles; 10 min.
    pub max_age: Duration,
}

/// Which measurements may be shown as examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExemplarFilter {
    /// Those of sampled traces, which a backend can show.
    #[default]
    TraceBased,
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
}

impl Default for MetricSettings {
    fn default() -> Self {
        Self {
            exporters: Vec::new(),
            export_interval: Duration::from_secs(60),
            export_timeout: Some(Duration::from_secs(30)),
            exemplars: ExemplarFilter::default(),
            exporter_metrics: None,
            max_series: DEFAULT_MAX_SERIES,
            max_age: DEFAULT_MAX_AGE,
        }
    }
}

impl MetricSettings {
    /// What `env` says, and what could not be understood.
    pub fn from_env(env: &Env) -> (Self, Vec<Warning>) {
        let mut reader = Reader::new(env);
        let settings = Self::read(&mut reader);
        (settings, reader.into_warnings())
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let filters = [
            ("trace_based", ExemplarFilter::TraceBased),
            ("always_on", ExemplarFilter::AlwaysOn),
            ("always_off", ExemplarFilter::AlwaysOff),
        ];
        Self {
            exporters: propagation::exporters(reader, "OTEL_METRICS_EXPORTER").unwrap_or_default(),
            export_interval: positive(reader, "OTEL_METRIC_EXPORT_INTERVAL")
                .unwrap_or(default.export_interval),
            export_timeout: reader
                .millis(&["OTEL_METRIC_EXPORT_TIMEOUT"])
                .map_or(default.export_timeout, unlimited_if_zero),
            exemplars: reader
                .choice(&["OTEL_METRICS_EXEMPLAR_FILTER"], &filters)
                .unwrap_or_default(),
            exporter_metrics: reader.flag(&["HIQ_EXPORTER_METRICS"]),
            max_series: reader
                .number(&["HIQ_METRIC_MAX_SERIES"], 1)
                .unwrap_or(default.max_series),
            max_age: positive(reader, "HIQ_METRIC_MAX_AGE").unwrap_or(default.max_age),
        }
    }
}

fn positive(reader: &mut Reader<'_>, name: &str) -> Option<Duration> {
    reader.number(&[name], 1).map(Duration::from_millis)
}
