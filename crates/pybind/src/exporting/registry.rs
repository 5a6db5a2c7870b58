//! Every exporter of this build, by the name that users write. A new one adds a line to [`EXPORTERS`].

use std::path::PathBuf;
use std::str::FromStr;

use hiq_core::batch::TreeBatch;
use hiq_core::config::{
    ConfigError, Env, OtlpOptions, OtlpSettings, ProxySettings, Secret, Settings, Warning,
};
use hiq_core::export::Exporter;
use hiq_otlp::{OtlpExporter, OtlpFileExporter};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::{Arguments, chrome, jaeger, kafka, memory, oci, wrong_type, zipkin};
use crate::module::errors;

/// An exporter to be built on its worker's thread, in each process anew.
pub(crate) struct Spec {
    pub(crate) name: String,
    /// Where it sends, for people: without user, password and query.
    pub(crate) target: String,
    pub(crate) build: Box<dyn Build>,
}

/// Makes an exporter.
pub(crate) trait Build:
    Fn() -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> + Send + Sync
{
}

impl<F: Fn() -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> + Send + Sync> Build for F {}

type Read = fn(&Arguments<'_, '_>, &Env, &mut Vec<Warning>) -> PyResult<Spec>;

const EXPORTERS: [(&str, Read); 10] = [
    ("otlp", otlp),
    ("jaeger", jaeger::read),
    ("zipkin", zipkin::read),
    ("kafka", kafka::read),
    ("oci_apm", oci::apm),
    ("oci_streaming", oci::streaming),
    ("chrome", chrome::read),
    ("file", file),
    ("console", console),
    ("memory", memory::read),
];

pub(super) fn spec(
    name: &str,
    target: impl Into<String>,
    build: impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> + Send + Sync + 'static,
) -> Spec {
    Spec {
        name: name.to_owned(),
        target: target.into(),
        build: Box::new(build),
    }
}

fn otlp(arguments: &Arguments<'_, '_>, env: &Env, warnings: &mut Vec<Warning>) -> PyResult<Spec> {
    arguments.refuse_unknown(&OTLP_ARGUMENTS)?;
    let settings = OtlpSettings::for_traces(&otlp_options(arguments)?, env, warnings)
        .map_err(|error| errors::config(&error))?;
    let proxies = ProxySettings::from_env(env, warnings);
    let exporter = OtlpExporter::new(settings, proxies)
        .map_err(|error| errors::config(&of_variable(error, "TRACES", arguments, env)))?;
    let exporter = exporter.with_pipeline_settings(&Settings::from_env(env).pipeline);
    Ok(spec("otlp", exporter.target().to_owned(), move || {
        exporter.build()
    }))
}

/// The error about a file, under the name of the variable that names it where no argument does.
pub(super) fn of_variable(
    mut error: ConfigError,
    signal: &str,
    arguments: &Arguments<'_, '_>,
    env: &Env,
) -> ConfigError {
    let is_file = ["certificate", "client_certificate", "client_key"].contains(&&*error.place);
    let is_argument = arguments
        .get(&error.place)
        .is_ok_and(|given| given.is_some());
    if is_file && !is_argument {
        let end = error.place.to_uppercase();
        let names = [
            format!("OTEL_EXPORTER_OTLP_{signal}_{end}"),
            format!("OTEL_EXPORTER_OTLP_{end}"),
        ];
        if let Some(name) = names.into_iter().find(|name| env.text(name).is_some()) {
            error.place = name;
        }
    }
    error
}

pub(super) const OTLP_ARGUMENTS: [&str; 9] = [
    "endpoint",
    "protocol",
    "headers",
    "timeout_s",
    "compression",
    "certificate",
    "client_certificate",
    "client_key",
    "insecure",
];

pub(super) fn otlp_options(arguments: &Arguments<'_, '_>) -> PyResult<OtlpOptions> {
    let mut options = OtlpOptions::default();
    options.endpoint = arguments.text("endpoint")?;
    options.protocol = parsed(arguments.text("protocol")?)?;
    options.compression = parsed(arguments.text("compression")?)?;
    options.timeout = arguments.seconds("timeout_s")?;
    options.headers = headers(arguments)?;
    options.certificate = arguments.text("certificate")?.map(PathBuf::from);
    options.client_certificate = arguments.text("client_certificate")?.map(PathBuf::from);
    options.client_key = arguments.text("client_key")?.map(PathBuf::from);
    options.insecure = arguments.flag("insecure")?;
    Ok(options)
}

pub(super) fn parsed<T: FromStr<Err = ConfigError>>(text: Option<String>) -> PyResult<Option<T>> {
    text.map(|text| text.parse())
        .transpose()
        .map_err(|error| errors::config(&error))
}

pub(super) fn headers(arguments: &Arguments<'_, '_>) -> PyResult<Option<Vec<(String, Secret)>>> {
    let Some(given) = arguments.get("headers")? else {
        return Ok(None);
    };
    let given = given
        .cast::<PyDict>()
        .map_err(|_| wrong_type("headers", &given, "a dict"))?;
    let pairs = given.iter().map(|(name, value)| {
        let name: String = name
            .extract()
            .map_err(|_| wrong_type("headers", &name, "names as text"))?;
        // The value may be a secret: it is not shown.
        let value: String = value
            .extract()
            .map_err(|_| wrong_type(&format!("headers[{name}]"), &value, "a text"))?;
        Ok((name, Secret::new(value)))
    });
    pairs.collect::<PyResult<Vec<_>>>().map(Some)
}

fn file(arguments: &Arguments<'_, '_>, _env: &Env, _warnings: &mut Vec<Warning>) -> PyResult<Spec> {
    arguments.refuse_unknown(&["path"])?;
    let path = arguments.text("path")?.ok_or_else(|| {
        errors::config(&ConfigError::new(
            "path",
            "the file exporter has no path",
            "give hiq.FileExporter(\"trace.otlp.jsonl\"), or --file trace.otlp.jsonl to `hiq run`",
        ))
    })?;
    // As it is meant now: the program may go to another folder before there is something to write.
    let path = std::path::absolute(&path).map_or(path, |path| path.to_string_lossy().into_owned());
    written("file", path)
}

fn console(
    arguments: &Arguments<'_, '_>,
    _env: &Env,
    _warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    arguments.refuse_unknown(&[])?;
    written("console", "/dev/stdout".to_owned())
}

fn written(name: &str, path: String) -> PyResult<Spec> {
    let exporter = OtlpFileExporter::new(&path).map_err(|error| errors::config(&error))?;
    Ok(spec(name, path, move || exporter.build()))
}

/// True for the name of an exporter of spans.
pub(super) fn takes_spans(name: &str) -> bool {
    EXPORTERS.iter().any(|(known, _)| *known == name)
}

/// What `exporters=` says, else `OTEL_TRACES_EXPORTER`, else OTLP.
pub(super) fn specs(
    py: Python<'_>,
    given: Option<&Bound<'_, PyAny>>,
    settings: &mut Settings,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Vec<Spec>> {
    let Some(given) = given else {
        let known: Vec<&str> = EXPORTERS.iter().map(|(name, _)| *name).collect();
        let names = settings
            .choose_exporters(&known)
            .unwrap_or_else(|| vec!["otlp".to_owned()]);
        let none = PyDict::new(py);
        return names
            .iter()
            .map(|name| one(name, &none, env, warnings))
            .collect();
    };
    let mut specs: Vec<Spec> = Vec::new();
    for (name, settings) in named(given, "exporters")? {
        let mut spec = one(&name, &settings, env, warnings)?;
        let same = specs
            .iter()
            .filter(|known| {
                known.name == spec.name || known.name.starts_with(&format!("{}-", spec.name))
            })
            .count();
        if same > 0 {
            spec.name = format!("{}-{}", spec.name, same + 1);
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Names and settings of the exporters in a list of names, exporter objects and dicts.
pub(super) fn named<'py>(
    given: &Bound<'py, PyAny>,
    place: &str,
) -> PyResult<Vec<(String, Bound<'py, PyDict>)>> {
    let mut named = Vec::new();
    for item in given.try_iter()? {
        let item = item?;
        if let Ok(name) = item.cast::<PyString>() {
            named.push((name.to_string(), PyDict::new(given.py())));
            continue;
        }
        let settings = item
            .cast::<PyDict>()
            .map_err(|_| wrong_type(place, &item, "names or exporter objects"))?
            .copy()?;
        let Some(kind) = settings.get_item("type")? else {
            let problem = "an exporter has no type";
            return Err(errors::config(&ConfigError::new(
                place,
                problem,
                "add \"type\"",
            )));
        };
        settings.del_item("type")?;
        let kind = kind
            .extract()
            .map_err(|_| wrong_type(&format!("{place}[type]"), &kind, "a text"))?;
        named.push((kind, settings));
    }
    Ok(named)
}

fn one(
    name: &str,
    settings: &Bound<'_, PyDict>,
    env: &Env,
    warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    let known = EXPORTERS.iter().find(|(known, _)| *known == name);
    let Some((_, read)) = known else {
        let names: Vec<&str> = EXPORTERS.iter().map(|(name, _)| *name).collect();
        let problem = format!("`{name}` is not an exporter of this build");
        return Err(errors::config(&ConfigError::new(
            "exporters",
            problem,
            format!("use one of {}", names.join(", ")),
        )));
    };
    read(&Arguments { dict: settings }, env, warnings)
}
