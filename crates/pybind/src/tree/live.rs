//! A tree whose nodes Python holds: spans are written into it, and it is copied into the core's tree to be drawn and asked.

use std::collections::HashSet;
use std::sync::Arc;

use hiq_core::render::{HiqTree, HiqTreeError, NodeId};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::extras::{Wanted, dict_of, text_of};
use super::node::{Inside, PyNode};
use super::refused;

#[derive(Debug)]
pub(super) struct Live {
    /// Settings and counts; without nodes and extras.
    pub(super) header: HiqTree,
    pub(super) extra: Py<PyDict>,
    pub(super) root: Py<PyNode>,
    /// Open spans, the innermost last; the root is not among them.
    pub(super) open: Vec<Py<PyNode>>,
}

/// A span that has ended. It outlives the borrow of its tree, for it may take objects of the program with it.
pub(super) enum Ended {
    Kept(Py<PyNode>),
    Dropped(#[expect(dead_code, reason = "held for its drop")] Py<PyNode>),
}

impl Live {
    /// The nodes of `tree` become Python objects as they are asked for.
    pub(super) fn of(py: Python<'_>, tree: &Arc<HiqTree>) -> PyResult<Self> {
        let mut header = tree.without_nodes();
        let extras = std::mem::take(header.extras_mut());
        Ok(Self {
            header,
            extra: dict_of(py, &extras)?.unbind(),
            root: Py::new(py, PyNode::recorded(py, tree, tree.root()))?,
            open: Vec::new(),
        })
    }

    /// A tree with this root.
    pub(super) fn under(root: &Bound<'_, PyNode>) -> Self {
        Self {
            header: HiqTree::new(""),
            extra: PyDict::new(root.py()).unbind(),
            root: root.clone().unbind(),
            open: Vec::new(),
        }
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            header: self.header.clone(),
            extra: self.extra.clone_ref(py),
            root: self.root.clone_ref(py),
            open: self.open.iter().map(|node| node.clone_ref(py)).collect(),
        }
    }

    // --- writing --------------------------------------------------------------------------------

    pub(super) fn start(&mut self, node: Bound<'_, PyNode>) -> PyResult<()> {
        let py = node.py();
        let children = &mut self.innermost(py).borrow_mut();
        children.children_mut(py)?.push(node.clone().unbind());
        self.open.push(node.unbind());
        self.header.set_count(self.header.count() + 1);
        Ok(())
    }

    /// The node that has ended; `None` if the innermost open span has another name.
    pub(super) fn end(
        &mut self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        value: f64,
    ) -> PyResult<Option<Ended>> {
        let levels = u32::try_from(self.open.len() + 1).unwrap_or(u32::MAX);
        let is_innermost = match self.open.last() {
            Some(node) => node.borrow(py).is_called(py, name)?,
            None => false,
        };
        let Some(node) = self.open.pop_if(|_| is_innermost) else {
            return Ok(None);
        };
        let is_dropped = {
            let node = node.borrow(py);
            self.header.is_zero_span(node.start, value) && !node.has_children()
        };
        if is_dropped {
            self.remove(py, &node)?;
            return Ok(Some(Ended::Dropped(node)));
        }
        node.borrow_mut(py).end = value;
        self.header.set_depth(self.header.depth().max(levels));
        Ok(Some(Ended::Kept(node)))
    }

    /// How many levels are open, the root among them, and what the innermost is called.
    pub(super) fn innermost_open(&self, py: Python<'_>) -> (usize, Py<PyString>) {
        let innermost = self.innermost(py);
        (self.open.len() + 1, innermost.borrow().name(py))
    }

    /// Adds a finished node; false for one that is too short.
    pub(super) fn add(&mut self, node: Bound<'_, PyNode>) -> PyResult<bool> {
        let py = node.py();
        let span = node.borrow().end - node.borrow().start;
        if span < self.header.zin_threshold() {
            return Ok(false);
        }
        let parent = self.innermost(py);
        parent.borrow_mut().children_mut(py)?.push(node.unbind());
        self.header.set_count(self.header.count() + 1);
        Ok(true)
    }

    /// Takes a node out of the innermost open one.
    fn remove(&self, py: Python<'_>, node: &Py<PyNode>) -> PyResult<()> {
        let parent = self.innermost(py);
        let mut parent = parent.borrow_mut();
        let children = parent.children_mut(py)?;
        if let Some(place) = children.iter().rposition(|child| child.is(node)) {
            children.remove(place);
        }
        Ok(())
    }

    fn innermost<'py>(&self, py: Python<'py>) -> Bound<'py, PyNode> {
        self.open.last().unwrap_or(&self.root).bind(py).clone()
    }

    // --- copying into the core ------------------------------------------------------------------

    /// The core's tree. Python code runs meanwhile: `self` is a copy that the program cannot reach.
    pub(super) fn tree(&self, py: Python<'_>, wanted: Wanted) -> PyResult<HiqTree> {
        let mut tree = self.header.clone();
        if wanted == Wanted::Yes {
            *tree.extras_mut() = text_of(self.extra.bind(py))?;
        }
        let root = self.root.bind(py);
        PyNode::with_core_node(root, wanted, |node| tree.set_root(node))?;
        let mut copying = Copying {
            py,
            wanted,
            open: &self.open,
            chain: Vec::new(),
            outer: Vec::new(),
            ancestors: HashSet::new(),
        };
        copying.children(&mut tree, root)?;
        let chain = copying.chain;
        tree.set_open(chain);
        Ok(tree)
    }

    /// Gives the root the range of its children; not while a span is open.
    pub(super) fn consolidate(&mut self, py: Python<'_>) -> PyResult<()> {
        if !self.open.is_empty() {
            return Ok(());
        }
        let mut tree = self.tree(py, Wanted::No)?;
        let mut id = tree.root().id();
        tree.consolidate();
        while id != tree.root().id() {
            let mut outer = self.root.borrow_mut(py);
            let (Some(child), Some(inner)) = (
                tree.at(id).children().next(),
                outer.children_mut(py)?.first(),
            ) else {
                break;
            };
            let inner = inner.clone_ref(py);
            drop(outer);
            (id, self.root) = (child.id(), inner);
        }
        let mut root = self.root.borrow_mut(py);
        (root.start, root.end) = (tree.root().start(), tree.root().end());
        Ok(())
    }

    // --- garbage collection ---------------------------------------------------------------------

    pub(super) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.extra)?;
        visit.call(&self.root)?;
        for node in &self.open {
            visit.call(node)?;
        }
        Ok(())
    }
}

/// The walk through Python's nodes, without recursion.
struct Copying<'a, 'py> {
    py: Python<'py>,
    wanted: Wanted,
    open: &'a [Py<PyNode>],
    /// Copies of the open spans.
    chain: Vec<NodeId>,
    /// Nodes that are being copied, the root first.
    outer: Vec<Outer>,
    ancestors: HashSet<usize>,
}

struct Outer {
    copy: NodeId,
    address: usize,
    left: std::vec::IntoIter<Py<PyNode>>,
}

impl<'py> Copying<'_, 'py> {
    fn children(&mut self, tree: &mut HiqTree, root: &Bound<'py, PyNode>) -> PyResult<()> {
        let copy = tree.root().id();
        self.enter(tree, root, copy)?;
        while let Some(outer) = self.outer.last_mut() {
            let parent = outer.copy;
            let Some(child) = outer.left.next() else {
                self.ancestors.remove(&outer.address);
                self.outer.pop();
                continue;
            };
            let child = child.bind(self.py);
            let copy =
                PyNode::with_core_node(child, self.wanted, |node| tree.add_node(parent, node))?;
            self.note_open(tree, parent, child, copy);
            self.enter(tree, child, copy)?;
        }
        Ok(())
    }

    /// What is in `node` comes next.
    fn enter(
        &mut self,
        tree: &mut HiqTree,
        node: &Bound<'py, PyNode>,
        copy: NodeId,
    ) -> PyResult<()> {
        let inside = node.borrow().inside(self.py);
        match inside {
            Inside::Recorded(recorded) => tree
                .add_children_of(copy, recorded.node())
                .map_err(|error: HiqTreeError| refused(&error)),
            Inside::Nodes(nodes) if nodes.is_empty() => Ok(()),
            Inside::Nodes(nodes) => {
                let address = node.as_ptr() as usize;
                if !self.ancestors.insert(address) {
                    let message = "a node is inside of itself; take it out of the nodes below it";
                    return Err(PyValueError::new_err(message));
                }
                self.outer.push(Outer {
                    copy,
                    address,
                    left: nodes.into_iter(),
                });
                Ok(())
            }
        }
    }

    fn note_open(
        &mut self,
        tree: &HiqTree,
        parent: NodeId,
        child: &Bound<'py, PyNode>,
        copy: NodeId,
    ) {
        let innermost = self.chain.last().copied().unwrap_or(tree.root().id());
        let next = self.open.get(self.chain.len());
        if parent == innermost && next.is_some_and(|next| next.is(child)) {
            self.chain.push(copy);
        }
    }
}
