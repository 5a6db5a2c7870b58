//! Beside OpenTelemetry: where the program has imported its API, our roots hang under its current span, and its spans
//! under ours.
//!
//! It is never imported from here. The other half is `_otel.py`.
#![allow(unsafe_code, reason = "the thread's state is used with the GIL held")]

use std::sync::atomic::{AtomicUsize, Ordering};

use hiq_core::context::Context;
use hiq_core::id::{SpanId, TraceId};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::exception::undisturbed;
use crate::gil::GilCell;
use crate::loaded;
use crate::state::state;

/// What the program imports when it uses OpenTelemetry.
const API: &str = "opentelemetry.trace";

/// `_otel.py`; it is loaded when there is something for it to do.
pub(crate) fn other_half(py: Python<'_>) -> Option<&'static Py<PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    loaded::module(py, API)?;
    let module = MODULE.get_or_try_init(py, || py.import("hiq._otel").map(Bound::unbind));
    module.ok()
}

/// OpenTelemetry's current span, when there is a valid one.
pub(crate) enum Current {
    /// A span of its own.
    Foreign(Context),
    /// The place of a span of ours, which a task or thread may have been handed by OpenTelemetry's means.
    Ours(Context),
}

/// What OpenTelemetry says is current.
#[cold]
pub(crate) fn current() -> Option<Current> {
    type Answer = (u128, u64, u8, String, bool, bool);
    let answer: Option<Answer> = call("current", ())?.extract().ok()?;
    let (trace_id, span_id, flags, trace_state, is_remote, is_ours) = answer?;
    let mut context = Context::local(TraceId(trace_id.to_be_bytes()), SpanId(span_id), flags);
    context.trace_state = trace_state;
    context.is_remote = is_remote;
    Some(if is_ours {
        Current::Ours(context)
    } else {
        Current::Foreign(context)
    })
}

/// Places of ours that are in OpenTelemetry's context: by the id of the span, what `_otel.py` remembers.
static ENTERED: GilCell<Vec<(SpanId, Py<PyAny>)>> = GilCell::new(Vec::new());
static ENTERED_COUNT: AtomicUsize = AtomicUsize::new(0);
/// In a forked child: the root that was open at the fork, and the span within it.
static OPEN_AT_FORK: GilCell<Option<(SpanId, SpanId)>> = GilCell::new(None);

/// Makes the span of `place` the current one of OpenTelemetry, until [`leave`].
#[cold]
pub(crate) fn enter(place: &Context) {
    if let Some(entered) = attach(place) {
        let mut all = ENTERED.lock();
        all.push((place.span_id, entered));
        ENTERED_COUNT.store(all.len(), Ordering::Relaxed);
    }
}

/// The same for a context that is no open span of ours; the answer is for [`detach`].
pub(crate) fn attach(place: &Context) -> Option<Py<PyAny>> {
    let ids = (u128::from_be_bytes(place.trace_id.0), place.span_id.0);
    let rest = (
        place.trace_flags,
        place.trace_state.as_str(),
        place.is_remote,
    );
    let entered = call("enter", (ids.0, ids.1, rest.0, rest.1, rest.2))?;
    (!entered.is_none()).then(|| entered.unbind())
}

/// Takes an attachment back, unless something of OpenTelemetry's was put over it and left there.
pub(crate) fn detach(entered: Py<PyAny>) {
    call("leave", (entered,));
}

/// The span of this id has ended.
#[inline]
pub(crate) fn leave(id: SpanId) {
    if ENTERED_COUNT.load(Ordering::Relaxed) != 0
        && let Some(entered) = take(id)
    {
        detach(entered);
    }
}

fn take(id: SpanId) -> Option<Py<PyAny>> {
    let mut all = ENTERED.lock();
    let at = all.iter().rposition(|(known, _)| *known == id)?;
    let (_, entered) = all.swap_remove(at);
    ENTERED_COUNT.store(all.len(), Ordering::Relaxed);
    Some(entered)
}

/// The coroutine or generator with this root has made a step: until the next one, others run.
#[inline]
pub(crate) fn suspend(id: SpanId) {
    between_steps("suspend", id);
}

/// It makes the next one.
#[inline]
pub(crate) fn resume(id: SpanId) {
    between_steps("resume", id);
}

#[inline]
fn between_steps(what: &str, id: SpanId) {
    if ENTERED_COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    // SAFETY: called with the GIL.
    let py = unsafe { Python::assume_attached() };
    let entered = ENTERED
        .lock()
        .iter()
        .rfind(|(known, _)| *known == id)
        .map(|(_, entered)| entered.clone_ref(py));
    if let Some(entered) = entered {
        call(what, (entered,));
    }
}

/// Calls the other half: silently, with the exception that may be pending left alone.
fn call<'py>(
    function: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> Option<Bound<'py, PyAny>> {
    undisturbed(|py| {
        let module = other_half(py)?.bind(py);
        module.getattr(function).ok()?.call1(arguments).ok()
    })
}

/// The innermost open span under the root of this id, where this thread has it open.
#[pyfunction]
fn innermost_span_id(root: u64) -> Option<u64> {
    let here = state().with_tree(|tree| (tree.root_id().0, tree.current_id().0));
    if let Some((_, innermost)) = here.filter(|(known, _)| *known == root) {
        return Some(innermost);
    }
    let at_fork = *OPEN_AT_FORK.lock();
    at_fork
        .filter(|(known, _)| known.0 == root)
        .map(|(_, innermost)| innermost.0)
}

/// In a forked child: what is in OpenTelemetry's context stays there, as the remote parent that it is now.
pub(crate) fn after_fork_in_child() {
    let open = state().with_tree(|tree| (tree.root_id(), tree.current_id()));
    if open.is_some() {
        *OPEN_AT_FORK.lock() = open;
    }
    ENTERED_COUNT.store(0, Ordering::Relaxed);
    ENTERED.lock().clear();
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(innermost_span_id, module)?)
}
