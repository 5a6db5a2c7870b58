//! An exception on its way out: its type, text and stack, read once and without disturbing it.
#![allow(
    unsafe_code,
    reason = "the pending exception is only reachable through the C API"
)]

use std::fmt::Write as _;
use std::ptr;

use hiq_core::id::SpanId;
use hiq_core::intern::{Symbol, symbol};
use hiq_core::span::Status;
use hiq_core::tree::TreeBuilder;
use hiq_core::value::{Value, ValueRef};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use crate::state::{Quiet, ThreadState};

/// Text of an exception that is kept at most, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// Frames of a stack trace that are kept at most.
const MAX_FRAMES: usize = 200;

/// The pending exception, taken out of the interpreter while we look at it.
pub(crate) struct Pending(*mut ffi::PyObject);

/// Calls into Python on our own account: nothing of it is recorded, and an exception that is pending stays so.
pub(crate) fn undisturbed<'py, R>(call: impl FnOnce(Python<'py>) -> R) -> R {
    // SAFETY: called with the GIL, like everything of the recorder.
    let (py, is_pending) = unsafe { (Python::assume_attached(), !ffi::PyErr_Occurred().is_null()) };
    let pending = is_pending.then(Pending::take);
    let quiet = Quiet::new();
    let answer = call(py);
    drop(quiet);
    if let Some(pending) = pending {
        pending.restore();
    }
    answer
}

impl Pending {
    /// Takes the pending exception. The caller must give it back by [`Pending::restore`].
    #[cfg(Py_3_12)]
    pub(crate) fn take() -> Self {
        // SAFETY: called with the GIL and an exception set.
        Self(unsafe { ffi::PyErr_GetRaisedException() })
    }

    /// Takes the pending exception. The caller must give it back by [`Pending::restore`].
    #[cfg(not(Py_3_12))]
    pub(crate) fn take() -> Self {
        let (mut kind, mut value, mut traceback) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: called with the GIL; the three references are owned by us until given back, except the type,
        // which the normalised value holds as well.
        unsafe {
            ffi::PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut traceback);
            ffi::PyErr_NormalizeException(&raw mut kind, &raw mut value, &raw mut traceback);
            if !traceback.is_null() && !value.is_null() {
                ffi::PyException_SetTraceback(value, traceback);
            }
            ffi::Py_XDECREF(kind);
            ffi::Py_XDECREF(traceback);
        }
        Self(value)
    }

    /// Makes the very same exception pending again.
    #[cfg(Py_3_12)]
    pub(crate) fn restore(self) {
        // SAFETY: hands over the reference that `take` got.
        unsafe { ffi::PyErr_SetRaisedException(self.0) };
    }

    /// Makes the very same exception pending again.
    #[cfg(not(Py_3_12))]
    pub(crate) fn restore(self) {
        if self.0.is_null() {
            return;
        }
        // SAFETY: `PyErr_Restore` takes over three references: a new one to the type, ours to the value, and a new one
        // (or null) from `PyException_GetTraceback`.
        unsafe {
            let kind = ffi::Py_TYPE(self.0).cast::<ffi::PyObject>();
            ffi::Py_INCREF(kind);
            ffi::PyErr_Restore(kind, self.0, ffi::PyException_GetTraceback(self.0));
        }
    }

    /// Lets the exception go for good: the call returns a value instead.
    pub(crate) fn forget(self) {
        // SAFETY: gives up the reference that `take` got.
        unsafe { ffi::Py_XDECREF(self.0) };
    }

    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: a borrowed reference to what we own, or null.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.0) }
    }
}

/// What a span says of an exception.
pub(crate) struct ExceptionText {
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) stack: String,
    /// Python's `repr`, for HiQ's `exception_summary`; made only for spans of drivers.
    pub(crate) repr: Option<String>,
}

/// The exception that passed a span last: the stack of the same one, next time, is not read again.
///
/// Nothing of it is kept alive, so another exception may come to stand at the same address: it is told apart by where it
/// was raised and by its text.
pub(crate) struct LastException {
    object: *mut ffi::PyObject,
    origin: Origin,
    text: Option<ExceptionText>,
}

/// The innermost entry of a traceback: where the exception was raised.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Origin {
    entry: *mut ffi::PyTracebackObject,
    frame: *mut ffi::PyFrameObject,
    instruction: i32,
    line: i32,
}

impl Origin {
    const NONE: Self = Self {
        entry: ptr::null_mut(),
        frame: ptr::null_mut(),
        instruction: 0,
        line: 0,
    };

    fn of(value: &Bound<'_, PyAny>) -> Self {
        // SAFETY: an exception's traceback is null or a chain of traceback objects, which it keeps alive.
        unsafe {
            let head = ffi::PyException_GetTraceback(value.as_ptr());
            if head.is_null() {
                return Self::NONE;
            }
            let mut entry = head.cast::<ffi::PyTracebackObject>();
            while !(*entry).tb_next.is_null() {
                entry = (*entry).tb_next;
            }
            let origin = Self {
                entry,
                frame: (*entry).tb_frame,
                instruction: (*entry).tb_lasti,
                line: (*entry).tb_lineno,
            };
            ffi::Py_DECREF(head);
            origin
        }
    }
}

impl LastException {
    pub(crate) const NONE: Self = Self {
        object: ptr::null_mut(),
        origin: Origin::NONE,
        text: None,
    };
}

/// An open span, wherever its tree is.
pub(crate) trait OpenSpan {
    /// Calls `then` with the span while it is open. It must not come to Python.
    fn write<R>(&self, then: impl FnOnce(&mut TreeBuilder, u32) -> R) -> Option<R>;
}

impl OpenSpan for (&ThreadState, SpanId) {
    fn write<R>(&self, then: impl FnOnce(&mut TreeBuilder, u32) -> R) -> Option<R> {
        self.0.with_open_span(self.1, then)
    }
}

/// Records the pending exception on the innermost span, which is `id`, and leaves it pending.
#[cold]
#[inline(never)]
pub(crate) fn record_pending(state: &ThreadState, id: SpanId, tick: u64) {
    // SAFETY: only called from a call that returned an error, so the GIL is held.
    let py = unsafe { Python::assume_attached() };
    let pending = Pending::take();
    if let Some(value) = pending.value(py) {
        record(py, state, &(state, id), tick, &value);
    }
    pending.restore();
}

/// Records `value` on an open span. Exceptions that mean "done" or "closed" are not errors.
pub(crate) fn record(
    py: Python<'_>,
    state: &ThreadState,
    span: &impl OpenSpan,
    tick: u64,
    value: &Bound<'_, PyAny>,
) {
    if is_control_flow(value) {
        return;
    }
    let has_drivers = |builder: &mut TreeBuilder, index: u32| builder.drivers(index) != 0;
    let Some(wants_repr) = span.write(has_drivers) else {
        return;
    };
    let origin = Origin::of(value);
    let last = state.exception.replace(LastException::NONE);
    let is_last = last.object == value.as_ptr() && last.origin == origin;
    let text = match last.text.filter(|_| is_last) {
        Some(known) => read_again(py, value, wants_repr, known),
        None => read(py, value, wants_repr),
    };
    // Callbacks above may have run anything: the span may have ended, and its tree with it.
    span.write(|builder, index| {
        write(builder, index, tick, &text, wants_repr);
    });
    state.exception.set(LastException {
        object: value.as_ptr(),
        origin,
        text: Some(text),
    });
}

fn is_control_flow(value: &Bound<'_, PyAny>) -> bool {
    use pyo3::exceptions::{PyGeneratorExit, PyStopAsyncIteration, PyStopIteration};
    value.is_instance_of::<PyStopIteration>()
        || value.is_instance_of::<PyGeneratorExit>()
        || value.is_instance_of::<PyStopAsyncIteration>()
}

fn write(builder: &mut TreeBuilder, index: u32, tick: u64, text: &ExceptionText, with_repr: bool) {
    let names = names();
    let attributes = [
        (names.kind, ValueRef::Str(&text.kind)),
        (names.message, ValueRef::Str(&text.message)),
        (names.stack, ValueRef::Str(&text.stack)),
    ];
    builder.add_event(index, names.event, tick, attributes);
    let mut status = text.kind.clone();
    if !text.message.is_empty() {
        status.push_str(": ");
        status.push_str(&text.message);
    }
    builder.set_status(index, Status::Error, &status);
    builder.set_attribute(index, names.error_type, ValueRef::Str(&text.kind));
    if let (true, Some(repr)) = (with_repr, &text.repr) {
        builder.set_attribute(index, names.summary, ValueRef::Str(repr));
    }
}

struct Names {
    event: Symbol,
    kind: Symbol,
    message: Symbol,
    stack: Symbol,
    error_type: Symbol,
    summary: Symbol,
}

fn names() -> &'static Names {
    static NAMES: std::sync::OnceLock<Names> = std::sync::OnceLock::new();
    NAMES.get_or_init(|| {
        let of = |name| symbol(name).unwrap_or(Symbol::EMPTY);
        Names {
            event: of("exception"),
            kind: of("exception.type"),
            message: of("exception.message"),
            stack: of("exception.stacktrace"),
            error_type: of("error.type"),
            summary: of("hiq.exception_summary"),
        }
    })
}

/// Reads an exception. Its own methods may fail or call traced functions: both stay without effect.
pub(crate) fn read(py: Python<'_>, value: &Bound<'_, PyAny>, with_repr: bool) -> ExceptionText {
    let _quiet = Quiet::new();
    let kind = type_name(&value.get_type());
    let message = guarded(value.str());
    let repr = with_repr.then(|| guarded(value.repr()));
    let stack = stack_of(py, value, &kind, &message);
    ExceptionText {
        kind,
        message,
        stack,
        repr,
    }
}

/// Reads an exception that looks like the last one; only when its text is the same as well is the stack taken from that.
fn read_again(
    py: Python<'_>,
    value: &Bound<'_, PyAny>,
    with_repr: bool,
    known: ExceptionText,
) -> ExceptionText {
    let _quiet = Quiet::new();
    if guarded(value.str()) != known.message || type_name(&value.get_type()) != known.kind {
        return read(py, value, with_repr);
    }
    let repr = known
        .repr
        .or_else(|| with_repr.then(|| guarded(value.repr())));
    ExceptionText { repr, ..known }
}

/// `ValueError`, `package.module.Error`.
fn type_name(kind: &Bound<'_, PyType>) -> String {
    let name = kind
        .qualname()
        .map_or_else(|_| "<unknown>".to_owned(), |name| name.to_string());
    let module = kind
        .module()
        .map_or_else(|_| String::new(), |module| module.to_string());
    match module.as_str() {
        "" | "builtins" => name,
        module => format!("{module}.{name}"),
    }
}

fn guarded(text: PyResult<Bound<'_, PyString>>) -> String {
    match text {
        Ok(text) => {
            let mut text = crate::attributes::lossless(&text);
            text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
            text
        }
        Err(error) => {
            drop(error);
            "<text could not be made>".to_owned()
        }
    }
}

/// Python's layout, without source lines: reading files has no place in a traced call.
fn stack_of(py: Python<'_>, value: &Bound<'_, PyAny>, kind: &str, message: &str) -> String {
    let mut text = String::from("Traceback (most recent call last):\n");
    let mut frame = value.getattr("__traceback__").ok();
    let mut frames = 0;
    while let Some(traceback) = frame.filter(|traceback| !traceback.is_none()) {
        if frames == MAX_FRAMES {
            text.push_str("  ...\n");
            break;
        }
        frames += 1;
        if let Some((file, line, function)) = place(&traceback) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  File \"{file}\", line {line}, in {function}");
        }
        frame = traceback.getattr("tb_next").ok();
    }
    let _ = py;
    text.push_str(kind);
    if !message.is_empty() {
        text.push_str(": ");
        text.push_str(message);
    }
    text.push('\n');
    text
}

fn place(traceback: &Bound<'_, PyAny>) -> Option<(String, i64, String)> {
    let line = traceback.getattr("tb_lineno").ok()?.extract().ok()?;
    let code = traceback.getattr("tb_frame").ok()?.getattr("f_code").ok()?;
    let file = code.getattr("co_filename").ok()?.extract().ok()?;
    let function = code.getattr("co_name").ok()?.extract().ok()?;
    Some((file, line, function))
}

/// Adds the stack of the exception that was recorded last to the open span `id`, for HiQ's `exception_trace`.
pub(crate) fn add_trace(state: &ThreadState, id: SpanId) {
    let last = state.exception.replace(LastException::NONE);
    if let Some(text) = &last.text {
        state.with_open_span(id, |builder, index| {
            let key = symbol("hiq.exception_trace").unwrap_or(Symbol::EMPTY);
            builder.set_attribute(index, key, ValueRef::Str(&text.stack));
        });
    }
    state.exception.set(last);
}

/// Records an exception that a program hands to us (`span.record_exception(e)`), with attributes of its own.
pub(crate) fn record_given(
    builder: &mut TreeBuilder,
    index: u32,
    tick: u64,
    text: &ExceptionText,
    more: Vec<(Symbol, Value)>,
) {
    let names = names();
    let own = [
        (names.kind, Value::from(text.kind.as_str())),
        (names.message, text.message.as_str().into()),
        (names.stack, text.stack.as_str().into()),
    ];
    let all: Vec<_> = own.into_iter().chain(more).collect();
    builder.add_event(
        index,
        names.event,
        tick,
        all.iter().map(|(key, value)| (*key, value.as_ref())),
    );
}
