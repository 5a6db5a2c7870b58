//! What most trees have nothing of.

use std::sync::Arc;

use super::{Column, Entry, EventNode, Grouped, LinkNode, Owned as _};
use crate::id::SpanId;
use crate::intern::Symbol;
use crate::resource::Scope;
use crate::span::Dropped;
use crate::value::Value;
use crate::wire::TextAt;

/// Events, links, and whatever else only some spans have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare {
    pub(crate) events: Grouped<EventNode>,
    pub(crate) links: Grouped<LinkNode>,
    /// Attributes of events and links, each of which knows its range.
    pub(crate) part_attributes: Vec<Entry>,
    /// Status messages, by owner.
    pub(crate) messages: Vec<Entry>,
    /// Names and keys that the process-wide table had no room for.
    pub(crate) local_symbols: Vec<TextAt>,
    /// Values that one word cannot hold.
    pub(crate) rich: Vec<Value>,
    pub(crate) columns: Vec<Column>,
    pub(crate) explicit: Option<Box<Explicit>>,
}

pub(super) static NOTHING: Rare = Rare {
    events: Grouped::new(),
    links: Grouped::new(),
    part_attributes: Vec::new(),
    messages: Vec::new(),
    local_symbols: Vec::new(),
    rich: Vec::new(),
    columns: Vec::new(),
    explicit: None,
};

impl Rare {
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.links.clear();
        self.part_attributes.clear();
        self.messages.clear();
        self.local_symbols.clear();
        self.rich.clear();
        self.columns.clear();
        self.explicit = None;
    }

    /// Forgets what the last span of the tree has.
    pub(super) fn take_back(&mut self, span: u32) {
        self.events.take_back(span);
        self.links.take_back(span);
        self.messages.retain(|entry| entry.owner() != span);
        for column in &mut self.columns {
            column.values.truncate(span as usize);
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let of_columns = |column: &Column| size_of_val(column.values.as_slice());
        size_of::<Self>()
            + size_of_val(self.events.items())
            + size_of_val(self.links.items())
            + size_of_val(self.part_attributes.as_slice())
            + self.columns.iter().map(of_columns).sum::<usize>()
            + self.rich.iter().map(Value::heap_bytes).sum::<usize>()
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        size_of::<Self>()
            + self.events.capacity_bytes()
            + self.links.capacity_bytes()
            + self.part_attributes.capacity() * size_of::<Entry>()
            + self.rich.capacity() * size_of::<Value>()
    }
}

/// Columns that only decoded trees have; each is empty or has one item a span.
#[derive(Clone, Debug, Default)]
pub(crate) struct Explicit {
    pub(crate) parent: Vec<SpanId>,
    pub(crate) trace_state: Vec<Symbol>,
    pub(crate) trace_flags: Vec<u8>,
    pub(crate) scope: Vec<u16>,
    pub(crate) scopes: Vec<Arc<Scope>>,
    pub(crate) dropped: Vec<Dropped>,
}
