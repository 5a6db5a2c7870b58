//! The fragments that a driver holds, by key.

use std::collections::VecDeque;
use std::sync::Arc;

use hiq_core::tree::SpanTree;
use pyo3::prelude::*;

/// Spans that a driver holds at most; older calls make room.
const MAX_SPANS: usize = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Held {
    /// Oldest key first.
    pub(super) keys: VecDeque<Key>,
    pub(super) spans: usize,
    pub(super) dropped: usize,
    /// Those of `dropped` that went since the spans were too many, not since HiQ's limit of keys was reached.
    pub(super) outgrown: usize,
    /// Own spans that were ever held: what the overhead is counted by.
    pub(super) seen: usize,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) value: Py<PyAny>,
    /// Fragments and how many own spans each has.
    fragments: VecDeque<(Arc<SpanTree>, usize)>,
}

impl Key {
    pub(super) fn trees(&self) -> Vec<Arc<SpanTree>> {
        let trees = self.fragments.iter().map(|(tree, _)| Arc::clone(tree));
        trees.collect()
    }
}

impl Held {
    /// Where the key is that is this very object.
    pub(super) fn position(&self, key: &Py<PyAny>) -> Option<usize> {
        self.keys.iter().rposition(|known| known.value.is(key))
    }

    /// The fragments of a key.
    pub(super) fn of(&self, key: &Py<PyAny>) -> Option<Vec<Arc<SpanTree>>> {
        self.position(key).map(|at| self.keys[at].trees())
    }

    /// Keeps a fragment with its own spans. Returns what has to go for it: as HiQ counts, the limit and one more stay.
    pub(super) fn keep(
        &mut self,
        key: Py<PyAny>,
        tree: &Arc<SpanTree>,
        own: usize,
        max_keys: usize,
    ) -> Vec<Key> {
        self.seen += own;
        self.spans += own;
        let at = self.position(&key).unwrap_or_else(|| {
            self.keys.push_back(Key {
                value: key,
                fragments: VecDeque::new(),
            });
            self.keys.len() - 1
        });
        self.keys[at].fragments.push_back((Arc::clone(tree), own));
        let mut evicted = Vec::new();
        while self.keys.len() > max_keys + 1 {
            evicted.extend(self.drop_oldest_key());
        }
        while self.spans > MAX_SPANS && self.drop_oldest_fragment() {}
        evicted
    }

    fn drop_oldest_key(&mut self) -> Option<Key> {
        let key = self.keys.pop_front()?;
        let own: usize = key.fragments.iter().map(|(_, own)| own).sum();
        self.spans -= own;
        self.dropped += own;
        Some(key)
    }

    /// False when only one fragment is left: a single call may be larger than the cap.
    fn drop_oldest_fragment(&mut self) -> bool {
        let fragments: usize = self.keys.iter().map(|key| key.fragments.len()).sum();
        if fragments < 2 {
            return false;
        }
        let Some(key) = self.keys.iter_mut().find(|key| !key.fragments.is_empty()) else {
            return false;
        };
        if let Some((_, own)) = key.fragments.pop_front() {
            self.spans -= own;
            self.dropped += own;
            self.outgrown += own;
        }
        true
    }
}
