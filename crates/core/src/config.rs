//! Settings: code beats a signal's own variable beats the general variable beats the default.
//!
//! The environment is read in this module only, once, through [`Env`]. A variable that cannot be understood is never
//! an error of the program that is traced: it becomes a [`Warning`] and the default is used. Only what would send
//! data to the wrong place, or nowhere, is a [`ConfigError`].
//!
//! ```
//! use hiq_core::config::{Env, Settings};
//!
//! let env = Env::from_pairs([("OTEL_BSP_SCHEDULE_DELAY", "250"), ("OTEL_LOG_LEVEL", "loud")]);
//! let settings = Settings::from_env(&env);
//! assert_eq!(settings.pipeline.schedule_delay.as_millis(), 250);
//! assert_eq!(settings.warnings[0].place, "OTEL_LOG_LEVEL");
//! ```

use std::fmt;

use crate::context::{Context, Propagator};
use crate::sample::Sampler;
use crate::tree::SpanLimits;

mod endpoint;
mod env;
mod headers;
mod limits;
mod metrics;
mod otlp;
mod pipeline;
mod propagation;
mod proxy;
mod reader;
mod resource;
mod secret;
mod table;

pub use endpoint::{Endpoint, masked};
pub use env::Env;
pub use metrics::{ExemplarFilter, MetricSettings};
pub use otlp::{ClientIdentity, Compression, OtlpOptions, OtlpSettings, Protocol};
pub use pipeline::{PipelineSettings, SpoolSettings};
pub use proxy::ProxySettings;
pub use reader::{Reader, unlimited_if_zero};
pub use resource::ResourceSettings;
pub use secret::Secret;
pub use table::{VARIABLES, Variable};

/// Everything that the environment says, apart from single exporters.
///
/// Code that knows better overwrites fields afterwards.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// `OTEL_SDK_DISABLED`: record and export nothing; propagation stays active.
    pub disabled: bool,
    /// Queue, batches, deadlines and spool.
    pub pipeline: PipelineSettings,
    /// How much one span may carry.
    pub limits: SpanLimits,
    /// `OTEL_TRACES_SAMPLER` and its argument.
    pub sampler: Sampler,
    /// `OTEL_TRACES_EXPORTER`: names in lower case; `None` when unset, empty for `none`.
    pub exporters: Option<Vec<String>>,
    /// `OTEL_PROPAGATORS`; empty for `none`.
    pub propagators: Vec<Propagator>,
    /// `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`.
    pub resource: ResourceSettings,
    /// `TRACEPARENT`, `TRACESTATE` and `BAGGAGE`: the span that started this process.
    pub parent: Option<Context>,
    /// `OTEL_LOG_LEVEL`: what the pipeline says on stderr.
    pub log_level: LogLevel,
    /// What could not be understood, for the caller to print once.
    pub warnings: Vec<Warning>,
}

impl Settings {
    /// Reads `env`.
    pub fn from_env(env: &Env) -> Self {
        let mut reader = Reader::new(env);
        reader.warn_of_config_file();
        let propagators = propagation::propagators(&mut reader);
        Self {
            disabled: reader.flag(&["OTEL_SDK_DISABLED"]).unwrap_or(false),
            pipeline: PipelineSettings::read(&mut reader),
            limits: limits::span_limits(&mut reader),
            sampler: limits::sampler(&mut reader),
            exporters: propagation::exporters(&mut reader, "OTEL_TRACES_EXPORTER"),
            resource: ResourceSettings::read(&mut reader),
            parent: propagation::parent(&mut reader, &propagators),
            propagators,
            log_level: log_level(&mut reader),
            warnings: reader.into_warnings(),
        }
    }

    /// Keeps of [`Settings::exporters`] those that are `known`, and warns of the others.
    ///
    /// `None` when the variable is unset or names nothing known, so that the default applies.
    pub fn choose_exporters(&mut self, known: &[&str]) -> Option<Vec<String>> {
        let named = self.exporters.as_ref()?;
        let (chosen, unknown): (Vec<_>, Vec<_>) = named
            .iter()
            .cloned()
            .partition(|name| known.contains(&name.as_str()));
        let instead = if chosen.is_empty() {
            "the default is used"
        } else {
            "it is left out"
        };
        for name in &unknown {
            self.warnings.push(Warning::new(
                "OTEL_TRACES_EXPORTER",
                format!(
                    "`{name}` is not known here, {instead}; known: {}, none",
                    known.join(", ")
                ),
            ));
        }
        (unknown.is_empty() || !chosen.is_empty()).then_some(chosen)
    }
}

/// How much the pipeline says on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// Nothing.
    None,
    /// Data was lost, or somebody must act.
    Error,
    /// Odd, but nothing lost.
    Warn,
    /// Changes of state: the default.
    #[default]
    Info,
    /// Everything.
    Debug,
}

fn log_level(reader: &mut Reader<'_>) -> LogLevel {
    let levels = [
        ("none", LogLevel::None),
        ("off", LogLevel::None),
        ("fatal", LogLevel::Error),
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("warning", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Debug),
    ];
    reader
        .choice(&["OTEL_LOG_LEVEL"], &levels)
        .unwrap_or_default()
}

/// Something in the environment that was not understood, and what is done instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The variable.
    pub place: String,
    /// What is wrong and what is done instead; never a secret.
    pub message: String,
}

impl Warning {
    /// A warning about `place`.
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A setting that cannot be used. The texts never hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}; {fix}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The variable, or the argument of the code.
    pub place: String,
    /// What is wrong, with the value.
    pub problem: String,
    /// What to write instead.
    pub fix: String,
}

impl ConfigError {
    /// An error at `place`. Texts are lower case and without a full stop.
    pub fn new(
        place: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
            fix: fix.into(),
        }
    }
}
