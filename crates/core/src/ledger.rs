//! The loss ledger: where every item that was offered to an exporter is now.
//!
//! ```text
//! offer ─► queued ─take─► in flight ─┬─► exported | sent unconfirmed | rejected
//!             └─► dropped{reason} ◄──┼─┬─► spooled ◄─ recovered
//! ```
//!
//! It balances at every snapshot: each transition moves items from one term to another under one short lock, and no
//! term is computed from the others. Items outside the queue are in somebody's [`Custody`], which cannot be lost:
//! dropped without a word (a panic, a forgetful exporter), it counts its items as [`DropReason::ExporterFailed`].

use std::fmt;
use std::ops::Index;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::encode::DropReason;

/// The account of one exporter, in items: spans, or data points.
#[derive(Debug, Default)]
pub struct Ledger {
    account: Mutex<Account>,
    sampled_out: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Account {
    terms: LedgerSnapshot,
    closed: bool,
    /// Where `offered` is written as well.
    mirror: Option<&'static AtomicU64>,
}

impl Ledger {
    /// An account with all terms at zero.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The same, with a counter of sampled-out items that it shares with other exporters' accounts.
    pub fn with_sampled_out(sampled_out: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            account: Mutex::default(),
            sampled_out,
        })
    }

    /// Items entered the queue.
    pub fn offer(&self, items: usize) {
        let mut account = self.lock();
        account.offered(items);
        account.terms.queued += count(items);
    }

    /// Items were offered and not taken in.
    pub fn refuse(&self, items: usize, reason: DropReason) {
        let mut account = self.lock();
        account.offered(items);
        account.terms.dropped.add(reason, items);
    }

    /// Has every item that is offered from now on, and those offered so far, added to `mirror` as well: memory that another
    /// process reads when this one was killed.
    pub(crate) fn mirror_offered(&self, mirror: &'static AtomicU64) {
        let mut account = self.lock();
        if account
            .mirror
            .is_none_or(|known| !std::ptr::eq(known, mirror))
        {
            mirror.fetch_add(account.terms.offered, Ordering::Relaxed);
            account.mirror = Some(mirror);
        }
    }

    /// Items that were queued are dropped.
    pub fn drop_queued(&self, items: usize, reason: DropReason) {
        let mut account = self.lock();
        account.terms.queued -= count(items);
        account.terms.dropped.add(reason, items);
    }

    /// Items leave the queue into somebody's hands. `since`: when the oldest of them was offered.
    pub fn take(self: &Arc<Self>, items: usize, since: Instant) -> Custody {
        let mut account = self.lock();
        account.terms.queued -= count(items);
        account.terms.in_flight += count(items);
        Custody::new(self, items, Place::InFlight, since)
    }

    /// Items of an earlier process were found in the spool. `since`: as good as when they were offered there.
    pub fn recover(self: &Arc<Self>, items: usize, since: Instant) -> Custody {
        let mut account = self.lock();
        account.terms.recovered += count(items);
        account.terms.spooled += count(items);
        Custody::new(self, items, Place::Spooled, since)
    }

    /// The end: what is queued or in flight counts as dropped at shutdown, whatever its holders (a thread that hangs)
    /// still do with it. What is spooled stays so.
    pub fn close(&self) {
        let mut account = self.lock();
        account.closed = true;
        let terms = &mut account.terms;
        let undelivered = std::mem::take(&mut terms.queued) + std::mem::take(&mut terms.in_flight);
        terms.dropped.0[DropReason::Shutdown as usize] += undelivered;
    }

    /// Items that are with the exporter.
    pub fn in_flight(&self) -> u64 {
        self.lock().terms.in_flight
    }

    /// All terms at one moment.
    pub fn snapshot(&self) -> LedgerSnapshot {
        let mut terms = self.lock().terms.clone();
        terms.sampled_out = self.sampled_out.load(Ordering::Relaxed);
        terms
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn offered(&mut self, items: usize) {
        self.terms.offered += count(items);
        if let Some(mirror) = self.mirror {
            mirror.fetch_add(count(items), Ordering::Relaxed);
        }
    }
}

fn count(items: usize) -> u64 {
    items as u64
}

/// Items in somebody's hands, to be settled by exactly one of the methods that consume it.
#[derive(Debug)]
#[must_use = "dropped without being settled, its items count as lost by a failed exporter"]
pub struct Custody {
    ledger: Arc<Ledger>,
    items: usize,
    place: Place,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    InFlight,
    Spooled,
}

impl Custody {
    fn new(ledger: &Arc<Ledger>, items: usize, place: Place, since: Instant) -> Self {
        let ledger = Arc::clone(ledger);
        Self {
            ledger,
            items,
            place,
            since,
        }
    }

    /// How many items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// When the oldest of them was offered.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// The far side confirmed them.
    pub fn delivered(self) {
        self.settle(|terms, items| terms.exported += items);
    }

    /// They left on a wire that never confirms.
    pub fn sent_unconfirmed(self) {
        self.settle(|terms, items| terms.sent_unconfirmed += items);
    }

    /// The far side refused them for good.
    pub fn rejected(self) {
        self.settle(|terms, items| terms.rejected += items);
    }

    /// We gave them up.
    pub fn dropped(self, reason: DropReason) {
        self.settle(|terms, items| terms.dropped.0[reason as usize] += items);
    }

    /// Takes `items` of them, at most all, into custody of their own.
    pub fn split_off(&mut self, items: usize) -> Self {
        let items = items.min(self.items);
        self.items -= items;
        Self::new(&self.ledger, items, self.place, self.since)
    }

    /// They are on disk now and outlive the process.
    pub fn spooled(&mut self) {
        if self.place == Place::InFlight {
            self.leave(|terms, items| terms.spooled += items);
            self.place = Place::Spooled;
        }
    }

    /// They are not on disk any more and go on in memory.
    pub fn unspooled(&mut self) {
        if self.place == Place::Spooled {
            self.leave(|terms, items| terms.in_flight += items);
            self.place = Place::InFlight;
        }
    }

    /// They are sent again although an earlier attempt may have arrived.
    pub fn may_repeat(&self) {
        self.ledger.lock().terms.possible_repeats += count(self.items);
    }

    fn settle(mut self, arrive: impl FnOnce(&mut LedgerSnapshot, u64)) {
        self.leave(arrive);
        self.items = 0;
    }

    fn leave(&self, arrive: impl FnOnce(&mut LedgerSnapshot, u64)) {
        if self.items == 0 {
            return;
        }
        let mut account = self.ledger.lock();
        let items = count(self.items);
        match self.place {
            // The close has counted them already.
            Place::InFlight if account.closed => return,
            Place::InFlight => account.terms.in_flight -= items,
            Place::Spooled => account.terms.spooled -= items,
        }
        arrive(&mut account.terms, items);
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        // What is on disk stays there for the next process.
        if self.place == Place::InFlight {
            self.leave(|terms, items| {
                terms.dropped.0[DropReason::ExporterFailed as usize] += items;
            });
        }
    }
}

/// All terms of a ledger at one moment, in items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerSnapshot {
    /// Handed to the exporter's queue.
    pub offered: u64,
    /// Found in the spool at start.
    pub recovered: u64,
    /// Confirmed by the far side.
    pub exported: u64,
    /// Sent on a wire that never confirms.
    pub sent_unconfirmed: u64,
    /// Refused by the far side.
    pub rejected: u64,
    /// Given up by us, by reason.
    pub dropped: DropCounts,
    /// Waiting in the queue.
    pub queued: u64,
    /// With the exporter, not settled.
    pub in_flight: u64,
    /// On disk, not settled.
    pub spooled: u64,
    /// Of the items sent: those sent again although an earlier attempt may have arrived. Not part of the balance.
    pub possible_repeats: u64,
    /// Not recorded because of sampling. Not part of the balance.
    pub sampled_out: u64,
}

impl LedgerSnapshot {
    /// True when every item is accounted for: always.
    pub fn balances(&self) -> bool {
        self.offered + self.recovered
            == self.exported
                + self.sent_unconfirmed
                + self.rejected
                + self.dropped.total()
                + self.queued
                + self.in_flight
                + self.spooled
    }

    /// Items whose fate is open: queued, in flight or spooled.
    pub fn unsettled(&self) -> u64 {
        self.queued + self.in_flight + self.spooled
    }

    /// The columns of [`LedgerSnapshot`]'s `Display`.
    pub const HEADER: &str =
        "   offered  exported  rejected   dropped    queued in flight   spooled";
}

impl fmt::Display for LedgerSnapshot {
    /// One row under [`LedgerSnapshot::HEADER`]; terms that are usually zero follow in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            self.offered,
            self.exported,
            self.rejected,
            self.dropped.total(),
            self.queued,
            self.in_flight,
            self.spooled,
        ];
        for (place, value) in columns.into_iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(
                f,
                "{gap}{value:>width$}",
                width = if place == 0 { 10 } else { 9 }
            )?;
        }
        let reasons = self.dropped.iter().filter(|(_, items)| *items > 0);
        let dropped = reasons.map(|(reason, items)| (reason.name(), items));
        let others = [
            ("sent_unconfirmed", self.sent_unconfirmed),
            ("recovered", self.recovered),
            ("possible_repeats", self.possible_repeats),
            ("sampled_out", self.sampled_out),
        ];
        let others = others.into_iter().filter(|(_, items)| *items > 0);
        for (place, (name, items)) in dropped.chain(others).enumerate() {
            let gap = if place == 0 { "   " } else { ", " };
            write!(f, "{gap}{name} {items}")?;
        }
        Ok(())
    }
}

/// Dropped items by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl DropCounts {
    /// Dropped items, whatever the reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its items, also those with none.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (DropReason, u64)> {
        DropReason::ALL.into_iter().zip(self.0)
    }

    fn add(&mut self, reason: DropReason, items: usize) {
        self.0[reason as usize] += count(items);
    }
}

impl Index<DropReason> for DropCounts {
    type Output = u64;

    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

#[cfg(test)]
mod tests;
