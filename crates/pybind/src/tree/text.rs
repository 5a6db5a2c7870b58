//! How trees are drawn and printed: what the environment and Python say about it.

use hiq_core::render::{LocalZone, RenderOptions, TimeFormat, UnknownTimeFormat};
use pyo3::exceptions::{PyFileNotFoundError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::extras::literal;
use crate::attributes::lossless;
use crate::gil::GilCell;
use crate::runtime::environment;

/// How to draw, by HiQ's name of the format and the environment as it is now.
pub(super) fn options(py: Python<'_>, time_format: &str) -> PyResult<RenderOptions> {
    let format: TimeFormat = time_format
        .parse()
        .map_err(|error: UnknownTimeFormat| PyValueError::new_err(error.to_string()))?;
    follow_time_zone(py)?;
    Ok(RenderOptions::new(format).wide_output(wide_output(py)?))
}

/// `WIDE_OUTPUT`, by HiQ's rule for truth values: any word but a false literal is true.
fn wide_output(py: Python<'_>) -> PyResult<Option<bool>> {
    let Some(text) = environment(py, "WIDE_OUTPUT")? else {
        return Ok(None);
    };
    if text.is_empty() {
        return Ok(Some(false));
    }
    match literal(py, &text)? {
        Some(value) => value.is_truthy().map(Some),
        None => Ok(Some(true)),
    }
}

/// The `TZ` that the remembered zone belongs to.
static TIME_ZONE: GilCell<Option<String>> = GilCell::new(None);

/// The core remembers the zone for minutes; a program that changes its `TZ` sees it at once, as with `datetime`.
fn follow_time_zone(py: Python<'_>) -> PyResult<()> {
    let now = environment(py, "TZ")?;
    let mut before = TIME_ZONE.lock();
    if *before != now {
        *before = now;
        LocalZone::forget_system();
    }
    Ok(())
}

/// By Python's `print`, wherever that goes.
pub(super) fn print(py: Python<'_>, text: &str) -> PyResult<()> {
    py.import("builtins")?
        .getattr("print")?
        .call1((text,))
        .map(drop)
}

/// What HiQ 1.1.14 prints of an end that does not match the innermost open span; with the line that asked for it instead of HiQ's.
pub(super) fn print_mismatch(
    py: Python<'_>,
    levels: usize,
    innermost: &Bound<'_, PyString>,
    name: &Bound<'_, PyString>,
) -> PyResult<()> {
    let callers = py
        .import("traceback")?
        .call_method1("format_stack", (py.None(), 1))?;
    let caller: Vec<String> = callers.extract()?;
    let text = format!(
        "💀 debug info: {levels}, {}, {}\nTraceback (most recent call last):\n{}RuntimeError: stk should be \
         non-empty and name should match!\n",
        lossless(innermost),
        lossless(name),
        caller.concat()
    );
    print(py, &text)
}

/// Runs Graphviz's `dot`, without a shell. Its errors are Python's `CalledProcessError`.
pub(super) fn image(
    py: Python<'_>,
    dot: &str,
    filename: Option<Py<PyAny>>,
    format: &str,
) -> PyResult<Option<Py<PyAny>>> {
    let filename = match filename {
        Some(filename) if filename.bind(py).is_truthy()? => filename,
        _ => temporary_file(py, format)?,
    };
    let command = ("dot", "-T", format, "-o", filename.bind(py));
    let settings = PyDict::new(py);
    settings.set_item("input", dot.as_bytes())?;
    settings.set_item("check", true)?;
    let run = py.import("subprocess")?.getattr("run")?;
    match run.call((command,), Some(&settings)) {
        Ok(_) => Ok(Some(filename)),
        Err(error) if error.is_instance_of::<PyFileNotFoundError>(py) => {
            print(py, "dot is missing! please install graphviz.")?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn temporary_file(py: Python<'_>, format: &str) -> PyResult<Py<PyAny>> {
    let settings = PyDict::new(py);
    settings.set_item("prefix", "hiq_")?;
    settings.set_item("suffix", format!(".{format}"))?;
    let make = py.import("tempfile")?.getattr("mkstemp")?;
    let (descriptor, name): (i32, Py<PyAny>) = make.call((), Some(&settings))?.extract()?;
    py.import("os")?.getattr("close")?.call1((descriptor,))?;
    Ok(name)
}
