//! What a tree is made of: its nodes, and their names.

use std::collections::HashMap;

use super::Extras;
use super::node::NodeId;

/// One span. Links are [`NodeId::NONE`] where there is none.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) name: u32,
    pub(super) nid: u32,
    pub(super) parent: NodeId,
    pub(super) first_child: NodeId,
    pub(super) last_child: NodeId,
    pub(super) next: NodeId,
    /// Boxed, for most spans have none.
    pub(super) extras: Option<Box<Extras>>,
}

impl Node {
    pub(super) fn new(name: u32, start: f64, end: f64) -> Self {
        let [parent, first_child, last_child, next] = [NodeId::NONE; 4];
        Self {
            start,
            end,
            name,
            nid: 0,
            parent,
            first_child,
            last_child,
            next,
            extras: None,
        }
    }

    pub(super) fn virtual_root() -> Self {
        Self::new(Names::VIRTUAL, f64::INFINITY, f64::INFINITY)
    }

    pub(super) fn is_virtual(&self) -> bool {
        self.start.is_infinite() && self.end.is_infinite() && (self.start > 0.0 || self.end > 0.0)
    }
}

/// HiQ takes a root of this name for virtual.
pub(super) fn is_none(name: &str) -> bool {
    name.eq_ignore_ascii_case("none")
}

/// The lower end of a range that may be virtual still.
pub(super) fn lower(known: f64, other: f64) -> f64 {
    if known.is_infinite() || other < known {
        other
    } else {
        known
    }
}

/// The upper end of a range that may be virtual still.
pub(super) fn upper(known: f64, other: f64) -> f64 {
    if known.is_infinite() || other > known {
        other
    } else {
        known
    }
}

/// The names of a tree, each once.
#[derive(Clone, Debug)]
pub(super) struct Names {
    texts: Vec<Box<str>>,
    indices: HashMap<Box<str>, u32>,
}

impl Names {
    /// Index of `None`, the virtual root's name.
    const VIRTUAL: u32 = 0;

    pub(super) fn text(&self, index: u32) -> &str {
        &self.texts[index as usize]
    }

    pub(super) fn index(&mut self, name: &str) -> u32 {
        if let Some(&index) = self.indices.get(name) {
            return index;
        }
        // There are at most as many names as nodes, whose number is limited.
        let index = u32::try_from(self.texts.len()).unwrap_or(Self::VIRTUAL);
        self.texts.push(name.into());
        self.indices.insert(name.into(), index);
        index
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self {
            texts: Vec::new(),
            indices: HashMap::new(),
        };
        names.index("None");
        names
    }
}
