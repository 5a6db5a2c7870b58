//! `hiq.suppress`: a stretch of the program in which nothing is recorded.
//!
//! In a program without tasks, and in a call or step of ours, which ends before another task runs, it is a count of the thread's.
//! In a task it is a context object that records nothing, which the ContextVar holds: others record meanwhile. In a step of ours it
//! is both: tasks that are started there inherit the ContextVar, and run while the step does not.
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
struct Entered {
    /// The number of the thread that entered.
    thread: u64,
    count: Count,
    silence: Option<Silence>,
}

/// Whose count of suppressions it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    None,
    Thread,
    /// That of the step, whose coroutine or generator takes it along.
    Step,
}

/// What the ContextVar holds.
#[derive(Debug)]
struct Silence {
    attached: usize,
    token: usize,
}

impl Entered {
    fn enter(state: &ThreadState) -> Self {
        let thread = state.number();
        let count = if block::is_beside_others(state) {
            Count::None
        } else if state.in_step.get() {
            Count::Step
        } else {
            Count::Thread
        };
        if count != Count::None {
            state.quiet.update(|quiet| quiet + 1);
        }
        Self {
            thread,
            count,
            silence: (count != Count::Thread).then(|| Silence::begin(state)),
        }
    }

    fn is_here(&self) -> bool {
        match &self.silence {
            Some(silence) => silence.attached == context::attached_object() as usize,
            None => self.thread == state().number(),
        }
    }

    fn leave(self) {
        let less = |count: u32| count.saturating_sub(1);
        let entered_in = state::thread(self.thread);
        match self.count {
            Count::None => {}
            Count::Step => state().quiet.update(less),
            Count::Thread => {
                if let Some(state) = entered_in {
                    state.quiet.update(less);
                }
            }
        }
        let Some(silence) = self.silence else { return };
        if let Some(state) = entered_in {
            state.task_blocks.update(less);
            state.silences.update(less);
        }
        silence.end();
    }
}

impl Silence {
    fn begin(state: &ThreadState) -> Self {
        let attached = block::new_silence(state);
        // SAFETY: a live object or null; the token is a new reference.
        let token = unsafe { context::set(attached) };
        state.task_blocks.update(|open| open + 1);
        state.silences.update(|open| open + 1);
        Self {
            attached: attached as usize,
            token: token as usize,
        }
    }

    fn end(self) {
        block::end_silence(
            self.attached as *mut ffi::PyObject,
            self.token as *mut ffi::PyObject,
        );
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
