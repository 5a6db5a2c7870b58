//! Trees with known content.

use std::sync::Arc;

use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::tree::{SpanLimits, SpanTree, TreeBuilder, TreeStart};

/// A tree of `spans` spans, a root and its children, under a trace id of its own, and the ids that were chosen for them.
pub fn tree_of(spans: usize) -> (SpanTree, Vec<SpanId>) {
    let ids: Vec<_> = (0..spans).map(|_| SpanId::next()).collect();
    (tree_with(&ids), ids)
}

/// A tree whose spans, a root and its children, have these ids.
pub fn tree_with(ids: &[SpanId]) -> SpanTree {
    let spans: Vec<_> = ids.iter().map(|id| (*id, "work")).collect();
    tree_named(&spans)
}

/// A tree whose spans, a root and its children, have these ids and names.
pub fn tree_named(spans: &[(SpanId, &str)]) -> SpanTree {
    let start = TreeStart::new(TraceId::random(), Arc::new(Resource::default()), scope());
    let mut builder = TreeBuilder::new(start, SpanLimits::default());
    for (place, (id, name)) in (0_u64..).zip(spans) {
        let name = builder.symbol(name);
        let parent = (place > 0).then_some(0);
        builder.start_with_id(*id, name, SiteId::NONE, parent, START_NANOS + place);
    }
    for (place, _) in (0_u32..).zip(spans) {
        builder.end(place, START_NANOS + 1_000_000 + u64::from(place));
    }
    builder.finish()
}

/// A root and a child of a trace that somebody watches.
pub fn watched_tree() -> SpanTree {
    let mut start = TreeStart::new(TraceId::random(), Arc::new(Resource::default()), scope());
    start.is_debug = true;
    let mut builder = TreeBuilder::new(start, SpanLimits::default());
    let name = builder.symbol("work");
    let root = builder.start_with_id(SpanId::next(), name, SiteId::NONE, None, START_NANOS);
    builder.start_with_id(SpanId::next(), name, SiteId::NONE, Some(root), START_NANOS);
    builder.end(1, START_NANOS + 1_000_000);
    builder.end(root, START_NANOS + 1_000_000);
    builder.finish()
}

/// When the roots start: 2023-11-14T22:13:20Z.
pub const START_NANOS: u64 = 1_700_000_000_000_000_000;

fn scope() -> Arc<Scope> {
    Arc::new(Scope::new("hiq-testkit", "1"))
}
