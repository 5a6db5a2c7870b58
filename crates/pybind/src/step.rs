//! Coroutines, generators and async generators: work that is done in steps, between which anything else may run.
//!
//! Each is the root of a fragment of its own. A step puts that fragment in the place of the thread's open tree and takes it
//! away again, so interleaved tasks and half-used generators never see each other's spans.
#![allow(
    unsafe_code,
    reason = "iteration slots and their object layout are C; each block is argued"
)]

use std::ffi::{c_int, c_void};
use std::ptr;

use hiq_core::context::Context;
use hiq_core::id::SpanId;
use hiq_core::intern::{Symbol, symbol};
use hiq_core::record::OpenTree;
use hiq_core::time::Clock;
use hiq_core::tree::Role;
use hiq_core::value::ValueRef;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::context;
use crate::exception::{Pending, record_pending};
use crate::object::{self, fast_method, method, offset_member, slot};
use crate::otel;
use crate::state::{Begun, Root, ThreadState, state};
use crate::wrap::{Returns, TracedObject};

mod async_generator;

pub(crate) use async_generator::add_to_module as add_async_generator;

/// The object's memory.
#[repr(C)]
pub(crate) struct Stepped {
    base: ffi::PyObject,
    /// The coroutine or generator; null once it has been let go.
    pub(crate) inner: *mut ffi::PyObject,
    /// What tasks begun inside a step inherit.
    context: *mut ffi::PyObject,
    run: *mut Run,
    weak_references: *mut ffi::PyObject,
}

/// The recording of one coroutine or generator.
struct Run {
    role: Role,
    returns: Returns,
    /// Where the coroutine function was called.
    parent: Option<Context>,
    stage: Stage,
    active_ticks: u64,
}

enum Stage {
    /// No step has been made.
    Fresh,
    /// Its fragment, taken away from the thread between steps.
    Open { tree: *mut OpenTree, root: SpanId },
    /// Its root was sampled out: steps are silent and pass the decision on.
    SampledOut(Box<Context>),
    /// Its span has ended.
    Ended,
}

impl Run {
    /// The id that it passes on while it runs.
    fn place(&self) -> Option<SpanId> {
        match &self.stage {
            Stage::Open { root, .. } => Some(*root),
            Stage::SampledOut(context) => Some(context.span_id),
            Stage::Fresh | Stage::Ended => None,
        }
    }
}

static COROUTINE: object::TypeCell = object::TypeCell::new();
static GENERATOR: object::TypeCell = object::TypeCell::new();

/// Puts our object around what the call made; hands that back as it is when it is something else.
pub(crate) unsafe fn wrap(
    traced: *mut TracedObject,
    state: &mut ThreadState,
    made: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a live wrapper and a new reference from its original, which is handed on inside the object or as it is.
    unsafe {
        let returns = (*traced).returns;
        let Some(kind) = type_for(returns, made) else {
            return made;
        };
        let object = ffi::PyType_GenericAlloc(kind, 0).cast::<Stepped>();
        if object.is_null() {
            ffi::PyErr_Clear();
            return made;
        }
        let run = Run {
            role: (*traced).role,
            returns,
            parent: state.capture(),
            stage: Stage::Fresh,
            active_ticks: 0,
        };
        (*object).inner = made;
        (*object).run = Box::into_raw(Box::new(run));
        OPEN.lock().push(object as usize);
        object.cast()
    }
}

unsafe fn type_for(returns: Returns, made: *mut ffi::PyObject) -> Option<*mut ffi::PyTypeObject> {
    // SAFETY: a live object's type is read.
    unsafe {
        let kind = ffi::Py_TYPE(made);
        let has_async = !(*kind).tp_as_async.is_null();
        match returns {
            Returns::Coroutine => {
                (has_async && (*(*kind).tp_as_async).am_await.is_some()).then(|| COROUTINE.get())
            }
            Returns::Generator => (*kind).tp_iternext.is_some().then(|| GENERATOR.get()),
            Returns::AsyncGenerator => (has_async && (*(*kind).tp_as_async).am_anext.is_some())
                .then(async_generator::type_object),
            Returns::Value => None,
        }
    }
}

/// All live objects of ours: what is suspended at exit leaves as unfinished.
static OPEN: crate::gil::GilCell<Registry> = crate::gil::GilCell::new(Registry(Vec::new()));

struct Registry(Vec<usize>);

impl Registry {
    fn push(&mut self, object: usize) {
        self.0.push(object);
    }

    /// Looks from the end: most are short-lived.
    fn remove(&mut self, object: usize) {
        if let Some(at) = self.0.iter().rposition(|known| *known == object) {
            self.0.swap_remove(at);
        }
    }
}

/// At interpreter exit: what is suspended leaves, marked as unfinished.
pub(crate) fn finish_all() {
    let objects: Vec<usize> = OPEN.lock().0.clone();
    for object in objects {
        let object = object as *mut Stepped;
        // SAFETY: objects leave the list before their memory goes; the GIL keeps them from changing.
        unsafe {
            if let Stage::Open { tree, .. } =
                std::mem::replace(&mut (*(*object).run).stage, Stage::Ended)
                && !tree.is_null()
            {
                crate::state::deliver(Box::from_raw(tree).finish_unfinished());
            }
        }
    }
}

/// In a forked child: suspended work of the parent is the parent's to export.
pub(crate) fn after_fork_in_child() {
    for object in &OPEN.lock().0 {
        let object = *object as *mut Stepped;
        // SAFETY: as in `finish_all`. The tree's memory is left alone: the parent exports it.
        unsafe {
            if let Stage::Open { tree, .. } = &(*(*object).run).stage
                && !tree.is_null()
            {
                let inherited = crate::state::context_of(&**tree);
                (*(*object).run).parent = Some(inherited);
                (*(*object).run).stage = Stage::Fresh;
            }
        }
    }
}

/// What the thread was doing when a step began.
struct Outer {
    tree: *mut OpenTree,
    scope: *mut ffi::PyObject,
    in_step: bool,
    unsampled: *const Context,
    quiet: u32,
    token: *mut ffi::PyObject,
    started: u64,
}

/// Begins a step: the fragment becomes the thread's open tree. `None`: this step is not recorded.
unsafe fn enter(object: *mut Stepped) -> Option<Outer> {
    // SAFETY: a live object of ours, with the GIL held.
    unsafe {
        let state = &mut *state();
        let run = &mut *(*object).run;
        let started = Clock::ticks();
        let silent = state.quiet != 0 && state.unsampled.is_null();
        if matches!(run.stage, Stage::Ended)
            || matches!(run.stage, Stage::Fresh) && (silent || crate::status::is_off())
        {
            return None;
        }
        let mut outer = Outer {
            tree: state.tree,
            scope: state.scope,
            in_step: state.in_step,
            unsampled: state.unsampled,
            quiet: state.quiet,
            token: ptr::null_mut(),
            started,
        };
        if let Stage::Fresh = run.stage {
            let parent = run.parent.take().or_else(|| state.capture());
            state.tree = ptr::null_mut();
            state.in_step = true;
            let root = Root {
                role: run.role,
                tick: started,
                parent: &parent,
            };
            run.stage = match state.begin_root(&root) {
                Begun::Recording(root) => Stage::Open {
                    tree: state.tree,
                    root,
                },
                Begun::SampledOut(context) => {
                    crate::state::pass_on(&context);
                    Stage::SampledOut(context)
                }
            };
        } else if let Some(id) = run.place() {
            otel::resume(id);
        }
        match &run.stage {
            Stage::Open { tree, .. } => {
                (state.tree, state.unsampled, state.quiet) = (*tree, ptr::null(), 0);
            }
            Stage::SampledOut(context) => {
                (state.tree, state.unsampled, state.quiet) =
                    (ptr::null_mut(), &raw const **context, 1);
            }
            Stage::Fresh | Stage::Ended => {}
        }
        state.in_step = true;
        if run.returns != Returns::Generator {
            outer.token = set_context(object, state);
        }
        Some(outer)
    }
}

unsafe fn set_context(object: *mut Stepped, state: &mut ThreadState) -> *mut ffi::PyObject {
    // SAFETY: a live object of ours; the context is kept for all steps.
    unsafe {
        if (*object).context.is_null()
            && let Some(place) = state.capture()
        {
            (*object).context = context::new_object(place);
        }
        context::set((*object).context)
    }
}

/// Ends a step. An exception that is pending stays so.
unsafe fn leave(object: *mut Stepped, outer: Outer, ended: Ended) {
    // SAFETY: as in `enter`, by the thread that entered.
    unsafe {
        let state = &mut *state();
        let run = &mut *(*object).run;
        let tick = Clock::ticks();
        run.active_ticks += tick.saturating_sub(outer.started);
        if ended != Ended::No {
            finish(run, state, tick, ended);
        }
        if let Some(id) = run.place() {
            otel::suspend(id);
        }
        if let Stage::Open { tree, .. } = &mut run.stage {
            // Null when the interpreter's exit has let the fragment go meanwhile.
            *tree = state.tree;
        }
        (state.tree, state.unsampled, state.quiet) = (outer.tree, outer.unsampled, outer.quiet);
        (state.scope, state.in_step) = (outer.scope, outer.in_step);
        if !outer.token.is_null() {
            let failed = (!ffi::PyErr_Occurred().is_null()).then(Pending::take);
            context::reset(outer.token);
            if let Some(pending) = failed {
                pending.restore();
            }
        }
    }
}

/// Whether and how a step was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    No,
    Returned,
    /// By the exception that is pending.
    Raised,
}

/// Closes the root while its fragment is the thread's open tree.
fn finish(run: &mut Run, state: &mut ThreadState, tick: u64, ended: Ended) {
    let root = match std::mem::replace(&mut run.stage, Stage::Ended) {
        Stage::Open { root, .. } => root,
        Stage::SampledOut(context) => return otel::leave(context.span_id),
        Stage::Fresh | Stage::Ended => return,
    };
    if ended == Ended::Raised {
        record_pending(state, root, tick);
    }
    if let Some(tree) = state.open() {
        let active = hiq_core::time::Clock::scale_at(tick).nanos(run.active_ticks);
        let key = symbol("hiq.active_ns").unwrap_or(Symbol::EMPTY);
        if let Some(index) = tree.index_of_open(root) {
            tree.builder()
                .set_attribute(index, key, ValueRef::Int(active.cast_signed()));
        }
    }
    state.end(root, tick);
}

/// Sends `value` into the coroutine or generator, as one step of it.
unsafe extern "C" fn send_slot(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: the interpreter passes an object of ours and a place for the result.
    unsafe {
        let me = object.cast::<Stepped>();
        let outer = enter(me);
        let sent = ffi::PyIter_Send((*me).inner, value, result);
        if let Some(outer) = outer {
            let ended = match sent {
                ffi::PySendResult::PYGEN_NEXT => Ended::No,
                ffi::PySendResult::PYGEN_RETURN => Ended::Returned,
                ffi::PySendResult::PYGEN_ERROR => Ended::Raised,
            };
            leave(me, outer, ended);
        }
        sent
    }
}

unsafe extern "C" fn next_slot(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`.
    unsafe {
        let mut result = ptr::null_mut();
        let sent = send_slot(object, ffi::Py_None(), &raw mut result);
        as_iteration(sent, result)
    }
}

/// What an iterator answers: a value, or nothing with `StopIteration` carrying what was returned.
unsafe fn as_iteration(sent: ffi::PySendResult, result: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: `result` is a new reference or null, as `PyIter_Send` leaves it.
    unsafe {
        match sent {
            ffi::PySendResult::PYGEN_NEXT => result,
            ffi::PySendResult::PYGEN_ERROR => ptr::null_mut(),
            ffi::PySendResult::PYGEN_RETURN => {
                if result != ffi::Py_None() {
                    // An instance, since a bare tuple or exception would be taken for arguments or for the exception itself.
                    let stop = ffi::PyObject_CallOneArg(ffi::PyExc_StopIteration, result);
                    if !stop.is_null() {
                        ffi::PyErr_SetObject(ffi::PyExc_StopIteration, stop);
                        ffi::Py_DECREF(stop);
                    }
                }
                ffi::Py_DECREF(result);
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn send_method(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`.
    unsafe {
        let mut result = ptr::null_mut();
        let sent = send_slot(object, value, &raw mut result);
        let answer = as_iteration(sent, result);
        if answer.is_null() && ffi::PyErr_Occurred().is_null() {
            // A method, unlike the slot, must say StopIteration aloud.
            ffi::PyErr_SetNone(ffi::PyExc_StopIteration);
        }
        answer
    }
}

unsafe extern "C" fn throw_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`; the arguments are passed on as they are.
    unsafe {
        let me = object.cast::<Stepped>();
        let outer = enter(me);
        let result = call_inner((*me).inner, c"throw", args, count, names);
        if let Some(outer) = outer {
            leave(me, outer, ended_by_method(result));
        }
        result
    }
}

/// A null result ends the work: by `StopIteration`, which is a return, or by another exception.
unsafe fn ended_by_method(result: *mut ffi::PyObject) -> Ended {
    // SAFETY: called with the GIL; a null result comes with an exception.
    unsafe {
        if !result.is_null() {
            Ended::No
        } else if ffi::PyErr_ExceptionMatches(ffi::PyExc_StopIteration) != 0 {
            Ended::Returned
        } else {
            Ended::Raised
        }
    }
}

unsafe extern "C" fn close_method(
    object: *mut ffi::PyObject,
    _unused: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `send_slot`.
    unsafe {
        let me = object.cast::<Stepped>();
        // Closing what never ran makes no span.
        let outer = if matches!((*(*me).run).stage, Stage::Fresh) {
            None
        } else {
            enter(me)
        };
        let result = call_inner((*me).inner, c"close", ptr::null(), 0, ptr::null_mut());
        match outer {
            Some(outer) => leave(
                me,
                outer,
                if result.is_null() {
                    Ended::Raised
                } else {
                    Ended::Returned
                },
            ),
            None => (*(*me).run).stage = Stage::Ended,
        }
        result
    }
}

/// Calls a method of the inner object with vectorcall arguments.
unsafe fn call_inner(
    inner: *mut ffi::PyObject,
    name: &std::ffi::CStr,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: live objects; a method that is missing leaves its AttributeError.
    unsafe {
        let method = ffi::PyObject_GetAttrString(inner, name.as_ptr());
        if method.is_null() {
            return ptr::null_mut();
        }
        let result = ffi::PyObject_Vectorcall(method, args, count.cast_unsigned(), names);
        ffi::Py_DECREF(method);
        result
    }
}

unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live object from the interpreter.
    unsafe { ffi::Py_INCREF(object) };
    object
}

/// Our methods, else what the inner object answers: `cr_frame`, `__name__`, `__class__`.
unsafe extern "C" fn get_attribute(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    const OURS: [&str; 11] = [
        "send",
        "throw",
        "close",
        "__await__",
        "__next__",
        "__iter__",
        "asend",
        "athrow",
        "aclose",
        "__anext__",
        "__aiter__",
    ];
    // SAFETY: live objects from the interpreter.
    unsafe {
        let inner = (*object.cast::<Stepped>()).inner;
        // An attribute that the inner object lacks is not ours to add.
        if OURS.iter().any(|ours| object::is_name(name, ours))
            && ffi::PyObject_HasAttr(inner, name) != 0
        {
            return ffi::PyObject_GenericGetAttr(object, name);
        }
        ffi::PyObject_GetAttr(inner, name)
    }
}

unsafe extern "C" fn set_attribute(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: live objects from the interpreter.
    unsafe { ffi::PyObject_SetAttr((*object.cast::<Stepped>()).inner, name, value) }
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live object from the interpreter.
    unsafe { ffi::PyObject_Repr((*object.cast::<Stepped>()).inner) }
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector with a live object of ours.
    unsafe {
        let me = object.cast::<Stepped>();
        for part in [ffi::Py_TYPE(object).cast(), (*me).inner, (*me).context] {
            if !part.is_null() {
                let found = visit(part, arg);
                if found != 0 {
                    return found;
                }
            }
        }
    }
    0
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector. The inner object stays until deallocation, where its clean-up code runs as a step.
    unsafe {
        let me = object.cast::<Stepped>();
        let context = std::mem::replace(&mut (*me).context, ptr::null_mut());
        ffi::Py_XDECREF(context);
    }
    0
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. The inner object's clean-up code runs while it is let go, as the last step.
    unsafe {
        let me = object.cast::<Stepped>();
        ffi::PyObject_GC_UnTrack(object.cast());
        if !(*me).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        let pending = (!ffi::PyErr_Occurred().is_null()).then(Pending::take);
        let outer = if matches!(
            (*(*me).run).stage,
            Stage::Open { .. } | Stage::SampledOut(_)
        ) {
            enter(me)
        } else {
            None
        };
        let inner = std::mem::replace(&mut (*me).inner, ptr::null_mut());
        ffi::Py_XDECREF(inner);
        if let Some(outer) = outer {
            leave(me, outer, Ended::Returned);
        }
        if let Some(pending) = pending {
            pending.restore();
        }
        OPEN.lock().remove(me as usize);
        drop(Box::from_raw((*me).run));
        ffi::Py_XDECREF((*me).context);
        object::free(object);
    }
}

/// Makes the types of coroutines and generators and adds them to the module.
pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    make(
        module,
        &COROUTINE,
        c"hiq._hiq.TracedCoroutine",
        slot(ffi::Py_am_await, itself as *mut c_void),
    )?;
    make(
        module,
        &GENERATOR,
        c"hiq._hiq.TracedGenerator",
        slot(ffi::Py_tp_iter, itself as *mut c_void),
    )
}

fn make(
    module: &Bound<'_, PyModule>,
    cell: &object::TypeCell,
    name: &'static std::ffi::CStr,
    own: ffi::PyType_Slot,
) -> PyResult<()> {
    let methods = Box::leak(Box::new([
        method(c"send", send_method, ffi::METH_O),
        fast_method(c"throw", throw_method),
        method(c"close", close_method, ffi::METH_NOARGS),
        ffi::PyMethodDef::zeroed(),
    ]));
    let mut slots = [
        own,
        slot(ffi::Py_am_send, send_slot as *mut c_void),
        slot(ffi::Py_tp_iternext, next_slot as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, weak_reference_members().cast()),
        slot(ffi::Py_tp_getattro, get_attribute as *mut c_void),
        slot(ffi::Py_tp_setattro, set_attribute as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let flags =
        ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    cell.make(module, name, size_of::<Stepped>(), flags, &mut slots)
}

fn weak_reference_members() -> *mut ffi::PyMemberDef {
    Box::leak(Box::new([
        offset_member(
            c"__weaklistoffset__",
            std::mem::offset_of!(Stepped, weak_references),
        ),
        object::END_OF_MEMBERS,
    ]))
    .as_mut_ptr()
}
