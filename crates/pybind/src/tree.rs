//! `hiq.Tree`: HiQ's tree of named spans.
//!
//! ```text
//! Driver.tree, Tree(text) ─► Recorded: the core's tree, drawn and asked without a Python object per span
//!                               │ a node or the extra is asked for, a span is written
//!                               ▼
//! Tree() ──────────────────► Live: nodes are Python objects, as HiQ's are; copied for each drawing and question
//! ```

mod body;
mod extras;
mod live;
mod log;
mod node;
mod text;

use hiq_core::id::TraceId;
use hiq_core::render::{HiqTree, HiqTreeError, LeafOrder, TreeSummary};
use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use self::body::Body;
use self::extras::Wanted;
use self::live::Ended;
use self::node::PyNode;
use crate::attributes::lossless;
use crate::runtime;

/// HiQ's tree: spans of a value that is read at their start and at their end.
#[pyclass(name = "Tree", module = "hiq.tree", subclass, dict, weakref)]
#[derive(Debug)]
pub(crate) struct PyTree {
    body: Body,
    queue_lmk: Option<Py<PyAny>>,
}

#[pymethods]
impl PyTree {
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(s='', tid='', extra=None, monotonic=True, capacity=1024, queue_lmk=None)"
    )]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::from(HiqTree::new(""))
    }

    #[pyo3(signature = (s=None, tid=None, extra=None, monotonic=true, capacity=1024, queue_lmk=None))]
    fn __init__(
        slf: &Bound<'_, Self>,
        s: Option<&Bound<'_, PyString>>,
        tid: Option<&Bound<'_, PyString>>,
        extra: Option<&Bound<'_, PyDict>>,
        monotonic: bool,
        // Room is taken as it is needed.
        #[expect(unused_variables, reason = "HiQ has it")] capacity: usize,
        queue_lmk: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let tid = tid.map(lossless).filter(|tid| !tid.is_empty());
        let tree = HiqTree::builder(tid.unwrap_or_else(random_tid))
            .monotonic(monotonic)
            .zin_threshold(runtime::zin_threshold(py));
        Self::become_tree(slf, tree.build());
        slf.borrow_mut().queue_lmk = queue_lmk;
        if let Some(extra) = extra.filter(|extra| !extra.is_empty()) {
            slf.borrow_mut().live(py)?.extra = extra.clone().unbind();
        }
        Self::recover(slf, s)
    }

    // --- spans ----------------------------------------------------------------------------------

    /// Opens a span `a` inside the innermost open one; `b` is the value now.
    #[pyo3(signature = (a, b, extra=None))]
    fn start(
        slf: &Bound<'_, Self>,
        a: &Bound<'_, PyString>,
        b: &Bound<'_, PyAny>,
        extra: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let node = Bound::new(py, PyNode::made(a, b.extract()?, extra)?)?;
        slf.borrow_mut().live(py)?.start(node)?;
        Self::log(slf, a, b, extra, true)
    }

    /// Ends the innermost open span, which is called `a`; `b` is the value now, `extra` is added to what the span carries.
    /// A span without children that took less than the threshold is dropped. Another name than `a` changes nothing, and is told of
    /// where Python prints, as HiQ does.
    #[pyo3(signature = (a, b, extra=None))]
    fn end(
        slf: &Bound<'_, Self>,
        a: &Bound<'_, PyString>,
        b: &Bound<'_, PyAny>,
        extra: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let value = b.extract()?;
        let ended = slf.borrow_mut().live(py)?.end(py, a, value)?;
        if ended.is_none() {
            let (levels, innermost) = slf.borrow_mut().live(py)?.innermost_open(py);
            // The root's own name is no mismatch there.
            if !innermost.bind(py).as_any().eq(a)? {
                text::print_mismatch(py, levels, innermost.bind(py), a)?;
            }
        }
        if let (Some(Ended::Kept(node)), Some(extra)) = (&ended, extra) {
            PyNode::extra(node.bind(py))?.update(extra.as_mapping())?;
        }
        Self::log(slf, a, b, extra, false)
    }

    /// Adds a finished node inside the innermost open span. False when it is shorter than the threshold.
    #[pyo3(signature = (node=None))]
    fn add_node(&mut self, py: Python<'_>, node: Option<Bound<'_, PyNode>>) -> PyResult<bool> {
        match node {
            Some(node) => self.live(py)?.add(node),
            None => Ok(false),
        }
    }

    /// Gives the root the range of its children, and merges virtual roots inside of virtual roots; not while a span is open.
    fn consolidate(&mut self, py: Python<'_>) -> PyResult<()> {
        self.body.consolidate(py)
    }

    // --- as text --------------------------------------------------------------------------------

    /// Prints the drawing.
    #[pyo3(signature = (time_format="_timestamp_"))]
    fn show(slf: &Bound<'_, Self>, time_format: &str) -> PyResult<()> {
        let graph = Self::get_graph(slf, time_format)?;
        text::print(slf.py(), &graph)
    }

    /// The drawing: a line for each span, times as `_timestamp_` or as `_datetime_`.
    #[pyo3(signature = (time_format="_timestamp_"))]
    fn get_graph(slf: &Bound<'_, Self>, time_format: &str) -> PyResult<String> {
        let options = text::options(slf.py(), time_format)?;
        Self::ask(slf, Wanted::Yes, |tree| tree.graph(&options))
    }

    /// The tree as HiQ's string, from which `Tree(s)` makes it again.
    fn repr(slf: &Bound<'_, Self>) -> PyResult<String> {
        Self::ask(slf, Wanted::Yes, HiqTree::repr)
    }

    /// Becomes the tree that `repr` has written. `ValueError` says what is wrong, and where.
    #[pyo3(signature = (s=None))]
    fn recover(slf: &Bound<'_, Self>, s: Option<&Bound<'_, PyString>>) -> PyResult<()> {
        let Some(text) = s.map(lossless).filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        let tree = slf.py().detach(|| HiqTree::parse(&text));
        let tree = tree.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Self::become_tree(slf, tree);
        Ok(())
    }

    /// The calls as a graph in Graphviz's language.
    #[pyo3(signature = (node_shape="circle"))]
    fn to_dot_string(slf: &Bound<'_, Self>, node_shape: &str) -> PyResult<String> {
        Self::ask(slf, Wanted::No, |tree| tree.to_dot(node_shape))
    }

    /// Draws the calls with Graphviz's `dot` and returns the file's name; None when there is no `dot`.
    #[pyo3(signature = (filename=None, format="png", node_shape="record"))]
    fn to_img(
        slf: &Bound<'_, Self>,
        filename: Option<Py<PyAny>>,
        format: &str,
        node_shape: &str,
    ) -> PyResult<Option<Py<PyAny>>> {
        let dot = Self::to_dot_string(slf, node_shape)?;
        text::image(slf.py(), &dot, filename, format)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let header = self.body.header();
        let summary = TreeSummary {
            tid: header.tid(),
            count: header.count(),
            extras: self.body.extra_len(py),
            depth: header.depth(),
            mode: header.mode(),
            monotonic: header.monotonic(),
        };
        summary.to_string()
    }

    // --- questions ------------------------------------------------------------------------------

    /// True: a tree always has a root.
    #[expect(clippy::unused_self, reason = "a method of HiQ's")]
    fn is_valid(&self) -> bool {
        true
    }

    /// Whether at most a top-level span is open.
    fn just_before_ending_root(&self) -> bool {
        self.body.open_spans() <= 1
    }

    /// What all spans took together, by name.
    fn duration_by_name_s<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let tree = Self::tree(slf, Wanted::No)?;
        dict(slf.py(), tree.durations())
    }

    /// What the innermost spans took together, by name. `ordered`: 0 as they come, 1 the longest first, 2 the shortest
    /// first, 3 the longest first as a text.
    #[pyo3(signature = (ordered=0))]
    fn leaf_duration_by_name_s<'py>(
        slf: &Bound<'py, Self>,
        ordered: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let tree = Self::tree(slf, Wanted::No)?;
        let order = match ordered {
            1 => LeafOrder::Descending,
            2 => LeafOrder::Ascending,
            3 => return Ok(PyString::new(py, &tree.leaf_durations_text()).into_any()),
            _ => LeafOrder::Tree,
        };
        Ok(dict(py, tree.leaf_durations(order))?.into_any())
    }

    /// What the innermost spans took together.
    fn leaf_duration_total_s(slf: &Bound<'_, Self>) -> PyResult<f64> {
        Self::ask(slf, Wanted::No, HiqTree::leaf_duration_total)
    }

    /// From the first start to the last end of the finished calls.
    fn total_duration_s(slf: &Bound<'_, Self>) -> PyResult<f64> {
        if !slf.borrow().monotonic() {
            let message =
                "the total of values that go up and down is not defined; ask for the names";
            return Err(PyNotImplementedError::new_err(message));
        }
        Self::ask(slf, Wanted::No, |tree| {
            let mut tree = tree.clone();
            tree.consolidate();
            tree.root().span()
        })
    }

    /// The names in the tree, the virtual root's `None` too.
    fn get_distinct_node_names(slf: &Bound<'_, Self>) -> PyResult<Vec<String>> {
        Self::ask(slf, Wanted::No, |tree| {
            let names = tree.distinct_names().into_iter();
            names.map(str::to_owned).collect()
        })
    }

    /// What all spans of this name took together; 0 when there is none.
    fn get_duration_by_node_name(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
    ) -> PyResult<f64> {
        let name = lossless(name);
        Self::ask(slf, Wanted::No, |tree| tree.duration_of(&name))
    }

    /// The same of one level; the root's children are level 0.
    fn get_duration_by_node_name_and_level(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
        level: isize,
    ) -> PyResult<f64> {
        let Ok(level) = usize::try_from(level) else {
            return Ok(0.0);
        };
        let name = lossless(name);
        Self::ask(slf, Wanted::No, |tree| {
            tree.duration_of_at_level(&name, level)
        })
    }

    // --- parts ----------------------------------------------------------------------------------

    /// The root, a virtual node.
    fn get_root(&mut self, py: Python<'_>) -> PyResult<Py<PyNode>> {
        Ok(self.live(py)?.root.clone_ref(py))
    }

    #[getter(root)]
    fn root_attribute(&mut self, py: Python<'_>) -> PyResult<Py<PyNode>> {
        self.get_root(py)
    }

    /// Another root; what was open in the old one is given up.
    #[setter(root)]
    fn set_root_attribute(&mut self, py: Python<'_>, root: Py<PyNode>) -> PyResult<()> {
        let live = self.live(py)?;
        live.root = root;
        live.open.clear();
        Ok(())
    }

    /// The root, and the spans that are open.
    #[getter]
    fn stk(&mut self, py: Python<'_>) -> PyResult<Vec<Py<PyNode>>> {
        let live = self.live(py)?;
        let open = live.open.iter().map(|node| node.clone_ref(py));
        Ok(std::iter::once(live.root.clone_ref(py))
            .chain(open)
            .collect())
    }

    #[getter]
    fn extra(&mut self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        Ok(self.live(py)?.extra.clone_ref(py))
    }

    #[setter]
    fn set_extra(&mut self, py: Python<'_>, extra: Py<PyDict>) -> PyResult<()> {
        self.live(py)?.extra = extra;
        Ok(())
    }

    #[getter]
    fn tid(&self) -> String {
        self.body.header().tid().to_owned()
    }

    #[setter]
    fn set_tid(&mut self, py: Python<'_>, tid: &Bound<'_, PyString>) -> PyResult<()> {
        self.live(py)?.header.set_tid(lossless(tid));
        Ok(())
    }

    #[getter]
    fn mode(&self) -> i32 {
        self.body.header().mode()
    }

    #[setter]
    fn set_mode(&mut self, py: Python<'_>, mode: i32) -> PyResult<()> {
        self.live(py)?.header.set_mode(mode);
        Ok(())
    }

    #[getter]
    fn count(&self) -> u64 {
        self.body.header().count()
    }

    #[setter]
    fn set_count(&mut self, py: Python<'_>, count: u64) -> PyResult<()> {
        self.live(py)?.header.set_count(count);
        Ok(())
    }

    #[getter]
    fn depth(&self) -> u32 {
        self.body.header().depth()
    }

    #[setter]
    fn set_depth(&mut self, py: Python<'_>, depth: u32) -> PyResult<()> {
        self.live(py)?.header.set_depth(depth);
        Ok(())
    }

    #[getter]
    fn monotonic(&self) -> bool {
        self.body.header().monotonic()
    }

    #[getter]
    fn queue_lmk(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.queue_lmk.as_ref().map(|queue| queue.clone_ref(py))
    }

    #[setter]
    fn set_queue_lmk(&mut self, queue: Option<Py<PyAny>>) {
        self.queue_lmk = queue;
    }

    // --- as an object ---------------------------------------------------------------------------

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented());
        };
        let trees = (
            Self::tree(slf, Wanted::Yes)?,
            Self::tree(other, Wanted::Yes)?,
        );
        let are_equal = py.detach(|| trees.0 == trees.1);
        Ok(are_equal.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    /// HiQ's state: the string, and what the program has set on the object. `queue_lmk` stays behind.
    fn __getstate__<'py>(slf: &Bound<'py, Self>) -> PyResult<(String, Bound<'py, PyAny>)> {
        Ok((Self::repr(slf)?, slf.getattr("__dict__")?))
    }

    fn __setstate__(
        slf: &Bound<'_, Self>,
        state: (Bound<'_, PyString>, Bound<'_, PyDict>),
    ) -> PyResult<()> {
        let (text, attributes) = state;
        Self::recover(slf, Some(&text))?;
        slf.getattr("__dict__")?
            .call_method1("update", (attributes,))?;
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue_lmk)?;
        self.body.traverse(visit)
    }

    fn __clear__(&mut self) {
        *self = Self::from(HiqTree::new(""));
    }
}

fn dict<'py>(py: Python<'py>, durations: Vec<(&str, f64)>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, seconds) in durations {
        dict.set_item(name, seconds)?;
    }
    Ok(dict)
}

/// As long as HiQ's.
fn random_tid() -> String {
    const HIQS_LENGTH: usize = 20;
    let mut id = TraceId::random().to_string();
    id.truncate(HIQS_LENGTH);
    id
}

/// As HiQ raises it.
fn refused(error: &HiqTreeError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyTree>()?;
    module.add_class::<PyNode>()?;
    module.add_class::<extras::Printed>()
}
