//! What became of everything, for the bridge's last line.

use hiq_core::ledger::LedgerSnapshot;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Of messages, and of what was in them.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) messages: u64,
    pub(super) skipped: u64,
    pub(super) spans: Fates,
    pub(super) points: Fates,
}

/// Of spans, or of points.
#[derive(Default)]
pub(super) struct Fates {
    pub(super) read: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) possible_repeats: u64,
    /// Not committed.
    pub(super) left: u64,
    /// Committed, and forwarded to nobody: nobody could have taken them.
    pub(super) left_out: u64,
}

impl Fates {
    /// Adds what an exporter made of what it was given.
    pub(super) fn add(&mut self, ledger: &LedgerSnapshot) {
        self.delivered += ledger.exported + ledger.sent_unconfirmed;
        self.lost += ledger.rejected + ledger.dropped.total();
        self.possible_repeats += ledger.possible_repeats;
    }

    /// Adds a round of `items` that is not committed, of which `waits` wait for the far side.
    pub(super) fn add_open_round(&mut self, items: u64, waits: u64) {
        let waits = waits.min(items);
        self.left += waits;
        self.possible_repeats += items - waits;
    }

    fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("read", self.read),
            ("delivered", self.delivered),
            ("lost", self.lost),
            ("possible_repeats", self.possible_repeats),
            ("left", self.left),
            ("left_out", self.left_out),
        ]
    }
}

impl Counts {
    pub(super) fn into_dict(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("messages", self.messages)?;
        dict.set_item("skipped", self.skipped)?;
        for (name, count) in self.spans.named() {
            dict.set_item(name, count)?;
        }
        for (name, count) in self.points.named() {
            dict.set_item(format!("points_{name}"), count)?;
        }
        Ok(dict)
    }
}
