//! Python values into attributes, by the C API: no Python object is made, and the program's own code runs only for `repr`,
//! where that was asked for.
#![allow(
    unsafe_code,
    reason = "exact type checks and borrowed UTF-8, argued at each place"
)]

use std::ptr;

use hiq_core::intern::Symbol;
use hiq_core::tree::TreeBuilder;
use hiq_core::value::{Value, ValueRef};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::state::Quiet;

/// Longest text that is made of a value that is none of OpenTelemetry's types, in bytes.
const MAX_REPR_BYTES: usize = 1 << 10;
/// Lists inside lists deeper than this become text.
const MAX_DEPTH: u32 = 8;

/// The symbol of a key.
///
/// Keys are nearly always the same string objects, so they are found by address; the cache holds a reference, which keeps
/// the address from being used for another string.
#[inline]
pub(crate) fn key_symbol(builder: &mut TreeBuilder, key: *mut ffi::PyObject) -> Symbol {
    if let Some(symbol) = known_symbol(key) {
        return symbol;
    }
    let symbol = with_utf8(key, |text| builder.symbol(text)).unwrap_or(Symbol::EMPTY);
    remember(key, symbol);
    symbol
}

/// The symbol of a name, found as a key's is; `None` for what is no text. A name that the process-wide table has no room for is
/// the empty one: it has to be given to the span once that has a tree.
#[inline]
pub(crate) fn text_symbol(text: *mut ffi::PyObject) -> Option<Symbol> {
    if let Some(symbol) = known_symbol(text) {
        return Some(symbol);
    }
    let symbol = with_utf8(text, hiq_core::intern::passing_symbol)?.unwrap_or(Symbol::EMPTY);
    remember(text, symbol);
    Some(symbol)
}

#[inline(always)]
fn known_symbol(key: *mut ffi::PyObject) -> Option<Symbol> {
    // SAFETY: the cache is only touched with the GIL held, and no reference into it outlives this function.
    let shelf = unsafe { &(*CACHE.0.get())[shelf_of(key)] };
    let known = shelf.0.iter().find(|(known, _)| *known == key);
    known.map(|(_, symbol)| *symbol)
}

#[cold]
#[inline(never)]
fn remember(key: *mut ffi::PyObject, symbol: Symbol) {
    if symbol.text().is_empty() {
        // Stands in one tree only, or is empty.
        return;
    }
    // SAFETY: as in `known_symbol`. `key` is alive, and the oldest one was kept alive by its own reference. That goes last: the
    // end of a string of the program's own class may run its code, which may come here again.
    unsafe {
        ffi::Py_INCREF(key);
        let shelf = &mut (*CACHE.0.get())[shelf_of(key)];
        shelf.0.rotate_right(1);
        let (oldest, _) = std::mem::replace(&mut shelf.0[0], (key, symbol));
        ffi::Py_XDECREF(oldest);
    }
}

/// Which shelf a key's address leads to. Where the interpreter puts its strings differs from process to process: were there room
/// for one key only, in some of them two that a span has would take it from each other, and be looked up by their text each time.
#[inline(always)]
fn shelf_of(key: *mut ffi::PyObject) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (key as u64).wrapping_mul(GOLDEN_RATIO);
    #[expect(clippy::cast_possible_truncation, reason = "below SHELVES")]
    let shelf = (mixed >> (u64::BITS - SHELVES.trailing_zeros())) as usize;
    shelf
}

const SHELVES: usize = 256;
const KEYS_OF_A_SHELF: usize = 4;

/// One line of the processor's memory; the newest key first.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Shelf([(*mut ffi::PyObject, Symbol); KEYS_OF_A_SHELF]);

struct KeyCache(std::cell::UnsafeCell<[Shelf; SHELVES]>);

// SAFETY: only touched with the GIL held.
unsafe impl Sync for KeyCache {}

static CACHE: KeyCache = KeyCache(std::cell::UnsafeCell::new(
    [Shelf([(ptr::null_mut(), Symbol::EMPTY); KEYS_OF_A_SHELF]); SHELVES],
));

/// Values whose reading may run the program's code, read before a span is opened for them: that code may end any span that
/// is open. By their position among the values; nearly always there are none.
#[derive(Debug, Default)]
pub(crate) struct Foreign(Vec<(usize, Value)>);

impl Foreign {
    /// Reads those among `values`.
    #[inline]
    pub(crate) fn among(values: impl Iterator<Item = *mut ffi::PyObject>) -> Self {
        let mut all = Self::default();
        for (position, value) in values.enumerate() {
            if !is_plain(value) {
                all.read(position, value);
            }
        }
        all
    }

    #[cold]
    #[inline(never)]
    fn read(&mut self, position: usize, value: *mut ffi::PyObject) {
        self.0.push((position, read(value)));
    }

    fn at(&self, position: usize) -> Option<&Value> {
        let found = self.0.iter().find(|(known, _)| *known == position);
        found.map(|(_, value)| value)
    }

    /// Sets an attribute of a span to the value at `position`.
    #[inline]
    pub(crate) fn set(
        &self,
        builder: &mut TreeBuilder,
        span: u32,
        key: *mut ffi::PyObject,
        (position, value): (usize, *mut ffi::PyObject),
    ) {
        let key = key_symbol(builder, key);
        if !set_plain(builder, span, key, value) {
            self.set_other(builder, span, key, (position, value));
        }
    }

    #[cold]
    #[inline(never)]
    fn set_other(
        &self,
        builder: &mut TreeBuilder,
        span: u32,
        key: Symbol,
        (position, value): (usize, *mut ffi::PyObject),
    ) {
        match self.at(position) {
            Some(known) => builder.set_attribute(span, key, known.as_ref()),
            // A number or text that needs more room than usual: the interpreter's own types run no code.
            None => builder.set_attribute(span, key, read(value).as_ref()),
        }
    }
}

/// True for values of exactly the four types that nearly all are.
#[inline]
pub(crate) fn is_plain(value: *mut ffi::PyObject) -> bool {
    // SAFETY: a live object's type is read.
    unsafe {
        let kind = ffi::Py_TYPE(value);
        kind == &raw mut ffi::PyUnicode_Type
            || kind == &raw mut ffi::PyLong_Type
            || kind == &raw mut ffi::PyBool_Type
            || kind == &raw mut ffi::PyFloat_Type
    }
}

/// The four types that nearly all values are.
#[inline]
fn set_plain(builder: &mut TreeBuilder, span: u32, key: Symbol, value: *mut ffi::PyObject) -> bool {
    // SAFETY: `value` is a live object; each access is guarded by an exact type check.
    unsafe {
        let kind = ffi::Py_TYPE(value);
        if kind == &raw mut ffi::PyUnicode_Type {
            let Some(text) = utf8(value) else {
                return false;
            };
            builder.set_attribute(span, key, ValueRef::Str(text));
        } else if kind == &raw mut ffi::PyLong_Type {
            let mut overflow = 0;
            let number = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
            if overflow != 0 {
                return false;
            }
            builder.set_attribute(span, key, ValueRef::Int(number));
        } else if kind == &raw mut ffi::PyBool_Type {
            builder.set_attribute(span, key, ValueRef::Bool(value == ffi::Py_True()));
        } else if kind == &raw mut ffi::PyFloat_Type {
            builder.set_attribute(span, key, ValueRef::F64(ffi::PyFloat_AsDouble(value)));
        } else {
            return false;
        }
    }
    true
}

/// The UTF-8 of a string object; `None` for one with lone surrogates.
#[inline]
unsafe fn utf8<'a>(string: *mut ffi::PyObject) -> Option<&'a str> {
    // SAFETY: a live string object, which owns the UTF-8 and keeps it as long as it lives.
    unsafe {
        #[cfg(not(Py_3_14))]
        if ffi::PyUnicode_IS_COMPACT_ASCII(string) != 0 {
            let text = string.cast::<ffi::PyASCIIObject>().add(1).cast::<u8>();
            let len = ffi::PyUnicode_GET_LENGTH(string).cast_unsigned();
            return Some(std::str::from_utf8_unchecked(std::slice::from_raw_parts(
                text, len,
            )));
        }
        let mut len = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(string, &raw mut len);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), len.cast_unsigned());
        Some(std::str::from_utf8_unchecked(bytes))
    }
}

fn read(value: *mut ffi::PyObject) -> Value {
    // SAFETY: called with the GIL and a live object.
    let value = unsafe {
        let py = Python::assume_attached();
        Bound::from_borrowed_ptr(py, value)
    };
    to_value(&value)
}

/// Keys and values of a dict, for events and links.
pub(crate) fn owned(attributes: &Bound<'_, PyDict>) -> Vec<(Symbol, Value)> {
    attributes
        .iter()
        .filter_map(|(key, value)| {
            let symbol = with_utf8(key.as_ptr(), hiq_core::intern::symbol)??;
            Some((symbol, to_value(&value)))
        })
        .collect()
}

/// Any Python value as an attribute value.
pub(crate) fn to_value(value: &Bound<'_, PyAny>) -> Value {
    nested(value, 0)
}

fn nested(value: &Bound<'_, PyAny>, depth: u32) -> Value {
    use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyTuple};
    if let Ok(text) = value.cast::<PyString>() {
        return Value::Str(lossless(text));
    }
    if value.is_instance_of::<PyBool>() {
        return Value::Bool(value.is_truthy().unwrap_or(false));
    }
    if value.is_instance_of::<PyInt>() {
        return value
            .extract()
            .map_or_else(|_| Value::Str(guarded_repr(value)), Value::Int);
    }
    if value.is_instance_of::<PyFloat>() {
        return value.extract().map_or(Value::Empty, Value::F64);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Value::Bytes(bytes.as_bytes().to_vec());
    }
    if depth < MAX_DEPTH {
        if let Ok(list) = value.cast::<PyList>() {
            return Value::Array(list.iter().map(|item| nested(&item, depth + 1)).collect());
        }
        if let Ok(tuple) = value.cast::<PyTuple>() {
            return Value::Array(tuple.iter().map(|item| nested(&item, depth + 1)).collect());
        }
    }
    if value.is_none() {
        Value::Empty
    } else {
        Value::Str(guarded_repr(value))
    }
}

/// `repr` of a stranger: it may raise, take long or call traced functions. Only its text comes back, and no error.
pub(crate) fn guarded_repr(value: &Bound<'_, PyAny>) -> String {
    let _quiet = Quiet::new();
    match value.repr() {
        Ok(text) => {
            let mut text = lossless(&text);
            text.truncate(text.floor_char_boundary(MAX_REPR_BYTES));
            text
        }
        Err(error) => {
            drop(error);
            format!(
                "<{} without repr>",
                value
                    .get_type()
                    .name()
                    .map_or_else(|_| "object".to_owned(), |name| name.to_string())
            )
        }
    }
}

/// An argument that is a text, as [`lossless`] reads it: what a program calls things by is no reason to raise into it.
#[derive(Default)]
pub(crate) struct Text(pub(crate) String);

impl<'py> FromPyObject<'_, 'py> for Text {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(lossless(&*object.cast::<PyString>()?)))
    }
}

/// The text in UTF-8; a lone surrogate, which UTF-8 cannot hold, becomes one U+FFFD.
pub(crate) fn lossless(text: &Bound<'_, PyString>) -> String {
    match text.to_str() {
        Ok(text) => text.to_owned(),
        Err(error) => {
            drop(error);
            let encoded = text.call_method1("encode", ("utf-16-le", "surrogatepass"));
            let units: Vec<u16> = encoded
                .and_then(|bytes| bytes.extract::<Vec<u8>>())
                .map(|bytes| {
                    bytes
                        .chunks_exact(2)
                        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
                        .collect()
                })
                .unwrap_or_default();
            String::from_utf16_lossy(&units)
        }
    }
}

/// Calls `then` with the UTF-8 of a string object; `None` for other objects.
pub(crate) fn with_utf8<R>(object: *mut ffi::PyObject, then: impl FnOnce(&str) -> R) -> Option<R> {
    // SAFETY: called with the GIL and a live object; the UTF-8 belongs to the string and lives as long.
    unsafe {
        if ffi::PyUnicode_Check(object) == 0 {
            return None;
        }
        let mut len = 0;
        let text = ffi::PyUnicode_AsUTF8AndSize(object, &raw mut len);
        if text.is_null() {
            ffi::PyErr_Clear();
            let py = Python::assume_attached();
            let string = Bound::from_borrowed_ptr(py, object);
            return string
                .cast::<PyString>()
                .ok()
                .map(|string| then(&lossless(string)));
        }
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), len.cast_unsigned());
        Some(then(std::str::from_utf8_unchecked(bytes)))
    }
}
