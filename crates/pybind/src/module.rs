//! Wrapping and subscribing, as the package's Python half asks for it.
#![allow(
    unsafe_code,
    reason = "wrappers are reached by their C layout, with the GIL held"
)]

use hiq_core::intern::{Symbol, site, symbol};
use hiq_core::span::Kind;
use hiq_core::time::{Clock, TickSource};
use hiq_core::tree::Role;
use hiq_core::value::Value;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::attributes;
use crate::driver::Driver;
use crate::trace::kind_of;
use crate::wrap::{self, Returns, TracedObject, apply_plan, traced_object};

/// A wrapper that records while it has subscribers.
#[pyfunction]
#[pyo3(signature = (func, name, kind="function", attributes=None))]
fn traced(
    py: Python<'_>,
    func: &Bound<'_, PyAny>,
    name: &str,
    kind: &str,
    attributes: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let returns = match kind {
        "function" => Returns::Value,
        "coroutine" => Returns::Coroutine,
        "generator" => Returns::Generator,
        "awaitable_generator" => Returns::AwaitableGenerator,
        "async_generator" => Returns::AsyncGenerator,
        other => {
            let message = format!(
                "kind `{other}` is none of function, coroutine, generator, awaitable_generator, async_generator"
            );
            return Err(PyValueError::new_err(message));
        }
    };
    let mut span_kind = Kind::Internal;
    let mut pairs: Vec<(String, Value)> = Vec::new();
    for (key, value) in attributes.into_iter().flatten() {
        let key: String = key.extract()?;
        // OpenTelemetry has no attribute for the span kind; this name is the one that Jaeger and Zipkin users know.
        if key == "span.kind" {
            span_kind = kind_of(&value.extract::<String>()?)?;
        } else {
            pairs.push((key, attributes::to_value(&value)));
        }
    }
    let place = site(
        pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone())),
    );
    let role = Role {
        kind: span_kind,
        ..Role::new(symbol(name).unwrap_or(Symbol::EMPTY), place)
    };
    wrap::new(py, func, role, returns)
}

#[pyfunction]
fn is_traced(obj: &Bound<'_, PyAny>) -> bool {
    traced_object(obj.as_ptr()).is_some()
}

fn expect_traced(obj: &Bound<'_, PyAny>) -> PyResult<*mut TracedObject> {
    let name = obj.get_type().name()?;
    traced_object(obj.as_ptr())
        .ok_or_else(|| PyTypeError::new_err(format!("a Traced is needed, not {name}")))
}

#[pyfunction]
fn original(traced: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let object = expect_traced(traced)?;
    // SAFETY: the wrapper is alive and so is what it wraps.
    Ok(unsafe { Bound::from_borrowed_ptr(traced.py(), (*object).func) }.unbind())
}

/// Turns the wrapper on for `driver`; None stands for the pipeline alone.
#[pyfunction]
#[pyo3(signature = (traced, driver, *, name=None, min_duration_ns=0))]
fn subscribe(
    py: Python<'_>,
    traced: &Bound<'_, PyAny>,
    driver: Option<Py<Driver>>,
    name: Option<&str>,
    min_duration_ns: u64,
) -> PyResult<()> {
    let object = expect_traced(traced)?;
    if let (Some(driver), Some(name)) = (&driver, name) {
        // SAFETY: a live wrapper, with the GIL held.
        let role = unsafe { (*object).role };
        driver
            .get()
            .rename(role.site, role.name.text().as_str(), name);
    }
    // SAFETY: a live wrapper, with the GIL held.
    unsafe { (*(*object).plan).add(py, driver.as_ref(), min_duration_ns) };
    apply_plan(object);
    Ok(())
}

/// The same for a wrapper of our own making.
pub(crate) fn subscribe_pipeline(py: Python<'_>, traced: &Py<PyAny>) {
    if let Some(object) = traced_object(traced.as_ptr()) {
        // SAFETY: a live wrapper, with the GIL held.
        unsafe { (*(*object).plan).add(py, None, 0) };
        apply_plan(object);
    }
}

/// Takes a subscription back. Returns how many are left.
#[pyfunction]
fn unsubscribe(
    py: Python<'_>,
    traced: &Bound<'_, PyAny>,
    driver: Option<Py<Driver>>,
) -> PyResult<usize> {
    let object = expect_traced(traced)?;
    // SAFETY: a live wrapper, with the GIL held.
    let left = unsafe { (*(*object).plan).remove(py, driver.as_ref()) };
    apply_plan(object);
    Ok(left)
}

/// Looks again at what a wrapper's drivers want: after a flag or metric of one has changed.
#[pyfunction]
fn refresh(py: Python<'_>, traced: &Bound<'_, PyAny>) -> PyResult<()> {
    let object = expect_traced(traced)?;
    // SAFETY: a live wrapper, with the GIL held.
    unsafe { (*(*object).plan).renew(py) };
    apply_plan(object);
    Ok(())
}

/// Puts `value` into the dict of a type, also of one written in C, and lets the caches know.
#[pyfunction]
fn set_type_attribute(
    py: Python<'_>,
    type_: &Bound<'_, PyType>,
    name: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // SAFETY: with the GIL held; the dict stays alive while the type does.
    unsafe {
        let kind = type_.as_ptr().cast::<ffi::PyTypeObject>();
        let dict = type_dict(py, kind)?;
        let key = pyo3::types::PyString::intern(py, name);
        let failed = ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) < 0;
        ffi::PyType_Modified(kind);
        if failed {
            Err(PyErr::fetch(py))
        } else {
            Ok(())
        }
    }
}

/// Takes `name` out of the dict of a type: the inherited one is seen again.
#[pyfunction]
fn delete_type_attribute(py: Python<'_>, type_: &Bound<'_, PyType>, name: &str) -> PyResult<()> {
    // SAFETY: as in `set_type_attribute`.
    unsafe {
        let kind = type_.as_ptr().cast::<ffi::PyTypeObject>();
        let dict = type_dict(py, kind)?;
        let key = pyo3::types::PyString::intern(py, name);
        let failed = ffi::PyDict_DelItem(dict.as_ptr(), key.as_ptr()) < 0;
        ffi::PyType_Modified(kind);
        if failed {
            Err(PyErr::fetch(py))
        } else {
            Ok(())
        }
    }
}

#[cfg(Py_3_12)]
unsafe fn type_dict(py: Python<'_>, kind: *mut ffi::PyTypeObject) -> PyResult<Bound<'_, PyAny>> {
    unsafe extern "C" {
        fn PyType_GetDict(kind: *mut ffi::PyTypeObject) -> *mut ffi::PyObject;
    }
    // SAFETY: a live type; the answer is a new reference.
    unsafe { Bound::from_owned_ptr_or_err(py, PyType_GetDict(kind)) }
}

#[cfg(not(Py_3_12))]
unsafe fn type_dict(py: Python<'_>, kind: *mut ffi::PyTypeObject) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a live type, whose dict is there once it is ready.
    unsafe { Bound::from_borrowed_ptr_or_err(py, (*kind).tp_dict) }
}

#[pyfunction]
fn clock_source() -> &'static str {
    match Clock::source() {
        TickSource::Tsc => "tsc",
        TickSource::Monotonic => "monotonic",
    }
}

#[pyfunction]
fn overhead_ns(py: Python<'_>) -> f64 {
    crate::calibrate::span_nanos(py)
}

/// HiQ's zero-span threshold, in seconds.
#[pyfunction]
fn set_zin_threshold(seconds: f64) {
    crate::runtime::set_zin_threshold(seconds);
}

/// hiq's exceptions, which the Python half defines nothing of.
pub(crate) mod errors {
    use hiq_core::config::ConfigError as CoreError;
    use pyo3::exceptions::{PyException, PyValueError};
    use pyo3::prelude::*;
    use pyo3::sync::PyOnceLock;
    use pyo3::types::{PyDict, PyTuple, PyType};

    pyo3::create_exception!(hiq, HiqError, PyException, "Base of hiq's errors.");
    pyo3::create_exception!(
        hiq,
        ExportError,
        HiqError,
        "Not everything could be delivered in time."
    );

    static CONFIG_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

    /// `ConfigError`, which is a `HiqError` and a `ValueError`.
    pub(crate) fn config_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
        let made = CONFIG_ERROR.get_or_try_init(py, || {
            let bases = PyTuple::new(py, [py.get_type::<HiqError>(), py.get_type::<PyValueError>()])?;
            let body = PyDict::new(py);
            body.set_item("__module__", "hiq")?;
            body.set_item("__doc__", "A setting or conf row is wrong. The message names the value, the place and the fix.")?;
            let made = py.get_type::<PyType>().call1(("ConfigError", bases, body))?;
            Ok::<_, PyErr>(made.cast_into::<PyType>()?.unbind())
        })?;
        Ok(made.bind(py))
    }

    pub(crate) fn config(error: &CoreError) -> PyErr {
        config_text(&error.to_string())
    }

    pub(crate) fn config_text(message: &str) -> PyErr {
        Python::attach(|py| match config_type(py) {
            Ok(kind) => PyErr::from_type(kind.clone(), message.to_owned()),
            Err(error) => error,
        })
    }
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("HiqError", py.get_type::<errors::HiqError>())?;
    module.add("ExportError", py.get_type::<errors::ExportError>())?;
    module.add("ConfigError", errors::config_type(py)?)?;
    module.add_class::<Driver>()?;
    module.add_function(wrap_pyfunction!(traced, module)?)?;
    module.add_function(wrap_pyfunction!(is_traced, module)?)?;
    module.add_function(wrap_pyfunction!(original, module)?)?;
    module.add_function(wrap_pyfunction!(subscribe, module)?)?;
    module.add_function(wrap_pyfunction!(unsubscribe, module)?)?;
    module.add_function(wrap_pyfunction!(refresh, module)?)?;
    module.add_function(wrap_pyfunction!(set_type_attribute, module)?)?;
    module.add_function(wrap_pyfunction!(delete_type_attribute, module)?)?;
    module.add_function(wrap_pyfunction!(clock_source, module)?)?;
    module.add_function(wrap_pyfunction!(overhead_ns, module)?)?;
    module.add_function(wrap_pyfunction!(set_zin_threshold, module)?)
}
