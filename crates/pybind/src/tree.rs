//! `hiq.Tree`.

use hiq_core::render::{HiqTree, RenderOptions, TimeFormat};
use pyo3::prelude::*;

/// HiQ's tree.
#[pyclass(name = "Tree", module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct PyTree {
    tree: HiqTree,
}

impl From<HiqTree> for PyTree {
    fn from(tree: HiqTree) -> Self {
        Self { tree }
    }
}

#[pymethods]
impl PyTree {
    fn get_graph(&self) -> String {
        self.tree.graph(&RenderOptions::new(TimeFormat::DateTime))
    }
}
