//! `hiq convert`: files of spans in, one file or a backend out. Runs without the GIL; Python shows the progress.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use hiq_core::config::ConfigError;
use hiq_core::tree::SpanTree;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::module::errors;

mod formats;
mod hiq_text;
mod output;

use formats::{Format, READERS, by_name, sniff};
use output::Output;

/// Reads `inputs`, each in the format that `from` names or its content shows, and writes all spans to the file `output` in the format
/// `to_format`, or sends them to the exporter `send`. `progress` is called with the bytes read and the size of a file, ten times a second.
/// `base_unix_nanos` is the time zero of Chrome traces that do not name theirs.
#[pyfunction]
#[pyo3(signature = (inputs, output, *, from_format=None, to_format=None, send=None, progress=None, base_unix_nanos=None))]
#[expect(clippy::too_many_arguments, reason = "the options of a command")]
fn convert<'py>(
    py: Python<'py>,
    inputs: Vec<PathBuf>,
    output: Option<PathBuf>,
    from_format: Option<&str>,
    to_format: Option<&str>,
    send: Option<&str>,
    progress: Option<Py<PyAny>>,
    base_unix_nanos: Option<u64>,
) -> PyResult<Bound<'py, PyDict>> {
    let from = from_format.map(by_name).transpose();
    let from = from.map_err(|error| errors::config(&error))?;
    let out = match (output, send) {
        (Some(path), None) => Output::file(&path, to_format),
        (None, Some(name)) => Output::send(py, name)?,
        _ => Err(ConfigError::new(
            "OUT",
            "neither a file nor a backend",
            "name a file, or use --to",
        )),
    };
    let mut out = out.map_err(|error| errors::config(&error))?;
    let mut job = Job {
        from,
        base_unix_nanos,
        progress,
        interrupt: Mutex::new(None),
        problems: Vec::new(),
    };
    py.detach(|| {
        for path in &inputs {
            job.read(path, &mut out);
            if job.is_interrupted() {
                break;
            }
        }
        out.finish();
    });
    let result = PyDict::new(py);
    result.set_item("spans", out.spans)?;
    result.set_item("trees", out.trees)?;
    job.problems.extend(out.problem());
    result.set_item("problems", PyList::new(py, &job.problems)?)?;
    match job
        .interrupt
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        Some(error) => Err(error),
        None => Ok(result),
    }
}

/// The name of the format that `bytes` look like.
pub(crate) fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    sniff(bytes).map(|format| format.name)
}

/// The names of the formats that can be read, and of those that can be written.
#[pyfunction]
fn convert_formats(py: Python<'_>) -> PyResult<(Bound<'_, PyList>, Bound<'_, PyList>)> {
    let read = READERS.iter().map(|format| format.name);
    Ok((
        PyList::new(py, read.collect::<Vec<_>>())?,
        PyList::new(py, output::WRITERS)?,
    ))
}

struct Job {
    from: Option<&'static Format>,
    base_unix_nanos: Option<u64>,
    progress: Option<Py<PyAny>>,
    /// What the progress callback raised, Ctrl-C most likely.
    interrupt: Mutex<Option<PyErr>>,
    /// One line each.
    problems: Vec<String>,
}

impl Job {
    fn is_interrupted(&self) -> bool {
        let interrupt = self.interrupt.lock();
        interrupt.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Reads one file as far as that goes.
    fn read(&mut self, path: &Path, out: &mut Output) {
        if let Err(problem) = self.try_read(path, out) {
            self.problems.push(format!("{}: {problem}", path.display()));
        }
    }

    fn try_read(&self, path: &Path, out: &mut Output) -> Result<(), String> {
        let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
        let size = file.metadata().map_or(0, |about| about.len());
        let counted = Counted {
            file,
            read: 0,
            size,
            told: Instant::now(),
            progress: self.progress.as_ref(),
            interrupt: &self.interrupt,
        };
        let mut raw = BufReader::with_capacity(1 << 18, counted);
        let start = fill(&mut raw).map_err(|error| format!("cannot be read: {error}"))?;
        if start.starts_with(&[0x1f, 0x8b]) {
            let mut unzipped = BufReader::with_capacity(1 << 18, MultiGzDecoder::new(raw));
            return self.decode(&mut unzipped, out);
        }
        self.decode(&mut raw, out)
    }

    fn decode(&self, source: &mut impl io::BufRead, out: &mut Output) -> Result<(), String> {
        let start = fill(source).map_err(|error| format!("cannot be read: {error}"))?;
        let format = match self.from {
            Some(format) => format,
            None => sniff(start).ok_or_else(|| {
                let names: Vec<_> = READERS.iter().map(|format| format.name).collect();
                format!("byte 0: this is none of the formats that hiq reads ({}); say which with --from, if it is one of them", names.join(", "))
            })?,
        };
        let options = formats::Options {
            base_unix_nanos: self.base_unix_nanos,
        };
        let sink = &mut |tree: Arc<SpanTree>| out.take(tree);
        (format.read)(source, &options, sink).map_err(|error| {
            let advice =
                "what was read before is kept; get the whole file, or say its format with --from";
            format!("{error}; {advice}")
        })
    }
}

/// What comes first: enough to tell a format by.
fn fill(source: &mut impl io::BufRead) -> io::Result<&[u8]> {
    source.fill_buf()
}

/// A file that tells how far it has been read.
struct Counted<'p> {
    file: File,
    read: u64,
    size: u64,
    told: Instant,
    progress: Option<&'p Py<PyAny>>,
    interrupt: &'p Mutex<Option<PyErr>>,
}

const TELL_EVERY: Duration = Duration::from_millis(100);

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            Python::attach(|py| {
                py.check_signals()?;
                match self.progress {
                    Some(progress) => progress.call1(py, (self.read, self.size)).map(drop),
                    None => Ok(()),
                }
            })
            .map_err(|error: PyErr| {
                *self
                    .interrupt
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(error);
                io::Error::other("interrupted")
            })?;
        }
        Ok(read)
    }
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(convert, module)?)?;
    module.add_function(wrap_pyfunction!(convert_formats, module)?)
}
