//! Spans by hand: `hiq.trace` and `hiq.record`.
#![allow(
    unsafe_code,
    reason = "vectorcall keywords are read where they lie; each block is argued"
)]

use std::ffi::CStr;
use std::ptr;

use hiq_core::context::Context;
use hiq_core::id::TraceId;
use hiq_core::intern::Symbol;
use hiq_core::span::Kind;
use hiq_core::time::Clock;
use hiq_core::tree::TreeBuilder;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::attributes::{self, Foreign};
use crate::block::{self, Block};
use crate::context::forget_places;
use crate::entries::Entries;
use crate::loaded;
use crate::open::Handle;
use crate::otel;
use crate::span::Span;
use crate::state::{self, Begun, Parent, Root, ThreadState, state};

mod decorate;
mod given;
mod inside;
mod object;
mod record;

use decorate::decorate;
use given::Given;
use inside::Inside;
use record::record;

/// One use of `hiq.trace(...)`: a context manager, sync and async, and a decorator. The same object may be entered again
/// before it is left, and by several threads and tasks.
#[repr(C)]
struct Trace {
    base: ffi::PyObject,
    given: Given,
    entered: Entries<Entered>,
}

/// One entry that has not been left.
#[derive(Debug)]
enum Entered {
    /// A span in the thread's tree.
    Inside(Inside),
    /// A fragment of its own, for a task that others interleave with.
    Block(Block),
    /// Sampled out; the context is propagated meanwhile.
    SampledOut { thread: u64, context: Box<Context> },
    /// Not recorded.
    Nothing { thread: u64 },
}

impl Trace {
    fn enter(&self, state: &ThreadState) -> Span {
        let entered = self.open(state);
        let span = match &entered {
            Entered::Inside(Inside { id, .. }) => Span::new(
                state
                    .with_tree(|tree| tree.peek().trace_id())
                    .unwrap_or(TraceId::INVALID),
                *id,
            ),
            Entered::Block(block) => {
                let (trace_id, id) = block.span();
                Span::new(trace_id, id)
            }
            Entered::SampledOut { .. } | Entered::Nothing { .. } => Span::none(),
        };
        self.entered.push(entered);
        span
    }

    fn open(&self, state: &ThreadState) -> Entered {
        let thread = state.number();
        if state.is_silent() || crate::status::is_off() {
            return Entered::Nothing { thread };
        }
        let given = &self.given;
        let role = given.role();
        let foreign = Foreign::among(given.values().iter().copied());
        let describe =
            |builder: &mut TreeBuilder, index: u32| given.describe(builder, index, &foreign);
        if block::is_beside_others(state) {
            return Entered::Block(Block::enter(state, role, describe));
        }
        let tick = Clock::ticks();
        let started = state.with_tree(|tree| tree.start(role, tick));
        let id = match started {
            Some(started) => {
                if started.split_due {
                    state.split();
                }
                started.id
            }
            None => match state.begin_root(&Root {
                role,
                tick,
                parent: Parent::Attached,
            }) {
                Begun::Recording(id) => id,
                Begun::SampledOut(context) => {
                    state.unsampled.set(&raw const *context);
                    state.quiet.update(|quiet| quiet + 1);
                    crate::state::pass_on(&context);
                    return Entered::SampledOut { thread, context };
                }
            },
        };
        let handle = state.with_tree(|tree| {
            let index = tree.current();
            describe(tree.builder(), index);
            // SAFETY: the tree that the thread's slot keeps.
            unsafe { Handle::on(tree) }
        });
        match handle {
            Some(handle) => Entered::Inside(Inside::new(state, handle, id)),
            None => Entered::Nothing { thread },
        }
    }

    /// Leaves the only use there is, if that is a block inside others, the innermost of its tree, which nothing was attached for, as
    /// nearly all are. False when it is another.
    fn leave_innermost(&self) -> bool {
        let tick = Clock::ticks();
        let left = self.entered.take_only_if(
            |entered| matches!(entered, Entered::Inside(inside) if inside.end_innermost(tick)),
        );
        let Some(Entered::Inside(inside)) = left else {
            return false;
        };
        inside.forget_places();
        true
    }

    fn exit(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        let state = state();
        let Some(entered) = self.entered.take_last(|entered| entered.is_here(state)) else {
            return;
        };
        match entered {
            Entered::Inside(inside) => inside.leave(py, state, error),
            Entered::Block(block) => block.leave(py, state, error),
            Entered::SampledOut { thread, context } => {
                otel::leave(context.span_id);
                if loaded::contextvars() {
                    forget_places(context.span_id);
                }
                if let Some(entered_in) = state::thread(thread) {
                    entered_in.leave_unsampled(context);
                }
            }
            Entered::Nothing { .. } => {}
        }
    }
}

impl Entered {
    /// True in the thread that entered, of blocks in the task that is inside.
    fn is_here(&self, state: &ThreadState) -> bool {
        match self {
            Self::Inside(inside) => inside.is_here(state),
            Self::SampledOut { thread, .. } | Self::Nothing { thread } => {
                *thread == state.number.get()
            }
            Self::Block(block) => block.is_of_running_task(),
        }
    }
}

/// An awaitable that is done: entering and leaving never wait.
#[pyclass(module = "hiq._hiq")]
#[derive(Debug)]
struct Ready(Option<Py<PyAny>>);

impl Ready {
    fn object(py: Python<'_>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Self(Some(value)))?.into_any())
    }
}

#[pymethods]
impl Ready {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let value = self.0.take().unwrap_or_else(|| py.None());
        Err(pyo3::exceptions::PyStopIteration::new_err(value))
    }
}

pub(crate) fn kind_of(name: &str) -> PyResult<Kind> {
    match name {
        "internal" => Ok(Kind::Internal),
        "server" => Ok(Kind::Server),
        "client" => Ok(Kind::Client),
        "producer" => Ok(Kind::Producer),
        "consumer" => Ok(Kind::Consumer),
        other => Err(PyValueError::new_err(format!(
            "kind `{other}` is none of internal, server, client, producer, consumer"
        ))),
    }
}

/// `trace(name=None, /, *, kind="internal", **attributes)`.
unsafe extern "C" fn trace(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: vectorcall arguments from the interpreter: `count` positional ones, then one per name.
    unsafe {
        let py = Python::assume_attached();
        let first = (count > 0).then(|| Bound::from_borrowed_ptr(py, *args));
        let made = if count > 1 {
            Err(PyTypeError::new_err(format!(
                "trace() takes one positional argument, a name or a function, but {count} were given"
            )))
        } else {
            make_trace(py, first, args.add(count.cast_unsigned()), names)
        };
        object::returned(py, made)
    }
}

unsafe fn make_trace(
    py: Python<'_>,
    first: Option<Bound<'_, PyAny>>,
    keywords: *const *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) -> PyResult<Py<PyAny>> {
    // SAFETY: `names` is null or a tuple with one name for each of `keywords`.
    unsafe {
        let name = match &first {
            None => None,
            Some(name) => match attributes::text_symbol(name.as_ptr()) {
                Some(name) => Some(name),
                // A class method cannot be called, but what it holds can.
                None if name.is_instance_of::<PyType>() => {
                    let class = name.cast::<PyType>()?.name()?;
                    return Err(PyTypeError::new_err(format!(
                        "trace() takes a name or a function, and {class} is a class; put it above the methods"
                    )));
                }
                None if name.is_callable() || name.hasattr("__func__")? => {
                    let func = name.clone().unbind();
                    // What it drops, errors that refer to the function among it, is gone at once, not when somebody comes next.
                    return Python::attach(move |py| {
                        decorate(py, func.bind(py), None, Kind::Internal, Vec::new())
                    });
                }
                None => {
                    let kind = name.get_type().name()?;
                    return Err(PyTypeError::new_err(format!(
                        "trace() takes a name or a function, not {kind}"
                    )));
                }
            },
        };
        let passing_name = first.filter(|_| name == Some(Symbol::EMPTY));
        let passing_name = passing_name.map_or(ptr::null_mut(), |name| name.as_ptr());
        let given = Given::new((name, passing_name), keywords, names)?;
        object::new(py, given)
    }
}

struct Methods([ffi::PyMethodDef; 2]);

// SAFETY: only read, by the interpreter.
unsafe impl Sync for Methods {}

static METHODS: Methods = Methods([
    ffi::PyMethodDef {
        ml_doc: TRACE_HELP.as_ptr(),
        ..crate::object::fast_method(c"trace", trace)
    },
    ffi::PyMethodDef {
        ml_doc: RECORD_HELP.as_ptr(),
        ..crate::object::fast_method(c"record", record)
    },
]);

const TRACE_HELP: &CStr = c"trace(name=None, /, *, kind='internal', **attributes)
--

Records a span: of a block, or of each call of a function.

with hiq.trace('charge', amount=3) as span:   (or async with)
@hiq.trace                                    (named like the function)
@hiq.trace('checkout', kind='server')

Functions, methods, static and class methods, coroutines, generators and
async generators are traced. kind: internal, server, client, producer or
consumer. attributes are set on each span. An exception that leaves the
block or the call is recorded, and goes on.";

const RECORD_HELP: &CStr = c"record(name, /, **attributes)
--

Records a span that starts and ends now, with attributes, in one call.";

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    object::add_to_module(module)?;
    for (name, definition) in ["trace", "record"].iter().zip(&METHODS.0) {
        // SAFETY: the definitions live for ever and are not written to.
        let function = unsafe {
            let made = ffi::PyCFunction_NewEx(
                ptr::from_ref(definition).cast_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            );
            Bound::from_owned_ptr_or_err(module.py(), made)?
        };
        module.add(*name, function)?;
    }
    Ok(())
}
