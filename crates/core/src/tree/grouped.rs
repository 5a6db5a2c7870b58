//! What belongs to spans, found by span.

use super::Owned;

/// Items of all spans, those of one span next to each other once [`Grouped::group`] has run.
#[derive(Clone, Debug)]
pub(crate) struct Grouped<T> {
    pub(crate) items: Vec<T>,
    /// Where the items of each span begin, and one more for the end. Empty when all items are the first span's, as in
    /// every tree of one span.
    starts: Vec<u32>,
}

impl<T> Grouped<T> {
    pub(crate) const fn new() -> Self {
        Self {
            items: Vec::new(),
            starts: Vec::new(),
        }
    }
}

impl<T> Default for Grouped<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Owned> Grouped<T> {
    #[inline]
    pub(crate) fn of(&self, owner: u32) -> &[T] {
        let at = owner as usize;
        match self.starts.get(at..at + 2) {
            Some(&[start, end]) => &self.items[start as usize..end as usize],
            None if at == 0 && self.starts.is_empty() => &self.items,
            _ => &[],
        }
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.starts.clear();
    }

    /// Sorts by owner, keeping the order within one. Answers whether a group may be over `limit` or hold two items that clash:
    /// items of different marks, one bit each, do not clash; those without a mark never do.
    pub(super) fn group(&mut self, owners: usize, limit: u32, mark: impl Fn(&T) -> u64) -> bool {
        if self.items.is_empty() {
            self.starts.clear();
            return false;
        }
        if let Some(suspicious) = self.mark_starts(owners, limit, &mark) {
            return suspicious;
        }
        self.items.sort_by_key(Owned::owner);
        self.mark_starts(owners, limit, &mark).unwrap_or(true)
    }

    /// Notes where the items of each owner begin, in one pass. `None`: they are not in the order of their owners.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "owners have 28 bits; a tree of 2^32 attributes does not fit into memory"
    )]
    fn mark_starts(&mut self, owners: usize, limit: u32, mark: impl Fn(&T) -> u64) -> Option<bool> {
        let Self { items, starts } = self;
        starts.clear();
        let (mut suspicious, mut seen, mut begin, mut current) = (false, 0, 0, 0);
        for (at, item) in items.iter().enumerate() {
            let owner = item.owner() as usize;
            if owner != current {
                if owner < current {
                    return None;
                }
                if starts.is_empty() {
                    starts.reserve(owners + 1);
                    starts.push(0);
                }
                starts.resize(owner + 1, at as u32);
                suspicious |= at - begin > limit as usize;
                (seen, begin, current) = (0, at, owner);
            }
            let mark = mark(item);
            suspicious |= seen & mark != 0;
            seen |= mark;
        }
        suspicious |= items.len() - begin > limit as usize;
        if !starts.is_empty() {
            starts.resize(owners + 1, items.len() as u32);
        }
        Some(suspicious)
    }
}
