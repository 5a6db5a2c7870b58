//! Making a tree with settings of its own, out of finished spans, and out of nodes of others.

use super::Extras;
use super::arena::Node;
use super::node::{HiqNode, NodeId, NodeRef, Step, Walk};
use super::tree::{HiqTree, HiqTreeError};

/// A finished span, as [`HiqTreeBuilder::spans`] takes it.
#[derive(Clone, Debug)]
pub struct HiqSpan<'a> {
    /// Name, without a comma.
    pub name: &'a str,
    /// The value when it started.
    pub start: f64,
    /// The value when it ended; `None` while it is open.
    pub end: Option<f64>,
    /// Position of its parent in the sequence, which is before its own; `None` at the top.
    pub parent: Option<usize>,
    /// What it carries.
    pub extras: Extras,
}

/// The settings of a tree, before its first span.
///
/// ```
/// use hiq_core::render::HiqTree;
/// let mut tree = HiqTree::builder("get_memory_mb").monotonic(false).zin_threshold(0.1).build();
/// tree.start("__f", 1.0)?;
/// tree.end(1.05)?;
/// assert_eq!(tree.root().children().count(), 0);
/// # Ok::<(), hiq_core::render::HiqTreeError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HiqTreeBuilder {
    tree: HiqTree,
}

impl HiqTreeBuilder {
    pub(super) fn new(tree: HiqTree) -> Self {
        Self { tree }
    }

    /// Whether the values only go up, or only down; written with the tree, and without effect. Default: they do.
    pub fn monotonic(mut self, monotonic: bool) -> Self {
        self.tree.monotonic = monotonic;
        self
    }

    /// 0, the default, drops zero spans; any other value keeps them.
    pub fn mode(mut self, mode: i32) -> Self {
        self.tree.mode = mode;
        self
    }

    /// Below this, in the unit of the value, a span is a zero span. Default: 1e-7.
    pub fn zin_threshold(mut self, threshold: f64) -> Self {
        self.tree.zin_threshold = threshold;
        self
    }

    /// What the tree carries. Default: nothing.
    pub fn extras(mut self, extras: Extras) -> Self {
        self.tree.extras = extras;
        self
    }

    /// Room for this many spans, to be taken at once.
    pub fn capacity(mut self, spans: usize) -> Self {
        self.tree.nodes.reserve(spans);
        self
    }

    /// The tree, without spans.
    pub fn build(self) -> HiqTree {
        self.tree
    }

    /// The tree of these spans, given in the order they started: what [`HiqTree::start`] and [`HiqTree::end`] would
    /// have made of them, zero spans dropped. A `parent` that does not come before its child counts as none.
    ///
    /// ```
    /// use hiq_core::render::{Extras, HiqSpan, HiqTree};
    /// let span = |name, start, end, parent| HiqSpan { name, start, end: Some(end), parent, extras: Extras::new() };
    /// let spans = [span("__main", 1.0, 4.0, None), span("__f", 2.0, 3.0, Some(0)), span("__zero", 3.0, 3.0, Some(0))];
    /// let tree = HiqTree::builder("time").spans(spans)?;
    /// assert_eq!(tree.to_string(), "(🌳 id=time,c=3,x=0,d=3,m=0,o=1)");
    /// # Ok::<(), hiq_core::render::HiqTreeError>(())
    /// ```
    pub fn spans<'a>(
        mut self,
        spans: impl IntoIterator<Item = HiqSpan<'a>>,
    ) -> Result<HiqTree, HiqTreeError> {
        let first = self.tree.nodes.len();
        let mut placed: Vec<Placed> = Vec::new();
        for span in spans {
            let parent = span.parent.filter(|parent| *parent < placed.len());
            let level = parent.map_or(FIRST_LEVEL, |parent| placed[parent].level + 1);
            placed.push(Placed {
                level,
                is_open: span.end.is_none(),
            });
            self.push_unlinked(parent.map(|parent| parent + first), span)?;
        }
        self.link_kept(first, &placed);
        Ok(self.tree)
    }

    fn push_unlinked(
        &mut self,
        parent: Option<usize>,
        span: HiqSpan<'_>,
    ) -> Result<(), HiqTreeError> {
        let tree = &mut self.tree;
        let parent = parent
            .and_then(|index| u32::try_from(index).ok())
            .map_or(tree.root, NodeId);
        let node = tree.new_node(span.name, span.start, span.end.unwrap_or(0.0), span.extras)?;
        tree.push(Node { parent, ..node })?;
        tree.count += 1;
        Ok(())
    }

    /// Children come after their parents: going backwards, whether a node stays is decided before its parent's turn.
    fn link_kept(&mut self, first: usize, placed: &[Placed]) {
        let tree = &mut self.tree;
        let mut is_kept = vec![false; tree.nodes.len()];
        for index in (first..tree.nodes.len()).rev() {
            let node = &tree.nodes[index];
            if placed[index - first].is_open || !tree.is_zero_span(node.start, node.end) {
                is_kept[index] = true;
            }
            if is_kept[index] {
                is_kept[node.parent.index()] = true;
            }
        }
        for (index, placed) in (first..tree.nodes.len())
            .zip(placed)
            .filter(|(index, _)| is_kept[*index])
        {
            self.link(index, placed);
        }
    }

    fn link(&mut self, index: usize, placed: &Placed) {
        let tree = &mut self.tree;
        let id = NodeId(u32::try_from(index).unwrap_or(tree.root.0));
        let parent = tree.node(id).parent;
        let before = tree.node(parent).last_child;
        tree.link(parent, id);
        if !placed.is_open {
            tree.depth = tree.depth.max(placed.level);
        } else if tree.innermost() == parent {
            tree.stack.push((id, before));
        }
    }
}

/// Nodes that are put into a tree as they are.
impl HiqTree {
    /// The same tree without its nodes: its settings, counts and extras, and a virtual root. Nothing is open in it.
    #[must_use]
    pub fn without_nodes(&self) -> Self {
        Self {
            tid: self.tid.clone(),
            pid: self.pid.clone(),
            extras: self.extras.clone(),
            mode: self.mode,
            count: self.count,
            depth: self.depth,
            monotonic: self.monotonic,
            zin_threshold: self.zin_threshold,
            ..Self::new("")
        }
    }

    /// Makes the root this node; what is in the root stays.
    pub fn set_root(&mut self, node: HiqNode<'_>) -> Result<(), HiqTreeError> {
        let made = self.new_node(node.name, node.start, node.end, node.extras)?;
        let root = self.root;
        let root = self.node_mut(root);
        (root.name, root.start, root.end) = (made.name, made.start, made.end);
        (root.extras, root.nid) = (made.extras, node.nid);
        Ok(())
    }

    /// Adds a node inside `parent` as it is. It counts neither in [`HiqTree::count`] nor in [`HiqTree::depth`], and it
    /// is not dropped, however short.
    pub fn add_node(&mut self, parent: NodeId, node: HiqNode<'_>) -> Result<NodeId, HiqTreeError> {
        let nid = node.nid;
        let id = self.append(parent, node.name, node.start, node.end, node.extras)?;
        self.node_mut(id).nid = nid;
        Ok(id)
    }

    /// Adds what is in `node`, a node of another tree, inside `parent`, at any depth and as it is.
    pub fn add_children_of(
        &mut self,
        parent: NodeId,
        node: NodeRef<'_>,
    ) -> Result<(), HiqTreeError> {
        let mut inside = parent;
        // The copy of the node itself is `parent`.
        for step in Walk::below(node).skip(1) {
            match step {
                Step::Enter(child) => inside = self.add_node(inside, child.to_node())?,
                Step::Leave(_) => inside = self.node(inside).parent,
            }
        }
        Ok(())
    }

    /// Says which spans are open: a chain from a child of the root inwards, all of them nodes of this tree. What was
    /// said before is forgotten.
    pub fn set_open(&mut self, chain: impl IntoIterator<Item = NodeId>) {
        self.stack.truncate(1);
        for id in chain {
            let mut before = NodeId::NONE;
            for sibling in self.at(self.node(id).parent).children() {
                if sibling.id() == id {
                    break;
                }
                before = sibling.id();
            }
            self.stack.push((id, before));
        }
    }
}

/// The root is on level 1.
const FIRST_LEVEL: u32 = 2;

struct Placed {
    level: u32,
    is_open: bool,
}
