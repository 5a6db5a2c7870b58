//! Recording: open trees, and which span of them is current.
//!
//! An [`OpenTree`] belongs to one thread (or to one coroutine that moves between threads) at a time, so recording takes no lock.
//! [`Tracer`](tracer::Tracer) is the face for Rust programs; the Python binding drives [`OpenTree`] itself.

use std::sync::Arc;

use crate::context::Context;
use crate::id::SpanId;
use crate::time::Clock;
use crate::tree::{Closed, Mark, Role, SpanTree, TreeBuilder};

pub mod tracer;

/// Finished spans that a root may hold back before they leave as a fragment of their own.
pub const MAX_FINISHED_SPANS: usize = 4_096;

/// The longest that finished spans wait for their root, in nanoseconds.
pub const MAX_HELD_BACK_NANOS: u64 = 10_000_000_000;

/// What detached spans may leave behind in a tree until its next split, in bytes.
const MAX_LEFT_BEHIND: usize = 256 << 10;

/// A tree that is being recorded, and its innermost open span.
#[derive(Debug)]
pub struct OpenTree {
    builder: TreeBuilder,
    current: u32,
    /// Spans at which the finished ones leave.
    split_at_spans: usize,
    /// Tick at which the finished ones leave.
    split_at_tick: u64,
    hold_back_ticks: u64,
}

/// Whether a start or end left the tree due for [`OpenTree::split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a long-running root piles up unless its finished spans are let go"]
#[expect(
    clippy::exhaustive_structs,
    reason = "two words that a recorder keeps in registers"
)]
pub struct Started {
    /// The new span.
    pub id: SpanId,
    /// True when [`OpenTree::split`] should be called.
    pub split_due: bool,
}

impl OpenTree {
    /// Opens the root of the tree in `builder`.
    #[inline(always)]
    pub fn new(mut builder: TreeBuilder, hold_back_ticks: u64, role: Role, tick: u64) -> Self {
        let current = builder.open_as(role, None, tick);
        Self {
            builder,
            current,
            split_at_spans: MAX_FINISHED_SPANS,
            split_at_tick: tick.saturating_add(hold_back_ticks),
            hold_back_ticks,
        }
    }

    /// Opens a child of the current span, which becomes the current one.
    #[inline]
    pub fn start(&mut self, role: Role, tick: u64) -> Started {
        let (index, id) = self.builder.open_new(role, Some(self.current), tick);
        self.current = index;
        Started {
            id,
            split_due: self.is_split_due(tick),
        }
    }

    /// Adds a child of the current span that starts and ends at `tick`; its index, for what belongs to it.
    /// Look at [`OpenTree::is_split_due`] afterwards.
    #[inline]
    pub fn add_moment(&mut self, role: Role, tick: u64) -> u32 {
        let index = self.builder.open_as(role, Some(self.current), tick);
        self.builder.end(index, tick);
        index
    }

    /// True when [`OpenTree::split`] should be called.
    #[inline]
    pub fn is_split_due(&self, tick: u64) -> bool {
        self.builder.len() >= self.split_at_spans || tick >= self.split_at_tick
    }

    /// Closes the current span, which must be `id`; its parent becomes the current one.
    ///
    /// When another span is current (a frame was left without its end), the spans inside `id` are closed as well.
    /// Returns true when the root is closed: the tree is complete.
    #[inline]
    pub fn end(&mut self, id: SpanId, tick: u64) -> bool {
        self.close(id, tick) == Closed::Root
    }

    /// The same, told in full.
    #[inline]
    pub(crate) fn close(&mut self, id: SpanId, tick: u64) -> Closed {
        let closed = self.builder.close(self.current, id, tick);
        match closed {
            Closed::InsideOf(parent) => self.current = parent,
            Closed::Root => {}
            Closed::NotThis => return self.close_outer(id, tick),
        }
        closed
    }

    #[cold]
    #[inline(never)]
    fn close_outer(&mut self, id: SpanId, tick: u64) -> Closed {
        if self.unwind_to(id, tick) {
            self.close(id, tick)
        } else {
            Closed::NotThis
        }
    }

    /// Closes the spans inside `id`; false when `id` is not open in this tree.
    #[cold]
    fn unwind_to(&mut self, id: SpanId, tick: u64) -> bool {
        let mut span = Some(self.current);
        let mut inner = Vec::new();
        while let Some(index) = span {
            if self.builder.span_id(index) == id {
                for abandoned in inner {
                    self.builder.end(abandoned, tick);
                }
                self.current = index;
                return true;
            }
            inner.push(index);
            span = self.builder.parent_index(index);
        }
        false
    }

    /// Takes the current span out of the tree if it is `id`, has no children, is not the root and took less than `min_ticks`.
    pub fn forget_short_leaf(&mut self, id: SpanId, tick: u64, min_ticks: u64) -> bool {
        let index = self.current;
        let Some(parent) = self.builder.parent_index(index) else {
            return false;
        };
        let is_short = tick.saturating_sub(self.builder.start_tick(index)) < min_ticks;
        if self.builder.span_id(index) != id || !is_short || !self.builder.take_back(index) {
            return false;
        }
        self.current = parent;
        true
    }

    /// Whether the tree is nothing but its root `id`, which took less than `min_ticks`, and nothing of it has left.
    pub fn is_short_lone_root(&self, id: SpanId, tick: u64, min_ticks: u64) -> bool {
        let is_lone = self.builder.len() == 1 && self.split_at_spans == MAX_FINISHED_SPANS;
        let lasted = tick.saturating_sub(self.builder.start_tick(0));
        is_lone && self.root_id() == id && lasted < min_ticks
    }

    /// The innermost open span.
    #[inline]
    pub fn current(&self) -> u32 {
        self.current
    }

    /// The root.
    #[inline]
    pub fn root(&self) -> u32 {
        0
    }

    /// The root's id.
    pub fn root_id(&self) -> SpanId {
        self.builder.span_id(0)
    }

    /// Its id.
    #[inline]
    pub fn current_id(&self) -> SpanId {
        self.builder.span_id(self.current)
    }

    /// Where the next span would hang, for other threads and processes.
    pub fn context(&self) -> Context {
        let builder = &self.builder;
        Context {
            trace_id: builder.trace_id(),
            span_id: self.current_id(),
            trace_flags: builder.trace_flags(),
            trace_state: builder.trace_state().to_owned(),
            is_debug: builder.is_debug(),
            scale: Some(builder.scale()),
            ..Context::default()
        }
    }

    /// The index of the open span `id`, walking outwards from the innermost one.
    pub fn index_of_open(&self, id: SpanId) -> Option<u32> {
        let mut span = Some(self.current);
        while let Some(index) = span {
            if self.builder.span_id(index) == id {
                return Some(index);
            }
            span = self.builder.parent_index(index);
        }
        None
    }

    /// The same for a span that is probably not the innermost one.
    #[cold]
    #[inline(never)]
    pub(crate) fn index_of_outer(&self, id: SpanId) -> Option<u32> {
        self.index_of_open(id)
    }

    /// For attributes, events, status and metrics of open spans.
    #[inline]
    pub fn builder(&mut self) -> &mut TreeBuilder {
        &mut self.builder
    }

    /// For reading.
    #[inline]
    pub fn peek(&self) -> &TreeBuilder {
        &self.builder
    }

    /// Lets the finished spans go as a fragment; the open ones stay. `None` when nothing is finished yet.
    #[cold]
    pub fn split(&mut self) -> Option<Arc<SpanTree>> {
        let split = self.builder.split_finished();
        let fragment = split.map(|split| {
            self.current = split.place_of(self.current).unwrap_or(0);
            split.finished
        });
        // Deep recursion keeps thousands of spans open: the next look is as far away again.
        self.split_at_spans = self.builder.len() + MAX_FINISHED_SPANS;
        self.split_at_tick = Clock::ticks().saturating_add(self.hold_back_ticks);
        fragment
    }

    /// What [`OpenTree::detach`] wants to know of a span that is about to start.
    #[inline]
    pub fn mark(&self) -> Mark {
        self.builder.mark()
    }

    /// Takes the open span `id`, with all that is inside it, out into a tree of its own, whose root it is; its parent becomes the
    /// current span here. For work that waits while its caller goes on. `began` is the tree's [`OpenTree::mark`] of the moment
    /// before `id` started. `None` when `id` is not open here, or is the root.
    #[cold]
    pub fn detach(&mut self, id: SpanId, began: Mark) -> Option<Self> {
        let first = self.index_of_open(id)?;
        let outer = self.builder.parent_index(first)?;
        let builder = self.builder.detach(first, began)?;
        let current = std::mem::replace(&mut self.current, outer) - first;
        if self.builder.left_behind() > MAX_LEFT_BEHIND {
            self.split_at_tick = 0;
        }
        Some(Self {
            builder,
            current,
            split_at_spans: MAX_FINISHED_SPANS,
            split_at_tick: Clock::ticks().saturating_add(self.hold_back_ticks),
            hold_back_ticks: self.hold_back_ticks,
        })
    }

    /// The complete tree. Call after [`OpenTree::end`] said that the root is closed.
    #[inline]
    pub fn finish(self) -> Arc<SpanTree> {
        self.builder.finish_shared()
    }

    /// The tree as it stands; open spans end now and are marked `hiq.unfinished`.
    pub fn finish_unfinished(mut self) -> Arc<SpanTree> {
        self.builder.close_unfinished(Clock::ticks());
        self.builder.finish_shared()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TraceId;
    use crate::intern::{SiteId, symbol};
    use crate::tree::{SpanLimits, TreeStart};
    use crate::value::{Value, ValueRef};

    fn role(name: &str) -> Role {
        Role::new(symbol(name).unwrap(), SiteId::NONE)
    }

    fn open_tree() -> OpenTree {
        let start = TreeStart::new(TraceId::random(), Arc::default(), Arc::default());
        let builder = TreeBuilder::new(start, SpanLimits::default());
        OpenTree::new(builder, u64::MAX, role("root"), 1)
    }

    #[test]
    fn a_detached_branch_goes_on_by_itself_and_so_does_the_tree_that_it_left() {
        let mut tree = open_tree();
        let root = tree.root_id();
        let mark = tree.mark();
        let waits = tree.start(role("waits"), 2).id;
        let inner = tree.start(role("inner"), 3).id;
        let mut branch = tree.detach(waits, mark).unwrap();
        assert_eq!((tree.current_id(), tree.peek().len()), (root, 1));
        assert_eq!((branch.current_id(), branch.root_id()), (inner, waits));
        let beside = tree.start(role("beside"), 4).id;
        let innermost = branch.start(role("innermost"), 5).id;
        assert!(!branch.end(innermost, 6) && !branch.end(inner, 7) && branch.end(waits, 8));
        assert!(!tree.end(beside, 9) && tree.end(root, 10));
        let edges = |tree: Arc<SpanTree>| {
            let edge = |span: crate::span::Span<'_>| (span.id(), span.parent_id());
            tree.spans().map(edge).collect::<Vec<_>>()
        };
        assert_eq!(edges(tree.finish()), [(root, None), (beside, Some(root))]);
        let of_branch = [
            (waits, Some(root)),
            (inner, Some(waits)),
            (innermost, Some(inner)),
        ];
        assert_eq!(edges(branch.finish()), of_branch);
    }

    #[test]
    fn neither_the_root_nor_a_closed_span_is_detached() {
        let mut tree = open_tree();
        let mark = tree.mark();
        let closed = tree.start(role("closed"), 2).id;
        assert!(!tree.end(closed, 3));
        assert!(tree.detach(closed, mark).is_none());
        assert!(tree.detach(tree.root_id(), mark).is_none());
        assert_eq!(tree.peek().len(), 2);
    }

    #[test]
    fn what_was_said_of_a_branch_leaves_with_it_after_a_split_and_what_is_said_of_its_root_stays() {
        let mut tree = open_tree();
        let key = symbol("record.text").unwrap();
        let describe = |tree: &mut OpenTree, span: u32, text: &str| {
            let text = ValueRef::Str(text);
            tree.builder().set_attribute(span, key, text);
            tree.builder().add_event(span, key, 5, [(key, text)]);
        };
        for tick in 2..12 {
            let finished = tree.start(role("finished"), tick).id;
            let span = tree.current();
            describe(&mut tree, span, "finished");
            assert!(!tree.end(finished, tick + 1));
        }
        let mark = tree.mark();
        let waits = tree.start(role("waits"), 20).id;
        let span = tree.current();
        describe(&mut tree, span, "waits");
        assert_eq!(tree.split().map(|fragment| fragment.len()), Some(10));
        describe(&mut tree, 0, "root");
        let branch = tree.detach(waits, mark).unwrap().finish_unfinished();
        let root = tree.finish_unfinished();
        for (tree, expected) in [(branch, "waits"), (root, "root")] {
            let span = tree.span(0).unwrap();
            let said = span
                .own_attributes()
                .find(|(found, _)| found.as_str() == "record.text");
            assert_eq!(said.unwrap().1.to_value(), Value::from(expected));
            let events: Vec<Value> = span
                .events()
                .flat_map(|event| {
                    event
                        .attributes()
                        .map(|(_, value)| value.to_value())
                        .collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(events, [Value::from(expected)]);
        }
    }

    #[test]
    fn what_thousands_of_branches_have_left_behind_does_not_pile_up() {
        let mut tree = open_tree();
        let key = symbol("record.text").unwrap();
        tree.builder().set_attribute(0, key, ValueRef::Str("root"));
        let (root, long) = (tree.root_id(), "x".repeat(1_000));
        for number in 0..5_000_u64 {
            let mark = tree.mark();
            let started = tree.start(role("waits"), number + 2);
            if started.split_due {
                assert!(tree.split().is_none(), "nothing is finished");
            }
            let span = tree.current();
            tree.builder()
                .set_attribute(span, key, ValueRef::Str(&long));
            let list = Value::Array(vec![long.as_str().into()]);
            tree.builder().set_attribute(span, key, list.as_ref());
            assert_eq!(tree.detach(started.id, mark).unwrap().peek().len(), 1);
        }
        assert!(tree.end(root, 9_999));
        let tree = tree.finish();
        assert!(tree.heap_bytes() < 1 << 20, "{}", tree.heap_bytes());
        let root = tree.span(0).unwrap();
        let kept: Vec<Value> = root
            .own_attributes()
            .map(|(_, value)| value.to_value())
            .collect();
        assert_eq!(kept, [Value::from("root")]);
    }
}
