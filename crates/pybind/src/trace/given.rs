//! What `hiq.trace(...)` was called with.
#![allow(
    unsafe_code,
    reason = "references that are held without the interpreter's help; each block is argued"
)]

use std::ptr;

use hiq_core::intern::{SiteId, Symbol, symbol};
use hiq_core::span::Kind;
use hiq_core::tree::{Role, TreeBuilder};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::{decorate, kind_of};
use crate::attributes::{self, Foreign};

type Object = *mut ffi::PyObject;

/// Holds a reference to each object; dropped with the GIL held.
pub(super) struct Given {
    name: Option<Symbol>,
    /// A name that each tree has to keep for itself; null when there is none.
    passing_name: Object,
    kind: Kind,
    /// A tuple of keyword names; null when there are none.
    names: Object,
    /// As many values as there are names, in their order: here, or, if they do not fit, in `many`.
    few: [Object; FEW],
    count: usize,
    many: Vec<Object>,
}

/// More attributes are seldom given.
const FEW: usize = 6;

impl Given {
    /// `names` is null or a tuple with one name for each of `keywords`; one of them may be `kind`. `name` is that of the spans, and
    /// its text if each tree has to keep that, or null.
    ///
    /// # Safety
    /// Called with the GIL and live objects.
    pub(super) unsafe fn new(
        (name, passing_name): (Option<Symbol>, Object),
        keywords: *const Object,
        names: Object,
    ) -> PyResult<Self> {
        // SAFETY: as the caller says; `given` owns each reference as soon as it is written there.
        unsafe {
            ffi::Py_XINCREF(passing_name);
            let mut given = Self {
                name,
                passing_name,
                kind: Kind::Internal,
                names: ptr::null_mut(),
                few: [ptr::null_mut(); FEW],
                count: 0,
                many: Vec::new(),
            };
            if !names.is_null() {
                given.take_keywords(keywords, names)?;
            }
            Ok(given)
        }
    }

    unsafe fn take_keywords(&mut self, keywords: *const Object, names: Object) -> PyResult<()> {
        // SAFETY: as in `new`.
        unsafe {
            let total = ffi::PyTuple_GET_SIZE(names);
            let is_kind = |at: &ffi::Py_ssize_t| {
                crate::object::is_name(ffi::PyTuple_GET_ITEM(names, *at), "kind")
            };
            let kind_at = (0..total).find(is_kind);
            if total > FEW.cast_signed() {
                self.many.reserve_exact(total.cast_unsigned());
            }
            for at in (0..total).filter(|at| Some(*at) != kind_at) {
                self.push(*keywords.offset(at));
            }
            let Some(kind_at) = kind_at else {
                ffi::Py_INCREF(names);
                self.names = names;
                return Ok(());
            };
            let py = Python::assume_attached();
            let kind = Bound::from_borrowed_ptr(py, *keywords.offset(kind_at));
            self.kind = kind_of(&kind.extract::<String>()?)?;
            let names = Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>();
            let others = (0..names.len()).filter(|at| *at != kind_at.cast_unsigned());
            let others: Vec<_> = others
                .map(|at| names.get_item(at))
                .collect::<PyResult<_>>()?;
            self.names = PyTuple::new(py, others)?.into_ptr();
            Ok(())
        }
    }

    #[inline]
    unsafe fn push(&mut self, value: Object) {
        // SAFETY: a live object.
        unsafe { ffi::Py_INCREF(value) };
        if self.many.capacity() != 0 {
            self.many.push(value);
        } else {
            self.few[self.count] = value;
            self.count += 1;
        }
    }

    #[inline]
    pub(super) fn values(&self) -> &[Object] {
        if self.many.is_empty() {
            &self.few[..self.count]
        } else {
            &self.many
        }
    }

    /// True when reading the values runs none of the program's code.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.values()
            .iter()
            .all(|value| attributes::is_plain(*value))
    }

    #[inline]
    pub(super) fn role(&self) -> Role {
        Role {
            kind: self.kind,
            ..Role::new(self.name.unwrap_or(Symbol::EMPTY), SiteId::NONE)
        }
    }

    /// Names and attributes of a span. `foreign` are those of the values that run code.
    #[inline]
    pub(super) fn describe(&self, builder: &mut TreeBuilder, index: u32, foreign: &Foreign) {
        if !self.passing_name.is_null() {
            let name = attributes::key_symbol(builder, self.passing_name);
            builder.set_name(index, name);
        }
        for (position, value) in self.values().iter().enumerate() {
            // SAFETY: a tuple with one name for each value.
            let name = unsafe { ffi::PyTuple_GET_ITEM(self.names, position.cast_signed()) };
            foreign.set(builder, index, name, (position, *value));
        }
    }

    /// A function, traced as it says.
    pub(super) fn decorate(&self, py: Python<'_>, func: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        // SAFETY: live objects or null.
        let (names, name) = unsafe {
            (
                Bound::from_borrowed_ptr_or_opt(py, self.names),
                Bound::from_borrowed_ptr_or_opt(py, self.passing_name),
            )
        };
        let mut attributes = Vec::new();
        if let Some(names) = names {
            for (name, value) in names.cast_into::<PyTuple>()?.iter().zip(self.values()) {
                // SAFETY: a live object.
                let value = unsafe { Bound::from_borrowed_ptr(py, *value) };
                attributes.push((name.to_string(), crate::attributes::to_value(&value)));
            }
        }
        let name = match name {
            Some(name) => symbol(&name.extract::<String>()?),
            None => self.name,
        };
        decorate(py, func, name, self.kind, attributes)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        // SAFETY: references of ours, dropped with the GIL held.
        unsafe {
            for value in self.values() {
                ffi::Py_DECREF(*value);
            }
            ffi::Py_XDECREF(self.names);
            ffi::Py_XDECREF(self.passing_name);
        }
    }
}
