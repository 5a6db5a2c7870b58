//! The quick way through attributes.

use std::hint::select_unpredictable;

use super::Attributes;
use crate::intern::{self, Symbol};
use crate::tree::{Entry, SpanTree, Tag};
use crate::value::ValueRef;
use crate::wire::{Text, TextAt};

/// Takes attributes one after the other. Encoders implement it where every nanosecond counts.
pub trait Visitor<'a>: Sized {
    /// Is told the symbol of the key of the attribute that comes next. Default: does not listen.
    #[inline]
    fn key(&mut self, _symbol: Symbol) {}

    /// Takes an attribute whose value is a text.
    #[must_use]
    fn text(self, key: Text<'a>, value: Text<'a>) -> Self;

    /// Takes an attribute whose value is a number or a truth value.
    #[must_use]
    fn number(self, key: Text<'a>, value: Number) -> Self;

    /// Takes any other attribute.
    #[must_use]
    fn other(self, key: Text<'a>, value: ValueRef<'a>) -> Self;
}

/// A number or truth value, its kind and bits apart, for encoders that get by without branching on the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The number of its [`NumberKind`].
    kind: u32,
    bits: u64,
}

/// Kinds of [`Number`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(clippy::exhaustive_enums, reason = "encoders have a table of them")]
pub enum NumberKind {
    /// A signed integer in two's complement.
    Int,
    /// Zero or one.
    Bool,
    /// A double's IEEE 754 bits.
    F64,
}

impl Number {
    /// What it is.
    #[inline]
    pub fn kind(self) -> NumberKind {
        match self.kind {
            0 => NumberKind::Int,
            1 => NumberKind::Bool,
            _ => NumberKind::F64,
        }
    }

    /// That of `choices` which stands for its kind: for an integer, a truth value, a double. Costs no branch.
    #[inline]
    pub fn choose<T: Copy>(self, choices: &[T; 4]) -> T {
        choices[self.kind as usize & 3]
    }

    /// As [`Number::choose`], for what is too large to be copied on the way.
    #[inline]
    pub fn pick<T>(self, choices: &[T; 4]) -> &T {
        &choices[self.kind as usize & 3]
    }

    /// True for a double. Costs no branch.
    #[inline]
    pub fn is_f64(self) -> bool {
        self.kind == NumberKind::F64 as u32
    }

    /// Its bits, as [`NumberKind`] has them.
    #[inline]
    pub fn bits(self) -> u64 {
        self.bits
    }
}

#[expect(
    clippy::inline_always,
    reason = "half of an encoder's time; measured by its benchmark"
)]
impl<'a> Attributes<'a> {
    /// Hands all to `visitor`: as iterating, in half the time.
    ///
    /// A processor guesses the kind of the next value wrong every other time, and each miss costs as much as writing an
    /// attribute. So the kinds are told apart by as few branches as can be: text, number, or something rare.
    #[inline(always)]
    pub fn visit<V: Visitor<'a>>(self, mut visitor: V) -> V {
        let tree = self.tree;
        for entry in self.entries {
            let key = intern::known(entry.key).unwrap_or_else(|| rare_key(tree, entry));
            visitor.key(entry.key);
            let tag = entry.tag_number();
            visitor = if tag <= Tag::Symbol as u32 {
                visitor.text(key, text_value(tree, entry, tag == Tag::Text as u32))
            } else if tag <= Tag::F64 as u32 {
                let kind = tag - Tag::Int as u32;
                visitor.number(
                    key,
                    Number {
                        kind,
                        bits: entry.value,
                    },
                )
            } else {
                visitor.other(key, tree.value(entry))
            };
        }
        visitor
    }
}

/// A text of the tree or of the process-wide table, chosen without a branch.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as `Attributes::visit`")]
fn text_value<'a>(tree: &'a SpanTree, entry: &Entry, in_tree: bool) -> Text<'a> {
    let place = TextAt::from_bits(entry.value);
    let symbol = select_unpredictable(in_tree, 0, entry.value);
    let text = intern::slot(symbol).and_then(|slot| tree.texts.text_or(place, in_tree, slot));
    text.unwrap_or_else(|| rare_text(tree, entry))
}

#[cold]
#[inline(never)]
fn rare_key<'a>(tree: &'a SpanTree, entry: &Entry) -> Text<'a> {
    tree.text(entry.key)
}

#[cold]
#[inline(never)]
fn rare_text<'a>(tree: &'a SpanTree, entry: &Entry) -> Text<'a> {
    match tree.value(entry) {
        ValueRef::Text(text) => text,
        _ => Symbol::EMPTY.text(),
    }
}
