//! What each thread knows: its open tree, and why it may be silent.
//!
//! Every function here needs the GIL; with it, no two threads touch one [`ThreadState`] at the same time.
#![allow(
    unsafe_code,
    reason = "per-thread state behind a raw pointer, guarded by the GIL"
)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::Arc;

use hiq_core::context::Context;
use hiq_core::fork;
use hiq_core::id::{SpanId, TraceId, reseed_thread};
use hiq_core::record::OpenTree;
use hiq_core::tree::{Origin, Role, SpanTree, TreeBuilder};
use pyo3::ffi;

use crate::context::{self, Attached, PyContext};
use crate::driver;
use crate::exception::LastException;
use crate::greenlets;
use crate::loaded;
use crate::open;
use crate::otel;
use crate::runtime::{self, Runtime};
use crate::step;
use crate::tasks;

mod threads;

pub(crate) use threads::{finish_all_threads, forget_tree, thread};

/// The recorder's view of one thread. Cells, since a call into Python may come back here: nothing of it is ever borrowed
/// meanwhile.
pub(crate) struct ThreadState {
    /// The open tree that calls are recorded in; null: the next call is a root.
    pub(crate) tree: Cell<*mut OpenTree>,
    /// What the ContextVar held when that tree was opened: where it holds something else, another task is running.
    pub(crate) scope: Cell<*mut ffi::PyObject>,
    /// The task in which that tree was put in its place by a call or step: a block that is entered in the same one is left
    /// before that ends. Null outside of tasks.
    pub(crate) task: Cell<*mut ffi::PyObject>,
    /// The context that `threading` runs the thread in, from CPython 3.14 on: what runs in that one is no task. Null before.
    pub(crate) home: Cell<*mut ffi::PyObject>,
    /// Above zero, nothing is recorded: inside `suppress()`, our own callbacks, and sampled-out roots.
    pub(crate) quiet: Cell<u32>,
    /// Open `with` blocks of tasks, between whose steps others may run: while there are any, each call looks at the ContextVar.
    pub(crate) task_blocks: Cell<u32>,
    /// How many of these record nothing at all: `suppress()` of tasks.
    pub(crate) silences: Cell<u32>,
    /// True while a coroutine or generator of ours makes a step: the tree is its own.
    pub(crate) in_step: Cell<bool>,
    /// What is propagated while a sampled-out root runs; null otherwise.
    pub(crate) unsampled: Cell<*const Context>,
    /// The context that a job of a pool, or another `Context.run`, is run with; null outside of these.
    pub(crate) job: Cell<*const PyContext>,
    /// The exception that passed a span last, so that its text is made once.
    pub(crate) exception: Cell<LastException>,
    /// Tells threads apart for as long as the process lives; zero until the first root.
    pub(crate) number: Cell<u64>,
    /// The thread's greenlets are followed.
    pub(crate) watches_greenlets: Cell<bool>,
    /// The process that this state was last used in.
    generation: Cell<u32>,
}

thread_local! {
    // Without a destructor, so that an access is one address calculation.
    static STATE: ManuallyDrop<ThreadState> = const {
        ManuallyDrop::new(ThreadState {
            tree: Cell::new(ptr::null_mut()),
            scope: Cell::new(ptr::null_mut()),
            task: Cell::new(ptr::null_mut()),
            home: Cell::new(ptr::null_mut()),
            quiet: Cell::new(0),
            task_blocks: Cell::new(0),
            silences: Cell::new(0),
            in_step: Cell::new(false),
            unsampled: Cell::new(ptr::null()),
            job: Cell::new(ptr::null()),
            exception: Cell::new(LastException::NONE),
            number: Cell::new(0),
            watches_greenlets: Cell::new(false),
            generation: Cell::new(0),
        })
    };
}

/// The calling thread's state. Valid until the thread ends; use it with the GIL held.
#[inline(always)]
pub(crate) fn state<'a>() -> &'a ThreadState {
    // SAFETY: it has no destructor, so it is there until the thread has ended, which its callers, with the GIL, outlive not.
    STATE.with(|state| unsafe { &*ptr::from_ref(state) })
}

impl ThreadState {
    /// The thread's number, which it gets when it is first asked for.
    pub(crate) fn number(&self) -> u64 {
        if self.number.get() == 0 {
            self.register();
        }
        self.number.get()
    }

    /// True inside `suppress()`, our own callbacks, and sampled-out roots.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.quiet.get() != 0
            || self.silences.get() != 0 && !self.in_step.get() && crate::block::is_silenced()
    }

    /// False when the next call may not simply be recorded in the open tree.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.quiet.get() | self.task_blocks.get() == 0
    }

    /// True when the open tree was opened in another task than the one that runs now.
    pub(crate) fn is_of_another_task(&self) -> bool {
        self.task_blocks.get() != 0
            && !self.in_step.get()
            && !self.tree.get().is_null()
            && self.is_other_than_scope(&Attached::now())
    }

    fn is_other_than_scope(&self, attached: &Attached) -> bool {
        let is_copy = |tree: &mut OpenTree| context::is_copied_under(tree.root_id(), attached);
        self.scope.get() != attached.object() && self.with_tree(is_copy) != Some(true)
    }

    /// The root that is open in this thread, recorded or sampled out.
    pub(crate) fn own_root(&self) -> Option<SpanId> {
        // SAFETY: set only while the sampled-out root that owns the context is running.
        let unsampled = unsafe { self.unsampled.get().as_ref() };
        let root = self.with_tree(|tree| tree.root_id());
        root.or_else(|| unsampled.map(|context| context.span_id))
    }

    /// A fork inside C code (uWSGI's) runs none of Python's hooks: it is seen here, before the first root of the child.
    #[cold]
    fn note_generation(&self) {
        let before = self.generation.replace(fork::generation());
        if before != 0 {
            step::after_fork_in_child();
            crate::block::after_fork_in_child();
            after_fork_in_child();
        }
    }

    /// True when the running task does not record in the open tree, and a [`Turn`](crate::block::Turn) finds out where it does.
    #[inline]
    pub(crate) fn needs_a_turn(&self) -> bool {
        self.task_blocks.get() != 0 && (self.tree.get().is_null() || self.is_of_another_task())
    }

    /// Calls `then` with the open tree. It must not come to Python, which may come back here and end the tree.
    #[inline]
    pub(crate) fn with_tree<R>(&self, then: impl FnOnce(&mut OpenTree) -> R) -> Option<R> {
        // SAFETY: the pointer is null or that of a boxed tree, which nothing but `then` is in meanwhile.
        unsafe { self.tree.get().as_mut() }.map(then)
    }

    /// The same with the open span `id` of it.
    pub(crate) fn with_open_span<R>(
        &self,
        id: SpanId,
        then: impl FnOnce(&mut TreeBuilder, u32) -> R,
    ) -> Option<R> {
        self.with_tree(|tree| {
            let index = tree.index_of_open(id)?;
            Some(then(tree.builder(), index))
        })?
    }

    /// Where a span would be recorded now, for other threads, tasks and processes.
    pub(crate) fn capture(&self) -> Option<Context> {
        self.capture_with(&Attached::now())
    }

    /// The same for who knows what is attached.
    pub(crate) fn capture_with(&self, attached: &Attached) -> Option<Context> {
        if loaded::opentelemetry() {
            return self.capture_beside_opentelemetry(attached);
        }
        // Most roots: asked before, since an `Option` of a place is large, and is moved whole when there is none in it.
        let is_nowhere =
            self.tree.get().is_null() && self.unsampled.get().is_null() && attached.is_nothing();
        if !is_nowhere && let Some(place) = self.own_place(attached) {
            return Some(place);
        }
        runtime::current().parent.clone()
    }

    #[cold]
    fn capture_beside_opentelemetry(&self, attached: &Attached) -> Option<Context> {
        let (foreign, ours) = beside_opentelemetry();
        let place = foreign.or_else(|| self.own_place(attached)).or(ours);
        place.or_else(|| runtime::current().parent.clone())
    }

    /// The innermost place that we know of ourselves.
    pub(crate) fn own_place(&self, attached: &Attached) -> Option<Context> {
        if !self.is_of_another_task()
            && let Some(context) = self.with_tree(|tree| context_of(tree, attached))
        {
            return Some(context);
        }
        // SAFETY: set only while the sampled-out root that owns the context is running.
        match unsafe { self.unsampled.get().as_ref() } {
            Some(unsampled) => Some(unsampled.clone()),
            None => attached.context(),
        }
    }

    /// The same for what hangs there and has no use for its baggage.
    pub(crate) fn capture_parent(&self) -> Option<Context> {
        if self.is_plain()
            && !loaded::opentelemetry()
            && let Some(context) = self.with_tree(|tree| tree.context())
        {
            return Some(context);
        }
        self.capture()
    }

    /// Closes the innermost span, which should be `id`; completes the tree with its root.
    #[inline]
    pub(crate) fn end(&self, id: SpanId, tick: u64) {
        if self.with_tree(|tree| tree.end(id, tick)) == Some(true) {
            self.complete();
        }
    }

    /// The same, forgetting a leaf that took less than `min_ticks`.
    pub(crate) fn end_or_forget(&self, id: SpanId, tick: u64, min_ticks: u64) {
        if min_ticks > 0 {
            let forgotten = self.with_tree(|tree| tree.forget_short_leaf(id, tick, min_ticks));
            if forgotten == Some(true) {
                return;
            }
            let is_lone = self.with_tree(|tree| tree.is_short_lone_root(id, tick, min_ticks));
            if is_lone == Some(true) {
                drop(self.take_tree());
                otel::leave(id);
                return;
            }
        }
        self.end(id, tick);
    }

    /// Hands the complete tree on. Apart, since it needs much stack, which calls inside a tree would take at each level.
    #[cold]
    #[inline(never)]
    fn complete(&self) {
        let tree = self.tree.replace(ptr::null_mut());
        // SAFETY: the slot's own tree, which it has just given up.
        if let Some((root, tree)) = unsafe { open::finish(tree) } {
            otel::leave(root);
            deliver(tree);
        }
    }

    /// Takes the open tree away from the thread.
    pub(crate) fn take_tree(&self) -> Option<OpenTree> {
        let tree = self.tree.replace(ptr::null_mut());
        // SAFETY: the slot's own tree, which it has just given up.
        unsafe { open::take(tree) }
    }

    /// Puts back what the slot held before; nothing, if that has ended meanwhile.
    #[inline]
    pub(crate) fn put_back(&self, tree: *mut OpenTree) {
        // SAFETY: what a slot held, which was put aside.
        self.tree.set(unsafe { open::still_open(tree) });
    }

    /// Lets finished spans of a long-running root go.
    #[cold]
    #[inline(never)]
    pub(crate) fn split(&self) {
        if let Some(fragment) = self.with_tree(OpenTree::split).flatten() {
            deliver(fragment);
        }
    }

    /// Begins a root: decides on sampling and opens its tree.
    pub(crate) fn begin_root(&self, root: &Root<'_>) -> Begun {
        match self.open_root(root) {
            Opened::Tree(tree, id) => {
                self.tree.set(tree);
                self.task.set(tasks::running());
                let is_alone = self.task_blocks.get() == 0 && !self.in_step.get();
                self.scope.set(if is_alone {
                    ptr::null_mut()
                } else {
                    context::attached_object()
                });
                Begun::Recording(id)
            }
            Opened::SampledOut(context) => Begun::SampledOut(context),
        }
    }

    /// The same for whoever keeps the tree itself.
    pub(crate) fn open_root(&self, root: &Root<'_>) -> Opened {
        if self.number.get() == 0 {
            self.register();
        }
        if !self.watches_greenlets.get() && loaded::greenlet() {
            greenlets::watch(self);
        }
        if self.generation.get() != fork::generation() {
            self.note_generation();
        }
        let runtime = runtime::current();
        let attached = match root.parent {
            Parent::Attached => attached(),
            Parent::Given(_) => None,
        };
        let parent = match root.parent {
            Parent::Attached => attached.as_ref().or(runtime.parent.as_ref()),
            Parent::Given(parent) => parent,
        };
        let parent = parent.filter(|parent| parent.counts());
        let place = parent.filter(|parent| parent.is_valid());
        let trace_id = place.map_or_else(TraceId::random, |place| place.trace_id);
        let sampled = runtime.sample(parent, trace_id);
        if !sampled && root.role.drivers == 0 && !runtime.records_sampled_out() {
            runtime.count_sampled_out();
            return Opened::SampledOut(Box::new(Context::local(trace_id, SpanId::next(), 0)));
        }
        // Asked before: names of tasks may be told by Python code.
        let task = (runtime.names_tasks && !tasks::running().is_null())
            .then(tasks::name)
            .flatten();
        // Written where it is kept: a tree that is changed before is moved there.
        let tree = open::keep(open_tree(runtime, root, parent, (trace_id, sampled)));
        if let Some(name) = task {
            // SAFETY: it is kept by nobody else yet.
            unsafe { (*tree).builder() }.set_task(&name);
        }
        // SAFETY: it is kept by nobody else yet, and what is made of it is a copy.
        let id = unsafe { (*tree).current_id() };
        // Spans that nobody exports are no parents for others.
        if runtime.pipeline.is_some() && loaded::opentelemetry() {
            otel::enter(&unsafe { context_of(&*tree, &Attached::now()) });
        }
        Opened::Tree(tree, id)
    }
}

fn abandon(tree: *mut OpenTree) {
    if !tree.is_null() && !crate::block::owns(tree) {
        // SAFETY: a slot's own tree, which it has just given up.
        unsafe { open::abandon(tree) };
    }
}

/// Tells OpenTelemetry of a root that was sampled out, until `otel::leave`: its spans below are left out as well.
pub(crate) fn pass_on(sampled_out: &Context) {
    if runtime::current().pipeline.is_some() && loaded::opentelemetry() {
        otel::enter(sampled_out);
    }
}

/// What a root is begun with.
pub(crate) struct Root<'a> {
    pub(crate) role: Role,
    pub(crate) tick: u64,
    pub(crate) parent: Parent<'a>,
}

/// Where a root hangs.
#[derive(Clone, Copy)]
pub(crate) enum Parent<'a> {
    /// In the attached context, if there is one.
    Attached,
    /// Where was captured before; nowhere, if that was nowhere.
    Given(Option<&'a Context>),
}

/// How a root begins.
pub(crate) enum Begun {
    /// Its tree is open; this is its id.
    Recording(SpanId),
    /// Nothing is recorded below it, but the decision travels on.
    SampledOut(Box<Context>),
}

/// The same with the tree, which is kept by nobody yet.
pub(crate) enum Opened {
    Tree(*mut OpenTree, SpanId),
    SampledOut(Box<Context>),
}

#[inline]
fn open_tree(
    runtime: &Runtime,
    root: &Root<'_>,
    parent: Option<&Context>,
    (trace_id, is_sampled): (TraceId, bool),
) -> OpenTree {
    let origin = Origin {
        trace_id,
        parent,
        is_sampled,
        resource: &runtime.resource,
        scope: &runtime.scope,
        limits: runtime.limits,
    };
    let builder = TreeBuilder::begin(&origin, root.tick);
    OpenTree::new(builder, runtime.hold_back_ticks, root.role, root.tick)
}

/// Where a root hangs that was given no place of its own.
fn attached() -> Option<Context> {
    if !loaded::opentelemetry() {
        return context::attached();
    }
    let (foreign, ours) = beside_opentelemetry();
    foreign.or_else(context::attached).or(ours)
}

/// OpenTelemetry's current span, before and behind what we know ourselves.
///
/// With a pipeline our spans are in its context, so a span of its own there is the innermost of all. Without one they are
/// not, and what is inside them cannot be told from what they are inside of.
#[cold]
fn beside_opentelemetry() -> (Option<Context>, Option<Context>) {
    match otel::current() {
        Some(otel::Current::Foreign(place)) if runtime::current().pipeline.is_some() => {
            (Some(place), None)
        }
        Some(otel::Current::Foreign(place) | otel::Current::Ours(place)) => (None, Some(place)),
        None => (None, None),
    }
}

/// The place of the innermost span of `tree`, with the baggage that is attached.
pub(crate) fn context_of(tree: &OpenTree, attached: &Attached) -> Context {
    let mut context = tree.context();
    context.baggage = attached.baggage();
    context
}

/// Hands a finished fragment to the drivers that asked for a span of it and to the pipeline.
pub(crate) fn deliver(tree: Arc<SpanTree>) {
    driver::offer(&tree);
    runtime::current().offer(tree);
}

/// Records nothing until dropped: around every callback of ours into Python.
pub(crate) struct Quiet(&'static ThreadState);

impl Quiet {
    pub(crate) fn new() -> Self {
        let state = state();
        state.quiet.update(|quiet| quiet + 1);
        Self(state)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.0.quiet.update(|quiet| quiet - 1);
    }
}

/// In a forked child: new ids, and the spans that the parent has open are remote parents, not ours to export.
pub(crate) fn after_fork_in_child() {
    reseed_thread();
    let state = state();
    let inherited = state.with_tree(|tree| {
        let mut context = context_of(tree, &Attached::now());
        context.is_remote = true;
        context
    });
    otel::after_fork_in_child();
    greenlets::after_fork_in_child();
    open::after_fork_in_child();
    driver::after_fork_in_child();
    state.generation.set(fork::generation());
    // The parent exports these spans; their memory is left alone, since other threads may have been changing it.
    state.tree.set(ptr::null_mut());
    threads::after_fork_in_child(state);
    runtime::after_fork_in_child(inherited);
}
