//! The two states of a tree: as the core has recorded it, and with nodes that Python holds.

use std::sync::Arc;

use hiq_core::render::HiqTree;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::PyTree;
use super::extras::Wanted;
use super::live::Live;

#[derive(Debug)]
pub(super) enum Body {
    Recorded(Arc<HiqTree>),
    Live(Box<Live>),
}

impl From<HiqTree> for Body {
    fn from(tree: HiqTree) -> Self {
        Self::Recorded(Arc::new(tree))
    }
}

impl Body {
    /// The tree with nodes that Python holds, which it has from now on.
    pub(super) fn live(&mut self, py: Python<'_>) -> PyResult<&mut Live> {
        if let Self::Recorded(tree) = self {
            *self = Self::Live(Box::new(Live::of(py, tree)?));
        }
        match self {
            Self::Live(live) => Ok(live),
            Self::Recorded(_) => Err(PyRuntimeError::new_err("the tree has no nodes")),
        }
    }

    /// The tree as the core has it.
    pub(super) fn tree(&self, py: Python<'_>, wanted: Wanted) -> PyResult<Arc<HiqTree>> {
        match self {
            Self::Recorded(tree) => Ok(Arc::clone(tree)),
            Self::Live(live) => live.tree(py, wanted).map(Arc::new),
        }
    }

    pub(super) fn consolidate(&mut self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Recorded(tree) => {
                Arc::make_mut(tree).consolidate();
                Ok(())
            }
            Self::Live(live) => live.consolidate(py),
        }
    }

    /// The same tree, not a copy.
    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Recorded(tree) => Self::Recorded(Arc::clone(tree)),
            Self::Live(live) => Self::Live(Box::new(live.clone_ref(py))),
        }
    }

    /// Settings and counts.
    pub(super) fn header(&self) -> &HiqTree {
        match self {
            Self::Recorded(tree) => tree,
            Self::Live(live) => &live.header,
        }
    }

    pub(super) fn extra_len(&self, py: Python<'_>) -> usize {
        match self {
            Self::Recorded(tree) => tree.extras().len(),
            Self::Live(live) => live.extra.bind(py).len(),
        }
    }

    /// A recorded tree has none.
    pub(super) fn open_spans(&self) -> usize {
        match self {
            Self::Recorded(_) => 0,
            Self::Live(live) => live.open.len(),
        }
    }

    pub(super) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Recorded(_) => Ok(()),
            Self::Live(live) => live.traverse(visit),
        }
    }
}

impl From<HiqTree> for PyTree {
    fn from(tree: HiqTree) -> Self {
        Self {
            body: Body::from(tree),
            queue_lmk: None,
        }
    }
}

impl PyTree {
    pub(super) fn live(&mut self, py: Python<'_>) -> PyResult<&mut Live> {
        self.body.live(py)
    }

    /// The tree as the core has it. The texts of extras are made by the program's own code, so nothing is borrowed
    /// meanwhile.
    pub(super) fn tree(slf: &Bound<'_, Self>, wanted: Wanted) -> PyResult<Arc<HiqTree>> {
        let body = slf.borrow().body.clone_ref(slf.py());
        body.tree(slf.py(), wanted)
    }

    /// What the core answers, with the GIL released.
    pub(super) fn ask<R: Send>(
        slf: &Bound<'_, Self>,
        wanted: Wanted,
        question: impl FnOnce(&HiqTree) -> R + Send,
    ) -> PyResult<R> {
        let tree = Self::tree(slf, wanted)?;
        Ok(slf.py().detach(|| question(&tree)))
    }

    /// What it was may take objects of the program with it, so nothing is borrowed when that is dropped.
    pub(super) fn become_tree(slf: &Bound<'_, Self>, tree: HiqTree) {
        let before = std::mem::replace(&mut slf.borrow_mut().body, Body::from(tree));
        drop(before);
    }
}
