//! Instruments as Python objects: an instrument, or one of its series, with methods that cost what the call costs.
#![allow(
    unsafe_code,
    reason = "method tables and their object layout are C; each block is argued"
)]

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::Arc;

use hiq_core::metric::LabelSet;
use hiq_core::metric::record::{
    Cell, Counter, ExponentialHistogram, Gauge, Histogram, Instrument, Summary, UpDownCounter,
};
use pyo3::ffi;
use pyo3::prelude::*;

use super::{labels, measure, timer};
use crate::object::{TypeCell, fast_method, method, slot};

/// What a kind of instrument is in Python.
pub(super) trait Native: Cell {
    const NAME: &'static CStr;
    fn type_cell() -> &'static TypeCell;
    /// The methods that only this kind has.
    fn methods() -> Vec<ffi::PyMethodDef>;
}

/// The object's memory.
#[repr(C)]
struct Object<T> {
    base: ffi::PyObject,
    /// The series that it measures with; null before the first measurement. Owned, by [`Arc::into_raw`].
    cell: *const T,
    /// Which series of what. Owned.
    what: *mut What<T>,
}

struct What<T> {
    instrument: Instrument<T>,
    labels: Arc<LabelSet>,
}

/// An instrument, to be used without labels.
pub(super) fn new<T: Native>(py: Python<'_>, instrument: Instrument<T>) -> PyResult<Py<PyAny>> {
    let labels = LabelSet::empty();
    make(py, What { instrument, labels })
}

fn make<T: Native>(py: Python<'_>, what: What<T>) -> PyResult<Py<PyAny>> {
    // SAFETY: the type was made in `add_to_module`; the fields behind the header are written before anybody sees the object.
    unsafe {
        let object = ffi::PyType_GenericAlloc(T::type_cell().get(), 0).cast::<Object<T>>();
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        (*object).cell = ptr::null();
        (*object).what = Box::into_raw(Box::new(what));
        Ok(Bound::from_owned_ptr(py, object.cast()).unbind())
    }
}

/// The series that `object` measures with.
///
/// # Safety
/// `object` is a live object of the type of `T`, and the GIL is held.
#[inline(always)]
pub(super) unsafe fn cell<'a, T: Native>(object: *mut ffi::PyObject) -> &'a T {
    // SAFETY: by the caller's promise; a series that is there stays as long as the object.
    unsafe {
        let object = object.cast::<Object<T>>();
        if (*object).cell.is_null() {
            first_cell(object);
        }
        &*(*object).cell
    }
}

/// Series are made when something is measured: one that nobody uses is not shown as zero.
#[cold]
unsafe fn first_cell<T: Native>(object: *mut Object<T>) {
    // SAFETY: as in `cell`.
    unsafe {
        let what = &*(*object).what;
        (*object).cell = Arc::into_raw(what.instrument.with_labels(&what.labels));
    }
}

/// `labels(...)`: the series of these labels and those that the object has.
unsafe extern "C" fn with_labels<T: Native>(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of ours is called with a live object and a vectorcall's arguments, with the GIL held.
    unsafe {
        let py = Python::assume_attached();
        let what = &*(*object.cast::<Object<T>>()).what;
        let made = labels::read(py, &what.labels, args, count, names).and_then(|labels| {
            let instrument = what.instrument.clone();
            make(py, What { instrument, labels })
        });
        returned(py, made)
    }
}

/// `time()`: what measures how long something takes.
unsafe extern "C" fn time(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `with_labels`.
    unsafe {
        let py = Python::assume_attached();
        let measured = Bound::from_borrowed_ptr(py, object).unbind();
        let made = Py::new(py, timer::Timer::of(measured)).map(Py::into_any);
        returned(py, made)
    }
}

/// A method's result, or null with the error set.
pub(super) fn returned(py: Python<'_>, made: PyResult<Py<PyAny>>) -> *mut ffi::PyObject {
    match made {
        Ok(made) => made.into_ptr(),
        Err(error) => {
            error.restore(py);
            ptr::null_mut()
        }
    }
}

macro_rules! getter {
    ($function:ident, $text:expr) => {
        unsafe extern "C" fn $function<T: Native>(
            object: *mut ffi::PyObject,
            _: *mut c_void,
        ) -> *mut ffi::PyObject {
            // SAFETY: as in `with_labels`.
            unsafe {
                let py = Python::assume_attached();
                let what = &*(*object.cast::<Object<T>>()).what;
                let text: &dyn Fn(&What<T>) -> String = &$text;
                let made = text(what).into_pyobject(py);
                returned(
                    py,
                    made.map(|text| text.into_any().unbind())
                        .map_err(PyErr::from),
                )
            }
        }
    };
}

getter!(name, |what| what.instrument.descriptor().name().to_owned());
getter!(description, |what| what
    .instrument
    .descriptor()
    .description()
    .to_owned());
getter!(unit, |what| what.instrument.descriptor().unit().to_owned());

unsafe extern "C" fn repr<T: Native>(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `with_labels`.
    unsafe {
        let py = Python::assume_attached();
        let what = &*(*object.cast::<Object<T>>()).what;
        let kind = T::NAME.to_str().unwrap_or_default();
        let kind = kind.rsplit('.').next().unwrap_or_default();
        let mut text = format!("<{kind} {:?}", what.instrument.descriptor().name());
        for (name, value) in what.labels.iter() {
            text.extend([" ", name, &format!("={value:?}")]);
        }
        text.push('>');
        let made = text.into_pyobject(py);
        returned(
            py,
            made.map(|text| text.into_any().unbind())
                .map_err(PyErr::from),
        )
    }
}

unsafe extern "C" fn dealloc<T: Native>(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; both fields are owned.
    unsafe {
        let me = object.cast::<Object<T>>();
        if !(*me).cell.is_null() {
            drop(Arc::from_raw((*me).cell));
        }
        if !(*me).what.is_null() {
            drop(Box::from_raw((*me).what));
        }
        crate::object::free(object);
    }
}

const fn attribute(name: &'static CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    }
}

fn make_type<T: Native>(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let mut methods = T::methods();
    methods.push(fast_method(c"labels", with_labels::<T>));
    methods.push(ffi::PyMethodDef::zeroed());
    let methods = Box::leak(methods.into_boxed_slice());
    let attributes = Box::leak(Box::new([
        attribute(c"name", name::<T>),
        attribute(c"description", description::<T>),
        attribute(c"unit", unit::<T>),
        ffi::PyGetSetDef::default(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void),
        slot(ffi::Py_tp_repr, repr::<T> as *mut c_void),
        slot(ffi::Py_tp_getset, attributes.as_mut_ptr().cast()),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION
        | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    let size = size_of::<Object<T>>();
    T::type_cell().make(module, T::NAME, size, flags, &mut slots)
}

macro_rules! native {
    ($kind:ty, $name:expr, $methods:expr) => {
        impl Native for $kind {
            const NAME: &'static CStr = $name;

            fn type_cell() -> &'static TypeCell {
                static TYPE: TypeCell = TypeCell::new();
                &TYPE
            }

            fn methods() -> Vec<ffi::PyMethodDef> {
                Vec::from($methods)
            }
        }
    };
}

native!(
    Counter,
    c"hiq._hiq.Counter",
    [
        fast_method(c"add", measure::add::<Self>),
        fast_method(c"inc", measure::add::<Self>),
    ]
);
native!(
    UpDownCounter,
    c"hiq._hiq.UpDownCounter",
    [
        fast_method(c"add", measure::add::<Self>),
        fast_method(c"inc", measure::add::<Self>),
        fast_method(c"dec", measure::subtract::<Self>),
    ]
);
native!(
    Gauge,
    c"hiq._hiq.Gauge",
    [
        method(c"set", measure::set, ffi::METH_O),
        fast_method(c"add", measure::add::<Self>),
        fast_method(c"inc", measure::add::<Self>),
        fast_method(c"dec", measure::subtract::<Self>),
        method(c"time", time, ffi::METH_NOARGS),
    ]
);
native!(
    Histogram,
    c"hiq._hiq.Histogram",
    [
        method(c"observe", measure::observe::<Self>, ffi::METH_O),
        method(c"time", time, ffi::METH_NOARGS),
    ]
);
native!(
    ExponentialHistogram,
    c"hiq._hiq.ExponentialHistogram",
    [
        method(c"observe", measure::observe::<Self>, ffi::METH_O),
        method(c"time", time, ffi::METH_NOARGS),
    ]
);
native!(
    Summary,
    c"hiq._hiq.Summary",
    [
        method(c"observe", measure::observe::<Self>, ffi::METH_O),
        method(c"time", time, ffi::METH_NOARGS),
    ]
);

pub(super) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    make_type::<Counter>(module)?;
    make_type::<UpDownCounter>(module)?;
    make_type::<Gauge>(module)?;
    make_type::<Histogram>(module)?;
    make_type::<ExponentialHistogram>(module)?;
    make_type::<Summary>(module)
}
