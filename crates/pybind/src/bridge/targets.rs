//! What users write behind `--to`: who takes spans, who takes points.

use hiq_core::config::{ConfigError, Env};
use hiq_kafka::KafkaSourceSettings;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::counting;
use crate::exporting::{self, Forward, Spec};

/// Exporters of everything that is read.
pub(super) struct Targets {
    pub(super) spans: Vec<Spec>,
    pub(super) metrics: Vec<Forward>,
    /// Spans are to be counted for Prometheus.
    pub(super) counts: bool,
    pub(super) takers: Takers,
}

/// Who takes what.
#[derive(Default)]
pub(super) struct Takers {
    pub(super) of_spans: bool,
    pub(super) of_points: bool,
    /// Lines for when it is found that spans, or points, are not for all.
    about_spans: Option<String>,
    about_points: Option<String>,
}

impl Targets {
    /// Reads the settings of the exporters `to`.
    pub(super) fn new(py: Python<'_>, to: Vec<String>, env: &Env) -> PyResult<Self> {
        let counts_as = |name: &String| counting::NAMES.contains(&name.as_str());
        let counts = to.iter().any(counts_as);
        let (mut of_spans, mut metrics, mut without_points) = (Vec::new(), Vec::new(), Vec::new());
        let mut without_spans = Vec::new();
        if counts {
            metrics.extend(exporting::forward(py, counting::NAMES[1], env)?);
        }
        for name in to.into_iter().filter(|name| !counts_as(name)) {
            match exporting::forward(py, &name, env)? {
                Some(forward) => metrics.push(forward),
                None => without_points.push(name.clone()),
            }
            if exporting::is_of_metrics_alone(&name) {
                without_spans.push(name);
            } else {
                of_spans.push(name);
            }
        }
        let spans = exporting::specs_in(py, &PyList::new(py, &of_spans)?.into_any(), env)?;
        for warning in metrics.iter().flat_map(|forward| &forward.warnings) {
            super::say(warning);
        }
        let takers = Takers {
            of_spans: counts || !spans.is_empty(),
            of_points: !metrics.is_empty(),
            about_spans: words(&without_spans, "spans", counts || !spans.is_empty()),
            about_points: words(&without_points, "metrics", !metrics.is_empty()),
        };
        Ok(Self {
            spans,
            metrics,
            counts,
            takers,
        })
    }

    /// An error where what is read would be written to the topic that it is read from.
    pub(super) fn refuse_circles(&self, source: &KafkaSourceSettings) -> Result<(), ConfigError> {
        let of_spans = self
            .spans
            .iter()
            .map(|spec| (&spec.target, "HIQ_KAFKA_TOPIC"));
        let of_metrics = self.metrics.iter();
        let of_metrics = of_metrics.map(|each| (&each.target, "HIQ_KAFKA_METRICS_TOPIC"));
        for (target, variable) in of_spans.chain(of_metrics) {
            let written = target.split(" as ").next().unwrap_or_default();
            for topic in &source.topics {
                if *written == format!("kafka://{}/{topic}", source.connection.brokers) {
                    let problem = format!("kafka would write to {topic}, which is read");
                    let fix = format!("name another topic by {variable}");
                    return Err(ConfigError::new("--to", problem, fix));
                }
            }
        }
        Ok(())
    }
}

impl Takers {
    pub(super) fn words_about_spans(&self) -> Option<&str> {
        self.about_spans.as_deref()
    }

    pub(super) fn words_about_points(&self) -> Option<&str> {
        self.about_points.as_deref()
    }
}

/// A line about exporters that do not take `what`.
fn words(without: &[String], what: &str, others_take_it: bool) -> Option<String> {
    if without.is_empty() {
        return None;
    }
    let (names, verb) = (
        without.join(", "),
        if without.len() == 1 { "takes" } else { "take" },
    );
    let then = if others_take_it {
        "they go to the others alone"
    } else {
        "they are left out and counted"
    };
    Some(format!("{names} {verb} no {what}: {then}"))
}
