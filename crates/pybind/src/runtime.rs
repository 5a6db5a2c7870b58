//! What this process records with: resource, limits, sampler, and the pipeline once there is one.
#![allow(unsafe_code, reason = "one pointer to settings that are never freed")]

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use hiq_core::config::{Env, ResourceSettings, Settings};
use hiq_core::context::{Context, Propagator, SAMPLED};
use hiq_core::id::TraceId;
use hiq_core::pipeline::Pipeline;
use hiq_core::record::MAX_HELD_BACK_NANOS;
use hiq_core::resource::{Resource, Scope};
use hiq_core::sample::{KeepRules, Sampler};
use hiq_core::time::Clock;
use hiq_core::tree::{SpanLimits, SpanTree};
use hiq_core::value::Value;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The settings that spans are recorded with.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) resource: Arc<Resource>,
    pub(crate) source: Option<Arc<ResourceSource>>,
    pub(crate) scope: Arc<Scope>,
    pub(crate) limits: SpanLimits,
    pub(crate) sampler: Sampler,
    pub(crate) keep: KeepRules,
    pub(crate) pipeline: Option<Pipeline>,
    /// What roots hang under when nothing else is said: `TRACEPARENT`, or the span that a fork left.
    pub(crate) parent: Option<Context>,
    /// The forms of headers that are read and written.
    pub(crate) propagators: Vec<Propagator>,
    /// Whether somebody shows tasks by their names.
    pub(crate) names_tasks: bool,
    pub(crate) hold_back_ticks: u64,
    shutdown_timeout: Duration,
}

/// What the resource is made of. It is made anew in a forked child, whose id and instance are its own.
#[derive(Debug)]
pub(crate) struct ResourceSource {
    pub(crate) settings: ResourceSettings,
    pub(crate) own: Vec<(String, Value)>,
}

impl ResourceSource {
    pub(crate) fn detect(&self) -> Arc<Resource> {
        let own = self.own.iter().cloned();
        Arc::new(hiq_core::detect::resource(&self.settings, own))
    }
}

impl Runtime {
    /// The same settings, exporting nothing.
    pub(crate) fn without_pipeline(&self) -> Self {
        self.with(None, self.parent.clone())
    }

    /// The same settings under another instrumentation scope.
    pub(crate) fn with_scope(&self, scope: Scope) -> Self {
        Self {
            scope: Arc::new(scope),
            ..self.with(self.pipeline.clone(), self.parent.clone())
        }
    }

    fn with(&self, pipeline: Option<Pipeline>, parent: Option<Context>) -> Self {
        Self {
            resource: Arc::clone(&self.resource),
            source: self.source.clone(),
            scope: Arc::clone(&self.scope),
            limits: self.limits,
            sampler: self.sampler,
            keep: self.keep,
            pipeline,
            parent,
            propagators: self.propagators.clone(),
            names_tasks: self.names_tasks,
            hold_back_ticks: self.hold_back_ticks,
            shutdown_timeout: self.shutdown_timeout,
        }
    }

    /// Without a pipeline: what drivers record with before anybody has called `init`.
    pub(crate) fn from_settings(settings: &Settings, resource: Arc<Resource>) -> Self {
        Self {
            resource,
            source: None,
            scope: Arc::new(Scope::new("hiq", env!("CARGO_PKG_VERSION"))),
            limits: settings.limits,
            sampler: settings.sampler,
            keep: KeepRules::default(),
            pipeline: None,
            parent: settings.parent.clone(),
            propagators: settings.propagators.clone(),
            names_tasks: false,
            hold_back_ticks: ticks_of(MAX_HELD_BACK_NANOS),
            shutdown_timeout: settings.pipeline.shutdown_timeout,
        }
    }

    /// Whether a root is recorded for the exporters' sake.
    pub(crate) fn sample(&self, parent: Option<&Context>, trace_id: TraceId) -> bool {
        self.sampler.samples(trace_id, parent)
    }

    /// Whether sampled-out trees must be recorded: a rule may keep them in the end, or something is counted from all.
    pub(crate) fn records_sampled_out(&self) -> bool {
        let wants = |pipeline: &Pipeline| pipeline.wants_sampled_out();
        !self.keep.is_empty() || self.pipeline.as_ref().is_some_and(wants)
    }

    pub(crate) fn count_sampled_out(&self) {
        if let Some(pipeline) = &self.pipeline {
            pipeline.sample_out(1);
        }
    }

    /// Hands a finished fragment to the pipeline, unless it is sampled out.
    pub(crate) fn offer(&self, tree: Arc<SpanTree>) {
        match &self.pipeline {
            Some(pipeline) if self.is_wanted(&tree) => pipeline.offer_shared(tree),
            Some(pipeline) => pipeline.offer_sampled_out(tree),
            None => hiq_core::pool::recycle_here(tree),
        }
    }

    fn is_wanted(&self, tree: &SpanTree) -> bool {
        let sampled = tree
            .span(0)
            .is_some_and(|root| root.trace_flags() & SAMPLED != 0);
        sampled || self.keep.keeps(tree)
    }
}

static CURRENT: AtomicPtr<Runtime> = AtomicPtr::new(ptr::null_mut());

/// The settings in force.
#[inline]
pub(crate) fn current() -> &'static Runtime {
    let current = CURRENT.load(Ordering::Acquire);
    if current.is_null() {
        return begin();
    }
    // SAFETY: only leaked boxes are stored.
    unsafe { &*current }
}

#[cold]
fn begin() -> &'static Runtime {
    let settings = Settings::from_env(&Env::process());
    let mut attributes = vec![("telemetry.sdk.language".to_owned(), Value::from("python"))];
    let name = settings
        .resource
        .service_name
        .clone()
        .unwrap_or_else(|| "unknown_service:python".to_owned());
    attributes.push(("service.name".to_owned(), name.into()));
    replace(Runtime::from_settings(
        &settings,
        Arc::new(Resource::new(attributes)),
    ))
}

/// Puts new settings in force. The old ones are left alone: spans that were begun with them may be on their way.
pub(crate) fn replace(runtime: Runtime) -> &'static Runtime {
    let leaked = Box::leak(Box::new(runtime));
    CURRENT.store(ptr::from_mut(leaked), Ordering::Release);
    leaked
}

/// In a forked child: new roots hang under the span that was open at the fork, and tell of the process they are in.
pub(crate) fn after_fork_in_child(inherited: Option<Context>) {
    let before = current();
    if inherited.is_none() && before.source.is_none() {
        return;
    }
    let parent = inherited.or_else(|| before.parent.clone());
    let mut child = before.with(before.pipeline.clone(), parent);
    if let Some(source) = &before.source {
        child.resource = source.detect();
        crate::metrics::registry().set_resource(Arc::clone(&child.resource));
    }
    replace(child);
}

/// How long exit may take.
pub(crate) fn shutdown_timeout() -> Duration {
    current().shutdown_timeout
}

/// Ticks that `nanos` last.
pub(crate) fn ticks_of(nanos: u64) -> u64 {
    if nanos == 0 {
        0
    } else {
        Clock::scale_at(Clock::ticks()).ticks(nanos)
    }
}

/// Not looked up yet: the bits of no number.
static ZIN_THRESHOLD: AtomicU64 = AtomicU64::new(u64::MAX);

/// HiQ's zero-span threshold: `ZIN_THRESHOLD` as it was when the first tree was made.
pub(crate) fn zin_threshold(py: Python<'_>) -> f64 {
    match ZIN_THRESHOLD.load(Ordering::Relaxed) {
        u64::MAX => {
            let given = environment(py, "ZIN_THRESHOLD").ok().flatten();
            let given = given.and_then(|text| text.trim().parse().ok());
            let threshold = given.unwrap_or(hiq_core::render::DEFAULT_ZIN_THRESHOLD);
            set_zin_threshold(threshold);
            threshold
        }
        bits => f64::from_bits(bits),
    }
}

/// Sets HiQ's zero-span threshold, in the unit of the value.
pub(crate) fn set_zin_threshold(threshold: f64) {
    ZIN_THRESHOLD.store(threshold.to_bits(), Ordering::Relaxed);
}

/// A variable as Python's `os.environ` has it now.
pub(crate) fn environment(py: Python<'_>, name: &str) -> PyResult<Option<String>> {
    let variables = py.import("os")?.getattr("environ")?;
    let value = variables.call_method1("get", (name,))?;
    let value = value.cast_into::<PyString>().ok();
    Ok(value.map(|text| crate::attributes::lossless(&text)))
}
