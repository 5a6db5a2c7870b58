//! Labels as they are written in Python: a mapping, or keywords.
#![allow(unsafe_code, reason = "vectorcall keywords are read where they lie")]

use std::sync::Arc;

use hiq_core::metric::LabelSet;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};

use crate::attributes::lossless;

/// `known` with those that a call of `labels` was given: a mapping, which takes any name, and keywords.
///
/// # Safety
/// `args`, `count` and `names` are a vectorcall's.
pub(super) unsafe fn read(
    py: Python<'_>,
    known: &LabelSet,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<Arc<LabelSet>> {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut pairs: Vec<(String, String)> = known.iter().map(own).collect();
    if count > 1 {
        let message =
            "labels takes one mapping and keywords: labels({\"http.route\": \"/\"}, city=\"Oslo\")";
        return Err(PyTypeError::new_err(message));
    }
    if count == 1 {
        // SAFETY: by the caller's promise.
        let given = unsafe { Bound::from_borrowed_ptr(py, *args) };
        from_mapping(&given, &mut pairs)?;
    }
    if !names.is_null() {
        // SAFETY: a tuple of names, with a value for each behind the positional arguments.
        unsafe {
            for position in 0..ffi::PyTuple_GET_SIZE(names) {
                let name = Bound::from_borrowed_ptr(py, ffi::PyTuple_GET_ITEM(names, position));
                let value = *args.offset(count + position);
                let value = Bound::from_borrowed_ptr(py, value);
                pairs.push((text(&name)?, text(&value)?));
            }
        }
    }
    Ok(LabelSet::new(pairs))
}

/// The labels of a mapping.
pub(super) fn of_mapping(given: &Bound<'_, PyAny>) -> PyResult<Arc<LabelSet>> {
    let mut pairs = Vec::new();
    from_mapping(given, &mut pairs)?;
    Ok(LabelSet::new(pairs))
}

fn from_mapping(given: &Bound<'_, PyAny>, pairs: &mut Vec<(String, String)>) -> PyResult<()> {
    let mapping = given.cast::<PyMapping>().map_err(|_| {
        PyTypeError::new_err("labels takes a mapping of names to values, or keywords")
    })?;
    for item in mapping.items()?.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item?.extract()?;
        if !name.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("names of labels are texts"));
        }
        pairs.push((text(&name)?, text(&value)?));
    }
    Ok(())
}

fn text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    match value.cast::<PyString>() {
        Ok(text) => Ok(lossless(text)),
        Err(_) => Ok(lossless(&value.str()?)),
    }
}
