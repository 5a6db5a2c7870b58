//! `init`, `flush`, `shutdown`, `stats`: the pipeline of this process, and its life with the interpreter.

use std::sync::Arc;
use std::time::Duration;

use hiq_core::config::{ConfigError, Env, LogLevel, Settings, Warning};
use hiq_core::context::Context;
use hiq_core::pipeline::{ExporterId, Pipeline};
use hiq_core::resource::{Resource, Scope};
use hiq_core::sample::{KeepRules, Sampler};
use hiq_core::spool::Spool;
use hiq_core::status::StatusSink;
use hiq_core::value::Value;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::attributes;
use crate::gil::GilCell;
use crate::module::errors;
use crate::runtime::{self, ResourceSource, Runtime};
use crate::{block, headers, state, step};

mod chrome;
mod doctor;
mod jaeger;
mod kafka;
mod memory;
mod oci;
mod registry;
mod root;
mod sdk;
mod zipkin;

pub(crate) use memory::object;
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

/// Arguments of `init`, with what the environment says where they say nothing.
struct Arguments<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
}

impl<'py> Arguments<'_, 'py> {
    fn get(&self, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.dict.get_item(key)?.filter(|value| !value.is_none()))
    }

    fn text(&self, key: &str) -> PyResult<Option<String>> {
        self.get(key)?
            .map(|value| {
                value
                    .extract()
                    .map_err(|_| wrong_type(key, &value, "a text"))
            })
            .transpose()
    }

    fn number(&self, key: &str) -> PyResult<Option<f64>> {
        self.get(key)?
            .map(|value| {
                value
                    .extract()
                    .map_err(|_| wrong_type(key, &value, "a number"))
            })
            .transpose()
    }

    fn count(&self, key: &str) -> PyResult<Option<usize>> {
        self.get(key)?
            .map(|value| {
                value
                    .extract()
                    .map_err(|_| wrong_type(key, &value, "a whole number"))
            })
            .transpose()
    }

    fn flag(&self, key: &str) -> PyResult<Option<bool>> {
        self.get(key)?
            .map(|value| {
                value
                    .extract()
                    .map_err(|_| wrong_type(key, &value, "True or False"))
            })
            .transpose()
    }

    fn seconds(&self, key: &str) -> PyResult<Option<Duration>> {
        let Some(seconds) = self.number(key)? else {
            return Ok(None);
        };
        Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| {
            errors::config(&ConfigError::new(
                key,
                format!("{seconds} is not a number of seconds"),
                "use 0 or more",
            ))
        })
    }

    /// Names that nobody knows are mistakes, not wishes.
    fn refuse_unknown(&self, known: &[&str]) -> PyResult<()> {
        for key in self.dict.keys() {
            let key: String = key.extract()?;
            if !known.contains(&key.as_str()) {
                let fix = format!("known are {}", known.join(", "));
                return Err(errors::config(&ConfigError::new(
                    key,
                    "is not a setting",
                    fix,
                )));
            }
        }
        Ok(())
    }
}

fn wrong_type(key: &str, value: &Bound<'_, PyAny>, wanted: &str) -> PyErr {
    let found = value
        .get_type()
        .name()
        .map_or_else(|_| "something else".to_owned(), |name| name.to_string());
    errors::config(&ConfigError::new(
        key,
        format!("{found} was given"),
        format!("give {wanted}"),
    ))
}

const KNOWN: [&str; 16] = [
    "service_name",
    "resource",
    "exporters",
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
    if let Some(header) = arguments.text("traceparent")? {
        runtime.parent = Some(parent(&header)?);
    }
    let mut builder = pipeline(&merged, resource);
    for spec in specs {
        builder = builder.exporter(spec.name, spec.build);
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
    if let Some(name) = arguments.text("sampler")? {
        settings.sampler = sampler(&name, arguments.number("sampler_arg")?)?;
    }
    if let Some(level) = arguments.text("log_level")? {
        settings.log_level = as_in_env("log_level", [("OTEL_LOG_LEVEL", level)])?.log_level;
    }
    Ok(())
}

fn sampler(name: &str, argument: Option<f64>) -> PyResult<Sampler> {
    let argument = argument.map(|argument| ("OTEL_TRACES_SAMPLER_ARG", argument.to_string()));
    let pairs = [("OTEL_TRACES_SAMPLER", name.to_owned())]
        .into_iter()
        .chain(argument);
    Ok(as_in_env("sampler", pairs)?.sampler)
}

/// Reads a value as the variable of the same meaning is read; what is only warned of there is an error in code.
fn as_in_env(
    place: &str,
    pairs: impl IntoIterator<Item = (&'static str, String)>,
) -> PyResult<Settings> {
    let read = Settings::from_env(&Env::from_pairs(pairs));
    match read.warnings.first() {
        None => Ok(read),
        Some(warning) => {
            let error = ConfigError::new(
                place,
                warning.message.clone(),
                "see OpenTelemetry's list of values",
            );
            Err(errors::config(&error))
        }
    }
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
    let mut own: Vec<(String, Value)> =
        vec![("telemetry.sdk.language".to_owned(), "python".into())];
    if let Some(given) = arguments.get("resource")? {
        let given = given
            .cast::<PyDict>()
            .map_err(|_| wrong_type("resource", &given, "a dict"))?;
        for (key, value) in given {
            own.push((key.extract()?, attributes::to_value(&value)));
        }
    }
    if let Some(name) = arguments.text("service_name")? {
        own.push(("service.name".to_owned(), name.into()));
    }
    let settings = settings.resource.clone();
    Ok(Arc::new(ResourceSource { settings, own }))
}

fn pipeline(settings: &Settings, resource: Arc<Resource>) -> hiq_core::pipeline::PipelineBuilder {
    let sink = if settings.log_level == LogLevel::None {
        StatusSink::silent()
    } else {
        StatusSink::stderr()
    };
    Pipeline::builder()
        .resource(resource)
        .sampler(settings.sampler)
        .settings(settings.pipeline.clone())
        .status(sink)
}

/// Adds an exporter to the running pipeline, or starts one with it.
#[pyfunction]
fn add_exporter(py: Python<'_>, settings: &Bound<'_, PyDict>) -> PyResult<u64> {
    let env = Env::process();
    let mut merged = Settings::from_env(&env);
    let list = PyList::new(py, [settings])?.into_any();
    let specs = registry::specs(py, Some(&list), &mut merged, &env, &mut Vec::new())?;
    let before = runtime::current();
    let pipeline = match &before.pipeline {
        Some(pipeline) => pipeline.clone(),
        None => {
            let source = resource(
                &Arguments {
                    dict: &PyDict::new(py),
                },
                &merged,
            )?;
            let resource = source.detect();
            let mut runtime = Runtime::from_settings(&merged, Arc::clone(&resource));
            runtime.source = Some(source);
            let pipeline = pipeline(&merged, resource).build();
            runtime.pipeline = Some(pipeline.clone());
            runtime::replace(runtime);
            pipeline
        }
    };
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
    py.detach(|| pipeline.flush(seconds(timeout_s)).is_complete())
}

/// Lets open spans go as unfinished, flushes and ends; `init` may be called again afterwards.
#[pyfunction]
#[pyo3(signature = (timeout_s=5.0))]
fn shutdown(py: Python<'_>, timeout_s: f64) -> bool {
    let current = runtime::current();
    let Some(pipeline) = &current.pipeline else {
        return true;
    };
    let complete = py.detach(|| pipeline.shutdown(seconds(timeout_s)).is_complete());
    runtime::replace(current.without_pipeline());
    let mut process = PROCESS.lock();
    process.settings = None;
    process.exporters.clear();
    complete
}

/// The loss ledger, by exporter.
#[pyfunction]
fn stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    match &runtime::current().pipeline {
        Some(pipeline) => stats_of(py, pipeline),
        None => Ok(PyDict::new(py)),
    }
}

fn stats_of<'py>(py: Python<'py>, pipeline: &Pipeline) -> PyResult<Bound<'py, PyDict>> {
    let stats = PyDict::new(py);
    for exporter in pipeline.stats().exporters() {
        let ledger = &exporter.ledger;
        let row = PyDict::new(py);
        let dropped = PyDict::new(py);
        for (reason, spans) in ledger.dropped.iter().filter(|(_, spans)| *spans > 0) {
            dropped.set_item(reason.name(), spans)?;
        }
        let terms = [
            ("offered", ledger.offered),
            ("recovered", ledger.recovered),
            ("exported", ledger.exported),
            ("sent_unconfirmed", ledger.sent_unconfirmed),
            ("rejected", ledger.rejected),
            ("queued", ledger.queued),
            ("in_flight", ledger.in_flight),
            ("spooled", ledger.spooled),
            ("possible_repeats", ledger.possible_repeats),
            ("sampled_out", ledger.sampled_out),
        ];
        for (name, spans) in terms {
            row.set_item(name, spans)?;
        }
        row.set_item("dropped", dropped)?;
        stats.set_item(&*exporter.name, row)?;
    }
    Ok(stats)
}

/// Runs at interpreter exit: nothing that was recorded is left behind without a word.
#[pyfunction]
fn at_exit(py: Python<'_>) {
    step::finish_all();
    block::finish_all();
    state::finish_all_threads();
    if let Some(pipeline) = &runtime::current().pipeline {
        let timeout = runtime::shutdown_timeout();
        py.detach(|| pipeline.shutdown(timeout));
    }
}

/// Runs in a forked child, for forks that Python makes itself; others are seen by the pipeline and at the next root.
#[pyfunction]
fn after_fork_in_child() {
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
    module.add_function(wrap_pyfunction!(shutdown, module)?)?;
    module.add_function(wrap_pyfunction!(stats, module)?)?;
    module.add_function(wrap_pyfunction!(memory::memory_spans, module)?)?;
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
