//! `hiq.Context`, and the ContextVar that carries a place across tasks and `to_thread`.
#![allow(unsafe_code, reason = "ContextVar is only reachable through the C API")]

use std::ptr;
use std::sync::OnceLock;

use hiq_core::context::Context;
use hiq_core::fork;
use hiq_core::id::{SpanId, TraceId};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{PyDict, PyTuple};

use crate::block::Fragment;
use crate::otel;
use crate::state::state;
use crate::tasks;

mod copied;
mod inherited;
mod origin;
mod slate;
mod sole;
mod token;

pub(crate) use copied::{forget_places, is_copied_under};
pub(crate) use inherited::Inherited;
use inherited::attach_again;
use origin::Origin;
pub(crate) use slate::Placed;

/// A place in a trace: where the next span hangs.
#[pyclass(frozen, name = "Context", module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct PyContext(pub(crate) Context, Generation, Fragment, Origin);

/// In which of the processes that a fork made of one, see [`fork::generation`].
type Generation = u32;

impl PyContext {
    pub(crate) fn new(context: Context) -> Self {
        Self::with(context, Fragment::default(), Origin::new())
    }

    /// Of a span in a tree with others.
    fn in_tree(context: Context) -> Self {
        Self::with(context, Fragment::of_tree(), Origin::new())
    }

    /// One that says of itself where it was captured.
    fn captured(context: Context) -> Self {
        Self::with(context, Fragment::default(), Origin::captured())
    }

    fn with(context: Context, fragment: Fragment, origin: Origin) -> Self {
        Self(context, fork::generation(), fragment, origin)
    }

    /// False in a thread's own context for the place of a job that has been run: adapters such as asgiref's `async_to_sync` put the
    /// variables of the job back there, and nobody takes this one away.
    fn holds_here(&self) -> bool {
        let is_run_only = self.3.is_captured() && !self.3.was_attached();
        !is_run_only
            || ptr::eq(state().job.get(), self)
            || !tasks::running().is_null()
            || self.is_what_the_thread_was_given()
    }

    /// Which runs in a context that was copied in another one.
    fn is_what_the_thread_was_given(&self) -> bool {
        let copied = self.3.copied.as_ref();
        !state().home.get().is_null()
            && copied.is_some_and(|copied| copied.thread != state().number.get())
    }

    /// The context; one that was captured before a fork is, in the child, that of another process.
    fn here(&self) -> Context {
        let mut context = self.0.clone();
        context.is_remote |= self.1 != fork::generation();
        context
    }
}

#[pymethods]
impl PyContext {
    #[getter]
    fn trace_id(&self) -> String {
        self.0.trace_id.to_string()
    }

    #[getter]
    fn span_id(&self) -> String {
        self.0.span_id.to_string()
    }

    #[getter]
    fn trace_flags(&self) -> u8 {
        self.0.trace_flags
    }

    #[getter]
    fn is_debug(&self) -> bool {
        self.0.is_debug
    }

    #[getter]
    fn trace_state(&self) -> &str {
        &self.0.trace_state
    }

    #[getter]
    fn baggage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let baggage = PyDict::new(py);
        for (key, value) in &self.0.baggage {
            baggage.set_item(key, value)?;
        }
        Ok(baggage)
    }

    #[getter]
    fn is_remote(&self) -> bool {
        self.here().is_remote
    }

    /// Calls `func` with this context attached: from here on its frame is the first that a traceback shows.
    #[pyo3(signature = (func, /, *args, **kwargs))]
    fn run<'py>(
        this: &Bound<'py, Self>,
        func: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a live object, with the GIL held; the token is given up below.
        let token = unsafe { set(this.as_ptr()) };
        let passed_on = pass_on(&this.get().0);
        let state = state();
        let was_outside = state.tree.get().is_null();
        let outer_job = state.job.replace(ptr::from_ref(this.get()));
        let result = func.call(args, kwargs);
        state.job.set(outer_job);
        if was_outside && !state.in_step.get() {
            // A block that was not left in there does not go on around what the thread does next.
            state.abandon_tree();
        }
        if let Some(passed_on) = passed_on {
            otel::detach(passed_on);
        }
        if !token.is_null() {
            // The reset must not meet the exception of the call, which `result` holds.
            // SAFETY: the token of `set` above.
            unsafe { reset(token) };
        }
        result
    }

    /// False for the one that was captured where nothing was open.
    fn __bool__(&self) -> bool {
        self.0.is_valid()
    }

    /// For other processes, where it is remote.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Pickled)> {
        let context = self.0.clone();
        let ids = (context.trace_id.0, context.span_id.0);
        let made_by = py.import("hiq._hiq")?.getattr("_unpickled_context")?;
        let flags = (
            context.trace_flags,
            context.is_deferred,
            context.is_debug,
            context.is_decision,
        );
        Ok((made_by, (ids, flags, context.trace_state, context.baggage)))
    }

    fn __repr__(&self) -> String {
        format!("Context({})", self.0.traceparent())
    }
}

/// What a pickled context is made of: its ids, its flags, its trace state, its baggage.
type Pickled = (([u8; 16], u64), Flags, String, Vec<(String, String)>);
/// W3C's, and whether they are deferred, of a trace that is watched, and a decision without a place.
type Flags = (u8, bool, bool, bool);

#[pyfunction]
fn _unpickled_context(
    ids: ([u8; 16], u64),
    flags: Flags,
    trace_state: String,
    baggage: Vec<(String, String)>,
) -> PyContext {
    let mut context = Context::local(TraceId(ids.0), SpanId(ids.1), flags.0);
    (context.is_deferred, context.is_debug, context.is_decision) = (flags.1, flags.2, flags.3);
    context.trace_state = trace_state;
    context.baggage = baggage;
    context.is_remote = true;
    PyContext::new(context)
}

/// The variable; made when the module is loaded.
static VARIABLE: OnceLock<usize> = OnceLock::new();

fn variable() -> *mut ffi::PyObject {
    VARIABLE
        .get()
        .map_or(ptr::null_mut(), |variable| *variable as *mut ffi::PyObject)
}

pub(crate) fn make_variable() {
    VARIABLE.get_or_init(|| {
        // SAFETY: called with the GIL; the variable lives for ever.
        unsafe { ffi::PyContextVar_New(c"hiq_context".as_ptr(), ptr::null_mut()) as usize }
    });
}

/// What the variable holds in this thread or task: looked up once by those who need several parts of it.
pub(crate) struct Attached(*mut ffi::PyObject);

impl Attached {
    #[inline]
    pub(crate) fn now() -> Self {
        let mut value = ptr::null_mut();
        // SAFETY: called with the GIL; `value` becomes a new reference or stays null.
        unsafe {
            if ffi::PyContextVar_Get(variable(), ptr::null_mut(), &raw mut value) < 0 {
                ffi::PyErr_Clear();
            }
            Self(slate::read(value))
        }
    }

    /// The object, for comparing; null for none, and for None.
    #[inline]
    pub(crate) fn object(&self) -> *mut ffi::PyObject {
        // SAFETY: an address is asked for.
        let is_none = ptr::eq(self.0, unsafe { ffi::Py_None() });
        if is_none { ptr::null_mut() } else { self.0 }
    }

    /// True when nothing is attached.
    #[inline]
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.is_null() && state().job.get().is_null()
    }

    /// The place, if it is one where spans can hang, or that says whether new traces are sampled.
    #[inline]
    pub(crate) fn context(&self) -> Option<Context> {
        if self.is_nothing() {
            return None;
        }
        self.read(PyContext::here).filter(Context::counts)
    }

    #[inline]
    pub(crate) fn baggage(&self) -> Vec<(String, String)> {
        self.read(|context| context.0.baggage.clone())
            .unwrap_or_default()
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&PyContext) -> R) -> Option<R> {
        self.with_object(|context| {
            // SAFETY: set only while the job that keeps it goes on.
            let job = unsafe { state().job.get().as_ref() };
            let is_of_job = |job: &&PyContext| job.3.was_captured_in(context);
            job.filter(is_of_job).or(context).map(read)
        })
    }

    /// What is attached, before a job's place is thought of.
    fn with_object<R>(&self, read: impl FnOnce(Option<&PyContext>) -> R) -> R {
        // SAFETY: called with the GIL.
        let context = self.bound(unsafe { Python::assume_attached() });
        read(
            context
                .as_ref()
                .map(Bound::get)
                .filter(|context| context.holds_here()),
        )
    }

    /// The object, if it is one of ours.
    fn bound<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyContext>> {
        // SAFETY: called with the GIL and a reference of ours, or null.
        let value = unsafe { Bound::from_borrowed_ptr_or_opt(py, self.0)? };
        value.cast_into().ok()
    }
}

impl Drop for Attached {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference that `now` got.
        unsafe { ffi::Py_XDECREF(self.0) };
    }
}

/// The context that is attached in this thread or task.
pub(crate) fn attached() -> Option<Context> {
    Attached::now().context()
}

/// The object that the variable holds, for comparing, as long as its owner, the context that runs, keeps it alive.
pub(crate) fn attached_object() -> *mut ffi::PyObject {
    Attached::now().object()
}

/// What a context object has of the block that it stands for; `None` for other objects and null.
#[inline]
pub(crate) fn fragment<'a>(object: *mut ffi::PyObject) -> Option<&'a Fragment> {
    // SAFETY: called with the GIL and a live object or null; the caller keeps the object alive while it uses the answer.
    unsafe {
        let py = Python::assume_attached();
        if object.is_null() || ffi::Py_TYPE(object) != PyContext::type_object_raw(py) {
            return None;
        }
        let context: *const PyContext = Bound::from_borrowed_ptr(py, object)
            .cast_unchecked::<PyContext>()
            .get();
        Some(&(*context).2)
    }
}

/// The id of the span that a context object stands for.
pub(crate) fn span_id(object: *mut ffi::PyObject) -> Option<SpanId> {
    // SAFETY: called with the GIL and a live object or null.
    let object = unsafe {
        let py = Python::assume_attached();
        Bound::from_borrowed_ptr_or_opt(py, object)?
    };
    Some(object.cast::<PyContext>().ok()?.get().0.span_id)
}

/// A new `Context` object; null when there is no memory.
pub(crate) fn new_object(context: Context) -> *mut ffi::PyObject {
    make_object(PyContext::new(context))
}

/// The same for a block whose span is in a tree with others.
fn new_block_object(context: Context) -> *mut ffi::PyObject {
    make_object(PyContext::in_tree(context))
}

fn make_object(context: PyContext) -> *mut ffi::PyObject {
    // SAFETY: called with the GIL.
    let py = unsafe { Python::assume_attached() };
    Py::new(py, context).map_or(ptr::null_mut(), Py::into_ptr)
}

/// Attaches a context object. Returns the token for [`reset`], or null.
pub(crate) unsafe fn set(context: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called with the GIL and a live object or null.
    unsafe {
        if context.is_null() {
            return ptr::null_mut();
        }
        let token = ffi::PyContextVar_Set(variable(), context);
        if token.is_null() {
            ffi::PyErr_Clear();
        }
        token
    }
}

/// Takes an attachment back. A token of another task's context is dropped: a generator that is closed there is no error.
pub(crate) unsafe fn reset(token: *mut ffi::PyObject) {
    // SAFETY: called with the GIL and a token of `set`, whose reference is given up here.
    unsafe {
        if ffi::PyContextVar_Reset(variable(), token) < 0 {
            ffi::PyErr_Clear();
        }
        ffi::Py_DECREF(token);
    }
}

/// The place where the next span would hang: what to hand to another thread. Where nothing is open, a context that is false, and
/// under which spans are roots.
#[pyfunction]
fn capture() -> PyContext {
    let place = state().capture();
    PyContext::captured(place.unwrap_or_else(nowhere))
}

/// The place under which spans are roots.
pub(crate) fn nowhere() -> Context {
    Context::local(TraceId::INVALID, SpanId::INVALID, 0)
}

/// The place where the next span would hang: under the innermost open span, else under what is attached. None: under nothing.
#[pyfunction]
fn current_context() -> Option<PyContext> {
    state().capture().map(PyContext::captured)
}

/// Tells OpenTelemetry of an attached context, where it is there; the answer is for `otel::detach`.
fn pass_on(context: &Context) -> Option<Py<PyAny>> {
    let is_wanted = crate::runtime::current().pipeline.is_some() && context.is_valid();
    (is_wanted && crate::loaded::opentelemetry()).then(|| otel::attach(context))?
}

/// (trace id, span id) of the innermost open span, for log records.
#[pyfunction]
fn current_trace_ids(py: Python<'_>) -> PyResult<Option<Bound<'_, PyTuple>>> {
    let ids = state().with_tree(|tree| (tree.peek().trace_id(), tree.current_id()));
    ids.map(|(trace, span)| PyTuple::new(py, [trace.to_string(), span.to_string()]))
        .transpose()
}

/// What `threading` calls this thread; nothing for one that it has not met. Runs no Python code.
pub(crate) fn thread_name() -> Option<String> {
    known_thread()?.getattr("_name").ok()?.extract().ok()
}

/// The context that `threading` runs this thread in, for comparing; null where it runs in none.
pub(crate) fn thread_context() -> *mut ffi::PyObject {
    if cfg!(not(Py_3_14)) {
        return ptr::null_mut();
    }
    let context = known_thread().and_then(|thread| thread.getattr("_context").ok());
    context.map_or(ptr::null_mut(), |context| context.as_ptr())
}

fn known_thread<'py>() -> Option<Bound<'py, PyAny>> {
    // SAFETY: called with the GIL held, as all recording is.
    let py = unsafe { Python::assume_attached() };
    let modules = py.import("sys").ok()?.getattr("modules").ok()?;
    let threading = modules
        .cast::<PyDict>()
        .ok()?
        .get_item("threading")
        .ok()??;
    let threads = threading.getattr("_active").ok()?;
    // SAFETY: no arguments, and cannot fail.
    let ident = unsafe { ffi::PyThread_get_thread_ident() };
    threads.cast::<PyDict>().ok()?.get_item(ident).ok()?
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    make_variable();
    slate::add_to_module(module)?;
    module.add_class::<PyContext>()?;
    module.add_class::<token::Token>()?;
    module.add_function(wrap_pyfunction!(capture, module)?)?;
    let copy_context = wrap_pyfunction!(copied::copy_context, module)?;
    module.add("_copy_context", copy_context)?;
    module.add_function(wrap_pyfunction!(_unpickled_context, module)?)?;
    module.add_function(wrap_pyfunction!(current_context, module)?)?;
    module.add_function(wrap_pyfunction!(token::attach, module)?)?;
    module.add_function(wrap_pyfunction!(token::detach, module)?)?;
    module.add_function(wrap_pyfunction!(current_trace_ids, module)?)
}
