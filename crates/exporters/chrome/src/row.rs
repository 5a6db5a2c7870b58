//! What stands on a row of the viewer already, and whether more can join it: slices of one row lie inside each other or apart.

use hiq_core::id::{SpanId, TraceId};
use hiq_core::span::Span;

/// A part of a row that has been given away: a slice with all that lies in it, or several of one parent one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Its span, of several the first.
    pub(crate) id: SpanId,
    /// The span of this process that it hangs under; invalid: none.
    pub(crate) parent: SpanId,
    /// The root that it left early, which is going to surround it; invalid: it left with its root.
    pub(crate) root: SpanId,
}

/// Whether a viewer finds out by itself which of two slices that begin or end at one time lies in the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ties {
    /// It does, by their lengths: a slice is one event.
    #[default]
    ByLength,
    /// It goes by the order in which it reads that they begin and end.
    ByOrder,
}

/// What a tree would put on a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) trace_id: TraceId,
    /// What lies apart, by time; never empty.
    pub(crate) parts: &'a [Part],
}

/// How well a block suits a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suits {
    /// Something would overlap.
    Not,
    /// Nothing would, but what stands there may wait for a parent around it.
    Apart,
    /// Nothing would, and nothing there is waited for.
    Free,
    /// What stands there lies in the block, or beside it in the same parent.
    Kin,
}

/// A row.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Apart, by time.
    parts: Vec<Part>,
    /// A root that is open yet: some of what will lie in it stands here.
    awaited: Option<(TraceId, SpanId)>,
    /// Parts beyond which some are taken together.
    room: usize,
}

/// Parts that a row remembers at most: as many as calls of a deep recursion may be open around them.
const MAX_PARTS: usize = 1_024;
/// Parts that are remembered one by one.
const NEWEST: usize = 256;

impl Part {
    /// That which `span` is the lowest slice of.
    pub(crate) fn of(span: Span<'_>, root: SpanId) -> Self {
        let parent = span.parent_id().filter(|_| !span.has_remote_parent());
        Self {
            start: span.start().0,
            end: span.end().0,
            id: span.id(),
            parent: parent.unwrap_or(SpanId::INVALID),
            root,
        }
    }
}

impl<'a> Block<'a> {
    fn first(&self) -> &'a Part {
        &self.parts[0]
    }

    fn last(&self) -> &'a Part {
        &self.parts[self.parts.len() - 1]
    }

    fn has(&self, id: SpanId) -> bool {
        self.parts.iter().any(|part| part.id == id)
    }
}

impl Ties {
    /// Whether `old`, which was written before, lies before `start` and what begins there.
    fn is_before(old: &Part, start: u64) -> bool {
        old.end <= start
    }

    /// Whether `old`, which was written before, lies behind what ends at `end`.
    fn is_behind(self, old: &Part, end: u64) -> bool {
        match self {
            Self::ByLength => end <= old.start,
            Self::ByOrder => end < old.start,
        }
    }

    /// Whether a slice is shown around `old`, which was written before.
    fn surrounds(self, (start, end): (u64, u64), old: &Part) -> bool {
        let begins_before = match self {
            Self::ByLength => start <= old.start,
            Self::ByOrder => start < old.start,
        };
        begins_before && old.end <= end
    }
}

impl Row {
    /// How well `block`, which consists of `spans` in the order of their starts, suits this row.
    pub(crate) fn suits<'s>(
        &self,
        block: Block<'_>,
        ties: Ties,
        spans: impl Iterator<Item = Span<'s>>,
        around: &mut Vec<SpanId>,
    ) -> Suits {
        if self.waits_for_another(block) {
            return Suits::Not;
        }
        let (first, last) = (block.first(), block.last());
        let from = self
            .parts
            .partition_point(|old| Ties::is_before(old, first.start));
        let behind = |old: &Part| !ties.is_behind(old, last.end);
        let to = from + self.parts[from..].partition_point(behind);
        match surrounded(&self.parts[from..to], ties, spans, around) {
            None => Suits::Not,
            Some(true) => Suits::Kin,
            Some(false) => self.suits_beside(block),
        }
    }

    /// Whether a root is going to surround what stands here, and `block` neither belongs to it nor may hang under it.
    fn waits_for_another(&self, block: Block<'_>) -> bool {
        let Some((trace_id, root)) = self.awaited else {
            return false;
        };
        let first = block.first();
        let may_hang_under = first.parent.is_valid() && block.trace_id == trace_id;
        first.root != root && !may_hang_under && !block.has(root)
    }

    fn suits_beside(&self, block: Block<'_>) -> Suits {
        let first = block.first();
        let is_awaited = |(_, root): (_, SpanId)| first.root == root || block.has(root);
        match self.parts.last() {
            _ if self.awaited.is_some_and(is_awaited) => Suits::Kin,
            Some(last) if !last.parent.is_valid() => Suits::Free,
            Some(last) if last.parent == first.parent => Suits::Kin,
            Some(_) => Suits::Apart,
            None => Suits::Free,
        }
    }

    /// Takes what suits.
    pub(crate) fn take(&mut self, block: Block<'_>) {
        for part in block.parts {
            self.take_part(*part);
        }
        if block.first().root.is_valid() {
            self.awaited = Some((block.trace_id, block.first().root));
        }
        if self.parts.len() > self.room.max(2 * NEWEST) {
            self.forget_gaps();
            self.room = (2 * self.parts.len()).min(MAX_PARTS);
        }
    }

    /// The root of `block` has come, whichever row it stands on.
    pub(crate) fn greet(&mut self, block: Block<'_>) {
        if self.awaited.is_some_and(|(_, root)| block.has(root)) {
            self.awaited = None;
        }
    }

    /// What `new` surrounds is part of it from now on.
    fn take_part(&mut self, new: Part) {
        let from = self
            .parts
            .partition_point(|old| Ties::is_before(old, new.start));
        let inside = self.parts[from..].partition_point(|old| old.start < new.end);
        match inside {
            0 => self.parts.insert(from, new),
            1 => self.parts[from] = new,
            _ => drop(self.parts.splice(from..from + inside, [new])),
        }
    }

    /// Takes older neighbours of one parent together, and if that is not enough the oldest, whose parents find no room then.
    fn forget_gaps(&mut self) {
        let mut older = self.parts.len() - NEWEST;
        self.parts.dedup_by(|next, one| {
            older = older.saturating_sub(1);
            let is_kin = older > 0 && one.parent == next.parent && one.root == next.root;
            if is_kin {
                one.end = next.end;
            }
            is_kin
        });
        let mut too_many = match self.parts.len() {
            ..=MAX_PARTS => 0,
            parts => parts - MAX_PARTS / 2,
        };
        self.parts.dedup_by(|next, one| {
            let is_old = too_many > 0;
            if is_old {
                too_many -= 1;
                one.end = next.end;
                (one.parent, one.root) = (SpanId::INVALID, SpanId::INVALID);
            }
            is_old
        });
    }
}

/// Whether some of `old` lie in their own parents among `spans`; `None` when one overlaps a span, or lies in others alone.
/// `around` is room for a span around each, the
/// parent if that is one.
fn surrounded<'s>(
    old: &[Part],
    ties: Ties,
    spans: impl Iterator<Item = Span<'s>>,
    around: &mut Vec<SpanId>,
) -> Option<bool> {
    if old.is_empty() {
        return Some(false);
    }
    around.clear();
    around.resize(old.len(), SpanId::INVALID);
    for span in spans {
        let times @ (start, end) = (span.start().0, span.end().0);
        let from = old.partition_point(|old| Ties::is_before(old, start));
        let met = old[from..].partition_point(|old| !ties.is_behind(old, end));
        let [first, last] = match &old[from..from + met] {
            [] => continue,
            [one] => [one; 2],
            [first, .., last] => [first, last],
        };
        // A tree that is written in several payloads is met again.
        let is_itself = first.id == span.id() && (first.start, first.end) == times;
        if is_itself || around[from] == first.id {
            around[from] = first.id;
        } else if ties.surrounds(times, first) && ties.surrounds(times, last) {
            let met = around[from..].iter_mut().zip(&old[from..from + met]);
            // The parent, where that is met.
            met.filter(|(around, old)| !around.is_valid() || **around != old.parent)
                .for_each(|(around, _)| *around = span.id());
        } else {
            return None;
        }
    }
    let mut is_any = false;
    for (old, around) in old.iter().zip(around) {
        is_any |= around.is_valid();
        if around.is_valid() && *around != old.parent && *around != old.id {
            return None;
        }
    }
    Some(is_any)
}
