//! The methods that measure.
#![allow(
    unsafe_code,
    reason = "arguments are read where they lie; each block is argued"
)]

use std::ptr;

use hiq_core::metric::Number;
use hiq_core::metric::record::{
    Counter, ExponentialHistogram, Gauge, Histogram, Summary, UpDownCounter,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::exemplars::show;
use super::instrument::{Native, cell};

/// Takes single measurements.
pub(super) trait Observes: Native {
    fn take(&self, value: f64);
}

/// Adds up.
pub(super) trait Adds: Native {
    /// It takes nothing below zero.
    const NEVER_FALLS: bool = false;
    /// Adds a whole number.
    fn add_whole(&self, amount: i64);
    /// Adds a double.
    fn add_part(&self, amount: f64);
}

macro_rules! observes {
    ($($kind:ty),*) => {$(
        impl Observes for $kind {
            #[inline(always)]
            fn take(&self, value: f64) {
                self.observe(value);
                if value.is_finite() {
                    show(self, Number::F64(value));
                }
            }
        }
    )*};
}

observes!(Histogram, ExponentialHistogram, Summary);

impl Adds for Counter {
    const NEVER_FALLS: bool = true;

    #[inline(always)]
    fn add_whole(&self, amount: i64) {
        self.add(amount.cast_unsigned());
        show(self, Number::Int(amount));
    }

    fn add_part(&self, amount: f64) {
        self.add_f64(amount);
        if amount.is_finite() {
            show(self, Number::F64(amount));
        }
    }
}

impl Adds for UpDownCounter {
    #[inline(always)]
    fn add_whole(&self, amount: i64) {
        self.add(amount);
    }

    fn add_part(&self, amount: f64) {
        self.add_f64(amount);
    }
}

impl Adds for Gauge {
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "gauges hold doubles")]
    fn add_whole(&self, amount: i64) {
        self.add(amount as f64);
    }

    fn add_part(&self, amount: f64) {
        self.add(amount);
    }
}

/// `observe(value)`.
pub(super) unsafe extern "C" fn observe<T: Observes>(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of ours is called with a live object of the type of `T` and a live argument, with the GIL held.
    unsafe {
        let Some(value) = double(value) else {
            return ptr::null_mut();
        };
        cell::<T>(object).take(value);
        none()
    }
}

/// `set(value)`.
pub(super) unsafe extern "C" fn set(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `observe`.
    unsafe {
        let Some(value) = double(value) else {
            return ptr::null_mut();
        };
        cell::<Gauge>(object).set(value);
        none()
    }
}

/// `add(amount=1)`.
pub(super) unsafe extern "C" fn add<T: Adds>(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `observe`, with a vectorcall's arguments.
    unsafe {
        match amount(args, count, names) {
            Some(amount) => change::<T>(object, amount),
            None => ptr::null_mut(),
        }
    }
}

/// `dec(amount=1)`.
pub(super) unsafe extern "C" fn subtract<T: Adds>(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `add`.
    unsafe {
        match amount(args, count, names) {
            Some(amount) => change::<T>(object, amount.negated()),
            None => ptr::null_mut(),
        }
    }
}

/// What is added.
#[derive(Clone, Copy)]
enum Amount {
    Whole(i64),
    Part(f64),
}

impl Amount {
    #[inline(always)]
    fn is_negative(self) -> bool {
        match self {
            Self::Whole(whole) => whole < 0,
            Self::Part(part) => part < 0.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the one number without a negative"
    )]
    fn negated(self) -> Self {
        match self {
            Self::Whole(whole) => match whole.checked_neg() {
                Some(negative) => Self::Whole(negative),
                None => Self::Part(-(whole as f64)),
            },
            Self::Part(part) => Self::Part(-part),
        }
    }
}

#[inline(always)]
unsafe fn change<T: Adds>(object: *mut ffi::PyObject, amount: Amount) -> *mut ffi::PyObject {
    if T::NEVER_FALLS && amount.is_negative() {
        return refuse(amount);
    }
    // SAFETY: as in `observe`.
    let cell = unsafe { cell::<T>(object) };
    match amount {
        Amount::Whole(whole) => cell.add_whole(whole),
        Amount::Part(part) => cell.add_part(part),
    }
    none()
}

#[cold]
fn refuse(amount: Amount) -> *mut ffi::PyObject {
    // SAFETY: called with the GIL held.
    let py = unsafe { Python::assume_attached() };
    let amount = match amount {
        Amount::Whole(whole) => whole.to_string(),
        Amount::Part(part) => part.to_string(),
    };
    let message =
        format!("a counter never falls: {amount} was given; hiq.metrics.up_down_counter does");
    PyValueError::new_err(message).restore(py);
    ptr::null_mut()
}

/// The one optional argument `amount`. `None` with an error set where it is none.
#[inline(always)]
unsafe fn amount(
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> Option<Amount> {
    // SAFETY: a vectorcall's arguments: `count` positional ones, then one for each name.
    unsafe {
        match (count, names.is_null()) {
            (0, true) => Some(Amount::Whole(1)),
            (1, true) => number(*args),
            (0, false) if is_amount(names) => number(*args),
            _ => {
                let py = Python::assume_attached();
                PyTypeError::new_err("one number is taken: add(amount=1)").restore(py);
                None
            }
        }
    }
}

unsafe fn is_amount(names: *mut ffi::PyObject) -> bool {
    // SAFETY: a vectorcall's tuple of names.
    unsafe {
        ffi::PyTuple_GET_SIZE(names) == 1
            && crate::object::is_name(ffi::PyTuple_GET_ITEM(names, 0), "amount")
    }
}

#[inline(always)]
unsafe fn number(value: *mut ffi::PyObject) -> Option<Amount> {
    // SAFETY: a live object; the GIL is held.
    unsafe {
        if ffi::PyLong_CheckExact(value) != 0 {
            let whole = ffi::PyLong_AsLongLong(value);
            if whole != -1 || ffi::PyErr_Occurred().is_null() {
                return Some(Amount::Whole(whole));
            }
            // Beyond 64 bits: as a double.
            ffi::PyErr_Clear();
        }
        double(value).map(Amount::Part)
    }
}

/// A number as a double. `None` with an error set where it is none.
#[inline(always)]
unsafe fn double(value: *mut ffi::PyObject) -> Option<f64> {
    // SAFETY: a live object; the GIL is held.
    unsafe {
        if ffi::PyFloat_CheckExact(value) != 0 {
            return Some(ffi::PyFloat_AS_DOUBLE(value));
        }
        let double = ffi::PyFloat_AsDouble(value);
        #[expect(
            clippy::float_cmp,
            reason = "the value that says there may be an error"
        )]
        let may_have_failed = double == -1.0;
        if may_have_failed && !ffi::PyErr_Occurred().is_null() {
            return None;
        }
        Some(double)
    }
}

#[inline(always)]
fn none() -> *mut ffi::PyObject {
    // SAFETY: None lives for ever; a new reference is returned.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}
