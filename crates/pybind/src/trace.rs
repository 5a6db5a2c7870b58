//! Spans by hand: `hiq.trace` and `hiq.record`.
#![allow(
    unsafe_code,
    reason = "vectorcall keywords are read where they lie; each block is argued"
)]

use std::ffi::CStr;
use std::ptr;

use hiq_core::context::Context;
use hiq_core::id::TraceId;
use hiq_core::intern::{SiteId, Symbol, symbol};
use hiq_core::span::Kind;
use hiq_core::time::Clock;
use hiq_core::tree::{Role, TreeBuilder};
use hiq_core::value::Value;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

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
mod inside;
mod record;

use decorate::decorate;
use inside::Inside;
use record::record;

/// One use of `hiq.trace(...)`: a context manager, sync and async, and a decorator. The same object may be entered again
/// before it is left, and by several threads and tasks.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Trace {
    name: Option<Symbol>,
    /// A name that each tree has to keep for itself.
    passing_name: Option<Py<PyAny>>,
    kind: Kind,
    /// Keyword names and, in their order, values; null when there are none.
    names: Option<Py<PyTuple>>,
    values: Vec<Py<PyAny>>,
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
    fn enter(&self) -> Span {
        let state = state();
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
        let role = Role {
            kind: self.kind,
            ..Role::new(self.name.unwrap_or(Symbol::EMPTY), SiteId::NONE)
        };
        let foreign = Foreign::among(self.values.iter().map(Py::as_ptr));
        let describe =
            |builder: &mut TreeBuilder, index: u32| self.describe(builder, index, &foreign);
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

    fn describe(&self, builder: &mut TreeBuilder, index: u32, foreign: &Foreign) {
        if let Some(name) = &self.passing_name {
            let name = attributes::key_symbol(builder, name.as_ptr());
            builder.set_name(index, name);
        }
        if let Some(names) = &self.names {
            for (position, value) in self.values.iter().enumerate() {
                // SAFETY: a tuple with one name for each value.
                let name = unsafe { ffi::PyTuple_GET_ITEM(names.as_ptr(), position.cast_signed()) };
                foreign.set(builder, index, name, (position, value.as_ptr()));
            }
        }
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

#[pymethods]
impl Trace {
    fn __enter__(&self) -> Span {
        self.enter()
    }

    #[pyo3(signature = (_kind, value, _traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> bool {
        self.exit(py, value);
        false
    }

    fn __aenter__(&self, py: Python<'_>) -> Ready {
        Ready::new(Py::new(py, self.enter()).map_or_else(|_| py.None(), Py::into_any))
    }

    #[pyo3(signature = (_kind, value, _traceback))]
    fn __aexit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> Ready {
        self.exit(py, value);
        Ready::new(
            false
                .into_pyobject(py)
                .map_or_else(|_| py.None(), |no| no.to_owned().into_any().unbind()),
        )
    }

    fn __call__(&self, py: Python<'_>, func: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let site_attributes: Vec<(String, Value)> = match &self.names {
            Some(names) => names
                .bind(py)
                .iter()
                .zip(&self.values)
                .map(|(name, value)| (name.to_string(), attributes::to_value(value.bind(py))))
                .collect(),
            None => Vec::new(),
        };
        let name = match &self.passing_name {
            Some(name) => symbol(&name.extract::<String>(py)?),
            None => self.name,
        };
        decorate(py, func, name, self.kind, site_attributes)
    }
}

/// An awaitable that is done: entering and leaving never wait.
#[pyclass(module = "hiq._hiq")]
#[derive(Debug)]
struct Ready(Option<Py<PyAny>>);

impl Ready {
    fn new(value: Py<PyAny>) -> Self {
        Self(Some(value))
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
        made.map_or_else(
            |error| {
                error.restore(py);
                ptr::null_mut()
            },
            Py::into_ptr,
        )
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
        let mut kind = Kind::Internal;
        let mut values = Vec::new();
        let mut kept = None;
        if !names.is_null() {
            let names = Bound::from_borrowed_ptr(py, names).cast_into_unchecked::<PyTuple>();
            let is_kind = |position: usize| {
                crate::object::is_name(
                    ffi::PyTuple_GET_ITEM(names.as_ptr(), position.cast_signed()),
                    "kind",
                )
            };
            let total = names.len();
            values.reserve(total);
            match (0..total).find(|position| is_kind(*position)) {
                None => {
                    values.extend(
                        (0..total)
                            .map(|at| Bound::from_borrowed_ptr(py, *keywords.add(at)).unbind()),
                    );
                    kept = Some(names.unbind());
                }
                Some(skip) => {
                    kind = kind_of(
                        &Bound::from_borrowed_ptr(py, *keywords.add(skip)).extract::<String>()?,
                    )?;
                    let others = (0..total).filter(|at| *at != skip);
                    values.extend(
                        others
                            .clone()
                            .map(|at| Bound::from_borrowed_ptr(py, *keywords.add(at)).unbind()),
                    );
                    kept = Some(
                        PyTuple::new(
                            py,
                            others
                                .map(|at| names.get_item(at))
                                .collect::<PyResult<Vec<_>>>()?,
                        )?
                        .unbind(),
                    );
                }
            }
        }
        let passing_name = first.filter(|_| name == Some(Symbol::EMPTY));
        let trace = Trace {
            name,
            passing_name: passing_name.map(Bound::unbind),
            kind,
            names: kept,
            values,
            entered: Entries::default(),
        };
        Ok(Py::new(py, trace)?.into_any())
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
    module.add_class::<Trace>()?;
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
