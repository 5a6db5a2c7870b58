//! What is in memory, in a format that other programs read.

use std::sync::Arc;

use hiq_chrome::{ChromeEncoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::config::ConfigError;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::tree::SpanTree;
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinProtoEncoder};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::module::errors;

type NewEncoder = fn() -> Box<dyn Encoder<TreeBatch>>;

/// Formats by their names: those that hold any number of resources in one payload.
static FORMATS: [(&str, NewEncoder); 6] = [
    ("otlp-proto", || Box::new(OtlpProtoEncoder::new())),
    ("otlp-json", || Box::new(OtlpJsonEncoder::new())),
    ("zipkin-json", || Box::new(ZipkinJsonEncoder::new())),
    ("zipkin-proto", || Box::new(ZipkinProtoEncoder::new())),
    ("chrome", || Box::new(ChromeEncoder::new())),
    ("perfetto", || Box::new(PerfettoEncoder::new())),
];

/// The spans that the `memory` exporter was given, in the format `format`, as one payload. Written without the GIL.
#[pyfunction]
#[pyo3(signature = (format, clear=false))]
pub(in crate::exporting) fn memory_bytes<'py>(
    py: Python<'py>,
    format: &str,
    clear: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let encoder = by_name(format).map_err(|error| errors::config(&error))?;
    let payload = py.detach(|| encode(&mut *encoder(), super::trees(clear)));
    Ok(PyBytes::new(py, &payload))
}

fn by_name(name: &str) -> Result<NewEncoder, ConfigError> {
    let known = FORMATS.iter().find(|(known, _)| *known == name);
    known.map(|(_, encoder)| *encoder).ok_or_else(|| {
        let names = FORMATS.map(|(name, _)| name).join(", ");
        let problem = format!("`{}` is not a format of spans", name.escape_debug());
        ConfigError::new("format", problem, format!("use one of {names}"))
    })
}

fn encode(encoder: &mut dyn Encoder<TreeBatch>, trees: Vec<Arc<SpanTree>>) -> Vec<u8> {
    let (batch, mut payload) = (TreeBatch::new(trees), Vec::new());
    let limits = Limits::bytes(usize::MAX);
    encoder.encode(&mut batch.cursor(), &limits, &mut payload);
    payload
}
