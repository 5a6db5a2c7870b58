//! `hiq.ChromeExporter`: a trace file for Perfetto's viewer, vizviewer and `chrome://tracing`.

use std::path::PathBuf;

use hiq_chrome::{ChromeExporter, ChromeSettings};
use hiq_core::config::{Env, Warning};
use pyo3::prelude::*;

use super::Arguments;
use super::registry::{Spec, parsed, spec};
use crate::module::errors;

/// Keys: `path` (`HIQ_CHROME_FILE`, else `hiq-trace.json.gz`), `format` (`chrome` or `perfetto`; else by the name).
pub(super) fn read(
    arguments: &Arguments<'_, '_>,
    env: &Env,
    _warnings: &mut Vec<Warning>,
) -> PyResult<Spec> {
    arguments.refuse_unknown(&["path", "format"])?;
    let path = arguments.text("path")?.map(PathBuf::from);
    let format = parsed(arguments.text("format")?)?;
    let exporter = ChromeSettings::new(path, format, env)
        .map(in_this_folder)
        .and_then(ChromeExporter::with_settings)
        .map_err(|error| errors::config(&error))?;
    Ok(spec("chrome", exporter.target(), move || exporter.build()))
}

/// The path as it is meant now: the program may go to another folder before there is something to write.
fn in_this_folder(mut settings: ChromeSettings) -> ChromeSettings {
    settings.path = std::path::absolute(&settings.path).unwrap_or(settings.path);
    settings
}
