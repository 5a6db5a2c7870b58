//! Spans on their way into a registry: how many were offered, so that those lost with a process can be told.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};

use super::list::List;
use crate::fork::{self, Lock};
use crate::ledger::Ledger;
use crate::metric::{Descriptor, Family, MetricBatch, PointValue};

#[derive(Debug, Default)]
pub(super) struct Offers {
    /// The counters that count every span once.
    calls: List<Arc<Descriptor>>,
    own: Lock<Own>,
}

/// What is of one process.
#[derive(Debug, Default)]
struct Own {
    generation: u32,
    mirror: Option<&'static AtomicU64>,
    ledgers: Vec<Weak<Ledger>>,
}

impl Offers {
    pub(super) fn mirror(&self, mirror: &'static AtomicU64) {
        self.with_own(|own| own.mirror = Some(mirror));
    }

    pub(super) fn note_ledger(&self, ledger: &Arc<Ledger>) {
        self.with_own(|own| {
            own.ledgers.retain(|known| known.strong_count() > 0);
            own.ledgers.push(Arc::downgrade(ledger));
        });
    }

    pub(super) fn note_calls(&self, descriptor: &Arc<Descriptor>) {
        if !self
            .calls
            .iter()
            .any(|known| Arc::ptr_eq(known, descriptor))
        {
            self.calls.push(Arc::clone(descriptor));
        }
    }

    pub(super) fn spans_in(&self, snapshot: &MetricBatch) -> u64 {
        let counts_spans = |name: &str| self.calls.iter().any(|known| known.name() == name);
        let families = snapshot.families().iter();
        let points = families
            .filter(|family| counts_spans(family.descriptor().name()))
            .flat_map(Family::points);
        let count = |value: &PointValue| match value {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of spans"
            )]
            PointValue::Number(number) => number.as_f64() as u64,
            _ => 0,
        };
        points.map(|point| count(point.value())).sum()
    }

    /// What the parent had is the parent's.
    fn with_own(&self, change: impl FnOnce(&mut Own)) {
        let mut own = self.own.lock();
        if own.generation != fork::generation() {
            std::mem::forget(std::mem::take(&mut *own));
            own.generation = fork::generation();
        }
        change(&mut own);
        if let Some(mirror) = own.mirror {
            for ledger in own.ledgers.iter().filter_map(Weak::upgrade) {
                ledger.mirror_offered(mirror);
            }
        }
    }
}
