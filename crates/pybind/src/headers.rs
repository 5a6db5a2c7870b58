//! Headers in and out: `hiq.extract` and `hiq.inject`.
use hiq_core::config::ConfigError;
use hiq_core::context::{Context, Propagator};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyString};

use crate::context::PyContext;
use crate::module::errors;
use crate::runtime;
use crate::state::state;

/// Reads headers from a mapping or from pairs; names in any case, text or bytes.
#[pyfunction]
#[pyo3(signature = (headers, propagators=None))]
fn extract(
    headers: &Bound<'_, PyAny>,
    propagators: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<PyContext>> {
    let propagators = chosen(propagators)?;
    let headers = pairs(headers)?;
    let headers = headers.iter().map(|(name, value)| (&name[..], &value[..]));
    Ok(Context::from_headers(&propagators, headers).map(PyContext::new))
}

/// Writes headers of the current span into `carrier`, a new dict by default, and returns it.
#[pyfunction]
#[pyo3(signature = (carrier=None, propagators=None))]
fn inject<'py>(
    py: Python<'py>,
    carrier: Option<Bound<'py, PyAny>>,
    propagators: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let propagators = chosen(propagators)?;
    let carrier = carrier.unwrap_or_else(|| PyDict::new(py).into_any());
    let Some(context) = state().capture() else {
        return Ok(carrier);
    };
    let mut failed = Ok(());
    context.to_headers(&propagators, |name, value| {
        if failed.is_ok() {
            failed = carrier.set_item(name, value);
        }
    });
    failed.map(|()| carrier)
}

/// Those of one call, or those of the process.
fn chosen(given: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Propagator>> {
    match given {
        Some(given) => propagators(given),
        None => Ok(runtime::current().propagators.clone()),
    }
}

/// Propagators by name: a list, or a text with commas as in `OTEL_PROPAGATORS`.
pub(crate) fn propagators(given: &Bound<'_, PyAny>) -> PyResult<Vec<Propagator>> {
    let names: Vec<String> = match given.extract::<String>() {
        Ok(list) => list.split(',').map(str::to_owned).collect(),
        Err(_) => given.extract()?,
    };
    let names = names.iter().map(|name| name.trim().to_ascii_lowercase());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    if names == ["none"] {
        return Ok(Vec::new());
    }
    names.iter().map(|name| propagator(name)).collect()
}

fn propagator(name: &str) -> PyResult<Propagator> {
    Propagator::from_name(name).ok_or_else(|| {
        let known = Propagator::ALL.map(Propagator::name).join(", ");
        let problem = format!("`{}` is not known", name.escape_debug());
        let fix = format!("known are {known}, and none by itself");
        errors::config(&ConfigError::new("propagators", problem, fix))
    })
}

fn pairs(headers: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String)>> {
    let pair = |pair: &Bound<'_, PyAny>| {
        let parts = pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>();
        parts
            .map(|(name, value)| (text(&name), text(&value)))
            .map_err(|_| {
                PyTypeError::new_err("headers must be a mapping, or pairs of name and value")
            })
    };
    match headers.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.iter().map(|each| pair(&each)).collect(),
        Err(_) => headers.try_iter()?.map(|each| pair(&each?)).collect(),
    }
}

/// Of anything else than text and bytes: nothing.
fn text(value: &Bound<'_, PyAny>) -> String {
    if let Ok(text) = value.cast::<PyString>() {
        return crate::attributes::lossless(text);
    }
    value.cast::<PyBytes>().map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
    )
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(extract, module)?)?;
    module.add_function(wrap_pyfunction!(inject, module)?)
}
