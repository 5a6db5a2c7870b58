//! The bounded queue between the traced program and one exporter's worker, and where the worker sleeps.
//!
//! Offering takes one short lock and never fails: pressure drops the oldest fragments. The worker is woken when it has
//! something to do, not for every fragment.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::PipelineSettings;
use crate::encode::DropReason;
use crate::export::{Deadline, Progress};
use crate::ledger::{Custody, Ledger};

mod cargo;

pub(crate) use cargo::Cargo;

/// How long after a batch the worker looks for the next one by itself instead of being woken.
const BUSY: Duration = Duration::from_millis(2);
/// Unless as much is waiting.
const BATCHES_OF_PRESSURE: usize = 8;

/// Fragments, or whatever else comes piece by piece, that wait for one exporter.
#[derive(Debug)]
pub(crate) struct Queue<C: Cargo> {
    settings: PipelineSettings,
    ledger: Arc<Ledger>,
    state: Mutex<State<C>>,
    /// The worker sleeps on it.
    work: Condvar,
    /// Those that wait for a flush or for the worker's end sleep on it.
    done: Condvar,
}

#[derive(Debug)]
struct State<C> {
    fragments: VecDeque<Fragment<C>>,
    spans: usize,
    bytes: usize,
    /// Fragments that ever entered. Those up to `entered - fragments.len()` have left.
    entered: u64,
    /// Fragments up to here are settled, or on disk.
    settled: u64,
    /// Somebody waits until fragments up to here are settled.
    wanted: u64,
    /// The exporter has been told that somebody waits for fragments up to here.
    urged: u64,
    /// Spans at which the sleeping worker is to be woken; out of reach while it does not sleep or has no room.
    wake_at_spans: Option<usize>,
    wake_ups: u64,
    /// A batch was taken shortly before: more are to be expected, and each wake-up costs the traced program a system call.
    busy_until: Option<Instant>,
    /// The exporter is not known to be done: it has been asked for only now, or has something left from an earlier process
    /// or attempt.
    exporter_has_more: bool,
    stopping: bool,
    ended: bool,
}

#[derive(Debug)]
struct Fragment<C> {
    cargo: C,
    bytes: usize,
    since: Instant,
}

/// What the worker does next.
#[derive(Debug)]
pub(crate) enum Task<C> {
    /// Hand these to the exporter.
    Export(Vec<C>, Custody),
    /// Let the exporter go on.
    Poll,
    /// Tell the exporter that somebody waits.
    Flush,
    /// End.
    Stop,
}

impl<C: Cargo> Queue<C> {
    pub(crate) fn new(settings: PipelineSettings, ledger: Arc<Ledger>) -> Self {
        Self {
            settings,
            ledger,
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// Takes a finished fragment in, dropping the oldest ones when there is no room.
    #[inline]
    pub(crate) fn offer(&self, cargo: C, bytes: usize, now: Instant) {
        let spans = cargo.items();
        let mut state = self.lock();
        if state.stopping {
            self.ledger.refuse(spans, DropReason::Shutdown);
            return;
        }
        let displaced = if self.has_room(&state, spans, bytes) {
            Vec::new()
        } else {
            self.make_room(&mut state, spans, bytes)
        };
        self.ledger.offer(spans);
        state.push(
            Fragment {
                cargo,
                bytes,
                since: now,
            },
            spans,
        );
        let wake = state
            .wake_at_spans
            .is_some_and(|limit| state.spans >= limit);
        if wake {
            state.wake_at_spans = None;
        }
        drop(state);
        if wake {
            self.work.notify_one();
        }
        if !displaced.is_empty() {
            displaced.into_iter().for_each(C::let_go_here);
        }
    }

    fn has_room(&self, state: &State<C>, spans: usize, bytes: usize) -> bool {
        state.spans + spans <= self.settings.max_queue_spans
            && state.bytes + bytes <= self.settings.max_queue_bytes
    }

    #[cold]
    fn make_room(&self, state: &mut State<C>, spans: usize, bytes: usize) -> Vec<C> {
        let mut displaced = Vec::new();
        let mut displaced_spans = 0;
        while !self.has_room(state, spans, bytes) {
            let Some(oldest) = state.pop() else { break };
            displaced_spans += oldest.cargo.items();
            displaced.push(oldest.cargo);
        }
        if displaced_spans > 0 {
            self.ledger
                .drop_queued(displaced_spans, DropReason::QueueFull);
        }
        displaced
    }

    /// Waits until there is something to do for a worker whose exporter made this `progress`.
    pub(crate) fn next_task(&self, progress: Progress, deadline: &Deadline) -> Task<C> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let expired = self.drop_expired(&mut state, now);
            if !expired.is_empty() {
                drop(state);
                C::let_go(expired);
                state = self.lock();
                continue;
            }
            state.exporter_has_more = progress != Progress::Done;
            self.note_settled(&mut state, progress);
            match self.decide(&mut state, progress, deadline, now) {
                Next::Do(task) => return task,
                Next::WaitUntil(moment) => state = self.sleep(state, progress, moment, now),
            }
        }
    }

    fn decide(
        &self,
        state: &mut State<C>,
        progress: Progress,
        deadline: &Deadline,
        now: Instant,
    ) -> Next<C> {
        if state.stopping && deadline.is_over() {
            return Next::Do(Task::Stop);
        }
        if state.wanted > state.urged {
            state.urged = state.wanted;
            if progress != Progress::Done {
                return Next::Do(Task::Flush);
            }
        }
        let batch_due = self.batch_due(state).filter(|_| progress.has_room());
        if batch_due.is_some_and(|due| due <= now) {
            return Next::Do(self.take(state));
        }
        match progress {
            Progress::Done if state.stopping => Next::Do(Task::Stop),
            Progress::Done => Next::WaitUntil(batch_due),
            Progress::Sending { .. } => Next::Do(Task::Poll),
            Progress::Waiting { until, .. } if until <= now => Next::Do(Task::Poll),
            // Nothing more would happen before time is up.
            Progress::Waiting { until, .. } if state.stopping && ends_before(deadline, until) => {
                Next::Do(Task::Stop)
            }
            Progress::Waiting { until, .. } => {
                Next::WaitUntil(Some(batch_due.map_or(until, |due| due.min(until))))
            }
        }
    }

    /// When the next batch leaves, as things stand.
    fn batch_due(&self, state: &State<C>) -> Option<Instant> {
        let oldest = state.fragments.front()?;
        if state.wanted > state.settled && !state.stopping {
            // A flush goes first, and is not made to wait for what came after it.
            return (state.left() < state.wanted).then_some(oldest.since);
        }
        if state.stopping || state.spans >= self.settings.max_batch_spans {
            return Some(oldest.since);
        }
        oldest.since.checked_add(self.settings.schedule_delay)
    }

    fn take(&self, state: &mut State<C>) -> Task<C> {
        let most = if C::JOINS {
            self.settings.max_batch_spans
        } else {
            1
        };
        let mut cargo = Vec::with_capacity(state.fragments.len().min(most));
        let mut spans = 0;
        let mut since = None;
        while let Some(next) = state.fragments.front() {
            let is_over = || !C::JOINS || spans + next.cargo.items() > most;
            if !cargo.is_empty() && is_over() {
                break;
            }
            since.get_or_insert(next.since);
            spans += next.cargo.items();
            cargo.extend(state.pop().map(|fragment| fragment.cargo));
        }
        let now = Instant::now();
        state.busy_until = now.checked_add(BUSY);
        let since = since.unwrap_or(now);
        Task::Export(cargo, self.ledger.take(spans, since))
    }

    fn drop_expired(&self, state: &mut State<C>, now: Instant) -> Vec<C> {
        let mut expired = Vec::new();
        while state
            .fragments
            .front()
            .is_some_and(|oldest| now.duration_since(oldest.since) > self.settings.max_age)
        {
            expired.extend(state.pop().map(|fragment| fragment.cargo));
        }
        let spans = expired.iter().map(C::items).sum();
        if spans > 0 {
            self.ledger.drop_queued(spans, DropReason::Expired);
        }
        expired
    }

    /// Answers a flush once nothing of what it waits for is with the exporter, which has heard of it.
    fn note_settled(&self, state: &mut State<C>, progress: Progress) {
        let is_urged = state.urged >= state.wanted;
        let nothing_under_way =
            || progress == Progress::Done || (is_urged && self.ledger.in_flight() == 0);
        if state.wanted > state.settled && nothing_under_way() {
            state.settled = state.left();
            self.done.notify_all();
        }
    }

    fn sleep<'s>(
        &self,
        mut state: MutexGuard<'s, State<C>>,
        progress: Progress,
        until: Option<Instant>,
        now: Instant,
    ) -> MutexGuard<'s, State<C>> {
        let busy_until = state.busy_until.filter(|busy_until| *busy_until > now);
        state.wake_at_spans = match (progress.has_room(), busy_until, state.spans) {
            (false, ..) => None,
            (true, Some(_), _) => Some(self.spans_of_pressure()),
            (true, None, 0) => Some(1),
            (true, None, _) => Some(self.settings.max_batch_spans),
        };
        let until = until.into_iter().chain(busy_until).min();
        let mut state = match until {
            None => self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let wait = until.saturating_duration_since(now);
                let woken = self.work.wait_timeout(state, wait);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.wake_at_spans = None;
        state.wake_ups += 1;
        state
    }

    /// Spans at which a worker is woken although it has just been busy and will look by itself in a moment.
    fn spans_of_pressure(&self) -> usize {
        let (batch, queue) = (self.settings.max_batch_spans, self.settings.max_queue_spans);
        batch.max((BATCHES_OF_PRESSURE * batch).min(queue / 4))
    }

    /// A worker is about to start (or could not): its exporter may have something to deliver that was not offered here.
    pub(crate) fn expect_worker(&self, expected: bool) {
        self.lock().exporter_has_more = expected;
    }

    /// Asks for everything that was offered before. Returns the mark to [wait for](Queue::wait_for_flush).
    pub(crate) fn request_flush(&self) -> u64 {
        let mut state = self.lock();
        if state.settled == state.entered && state.exporter_has_more {
            // The queue is empty. What the exporter has (the content of a spool) is waited for as if it had been offered now.
            state.entered += 1;
        }
        let mark = state.entered;
        if state.settled < mark {
            state.wanted = state.wanted.max(mark);
            // Others may wait for the same already; this one is a reason of its own to try again now.
            state.urged = state.urged.min(mark - 1);
            self.work.notify_one();
        }
        mark
    }

    /// Waits, up to `deadline`, until all up to `mark` is settled or on disk.
    pub(crate) fn wait_for_flush(&self, mark: u64, deadline: Instant) -> bool {
        let state = self.wait_until(deadline, |state| state.settled >= mark || state.ended);
        state.settled >= mark
    }

    /// Takes nothing in any more, and has the worker drain the queue and end.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        state.wanted = u64::MAX;
        self.work.notify_one();
    }

    /// Waits for the worker's end; false when that did not come in time.
    pub(crate) fn wait_for_end(&self, deadline: Instant) -> bool {
        self.wait_until(deadline, |state| state.ended).ended
    }

    /// The worker has ended.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.exporter_has_more = false;
        self.done.notify_all();
    }

    /// Lets go of what is left; the ledger is told by its close.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let left = std::mem::take(&mut state.fragments);
        (state.spans, state.bytes) = (0, 0);
        drop(state);
        C::let_go(left.into_iter().map(|fragment| fragment.cargo));
    }

    /// How often the worker has been woken, or has woken by itself.
    pub(crate) fn wake_ups(&self) -> u64 {
        self.lock().wake_ups
    }

    fn wait_until(
        &self,
        deadline: Instant,
        done: impl Fn(&State<C>) -> bool,
    ) -> MutexGuard<'_, State<C>> {
        let mut state = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if done(&state) || left.is_zero() {
                return state;
            }
            let woken = self.done.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Next<C> {
    Do(Task<C>),
    WaitUntil(Option<Instant>),
}

fn ends_before(deadline: &Deadline, moment: Instant) -> bool {
    deadline.at().is_some_and(|end| end <= moment)
}

impl<C> Default for State<C> {
    fn default() -> Self {
        Self {
            fragments: VecDeque::new(),
            spans: 0,
            bytes: 0,
            entered: 0,
            settled: 0,
            wanted: 0,
            urged: 0,
            wake_at_spans: None,
            wake_ups: 0,
            busy_until: None,
            exporter_has_more: false,
            stopping: false,
            ended: false,
        }
    }
}

impl<C: Cargo> State<C> {
    fn push(&mut self, fragment: Fragment<C>, spans: usize) {
        self.entered += 1;
        self.spans += spans;
        self.bytes += fragment.bytes;
        self.fragments.push_back(fragment);
    }

    fn pop(&mut self) -> Option<Fragment<C>> {
        let oldest = self.fragments.pop_front()?;
        self.spans -= oldest.cargo.items();
        self.bytes -= oldest.bytes;
        Some(oldest)
    }

    /// Fragments that have left the queue so far, whichever way.
    fn left(&self) -> u64 {
        self.entered - self.fragments.len() as u64
    }
}
