//! What spans and trees carry: a dict in Python, its text in the core.

use hiq_core::render::Extras;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::attributes::lossless;
use crate::state::Quiet;

/// Whether the texts of extras are needed: they cost calls of the program's `__repr__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Yes,
    No,
}

/// Something of which only its `repr` is known: an exception that a recorder has seen, an object in a tree that was read from
/// its string.
#[pyclass(module = "hiq._hiq", frozen, eq, hash)]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Printed {
    text: String,
}

#[pymethods]
impl Printed {
    #[new]
    fn new(text: String) -> Self {
        Self { text }
    }

    fn __repr__(&self) -> &str {
        &self.text
    }

    fn __getnewargs__(&self) -> (&str,) {
        (&self.text,)
    }
}

/// The dict as Python prints it.
pub(super) fn text_of(dict: &Bound<'_, PyDict>) -> PyResult<Extras> {
    if dict.is_empty() {
        return Ok(Extras::new());
    }
    let _quiet = Quiet::new();
    match printed(dict)? {
        Some(text) => Ok(Extras::from_repr(text)),
        None => text_of_items(dict),
    }
}

/// The same, item by item: one that cannot be printed does not cost the others.
fn text_of_items(dict: &Bound<'_, PyDict>) -> PyResult<Extras> {
    let mut pairs = Vec::with_capacity(dict.len());
    for (key, value) in dict.iter() {
        pairs.push((printed_or_type(&key)?, printed_or_type(&value)?));
    }
    let pairs = pairs.iter();
    Ok(Extras::from_reprs(
        pairs.map(|(key, value)| (key.as_str(), value.as_str())),
    ))
}

fn printed_or_type(object: &Bound<'_, PyAny>) -> PyResult<String> {
    match printed(object)? {
        Some(text) => Ok(text),
        None => Ok(format!("<{} without repr>", object.get_type().name()?)),
    }
}

/// The `repr`; `None` if that fails. What is no error (`KeyboardInterrupt`) goes on.
fn printed(object: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    match object.repr() {
        Ok(text) => Ok(Some(lossless(&text))),
        Err(error) if error.is_instance_of::<PyException>(object.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The dict that was printed. What is no literal becomes [`Printed`].
pub(super) fn dict_of<'py>(py: Python<'py>, extras: &Extras) -> PyResult<Bound<'py, PyDict>> {
    let text = extras.as_repr();
    if text.is_empty() {
        return Ok(PyDict::new(py));
    }
    if let Some(Ok(dict)) = literal(py, text)?.map(Bound::cast_into) {
        return Ok(dict);
    }
    let dict = PyDict::new(py);
    for (key, value) in pairs_of(extras) {
        let key = literal_or_printed(py, key)?;
        // A literal that cannot be a key was none to its writer.
        if key.hash().is_ok() {
            dict.set_item(key, literal_or_printed(py, value)?)?;
        }
    }
    Ok(dict)
}

/// Keys and values; of a text that cannot be told apart, one pair that prints the same.
fn pairs_of(extras: &Extras) -> Vec<(&str, &str)> {
    let pairs = extras.pairs();
    if !pairs.is_empty() {
        return pairs;
    }
    let inside = extras.as_repr().trim_matches(['{', '}']);
    inside.split_once(": ").into_iter().collect()
}

fn literal_or_printed<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    match literal(py, text)? {
        Some(value) => Ok(value),
        None => Ok(Bound::new(py, Printed::new(text.to_owned()))?.into_any()),
    }
}

/// The value of a Python literal, by Python's own reader of literals, which runs no code.
pub(super) fn literal<'py>(py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let read = py.import("ast")?.getattr("literal_eval")?.call1((text,));
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        Err(error) => Err(error),
    }
}
