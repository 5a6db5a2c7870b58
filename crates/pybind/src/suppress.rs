//! `hiq.suppress`: a stretch of the program in which nothing is recorded.
//!
//! In a program without tasks, and in a call or step of ours, which ends before another task runs, it is a count of the thread's.
//! In a task it is a context object that records nothing, which the ContextVar holds: others record meanwhile.
#![allow(
    unsafe_code,
    reason = "the ContextVar is only reachable through the C API"
)]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::block;
use crate::context;
use crate::entries::Entries;
use crate::state::{self, ThreadState, state};

/// Records nothing inside its block.
#[pyclass(frozen, module = "hiq._hiq")]
#[derive(Debug, Default)]
pub(crate) struct Suppress(Entries<Entered>);

#[derive(Debug)]
enum Entered {
    /// In the thread of this number; or in a step, whose coroutine or generator takes it along.
    Counted { thread: u64, in_step: bool },
    /// In a task.
    Silence {
        thread: u64,
        attached: usize,
        token: usize,
    },
}

impl Entered {
    fn enter(state: &ThreadState) -> Self {
        let thread = state.number();
        if block::is_beside_others(state) {
            return Self::silence(state, thread);
        }
        state.quiet.update(|quiet| quiet + 1);
        Self::Counted {
            thread,
            in_step: state.in_step.get(),
        }
    }

    fn silence(state: &ThreadState, thread: u64) -> Self {
        let attached = block::new_silence(state);
        // SAFETY: a live object or null; the token is a new reference.
        let token = unsafe { context::set(attached) };
        state.task_blocks.update(|open| open + 1);
        state.silences.update(|open| open + 1);
        Self::Silence {
            thread,
            attached: attached as usize,
            token: token as usize,
        }
    }

    fn is_here(&self) -> bool {
        match self {
            Self::Counted { thread, .. } => *thread == state().number(),
            Self::Silence { attached, .. } => *attached == context::attached_object() as usize,
        }
    }

    fn leave(self) {
        let less = |count: u32| count.saturating_sub(1);
        match self {
            Self::Counted { in_step: true, .. } => state().quiet.update(less),
            Self::Counted { thread, .. } => {
                if let Some(state) = state::thread(thread) {
                    state.quiet.update(less);
                }
            }
            Self::Silence {
                thread,
                attached,
                token,
            } => {
                if let Some(state) = state::thread(thread) {
                    state.task_blocks.update(less);
                    state.silences.update(less);
                }
                block::end_silence(attached as *mut ffi::PyObject, token as *mut ffi::PyObject);
            }
        }
    }
}

#[pymethods]
impl Suppress {
    fn __enter__(&self) {
        self.0.push(Entered::enter(state()));
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, PyTuple>) -> bool {
        if let Some(entered) = self.0.take_last(Entered::is_here) {
            entered.leave();
        }
        false
    }
}

/// A context manager: nothing is recorded in its block, nor in tasks that are started there.
#[pyfunction]
fn suppress() -> Suppress {
    Suppress::default()
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Suppress>()?;
    module.add_function(wrap_pyfunction!(suppress, module)?)
}
