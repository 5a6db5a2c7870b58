//! Rounds of callbacks: each time that metrics are read, all are called, one after the other.
//!
//! ```text
//! reader ─ call_all ─► wanted ─► next_round ─► begin_call, say, end_call ... ─► end_round ─► found
//! ```
//!
//! One thread of Python's calls them, and a second one watches. When a call takes long, the second one goes on with the
//! others, and a third one is started to watch. A callback that has not returned is not called again until it has.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hiq_core::fork;
use hiq_core::metric::{LabelSet, Number};
use pyo3::prelude::*;

/// How long all callbacks together may take. A scraper waits for ten seconds, for the most part, and for other things too.
const PATIENCE: Duration = Duration::from_secs(1);
/// When the others no longer wait for one: half of it is left for them.
const TURN: Duration = Duration::from_millis(500);

/// What one callback has said.
pub(super) type Numbers = Vec<(Arc<LabelSet>, Number)>;
/// What all have said, by the metrics' names.
pub(super) type Found = HashMap<String, Numbers>;

/// The rounds of one process.
struct Rounds {
    generation: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// A thread that calls them is there.
    has_thread: bool,
    /// Threads that wait for something to do.
    idle: usize,
    /// Rounds that were asked for, that were begun, and that have ended.
    wanted: u64,
    begun: u64,
    ended: u64,
    /// Threads that go through the callbacks of the round that goes on.
    callers: usize,
    /// One of them has come to the end.
    is_through: bool,
    /// Whom this round has called.
    called: HashSet<String>,
    /// Calls that have not returned, of whichever round.
    running: HashMap<String, Running>,
    /// What was said in the round that goes on, and in the last that has ended.
    said: Found,
    found: Arc<Found>,
}

struct Running {
    round: u64,
    since: Instant,
    /// It was said that nobody waits for it.
    is_told: bool,
}

/// Replaced in a forked child, whose parent may have been holding the lock.
static ROUNDS: AtomicPtr<Rounds> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    /// The last round that this thread has called callbacks in; none for threads that do not.
    static ROUND: Cell<Option<u64>> = const { Cell::new(None) };
}

/// True in a thread that calls callbacks, which would wait for itself.
pub(super) fn is_caller() -> bool {
    ROUND.get().is_some()
}

/// Has all callbacks called, and waits for what they say: for one second at most, after which it is what was said by then.
pub(super) fn call_all() -> Arc<Found> {
    let deadline = Instant::now() + PATIENCE;
    let rounds = rounds();
    let mut state = rounds.lock();
    if !state.has_thread || rounds.generation != fork::generation() {
        return Arc::default();
    }
    // One that goes on has asked some of them already.
    let mark = state.begun + 1;
    state.wanted = state.wanted.max(mark);
    rounds.changed.notify_all();
    while state.ended < mark {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return if state.begun < mark {
                Arc::default()
            } else {
                Arc::new(state.said.clone())
            };
        }
        let woken = rounds.changed.wait_timeout(state, left);
        state = woken.unwrap_or_else(PoisonError::into_inner).0;
    }
    Arc::clone(&state.found)
}

/// The callback of `name` has said `numbers`; nothing where nobody waits for that any more.
pub(super) fn say(name: &str, numbers: Numbers) {
    let mut state = rounds().lock();
    let is_awaited = (state.running.get(name)).is_some_and(|call| call.round == state.begun);
    if is_awaited && state.ended < state.begun {
        state.said.insert(name.to_owned(), numbers);
    }
}

/// What a thread is to do.
enum Task {
    /// Call those whom this round has not called.
    Call,
    /// Say that nobody waits for a callback any more.
    Tell(String),
    /// End: there are enough others.
    End,
}

impl State {
    fn next(&mut self, now: Instant) -> Option<Task> {
        let progressing = self.callers.saturating_sub(self.overdue(now));
        if self.begun < self.wanted && progressing == 0 {
            self.begun = self.wanted;
            self.callers = 1;
            self.is_through = false;
            self.called.clear();
            self.said.clear();
            return Some(Task::Call);
        }
        let mut calls = self.running.iter_mut();
        if let Some((name, call)) =
            calls.find(|(_, call)| !call.is_told && now >= call.since + PATIENCE)
        {
            call.is_told = true;
            return Some(Task::Tell(name.clone()));
        }
        if self.ended < self.begun && !self.is_through && progressing == 0 {
            self.callers += 1;
            return Some(Task::Call);
        }
        None
    }

    /// Calls of this round that the others do not wait for.
    fn overdue(&self, now: Instant) -> usize {
        let is_overdue = |call: &&Running| call.round == self.begun && now >= call.since + TURN;
        self.running.values().filter(is_overdue).count()
    }

    /// When there is something to do though nobody asks.
    fn next_change(&self, now: Instant) -> Option<Instant> {
        let changes = self.running.values().flat_map(|call| {
            let told = (!call.is_told).then_some(call.since + PATIENCE);
            [Some(call.since + TURN), told]
        });
        changes.flatten().filter(|change| *change > now).min()
    }

    fn finish_if_all_returned(&mut self) {
        let is_of_round = |call: &Running| call.round == self.begun;
        if self.is_through && !self.running.values().any(is_of_round) && self.ended < self.begun {
            self.ended = self.begun;
            self.found = Arc::new(std::mem::take(&mut self.said));
        }
    }
}

impl Rounds {
    fn new() -> Self {
        Self {
            generation: fork::generation(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_task(&self) -> Task {
        let mut state = self.lock();
        if state.idle >= 2 {
            return Task::End;
        }
        loop {
            let now = Instant::now();
            if let Some(task) = state.next(now) {
                ROUND.set(Some(state.begun));
                return task;
            }
            let change = state.next_change(now);
            state.idle += 1;
            state = match change {
                Some(change) => {
                    let woken = self.changed.wait_timeout(state, change - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
            state.idle -= 1;
        }
    }
}

fn rounds() -> &'static Rounds {
    let mut rounds = ROUNDS.load(Ordering::Acquire);
    if rounds.is_null() {
        let made = Box::into_raw(Box::new(Rounds::new()));
        let order = (Ordering::AcqRel, Ordering::Acquire);
        let stored = ROUNDS.compare_exchange(rounds, made, order.0, order.1);
        rounds = stored.map_or_else(|other| other, |_| made);
    }
    #[expect(unsafe_code, reason = "they are leaked, never freed")]
    // SAFETY: only leaked boxes are stored.
    unsafe {
        &*rounds
    }
}

/// The parent's rounds, and its threads, did not come along.
#[pyfunction]
pub(super) fn forget_rounds() {
    let fresh = Box::into_raw(Box::new(Rounds::new()));
    ROUNDS.store(fresh, Ordering::Release);
    ROUND.set(None);
}

/// A thread that calls them has been started.
#[pyfunction]
pub(super) fn expect_rounds() {
    rounds().lock().has_thread = true;
}

/// Waits until there is something to do, for a thread that calls callbacks: `("call", "")`, `("tell", name)` of one that
/// nobody waits for any more, or `("end", "")`.
#[pyfunction]
pub(super) fn next_round(py: Python<'_>) -> (&'static str, String) {
    ROUND.set(ROUND.get().or(Some(0)));
    match py.detach(|| rounds().wait_for_task()) {
        Task::Call => ("call", String::new()),
        Task::Tell(name) => ("tell", name),
        Task::End => ("end", String::new()),
    }
}

/// True when a thread waits, which goes on when this one does not.
#[pyfunction]
pub(super) fn is_watched() -> bool {
    rounds().lock().idle > 0
}

/// True when this thread is to call the callback of `name`: in this round nobody has, and it is not running still.
#[pyfunction]
pub(super) fn begin_call(name: &str) -> bool {
    let mut state = rounds().lock();
    let is_due = ROUND.get() == Some(state.begun)
        && !state.running.contains_key(name)
        && state.called.insert(name.to_owned());
    if is_due {
        let call = Running {
            round: state.begun,
            since: Instant::now(),
            is_told: false,
        };
        state.running.insert(name.to_owned(), call);
        // Whoever watches does so until then.
        rounds().changed.notify_all();
    }
    is_due
}

/// The callback of `name` has returned, or raised.
#[pyfunction]
pub(super) fn end_call(name: &str) {
    let rounds = rounds();
    let mut state = rounds.lock();
    state.running.remove(name);
    state.finish_if_all_returned();
    rounds.changed.notify_all();
}

/// This thread has come to the end of the callbacks.
#[pyfunction]
pub(super) fn end_round() {
    let rounds = rounds();
    let mut state = rounds.lock();
    if ROUND.get() == Some(state.begun) {
        state.callers = state.callers.saturating_sub(1);
        state.is_through = true;
        state.finish_if_all_returned();
        rounds.changed.notify_all();
    }
}
