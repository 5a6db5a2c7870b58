//! What one recorded call costs on this machine and interpreter: measured once, when somebody first asks for the overhead.
#![allow(
    unsafe_code,
    reason = "the thread's state is put aside for the measurement and put back"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use hiq_core::id::TraceId;
use hiq_core::intern::{SiteId, Symbol};
use hiq_core::record::OpenTree;
use hiq_core::time::Clock;
use hiq_core::tree::{Origin, Role, TreeBuilder};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::runtime;
use crate::state::state;
use crate::wrap::{self, Returns};

/// Calls of one measurement: fewer than make the tree let go of spans.
const CALLS: u32 = 1_000;
const ROUNDS: usize = 15;

/// A plain loop, as a program has it: calls from C would miss what the interpreter saves on calls it can inline.
const LOOP: &std::ffi::CStr = c"
def call(function, times):
    for _ in range(times):
        function()

def nothing():
    pass
";

static SPAN_NANOS: AtomicU64 = AtomicU64::new(0);

/// What one recorded call adds to a call, in nanoseconds.
pub(crate) fn span_nanos(py: Python<'_>) -> f64 {
    let known = SPAN_NANOS.load(Ordering::Relaxed);
    if known != 0 {
        return f64::from_bits(known);
    }
    let measured = measure(py).unwrap_or_else(|error| {
        drop(error);
        0.0
    });
    SPAN_NANOS.store(measured.to_bits(), Ordering::Relaxed);
    measured
}

fn measure(py: Python<'_>) -> PyResult<f64> {
    let names = PyDict::new(py);
    py.run(LOOP, Some(&names), None)?;
    let piece = |name: &str| {
        names
            .get_item(name)?
            .ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(name.to_owned()))
    };
    let (call, nothing) = (piece("call")?, piece("nothing")?);
    let traced = wrap::new(
        py,
        &nothing,
        Role::new(Symbol::EMPTY, SiteId::NONE),
        Returns::Value,
    )?;
    crate::module::subscribe_pipeline(py, &traced);
    let traced = traced.into_bound(py);
    let mut bare = u64::MAX;
    let mut recorded = u64::MAX;
    for _ in 0..ROUNDS {
        bare = bare.min(ticks(&call, &nothing)?);
        recorded = recorded.min(in_tree_of_our_own(|| ticks(&call, &traced))?);
    }
    let scale = Clock::scale_at(Clock::ticks());
    #[expect(clippy::cast_precision_loss, reason = "microseconds, in nanoseconds")]
    Ok(scale.nanos(recorded.saturating_sub(bare)) as f64 / f64::from(CALLS))
}

fn ticks(call: &Bound<'_, PyAny>, function: &Bound<'_, PyAny>) -> PyResult<u64> {
    let start = Clock::ticks();
    call.call1((function, CALLS))?;
    Ok(Clock::ticks() - start)
}

/// Puts an empty tree in the place of the thread's; nothing of it is exported or held. Finishing it counts as well.
fn in_tree_of_our_own(measure: impl FnOnce() -> PyResult<u64>) -> PyResult<u64> {
    let current = runtime::current();
    let origin = Origin {
        trace_id: TraceId::random(),
        parent: None,
        is_sampled: true,
        resource: &current.resource,
        scope: &current.scope,
        limits: current.limits,
    };
    let (tick, role) = (Clock::ticks(), Role::new(Symbol::EMPTY, SiteId::NONE));
    let tree = OpenTree::new(TreeBuilder::begin(&origin, tick), u64::MAX, role, tick);
    // What it held is put back below, whatever `measure` answers.
    let state = state();
    let outer = (
        state.tree.replace(crate::open::keep(tree)),
        state.quiet.replace(0),
        state.task_blocks.replace(0),
    );
    let measured = measure();
    let finishing = Clock::ticks();
    if let Some(tree) = state.take_tree() {
        hiq_core::pool::recycle([tree.finish()]);
    }
    let finishing = Clock::ticks() - finishing;
    state.put_back(outer.0);
    state.quiet.set(outer.1);
    state.task_blocks.set(outer.2);
    Ok(measured? + finishing)
}
