//! When the next attempt may be made: one gate for all payloads of an exporter, as they share the far side.

use std::time::{Duration, Instant};

use super::RetryPolicy;

#[derive(Debug)]
pub(super) struct Gate {
    policy: RetryPolicy,
    /// Rounds of failed attempts since the last success.
    failures: u32,
    closed_at: Option<Instant>,
    /// Our own guess: a flush may overrule it.
    backoff_until: Option<Instant>,
    /// The server's wish: only the exit overrules it, which is the last chance.
    wish_until: Option<Instant>,
}

impl Gate {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            closed_at: None,
            backoff_until: None,
            wish_until: None,
        }
    }

    /// When attempts may be made again; `None`: now, as far as we know.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.backoff_until.max(self.wish_until)
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.opens_at().is_none_or(|at| at <= now)
    }

    /// An attempt that `began` then failed. Stays closed no longer than `latest`, when the items are due to expire.
    pub(super) fn close(
        &mut self,
        now: Instant,
        began: Option<Instant>,
        server_wish: Option<Duration>,
        latest: Option<Instant>,
    ) {
        let until = |wait| {
            now.checked_add(wait)
                .map(|until| latest.map_or(until, |latest| until.min(latest)))
        };
        // Of several attempts that were under way together, the first to fail counts for all.
        if began >= self.closed_at {
            self.failures = self.failures.saturating_add(1);
            self.closed_at = Some(now);
            self.backoff_until = until(self.policy.backoff(self.failures));
        }
        if let Some(wish) = server_wish {
            self.wish_until = self.wish_until.max(until(self.policy.honoured(wish)));
        }
    }

    /// The far side answers.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.policy);
    }

    /// Somebody waits. `last_chance`: the process is about to end.
    pub(super) fn hurry(&mut self, last_chance: bool) {
        self.backoff_until = None;
        if last_chance {
            self.wish_until = None;
        }
    }
}
