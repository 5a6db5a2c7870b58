//! `hiq.current_span()`, the `Span` that it and `hiq.trace` give, and `hiq.suppress`.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hiq_core::id::{SpanId, TraceId};
use hiq_core::record::OpenTree;
use hiq_core::span::Status;
use hiq_core::time::Clock;
use hiq_core::tree::TreeBuilder;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::attributes::{self, Text};
use crate::context::{self, PyContext};
use crate::exception;
use crate::gil::GilOnly;
use crate::state::state;

/// A span that is open, or nothing: every method is harmless after its end and outside any span.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct Span {
    /// Changed only while nobody has the object, see [`Span::object`].
    trace_id: [AtomicU64; 2],
    id: AtomicU64,
}

/// Objects that blocks were lent last.
struct Lent {
    spans: [Option<Py<Span>>; SPANS_KEPT],
    oldest: usize,
}

/// Blocks inside each other that give their spans names have one each.
const SPANS_KEPT: usize = 4;

static LENT: GilOnly<Lent> = GilOnly::new(Lent {
    spans: [const { None }; SPANS_KEPT],
    oldest: 0,
});

impl Span {
    pub(crate) fn new(trace_id: TraceId, id: SpanId) -> Self {
        let span = Self {
            trace_id: [const { AtomicU64::new(0) }; 2],
            id: AtomicU64::new(0),
        };
        span.become_that_of(trace_id, id);
        span
    }

    /// An object for it: most blocks have let theirs go, or never named it, when the next one asks.
    pub(crate) fn object(self, py: Python<'_>) -> PyResult<Py<Self>> {
        let lent = LENT.borrow();
        let is_ours_alone = |span: &&Py<Self>| crate::object::has_one_owner(span.as_ptr());
        if let Some(unused) = lent.spans.iter().flatten().find(is_ours_alone) {
            unused.get().become_that_of(self.of_trace(), self.own_id());
            return Ok(unused.clone_ref(py));
        }
        drop(lent);
        let made = Py::new(py, self)?;
        let mut lent = LENT.borrow();
        let oldest = lent.oldest;
        lent.oldest = (oldest + 1) % SPANS_KEPT;
        let before = lent.spans[oldest].replace(made.clone_ref(py));
        drop(lent);
        // Gone at once, also where this was called by no function of `pyo3`'s.
        drop(before.map(|span| span.into_bound(py)));
        Ok(made)
    }

    fn become_that_of(&self, trace_id: TraceId, id: SpanId) {
        let trace_id = u128::from_ne_bytes(trace_id.0);
        self.trace_id[0].store((trace_id >> 64) as u64, Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        self.trace_id[1].store(trace_id as u64, Relaxed);
        self.id.store(id.0, Relaxed);
    }

    fn of_trace(&self) -> TraceId {
        let [high, low] = &self.trace_id;
        let trace_id = u128::from(high.load(Relaxed)) << 64 | u128::from(low.load(Relaxed));
        TraceId(trace_id.to_ne_bytes())
    }

    fn own_id(&self) -> SpanId {
        SpanId(self.id.load(Relaxed))
    }

    pub(crate) fn none() -> Self {
        Self::new(TraceId::INVALID, SpanId::INVALID)
    }

    /// Calls `then` with the span's builder and index while it is open and reachable from this thread.
    fn write<R>(&self, then: impl FnOnce(&mut TreeBuilder, u32) -> R) -> Option<R> {
        let id = self.own_id();
        if !id.is_valid() {
            return None;
        }
        let is_here = state().with_open_span(id, |_, _| ()).is_some();
        if is_here {
            return state().with_open_span(id, then);
        }
        crate::block::with_tree_of(id, |tree| {
            let index = tree.index_of_open(id)?;
            Some(then(tree.builder(), index))
        })?
    }
}

#[pymethods]
impl Span {
    /// Whether it is open and recorded. A property: it is not called.
    #[getter]
    fn is_recording(&self) -> bool {
        self.write(|_, _| ()).is_some()
    }

    /// Its name; empty once it has ended.
    #[getter]
    fn name(&self) -> String {
        self.write(|builder, index| builder.name(index).to_owned())
            .unwrap_or_default()
    }

    /// 32 hex digits; zeros outside any span.
    #[getter]
    fn trace_id(&self) -> String {
        self.of_trace().to_string()
    }

    /// 16 hex digits; zeros outside any span.
    #[getter]
    fn span_id(&self) -> String {
        self.own_id().to_string()
    }

    /// Sets an attribute: a text, number, bool, bytes or a sequence of them; of anything else its guarded `repr`.
    /// Returns the span, as all of these do.
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

    /// Sets several attributes, from a dict.
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

    /// Adds an event of this moment.
    #[pyo3(signature = (name, attributes=None))]
    fn add_event<'py>(
        this: Bound<'py, Self>,
        name: Text,
        attributes: Option<&Bound<'py, PyDict>>,
    ) -> Bound<'py, Self> {
        let all = attributes.map(attributes::owned).unwrap_or_default();
        this.get().write(|builder, index| {
            let name = builder.symbol(&name.0);
            builder.add_event(
                index,
                name,
                Clock::ticks(),
                all.iter().map(|(key, value)| (*key, value.as_ref())),
            );
        });
        this
    }

    /// Adds an event with type, text and stack trace of an exception. One that leaves a block is recorded by itself.
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

    /// Sets the status: `unset`, `ok` or `error`, which may have a message.
    #[pyo3(signature = (status, message=Text::default()), text_signature = "($self, status, message='')")]
    fn set_status(this: Bound<'_, Self>, status: Text, message: Text) -> PyResult<Bound<'_, Self>> {
        let status = match status.0.to_ascii_lowercase().as_str() {
            "unset" => Status::Unset,
            "ok" => Status::Ok,
            "error" => Status::Error,
            other => {
                return Err(PyValueError::new_err(format!(
                    "status `{other}` is none of unset, ok, error"
                )));
            }
        };
        this.get()
            .write(|builder, index| builder.set_status(index, status, &message.0));
        Ok(this)
    }

    /// Gives it another name.
    fn update_name(this: Bound<'_, Self>, name: Text) -> Bound<'_, Self> {
        this.get().write(|builder, index| {
            let name = builder.symbol(&name.0);
            builder.set_name(index, name);
        });
        this
    }

    /// Adds a link to a place in another trace (`hiq.extract`, `hiq.capture`).
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
        format!("Span({}, {})", self.of_trace(), self.own_id())
    }
}

/// The innermost open span of this thread or task.
#[pyfunction]
fn current_span() -> Span {
    let state = state();
    let here = |tree: &mut OpenTree| Span::new(tree.peek().trace_id(), tree.current_id());
    if !state.is_of_another_task()
        && let Some(span) = state.with_tree(here)
    {
        return span;
    }
    match context::attached() {
        Some(context) if !context.is_remote => Span::new(context.trace_id, context.span_id),
        _ => Span::none(),
    }
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Span>()?;
    module.add_function(wrap_pyfunction!(current_span, module)?)
}
