//! `init`, `flush`, `shutdown`, `stats`: the pipeline of this process, and its life with the interpreter.

use std::sync::Arc;
use std::time::Duration;

use hiq_core::config::{ConfigError, Env, LogLevel, Settings, Warning};
use hiq_core::context::Context;
use hiq_core::detect::{Detector, Detectors};
use hiq_core::metric::reader::MetricReader;
use hiq_core::pipeline::{ExporterId, Pipeline};
use hiq_core::resource::{Resource, Scope};
use hiq_core::sample::KeepRules;
use hiq_core::spool::Spool;
use hiq_core::status::StatusSink;
use hiq_core::value::Value;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::attributes;
use crate::gil::GilCell;
use crate::metrics::hiq_summaries::follow_in;
use crate::module::errors;
use crate::runtime::{self, ResourceSource, Runtime};
use crate::{block, headers, state, step, terminated};

mod arguments;
mod chrome;
mod doctor;
mod exit;
mod jaeger;
mod kafka;
mod ledgers;
mod memory;
mod metrics;
mod oci;
mod registry;
mod root;
mod sampling;
mod sdk;
mod zipkin;

use arguments::{Arguments, wrong_type};
use ledgers::stats_of;
pub(crate) use memory::object;
pub(crate) use metrics::show_on_pages as show_ledgers_on_pages;
pub(crate) use metrics::{Forward, forward};
pub(crate) use registry::Spec;

/// What `init` was called with, and exporters by handle.
static PROCESS: GilCell<Process> = GilCell::new(Process {
    settings: None,
    exporters: Vec::new(),
    next_handle: 1,
});

struct Process {
    settings: Option<String>,
    exporters: Vec<(u64, ExporterId)>,
    next_handle: u64,
}

const KNOWN: [&str; 22] = [
    "service_name",
    "resource",
    "resource_detectors",
    "runtime",
    "exporters",
    "metrics",
    "metric_interval_s",
    "metric_timeout_s",
    "exporter_metrics",
    "sampler",
    "sampler_arg",
    "traceparent",
    "propagators",
    "schedule_delay_s",
    "export_timeout_s",
    "max_queue_spans",
    "max_batch_spans",
    "keep_errors",
    "keep_slower_than_s",
    "log_level",
    "shutdown_timeout_s",
    "zin_threshold",
];

/// The exporters that `given` names, as `init` takes them.
pub(crate) fn specs(py: Python<'_>, given: &Bound<'_, PyAny>) -> PyResult<Vec<Spec>> {
    specs_in(py, given, &Env::process())
}

/// The same in another environment than the process's.
pub(crate) fn specs_in(py: Python<'_>, given: &Bound<'_, PyAny>, env: &Env) -> PyResult<Vec<Spec>> {
    let mut settings = Settings::from_env(env);
    registry::specs(py, Some(given), &mut settings, env, &mut Vec::new())
}

/// True for an exporter that takes what others have measured, and no spans.
pub(crate) fn is_of_metrics_alone(name: &str) -> bool {
    metrics::forwards(name) && !registry::takes_spans(name)
}

/// Builds the pipeline of this process. Returns warnings about the environment.
#[pyfunction]
fn init(py: Python<'_>, settings: &Bound<'_, PyDict>) -> PyResult<Vec<String>> {
    let given = settings.repr()?.to_string();
    if let Some(before) = &PROCESS.lock().settings {
        if *before == given {
            return Ok(Vec::new());
        }
        let problem = "hiq is running with other settings";
        return Err(errors::config(&ConfigError::new(
            "init",
            problem,
            "call hiq.shutdown() first, or init once",
        )));
    }
    let arguments = Arguments { dict: settings };
    arguments.refuse_unknown(&KNOWN)?;
    let env = Env::process();
    let mut merged = Settings::from_env(&env);
    apply(&arguments, &mut merged)?;
    let mut warnings = Vec::new();
    let specs = if merged.disabled {
        Vec::new()
    } else {
        registry::specs(
            py,
            arguments.get("exporters")?.as_ref(),
            &mut merged,
            &env,
            &mut warnings,
        )?
    };
    let source = resource(&arguments, &merged)?;
    let resource = source.detect();
    let mut runtime = Runtime::from_settings(&merged, Arc::clone(&resource));
    runtime.source = Some(source);
    runtime.keep = keep_rules(&arguments)?;
    runtime.names_tasks = specs.iter().any(|spec| spec.name.starts_with("chrome"));
    if let Some(header) = arguments.text("traceparent")? {
        runtime.parent = Some(parent(&header)?);
    }
    let plan = (!merged.disabled)
        .then(|| metrics::Plan::read(&arguments, &env, &mut warnings))
        .transpose()?
        .filter(metrics::Plan::is_wanted);
    crate::metrics::registry().set_resource(Arc::clone(&resource));
    let mut builder = follow_in(pipeline(&merged, resource));
    if let Some(plan) = &plan {
        builder = plan.count_trees(builder)?;
    }
    for spec in specs {
        builder = builder.exporter(spec.name, spec.build);
    }
    if let Some(plan) = plan {
        plan.start(merged.pipeline.shutdown_timeout, status_sink(&merged))?;
    }
    let pipeline = builder.build();
    let spool = merged.pipeline.spool.as_ref();
    if spool.is_some_and(|spool| Spool::has_backlog(&spool.dir)) {
        // An earlier process left something to deliver.
        pipeline.start();
    }
    runtime.pipeline = (!merged.disabled).then_some(pipeline);
    runtime::replace(runtime);
    PROCESS.lock().settings = Some(given);
    warnings.extend(merged.warnings);
    Ok(warnings.iter().map(Warning::to_string).collect())
}

fn apply(arguments: &Arguments<'_, '_>, settings: &mut Settings) -> PyResult<()> {
    if let Some(names) = arguments.get("propagators")? {
        settings.propagators = headers::propagators(&names)?;
    }
    if let Some(names) = arguments.get("resource_detectors")? {
        settings.resource.detectors = detectors(&names)?;
    }
    let queue = &mut settings.pipeline;
    if let Some(delay) = arguments.seconds("schedule_delay_s")? {
        queue.schedule_delay = delay;
    }
    if let Some(timeout) = arguments.seconds("export_timeout_s")? {
        queue.export_timeout = (!timeout.is_zero()).then_some(timeout);
    }
    if let Some(timeout) = arguments.seconds("shutdown_timeout_s")? {
        queue.shutdown_timeout = timeout;
    }
    if let Some(spans) = arguments.count("max_queue_spans")? {
        queue.max_queue_spans = spans;
    }
    if let Some(spans) = arguments.count("max_batch_spans")? {
        queue.max_batch_spans = spans;
    }
    queue.validate().map_err(|error| errors::config(&error))?;
    if let Some(sampler) = sampling::sampler(arguments)? {
        settings.sampler = sampler;
    }
    if let Some(level) = arguments.text("log_level")? {
        settings.log_level = sampling::log_level(&level)?;
    }
    Ok(())
}

fn parent(header: &str) -> PyResult<Context> {
    let parent = Context::extract(|name| (name == "traceparent").then_some(header));
    parent.ok_or_else(|| {
        let fix = "use the form 00-<32 hex digits>-<16 hex digits>-01";
        errors::config(&ConfigError::new(
            "traceparent",
            format!("`{header}` is not a traceparent"),
            fix,
        ))
    })
}

fn keep_rules(arguments: &Arguments<'_, '_>) -> PyResult<KeepRules> {
    let mut rules = KeepRules::default();
    if let Some(errors) = arguments.get("keep_errors")? {
        rules.errors = errors.is_truthy()?;
    }
    rules.slower_than = arguments.seconds("keep_slower_than_s")?;
    Ok(rules)
}

fn resource(arguments: &Arguments<'_, '_>, settings: &Settings) -> PyResult<Arc<ResourceSource>> {
    let settings = settings.resource.clone();
    let mut own: Vec<(String, Value)> =
        vec![("telemetry.sdk.language".to_owned(), "python".into())];
    if settings.detectors.include(Detector::Process) {
        own.extend(attributes_in(arguments, "runtime")?);
    }
    own.extend(attributes_in(arguments, "resource")?);
    if let Some(name) = arguments.text("service_name")? {
        own.push(("service.name".to_owned(), name.into()));
    }
    Ok(Arc::new(ResourceSource { settings, own }))
}

/// The attributes that the dict `key` holds; none where it is missing.
fn attributes_in(arguments: &Arguments<'_, '_>, key: &str) -> PyResult<Vec<(String, Value)>> {
    let Some(given) = arguments.get(key)? else {
        return Ok(Vec::new());
    };
    let given = given
        .cast::<PyDict>()
        .map_err(|_| wrong_type(key, &given, "a dict"))?;
    let attributes = given.iter().map(|(name, value)| {
        let name = name
            .extract()
            .map_err(|_| wrong_type(key, &name, "names of attributes as texts"))?;
        Ok((name, attributes::to_value(&value)))
    });
    attributes.collect()
}

/// Names as a list, or as one text with commas.
fn detectors(given: &Bound<'_, PyAny>) -> PyResult<Detectors> {
    let names: Vec<String> = match given.extract::<String>() {
        Ok(list) => list.split(',').map(str::to_owned).collect(),
        Err(_) => given
            .extract()
            .map_err(|_| wrong_type("resource_detectors", given, "a list of names"))?,
    };
    let names = names.iter().map(|name| name.trim());
    let (detectors, unknown) = Detectors::named(names.filter(|name| !name.is_empty()));
    if unknown.is_empty() {
        return Ok(detectors);
    }
    let problem = format!("`{}` is not known", unknown.join("`, `").escape_debug());
    let fix = format!("known are {}", Detectors::names());
    Err(errors::config(&ConfigError::new(
        "resource_detectors",
        problem,
        fix,
    )))
}

fn pipeline(settings: &Settings, resource: Arc<Resource>) -> hiq_core::pipeline::PipelineBuilder {
    Pipeline::builder()
        .resource(resource)
        .sampler(settings.sampler)
        .settings(settings.pipeline.clone())
        .status(status_sink(settings))
        .on_start(terminated::watch)
}

fn status_sink(settings: &Settings) -> StatusSink {
    if settings.log_level == LogLevel::None {
        StatusSink::silent()
    } else {
        StatusSink::stderr()
    }
}

/// The pipeline of this process; one without exporters, by the environment's settings, where there was none.
pub(crate) fn running_pipeline(py: Python<'_>) -> PyResult<Pipeline> {
    if let Some(pipeline) = &runtime::current().pipeline {
        return Ok(pipeline.clone());
    }
    let settings = Settings::from_env(&Env::process());
    let none = PyDict::new(py);
    let source = resource(&Arguments { dict: &none }, &settings)?;
    let resource = source.detect();
    let mut runtime = Runtime::from_settings(&settings, Arc::clone(&resource));
    runtime.source = Some(source);
    let pipeline = follow_in(pipeline(&settings, resource)).build();
    runtime.pipeline = Some(pipeline.clone());
    runtime::replace(runtime);
    Ok(pipeline)
}

/// Adds an exporter to the running pipeline, or starts one with it.
#[pyfunction]
fn add_exporter(py: Python<'_>, settings: &Bound<'_, PyDict>) -> PyResult<u64> {
    let env = Env::process();
    let mut merged = Settings::from_env(&env);
    let list = PyList::new(py, [settings])?.into_any();
    let specs = registry::specs(py, Some(&list), &mut merged, &env, &mut Vec::new())?;
    let pipeline = running_pipeline(py)?;
    let mut handle = 0;
    for spec in specs {
        let id = pipeline.attach(spec.name, spec.build);
        let mut process = PROCESS.lock();
        handle = process.next_handle;
        process.next_handle += 1;
        process.exporters.push((handle, id));
    }
    Ok(handle)
}

/// Flushes an added exporter and takes it out.
#[pyfunction]
#[pyo3(signature = (handle, timeout_s=5.0))]
fn remove_exporter(py: Python<'_>, handle: u64, timeout_s: f64) {
    let known = {
        let mut process = PROCESS.lock();
        let at = process
            .exporters
            .iter()
            .position(|(known, _)| *known == handle);
        at.map(|at| process.exporters.remove(at).1)
    };
    if let (Some(id), Some(pipeline)) = (known, &runtime::current().pipeline) {
        py.detach(|| pipeline.detach(id, seconds(timeout_s)));
    }
}

fn seconds(seconds: f64) -> Duration {
    const LONGEST: Duration = Duration::from_secs(24 * 3_600);
    Duration::try_from_secs_f64(seconds.max(0.0))
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

/// Names the instrumentation scope of spans from now on. Returns what it was.
#[pyfunction]
fn set_scope(name: &str, version: &str) -> (String, String) {
    let before = runtime::current();
    runtime::replace(before.with_scope(Scope::new(name, version)));
    let owned = |text: Option<hiq_core::wire::Text<'_>>| {
        text.map_or_else(String::new, |text| text.as_str().to_owned())
    };
    (owned(before.scope.name()), owned(before.scope.version()))
}

/// Whether there is a pipeline.
#[pyfunction]
fn is_running() -> bool {
    runtime::current().pipeline.is_some()
}

#[pyfunction]
#[pyo3(signature = (timeout_s=5.0))]
fn flush(py: Python<'_>, timeout_s: f64) -> bool {
    let Some(pipeline) = &runtime::current().pipeline else {
        return true;
    };
    let reader = metrics::reader();
    py.detach(|| {
        metrics::within(
            seconds(timeout_s),
            pipeline,
            reader.as_deref(),
            |left| pipeline.flush(left).is_complete(),
            |reader, left| reader.flush(left).is_complete(),
        )
    })
}

/// Has all that ended before counted, in at most `timeout_s`: what a scrape shows is up to date then.
#[pyfunction]
#[pyo3(signature = (timeout_s=1.0))]
fn flush_counts(py: Python<'_>, timeout_s: f64) -> bool {
    let Some(pipeline) = &runtime::current().pipeline else {
        return true;
    };
    let timeout = seconds(timeout_s);
    py.detach(|| pipeline.flush_before_sampling(timeout).is_complete())
}

/// Where this process answers scrapes: host and port. `None` where it does not.
#[pyfunction]
fn scrape_address() -> Option<(String, u16)> {
    metrics::scrape_address().map(|address| (address.ip().to_string(), address.port()))
}

/// Lets open spans go as unfinished, flushes and ends; `init` may be called again afterwards.
#[pyfunction]
#[pyo3(signature = (timeout_s=5.0))]
fn shutdown(py: Python<'_>, timeout_s: f64) -> bool {
    let current = runtime::current();
    let Some(pipeline) = &current.pipeline else {
        return true;
    };
    let complete = end(py, pipeline, seconds(timeout_s));
    ledgers::keep_last(pipeline);
    metrics::forget(py);
    runtime::replace(current.without_pipeline());
    let mut process = PROCESS.lock();
    process.settings = None;
    process.exporters.clear();
    complete
}

fn end(py: Python<'_>, pipeline: &Pipeline, timeout: Duration) -> bool {
    let reader = metrics::reader();
    py.detach(|| end_within(timeout, pipeline, reader.as_deref()))
}

/// Ends what there is, from a thread that Python knows nothing of.
pub(crate) fn end_without_python(timeout: Duration) {
    if let Some(pipeline) = &runtime::current().pipeline {
        end_within(timeout, pipeline, metrics::reader().as_deref());
    }
}

fn end_within(timeout: Duration, pipeline: &Pipeline, reader: Option<&MetricReader>) -> bool {
    metrics::within(
        timeout,
        pipeline,
        reader,
        |left| pipeline.shutdown(left).is_complete(),
        |reader, left| reader.shutdown(left).is_complete(),
    )
}

/// Runs at interpreter exit: nothing that was recorded is left behind without a word.
#[pyfunction]
fn at_exit(py: Python<'_>) -> PyResult<()> {
    step::finish_all();
    block::finish_all();
    state::finish_all_threads();
    if let Some(pipeline) = &runtime::current().pipeline {
        exit::end(py, pipeline, runtime::shutdown_timeout())?;
        // The last counts are laid down for those that the port is shared with.
        metrics::forget(py);
    }
    Ok(())
}

/// Runs in a forked child, for forks that Python makes itself; others are seen by the pipeline and at the next root.
#[pyfunction]
fn after_fork_in_child() {
    memory::after_fork_in_child();
    step::after_fork_in_child();
    block::after_fork_in_child();
    state::after_fork_in_child();
}

pub(crate) fn add_to_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_function(wrap_pyfunction!(init, module)?)?;
    module.add_function(wrap_pyfunction!(add_exporter, module)?)?;
    module.add_function(wrap_pyfunction!(remove_exporter, module)?)?;
    module.add_function(wrap_pyfunction!(set_scope, module)?)?;
    module.add_function(wrap_pyfunction!(is_running, module)?)?;
    module.add_function(wrap_pyfunction!(flush, module)?)?;
    module.add_function(wrap_pyfunction!(flush_counts, module)?)?;
    module.add_function(wrap_pyfunction!(scrape_address, module)?)?;
    module.add_function(wrap_pyfunction!(shutdown, module)?)?;
    module.add_function(wrap_pyfunction!(ledgers::stats, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory_spans, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory_bytes, module)?)?;
    module.add_class::<sdk::SdkPipeline>()?;
    module.add_class::<oci::OciStream>()?;
    module.add_class::<root::RootSpan>()?;
    module.add_class::<doctor::Patient>()?;
    module.add_function(wrap_pyfunction!(doctor::patients, module)?)?;
    let at_exit = wrap_pyfunction!(at_exit, module)?;
    module.add("at_exit", &at_exit)?;
    py.import("atexit")?.call_method1("register", (at_exit,))?;
    let hooks = PyDict::new(py);
    hooks.set_item(
        "after_in_child",
        wrap_pyfunction!(after_fork_in_child, module)?,
    )?;
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        os.call_method("register_at_fork", (), Some(&hooks))?;
    }
    Ok(())
}
