//! `hiq._hiq.RootSpan`: the root of a trace that is a fragment of its own, with a service of its own. What is recorded under its
//! context are further fragments.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hiq_core::context::{Context, SAMPLED};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::intern::SiteId;
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Kind, Status};
use hiq_core::time::{Clock, UnixNanos};
use hiq_core::tree::{SpanTree, TreeBuilder, TreeStart};
use hiq_core::value::Value;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::attributes;
use crate::context::PyContext;
use crate::exception;
use crate::runtime;

/// A span of kind *server* that is open until it is finished, once.
#[pyclass(frozen, name = "RootSpan", module = "hiq._hiq")]
#[derive(Debug)]
pub(super) struct RootSpan {
    context: Context,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    name: String,
    service: String,
    parent: Option<Context>,
    began: (UnixNanos, Instant),
    tags: Vec<(String, Value)>,
}

#[pymethods]
impl RootSpan {
    /// A span `name` of `service`, under `parent` where there is one.
    #[new]
    #[pyo3(signature = (name, service, tags, *, sampled=true, parent=None))]
    fn start(
        name: String,
        service: String,
        tags: &Bound<'_, PyDict>,
        sampled: bool,
        parent: Option<&PyContext>,
    ) -> PyResult<Self> {
        let parent = parent.map(|parent| parent.0.clone());
        let is_debug = sampled && parent.as_ref().is_some_and(|parent| parent.is_debug);
        let parent = parent.filter(Context::is_valid);
        let trace_id = parent
            .as_ref()
            .map_or_else(TraceId::random, |parent| parent.trace_id);
        let flags = if sampled { SAMPLED } else { 0 };
        let open = Open {
            name,
            service,
            parent,
            began: (Clock::unix_nanos(), Instant::now()),
            tags: pairs(tags)?,
        };
        let mut context = Context::local(trace_id, SpanId::next(), flags);
        context.is_debug = is_debug;
        Ok(Self {
            context,
            open: Mutex::new(Some(open)),
        })
    }

    /// What goes on inside hangs under this.
    #[getter]
    fn context(&self) -> PyContext {
        PyContext::new(self.context.clone())
    }

    /// The same place in a trace that is not recorded: what goes on inside is left out.
    #[getter]
    fn unsampled_context(&self) -> PyContext {
        let mut context = self.context.clone();
        context.trace_flags &= !SAMPLED;
        context.is_debug = false;
        PyContext::new(context)
    }

    /// Adds tags; the last value of a key counts.
    fn add_tags(&self, tags: &Bound<'_, PyDict>) -> PyResult<()> {
        let tags = pairs(tags)?;
        if let Some(open) = &mut *self.open.lock().unwrap_or_else(PoisonError::into_inner) {
            open.tags.extend(tags);
        }
        Ok(())
    }

    /// Ends it, with `error` unless that is None, and hands it to the pipeline. Further calls do nothing.
    #[pyo3(signature = (error=None))]
    fn finish(&self, py: Python<'_>, error: Option<&Bound<'_, PyAny>>) {
        let open = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(open) = open else { return };
        if self.context.is_sampled() {
            let tree = open.into_tree(py, &self.context, error);
            runtime::current().offer(Arc::new(tree));
        } else {
            runtime::current().count_sampled_out();
        }
    }
}

impl Open {
    fn into_tree(
        self,
        py: Python<'_>,
        context: &Context,
        error: Option<&Bound<'_, PyAny>>,
    ) -> SpanTree {
        let (UnixNanos(start), began) = self.began;
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let end = start.saturating_add(nanos);
        let resource = Resource::new([("service.name", Value::from(self.service))]);
        let mut origin = TreeStart::new(
            context.trace_id,
            Arc::new(resource),
            Arc::<Scope>::default(),
        );
        origin.is_debug = context.is_debug;
        if let Some(parent) = &self.parent {
            origin.parent = parent.span_id;
            origin.parent_is_remote = parent.is_remote;
        }
        let mut builder = TreeBuilder::new(origin, runtime::current().limits);
        let name = builder.symbol(&self.name);
        let index = builder.start_with_id(context.span_id, name, SiteId::NONE, None, start);
        builder.set_kind(index, Kind::Server);
        for (key, value) in &self.tags {
            let key = builder.symbol(key);
            builder.set_attribute(index, key, value.into());
        }
        if let Some(error) = error {
            let text = exception::read(py, error, false);
            let message = format!("{}: {}", text.kind, text.message);
            builder.set_status(index, Status::Error, &message);
        }
        builder.end(index, end);
        builder.finish()
    }
}

fn pairs(tags: &Bound<'_, PyDict>) -> PyResult<Vec<(String, Value)>> {
    tags.iter()
        .map(|(key, value)| Ok((key.str()?.to_string(), attributes::to_value(&value))))
        .collect()
}
