//! The part of a driver that fragments are offered to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hiq_core::intern::SiteId;
use hiq_core::render::{Extras, HiqTree, Projection};
use hiq_core::span::Span;
use hiq_core::tree::{ColumnSpec, SpanTree};
use pyo3::prelude::*;

use super::followers::{self, Followers};
use super::held::Held;
use super::sets;
use crate::exception::{Pending, undisturbed};
use crate::state::Quiet;
use crate::tree::PyTree;

/// The part that fragments are offered to; it may outlive the Python object by a call.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: u32,
    id_func: Option<Py<PyAny>>,
    max_keys: usize,
    held: Mutex<Held>,
    /// Its own names of wrappers that another driver has had made, by what they record under.
    names: Mutex<HashMap<(SiteId, String), Arc<str>>>,
    metrics: Mutex<Vec<Metric>>,
    pub(super) flags: Flags,
    pub(super) extras_nanos: AtomicU64,
    followers: Mutex<Followers>,
}

#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) record_args: AtomicBool,
    pub(super) record_file: AtomicBool,
    pub(super) record_func: AtomicBool,
    pub(super) attach_timestamp: AtomicBool,
    pub(super) fast_fail: AtomicBool,
    pub(super) verbose: AtomicBool,
    /// Whether it ever asked: its trees show what it was given then, and nothing that only others asked for.
    pub(super) asked_args: AtomicBool,
    pub(super) asked_file: AtomicBool,
    pub(super) asked_func: AtomicBool,
    pub(super) asked_trace: AtomicBool,
}

impl Flags {
    /// Attributes of spans that are not this driver's to show.
    fn hidden(&self) -> Vec<&'static str> {
        let asked = [
            (&self.asked_args, "hiq.args"),
            (&self.asked_args, "hiq.kwargs"),
            (&self.asked_file, "hiq.caller_file"),
            (&self.asked_func, "hiq.caller_function"),
            (&self.asked_trace, "hiq.exception_trace"),
        ];
        let hidden = asked
            .iter()
            .filter(|(asked, _)| !asked.load(Ordering::Relaxed));
        hidden.map(|(_, name)| *name).collect()
    }
}

/// A metric that is read at the start and end of a call.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) spec: Arc<ColumnSpec>,
    /// None for `time`, which the recorder reads itself.
    pub(super) read: Option<Py<PyAny>>,
}

impl Shared {
    pub(super) fn new(
        id_func: Option<Py<PyAny>>,
        max_keys: usize,
        metrics: Vec<Metric>,
        flags: Flags,
    ) -> Self {
        Self {
            id: sets::next_id(),
            id_func,
            max_keys,
            held: Mutex::default(),
            names: Mutex::default(),
            metrics: Mutex::new(metrics),
            flags,
            extras_nanos: AtomicU64::new(0),
            followers: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of the call that has just ended. A key function that fails counts as key None.
    fn key(&self, py: Python<'_>) -> Py<PyAny> {
        let Some(function) = &self.id_func else {
            return py.None();
        };
        let _quiet = Quiet::new();
        // The call may have ended with an exception (a coroutine's result is one), which must stay pending.
        let pending = Pending::take();
        let key = function.call0(py).unwrap_or_else(|error| {
            drop(error);
            py.None()
        });
        pending.restore();
        key
    }

    /// The key that is held already and equals this one, else this one.
    ///
    /// No lock is held while keys are compared, which may run the program's code.
    fn known_key(&self, py: Python<'_>, key: Py<PyAny>) -> Py<PyAny> {
        let known: Vec<Py<PyAny>> = {
            let held = self.lock();
            if held.position(&key).is_some() {
                return key;
            }
            held.keys
                .iter()
                .map(|known| known.value.clone_ref(py))
                .collect()
        };
        let equal = undisturbed(|py| {
            let equals = |known: &Py<PyAny>| known.bind(py).eq(key.bind(py)).unwrap_or(false);
            known.into_iter().find(equals)
        });
        equal.unwrap_or(key)
    }

    pub(super) fn hold(self: &Arc<Self>, py: Python<'_>, tree: &Arc<SpanTree>, own: usize) {
        let key = self.key(py);
        let key = self.known_key(py, key);
        let evicted = self.lock().keep(key, tree, own, self.max_keys);
        let followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(on_call) = &followers.on_call {
            followers::tell(py, self, on_call, vec![Arc::clone(tree)], true);
        }
        if let Some(on_eviction) = &followers.on_eviction {
            for key in &evicted {
                followers::tell(py, self, on_eviction, key.trees(), false);
            }
        }
        drop(followers);
        // Keys are the program's objects: they go without a lock.
        drop(evicted);
    }

    pub(super) fn follow(&self, on_call: Option<Py<PyAny>>, on_eviction: Option<Py<PyAny>>) {
        let followers = Followers {
            on_call,
            on_eviction,
        };
        let mut known = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, followers);
        drop(known);
        drop(before);
    }

    /// Tells of all keys as if they had to make room.
    pub(super) fn evict_all(self: &Arc<Self>, py: Python<'_>) {
        let followers = self
            .followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(on_eviction) = &followers.on_eviction {
            for key in &self.lock().keys {
                followers::tell(py, self, on_eviction, key.trees(), false);
            }
        }
    }

    pub(super) fn fragments(&self, py: Python<'_>, key: &Py<PyAny>) -> Option<Vec<Arc<SpanTree>>> {
        let key = self.known_key(py, key.clone_ref(py));
        self.lock().of(&key)
    }

    pub(super) fn names(&self) -> MutexGuard<'_, HashMap<(SiteId, String), Arc<str>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_metrics(&self) -> MutexGuard<'_, Vec<Metric>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tree of one metric over some fragments, as HiQ shows it.
    pub(super) fn draw(
        &self,
        py: Python<'_>,
        metric: &str,
        fragments: &[Arc<SpanTree>],
        zin_threshold: f64,
    ) -> PyTree {
        let column = {
            let metrics = self.lock_metrics();
            let known = metrics.iter().find(|known| known.spec.name == metric);
            known
                .filter(|known| known.read.is_some())
                .map(|known| Arc::clone(&known.spec))
        };
        let sets = sets::members();
        let is_own = |set: u16| sets::holds(&sets, set, self.id);
        let with_times = self.flags.attach_timestamp.load(Ordering::Relaxed);
        let names = self.names().clone();
        let renamed = |span: Span<'_>| {
            let known = names.get(&(span.site(), span.name().as_str().to_owned()));
            known.map(|name| &**name)
        };
        let hidden = self.flags.hidden();
        let projection = Projection::new(&is_own)
            .without(&hidden)
            .of_metric(None, with_times)
            .with_exceptions(self.flags.fast_fail.load(Ordering::Relaxed));
        let projection = match &column {
            Some(column) => projection.of_column(column),
            None => projection,
        };
        let projection = if names.is_empty() {
            projection
        } else {
            projection.with_names(&renamed)
        };
        // As in HiQ, the tree named `time` is the one that tells the overhead, whoever reads its clock.
        let is_time = metric == "time";
        let overhead_us = (self.overhead_ns(py) / 1_000).to_string();
        let overhead = is_time.then_some(("'overhead'", overhead_us.as_str()));
        let builder = HiqTree::builder(metric)
            .monotonic(is_time)
            .zin_threshold(zin_threshold)
            .extras(Extras::from_reprs(overhead));
        let tree = py.detach(|| projection.tree(builder, fragments));
        PyTree::from(tree)
    }

    pub(super) fn overhead_ns(&self, py: Python<'_>) -> u64 {
        let spans = self.lock().seen;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an estimate"
        )]
        let recording = (crate::calibrate::span_nanos(py) * spans as f64) as u64;
        recording + self.extras_nanos.load(Ordering::Relaxed)
    }
}
