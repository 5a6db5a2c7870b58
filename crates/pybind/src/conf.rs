//! Conf rows for the Python half, which resolves them to functions.

use std::path::PathBuf;

use hiq_core::conf::{Conf, ConfError, Row};
use hiq_core::value::Value;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::attributes::lossless;
use crate::exporting::object;
use crate::module::errors;

/// What errors call rows that come from a list.
const LIST: &str = "conf";

/// The rows of a conf file.
#[pyfunction]
fn load_conf(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyList>> {
    let conf = py.detach(|| Conf::from_path(path));
    rows_of(py, &conf.map_err(|error| refused(&error))?)
}

/// The same from a list of rows.
#[pyfunction]
fn parse_conf<'py>(py: Python<'py>, rows: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    let mut cells = Vec::new();
    for (index, row) in rows.try_iter()?.enumerate() {
        cells.push(cells_of(&row?, index + 1)?);
    }
    let conf = Conf::from_rows(cells, LIST);
    rows_of(py, &conf.map_err(|error| refused(&error))?)
}

/// The good rows of a conf file, and what is wrong with the others.
#[pyfunction]
fn check_conf(py: Python<'_>, path: PathBuf) -> PyResult<(Bound<'_, PyList>, Vec<String>)> {
    let (conf, errors) = py.detach(|| Conf::check_path(path));
    let errors = errors.iter().map(ConfError::to_string).collect();
    Ok((rows_of(py, &conf)?, errors))
}

fn refused(error: &ConfError) -> PyErr {
    errors::config_text(&error.to_string())
}

// --- from Python --------------------------------------------------------------------------------

fn cells_of(row: &Bound<'_, PyAny>, line: usize) -> PyResult<Vec<Value>> {
    let cells = match row.cast::<PyList>() {
        Ok(list) => list.iter().collect(),
        Err(_) => row
            .cast::<PyTuple>()
            .map(|tuple| tuple.iter().collect::<Vec<_>>())
            .map_err(|_| {
                unfit(
                    row,
                    &format!("{LIST}:{line}"),
                    "the row",
                    "a list of four texts",
                )
            })?,
    };
    let cells = cells.iter().enumerate();
    let cells =
        cells.map(|(index, cell)| value_of(cell, &format!("{LIST}:{line}:{}", index + 1), 0));
    cells.collect()
}

/// A cell as a file could hold it.
fn value_of(cell: &Bound<'_, PyAny>, place: &str, depth: usize) -> PyResult<Value> {
    /// Attributes are an object whose values may be lists.
    const DEEPEST: usize = 2;
    if let Ok(text) = cell.cast::<PyString>() {
        return Ok(Value::Str(lossless(text)));
    }
    if cell.is_none() {
        return Ok(Value::Empty);
    }
    if let Ok(truth) = cell.cast::<PyBool>() {
        return Ok(Value::Bool(truth.is_true()));
    }
    if cell.is_instance_of::<PyInt>() {
        return Ok(cell.extract().map_or(Value::F64(f64::NAN), Value::Int));
    }
    if let Ok(number) = cell.cast::<PyFloat>() {
        return Ok(Value::F64(number.value()));
    }
    if let Ok(bytes) = cell.cast::<PyBytes>() {
        return Ok(Value::Bytes(bytes.as_bytes().to_vec()));
    }
    if depth < DEEPEST {
        if let Ok(dict) = cell.cast::<PyDict>() {
            return pairs_of(dict, place, depth + 1).map(Value::Map);
        }
        if cell.is_instance_of::<PyList>() || cell.is_instance_of::<PyTuple>() {
            let items = cell.try_iter()?;
            let items = items.map(|item| value_of(&item?, place, depth + 1));
            return items.collect::<PyResult<_>>().map(Value::Array);
        }
    }
    Err(unfit(
        cell,
        place,
        "the cell",
        "a text, a number, a truth value or a list of them",
    ))
}

fn pairs_of(dict: &Bound<'_, PyDict>, place: &str, depth: usize) -> PyResult<Vec<(String, Value)>> {
    let pairs = dict
        .iter()
        .map(|(key, value)| match key.cast::<PyString>() {
            Ok(key) => Ok((lossless(key), value_of(&value, place, depth)?)),
            Err(_) => Err(unfit(&key, place, "a key", "a text")),
        });
    pairs.collect()
}

fn unfit(object: &Bound<'_, PyAny>, place: &str, what: &str, instead: &str) -> PyErr {
    let kind = object.get_type();
    let kind = kind
        .name()
        .map_or_else(|_| "object".to_owned(), |name| name.to_string());
    errors::config_text(&format!(
        "{place}: {what} is of type {kind}; write {instead}"
    ))
}

// --- to Python ----------------------------------------------------------------------------------

fn rows_of<'py>(py: Python<'py>, conf: &Conf) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for row in conf.rows() {
        list.append(dict_of(py, row)?)?;
    }
    Ok(list)
}

fn dict_of<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("module", &row.module)?;
    dict.set_item("class", &row.class)?;
    dict.set_item("function", &row.function)?;
    dict.set_item("name", &row.name)?;
    let shortest = row.min_duration.unwrap_or_default().as_nanos();
    dict.set_item(
        "min_duration_ns",
        u64::try_from(shortest).unwrap_or(u64::MAX),
    )?;
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
