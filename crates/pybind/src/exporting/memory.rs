//! The `memory` exporter: finished spans as dicts, for users' own tests.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hiq_core::batch::TreeBatch;
use hiq_core::config::{Env, Warning};
use hiq_core::export::{Deadline, Exporter, Progress};
use hiq_core::ledger::Custody;
use hiq_core::span::{Kind, Span, Status};
use hiq_core::tree::SpanTree;
use hiq_core::value::{Value, ValueRef};
use hiq_core::wire::Text;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::Arguments;
use super::registry::{Spec, spec};

mod encoded;

use encoded::Desk;
pub(super) use encoded::memory_bytes;

type Held = Mutex<Memory>;

/// Whose the spans are: 0 for all who have not asked for a shelf of their own.
type Shelf = usize;

/// What the exporter was given, and what is at hand for writing it.
#[derive(Debug, Default)]
struct Memory {
    trees: Vec<(Shelf, Arc<SpanTree>)>,
    /// Those that nobody writes at.
    desks: Vec<Desk>,
}

/// Replaced in a forked child: the parent's worker may have been holding the lock, and what is held is the parent's.
static HELD: AtomicPtr<Held> = AtomicPtr::new(ptr::null_mut());

fn held() -> MutexGuard<'static, Memory> {
    let mut held = HELD.load(Ordering::Acquire);
    if held.is_null() {
        let made = Box::into_raw(Box::<Held>::default());
        let before =
            HELD.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        // Another thread may have been first; its own is used then, and ours is left alone.
        held = before.map_or_else(|first| first, |_| made);
    }
    #[expect(unsafe_code, reason = "what is held is leaked, never freed")]
    // SAFETY: only leaked boxes are stored.
    let held = unsafe { &*held };
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a forked child nothing is held.
pub(super) fn after_fork_in_child() {
    HELD.store(Box::into_raw(Box::default()), Ordering::Release);
}

/// The exporter that settings describe.
pub(super) fn read(
    arguments: &Arguments<'_, '_>,
    _env: &Env,
    _warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    arguments.refuse_unknown(&["shelf"])?;
    let shelf = arguments.count("shelf")?.unwrap_or_default();
    Ok(spec("memory", "this process", move || {
        Ok(Box::new(MemoryExporter { shelf }))
    }))
}

/// Keeps what it is given.
#[derive(Debug)]
struct MemoryExporter {
    shelf: Shelf,
}

impl Exporter<TreeBatch> for MemoryExporter {
    fn export(
        &mut self,
        batch: Arc<TreeBatch>,
        custody: Custody,
        _deadline: &Deadline,
    ) -> Progress {
        let trees = batch.trees().iter();
        let trees = trees.map(|tree| (self.shelf, Arc::clone(tree)));
        held().trees.extend(trees);
        custody.delivered();
        Progress::Done
    }
}

/// The spans that the `memory` exporter of that shelf was given, in the order they came.
#[pyfunction]
#[pyo3(signature = (clear=false, shelf=0))]
pub(super) fn memory_spans(
    py: Python<'_>,
    clear: bool,
    shelf: Shelf,
) -> PyResult<Bound<'_, PyList>> {
    let spans = PyList::empty(py);
    for tree in &trees(shelf, clear) {
        for span in tree.spans() {
            spans.append(span_dict(py, span)?)?;
        }
    }
    Ok(spans)
}

/// What is held, in the order it came; nothing of it any more where it is to be `clear`ed.
fn trees(shelf: Shelf, clear: bool) -> Vec<Arc<SpanTree>> {
    let mut held = held();
    let wanted = held.trees.iter().filter(|(place, _)| *place == shelf);
    let trees = wanted.map(|(_, tree)| Arc::clone(tree)).collect();
    if clear {
        held.trees.retain(|(place, _)| *place != shelf);
    }
    trees
}

fn span_dict<'py>(py: Python<'py>, span: Span<'_>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("trace_id", span.trace_id().to_string())?;
    dict.set_item("span_id", span.id().to_string())?;
    dict.set_item("parent_span_id", span.parent_id().map(|id| id.to_string()))?;
    dict.set_item("has_remote_parent", span.has_remote_parent())?;
    dict.set_item("trace_flags", span.trace_flags())?;
    dict.set_item(
        "trace_state",
        span.trace_state().map_or("", |state| state.as_str()),
    )?;
    dict.set_item("name", span.name().as_str())?;
    dict.set_item("kind", kind_name(span.kind()))?;
    dict.set_item("start_unix_nanos", span.start().0)?;
    dict.set_item("end_unix_nanos", span.end().0)?;
    dict.set_item("status", status_name(span.status()))?;
    dict.set_item(
        "status_message",
        span.status_message().map_or("", |message| message.as_str()),
    )?;
    dict.set_item("attributes", attributes_dict(py, span.attributes())?)?;
    let events = PyList::empty(py);
    for event in span.events() {
        let item = PyDict::new(py);
        item.set_item("name", event.name().as_str())?;
        item.set_item("time_unix_nanos", event.time().0)?;
        item.set_item("attributes", attributes_dict(py, event.attributes())?)?;
        events.append(item)?;
    }
    dict.set_item("events", events)?;
    let links = PyList::empty(py);
    for link in span.links() {
        let item = PyDict::new(py);
        item.set_item("trace_id", link.trace_id().to_string())?;
        item.set_item("span_id", link.span_id().to_string())?;
        item.set_item("attributes", attributes_dict(py, link.attributes())?)?;
        links.append(item)?;
    }
    dict.set_item("links", links)?;
    let scope = span.scope();
    dict.set_item(
        "scope",
        (
            scope.name().map_or("", |name| name.as_str()),
            scope.version().map_or("", |version| version.as_str()),
        ),
    )?;
    dict.set_item(
        "resource",
        attributes_dict(py, span.tree().resource().attributes())?,
    )?;
    Ok(dict)
}

fn attributes_dict<'a, 'py>(
    py: Python<'py>,
    attributes: impl Iterator<Item = (Text<'a>, ValueRef<'a>)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (key, value) in attributes {
        dict.set_item(key.as_str(), object(py, value)?)?;
    }
    Ok(dict)
}

/// A value as Python has it.
pub(crate) fn object<'py>(py: Python<'py>, value: ValueRef<'_>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        ValueRef::Text(text) => text.as_str().into_pyobject(py)?.into_any(),
        ValueRef::Str(text) => text.into_pyobject(py)?.into_any(),
        ValueRef::Bool(b) => b.into_pyobject(py)?.to_owned().into_any(),
        ValueRef::Int(i) => i.into_pyobject(py)?.into_any(),
        ValueRef::F64(f) => f.into_pyobject(py)?.into_any(),
        ValueRef::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        ValueRef::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(object(py, item.as_ref())?)?;
            }
            list.into_any()
        }
        ValueRef::Map(pairs) => {
            let dict = PyDict::new(py);
            for (key, value) in pairs {
                dict.set_item(key, object(py, Value::as_ref(value))?)?;
            }
            dict.into_any()
        }
        _ => py.None().into_bound(py),
    })
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified => "unspecified",
        Kind::Internal => "internal",
        Kind::Server => "server",
        Kind::Client => "client",
        Kind::Producer => "producer",
        Kind::Consumer => "consumer",
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Unset => "unset",
        Status::Ok => "ok",
        Status::Error => "error",
    }
}
