//! A row of a conf, and its columns.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::value::Value;

/// A function to trace.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// The module to import.
    pub module: String,
    /// The class in it; empty for a function of the module. May hold `*`.
    pub class: String,
    /// The function or method. May hold `*`.
    pub function: String,
    /// Name of its spans, with the prefix; for a row with `*`, [`Row::name_of`] completes it.
    pub name: String,
    /// Spans shorter than this are left out. Default: none are.
    pub min_duration: Option<Duration>,
    /// What each of its spans carries.
    pub attributes: Vec<(String, Value)>,
    /// Where the row stands.
    pub place: Place,
}

impl Row {
    /// Whether class or function holds a `*`.
    pub fn is_pattern(&self) -> bool {
        self.class.contains('*') || self.function.contains('*')
    }

    /// Whether the row means this class (empty: the module itself) and function.
    pub fn matches(&self, class: &str, function: &str) -> bool {
        glob_matches(&self.class, class) && glob_matches(&self.function, function)
    }

    /// Name of the spans of `function`, which the row matches.
    pub fn name_of(&self, function: &str) -> String {
        self.name.replace('*', function)
    }

    /// The target as HiQ writes it: `module.class.function`, the class possibly empty.
    pub fn target(&self) -> String {
        format!("{}.{}.{}", self.module, self.class, self.function)
    }
}

/// Where a row stands. Prints as `shop.csv:7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
}

impl Place {
    /// The file, or what the rows were said to come from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line in the file, or position in a list of rows, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A column of the conf. Prints as its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Column {
    /// The module to import.
    Module = 1,
    /// The class in it.
    Class,
    /// The function or method.
    Function,
    /// Name of its spans.
    Name,
    /// Spans shorter than this are left out.
    MinDuration,
    /// What its spans carry.
    Attributes,
}

impl Column {
    pub(super) const ALL: [Self; 6] = [
        Self::Module,
        Self::Class,
        Self::Function,
        Self::Name,
        Self::MinDuration,
        Self::Attributes,
    ];
    pub(super) const REQUIRED: usize = 4;

    /// Its place in a row, from 1.
    pub fn number(self) -> usize {
        self as usize
    }

    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Class => "class",
            Self::Function => "function",
            Self::Name => "name",
            Self::MinDuration => "min_duration",
            Self::Attributes => "attributes",
        }
    }

    /// The column that a key resembles.
    pub(super) fn like(key: &str) -> Option<Self> {
        let key = key.trim().to_lowercase().replace(['-', ' '], "_");
        match key.as_str() {
            "tag" => return Some(Self::Name),
            "min" | "threshold" => return Some(Self::MinDuration),
            "attrs" | "tags" => return Some(Self::Attributes),
            _ => {}
        }
        let resembles = |column: &Self| {
            let known = column.key();
            known.starts_with(&key) || key.starts_with(known) || same_but_one(known, &key)
        };
        Self::ALL
            .into_iter()
            .find(|column| !key.is_empty() && resembles(column))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// `*` is any number of any characters, all else is itself.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let Some((start, mut rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    while let Some((middle, after)) = rest.split_once('*') {
        let Some(found) = text.find(middle) else {
            return false;
        };
        text = &text[found + middle.len()..];
        rest = after;
    }
    text.ends_with(rest)
}

/// Whether one character more, less or other makes one of the other.
fn same_but_one(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let ahead = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[ahead..], &b[ahead..]);
    let behind = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    a.len() - behind <= 1 && b.len() - behind <= 1
}
