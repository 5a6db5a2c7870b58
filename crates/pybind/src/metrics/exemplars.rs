//! Measurements as examples, with the span that they were made in.

use std::sync::atomic::{AtomicU8, Ordering};

use hiq_core::config::ExemplarFilter;
use hiq_core::context::SAMPLED;
use hiq_core::id::{SpanId, TraceId};
use hiq_core::metric::record::{Counter, ExponentialHistogram, Histogram, Summary};
use hiq_core::metric::{Exemplar, Number};
use hiq_core::time::Clock;

use crate::state::state;

const TRACE_BASED: u8 = 0;
const ALWAYS_ON: u8 = 1;
const ALWAYS_OFF: u8 = 2;

static FILTER: AtomicU8 = AtomicU8::new(TRACE_BASED);

/// Shows from now on what `filter` says.
pub(super) fn follow(filter: ExemplarFilter) {
    let filter = match filter {
        ExemplarFilter::AlwaysOn => ALWAYS_ON,
        ExemplarFilter::AlwaysOff => ALWAYS_OFF,
        _ => TRACE_BASED,
    };
    FILTER.store(filter, Ordering::Relaxed);
}

/// What shows single measurements.
pub(super) trait Shows {
    /// Shows one in the place of the last.
    fn show(&self, example: Exemplar);
}

macro_rules! shows {
    ($($kind:ty),*) => {$(
        impl Shows for $kind {
            fn show(&self, example: Exemplar) {
                self.set_example(example);
            }
        }
    )*};
}

shows!(Counter, Histogram, ExponentialHistogram, Summary);

/// Shows the measurement `value` with the span that the thread is in. Outside of spans it costs a look at two words.
#[inline(always)]
pub(super) fn show(series: &impl Shows, value: Number) {
    let state = state();
    let may_be_in_span = !state.tree.get().is_null() || state.task_blocks.get() != 0;
    if may_be_in_span || FILTER.load(Ordering::Relaxed) == ALWAYS_ON {
        show_by_filter(series, value);
    }
}

#[inline(never)]
fn show_by_filter(series: &impl Shows, value: Number) {
    let filter = FILTER.load(Ordering::Relaxed);
    if filter == ALWAYS_OFF {
        return;
    }
    let place = place();
    let is_shown = filter == ALWAYS_ON || place.is_some_and(|place| place.is_sampled);
    if is_shown {
        let now = Clock::unix_nanos();
        let place = place.unwrap_or(Place::NONE);
        series.show(Exemplar::new(now, value, place.trace, place.span));
    }
}

#[derive(Clone, Copy)]
struct Place {
    trace: TraceId,
    span: SpanId,
    is_sampled: bool,
}

impl Place {
    const NONE: Self = Self {
        trace: TraceId::INVALID,
        span: SpanId::INVALID,
        is_sampled: false,
    };
}

/// The span that the thread or task is in.
fn place() -> Option<Place> {
    let state = state();
    if state.is_silent() {
        return None;
    }
    if state.task_blocks.get() != 0 {
        // Another task may be running than the one whose tree is open.
        let context = state.capture()?;
        return Some(Place {
            trace: context.trace_id,
            span: context.span_id,
            is_sampled: context.trace_flags & SAMPLED != 0,
        });
    }
    state.with_tree(|tree| Place {
        trace: tree.peek().trace_id(),
        span: tree.current_id(),
        is_sampled: tree.peek().trace_flags() & SAMPLED != 0,
    })
}
