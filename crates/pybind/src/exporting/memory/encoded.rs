//! What is in memory, in a format that other programs read.

use std::ptr;
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

/// A format that holds any number of resources in one payload.
#[derive(Debug)]
struct Format {
    name: &'static str,
    new_encoder: fn() -> Box<dyn Encoder<TreeBatch>>,
    /// What the encoder remembers of a payload leaves the next one as it would have been without.
    is_kept: bool,
}

impl Format {
    const fn kept(name: &'static str, new_encoder: fn() -> Box<dyn Encoder<TreeBatch>>) -> Self {
        Self {
            name,
            new_encoder,
            is_kept: true,
        }
    }

    /// A format whose documents follow each other: spans that come twice would be drawn beside each other.
    const fn begun_anew(
        name: &'static str,
        new_encoder: fn() -> Box<dyn Encoder<TreeBatch>>,
    ) -> Self {
        Self {
            is_kept: false,
            ..Self::kept(name, new_encoder)
        }
    }
}

static FORMATS: [Format; 6] = [
    Format::kept("otlp-proto", || Box::new(OtlpProtoEncoder::new())),
    Format::kept("otlp-json", || Box::new(OtlpJsonEncoder::new())),
    Format::kept("zipkin-json", || Box::new(ZipkinJsonEncoder::new())),
    Format::kept("zipkin-proto", || Box::new(ZipkinProtoEncoder::new())),
    Format::begun_anew("chrome", || Box::new(ChromeEncoder::new())),
    Format::begun_anew("perfetto", || Box::new(PerfettoEncoder::new())),
];

/// The spans that the `memory` exporter was given, in the format `format`, as one payload. Written without the GIL.
#[pyfunction]
#[pyo3(signature = (format, clear=false, shelf=0))]
pub(in crate::exporting) fn memory_bytes<'py>(
    py: Python<'py>,
    format: &str,
    clear: bool,
    shelf: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let format = by_name(format).map_err(|error| errors::config(&error))?;
    let desk = py.detach(|| Desk::of(format).write(super::trees(shelf, clear)));
    let bytes = PyBytes::new(py, &desk.payload);
    desk.leave();
    Ok(bytes)
}

/// Where payloads of one format are written: the encoder and its buffer serve for life, as those of an exporter do.
#[derive(Debug)]
pub(super) struct Desk {
    format: &'static Format,
    encoder: Box<dyn Encoder<TreeBatch>>,
    payload: Vec<u8>,
}

/// A desk keeps a buffer of this size from one payload to the next.
const MAX_KEPT_BYTES: usize = 1 << 20;

impl Desk {
    /// The one that was left last, or a new one.
    fn of(format: &'static Format) -> Self {
        let mut memory = super::held();
        let is_wanted = |desk: &Self| ptr::eq(desk.format, format);
        if let Some(place) = memory.desks.iter().position(is_wanted) {
            return memory.desks.swap_remove(place);
        }
        Self {
            format,
            encoder: (format.new_encoder)(),
            payload: Vec::new(),
        }
    }

    fn write(mut self, trees: Vec<Arc<SpanTree>>) -> Self {
        let (batch, limits) = (TreeBatch::new(trees), Limits::bytes(usize::MAX));
        self.payload.clear();
        self.encoder
            .encode(&mut batch.cursor(), &limits, &mut self.payload);
        self
    }

    /// For the next one who writes in this format. One desk of a kind is enough.
    fn leave(mut self) {
        self.payload.clear();
        self.payload.shrink_to(MAX_KEPT_BYTES);
        let mut memory = super::held();
        let is_other = |desk: &Self| !ptr::eq(desk.format, self.format);
        if self.format.is_kept && memory.desks.iter().all(is_other) {
            memory.desks.push(self);
        }
    }
}

fn by_name(name: &str) -> Result<&'static Format, ConfigError> {
    let known = FORMATS.iter().find(|format| format.name == name);
    known.ok_or_else(|| {
        let names = FORMATS.each_ref().map(|format| format.name).join(", ");
        let problem = format!("`{}` is not a format of spans", name.escape_debug());
        ConfigError::new("format", problem, format!("use one of {names}"))
    })
}
