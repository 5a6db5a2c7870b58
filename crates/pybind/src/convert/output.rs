//! Where converted spans go: a file, whole from its first to its last moment, or a backend, through the pipeline that traced
//! programs use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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

use crate::exporting::Spec;

/// Formats that can be written, as in `--to-format`.
pub(super) const WRITERS: [&str; 4] = ["chrome", "perfetto", "otlp-json", "otlp-proto"];

/// Spans and bytes under way: well below what a queue drops at.
const MAX_SPANS: usize = 32_768;
const MAX_BYTES: usize = 24 << 20;
/// How long a backend may take for what is under way.
const PATIENCE: Duration = Duration::from_secs(60);

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
    File {
        path: PathBuf,
        /// It takes the file's name once it is complete.
        partial: PathBuf,
        format: &'static str,
    },
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
            None => of_name(path),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let partial = path.with_file_name(format!(".{}-{name}", std::process::id()));
        let target = Target::File {
            path: path.to_owned(),
            partial,
            format,
        };
        Ok(Self::to(target))
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

    /// Takes a tree; waits where the far side is slower than the file.
    pub(super) fn take(&mut self, tree: Arc<SpanTree>) {
        if self.problem.is_some() {
            return;
        }
        let (spans, bytes) = (tree.len(), tree.heap_bytes());
        self.spans_under_way += spans;
        self.bytes_under_way += bytes;
        let first = tree.span(0).map(|span| span.start());
        if self.spans_under_way > MAX_SPANS || self.bytes_under_way > MAX_BYTES {
            self.wait();
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

    /// Lets everything leave.
    pub(super) fn finish(&mut self) {
        if self.problem.is_none()
            && let Err(error) = self.running(None)
        {
            self.problem = Some(error.to_string());
        }
        if let Some(pipeline) = self.pipeline.take() {
            pipeline.shutdown(PATIENCE);
            self.problem = self.problem.take().or_else(|| lost(&pipeline));
        }
        if let Target::File { path, partial, .. } = &self.target
            && let Err(error) = std::fs::rename(partial, path)
        {
            let problem = format!("{} cannot be written: {error}", path.display());
            self.problem.get_or_insert(problem);
        }
    }

    /// What went wrong on this side.
    pub(super) fn problem(&mut self) -> Option<String> {
        self.problem.take()
    }

    fn wait(&mut self) {
        let Some(pipeline) = &self.pipeline else {
            return;
        };
        let is_complete = pipeline.flush(PATIENCE).is_complete();
        self.problem = lost(pipeline);
        if !is_complete && self.problem.is_none() {
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
            Target::File {
                partial, format, ..
            } => {
                let build = writer(partial.clone(), format, first)?;
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
    // What an earlier, interrupted run of the same number left behind.
    let _ = std::fs::remove_file(&path);
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
