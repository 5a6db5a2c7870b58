//! `hiq.trace` above a function.

use hiq_core::intern::{Symbol, symbol};
use hiq_core::span::Kind;
use hiq_core::tree::Role;
use hiq_core::value::Value;
use pyo3::prelude::*;

use crate::wrap::{self, Returns};

/// Wraps a function for the pipeline, as a decorator does; its spans carry `code.*` attributes.
pub(super) fn decorate(
    py: Python<'_>,
    func: &Bound<'_, PyAny>,
    name: Option<Symbol>,
    kind: Kind,
    more: Vec<(String, Value)>,
) -> PyResult<Py<PyAny>> {
    if let Ok(descriptor) = func.getattr("__func__")
        && !func.is_callable()
    {
        // `@trace` above `@staticmethod` or `@classmethod`: wrap what is inside and put the descriptor around it again.
        let inner = decorate(py, &descriptor, name, kind, more)?;
        return Ok(func.get_type().call1((inner,))?.unbind());
    }
    let qualified = func
        .getattr("__qualname__")
        .and_then(|name| name.extract::<String>())
        .unwrap_or_else(|_| "call".to_owned());
    let name = name.or_else(|| symbol(&qualified)).unwrap_or(Symbol::EMPTY);
    let mut site_attributes = code_attributes(func, &qualified);
    site_attributes.extend(more);
    let pairs: Vec<(&str, Value)> = site_attributes
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    let site = hiq_core::intern::site(pairs);
    let traced = wrap::new(
        py,
        func,
        Role {
            kind,
            ..Role::new(name, site)
        },
        returns_of(func),
    )?;
    crate::module::subscribe_pipeline(py, &traced);
    Ok(traced)
}

/// `code.*` by OpenTelemetry's semantic conventions.
fn code_attributes(func: &Bound<'_, PyAny>, qualified: &str) -> Vec<(String, Value)> {
    let module: Option<String> = func
        .getattr("__module__")
        .and_then(|module| module.extract())
        .ok();
    let full = module.map_or_else(
        || qualified.to_owned(),
        |module| format!("{module}.{qualified}"),
    );
    let mut attributes = vec![("code.function.name".to_owned(), Value::from(full))];
    if let Ok(code) = func.getattr("__code__") {
        if let Ok(file) = code
            .getattr("co_filename")
            .and_then(|file| file.extract::<String>())
        {
            attributes.push(("code.file.path".to_owned(), file.into()));
        }
        if let Ok(line) = code
            .getattr("co_firstlineno")
            .and_then(|line| line.extract::<i64>())
        {
            attributes.push(("code.line.number".to_owned(), line.into()));
        }
    }
    attributes
}

/// What calls of a function return, by the flags of its code.
fn returns_of(func: &Bound<'_, PyAny>) -> Returns {
    const GENERATOR: u32 = 0x20;
    const COROUTINE: u32 = 0x80;
    const ITERABLE_COROUTINE: u32 = 0x100;
    const ASYNC_GENERATOR: u32 = 0x200;
    let code = func.getattr("__code__").or_else(|_| {
        func.getattr("__func__")
            .and_then(|inner| inner.getattr("__code__"))
    });
    let flags = code
        .and_then(|code| code.getattr("co_flags"))
        .and_then(|flags| flags.extract::<u32>())
        .unwrap_or(0);
    if flags & COROUTINE != 0 {
        Returns::Coroutine
    } else if flags & ASYNC_GENERATOR != 0 {
        Returns::AsyncGenerator
    } else if flags & ITERABLE_COROUTINE != 0 {
        Returns::AwaitableGenerator
    } else if flags & GENERATOR != 0 {
        Returns::Generator
    } else {
        Returns::Value
    }
}
