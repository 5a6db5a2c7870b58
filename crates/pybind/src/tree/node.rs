//! `hiq.node.Node`: a span as a Python object.
#![allow(unsafe_code, reason = "one reference count is read")]

use std::sync::Arc;

use hiq_core::render::{Extras, HiqNode, HiqTree, HiqTreeError, NodeId, NodeRef, NodeSummary};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::extras::{Wanted, dict_of, text_of};
use super::live::Live;
use super::refused;
use crate::attributes::lossless;

/// A span of a tree: name, value at its start and at its end, what it carries, and the spans in it.
#[pyclass(name = "Node", module = "hiq.node", subclass, dict, weakref)]
#[derive(Debug)]
pub(crate) struct PyNode {
    name: Py<PyString>,
    pub(super) start: f64,
    pub(super) end: f64,
    nid: u32,
    /// `None`: as in `recorded`, or empty.
    extra: Option<Py<PyDict>>,
    /// `None`: as in `recorded`, or empty.
    children: Option<Vec<Py<PyNode>>>,
    recorded: Option<Recorded>,
}

/// The node of the core that a Python node stands for.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    tree: Arc<HiqTree>,
    id: NodeId,
}

impl Recorded {
    pub(super) fn node(&self) -> NodeRef<'_> {
        self.tree.at(self.id)
    }
}

/// What is in a node.
pub(super) enum Inside {
    Nodes(Vec<Py<PyNode>>),
    Recorded(Recorded),
}

impl PyNode {
    /// A node that starts.
    pub(super) fn made(
        name: &Bound<'_, PyString>,
        start: f64,
        extra: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            name: checked(name)?,
            start,
            end: 0.0,
            nid: 0,
            extra: extra.map(|extra| extra.clone().unbind()),
            children: None,
            recorded: None,
        })
    }

    /// Stands for a node of the core; becomes more of it as it is asked for.
    pub(super) fn recorded(py: Python<'_>, tree: &Arc<HiqTree>, node: NodeRef<'_>) -> Self {
        Self {
            name: PyString::intern(py, node.name()).unbind(),
            start: node.start(),
            end: node.end(),
            nid: node.nid(),
            extra: None,
            children: None,
            recorded: Some(Recorded {
                tree: Arc::clone(tree),
                id: node.id(),
            }),
        }
    }

    pub(super) fn is_called(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<bool> {
        let own = self.name.bind(py);
        Ok(own.is(name) || own.as_any().eq(name)?)
    }

    pub(super) fn has_children(&self) -> bool {
        match (&self.children, &self.recorded) {
            (Some(children), _) => !children.is_empty(),
            (None, Some(recorded)) => recorded.node().children().next().is_some(),
            (None, None) => false,
        }
    }

    /// The nodes in it, each a Python object from now on.
    pub(super) fn children_mut(&mut self, py: Python<'_>) -> PyResult<&mut Vec<Py<PyNode>>> {
        if self.children.is_none() {
            let mut made = Vec::new();
            if let Some(recorded) = &self.recorded {
                for child in recorded.node().children() {
                    made.push(Py::new(py, Self::recorded(py, &recorded.tree, child))?);
                }
            }
            self.children = Some(made);
        }
        Ok(self.children.get_or_insert_default())
    }

    pub(super) fn inside(&self, py: Python<'_>) -> Inside {
        match (&self.children, &self.recorded) {
            (Some(children), _) => {
                Inside::Nodes(children.iter().map(|child| child.clone_ref(py)).collect())
            }
            (None, Some(recorded)) => Inside::Recorded(recorded.clone()),
            (None, None) => Inside::Nodes(Vec::new()),
        }
    }

    /// Calls `then` with the node as the core has it, what is in it left out.
    pub(super) fn with_core_node<R>(
        slf: &Bound<'_, Self>,
        wanted: Wanted,
        then: impl FnOnce(HiqNode<'_>) -> Result<R, HiqTreeError>,
    ) -> PyResult<R> {
        let (name, start, end, nid, extra, recorded) = {
            let node = slf.borrow();
            let name = lossless(node.name.bind(slf.py()));
            let extra = node
                .extra
                .as_ref()
                .map(|extra| extra.bind(slf.py()).clone());
            (
                name,
                node.start,
                node.end,
                node.nid,
                extra,
                node.recorded.clone(),
            )
        };
        let extras = match (wanted, extra, recorded) {
            (Wanted::Yes, Some(extra), _) => text_of(&extra)?,
            (Wanted::Yes, None, Some(recorded)) => recorded.node().to_node().extras,
            _ => Extras::new(),
        };
        let name = name.as_str();
        then(HiqNode {
            name,
            start,
            end,
            nid,
            extras,
        })
        .map_err(|error| refused(&error))
    }

    fn extra_len(&self, py: Python<'_>) -> usize {
        match (&self.extra, &self.recorded) {
            (Some(extra), _) => extra.bind(py).len(),
            (None, Some(recorded)) => recorded.node().extras().map_or(0, Extras::len),
            (None, None) => 0,
        }
    }

    fn child_count(&self) -> usize {
        match (&self.children, &self.recorded) {
            (Some(children), _) => children.len(),
            (None, Some(recorded)) => recorded.node().children().count(),
            (None, None) => 0,
        }
    }

    /// Another node of the same values, which shares the dict and the nodes in it.
    fn shallow_copy(slf: &Bound<'_, Self>) -> PyResult<Self> {
        let py = slf.py();
        let extra = Self::extra(slf)?.unbind();
        let mut node = slf.borrow_mut();
        let children = node.children_mut(py)?.iter();
        let children = children.map(|child| child.clone_ref(py)).collect();
        Ok(Self {
            name: node.name.clone_ref(py),
            start: node.start,
            end: node.end,
            nid: node.nid,
            extra: Some(extra),
            children: Some(children),
            recorded: None,
        })
    }
}

#[pymethods]
impl PyNode {
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(name='', start=0.0, end=0.0, extra=None, nid=0, node=None)"
    )]
    fn new(
        py: Python<'_>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Self::made(pyo3::intern!(py, ""), 0.0, None)
    }

    #[pyo3(signature = (name=None, start=0.0, end=0.0, extra=None, nid=0, node=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        name: Option<&Bound<'_, PyString>>,
        start: f64,
        end: f64,
        extra: Option<&Bound<'_, PyDict>>,
        nid: u32,
        node: Option<&Bound<'_, PyNode>>,
    ) -> PyResult<()> {
        let empty = pyo3::intern!(slf.py(), "");
        let made = if let Some(node) = node {
            Self::shallow_copy(node)?
        } else {
            let mut made = Self::made(name.unwrap_or(empty), start, extra)?;
            (made.end, made.nid) = (end, nid);
            made
        };
        *slf.borrow_mut() = made;
        Ok(())
    }

    #[getter]
    pub(super) fn name(&self, py: Python<'_>) -> Py<PyString> {
        self.name.clone_ref(py)
    }

    #[setter]
    fn set_name(&mut self, name: &Bound<'_, PyString>) -> PyResult<()> {
        self.name = checked(name)?;
        Ok(())
    }

    #[getter]
    fn start(&self) -> f64 {
        self.start
    }

    #[setter]
    fn set_start(&mut self, start: f64) {
        self.start = start;
    }

    #[getter]
    fn end(&self) -> f64 {
        self.end
    }

    #[setter]
    fn set_end(&mut self, end: f64) {
        self.end = end;
    }

    #[getter]
    fn nid(&self) -> u32 {
        self.nid
    }

    #[setter]
    fn set_nid(&mut self, nid: u32) {
        self.nid = nid;
    }

    #[getter]
    pub(super) fn extra<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let recorded = {
            let node = slf.borrow();
            if let Some(extra) = &node.extra {
                return Ok(extra.bind(py).clone());
            }
            node.recorded.clone()
        };
        let read = match recorded
            .as_ref()
            .and_then(|recorded| recorded.node().extras())
        {
            Some(extras) => dict_of(py, extras)?,
            None => PyDict::new(py),
        };
        let mut node = slf.borrow_mut();
        let extra = node.extra.get_or_insert_with(|| read.unbind());
        Ok(extra.bind(py).clone())
    }

    #[setter]
    fn set_extra(&mut self, extra: Py<PyDict>) {
        self.extra = Some(extra);
    }

    /// The nodes in it, as a new list.
    #[getter]
    fn nodes(&mut self, py: Python<'_>) -> PyResult<Vec<Py<PyNode>>> {
        let children = self.children_mut(py)?.iter();
        Ok(children.map(|child| child.clone_ref(py)).collect())
    }

    #[setter]
    fn set_nodes(slf: &Bound<'_, Self>, nodes: Vec<Py<PyNode>>) {
        // What it held may be dropped here, and with it anything of the program's.
        let before = slf.borrow_mut().children.replace(nodes);
        drop(before);
    }

    /// End less start.
    fn span(&self) -> f64 {
        self.end - self.start
    }

    /// Puts the node itself behind those that are in it.
    fn append(&mut self, py: Python<'_>, node: Py<PyNode>) -> PyResult<()> {
        self.children_mut(py)?.push(node);
        Ok(())
    }

    /// Puts a copy of the node, which shares its dict and its nodes, behind those that are in it.
    fn add_child(slf: &Bound<'_, Self>, node: &Bound<'_, PyNode>) -> PyResult<()> {
        let py = slf.py();
        let mut copy = Self::shallow_copy(node)?;
        copy.nid = 0;
        slf.borrow_mut().append(py, Py::new(py, copy)?)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let summary = NodeSummary {
            name: &lossless(self.name.bind(py)),
            start: self.start,
            end: self.end,
            extras: self.extra_len(py),
            children: self.child_count(),
        };
        summary.to_string()
    }

    /// The string of a tree with this root, so that the depth does not matter; and what the program has set on the object.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> PyResult<(String, Bound<'py, PyAny>)> {
        let text = Live::under(slf).tree(slf.py(), Wanted::Yes)?.repr();
        Ok((text, slf.getattr("__dict__")?))
    }

    fn __setstate__(
        slf: &Bound<'_, Self>,
        state: (Bound<'_, PyString>, Bound<'_, PyDict>),
    ) -> PyResult<()> {
        let py = slf.py();
        let (text, attributes) = state;
        let tree = HiqTree::parse(&lossless(&text));
        let tree = tree.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let tree = Arc::new(tree);
        *slf.borrow_mut() = Self::recorded(py, &tree, tree.root());
        slf.getattr("__dict__")?
            .call_method1("update", (attributes,))?;
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.extra)?;
        for child in self.children.iter().flatten() {
            visit.call(child)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.extra = None;
        self.children = None;
    }
}

/// A chain of nodes is taken apart from the outside in: left to itself, each would be dropped inside of its parent, and a
/// deep chain would overflow the stack.
impl Drop for PyNode {
    fn drop(&mut self) {
        let mut waiting = self.children.take().unwrap_or_default();
        if waiting.is_empty() {
            return;
        }
        Python::attach(|py| {
            while let Some(node) = waiting.pop() {
                // SAFETY: a live object, with the GIL held.
                let is_last = unsafe { ffi::Py_REFCNT(node.as_ptr()) } == 1;
                if is_last {
                    let inside = node.try_borrow_mut(py).ok();
                    let inside = inside.and_then(|mut node| node.children.take());
                    waiting.extend(inside.unwrap_or_default());
                }
            }
        });
    }
}

fn checked(name: &Bound<'_, PyString>) -> PyResult<Py<PyString>> {
    let text = lossless(name);
    if text.contains(',') {
        return Err(refused(&HiqTreeError::CommaInName { name: text }));
    }
    Ok(name.clone().unbind())
}
