//! Names that live as long as the process: span names, attribute keys, and the **sites** that declared functions are.
//!
//! A [`Symbol`] is one word; reading its text is one indexed load, without a lock. The table is bounded: names that a program
//! makes up while it runs ([`passing_symbol`]) are stored in the tree that uses them once there is no room for them, so they cannot
//! grow the process for ever. Names of code ([`symbol`]) have room of their own behind them.

#![allow(unsafe_code, reason = "one pointer read, argued at its place")]

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::fork::PerProcess;
use crate::value::{Value, ValueRef};
use crate::wire::{Text, TextBuf, TextSlot};

/// A name in the process-wide table, or, with the top bit set, in the tree that it is used in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Symbol(pub(crate) u32);

/// Names and keys that the process-wide table holds at most.
pub const MAX_SYMBOLS: usize = 1 << 16;
/// Of these, so many are kept for names of code: of declared functions, and those that hiq itself writes.
pub const RESERVED_SYMBOLS: usize = 1 << 14;
/// Sites that the process-wide table holds at most.
pub const MAX_SITES: usize = 1 << 16;

const LOCAL_BIT: u32 = 1 << 31;

impl Symbol {
    /// The symbol of the empty text.
    pub const EMPTY: Self = Self(0);

    #[inline]
    pub(crate) fn local(index: u32) -> Self {
        Self(index | LOCAL_BIT)
    }

    #[inline]
    pub(crate) fn local_index(self) -> Option<usize> {
        (self.0 & LOCAL_BIT != 0).then_some((self.0 & !LOCAL_BIT) as usize)
    }

    /// Its place in the process-wide table, where it stands for the same name as long as the process lives; beyond
    /// [`MAX_SYMBOLS`] for one that belongs to a tree.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The text of a symbol of the process-wide table; the empty text for one that belongs to a tree.
    #[inline]
    pub fn text(self) -> Text<'static> {
        let slot = SYMBOLS.get(self.0 as usize);
        slot.and_then(TextSlot::get).unwrap_or_else(empty_text)
    }
}

/// The text of a symbol of the process-wide table; `None` for the empty one and for those of a tree.
#[inline]
pub(crate) fn known(symbol: Symbol) -> Option<Text<'static>> {
    SYMBOLS.get(symbol.0 as usize)?.get()
}

/// The place of a symbol in the process-wide table; `None` for one of a tree.
#[inline]
pub(crate) fn slot(symbol: u64) -> Option<&'static TextSlot> {
    SYMBOLS.get(usize::try_from(symbol).ok()?)
}

/// The symbol of a name of code in the process-wide table, put there if need be; `None` when the table is full.
pub fn symbol(name: &str) -> Option<Symbol> {
    symbol_below(MAX_SYMBOLS, name)
}

/// The symbol of a name that data may have made up, such as an attribute's key, in the process-wide table; `None` when there is no
/// room but the [reserved](RESERVED_SYMBOLS).
pub fn passing_symbol(name: &str) -> Option<Symbol> {
    symbol_below(MAX_SYMBOLS - RESERVED_SYMBOLS, name)
}

fn symbol_below(end: usize, name: &str) -> Option<Symbol> {
    if name.is_empty() {
        return Some(Symbol::EMPTY);
    }
    let mut known = lock_known();
    if let Some(&index) = known.get(name) {
        return Some(Symbol(index));
    }
    // Index 0 is the empty text.
    let index = known.len() + 1;
    let slot = SYMBOLS.get(index).filter(|_| index < end)?;
    let text = leaked_text(name);
    slot.fill(text);
    #[expect(clippy::cast_possible_truncation, reason = "below MAX_SYMBOLS")]
    let index = index as u32;
    known.insert(text.as_str(), index);
    Some(Symbol(index))
}

/// Read without a lock. Empty places are zero pages that cost nothing until used.
static SYMBOLS: [TextSlot; MAX_SYMBOLS] = [const { TextSlot::empty() }; MAX_SYMBOLS];
static KNOWN: PerProcess<Mutex<HashMap<&'static str, u32>>> =
    PerProcess::new(|| Mutex::new(names_in_table()));

/// What is in the table already: in a forked child, what the parent put there.
fn names_in_table() -> HashMap<&'static str, u32> {
    (1_u32..)
        .map_while(|index| {
            let text = SYMBOLS.get(index as usize).and_then(TextSlot::get)?;
            Some((text.as_str(), index))
        })
        .collect()
}

fn lock_known() -> MutexGuard<'static, HashMap<&'static str, u32>> {
    KNOWN.get().lock().unwrap_or_else(PoisonError::into_inner)
}

#[cold]
fn empty_text() -> Text<'static> {
    static EMPTY: OnceLock<Text<'static>> = OnceLock::new();
    *EMPTY.get_or_init(|| leaked_text(""))
}

fn leaked_text(name: &str) -> Text<'static> {
    let buffer = Box::leak(Box::new(TextBuf::new()));
    let place = buffer.push(name);
    match place {
        Some(place) => buffer.text(place),
        None => empty_text(),
    }
}

/// A table that only grows, read without a lock. Empty slots are zero pages that cost nothing until used.
struct Table<T: 'static, const N: usize>([AtomicPtr<T>; N]);

impl<T: Sync + Send, const N: usize> Table<T, N> {
    const fn new() -> Self {
        Self([const { AtomicPtr::new(ptr::null_mut()) }; N])
    }

    #[inline]
    fn at(&self, index: usize) -> Option<&'static T> {
        let slot = self.0.get(index)?.load(Ordering::Acquire);
        // SAFETY: a slot is null or holds a leaked box that is never changed or freed.
        unsafe { slot.as_ref() }
    }

    /// Fills slot `index`; `None` beyond the last one.
    fn put(&self, index: usize, value: impl FnOnce() -> T) -> Option<&'static T> {
        let slot = self.0.get(index)?;
        let leaked: &'static T = Box::leak(Box::new(value()));
        slot.store(ptr::from_ref(leaked).cast_mut(), Ordering::Release);
        Some(leaked)
    }
}

/// A place in a program that is traced, and what is true of each of its spans: its index in the site table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SiteId(pub(crate) u32);

impl SiteId {
    /// No site: the span has only its own attributes.
    pub const NONE: Self = Self(0);

    /// The index, for encoders that cache what they have written for a site.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The attributes of the site's spans, empty for [`SiteId::NONE`].
    #[inline]
    pub fn attributes(self) -> impl ExactSizeIterator<Item = (Text<'static>, ValueRef<'static>)> {
        let attributes = SITES
            .at(self.0 as usize)
            .map_or(&[] as &[_], |site| &site.attributes);
        attributes.iter().map(|(key, value)| (*key, value.as_ref()))
    }
}

/// Adds a site whose spans all carry `attributes`. When the table is full the answer is [`SiteId::NONE`]:
/// the spans are still recorded, without these attributes.
pub fn site<'a>(attributes: impl IntoIterator<Item = (&'a str, Value)>) -> SiteId {
    let attributes = attributes
        .into_iter()
        .filter_map(|(key, value)| Some((symbol(key)?.text(), SiteValue::new(value)?)))
        .collect();
    let index = SITE_COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    if SITES.put(index, || Site { attributes }).is_none() {
        return SiteId::NONE;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below MAX_SITES")]
    SiteId(index as u32)
}

static SITES: Table<Site, MAX_SITES> = Table::new();
static SITE_COUNT: AtomicUsize = AtomicUsize::new(0);

struct Site {
    attributes: Vec<(Text<'static>, SiteValue)>,
}

enum SiteValue {
    Text(Text<'static>),
    Other(Value),
}

impl SiteValue {
    fn new(value: Value) -> Option<Self> {
        match value {
            Value::Str(text) => symbol(&text).map(|symbol| Self::Text(symbol.text())),
            other => Some(Self::Other(other)),
        }
    }

    fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Text(text) => ValueRef::Text(*text),
            Self::Other(value) => value.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_symbol_from_every_thread() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    (0..200)
                        .map(|i| symbol(&format!("intern-{i}")))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let all: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(all[0][7].unwrap().text().as_str(), "intern-7");
        assert_eq!(Symbol::EMPTY.text().as_str(), "");
    }

    #[test]
    fn a_sites_attributes_are_those_it_was_made_with() {
        let site = site([
            ("code.function.name", Value::from("f")),
            ("code.line.number", Value::Int(3)),
        ]);
        let read: Vec<_> = site
            .attributes()
            .map(|(k, v)| (k.as_str(), v.to_value()))
            .collect();
        assert_eq!(
            read,
            [
                ("code.function.name", Value::from("f")),
                ("code.line.number", Value::Int(3))
            ]
        );
        assert_eq!(SiteId::NONE.attributes().len(), 0);
    }
}
