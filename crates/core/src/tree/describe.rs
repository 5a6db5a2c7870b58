//! Saying what a span is and carries.

use std::sync::Arc;

use super::{Column, ColumnSpec, Entry, EventNode, LinkNode, Owned, Tag, TreeBuilder};
use crate::id::{SpanId, TraceId};
use crate::intern::Symbol;
use crate::span::{Kind, Status};
use crate::value::ValueRef;

impl TreeBuilder {
    /// Replaces the name.
    pub fn set_name(&mut self, span: u32, name: Symbol) {
        if let Some(node) = self.tree.nodes.get_mut(span as usize) {
            node.name = name;
        }
    }

    /// Sets the kind.
    #[inline]
    pub fn set_kind(&mut self, span: u32, kind: Kind) {
        if let Some(node) = self.tree.nodes.get_mut(span as usize) {
            node.kind = kind;
        }
    }

    /// Sets which drivers asked for the span.
    #[inline]
    pub fn set_drivers(&mut self, span: u32, drivers: u16) {
        if let Some(node) = self.tree.nodes.get_mut(span as usize) {
            node.drivers = drivers;
        }
    }

    /// Sets the status. As OpenTelemetry has it: [`Status::Ok`] is final, and only an error keeps its message.
    pub fn set_status(&mut self, span: u32, status: Status, message: &str) {
        let Some(node) = self.tree.nodes.get_mut(span as usize) else {
            return;
        };
        if node.status == Status::Ok || status == Status::Unset {
            return;
        }
        node.status = status;
        if let Some(rare) = self.tree.known_rare_mut() {
            rare.messages.retain(|entry| entry.owner() != span);
        }
        if status == Status::Error && !message.is_empty() {
            let (tag, value) = self.store(ValueRef::Str(message));
            self.tree
                .rare_mut()
                .messages
                .push(Entry::new(span, Symbol::EMPTY, tag, value));
        }
    }

    /// Sets an attribute; the last value of a key counts.
    #[inline(always)]
    pub fn set_attribute(&mut self, span: u32, key: Symbol, value: ValueRef<'_>) {
        if (span as usize) < self.tree.nodes.len() {
            let (tag, value) = self.store(value);
            self.tree.attributes.push(Entry::new(span, key, tag, value));
        }
    }

    /// Sets several attributes. `symbol` finds that of a key.
    ///
    /// Written out for four at a time: in a loop of any other form the compiler looks at each key and value anew, also where the
    /// program names them in place, which made a span with four attributes half as dear again. With the attributes known, what
    /// is left of this is copying the texts and writing sixteen bytes for each attribute.
    #[inline(always)]
    pub(crate) fn set_attributes<'v, K>(
        &mut self,
        span: u32,
        attributes: impl IntoIterator<Item = (K, ValueRef<'v>)>,
        symbol: impl Fn(K, &mut Self) -> Symbol,
    ) {
        if span as usize >= self.tree.nodes.len() {
            return;
        }
        let mut attributes = attributes.into_iter();
        while let Some(first) = attributes.next() {
            let first = self.entry(span, first, &symbol);
            let Some(second) = attributes.next() else {
                return self.tree.attributes.push(first);
            };
            let second = self.entry(span, second, &symbol);
            let Some(third) = attributes.next() else {
                return self.tree.attributes.extend(&[first, second]);
            };
            let third = self.entry(span, third, &symbol);
            let Some(fourth) = attributes.next() else {
                return self.tree.attributes.extend(&[first, second, third]);
            };
            let fourth = self.entry(span, fourth, &symbol);
            self.tree.attributes.extend(&[first, second, third, fourth]);
        }
    }

    #[inline(always)]
    fn entry<K>(
        &mut self,
        span: u32,
        (key, value): (K, ValueRef<'_>),
        symbol: &impl Fn(K, &mut Self) -> Symbol,
    ) -> Entry {
        let key = symbol(key, self);
        let (tag, value) = self.store_here(value);
        Entry::new(span, key, tag, value)
    }

    /// Adds an event that happened at `tick`.
    pub fn add_event<'v>(
        &mut self,
        span: u32,
        name: Symbol,
        tick: u64,
        attributes: impl IntoIterator<Item = (Symbol, ValueRef<'v>)>,
    ) {
        if (span as usize) < self.tree.nodes.len() {
            let (attributes, dropped_attributes) =
                self.store_part(attributes, self.limits.attributes_per_event);
            self.tree.rare_mut().events.items_mut().push(EventNode {
                tick,
                owner: span,
                name,
                attributes,
                dropped_attributes,
            });
        }
    }

    /// Adds a link. `flags` as in [`crate::span::Link::flags`].
    pub fn add_link<'v>(
        &mut self,
        span: u32,
        (trace_id, span_id): (TraceId, SpanId),
        trace_state: &str,
        flags: u32,
        attributes: impl IntoIterator<Item = (Symbol, ValueRef<'v>)>,
    ) {
        if (span as usize) < self.tree.nodes.len() {
            let trace_state = self.symbol(trace_state);
            let (attributes, dropped_attributes) =
                self.store_part(attributes, self.limits.attributes_per_link);
            let owner = span;
            let link = LinkNode {
                trace_id,
                span_id,
                owner,
                trace_state,
                flags,
                attributes,
                dropped_attributes,
            };
            self.tree.rare_mut().links.items_mut().push(link);
        }
    }

    /// Says how many attributes the last event lost before it came here (known from a decoder).
    pub fn set_dropped_of_last_event(&mut self, attributes: u32) {
        if let Some(event) = self.tree.rare_mut().events.items_mut().last_mut() {
            event.dropped_attributes = attributes;
        }
    }

    /// Says how many attributes the last link lost before it came here (known from a decoder).
    pub fn set_dropped_of_last_link(&mut self, attributes: u32) {
        if let Some(link) = self.tree.rare_mut().links.items_mut().last_mut() {
            link.dropped_attributes = attributes;
        }
    }

    /// Sets the value of an extra metric at the start and end of a span.
    pub fn set_metric(&mut self, span: u32, metric: &Arc<ColumnSpec>, start: f64, end: f64) {
        let columns = &mut self.tree.rare_mut().columns;
        let known = columns
            .iter()
            // Two drivers may call different readings by the same name.
            .position(|column| Arc::ptr_eq(&column.metric, metric));
        let at = known.unwrap_or_else(|| {
            columns.push(Column::new(Arc::clone(metric)));
            columns.len() - 1
        });
        let values = &mut columns[at].values;
        if values.len() <= span as usize {
            values.resize(span as usize + 1, (f64::NAN, f64::NAN));
        }
        values[span as usize] = (start, end);
    }

    /// Stores a text of the process-wide table by its symbol: for values that repeat.
    #[inline]
    pub fn set_symbol_attribute(&mut self, span: u32, key: Symbol, value: Symbol) {
        if (span as usize) < self.tree.nodes.len() {
            let entry = Entry::new(span, key, Tag::Symbol, u64::from(value.0));
            self.tree.attributes.push(entry);
        }
    }
}
