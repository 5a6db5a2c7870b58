//! Who is told of a driver's calls: HiQ's log of calls and its sending of trees.
//!
//! The recorder only puts fragments into a queue. One Python thread takes them out, draws their trees and calls the
//! program's handlers; nothing of it is recorded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::tree::SpanTree;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::sets;
use super::shared::Shared;
use crate::runtime;

/// Spans that wait for the handlers at most; older calls make room.
const MAX_WAITING_SPANS: usize = 100_000;

/// What Python asked to be called with.
#[derive(Debug, Default)]
pub(super) struct Followers {
    /// Trees of one finished call.
    pub(super) on_call: Option<Py<PyAny>>,
    /// Trees of a key that had to make room.
    pub(super) on_eviction: Option<Py<PyAny>>,
}

struct Told {
    follower: Py<PyAny>,
    of: Of,
    spans: usize,
}

enum Of {
    /// Trees that are there already.
    Trees(Py<PyList>),
    Fragments {
        driver: Arc<Shared>,
        fragments: Vec<Arc<SpanTree>>,
        /// With the spans that HiQ's trees leave out since nothing changed in them.
        all_spans: bool,
    },
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Told>,
    spans: usize,
    dropped: usize,
    /// The thread is in a handler.
    is_busy: bool,
}

/// Replaced in a forked child, whose parent may have been holding the lock.
static QUEUE: AtomicPtr<Queue> = AtomicPtr::new(std::ptr::null_mut());

fn queue() -> &'static Queue {
    let mut queue = QUEUE.load(Ordering::Acquire);
    if queue.is_null() {
        after_fork_in_child();
        queue = QUEUE.load(Ordering::Acquire);
    }
    #[expect(unsafe_code, reason = "queues are leaked, never freed")]
    // SAFETY: only leaked boxes are stored.
    unsafe {
        &*queue
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn after_fork_in_child() {
    QUEUE.store(Box::into_raw(Box::default()), Ordering::Release);
}

/// Puts fragments of a driver into the queue.
pub(super) fn tell(
    py: Python<'_>,
    driver: &Arc<Shared>,
    follower: &Py<PyAny>,
    fragments: Vec<Arc<SpanTree>>,
    all_spans: bool,
) {
    let spans = fragments.iter().map(|tree| tree.len()).sum();
    put(Told {
        follower: follower.clone_ref(py),
        of: Of::Fragments {
            driver: Arc::clone(driver),
            fragments,
            all_spans,
        },
        spans,
    });
}

/// Lets a follower be told of trees.
#[pyfunction]
#[pyo3(name = "tell")]
fn tell_of_trees(follower: Py<PyAny>, trees: Py<PyList>) {
    put(Told {
        follower,
        of: Of::Trees(trees),
        spans: 1,
    });
}

fn put(told: Told) {
    let queue = queue();
    let mut crowded_out = Vec::new();
    let mut state = queue.lock();
    state.spans += told.spans;
    state.waiting.push_back(told);
    while state.spans > MAX_WAITING_SPANS && state.waiting.len() > 1 {
        if let Some(oldest) = state.waiting.pop_front() {
            state.spans -= oldest.spans;
            state.dropped += oldest.spans;
            crowded_out.push(oldest);
        }
    }
    drop(state);
    queue.changed.notify_all();
}

/// Waits for a finished call. Returns who is to be told, and the trees, one for each metric.
#[pyfunction]
fn next_told(py: Python<'_>) -> PyResult<(Py<PyAny>, Py<PyList>)> {
    let queue = queue();
    let told = py.detach(|| {
        let mut state = queue.lock();
        state.is_busy = false;
        queue.changed.notify_all();
        loop {
            if let Some(told) = state.waiting.pop_front() {
                state.spans -= told.spans;
                state.is_busy = true;
                return told;
            }
            state = queue
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    });
    let trees = match told.of {
        Of::Trees(trees) => trees,
        Of::Fragments {
            driver,
            fragments,
            all_spans,
        } => {
            let threshold = if all_spans {
                0.0
            } else {
                runtime::zin_threshold(py)
            };
            let trees = PyList::empty(py);
            for metric in metrics_of(&driver) {
                let tree = driver.draw(py, &metric, &fragments, threshold);
                trees.append(Bound::new(py, tree)?)?;
            }
            trees.unbind()
        }
    };
    Ok((told.follower, trees))
}

fn metrics_of(driver: &Shared) -> Vec<String> {
    let metrics = driver.lock_metrics();
    let names = metrics.iter().map(|metric| metric.spec.name.clone());
    names.collect()
}

/// Waits until the handlers have been told everything, at most `timeout_s` seconds. Returns the spans they were not told of:
/// those that wait still, and those that were crowded out.
#[pyfunction]
fn wait_until_told(py: Python<'_>, timeout_s: f64) -> usize {
    let timeout = Duration::try_from_secs_f64(timeout_s).unwrap_or(Duration::ZERO);
    let deadline = Instant::now() + timeout;
    py.detach(|| {
        let queue = queue();
        let mut state = queue.lock();
        while state.is_busy || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = match queue.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        state.spans + state.dropped
    })
}

/// Tells of every key that is still held as if it had to make room: at exit.
#[pyfunction]
fn evict_all(py: Python<'_>) {
    for driver in sets::all() {
        driver.evict_all(py);
    }
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(tell_of_trees, module)?)?;
    module.add_function(wrap_pyfunction!(next_told, module)?)?;
    module.add_function(wrap_pyfunction!(wait_until_told, module)?)?;
    module.add_function(wrap_pyfunction!(evict_all, module)?)
}
