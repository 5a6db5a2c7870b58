//! Spans by hand: `hiq.trace`, `hiq.record`, `hiq.current_span()` and the `Span` they give.
#![allow(
    unsafe_code,
    reason = "vectorcall keywords are read where they lie; each block is argued"
)]

use std::ptr;
use std::sync::{Mutex, PoisonError};

use hiq_core::context::Context;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::{SiteId, Symbol, symbol};
use hiq_core::span::{Kind, Status};
use hiq_core::time::Clock;
use hiq_core::tree::{Role, TreeBuilder};
use hiq_core::value::Value;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::attributes;
use crate::block::{Block, Turn};
use crate::context::{self, PyContext};
use crate::exception;
use crate::otel;
use crate::state::{Begun, Root, ThreadState, state};
use crate::wrap::{self, Returns};

/// One use of `hiq.trace(...)`: a context manager, sync and async, and a decorator. The same object may be entered again
/// before it is left, and by several threads and tasks.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Trace {
    name: Option<Symbol>,
    kind: Kind,
    /// Keyword names and, in their order, values; null when there are none.
    names: Option<Py<PyTuple>>,
    values: Vec<Py<PyAny>>,
    entered: Mutex<Entries>,
}

/// One entry that has not been left.
#[derive(Debug)]
enum Entered {
    /// A span in the thread's tree.
    Inside { thread: usize, id: SpanId },
    /// A fragment of its own, for a task that others interleave with.
    Block(Block),
    /// Sampled out; the context is propagated meanwhile.
    SampledOut {
        thread: usize,
        outer: usize,
        context: Box<Context>,
    },
    /// Not recorded.
    Nothing { thread: usize },
}

/// Entries that have not been left, oldest first. Most often there is one at most, which needs no memory of its own.
#[derive(Debug, Default)]
struct Entries {
    first: Option<Entered>,
    more: Vec<Entered>,
}

impl Entries {
    fn push(&mut self, entered: Entered) {
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(entered);
        } else {
            self.more.push(entered);
        }
    }

    /// Takes the youngest entry that `is_it` says yes to.
    fn take_last(&mut self, is_it: impl Fn(&Entered) -> bool) -> Option<Entered> {
        match self.more.iter().rposition(&is_it) {
            Some(at) => Some(self.more.remove(at)),
            None => self.first.take_if(|first| is_it(first)),
        }
    }
}

impl Trace {
    fn enter(&self, py: Python<'_>) -> Span {
        let thread = state();
        // SAFETY: the calling thread's state, with the GIL held.
        let state = unsafe { &mut *thread };
        let entered = self.open(py, state);
        let span = match &entered {
            Entered::Inside { id, .. } => Span::new(
                state
                    .open()
                    .map_or(TraceId::INVALID, |tree| tree.peek().trace_id()),
                *id,
            ),
            Entered::Block(block) => {
                let (trace_id, id) = block.span();
                Span::new(trace_id, id)
            }
            Entered::SampledOut { .. } | Entered::Nothing { .. } => Span::none(),
        };
        self.entered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entered);
        span
    }

    fn open(&self, py: Python<'_>, state: &mut ThreadState) -> Entered {
        let thread = ptr::from_mut(state) as usize;
        if state.quiet != 0 || crate::status::is_off() {
            return Entered::Nothing { thread };
        }
        let role = Role {
            kind: self.kind,
            ..Role::new(self.name.unwrap_or(Symbol::EMPTY), SiteId::NONE)
        };
        if !state.in_step && in_event_loop(py) {
            let describe = |builder: &mut TreeBuilder, index: u32| self.describe(builder, index);
            return Entered::Block(Block::enter(state, role, describe));
        }
        let tick = Clock::ticks();
        let id = match state.open() {
            Some(tree) => {
                let started = tree.start(role, tick);
                if started.split_due {
                    state.split();
                }
                started.id
            }
            None => match state.begin_root(&Root {
                role,
                tick,
                parent: &None,
            }) {
                Begun::Recording(id) => id,
                Begun::SampledOut(context) => {
                    let outer =
                        std::mem::replace(&mut state.unsampled, &raw const *context) as usize;
                    state.quiet += 1;
                    crate::state::pass_on(&context);
                    return Entered::SampledOut {
                        thread,
                        outer,
                        context,
                    };
                }
            },
        };
        if let Some(tree) = state.open() {
            let index = tree.current();
            self.describe(tree.builder(), index);
        }
        Entered::Inside { thread, id }
    }

    fn describe(&self, builder: &mut TreeBuilder, index: u32) {
        if let Some(names) = &self.names {
            for (position, value) in self.values.iter().enumerate() {
                // SAFETY: a tuple with one name for each value.
                let name = unsafe { ffi::PyTuple_GET_ITEM(names.as_ptr(), position.cast_signed()) };
                attributes::set(builder, index, name, value.as_ptr());
            }
        }
    }

    fn exit(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        // SAFETY: the calling thread's state, with the GIL held.
        let state = unsafe { &mut *state() };
        let Some(entered) = self.last_entered_here(state) else {
            return;
        };
        match entered {
            Entered::Inside { id, .. } => close(py, state, id, error),
            Entered::Block(block) => block.leave(py, state, error),
            Entered::SampledOut { outer, context, .. } => {
                state.unsampled = outer as *const Context;
                state.quiet -= 1;
                otel::leave(context.span_id);
            }
            Entered::Nothing { .. } => {}
        }
    }

    /// The entry that this exit belongs to: the last one of this thread, of this task where it is a task's block.
    fn last_entered_here(&self, state: &ThreadState) -> Option<Entered> {
        let me = ptr::from_ref(state) as usize;
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        let here = entered.take_last(|entry| match entry {
            Entered::Inside { thread, .. }
            | Entered::SampledOut { thread, .. }
            | Entered::Nothing { thread } => *thread == me,
            Entered::Block(block) => block.is_of_running_task(),
        });
        // A block that is left in another task (an async generator closed elsewhere) is the last one there is.
        here.or_else(|| entered.take_last(|entry| matches!(entry, Entered::Block(_))))
    }
}

fn close(py: Python<'_>, state: &mut ThreadState, id: SpanId, error: &Bound<'_, PyAny>) {
    let tick = Clock::ticks();
    if !error.is_none() {
        exception::record(py, state, id, tick, error);
    }
    state.end(id, tick);
}

/// True when an asyncio event loop is running in this thread.
fn in_event_loop(py: Python<'_>) -> bool {
    static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let function = RUNNING_LOOP.get(py).or_else(|| {
        let found = running_loop_function(py)?;
        Some(RUNNING_LOOP.get_or_init(py, || found))
    });
    function.is_some_and(|function| function.call0(py).is_ok_and(|running| !running.is_none(py)))
}

/// asyncio is not imported for this: a program that has not done so has no loop.
fn running_loop_function(py: Python<'_>) -> Option<Py<PyAny>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || {
        let modules = py.import("sys")?.getattr("modules")?;
        Ok::<_, PyErr>(modules.cast_into::<PyDict>()?.unbind())
    });
    let events = modules
        .ok()?
        .bind(py)
        .get_item(pyo3::intern!(py, "asyncio.events"))
        .ok()??;
    events.getattr("_get_running_loop").ok().map(Bound::unbind)
}

#[pymethods]
impl Trace {
    fn __enter__(&self, py: Python<'_>) -> Span {
        self.enter(py)
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
        Ready::new(Py::new(py, self.enter(py)).map_or_else(|_| py.None(), Py::into_any))
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
        decorate(py, func, self.name, self.kind, site_attributes)
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

/// Wraps a function for the pipeline, as a decorator does; its spans carry `code.*` attributes.
fn decorate(
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
    } else if flags & GENERATOR != 0 {
        Returns::Generator
    } else {
        Returns::Value
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
                None if name.is_callable() => {
                    return decorate(py, name, None, Kind::Internal, Vec::new());
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
        let trace = Trace {
            name,
            kind,
            names: kept,
            values,
            entered: Mutex::default(),
        };
        Ok(Py::new(py, trace)?.into_any())
    }
}

/// `record(name, /, **attributes)`: a span that starts and ends now.
unsafe extern "C" fn record(
    _module: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: vectorcall arguments from the interpreter; the thread's state is used with the GIL held.
    unsafe {
        if count != 1 || ffi::PyUnicode_Check(*args) == 0 {
            ffi::PyErr_SetString(
                ffi::PyExc_TypeError,
                c"record() takes a name and keyword attributes".as_ptr(),
            );
            return ptr::null_mut();
        }
        let state = &mut *state();
        if state.quiet == 0 && !crate::status::is_off() {
            record_now(state, *args, args.add(1), names);
        }
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}

#[inline]
unsafe fn record_now(
    state: &mut ThreadState,
    name: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) {
    let tick = Clock::ticks();
    let _turn = state.needs_a_turn().then(|| Turn::take(state));
    // SAFETY: as in `record`.
    unsafe {
        if let Some(tree) = state.open() {
            let name = attributes::key_symbol(tree.builder(), name);
            let index = tree.add_moment(Role::new(name, SiteId::NONE), tick);
            describe(tree.builder(), index, values, names);
            if tree.is_split_due(tick) {
                state.split();
            }
            return;
        }
        let name = attributes::text_symbol(name).unwrap_or(Symbol::EMPTY);
        let begun = state.begin_root(&Root {
            role: Role::new(name, SiteId::NONE),
            tick,
            parent: &None,
        });
        if let Begun::Recording(id) = begun {
            if let Some(tree) = state.open() {
                let index = tree.current();
                describe(tree.builder(), index, values, names);
            }
            state.end(id, tick);
        }
    }
}

/// Sets the attributes that vectorcall keywords name.
#[inline]
unsafe fn describe(
    builder: &mut TreeBuilder,
    index: u32,
    values: *const *mut ffi::PyObject,
    names: *mut ffi::PyObject,
) {
    if names.is_null() {
        return;
    }
    // SAFETY: a tuple with one name for each value.
    unsafe {
        for position in 0..ffi::PyTuple_GET_SIZE(names) {
            let key = ffi::PyTuple_GET_ITEM(names, position);
            attributes::set(builder, index, key, *values.offset(position));
        }
    }
}

/// An open span, or nothing: every method is harmless then.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Span {
    trace_id: TraceId,
    id: SpanId,
}

impl Span {
    fn new(trace_id: TraceId, id: SpanId) -> Self {
        Self { trace_id, id }
    }

    fn none() -> Self {
        Self::new(TraceId::INVALID, SpanId::INVALID)
    }

    /// Calls `then` with the span's builder and index while it is open and reachable from this thread.
    fn write<R>(&self, then: impl FnOnce(&mut TreeBuilder, u32) -> R) -> Option<R> {
        if !self.id.is_valid() {
            return None;
        }
        // SAFETY: the calling thread's state, with the GIL held.
        if let Some(tree) = unsafe { (*state()).open() }
            && let Some(index) = tree.index_of_open(self.id)
        {
            return Some(then(tree.builder(), index));
        }
        crate::block::with_tree_of(self.id, |tree| {
            let index = tree.index_of_open(self.id)?;
            Some(then(tree.builder(), index))
        })?
    }
}

#[pymethods]
impl Span {
    #[getter]
    fn is_recording(&self) -> bool {
        self.write(|_, _| ()).is_some()
    }

    #[getter]
    fn name(&self) -> String {
        self.write(|builder, index| builder.name(index).to_owned())
            .unwrap_or_default()
    }

    #[getter]
    fn trace_id(&self) -> String {
        self.trace_id.to_string()
    }

    #[getter]
    fn span_id(&self) -> String {
        self.id.to_string()
    }

    fn set_attribute<'py>(
        this: Bound<'py, Self>,
        key: &Bound<'py, PyString>,
        value: &Bound<'py, PyAny>,
    ) -> Bound<'py, Self> {
        // Made before the builder is borrowed: `repr` of a stranger may run anything.
        let value = attributes::to_value(value);
        this.get().write(|builder, index| {
            let key = attributes::key_symbol(builder, key.as_ptr());
            builder.set_attribute(index, key, value.as_ref());
        });
        this
    }

    fn set_attributes<'py>(
        this: Bound<'py, Self>,
        attributes: &Bound<'py, PyDict>,
    ) -> Bound<'py, Self> {
        let all = attributes::owned(attributes);
        this.get().write(|builder, index| {
            for (key, value) in &all {
                builder.set_attribute(index, *key, value.as_ref());
            }
        });
        this
    }

    #[pyo3(signature = (name, attributes=None))]
    fn add_event<'py>(
        this: Bound<'py, Self>,
        name: &str,
        attributes: Option<&Bound<'py, PyDict>>,
    ) -> Bound<'py, Self> {
        let all = attributes.map(attributes::owned).unwrap_or_default();
        this.get().write(|builder, index| {
            let name = builder.symbol(name);
            builder.add_event(
                index,
                name,
                Clock::ticks(),
                all.iter().map(|(key, value)| (*key, value.as_ref())),
            );
        });
        this
    }

    #[pyo3(signature = (exception, attributes=None))]
    fn record_exception<'py>(
        this: Bound<'py, Self>,
        exception: &Bound<'py, PyAny>,
        attributes: Option<&Bound<'py, PyDict>>,
    ) -> Bound<'py, Self> {
        let text = exception::read(this.py(), exception, false);
        let more = attributes.map(attributes::owned).unwrap_or_default();
        this.get().write(|builder, index| {
            exception::record_given(builder, index, Clock::ticks(), &text, more);
        });
        this
    }

    #[pyo3(signature = (status, message=""))]
    fn set_status<'py>(
        this: Bound<'py, Self>,
        status: &str,
        message: &str,
    ) -> PyResult<Bound<'py, Self>> {
        let status = match status.to_ascii_lowercase().as_str() {
            "unset" => Status::Unset,
            "ok" => Status::Ok,
            "error" => Status::Error,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "status `{status}` is none of unset, ok, error"
                )));
            }
        };
        this.get()
            .write(|builder, index| builder.set_status(index, status, message));
        Ok(this)
    }

    fn update_name<'py>(this: Bound<'py, Self>, name: &str) -> Bound<'py, Self> {
        this.get().write(|builder, index| {
            let name = builder.symbol(name);
            builder.set_name(index, name);
        });
        this
    }

    #[pyo3(signature = (context, attributes=None))]
    fn add_link<'py>(
        this: Bound<'py, Self>,
        context: &PyContext,
        attributes: Option<&Bound<'py, PyDict>>,
    ) -> Bound<'py, Self> {
        const IS_REMOTE_KNOWN: u32 = 0x100;
        const IS_REMOTE: u32 = 0x200;
        let all = attributes.map(attributes::owned).unwrap_or_default();
        let place = &context.0;
        let remote = if place.is_remote { IS_REMOTE } else { 0 };
        let flags = u32::from(place.trace_flags) | IS_REMOTE_KNOWN | remote;
        this.get().write(|builder, index| {
            let pairs = all.iter().map(|(key, value)| (*key, value.as_ref()));
            builder.add_link(
                index,
                (place.trace_id, place.span_id),
                &place.trace_state,
                flags,
                pairs,
            );
        });
        this
    }

    fn __repr__(&self) -> String {
        format!("Span({}, {})", self.trace_id, self.id)
    }
}

/// The innermost open span of this thread or task.
#[pyfunction]
fn current_span() -> Span {
    // SAFETY: the calling thread's state, with the GIL held.
    let state = unsafe { &mut *state() };
    if !state.is_of_another_task()
        && let Some(tree) = state.open()
    {
        return Span::new(tree.peek().trace_id(), tree.current_id());
    }
    match context::attached() {
        Some(context) if !context.is_remote => Span::new(context.trace_id, context.span_id),
        _ => Span::none(),
    }
}

/// Records nothing inside its block.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Suppress;

#[pymethods]
impl Suppress {
    #[expect(clippy::unused_self, reason = "a method by Python's protocol")]
    fn __enter__(&self) {
        // SAFETY: the calling thread's state, with the GIL held.
        unsafe { (*state()).quiet += 1 };
    }

    #[pyo3(signature = (*_args))]
    #[expect(clippy::unused_self, reason = "a method by Python's protocol")]
    fn __exit__(&self, _args: &Bound<'_, PyTuple>) -> bool {
        // SAFETY: the calling thread's state, with the GIL held.
        unsafe { (*state()).quiet = (*state()).quiet.saturating_sub(1) };
        false
    }
}

#[pyfunction]
fn suppress() -> Suppress {
    Suppress
}

struct Methods([ffi::PyMethodDef; 2]);

// SAFETY: only read, by the interpreter.
unsafe impl Sync for Methods {}

static METHODS: Methods = Methods([
    crate::object::fast_method(c"trace", trace),
    crate::object::fast_method(c"record", record),
]);

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Trace>()?;
    module.add_class::<Span>()?;
    module.add_class::<Suppress>()?;
    module.add_function(wrap_pyfunction!(current_span, module)?)?;
    module.add_function(wrap_pyfunction!(suppress, module)?)?;
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
