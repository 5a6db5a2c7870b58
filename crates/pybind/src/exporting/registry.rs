//! Every exporter of this build, by the name that users write. A new one adds a line to [`EXPORTERS`].

use hiq_core::batch::TreeBatch;
use hiq_core::config::{ConfigError, Env, Settings, Warning};
use hiq_core::export::Exporter;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::{Arguments, memory, wrong_type};
use crate::module::errors;

/// An exporter to be built on its worker's thread, in each process anew.
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) build:
        Box<dyn Fn() -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> + Send + Sync>,
}

type Read = fn(&Arguments<'_, '_>, &Env, &mut Vec<Warning>) -> PyResult<Spec>;

const EXPORTERS: [(&str, Read); 1] = [("memory", |_, _, _| {
    Ok(spec("memory", || Ok(Box::new(memory::MemoryExporter))))
})];

fn spec(
    name: &str,
    build: impl Fn() -> Result<Box<dyn Exporter<TreeBatch>>, ConfigError> + Send + Sync + 'static,
) -> Spec {
    Spec {
        name: name.to_owned(),
        build: Box::new(build),
    }
}

/// What `exporters=` says, else `OTEL_TRACES_EXPORTER`, else OTLP.
pub(super) fn specs(
    py: Python<'_>,
    given: &Option<Bound<'_, PyAny>>,
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
    for item in given.try_iter()? {
        let item = item?;
        let mut spec = if let Ok(name) = item.cast::<PyString>() {
            one(&name.to_string(), &PyDict::new(py), env, warnings)?
        } else {
            let dict = item
                .cast::<PyDict>()
                .map_err(|_| wrong_type("exporters", &item, "names or exporter objects"))?
                .copy()?;
            let kind: String = match dict.get_item("type")? {
                Some(kind) => kind.extract()?,
                None => {
                    return Err(errors::config(&ConfigError::new(
                        "exporters",
                        "an exporter has no type",
                        "add \"type\"",
                    )));
                }
            };
            dict.del_item("type")?;
            one(&kind, &dict, env, warnings)?
        };
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
