//! Names and values on their way into the tree's own tables.

use super::finish::keep_last_of_each_key;
use super::{Entry, Range, SpanTree, Tag, TreeBuilder};
use crate::intern::{Symbol, passing_symbol};
use crate::value::{Value, ValueRef};

impl TreeBuilder {
    /// The symbol of a name or key, in the process-wide table or, when that has no room for it, in this tree.
    pub fn symbol(&mut self, name: &str) -> Symbol {
        self.tree.symbol(name)
    }

    #[inline(always)]
    pub(super) fn store(&mut self, value: ValueRef<'_>) -> (Tag, u64) {
        match value {
            ValueRef::Str(text) => self.store_text(text),
            other => self.store_other(other),
        }
    }

    /// The same for a value that is probably written where this is inlined: of a text that the compiler knows, it copies as many
    /// bytes as there are, and knows whether one needs an escape.
    #[inline(always)]
    pub(super) fn store_here(&mut self, value: ValueRef<'_>) -> (Tag, u64) {
        match value {
            ValueRef::Str(text) => self.store_text_here(text),
            other => self.store_other(other),
        }
    }

    #[inline(always)]
    fn store_other(&mut self, value: ValueRef<'_>) -> (Tag, u64) {
        // One after the other: a jump by table costs more than these comparisons.
        if let ValueRef::Int(i) = value {
            (Tag::Int, i.cast_unsigned())
        } else if let ValueRef::Bool(b) = value {
            (Tag::Bool, u64::from(b))
        } else if let ValueRef::F64(f) = value {
            (Tag::F64, f.to_bits())
        } else {
            self.store_any(value)
        }
    }

    #[inline(never)]
    fn store_text(&mut self, text: &str) -> (Tag, u64) {
        self.store_text_here(text)
    }

    #[inline(always)]
    fn store_text_here(&mut self, text: &str) -> (Tag, u64) {
        if self.limits.value_chars.is_none()
            && let Some(place) = self.tree.texts.push_short(text)
        {
            return (Tag::Text, place.to_bits());
        }
        self.store_any_text(text)
    }

    #[inline(never)]
    fn store_any_text(&mut self, text: &str) -> (Tag, u64) {
        let text = self
            .limits
            .value_chars
            .map_or(text, |limit| first_chars(text, limit));
        match self.tree.texts.push(text) {
            Some(place) => (Tag::Text, place.to_bits()),
            None => (Tag::Symbol, u64::from(Symbol::EMPTY.0)),
        }
    }

    #[cold]
    #[inline(never)]
    fn store_any(&mut self, value: ValueRef<'_>) -> (Tag, u64) {
        match value {
            ValueRef::Text(text) => self.store_any_text(text.as_str()),
            rich => self.store_rich(rich.to_value()),
        }
    }

    fn store_rich(&mut self, mut value: Value) -> (Tag, u64) {
        if let Some(limit) = self.limits.value_chars {
            cut_texts(&mut value, limit);
        }
        let rich = &mut self.tree.rare_mut().rich;
        rich.push(value);
        (Tag::Rich, rich.len() as u64 - 1)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a tree of 2^32 attributes does not fit into memory"
    )]
    pub(super) fn store_part<'v>(
        &mut self,
        attributes: impl IntoIterator<Item = (Symbol, ValueRef<'v>)>,
        limit: u32,
    ) -> (Range, u32) {
        let mut parts = std::mem::take(&mut self.tree.rare_mut().part_attributes);
        let start = parts.len();
        parts.extend(attributes.into_iter().map(|(key, value)| {
            let (tag, value) = self.store(value);
            Entry::new(0, key, tag, value)
        }));
        let dropped = keep_last_of_each_key(&mut parts, start, limit);
        let range = Range {
            start: start as u32,
            end: parts.len() as u32,
        };
        self.tree.rare_mut().part_attributes = parts;
        (range, dropped)
    }
}

impl SpanTree {
    pub(super) fn symbol(&mut self, name: &str) -> Symbol {
        passing_symbol(name).unwrap_or_else(|| {
            let Some(place) = self.texts.push(name) else {
                return Symbol::EMPTY;
            };
            let symbols = &mut self.rare_mut().local_symbols;
            symbols.push(place);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the text buffer is full long before"
            )]
            Symbol::local(symbols.len() as u32 - 1)
        })
    }
}

fn first_chars(text: &str, limit: u32) -> &str {
    match text.char_indices().nth(limit as usize) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn cut_texts(value: &mut Value, limit: u32) {
    match value {
        Value::Str(text) => text.truncate(first_chars(text, limit).len()),
        Value::Array(items) => items.iter_mut().for_each(|item| cut_texts(item, limit)),
        _ => {}
    }
}
