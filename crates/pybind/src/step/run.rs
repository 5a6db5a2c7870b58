//! One step: of a fragment, which becomes the thread's open tree and is taken away again, or, the first one, in the tree of the
//! caller.
#![allow(
    unsafe_code,
    reason = "the objects' memory and the thread's state, used with the GIL held"
)]

use std::ptr;
use std::sync::OnceLock;

use hiq_core::context::Context;
use hiq_core::fork;
use hiq_core::id::SpanId;
use hiq_core::intern::{Symbol, symbol};
use hiq_core::record::OpenTree;
use hiq_core::time::Clock;
use hiq_core::tree::{Mark, Role};
use hiq_core::value::ValueRef;
use pyo3::ffi;

use super::{OPEN, Stepped, forget};
use crate::context::{self, Attached, Placed};
use crate::exception::record_pending;
use crate::loaded;
use crate::open;
use crate::otel;
use crate::runtime;
use crate::state::{Opened, Parent, Root, ThreadState, context_of, state};
use crate::tasks;
use crate::wrap::Returns;

/// The recording of one coroutine or generator.
pub(super) struct Run {
    role: Role,
    returns: Returns,
    /// Where the coroutine function was called.
    pub(super) parent: Option<Context>,
    pub(super) stage: Stage,
    active_ticks: u64,
    /// What `suppress()` is open in it: that of its own steps.
    quiet: u32,
    /// It is in the middle of a step.
    is_running: bool,
}

pub(super) enum Stage {
    /// No step has been made.
    Fresh,
    /// It makes its first step, in the open tree of its caller. Never between steps.
    Inside { id: SpanId, began: Mark },
    /// Its fragment, taken away from the thread between steps.
    Open { tree: *mut OpenTree, root: SpanId },
    /// Its root was sampled out: steps are silent and pass the decision on.
    SampledOut(Box<Context>),
    /// Its span has ended.
    Ended,
}

impl Run {
    #[inline]
    pub(super) fn new(role: Role, returns: Returns) -> Self {
        Self {
            role,
            returns,
            parent: None,
            stage: Stage::Fresh,
            active_ticks: 0,
            quiet: 0,
            is_running: false,
        }
    }

    /// The id that it passes on while it runs.
    fn place(&self) -> Option<SpanId> {
        match &self.stage {
            Stage::Open { root, .. } => Some(*root),
            Stage::SampledOut(context) => Some(context.span_id),
            Stage::Fresh | Stage::Inside { .. } | Stage::Ended => None,
        }
    }

    /// The place of its first step is not made before somebody asks: it is that of its root, which nothing is attached around.
    fn may_wait_with_its_place(&self) -> bool {
        let is_open = matches!(self.stage, Stage::Open { .. });
        is_open && self.returns != Returns::Generator && !loaded::opentelemetry()
    }

    /// Its fragment has the span open. Between steps.
    fn has_open(&self, id: SpanId) -> bool {
        let Stage::Open { tree, .. } = &self.stage else {
            return false;
        };
        // SAFETY: null, or the fragment, which nothing else is in with the GIL held.
        unsafe { tree.as_ref() }.is_some_and(|tree| tree.index_of_open(id).is_some())
    }

    /// The span begins in the thread's open tree, as that of a plain call does, where the function was called by the innermost
    /// open span.
    fn begin_inside(&mut self, state: &ThreadState, tick: u64) -> bool {
        if !state.is_plain() || loaded::opentelemetry() {
            return false;
        }
        let called_in = self.parent.as_ref().map(|place| place.span_id);
        let begun = state.with_tree(|tree| {
            if called_in.is_some_and(|caller| caller != tree.current_id()) {
                return None;
            }
            let began = tree.mark();
            Some((tree.start(self.role, tick), began))
        });
        let Some((started, began)) = begun.flatten() else {
            return false;
        };
        if started.split_due {
            state.split();
        }
        self.stage = Stage::Inside {
            id: started.id,
            began,
        };
        true
    }
}

/// What the thread was doing when a step began.
pub(super) struct Outer {
    tree: *mut OpenTree,
    scope: *mut ffi::PyObject,
    task: *mut ffi::PyObject,
    in_step: bool,
    unsampled: *const Context,
    quiet: u32,
    /// What is attached for the step.
    placed: Placed,
    started: u64,
    /// The process that it was doing it in.
    process: u32,
}

/// Begins a step: the fragment becomes the thread's open tree. `None`: this step is not recorded.
pub(super) unsafe fn enter(object: *mut Stepped) -> Option<Outer> {
    // SAFETY: a live object of ours, with the GIL held.
    unsafe {
        let state = state();
        let run = &mut (*object).run;
        let started = Clock::ticks();
        let silent = state.is_silent() && state.unsampled.get().is_null();
        // A step inside a step fails.
        if run.is_running
            || matches!(run.stage, Stage::Ended)
            || matches!(run.stage, Stage::Fresh) && (silent || crate::status::is_off())
        {
            return None;
        }
        let mut outer = Outer {
            tree: state.tree.get(),
            scope: state.scope.get(),
            task: state.task.get(),
            in_step: state.in_step.get(),
            unsampled: state.unsampled.get(),
            quiet: state.quiet.get(),
            placed: Placed::NOTHING,
            started,
            process: fork::generation(),
        };
        let mut attached = None;
        let is_first = matches!(run.stage, Stage::Fresh);
        if is_first {
            if !run.begin_inside(state, started) {
                attached = Some(begin(object, state, started));
            }
        } else if let Some(id) = run.place() {
            otel::resume(id);
        }
        match &run.stage {
            Stage::Open { tree, .. } => {
                state.tree.set(*tree);
                state.unsampled.set(ptr::null());
                state.quiet.set(run.quiet);
            }
            Stage::SampledOut(context) => {
                state.tree.set(ptr::null_mut());
                state.unsampled.set(&raw const **context);
                state.quiet.set(1 + run.quiet);
            }
            Stage::Fresh | Stage::Inside { .. } | Stage::Ended => {}
        }
        state.in_step.set(true);
        state.task.set(tasks::running());
        run.is_running = true;
        let attached = attached.unwrap_or_else(Attached::now);
        outer.placed = if is_first && attached.is_nothing() && run.may_wait_with_its_place() {
            Placed::of_first_step(object)
        } else {
            if run.returns != Returns::Generator {
                make_context(object, state, &attached);
            }
            Placed::instead_of(attached.object(), (*object).context)
        };
        Some(outer)
    }
}

/// The first step: opens a fragment. Returns what is attached around it.
unsafe fn begin(object: *mut Stepped, state: &ThreadState, tick: u64) -> Attached {
    // SAFETY: as in `enter`.
    unsafe {
        let run = &mut (*object).run;
        let attached = Attached::now();
        let parent = if run.parent.is_some() {
            run.parent.take()
        } else {
            state.capture_with(&attached)
        };
        let root = Root {
            role: run.role,
            tick,
            parent: Parent::Given(parent.as_ref()),
        };
        run.stage = match state.open_root(&root) {
            Opened::Tree(tree, root) => {
                OPEN.borrow().add(object);
                Stage::Open { tree, root }
            }
            Opened::SampledOut(context) => {
                crate::state::pass_on(&context);
                Stage::SampledOut(context)
            }
        };
        state.scope.set(attached.object());
        attached
    }
}

unsafe fn make_context(object: *mut Stepped, state: &ThreadState, attached: &Attached) {
    // SAFETY: a live object of ours; the context is kept for all steps.
    unsafe {
        if (*object).context.is_null()
            && let Some(place) = place(&mut (*object).run, state, attached)
        {
            (*object).context = context::new_object(place);
        }
    }
}

/// The context object of a first step that had none made, for whoever asks; borrowed. Null when its fragment is gone.
pub(crate) unsafe fn place_object(object: *mut Stepped) -> *mut ffi::PyObject {
    // SAFETY: a live object of ours in the middle of a step, with the GIL held.
    unsafe {
        make_place(object, false);
        (*object).context
    }
}

/// In a forked child: makes what was not made before the fork.
pub(super) unsafe fn make_place_in_child(object: *mut Stepped) {
    // SAFETY: a live object of ours, with the GIL held.
    unsafe {
        if (*object).run.is_running && (*object).run.returns != Returns::Generator {
            make_place(object, true);
        }
    }
}

unsafe fn make_place(object: *mut Stepped, is_remote: bool) {
    // SAFETY: a live object of ours, with the GIL held; nothing is in its fragment meanwhile.
    unsafe {
        if (*object).context.is_null()
            && let Stage::Open { tree, root } = (*object).run.stage
            && let Some(tree) = tree.as_ref()
        {
            let mut place = tree.context();
            (place.span_id, place.is_remote) = (root, is_remote);
            (*object).context = context::new_object(place);
        }
    }
}

/// Where what is begun inside the first step hangs.
fn place(run: &mut Run, state: &ThreadState, attached: &Attached) -> Option<Context> {
    match (&run.stage, run.parent.take()) {
        // It is in the tree of its caller.
        (Stage::Inside { id, .. }, Some(mut place)) => {
            (place.span_id, place.baggage) = (*id, attached.baggage());
            Some(place)
        }
        (Stage::Open { .. } | Stage::Inside { .. }, _) => {
            state.with_tree(|tree| context_of(tree, attached))
        }
        (Stage::SampledOut(context), _) => Some((**context).clone()),
        (Stage::Fresh | Stage::Ended, _) => None,
    }
}

/// Ends a step. An exception that is pending stays so.
pub(super) unsafe fn leave(object: *mut Stepped, outer: Outer, ended: Ended) {
    // SAFETY: as in `enter`, by the thread that entered.
    unsafe {
        let state = state();
        let tick = Clock::ticks();
        // What is recorded of an exception runs code of the program's, which may ask, as OpenTelemetry's side may.
        let is_needed = ended != Ended::Returned || loaded::opentelemetry();
        outer.placed.settle(is_needed);
        let run = &mut (*object).run;
        run.active_ticks += tick.saturating_sub(outer.started);
        let was_inside = matches!(run.stage, Stage::Inside { .. });
        if ended != Ended::No {
            forget(object);
            finish(run, state, tick, ended);
        }
        if let Some(id) = run.place() {
            otel::suspend(id);
        }
        if let Stage::Inside { id, began } = run.stage {
            wait(object, state, (id, began), outer.process);
        } else if !was_inside {
            if let Stage::Open { tree, .. } = &mut run.stage {
                // Null when the interpreter's exit has let the fragment go meanwhile.
                *tree = state.tree.get();
            }
            outer.take_tree_back(state);
        }
        run.quiet = match run.stage {
            Stage::SampledOut(_) => state.quiet.get().saturating_sub(1),
            _ => state.quiet.get(),
        };
        state.unsampled.set(outer.unsampled);
        state.task.set(outer.task);
        state.quiet.set(outer.quiet);
        state.in_step.set(outer.in_step);
        run.is_running = false;
        if outer.placed.is_unread() {
            outer.placed.take_back_unread();
            return;
        }
        let now = context::attached_object();
        if now != (*object).context {
            keep_context(object, now, outer.placed.before());
        }
        outer.placed.take_back(now);
    }
}

/// What is attached at the end of a step is so again in the next one: the place of a block that was entered or left in it.
#[cold]
unsafe fn keep_context(object: *mut Stepped, now: *mut ffi::PyObject, outer: *mut ffi::PyObject) {
    // SAFETY: a live object of ours, and what is attached, which is alive.
    unsafe {
        let run = &(*object).run;
        // A plain generator has no place of its own attached: what is, unless it is a block of its own, is its caller's.
        let is_own = run.returns != Returns::Generator
            || now != outer && context::span_id(now).is_some_and(|id| run.has_open(id));
        let kept = if is_own { now } else { ptr::null_mut() };
        ffi::Py_XINCREF(kept);
        ffi::Py_XDECREF(std::mem::replace(&mut (*object).context, kept));
    }
}

impl Outer {
    fn take_tree_back(&self, state: &ThreadState) {
        // In a forked child the tree is the parent process's.
        let is_ours = self.process == fork::generation();
        state.put_back(if is_ours { self.tree } else { ptr::null_mut() });
        state.scope.set(self.scope);
    }
}

/// After a first step in the caller's tree there are more to come, while the caller goes on: from here on it has a fragment of
/// its own.
#[cold]
unsafe fn wait(
    object: *mut Stepped,
    state: &ThreadState,
    (id, began): (SpanId, Mark),
    process: u32,
) {
    // SAFETY: as in `enter`.
    unsafe {
        let run = &mut (*object).run;
        if process != fork::generation() {
            // The parent process has the span. What the child makes of the rest hangs where the child began.
            run.parent.clone_from(&runtime::current().parent);
            run.stage = Stage::Fresh;
            return;
        }
        // Not there: something outside it was ended during the step, and the span with it.
        let own = state.with_tree(|tree| tree.detach(id, began)).flatten();
        run.stage = own.map_or(Stage::Ended, |own| Stage::Open {
            tree: open::keep(own),
            root: id,
        });
        if let Stage::Open { .. } = run.stage {
            OPEN.borrow().add(object);
        }
    }
}

/// Whether and how a step was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    No,
    Returned,
    /// By the exception that is pending.
    Raised,
}

/// Closes the span in the thread's open tree.
fn finish(run: &mut Run, state: &ThreadState, tick: u64, ended: Ended) {
    let id = match std::mem::replace(&mut run.stage, Stage::Ended) {
        Stage::Open { root, .. } => root,
        Stage::Inside { id, .. } => id,
        Stage::SampledOut(context) => return otel::leave(context.span_id),
        Stage::Fresh | Stage::Ended => return,
    };
    if ended == Ended::Raised {
        record_pending(state, id, tick);
    }
    state.with_open_span(id, |builder, index| {
        let active = builder.scale().nanos(run.active_ticks);
        let value = ValueRef::Int(active.cast_signed());
        builder.set_attribute(index, active_key(), value);
    });
    state.end(id, tick);
}

fn active_key() -> Symbol {
    static KEY: OnceLock<Symbol> = OnceLock::new();
    *KEY.get_or_init(|| symbol("hiq.active_ns").unwrap_or(Symbol::EMPTY))
}
