//! Conf rows for the Python half, which resolves them to functions.

use hiq_core::conf::{Conf, ConfError, Row};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::attributes;
use crate::exporting::object;
use crate::module::errors;

/// What errors call rows that come from a list.
const LIST: &str = "conf";

/// The rows of a conf file.
#[pyfunction]
fn load_conf<'py>(py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyList>> {
    let conf = Conf::from_path(path).map_err(|error| refused(&error))?;
    rows(py, &conf)
}

/// The same from a list of rows.
#[pyfunction]
fn parse_conf<'py>(
    py: Python<'py>,
    rows: Vec<Vec<Bound<'py, PyAny>>>,
) -> PyResult<Bound<'py, PyList>> {
    let cells = rows
        .iter()
        .map(|row| row.iter().map(attributes::to_value).collect());
    let conf = Conf::from_rows(cells, LIST).map_err(|error| refused(&error))?;
    self::rows(py, &conf)
}

/// The good rows of a conf file, and what is wrong with the others.
#[pyfunction]
fn check_conf<'py>(
    py: Python<'py>,
    path: &str,
) -> PyResult<(Bound<'py, PyList>, Vec<String>)> {
    let (conf, errors) = Conf::check_path(path);
    let errors = errors.iter().map(ConfError::to_string).collect();
    Ok((rows(py, &conf)?, errors))
}

fn refused(error: &ConfError) -> PyErr {
    errors::config_text(&error.to_string())
}

fn rows<'py>(py: Python<'py>, conf: &Conf) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for row in conf.rows() {
        list.append(dict(py, row)?)?;
    }
    Ok(list)
}

fn dict<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("module", &row.module)?;
    dict.set_item("class", &row.class)?;
    dict.set_item("function", &row.function)?;
    dict.set_item("name", &row.name)?;
    let shortest = row.min_duration.unwrap_or_default().as_nanos();
    dict.set_item("min_duration_ns", u64::try_from(shortest).unwrap_or(u64::MAX))?;
    let attributes = PyDict::new(py);
    for (key, value) in &row.attributes {
        attributes.set_item(key, object(py, value.as_ref())?)?;
    }
    dict.set_item("attributes", attributes)?;
    dict.set_item("place", row.place.to_string())?;
    Ok(dict)
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(load_conf, module)?)?;
    module.add_function(wrap_pyfunction!(parse_conf, module)?)?;
    module.add_function(wrap_pyfunction!(check_conf, module)?)
}
