//! What HiQ answers about a tree: durations by name and by level, leaves, and a picture in Graphviz's language.

use std::collections::HashMap;
use std::fmt::Write;

use super::node::{NodeRef, Step, Walk};
use super::python::push_fixed;
use super::tree::HiqTree;
use super::{RenderOptions, str_repr};

/// How [`HiqTree::leaf_durations`] are ordered. Equal durations stay in the order of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "HiQ has these three")]
pub enum LeafOrder {
    /// As the leaves come in the tree.
    #[default]
    Tree,
    /// The longest first.
    Descending,
    /// The shortest first.
    Ascending,
}

/// No span of this name is in the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("😬 could not find {name} in hiq tree. hiq_str: {tree}, valid nodes: {names}")]
pub struct DurationMissing {
    /// The name.
    pub name: String,
    /// The tree, as its string.
    pub tree: String,
    /// The names that are in it, as Python prints a list.
    pub names: String,
}

impl HiqTree {
    /// Summed span by name, in the order the names appear; the virtual root is `None`.
    pub fn durations(&self) -> Vec<(&str, f64)> {
        self.sums(self.preorder())
    }

    /// Summed span of the leaves by name.
    pub fn leaf_durations(&self, order: LeafOrder) -> Vec<(&str, f64)> {
        let mut sums = self.sums(self.leaves());
        match order {
            LeafOrder::Tree => {}
            LeafOrder::Descending => sums.sort_by(|a, b| b.1.total_cmp(&a.1)),
            LeafOrder::Ascending => sums.sort_by(|a, b| a.1.total_cmp(&b.1)),
        }
        sums
    }

    /// The longest leaves first, as text: `__f2:1.2500, __f3:0.5000`.
    pub fn leaf_durations_text(&self) -> String {
        let mut text = String::new();
        for (name, span) in self.leaf_durations(LeafOrder::Descending) {
            text.push_str(name);
            text.push(':');
            push_fixed(&mut text, span, 6, 4);
            text.push_str(", ");
        }
        text.trim_matches([',', ' ']).to_owned()
    }

    /// Summed span of all leaves.
    pub fn leaf_duration_total(&self) -> f64 {
        // Adding to +0, as Python does: Rust's sum starts from -0.
        self.leaf_durations(LeafOrder::Tree)
            .iter()
            .fold(0.0, |total, (_, span)| total + span)
    }

    /// The names in the tree, the virtual root's `None` too, in the order they appear.
    pub fn distinct_names(&self) -> Vec<&str> {
        self.durations().into_iter().map(|(name, _)| name).collect()
    }

    /// Summed span of this name; 0 if there is none.
    pub fn duration_of(&self, name: &str) -> f64 {
        self.preorder()
            .filter(|node| node.name() == name)
            .fold(0.0, |sum, node| sum + node.span())
    }

    /// Summed span of this name; an error if there is none: HiQ's `get_duration_from_hiq_string`.
    pub fn duration_of_known(&self, name: &str) -> Result<f64, DurationMissing> {
        let names = self.distinct_names();
        if names.contains(&name) {
            return Ok(self.duration_of(name));
        }
        let names: Vec<_> = names.into_iter().map(str_repr).collect();
        let names = format!("[{}]", names.join(", "));
        Err(DurationMissing {
            name: name.to_owned(),
            tree: self.repr(),
            names,
        })
    }

    /// Summed span of this name on this level; 0 are the root's children.
    pub fn duration_of_at_level(&self, name: &str, level: usize) -> f64 {
        let mut sum = 0.0;
        // The root is on level -1: what is entered is one below what is open.
        let mut open = 0;
        for step in Walk::below(self.root()) {
            match step {
                Step::Enter(node) => {
                    if open == level + 1 && node.name() == name {
                        sum += node.span();
                    }
                    open += 1;
                }
                Step::Leave(_) => open -= 1,
            }
        }
        sum
    }

    /// HiQ's `get_graph_from_string`: the drawing, and the leaves below it.
    pub fn graph_with_leaves(&self, options: &RenderOptions) -> String {
        let leaves = self.leaf_durations_text();
        format!(
            "{}ordered lowest level calls:{leaves}\n",
            self.graph(options)
        )
    }

    /// The names as a graph in Graphviz's language, an edge per call, the longest leaf marked.
    pub fn to_dot(&self, node_shape: &str) -> String {
        let mut dot = format!(
            "digraph tree{{\n\tnode [shape={node_shape} margin=0 fontcolor=blue fontsize=9 width=0.5 style=filled]\n\
             \tedge [fontsize=8]\n\trankdir=LR\n\n"
        );
        let longest = self.longest_leaf();
        for name in self.distinct_names() {
            push_dot_node(&mut dot, name, longest.filter(|(leaf, _)| *leaf == name));
        }
        for edge in self
            .preorder()
            .filter_map(|node| Some((node.parent()?.name(), node.name())))
        {
            push_dot_edge(&mut dot, edge);
        }
        dot.push('}');
        dot
    }

    fn preorder(&self) -> impl Iterator<Item = NodeRef<'_>> {
        Walk::below(self.root()).filter_map(|step| match step {
            Step::Enter(node) => Some(node),
            Step::Leave(_) => None,
        })
    }

    fn leaves(&self) -> impl Iterator<Item = NodeRef<'_>> {
        self.preorder()
            .filter(|node| node.children().next().is_none())
    }

    fn sums<'a>(&self, nodes: impl Iterator<Item = NodeRef<'a>>) -> Vec<(&'a str, f64)> {
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(self.names.len());
        let mut sums: Vec<(&str, f64)> = Vec::new();
        for node in nodes {
            let place = *places.entry(node.name()).or_insert_with(|| {
                sums.push((node.name(), 0.0));
                sums.len() - 1
            });
            sums[place].1 += node.span();
        }
        sums
    }

    fn longest_leaf(&self) -> Option<(&str, f64)> {
        const SHORTEST: f64 = -2_147_483_648.0;
        self.leaves().fold(None, |longest, leaf| {
            let beaten = longest.map_or(SHORTEST, |(_, span)| span);
            if leaf.span() > beaten {
                Some((leaf.name(), leaf.span()))
            } else {
                longest
            }
        })
    }
}

fn push_dot_node(dot: &mut String, name: &str, longest: Option<(&str, f64)>) {
    if is_virtual(name) {
        dot.push_str("\t\"+\" [shape=\"doublecircle\" color=\"orange\" style=\"filled\" fillcolor=\"green\"];\n");
        return;
    }
    // Writing to a String cannot fail.
    let _ = write!(dot, "\t\"{name}\"");
    if let Some((leaf, span)) = longest {
        let _ = write!(
            dot,
            "[shape=record color=green style=filled fillcolor=yellow label=\"{leaf} | "
        );
        push_fixed(dot, span, 0, 6);
        dot.push_str(" \"]");
    }
    dot.push_str(";\n");
}

fn push_dot_edge(dot: &mut String, (from, to): (&str, &str)) {
    let from = if is_virtual(from) { "+" } else { from };
    let _ = writeln!(dot, "\t\"{from}\" -> \"{to}\";");
}

/// HiQ looks at the first four characters only.
fn is_virtual(name: &str) -> bool {
    name.starts_with("None")
}
