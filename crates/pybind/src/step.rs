//! Coroutines, generators and async generators: work that is done in steps, between which anything else may run.
//!
//! The first step is recorded like a plain call, in the open tree of the caller. Work that ends with it stays there. Work that
//! waits takes its span, with all that is inside it, out into a fragment of its own. A later step puts that fragment in the
//! place of the thread's open tree and takes it away again. So an open tree never holds a span that waits, and interleaved
//! tasks and half-used generators never see each other's spans.
#![allow(
    unsafe_code,
    reason = "iteration slots and their object layout are C; each block is argued"
)]

use std::ptr;

use hiq_core::id::SpanId;
use hiq_core::record::OpenTree;
use pyo3::ffi;

use crate::context::Attached;
use crate::gil::GilOnly;
use crate::object::Spares;
use crate::state::ThreadState;
use crate::wrap::{Returns, TracedObject};

mod async_generator;
mod run;
mod slots;

pub(crate) use async_generator::add_to_module as add_async_generator;
pub(crate) use run::place_object;
pub(crate) use slots::add_to_module;

use run::{Run, Stage};

/// The object's memory.
#[repr(C)]
pub(crate) struct Stepped {
    base: ffi::PyObject,
    /// The coroutine or generator; null once it has been let go.
    pub(crate) inner: *mut ffi::PyObject,
    /// What tasks begun inside the next step inherit: its own place, or that of a block that is open in it. Null for a plain
    /// generator without one.
    context: *mut ffi::PyObject,
    weak_references: *mut ffi::PyObject,
    /// Its place in [`OPEN`], counted from one; zero for none.
    place: usize,
    run: Run,
}

/// Coroutines and generators come and go with every call.
static SPARES: Spares = Spares::new();

/// Puts our object around what the call made; hands that back as it is when it is something else.
pub(crate) unsafe fn wrap(
    traced: *mut TracedObject,
    state: &ThreadState,
    made: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a live wrapper and a new reference from its original, which is handed on inside the object or as it is. The
    // collector hears of the object when all of it is written.
    unsafe {
        let returns = (*traced).returns;
        let Some(kind) = type_for(returns, made) else {
            return made;
        };
        let parent = state.capture_parent();
        let object = SPARES.allocate(kind).cast::<Stepped>();
        if object.is_null() {
            ffi::PyErr_Clear();
            return made;
        }
        (*object).inner = made;
        (*object).context = ptr::null_mut();
        (*object).weak_references = ptr::null_mut();
        (*object).place = 0;
        (&raw mut (*object).run).write(Run::new((*traced).role, returns));
        // Not by way of `new`: the many that have none are not to pay for moving one.
        if parent.is_some() {
            (*object).run.parent = parent;
        }
        ffi::PyObject_GC_Track(object.cast());
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
                (has_async && (*(*kind).tp_as_async).am_await.is_some()).then(slots::coroutine_type)
            }
            Returns::Generator => (*kind).tp_iternext.is_some().then(slots::generator_type),
            Returns::AwaitableGenerator => (*kind)
                .tp_iternext
                .is_some()
                .then(slots::awaitable_generator_type),
            Returns::AsyncGenerator => (has_async && (*(*kind).tp_as_async).am_anext.is_some())
                .then(async_generator::type_object),
            Returns::Value => None,
        }
    }
}

/// All objects of ours with an open fragment: what is suspended at exit leaves as unfinished.
static OPEN: GilOnly<Registry> = GilOnly::new(Registry(Vec::new()));

struct Registry(Vec<usize>);

impl Registry {
    /// Adds `object`, unless it is in it.
    unsafe fn add(&mut self, object: *mut Stepped) {
        // SAFETY: a live object of ours, with the GIL held.
        unsafe {
            if (*object).place == 0 {
                self.0.push(object as usize);
                (*object).place = self.0.len();
            }
        }
    }

    /// Takes `object` out.
    unsafe fn remove(&mut self, object: *mut Stepped) {
        // SAFETY: live objects of ours, with the GIL held: they leave the list before their memory goes.
        unsafe {
            let Some(at) = std::mem::take(&mut (*object).place).checked_sub(1) else {
                return;
            };
            self.0.swap_remove(at);
            if let Some(moved) = self.0.get(at) {
                (*(*moved as *mut Stepped)).place = at + 1;
            }
        }
    }
}

/// `object` has no open fragment any more.
#[inline]
unsafe fn forget(object: *mut Stepped) {
    // SAFETY: a live object of ours, with the GIL held.
    unsafe {
        if (*object).place != 0 {
            OPEN.borrow().remove(object);
        }
    }
}

/// At interpreter exit: what is suspended leaves, marked as unfinished.
pub(crate) fn finish_all() {
    let objects: Vec<usize> = OPEN.borrow().0.clone();
    for object in objects {
        let object = object as *mut Stepped;
        // SAFETY: objects leave the list before their memory goes; the GIL keeps them from changing.
        unsafe {
            if let Stage::Open { tree, .. } =
                std::mem::replace(&mut (*object).run.stage, Stage::Ended)
            {
                // A thread that is in the middle of a step must not let it go a second time.
                crate::state::forget_tree(tree);
                if let Some(tree) = crate::open::take(tree) {
                    crate::state::deliver(tree.finish_unfinished());
                }
            }
        }
    }
}

/// In a forked child: suspended work of the parent is the parent's to export.
pub(crate) fn after_fork_in_child() {
    // Before anything of theirs is read: what was not made by now would be made as a place in this process.
    for object in &OPEN.borrow().0 {
        // SAFETY: as in `finish_all`.
        unsafe { run::make_place_in_child(*object as *mut Stepped) };
    }
    for object in &OPEN.borrow().0 {
        let object = *object as *mut Stepped;
        // SAFETY: as in `finish_all`. The tree's memory is left alone: the parent exports it.
        unsafe {
            let run = &mut (*object).run;
            if let Stage::Open { tree, .. } = &run.stage
                && !tree.is_null()
            {
                run.parent = Some(crate::state::context_of(&**tree, &Attached::now()));
                run.stage = Stage::Fresh;
            }
        }
    }
}

/// Calls `then` with the suspended fragment that has the span `id` open.
pub(crate) fn with_tree_of<R>(id: SpanId, then: impl FnOnce(&mut OpenTree) -> R) -> Option<R> {
    let open = OPEN.borrow();
    // SAFETY: as in `finish_all`; `then` does not come to Python, so the fragments stay where they are.
    let mut trees = open.0.iter().filter_map(|object| unsafe {
        match &(*(*object as *mut Stepped)).run.stage {
            Stage::Open { tree, .. } => tree.as_mut(),
            _ => None,
        }
    });
    let found = trees.find(|tree| tree.index_of_open(id).is_some())?;
    Some(then(found))
}
