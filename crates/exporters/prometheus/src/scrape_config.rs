//! Where and how metrics are scraped: code beats `OTEL_EXPORTER_PROMETHEUS_*` beats defaults.

use std::path::PathBuf;
use std::time::Duration;

use hiq_core::config::{Env, Reader, Variable, Warning};
use hiq_core::status::StatusSink;

use crate::names::Alphabet;

/// What code says about the scrape endpoint; what is `None` comes from the environment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScrapeOptions {
    /// The name or address that is listened on.
    pub host: Option<String>,
    /// The port; 0: any that is free.
    pub port: Option<u16>,
    /// Which characters names may have, for scrapers that read them.
    pub alphabet: Alphabet,
    /// Summaries leave as native histograms in the protobuf form, in place of their quantiles.
    pub native_summaries: bool,
    /// The folder in which processes of one service meet.
    pub group_dir: Option<PathBuf>,
}

/// Where and how metrics are scraped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScrapeSettings {
    /// The name or address that is listened on; `localhost` unless said otherwise. Whoever reaches it reads all metrics.
    pub host: String,
    /// The port; 9464 unless said otherwise.
    pub port: u16,
    /// Which characters names may have, for scrapers that read them; the classic ones unless said otherwise.
    pub alphabet: Alphabet,
    /// Summaries leave as native histograms in the protobuf form; no unless said otherwise. Not in a group, whose summaries
    /// are always quantiles.
    pub native_summaries: bool,
    /// The folder in which processes of one service meet: in memory, for the most part.
    pub group_dir: PathBuf,
    /// How often a process of a group lays down what it has counted; every second.
    pub publish_interval: Duration,
    /// Where it is said, once, that a metric is left out because another one has its name; standard error.
    pub status: StatusSink,
}

/// All variables that are read for the scrape endpoint.
pub const SCRAPE_VARIABLES: &[Variable] = &[
    Variable::new(HOST, "localhost", "name or address that a scrape comes to"),
    Variable::new(PORT, "9464", "port that a scrape comes to"),
    Variable::new(
        GROUP_DIR,
        "",
        "folder in which processes of one service meet behind one port; $XDG_RUNTIME_DIR or the one for temporary files",
    ),
];

pub(crate) const HOST: &str = "OTEL_EXPORTER_PROMETHEUS_HOST";
pub(crate) const PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
const GROUP_DIR: &str = "HIQ_METRIC_DIR";

impl ScrapeSettings {
    /// Settings: `options`, then `OTEL_EXPORTER_PROMETHEUS_*`, then defaults. Adds to `warnings` what was not understood.
    ///
    /// ```
    /// use hiq_core::config::Env;
    /// use hiq_prometheus::{ScrapeOptions, ScrapeSettings};
    ///
    /// let env = Env::from_pairs([("OTEL_EXPORTER_PROMETHEUS_PORT", "9500")]);
    /// let settings = ScrapeSettings::new(&ScrapeOptions::default(), &env, &mut Vec::new());
    /// assert_eq!((settings.host.as_str(), settings.port), ("localhost", 9500));
    /// ```
    pub fn new(options: &ScrapeOptions, env: &Env, warnings: &mut Vec<Warning>) -> Self {
        let mut reader = Reader::new(env);
        let host = reader.text(HOST).map(str::to_owned);
        let port = reader.number_up_to(&[PORT], 0, u16::MAX);
        let group_dir = options.group_dir.clone();
        let named = (reader.text(GROUP_DIR)).or_else(|| reader.text("XDG_RUNTIME_DIR"));
        let named = named.map(PathBuf::from);
        warnings.extend(reader.into_warnings());
        Self {
            host: (options.host.clone().or(host)).unwrap_or_else(|| "localhost".to_owned()),
            port: options.port.or(port).unwrap_or(9464),
            alphabet: options.alphabet,
            native_summaries: options.native_summaries,
            group_dir: (group_dir.or(named)).unwrap_or_else(std::env::temp_dir),
            publish_interval: Duration::from_secs(1),
            status: StatusSink::default(),
        }
    }
}
