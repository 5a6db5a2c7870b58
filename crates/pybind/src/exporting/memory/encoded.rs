//! What is in memory, in a format that other programs read.

use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;

use hiq_chrome::{ChromeEncoder, PerfettoEncoder};
use hiq_core::batch::TreeBatch;
use hiq_core::config::ConfigError;
use hiq_core::encode::{Encoder, Limits};
use hiq_core::tree::SpanTree;
use hiq_otlp::{OtlpJsonEncoder, OtlpProtoEncoder};
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinProtoEncoder};
use pyo3::ffi;
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
#[pyo3(signature = (format, clear=false))]
pub(in crate::exporting) fn memory_bytes<'py>(
    py: Python<'py>,
    format: &str,
    clear: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let format = by_name(format).map_err(|error| errors::config(&error))?;
    let mut desk = py.detach(|| Desk::of(format).write(super::trees(clear)));
    let bytes = desk.handed_out.fill(py, &desk.payload)?;
    desk.leave();
    Ok(bytes)
}

/// Where payloads of one format are written: the encoder and its buffer serve for life, as those of an exporter do.
#[derive(Debug)]
pub(super) struct Desk {
    format: &'static Format,
    encoder: Box<dyn Encoder<TreeBatch>>,
    payload: Vec<u8>,
    handed_out: HandedOut,
}

/// A desk keeps what is of this size from one payload to the next.
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
            handed_out: HandedOut::default(),
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

/// The payload that Python was given last. Once nobody else holds it any more, its memory serves again, as `zip` does with its
/// tuples: to ask the system for memory costs more than to write a payload into it.
#[derive(Debug, Default)]
struct HandedOut(Option<Py<PyBytes>>);

impl HandedOut {
    fn fill<'py>(&mut self, py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let last = self.0.take().filter(is_last_reference);
        let bytes = match last {
            Some(last) => refilled(last.into_bound(py), payload)?,
            None => PyBytes::new(py, payload),
        };
        if payload.len() <= MAX_KEPT_BYTES {
            self.0 = Some(bytes.clone().unbind());
        }
        Ok(bytes)
    }
}

/// Asked with the GIL held, so that the answer stays true.
#[expect(unsafe_code, reason = "the count of an object that is held")]
fn is_last_reference(bytes: &Py<PyBytes>) -> bool {
    // SAFETY: the object is alive.
    unsafe { ffi::Py_REFCNT(bytes.as_ptr()) == 1 }
}

/// `bytes`, of which this is the only reference, with another content.
#[expect(unsafe_code, reason = "bytes do not change otherwise")]
fn refilled<'py>(bytes: Bound<'py, PyBytes>, payload: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let (py, mut object) = (bytes.py(), bytes.into_ptr());
    // A length is below isize::MAX. By way of another length, which makes the object forget the hash that it may have.
    let length = payload.len().cast_signed();
    for length in [length + 1, length] {
        // SAFETY: the GIL is held, and nobody else has a reference to the object. Where it fails, it has let go of the object.
        if unsafe { _PyBytes_Resize(&raw mut object, length) } != 0 {
            return Err(PyErr::fetch(py));
        }
    }
    // SAFETY: the object is bytes, ours alone, and of the payload's length. Empty ones are shared, and nothing is written to them.
    unsafe {
        let to = ffi::PyBytes_AsString(object).cast::<u8>();
        ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len());
        Ok(Bound::from_owned_ptr(py, object).cast_into_unchecked())
    }
}

#[expect(unsafe_code, reason = "the interpreter's own, which PyO3 leaves out")]
unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, length: ffi::Py_ssize_t) -> c_int;
}

fn by_name(name: &str) -> Result<&'static Format, ConfigError> {
    let known = FORMATS.iter().find(|format| format.name == name);
    known.ok_or_else(|| {
        let names = FORMATS.each_ref().map(|format| format.name).join(", ");
        let problem = format!("`{}` is not a format of spans", name.escape_debug());
        ConfigError::new("format", problem, format!("use one of {names}"))
    })
}
