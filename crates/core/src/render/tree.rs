//! The tree itself: an arena of nodes in the order they started, linked parent to first child to next sibling.

use std::fmt;

use super::arena::{Names, Node, is_none, lower, upper};
use super::build::HiqTreeBuilder;
use super::node::{NodeId, NodeRef};
use super::{Extras, LocalZone};

/// A span shorter than this is dropped when it ends, unless it has children: HiQ's `ZIN_THRESHOLD`, in the unit of the
/// value.
pub const DEFAULT_ZIN_THRESHOLD: f64 = 1e-7;

/// HiQ's tree: spans of a value that is read at their start and at their end.
///
/// The root is virtual: it has no value of its own (both are infinite) and no name but `None`.
#[derive(Clone)]
pub struct HiqTree {
    pub(super) tid: String,
    pub(super) pid: String,
    pub(super) mode: i32,
    pub(super) count: u64,
    pub(super) depth: u32,
    pub(super) monotonic: bool,
    pub(super) zin_threshold: f64,
    pub(super) extras: Extras,
    pub(super) nodes: Vec<Node>,
    pub(super) names: Names,
    pub(super) root: NodeId,
    /// Open spans, the root first, each with the sibling before it.
    pub(super) stack: Vec<(NodeId, NodeId)>,
}

/// A step that the tree refuses. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HiqTreeError {
    /// The string form separates its fields by commas.
    #[error("name cannot contain comma: {name:?}; rename it, e.g. {:?}", name.replace(',', "_"))]
    CommaInName {
        /// The name.
        name: String,
    },
    /// The span that ends is not the innermost open one.
    #[error("cannot end {name:?}: the innermost open span is {open:?}; end that one first")]
    NotInnermost {
        /// The span to end.
        name: String,
        /// The innermost open span.
        open: String,
    },
    /// No span is open.
    #[error("cannot end {name:?}: no span is open; start one first")]
    NoneOpen {
        /// The span to end.
        name: String,
    },
    /// The arena is full.
    #[error("tree has {0} spans, which is the limit; start a new tree")]
    Full(u32),
}

impl HiqTree {
    /// An empty tree. `tid` is its id: for drivers the name of the metric.
    pub fn new(tid: impl Into<String>) -> Self {
        Self {
            tid: tid.into(),
            pid: String::new(),
            mode: 0,
            count: 0,
            depth: 1,
            monotonic: true,
            zin_threshold: DEFAULT_ZIN_THRESHOLD,
            extras: Extras::new(),
            nodes: vec![Node::virtual_root()],
            names: Names::default(),
            root: NodeId(0),
            stack: vec![(NodeId(0), NodeId::NONE)],
        }
    }

    /// An empty tree with other settings than the default ones.
    pub fn builder(tid: impl Into<String>) -> HiqTreeBuilder {
        HiqTreeBuilder::new(Self::new(tid))
    }

    /// Opens a span inside the innermost open one.
    pub fn start(&mut self, name: &str, value: f64) -> Result<NodeId, HiqTreeError> {
        self.start_with(name, value, Extras::new())
    }

    /// Opens a span that carries `extras`.
    pub fn start_with(
        &mut self,
        name: &str,
        value: f64,
        extras: Extras,
    ) -> Result<NodeId, HiqTreeError> {
        let parent = self.innermost();
        let before = self.node(parent).last_child;
        let id = self.append(parent, name, value, 0.0, extras)?;
        self.stack.push((id, before));
        self.count += 1;
        Ok(id)
    }

    /// Ends the innermost open span, whatever its name.
    pub fn end(&mut self, value: f64) -> Result<(), HiqTreeError> {
        self.end_innermost("", value, &Extras::new())
    }

    /// Ends the innermost open span, which must have this name, and adds `extras` to what it carries.
    pub fn end_named(
        &mut self,
        name: &str,
        value: f64,
        extras: &Extras,
    ) -> Result<(), HiqTreeError> {
        let open = self.name_of(self.innermost());
        if self.open_spans() > 0 && open != name {
            return Err(HiqTreeError::NotInnermost {
                name: name.to_owned(),
                open: open.to_owned(),
            });
        }
        self.end_innermost(name, value, extras)
    }

    /// Adds a finished span inside the innermost open one. One that is shorter than the threshold (a negative one is)
    /// is refused: `Ok(None)`.
    pub fn add(
        &mut self,
        name: &str,
        start: f64,
        end: f64,
        extras: Extras,
    ) -> Result<Option<NodeId>, HiqTreeError> {
        if end - start < self.zin_threshold {
            return Ok(None);
        }
        let id = self.append(self.innermost(), name, start, end, extras)?;
        self.count += 1;
        Ok(Some(id))
    }

    /// Gives the root the range of its children, and merges virtual roots inside of virtual roots. Nothing happens while
    /// a span is open. Drawing a tree does not need it.
    pub fn consolidate(&mut self) {
        if self.open_spans() > 0 {
            return;
        }
        let (root, start, end) = self.drawn_root();
        self.root = root;
        self.stack[0].0 = root;
        let node = self.node_mut(root);
        (node.start, node.end) = (start, end);
    }

    /// Id of the tree.
    pub fn tid(&self) -> &str {
        &self.tid
    }

    /// Sets the id.
    pub fn set_tid(&mut self, tid: impl Into<String>) {
        self.tid = tid.into();
    }

    /// 0 drops zero spans, any other value keeps them.
    pub fn mode(&self) -> i32 {
        self.mode
    }

    /// Sets the mode; it counts for the spans that end from now on.
    pub fn set_mode(&mut self, mode: i32) {
        self.mode = mode;
    }

    /// Spans started or added, dropped ones too.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sets what [`HiqTree::count`] goes on from.
    pub fn set_count(&mut self, spans: u64) {
        self.count = spans;
    }

    /// The most levels that were open when a span ended, dropped ones left out; the root is one.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Sets what [`HiqTree::depth`] goes on from.
    pub fn set_depth(&mut self, levels: u32) {
        self.depth = levels;
    }

    /// Whether the values were said to only go up, or only down. It changes nothing.
    pub fn monotonic(&self) -> bool {
        self.monotonic
    }

    /// Below this, in the unit of the value, a span is a zero span.
    pub fn zin_threshold(&self) -> f64 {
        self.zin_threshold
    }

    /// What the tree carries.
    pub fn extras(&self) -> &Extras {
        &self.extras
    }

    /// What the tree carries, to be changed.
    pub fn extras_mut(&mut self) -> &mut Extras {
        &mut self.extras
    }

    /// The root.
    pub fn root(&self) -> NodeRef<'_> {
        self.at(self.root)
    }

    /// The node of this id, as [`HiqTree::start`] has given it. An id whose span was dropped is the root's.
    pub fn at(&self, id: NodeId) -> NodeRef<'_> {
        let id = if (id.0 as usize) < self.nodes.len() {
            id
        } else {
            self.root
        };
        NodeRef { tree: self, id }
    }

    /// Spans that are open.
    pub fn open_spans(&self) -> usize {
        self.stack.len() - 1
    }

    /// Whether a top-level span, or nothing, is open: HiQ's `just_before_ending_root`.
    pub fn just_before_ending_root(&self) -> bool {
        self.open_spans() <= 1
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    pub(super) fn name_of(&self, id: NodeId) -> &str {
        self.names.text(self.node(id).name)
    }

    /// The root as it is drawn, with the range that it is drawn with.
    pub(super) fn drawn_root(&self) -> (NodeId, f64, f64) {
        let mut id = self.root;
        let open = self.stack.get(1).map(|(id, _)| *id);
        if open.is_none() {
            while let Some(inner) = self.only_virtual_child(id) {
                id = inner;
            }
        }
        let node = self.node(id);
        let (mut start, mut end) = (node.start, node.end);
        if node.is_virtual() || is_none(self.name_of(id)) {
            for child in self
                .at(id)
                .children()
                .filter(|child| Some(child.id()) != open)
            {
                start = lower(start, child.start());
                end = upper(end, child.end());
            }
        }
        (id, start, end)
    }

    pub(super) fn innermost(&self) -> NodeId {
        self.stack.last().map_or(self.root, |(id, _)| *id)
    }

    /// Whether a span of these values is dropped when it ends without children.
    pub fn is_zero_span(&self, start: f64, end: f64) -> bool {
        self.mode == 0 && (end - start).abs() < self.zin_threshold
    }

    pub(super) fn new_node(
        &mut self,
        name: &str,
        start: f64,
        end: f64,
        extras: Extras,
    ) -> Result<Node, HiqTreeError> {
        if name.contains(',') {
            return Err(HiqTreeError::CommaInName {
                name: name.to_owned(),
            });
        }
        let extras = (!extras.is_empty()).then(|| Box::new(extras));
        Ok(Node {
            extras,
            ..Node::new(self.names.index(name), start, end)
        })
    }

    /// Puts a node into the arena, to be linked to its parent.
    pub(super) fn push(&mut self, node: Node) -> Result<NodeId, HiqTreeError> {
        const LIMIT: u32 = NodeId::NONE.0 - 1;
        match u32::try_from(self.nodes.len()) {
            Ok(index) if index < LIMIT => {
                self.nodes.push(node);
                Ok(NodeId(index))
            }
            _ => Err(HiqTreeError::Full(LIMIT)),
        }
    }

    pub(super) fn append(
        &mut self,
        parent: NodeId,
        name: &str,
        start: f64,
        end: f64,
        extras: Extras,
    ) -> Result<NodeId, HiqTreeError> {
        let node = self.new_node(name, start, end, extras)?;
        let id = self.push(Node { parent, ..node })?;
        self.link(parent, id);
        Ok(id)
    }

    pub(super) fn link(&mut self, parent: NodeId, id: NodeId) {
        let last = std::mem::replace(&mut self.node_mut(parent).last_child, id);
        if last == NodeId::NONE {
            self.node_mut(parent).first_child = id;
        } else {
            self.node_mut(last).next = id;
        }
    }

    fn end_innermost(
        &mut self,
        name: &str,
        value: f64,
        extras: &Extras,
    ) -> Result<(), HiqTreeError> {
        if self.open_spans() == 0 {
            return Err(HiqTreeError::NoneOpen {
                name: name.to_owned(),
            });
        }
        let levels = self.stack.len();
        let Some((id, before)) = self.stack.pop() else {
            return Ok(());
        };
        let node = self.node(id);
        if self.is_zero_span(node.start, value) && node.first_child == NodeId::NONE {
            self.drop_last(id, before);
            return Ok(());
        }
        let node = self.node_mut(id);
        node.end = value;
        if !extras.is_empty() {
            node.extras.get_or_insert_default().update(extras);
        }
        self.depth = self.depth.max(u32::try_from(levels).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Removes a node without children that was the innermost open one, so nothing was added after it.
    fn drop_last(&mut self, id: NodeId, before: NodeId) {
        let parent = self.node(id).parent;
        self.node_mut(parent).last_child = before;
        if before == NodeId::NONE {
            self.node_mut(parent).first_child = NodeId::NONE;
        } else {
            self.node_mut(before).next = NodeId::NONE;
        }
        self.nodes.truncate(id.0 as usize);
    }

    fn only_virtual_child(&self, id: NodeId) -> Option<NodeId> {
        let node = self.node(id);
        let is_only = node.first_child == node.last_child && node.first_child != NodeId::NONE;
        (node.is_virtual() && is_only && self.node(node.first_child).is_virtual())
            .then_some(node.first_child)
    }
}

/// What HiQ prints for a tree: `(🌳 id=time,c=4,x=5,d=4,m=0,o=1)`.
#[derive(Clone, Copy, Debug)]
pub struct TreeSummary<'a> {
    /// See [`HiqTree::tid`].
    pub tid: &'a str,
    /// See [`HiqTree::count`].
    pub count: u64,
    /// The number of keys that the tree carries.
    pub extras: usize,
    /// See [`HiqTree::depth`].
    pub depth: u32,
    /// See [`HiqTree::mode`].
    pub mode: i32,
    /// See [`HiqTree::monotonic`].
    pub monotonic: bool,
}

impl fmt::Display for TreeSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tid,
            count,
            extras,
            depth,
            mode,
            ..
        } = self;
        let monotonic = u8::from(self.monotonic);
        write!(
            f,
            "(🌳 id={tid},c={count},x={extras},d={depth},m={mode},o={monotonic})"
        )
    }
}

/// HiQ's short form, see [`TreeSummary`].
impl fmt::Display for HiqTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = TreeSummary {
            tid: &self.tid,
            count: self.count,
            extras: self.extras.len(),
            depth: self.depth,
            mode: self.mode,
            monotonic: self.monotonic,
        };
        summary.fmt(f)
    }
}

impl fmt::Debug for HiqTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HiqTree").field(&self.repr()).finish()
    }
}

/// Equal strings, as HiQ has it.
impl PartialEq for HiqTree {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.depth == other.depth && self.repr() == other.repr()
    }
}

// Trees go from thread to thread, and their drawing needs nothing but a zone.
const _: () = {
    const fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<HiqTree>();
    is_send_sync::<LocalZone>();
};
