//! The least that a hook around a Python call can cost: a raw vectorcall object, two clock readings, one record in a
//! thread-local table. No recursion limits, roots, sampling, exceptions, subscribers, or anything that a user would miss.
//!
//! `hook(function, mode)` wraps a function; `event(name, **attributes)` records a span that starts and ends now.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

#[pymodule]
fn _floor(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(hook, module)?)?;
    // SAFETY: the definition is static, and only read.
    let event = unsafe {
        let made = ffi::PyCFunction_NewEx(EVENT.0.get(), ptr::null_mut(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(module.py(), made)?
    };
    module.add("event", event)
}

/// `mode`: `through` calls and nothing else, `tsc` and `monotonic` record, `task` also carries the span in a ContextVar.
#[pyfunction]
fn hook(py: Python<'_>, function: Py<PyAny>, mode: &str) -> PyResult<Py<PyAny>> {
    let call = match mode {
        "through" => call_through,
        "tsc" => call_by_tsc,
        "monotonic" => call_by_monotonic,
        "task" => call_in_task,
        _ => {
            return Err(PyValueError::new_err(
                "mode is one of through, tsc, monotonic, task",
            ));
        }
    };
    // SAFETY: the fields behind the header are written before anybody sees the object.
    unsafe {
        let object = ffi::PyType_GenericAlloc(hook_type(py)?, 0).cast::<Hook>();
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        (*object).function = function.into_ptr();
        (*object).variable = ffi::PyContextVar_New(c"floor".as_ptr(), ffi::Py_None());
        (*object).vectorcall = Some(call);
        Ok(Bound::from_owned_ptr(py, object.cast()).unbind())
    }
}

#[repr(C)]
struct Hook {
    base: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    function: *mut ffi::PyObject,
    variable: *mut ffi::PyObject,
}

type Object = *mut ffi::PyObject;
type Args = *const Object;

unsafe extern "C" fn call_through(hook: Object, args: Args, count: usize, names: Object) -> Object {
    // SAFETY: the interpreter calls with an object of ours and a vectorcall's arguments, here and below.
    unsafe { ffi::PyObject_Vectorcall((*hook.cast::<Hook>()).function, args, count, names) }
}

unsafe extern "C" fn call_by_tsc(hook: Object, args: Args, count: usize, names: Object) -> Object {
    // SAFETY: as above.
    unsafe {
        let (span, parent) = open(ticks());
        let result = call_through(hook, args, count, names);
        close(span, parent, ticks(), result.is_null());
        result
    }
}

unsafe extern "C" fn call_by_monotonic(
    hook: Object,
    args: Args,
    count: usize,
    names: Object,
) -> Object {
    // SAFETY: as above.
    unsafe {
        let (span, parent) = open(monotonic_nanos());
        let result = call_through(hook, args, count, names);
        close(span, parent, monotonic_nanos(), result.is_null());
        result
    }
}

/// The span is in a ContextVar during the call, so that tasks begun inside would inherit it.
unsafe extern "C" fn call_in_task(hook: Object, args: Args, count: usize, names: Object) -> Object {
    // SAFETY: as above; every reference that is taken is given back.
    unsafe {
        let variable = (*hook.cast::<Hook>()).variable;
        let mut outer = ptr::null_mut();
        if ffi::PyContextVar_Get(variable, ptr::null_mut(), &raw mut outer) < 0 {
            return ptr::null_mut();
        }
        let (span, parent) = open(ticks());
        let index = ffi::PyLong_FromUnsignedLong(span.into());
        let token = ffi::PyContextVar_Set(variable, index);
        ffi::Py_DECREF(index);
        let result = call_through(hook, args, count, names);
        ffi::PyContextVar_Reset(variable, token);
        ffi::Py_DECREF(token);
        ffi::Py_XDECREF(outer);
        close(span, parent, ticks(), result.is_null());
        result
    }
}

/// `event(name, **attributes)`.
unsafe extern "C" fn event(
    _module: Object,
    args: Args,
    count: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: vectorcall arguments: `count` positional ones, then one for each name.
    unsafe {
        let (span, parent) = open(ticks());
        TABLE.with(|table| {
            let table = &mut *table.get();
            let keywords = if names.is_null() {
                0
            } else {
                ffi::PyTuple_GET_SIZE(names)
            };
            for place in 0..keywords {
                let key = ffi::PyTuple_GET_ITEM(names, place) as u64;
                table.attribute(key, *args.offset(count + place));
            }
        });
        close(span, parent, ticks(), false);
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}

struct Definition(UnsafeCell<ffi::PyMethodDef>);

// SAFETY: only read, by the interpreter.
unsafe impl Sync for Definition {}

static EVENT: Definition = Definition(UnsafeCell::new(ffi::PyMethodDef {
    ml_name: c"event".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        PyCFunctionFastWithKeywords: event,
    },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: ptr::null(),
}));

#[derive(Clone, Copy)]
#[expect(
    dead_code,
    reason = "written, and left for an exporter that is not here"
)]
struct Span {
    id: u64,
    start: u64,
    end: u64,
    name: u32,
    parent: u32,
    first_attribute: u32,
    attributes: u16,
    kind: u8,
    status: u8,
}

struct Table {
    spans: Vec<Span>,
    texts: Vec<u8>,
    attributes: Vec<(u64, u64, u8)>,
    current: u32,
    ids: u64,
}

thread_local! {
    static TABLE: UnsafeCell<Table> = const {
        UnsafeCell::new(Table {
            spans: Vec::new(),
            texts: Vec::new(),
            attributes: Vec::new(),
            current: u32::MAX,
            ids: 1,
        })
    };
}

/// Spans after which the table begins anew, as a recorder's does that hands fragments on.
const MAX_SPANS: usize = 4_096;

#[inline(always)]
fn open(now: u64) -> (u32, u32) {
    TABLE.with(|table| {
        // SAFETY: the thread's own table; no reference into it outlives this closure, here and below.
        let table = unsafe { &mut *table.get() };
        if table.spans.len() >= MAX_SPANS {
            table.begin_anew();
        }
        table.ids = table.ids.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let (span, parent) = (table.spans.len() as u32, table.current);
        table.spans.push(Span {
            id: table.ids,
            start: now,
            end: 0,
            name: 1,
            parent,
            first_attribute: table.attributes.len() as u32,
            attributes: 0,
            kind: 1,
            status: 0,
        });
        table.current = span;
        (span, parent)
    })
}

#[inline(always)]
fn close(span: u32, parent: u32, now: u64, failed: bool) {
    TABLE.with(|table| {
        // SAFETY: as above.
        let table = unsafe { &mut *table.get() };
        if let Some(span) = table.spans.get_mut(span as usize) {
            span.end = now;
            span.status = u8::from(failed);
        }
        table.current = parent;
    });
}

impl Table {
    #[cold]
    fn begin_anew(&mut self) {
        self.spans.clear();
        self.texts.clear();
        self.attributes.clear();
    }

    /// The key by its address: literal keys are the same object at every call.
    #[inline(always)]
    unsafe fn attribute(&mut self, key: u64, value: Object) {
        // SAFETY: a live object; each access follows an exact check of its type.
        unsafe {
            let kind = ffi::Py_TYPE(value);
            if kind == &raw mut ffi::PyUnicode_Type {
                let mut len = 0;
                let text = ffi::PyUnicode_AsUTF8AndSize(value, &raw mut len);
                let start = self.texts.len() as u64;
                let bytes = std::slice::from_raw_parts(text.cast(), len.cast_unsigned());
                self.texts.extend_from_slice(bytes);
                self.attributes.push((key, start << 32 | len as u64, 0));
            } else if kind == &raw mut ffi::PyLong_Type {
                let value = ffi::PyLong_AsLongLong(value).cast_unsigned();
                self.attributes.push((key, value, 1));
            } else if kind == &raw mut ffi::PyBool_Type {
                self.attributes
                    .push((key, u64::from(value == ffi::Py_True()), 2));
            } else if kind == &raw mut ffi::PyFloat_Type {
                self.attributes
                    .push((key, ffi::PyFloat_AsDouble(value).to_bits(), 3));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    monotonic_nanos()
}

#[inline(always)]
fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

unsafe extern "C" {
    fn PyMethod_New(function: Object, instance: Object) -> Object;
}

unsafe extern "C" fn bind(hook: Object, instance: Object, _owner: Object) -> Object {
    // SAFETY: live objects from the interpreter.
    unsafe {
        if instance.is_null() {
            ffi::Py_INCREF(hook);
            return hook;
        }
        PyMethod_New(hook, instance)
    }
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: the last reference is gone.
    unsafe {
        let hook = object.cast::<Hook>();
        ffi::Py_XDECREF((*hook).function);
        ffi::Py_XDECREF((*hook).variable);
        let kind = ffi::Py_TYPE(object);
        let free = ffi::PyType_GetSlot(kind, ffi::Py_tp_free);
        std::mem::transmute::<*mut c_void, ffi::freefunc>(free)(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

fn hook_type(py: Python<'_>) -> PyResult<*mut ffi::PyTypeObject> {
    static TYPE: pyo3::sync::PyOnceLock<usize> = pyo3::sync::PyOnceLock::new();
    let made = TYPE.get_or_try_init(py, || {
        // SAFETY: the tables outlive the type.
        let made = unsafe { ffi::PyType_FromSpec(spec()) };
        if made.is_null() {
            Err(PyErr::fetch(py))
        } else {
            Ok(made as usize)
        }
    });
    made.map(|made| *made as *mut ffi::PyTypeObject)
}

fn spec() -> *mut ffi::PyType_Spec {
    let slot = |slot, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let member = |name: *const _, type_code, offset: usize, flags| ffi::PyMemberDef {
        name,
        type_code,
        offset: offset.cast_signed(),
        flags,
        doc: ptr::null(),
    };
    let offset = std::mem::offset_of!(Hook, vectorcall);
    let members = Box::leak(Box::new([
        member(
            c"__vectorcalloffset__".as_ptr(),
            ffi::Py_T_PYSSIZET,
            offset,
            ffi::Py_READONLY,
        ),
        member(ptr::null(), 0, 0, 0),
    ]));
    let slots = Box::leak(Box::new([
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_descr_get, bind as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ]));
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR;
    Box::leak(Box::new(ffi::PyType_Spec {
        name: c"_floor.Hook".as_ptr(),
        basicsize: size_of::<Hook>() as c_int,
        itemsize: 0,
        flags: flags as _,
        slots: slots.as_mut_ptr(),
    }))
}
