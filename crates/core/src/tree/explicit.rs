//! What most spans share with their tree, and a few say for themselves: mostly spans that were decoded.

use std::sync::Arc;

use super::{Explicit, TreeBuilder};
use crate::id::SpanId;
use crate::resource::Scope;
use crate::span::Dropped;

impl TreeBuilder {
    /// The parent of `span`, when that is neither in this tree nor the tree's own parent.
    pub fn set_outer_parent(&mut self, span: u32, parent: SpanId) {
        let fill = self.tree.parent;
        put(&mut self.explicit().parent, span, parent, fill);
    }

    /// `tracestate` of one span, when that differs from the tree's.
    pub fn set_trace_state(&mut self, span: u32, trace_state: &str) {
        let symbol = self.symbol(trace_state);
        let fill = self.tree.trace_state;
        put(&mut self.explicit().trace_state, span, symbol, fill);
    }

    /// W3C flags of one span, when they differ from the tree's.
    pub fn set_trace_flags(&mut self, span: u32, flags: u8) {
        let fill = self.tree.trace_flags;
        put(&mut self.explicit().trace_flags, span, flags, fill);
    }

    /// The scope of one span, when that differs from the tree's.
    pub fn set_scope(&mut self, span: u32, scope: &Arc<Scope>) {
        let default = Arc::clone(&self.tree.scope);
        let explicit = self.explicit();
        if explicit.scopes.is_empty() {
            explicit.scopes.push(default);
        }
        let known = explicit
            .scopes
            .iter()
            .position(|known| Arc::ptr_eq(known, scope));
        let index = known.unwrap_or_else(|| {
            explicit.scopes.push(Arc::clone(scope));
            explicit.scopes.len() - 1
        });
        let index = u16::try_from(index).unwrap_or(0);
        put(&mut explicit.scope, span, index, 0);
    }

    /// What had been dropped from a span before it came here.
    pub fn set_dropped(&mut self, span: u32, dropped: Dropped) {
        put(
            &mut self.explicit().dropped,
            span,
            dropped,
            Dropped::default(),
        );
    }

    fn explicit(&mut self) -> &mut Explicit {
        self.tree.rare_mut().explicit.get_or_insert_default()
    }
}

pub(super) fn put<T: Clone>(column: &mut Vec<T>, span: u32, value: T, fill: T) {
    let at = span as usize;
    if column.len() <= at {
        column.resize(at + 1, fill);
    }
    column[at] = value;
}
