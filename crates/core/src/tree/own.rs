//! A tree that nobody else holds, in the allocation that it will be shared in: it is filled where it stays.
#![allow(unsafe_code, reason = "one write through a pointer, argued there")]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::SpanTree;

/// The only reference to a tree. A tree is some two hundred bytes; this is a word.
#[derive(Debug)]
pub struct OwnTree(
    /// Never cloned, and nobody has a weak one: see [`OwnTree::try_from_shared`].
    Arc<SpanTree>,
);

impl OwnTree {
    /// Takes over `shared`; `None` when somebody else holds it too.
    #[inline]
    pub fn try_from_shared(mut shared: Arc<SpanTree>) -> Option<Self> {
        Arc::get_mut(&mut shared)?;
        Some(Self(shared))
    }

    /// From now on others may hold it as well.
    #[inline]
    pub fn share(self) -> Arc<SpanTree> {
        self.0
    }

    /// The tree itself.
    pub fn into_inner(self) -> SpanTree {
        // Nobody else holds it, so the fall-back is never taken.
        Arc::into_inner(self.0).unwrap_or_else(SpanTree::empty)
    }
}

impl From<SpanTree> for OwnTree {
    fn from(tree: SpanTree) -> Self {
        Self(Arc::new(tree))
    }
}

impl Deref for OwnTree {
    type Target = SpanTree;

    #[inline(always)]
    fn deref(&self) -> &SpanTree {
        &self.0
    }
}

impl DerefMut for OwnTree {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut SpanTree {
        // SAFETY: this is the only reference, and `self` is borrowed mutably. The pointer comes from the allocation itself, not
        // from a shared borrow of the tree. What `Arc::get_mut` would find out again at each write has been found once.
        unsafe { &mut *Arc::as_ptr(&self.0).cast_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::id::{SpanId, TraceId};
    use crate::intern::{SiteId, Symbol, symbol};
    use crate::pool;
    use crate::resource::{Resource, Scope};
    use crate::span::Status;
    use crate::time::Clock;
    use crate::tree::{ColumnKind, ColumnSpec, Origin, SpanLimits, TreeBuilder};
    use crate::value::{Value, ValueRef};

    fn resource(name: &str) -> Arc<Resource> {
        Arc::new(Resource::new([("service.name", Value::from(name))]))
    }

    /// A tree of one span, whose thread keeps it when it is let go.
    fn begun(parent: Option<&Context>, resource: &Arc<Resource>) -> TreeBuilder {
        let origin = Origin {
            trace_id: TraceId::random(),
            parent,
            is_sampled: parent.is_some(),
            resource,
            scope: &Arc::new(Scope::new("own", "1")),
            limits: SpanLimits::default(),
        };
        let mut builder = TreeBuilder::begin(&origin, Clock::ticks());
        let name = symbol("own").unwrap();
        builder.start(name, SiteId::NONE, None, Clock::ticks());
        builder
    }

    #[test]
    fn a_used_tree_shows_nothing_of_what_it_was() {
        let mut parent = Context::local(TraceId::random(), SpanId::next(), 0xff);
        parent.trace_state = "vendor=1".to_owned();
        (parent.is_remote, parent.is_debug) = (true, true);
        let mut builder = begun(Some(&parent), &resource("first"));
        let key = symbol("own.key").unwrap();
        builder.set_attribute(0, key, ValueRef::Str("text"));
        builder.set_attribute(0, key, ValueRef::Array(&[Value::Int(1)]));
        builder.add_event(0, key, 1, [(key, ValueRef::Int(1))]);
        builder.add_link(0, (TraceId::random(), SpanId::next()), "a=b", 1, []);
        builder.set_status(0, Status::Error, "broken");
        let metric = ColumnSpec::new("memory", "MBy", ColumnKind::Level);
        builder.set_metric(0, &Arc::new(metric), 1.0, 2.0);
        builder.set_outer_parent(0, SpanId::next());
        builder.end(0, Clock::ticks());
        let first = builder.finish_shared();
        let (address, span) = (Arc::as_ptr(&first), first.span(0).unwrap());
        assert_eq!((span.events().len(), span.links().len()), (1, 1));
        assert_eq!(span.measurements().count(), 2);
        assert_eq!((span.trace_flags(), span.is_debug()), (0xff, true));
        pool::recycle_here(first);

        let mut builder = begun(None, &resource("second"));
        builder.end(0, Clock::ticks());
        let again = builder.finish_shared();
        assert_eq!(Arc::as_ptr(&again), address, "the same allocation");
        let span = again.span(0).unwrap();
        assert_eq!(again.resource().service_name(), "second");
        assert_eq!((span.parent_id(), span.trace_flags()), (None, 0));
        assert!(!span.is_debug() && !span.has_remote_parent() && span.trace_state().is_none());
        assert_eq!(span.own_attributes().count(), 0);
        assert_eq!((span.events().len(), span.links().len()), (0, 0));
        assert_eq!(span.measurements().count(), 0);
        assert!(span.status_message().is_none());
        assert!(again.rare().rich.is_empty() && again.text(Symbol::EMPTY).is_empty());
    }

    #[test]
    fn only_a_tree_that_nobody_else_holds_is_taken_over() {
        let shared = begun(None, &resource("held")).finish_shared();
        let other = Arc::clone(&shared);
        assert!(OwnTree::try_from_shared(shared).is_none());
        let mut own = OwnTree::try_from_shared(other).unwrap();
        own.clear();
        assert!(own.share().is_empty());
    }
}
