//! What belongs to spans, found by span.

use super::{NONE, Owned};

/// Items of all spans, those of one span next to each other once [`Grouped::group`] has run.
#[derive(Clone, Debug)]
pub(crate) struct Grouped<T> {
    items: Vec<T>,
    /// Where the items of each span begin, and one more for the end. Empty when all items are the first span's, as in
    /// every tree of one span.
    starts: Vec<u32>,
    /// Whose the last item is.
    last: u32,
    seen: Seen,
}

/// What is known of items before they are grouped. Most come in the order of their owners, and do not clash: nothing is left
/// to be done.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The marks of the last owner's items.
    marks: u64,
    doubts: u8,
}

/// Two items of one owner have the same mark.
const CLASH: u8 = 1;
/// Not all items came to the end, or [`Grouped::starts`] does not go up to the last one's owner.
const DISORDER: u8 = 2;

impl Seen {
    const NOTHING: Self = Self {
        marks: 0,
        doubts: 0,
    };

    #[inline(always)]
    fn note(&mut self, mark: u64) {
        self.doubts |= if self.marks & mark != 0 { CLASH } else { 0 };
        self.marks |= mark;
    }
}

/// Unused room that a finished tree may keep, in bytes: small trees, which are filled again and again, keep all of theirs.
const MOST_ROOM_LEFT: usize = 4 << 10;

impl<T> Grouped<T> {
    pub(crate) const fn new() -> Self {
        Self {
            items: Vec::new(),
            starts: Vec::new(),
            last: NONE,
            seen: Seen::NOTHING,
        }
    }

    #[inline]
    pub(crate) fn items(&self) -> &[T] {
        &self.items
    }

    /// For changes of any kind: whose the items are is found anew.
    #[inline]
    pub(crate) fn items_mut(&mut self) -> &mut Vec<T> {
        self.seen.doubts |= DISORDER;
        &mut self.items
    }

    /// Trees that wait in a queue are many: gives most of what growing by doubling has left over back, where that is much. A
    /// little stays, so that the next tree of about this size fits in; in the memory of a larger one all does.
    #[inline]
    pub(super) fn give_up_room(&mut self) {
        let (used, room) = (self.items.len(), self.items.capacity());
        let has_grown_into_it = used > room / 2;
        if has_grown_into_it && (room - used) * size_of::<T>() > MOST_ROOM_LEFT {
            self.items.shrink_to(used + used / 8);
        }
    }

    /// For changes of what has nothing to do with owners and marks.
    pub(super) fn items_to_rewrite(&mut self) -> &mut [T] {
        &mut self.items
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>()
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
        (self.last, self.seen) = (NONE, Seen::NOTHING);
    }

    /// Adds an item.
    #[inline(always)]
    pub(super) fn push(&mut self, item: T) {
        self.turn_to(item.owner());
        self.seen.note(item.mark());
        self.items.push(item);
    }

    /// Adds several items of one owner.
    #[inline(always)]
    pub(super) fn extend<const N: usize>(&mut self, items: &[T; N]) {
        self.turn_to(items[0].owner());
        let mut seen = self.seen;
        for item in items {
            seen.note(item.mark());
        }
        self.seen = seen;
        self.items.extend_from_slice(items);
    }

    /// The next items are those of `owner`.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a tree of 2^32 attributes does not fit into memory"
    )]
    fn turn_to(&mut self, owner: u32) {
        if owner == self.last {
            return;
        }
        if owner != 0 && owner as usize == self.starts.len() {
            self.starts.push(self.items.len() as u32);
        } else {
            self.go_to(owner);
        }
        self.last = owner;
        self.seen.marks = 0;
    }

    /// Notes where the items of `owner` begin, and of those before that have none; or that they are somewhere else.
    #[inline(never)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a tree of 2^32 attributes does not fit into memory"
    )]
    fn go_to(&mut self, owner: u32) {
        let is_earlier = self.starts.len() > owner as usize;
        self.seen.doubts |= if is_earlier { DISORDER } else { 0 };
        while self.starts.len() <= owner as usize {
            let is_first = self.starts.is_empty();
            self.starts
                .push(if is_first { 0 } else { self.items.len() as u32 });
        }
    }

    /// Takes out the items of `owner`, the last one that there may be.
    pub(super) fn take_back(&mut self, owner: u32) {
        if self.seen.doubts & DISORDER != 0 {
            return self.items.retain(|item| item.owner() != owner);
        }
        if self.last == owner {
            let start = self.starts.pop().unwrap_or(0);
            self.items.truncate(start as usize);
            self.last = NONE;
        }
    }

    /// Moves the items of the owners in `moved` over to `other`, which is empty, where each owner's number is its position there.
    /// Of the `owners` here the others close the gaps. False, and nothing is done, when the items are not in the order of owners.
    #[expect(clippy::cast_possible_truncation, reason = "owners have 28 bits")]
    pub(super) fn move_to(&mut self, other: &mut Self, moved: &[u32], owners: usize) -> bool {
        if self.seen.doubts & DISORDER != 0 {
            return false;
        }
        if self.items.is_empty() {
            self.clear();
            return true;
        }
        self.starts.resize(owners + 1, self.items.len() as u32);
        let (mut kept, mut next) = (0, 0);
        for (gaps, owner) in moved.iter().map(|owner| *owner as usize).enumerate() {
            kept = self.close_gap(next..owner, gaps, kept);
            let (start, end) = (self.starts[owner], self.starts[owner + 1]);
            for item in &self.items[start as usize..end as usize] {
                let mut item = *item;
                item.set_owner(gaps as u32);
                other.push(item);
            }
            next = owner + 1;
        }
        kept = self.close_gap(next..owners, moved.len(), kept);
        self.items.truncate(kept);
        self.starts.truncate(owners - moved.len());
        self.starts.push(kept as u32);
        (self.last, self.seen.marks) = (NONE, 0);
        true
    }

    /// Renumbers `owners`, in front of whom `gaps` have gone, and moves their items to `kept`. Returns where the next ones go.
    #[expect(clippy::cast_possible_truncation, reason = "owners have 28 bits")]
    fn close_gap(&mut self, owners: std::ops::Range<usize>, gaps: usize, kept: usize) -> usize {
        let from = self.starts[owners.start] as usize;
        let to = self.starts[owners.end] as usize;
        for item in &mut self.items[from..to] {
            item.set_owner(item.owner() - gaps as u32);
        }
        if kept != from {
            self.items.copy_within(from..to, kept);
        }
        let shift = (from - kept) as u32;
        for owner in owners {
            self.starts[owner - gaps] = self.starts[owner] - shift;
        }
        kept + to - from
    }

    /// Sorts by owner, keeping the order within one. Answers whether a group may be over `limit` or hold two items that clash.
    pub(super) fn group(&mut self, owners: usize, limit: u32) -> bool {
        if self.seen.doubts & DISORDER == 0 {
            self.complete_starts(owners);
            // A group of more than 64 has two of the same mark.
            return self.seen.doubts != 0 || limit < u64::BITS;
        }
        if let Some(suspicious) = self.mark_starts(owners, limit) {
            return suspicious;
        }
        self.items.sort_by_key(Owned::owner);
        self.mark_starts(owners, limit).unwrap_or(true)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a tree of 2^32 attributes does not fit into memory"
    )]
    fn complete_starts(&mut self, owners: usize) {
        match self.starts.len() {
            0 => {}
            1 => self.starts.clear(),
            _ => self.starts.resize(owners + 1, self.items.len() as u32),
        }
    }

    /// Notes where the items of each owner begin, in one pass. `None`: they are not in the order of their owners.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "owners have 28 bits; a tree of 2^32 attributes does not fit into memory"
    )]
    fn mark_starts(&mut self, owners: usize, limit: u32) -> Option<bool> {
        let Self { items, starts, .. } = self;
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
            let mark = item.mark();
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
