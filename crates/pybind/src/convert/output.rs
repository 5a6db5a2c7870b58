//! Where converted spans go: a file, whole from its first to its last moment, or a backend, through the pipeline that traced
//! programs use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_chrome::{ChromeExporter, ChromeSettings, TraceFile, TraceFormat};
use hiq_core::batch::TreeBatch;
use hiq_core::config::{ConfigError, Env, Settings};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::export::Exporter;
use hiq_core::pipeline::Pipeline;
use hiq_core::status::StatusSink;
use hiq_core::time::UnixNanos;
use hiq_core::tree::SpanTree;
use hiq_otlp::{OtlpFileExporter, OtlpProtoEncoder};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::place::{DASH, Place};
use crate::exporting::Spec;

/// Formats that can be written, as in `--to-format`.
pub(super) const WRITERS: [&str; 4] = ["chrome", "perfetto", "otlp-json", "otlp-proto"];

/// Spans and bytes under way: well below what a queue drops at.
const MAX_SPANS: usize = 32_768;
const MAX_BYTES: usize = 24 << 20;
/// How long a backend may take for what is under way.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an interrupted conversion takes at most for what is under way.
const HURRY: Duration = Duration::from_secs(2);
/// How long it is waited before somebody may interrupt.
const GLANCE: Duration = Duration::from_millis(100);

/// One output.
pub(super) struct Output {
    pub(super) spans: u64,
    pub(super) trees: u64,
    target: Target,
    pipeline: Option<Pipeline>,
    spans_under_way: usize,
    bytes_under_way: usize,
    problem: Option<String>,
}

enum Target {
    File { place: Place, format: &'static str },
    Backend(Vec<Spec>),
}

impl Output {
    /// A file, in the format `format`, or that which its name says.
    pub(super) fn file(path: &Path, format: Option<&str>) -> Result<Self, ConfigError> {
        let format = match format {
            Some(format) => WRITERS
                .iter()
                .find(|known| **known == format)
                .ok_or_else(|| {
                    let problem = format!("`{format}` is not a format that hiq writes");
                    let fix = format!("use one of {}", WRITERS.join(", "));
                    ConfigError::new("--to-format", problem, fix)
                })?,
            None if path == Path::new(DASH) => {
                let fix = format!("add --to-format with one of {}", WRITERS.join(", "));
                return Err(ConfigError::new("OUT", "`-` does not say a format", fix));
            }
            None => of_name(path),
        };
        let place = Place::of(path)?;
        Ok(Self::to(Target::File { place, format }))
    }

    /// A backend, configured as for traced programs.
    pub(super) fn send(py: Python<'_>, name: &str) -> PyResult<Result<Self, ConfigError>> {
        let names = PyList::new(py, [name])?.into_any();
        let specs = crate::exporting::specs(py, &names)?;
        Ok(Ok(Self::to(Target::Backend(specs))))
    }

    fn to(target: Target) -> Self {
        Self {
            spans: 0,
            trees: 0,
            target,
            pipeline: None,
            spans_under_way: 0,
            bytes_under_way: 0,
            problem: None,
        }
    }

    /// Takes a tree; waits where the far side is slower than the file, as long as `goes_on`.
    pub(super) fn take(&mut self, tree: Arc<SpanTree>, goes_on: &dyn Fn() -> bool) {
        if self.problem.is_some() || !goes_on() {
            return;
        }
        let (spans, bytes) = (tree.len(), tree.heap_bytes());
        self.spans_under_way += spans;
        self.bytes_under_way += bytes;
        let first = tree.span(0).map(|span| span.start());
        if self.spans_under_way > MAX_SPANS || self.bytes_under_way > MAX_BYTES {
            self.wait(goes_on);
            (self.spans_under_way, self.bytes_under_way) = (spans, bytes);
        }
        match self.running(first) {
            Ok(pipeline) => pipeline.offer_shared(tree),
            Err(error) => {
                self.problem = Some(error.to_string());
                return;
            }
        }
        self.spans += spans as u64;
        self.trees += 1;
    }

    /// Lets everything leave; `is_whole` when all could be read. True when the target has it.
    pub(super) fn finish(&mut self, is_whole: bool) -> bool {
        if self.problem.is_none()
            && let Err(error) = self.running(None)
        {
            self.problem = Some(error.to_string());
        }
        if let Some(pipeline) = self.pipeline.take() {
            pipeline.shutdown(PATIENCE);
            self.problem = self.problem.take().or_else(|| lost(&pipeline));
        }
        if self.problem.is_none()
            && let Target::File { place, .. } = &self.target
        {
            self.problem = place.fill(is_whole).err();
        }
        self.problem.is_none()
    }

    /// Forgets what has not left.
    pub(super) fn abandon(&mut self) {
        if let Some(pipeline) = self.pipeline.take() {
            pipeline.shutdown(HURRY);
        }
    }

    /// What went wrong on this side.
    pub(super) fn problem(&mut self) -> Option<String> {
        self.problem.take()
    }

    fn wait(&mut self, goes_on: &dyn Fn() -> bool) {
        let Some(pipeline) = &self.pipeline else {
            return;
        };
        let begun = Instant::now();
        let mut is_complete = false;
        while !is_complete && begun.elapsed() < PATIENCE && goes_on() {
            is_complete = pipeline.flush(GLANCE).is_complete();
        }
        self.problem = lost(pipeline);
        if !is_complete && goes_on() && self.problem.is_none() {
            let seconds = PATIENCE.as_secs();
            self.problem = Some(format!(
                "nothing more was taken for {seconds} s; is the backend there?"
            ));
        }
    }

    fn running(&mut self, first: Option<UnixNanos>) -> Result<&Pipeline, ConfigError> {
        if self.pipeline.is_none() {
            self.pipeline = Some(self.start(first)?);
        }
        self.pipeline
            .as_ref()
            .ok_or_else(|| ConfigError::new("OUT", "nothing is running", "report this as a defect"))
    }

    fn start(&mut self, first: Option<UnixNanos>) -> Result<Pipeline, ConfigError> {
        let mut settings = Settings::from_env(&Env::process()).pipeline;
        settings.schedule_delay = Duration::from_millis(50);
        settings.max_queue_spans = settings.max_queue_spans.max(4 * MAX_SPANS);
        let mut builder = Pipeline::builder()
            .settings(settings)
            .status(StatusSink::stderr());
        match &mut self.target {
            Target::Backend(specs) => {
                for spec in specs.drain(..) {
                    builder = builder.exporter(spec.name, spec.build);
                }
            }
            Target::File { place, format } => {
                let build = writer(place.partial().to_owned(), format, first)?;
                builder = builder.exporter("convert", build);
            }
        }
        Ok(builder.build())
    }
}

type Built = Result<Box<dyn Exporter<TreeBatch>>, ConfigError>;

fn writer(
    path: PathBuf,
    format: &'static str,
    first: Option<UnixNanos>,
) -> Result<Box<dyn Fn() -> Built + Send + Sync>, ConfigError> {
    match format {
        "otlp-json" => {
            let exporter = OtlpFileExporter::new(path)?;
            Ok(Box::new(move || exporter.build()))
        }
        "otlp-proto" => Ok(Box::new(move || {
            // Requests one after the other are one request, as the packets of a trace are one trace.
            let file = TraceFile::open(&path, TraceFormat::Perfetto, None)?;
            let options = DeliveryOptions::default();
            Ok(Box::new(EncodedExporter::new(
                OtlpProtoEncoder::new(),
                file,
                options,
            )))
        })),
        _ => {
            let format = if format == "perfetto" {
                TraceFormat::Perfetto
            } else {
                TraceFormat::ChromeJson
            };
            let settings = ChromeSettings::new(Some(path), Some(format), &Env::process())?;
            let exporter = ChromeExporter::with_first_span(settings, first)?;
            Ok(Box::new(move || exporter.build()))
        }
    }
}

/// The format that a name says.
fn of_name(path: &Path) -> &'static str {
    let name = path.to_string_lossy();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit('.').next() {
        Some("jsonl" | "ndjson") => "otlp-json",
        Some("binpb" | "otlp") => "otlp-proto",
        _ if name.ends_with(".otlp.json") => "otlp-json",
        _ => match TraceFormat::of_path(path) {
            TraceFormat::Perfetto => "perfetto",
            _ => "chrome",
        },
    }
}

/// Spans that did not arrive, if there are any.
fn lost(pipeline: &Pipeline) -> Option<String> {
    let stats = pipeline.stats();
    let lost: u64 = stats
        .exporters()
        .iter()
        .map(|exporter| {
            let ledger = &exporter.ledger;
            let dropped: u64 = ledger.dropped.iter().map(|(_, spans)| spans).sum();
            dropped + ledger.rejected
        })
        .sum();
    (lost > 0).then(|| format!("{lost} spans did not arrive; the lines above say why"))
}
