//! `hiq convert`: files of spans in, one file or a backend out. Runs without the GIL; Python shows the progress.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use hiq_core::config::ConfigError;
use hiq_core::tree::SpanTree;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::module::errors;

mod formats;
mod hiq_text;
mod output;
mod place;
mod watch;

use formats::{BadLines, Format, READERS, by_name, sniff};
use output::Output;
use place::{DASH, standard_input};
use watch::Watch;

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
        watch: Watch::new(progress),
        problems: Vec::new(),
    };
    let is_written = py.detach(|| job.run(&inputs, &mut out));
    if let Some(error) = job.watch.into_interrupt() {
        return Err(error);
    }
    let result = PyDict::new(py);
    result.set_item("spans", out.spans)?;
    result.set_item("trees", out.trees)?;
    result.set_item("is_written", is_written)?;
    job.problems.extend(out.problem());
    result.set_item("problems", PyList::new(py, &job.problems)?)?;
    Ok(result)
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
    watch: Watch,
    /// One line each.
    problems: Vec<String>,
}

impl Job {
    /// Reads all files. True when the output has what they hold.
    fn run(&mut self, inputs: &[PathBuf], out: &mut Output) -> bool {
        for path in inputs {
            self.read(path, out);
            if !self.watch.goes_on() {
                out.abandon();
                return false;
            }
        }
        out.finish(self.problems.is_empty())
    }

    /// Reads one file as far as that goes.
    fn read(&mut self, path: &Path, out: &mut Output) {
        let bad_lines = RefCell::new(BadLines::default());
        let read = self.try_read(path, out, &bad_lines);
        let problems = bad_lines.into_inner().problems().chain(read.err());
        let name = path.display();
        self.problems
            .extend(problems.map(|problem| format!("{name}: {problem}")));
    }

    fn try_read(
        &self,
        path: &Path,
        out: &mut Output,
        bad_lines: &RefCell<BadLines>,
    ) -> Result<(), String> {
        let file = if path == Path::new(DASH) {
            standard_input()
        } else {
            File::open(path)
        };
        let file = file.map_err(|error| format!("cannot be read: {error}"))?;
        let size = file.metadata().map_or(0, |about| about.len());
        let counted = Counted {
            file,
            read: 0,
            size,
            watch: &self.watch,
        };
        let mut raw = BufReader::with_capacity(1 << 18, counted);
        let start = fill(&mut raw).map_err(|error| format!("cannot be read: {error}"))?;
        if start.starts_with(&[0x1f, 0x8b]) {
            let mut unzipped = BufReader::with_capacity(1 << 18, MultiGzDecoder::new(raw));
            return self.decode(&mut unzipped, out, bad_lines);
        }
        self.decode(&mut raw, out, bad_lines)
    }

    fn decode(
        &self,
        source: &mut impl io::BufRead,
        out: &mut Output,
        bad_lines: &RefCell<BadLines>,
    ) -> Result<(), String> {
        let start = fill(source).map_err(|error| format!("cannot be read: {error}"))?;
        let format = match self.from {
            Some(format) => format,
            None => sniff(start).ok_or_else(|| unknown(start))?,
        };
        let options = formats::Options {
            base_unix_nanos: self.base_unix_nanos,
            bad_lines,
            stop: Arc::clone(&self.watch.stop),
        };
        let sink = &mut |tree: Arc<SpanTree>| out.take(tree, &|| self.watch.goes_on());
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

/// What to say of a file that is none of ours.
fn unknown(start: &[u8]) -> String {
    if hiq_text::is_shown(start) {
        return "byte 0: this is what `show()` prints, which cannot be read back; keep the text that begins with `t1^`, of \
                `tree.repr()`"
            .to_owned();
    }
    let names: Vec<_> = READERS.iter().map(|format| format.name).collect();
    format!(
        "byte 0: this is none of the formats that hiq reads ({}; hiq-tree is the text that begins with `t1^`); say which with \
         --from, if it is one of them",
        names.join(", ")
    )
}

/// A file that tells how far it has been read.
struct Counted<'p> {
    file: File,
    read: u64,
    size: u64,
    watch: &'p Watch,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.file.read(buffer);
            // A signal interrupts waiting for a pipe.
            let is_waiting =
                matches!(&read, Err(error) if error.kind() == io::ErrorKind::Interrupted);
            self.read += *read.as_ref().unwrap_or(&0) as u64;
            if !self.watch.look(Some((self.read, self.size)), is_waiting) {
                return Err(io::Error::other("interrupted"));
            }
            if !is_waiting {
                return read;
            }
        }
    }
}
pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(convert, module)?)?;
    module.add_function(wrap_pyfunction!(convert_formats, module)?)
}
