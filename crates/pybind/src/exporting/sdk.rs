//! Spans of the OpenTelemetry SDK for Python, in a pipeline of their own: the native half of `hiq.opentelemetry`.
//!
//! A span is read once, while the SDK hands it over; of its objects none is kept.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hiq_core::config::{Env, Settings, Warning};
use hiq_core::decode::{LooseAttributes, LooseEvent, LooseLink, LooseSpan, hand_out};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::pipeline::Pipeline;
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Dropped, Kind, Status};
use hiq_core::value::Value;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};

use super::{Arguments, registry, seconds, stats_of};
use crate::attributes::to_value;

/// Resources or scopes that are remembered; a program has a handful.
const MAX_KNOWN: usize = 256;

/// A pipeline that is fed with the SDK's spans.
#[pyclass(frozen, name = "SdkPipeline", module = "hiq._hiq")]
#[derive(Debug)]
pub(crate) struct SdkPipeline {
    pipeline: Pipeline,
    resources: Known<Resource>,
    scopes: Known<Scope>,
}

/// What has been read of the SDK's objects, by the object.
#[derive(Debug)]
struct Known<T>(Mutex<Vec<(Py<PyAny>, Arc<T>)>>);

#[pymethods]
impl SdkPipeline {
    /// A pipeline with these exporters. The second of the pair is what is odd about the environment.
    #[staticmethod]
    fn open(py: Python<'_>, settings: &Bound<'_, PyDict>) -> PyResult<(Self, Vec<String>)> {
        let arguments = Arguments { dict: settings };
        arguments.refuse_unknown(&["exporters"])?;
        let (env, mut warnings) = (Env::process(), Vec::new());
        let mut merged = Settings::from_env(&env);
        let exporters = arguments.get("exporters")?;
        let specs = registry::specs(py, exporters.as_ref(), &mut merged, &env, &mut warnings)?;
        let mut builder = super::pipeline(&merged, Arc::default());
        for spec in specs {
            builder = builder.exporter(spec.name, spec.build);
        }
        warnings.extend(merged.warnings);
        let sdk = Self {
            pipeline: builder.build(),
            resources: Known(Mutex::default()),
            scopes: Known(Mutex::default()),
        };
        Ok((sdk, warnings.iter().map(Warning::to_string).collect()))
    }

    /// Takes `ReadableSpan`s over. Returns what is wrong with those that could not be read; the others are on their way.
    fn export(&self, spans: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
        let mut problems = Vec::new();
        let mut groups: Vec<(Arc<Resource>, Vec<Scoped>)> = Vec::new();
        for span in spans.try_iter()? {
            let span = span?;
            match self.read(&span) {
                Ok((resource, scoped)) => match groups.last_mut() {
                    Some((last, spans)) if Arc::ptr_eq(last, &resource) => spans.push(scoped),
                    _ => groups.push((resource, vec![scoped])),
                },
                Err(error) => problems.push(error.to_string()),
            }
        }
        spans.py().detach(|| {
            for (resource, spans) in groups {
                hand_out(&resource, spans, &mut |tree| {
                    self.pipeline.offer_shared(tree);
                });
            }
        });
        Ok(problems)
    }

    /// Delivers what has been taken over. False when that was not possible in time.
    fn flush(&self, py: Python<'_>, timeout_s: f64) -> bool {
        py.detach(|| self.pipeline.flush(seconds(timeout_s)).is_complete())
    }

    /// Delivers and ends.
    #[pyo3(signature = (timeout_s=None))]
    fn shutdown(&self, py: Python<'_>, timeout_s: Option<f64>) -> bool {
        let timeout = timeout_s.map_or(self.pipeline.shutdown_timeout(), seconds);
        py.detach(|| self.pipeline.shutdown(timeout).is_complete())
    }

    /// The loss ledger, by exporter, as `hiq.stats` has it.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats_of(py, &self.pipeline)
    }
}

type Scoped = (Arc<Scope>, LooseSpan<'static>);

impl SdkPipeline {
    fn read(&self, span: &Bound<'_, PyAny>) -> PyResult<(Arc<Resource>, Scoped)> {
        let py = span.py();
        let resource = span.getattr(intern!(py, "resource"))?;
        let resource = self.resources.get(&resource, read_resource)?;
        let scope = span.getattr(intern!(py, "instrumentation_scope"))?;
        let scope = self.scopes.get(&scope, read_scope)?;
        Ok((resource, (scope, read_span(span)?)))
    }
}

impl<T> Known<T> {
    fn get(
        &self,
        object: &Bound<'_, PyAny>,
        read: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>,
    ) -> PyResult<Arc<T>> {
        let known = self
            .lock()
            .iter()
            .rfind(|(known, _)| known.is(object))
            .map(|(_, ours)| Arc::clone(ours));
        if let Some(known) = known {
            return Ok(known);
        }
        // Without the lock: the SDK's code may give up the GIL.
        let read = Arc::new(read(object)?);
        let mut all = self.lock();
        if all.len() == MAX_KNOWN {
            all.remove(0);
        }
        all.push((object.clone().unbind(), Arc::clone(&read)));
        Ok(read)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Py<PyAny>, Arc<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_resource(resource: &Bound<'_, PyAny>) -> PyResult<Resource> {
    let py = resource.py();
    let attributes = pairs(&resource.getattr(intern!(py, "attributes"))?)?;
    let attributes = attributes.into_iter();
    let ours = Resource::new(attributes.map(|(key, value)| (key, value.into_value())));
    Ok(match schema_url(resource)? {
        Some(url) => ours.with_schema_url(url),
        None => ours,
    })
}

fn read_scope(scope: &Bound<'_, PyAny>) -> PyResult<Scope> {
    let py = scope.py();
    if scope.is_none() {
        return Ok(Scope::default());
    }
    let name = text(&scope.getattr(intern!(py, "name"))?)?;
    let version = text(&scope.getattr(intern!(py, "version"))?)?;
    let attributes = pairs(&scope.getattr(intern!(py, "attributes"))?)?;
    let attributes = attributes.into_iter();
    let ours = Scope::new(&name, &version)
        .with_attributes(attributes.map(|(key, value)| (key.into_owned(), value.into_value())));
    Ok(match schema_url(scope)? {
        Some(url) => ours.with_schema_url(url),
        None => ours,
    })
}

fn schema_url(object: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let url = text(&object.getattr(intern!(object.py(), "schema_url"))?)?;
    Ok(Some(url).filter(|url| !url.is_empty()))
}

fn read_span(span: &Bound<'_, PyAny>) -> PyResult<LooseSpan<'static>> {
    let py = span.py();
    let place = Place::read(&span.getattr(intern!(py, "context"))?)?;
    let parent = span.getattr(intern!(py, "parent"))?;
    let parent = if parent.is_none() {
        None
    } else {
        Some(Place::read(&parent)?)
    };
    let status = span.getattr(intern!(py, "status"))?;
    Ok(LooseSpan {
        trace_id: place.trace_id,
        id: place.span_id,
        parent: parent
            .as_ref()
            .map_or(SpanId::INVALID, |parent| parent.span_id),
        parent_is_remote: parent.is_some_and(|parent| parent.is_remote),
        trace_state: place.trace_state.into(),
        trace_flags: place.trace_flags,
        is_debug: false,
        name: text(&span.getattr(intern!(py, "name"))?)?.into(),
        kind: kind(&span.getattr(intern!(py, "kind"))?)?,
        start: nanos(&span.getattr(intern!(py, "start_time"))?)?,
        end: nanos(&span.getattr(intern!(py, "end_time"))?)?,
        attributes: pairs(&span.getattr(intern!(py, "attributes"))?)?,
        events: each(&span.getattr(intern!(py, "events"))?, read_event)?,
        links: each(&span.getattr(intern!(py, "links"))?, read_link)?,
        status: status_code(&status.getattr(intern!(py, "status_code"))?)?,
        message: text(&status.getattr(intern!(py, "description"))?)?.into(),
        dropped: Dropped {
            attributes: span.getattr(intern!(py, "dropped_attributes"))?.extract()?,
            events: span.getattr(intern!(py, "dropped_events"))?.extract()?,
            links: span.getattr(intern!(py, "dropped_links"))?.extract()?,
        },
    })
}

fn read_event(event: &Bound<'_, PyAny>) -> PyResult<LooseEvent<'static>> {
    let py = event.py();
    Ok(LooseEvent {
        time: nanos(&event.getattr(intern!(py, "timestamp"))?)?,
        name: text(&event.getattr(intern!(py, "name"))?)?.into(),
        attributes: pairs(&event.getattr(intern!(py, "attributes"))?)?,
        dropped_attributes: event
            .getattr(intern!(py, "dropped_attributes"))?
            .extract()?,
    })
}

fn read_link(link: &Bound<'_, PyAny>) -> PyResult<LooseLink<'static>> {
    const IS_REMOTE_KNOWN: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    let py = link.py();
    let place = Place::read(&link.getattr(intern!(py, "context"))?)?;
    let remote = if place.is_remote { IS_REMOTE } else { 0 };
    Ok(LooseLink {
        trace_id: place.trace_id,
        span_id: place.span_id,
        trace_state: place.trace_state.into(),
        flags: u32::from(place.trace_flags) | IS_REMOTE_KNOWN | remote,
        attributes: pairs(&link.getattr(intern!(py, "attributes"))?)?,
        dropped_attributes: link.getattr(intern!(py, "dropped_attributes"))?.extract()?,
    })
}

/// A `SpanContext`.
struct Place {
    trace_id: TraceId,
    span_id: SpanId,
    trace_flags: u8,
    trace_state: String,
    is_remote: bool,
}

impl Place {
    fn read(context: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = context.py();
        let trace_id: u128 = context.getattr(intern!(py, "trace_id"))?.extract()?;
        let state = context.getattr(intern!(py, "trace_state"))?;
        let trace_state = if state.is_truthy()? {
            state.call_method0(intern!(py, "to_header"))?.extract()?
        } else {
            String::new()
        };
        Ok(Self {
            trace_id: TraceId(trace_id.to_be_bytes()),
            span_id: SpanId(context.getattr(intern!(py, "span_id"))?.extract()?),
            trace_flags: context.getattr(intern!(py, "trace_flags"))?.extract()?,
            trace_state,
            is_remote: context.getattr(intern!(py, "is_remote"))?.is_truthy()?,
        })
    }
}

fn each<T>(
    items: &Bound<'_, PyAny>,
    read: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    items.try_iter()?.map(|item| read(&item?)).collect()
}

/// A mapping, or None for an empty one.
fn pairs(attributes: &Bound<'_, PyAny>) -> PyResult<LooseAttributes<'static>> {
    if attributes.is_none() {
        return Ok(Vec::new());
    }
    let mut pairs = Vec::new();
    for pair in attributes.cast::<PyMapping>()?.items()?.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair.extract()?;
        pairs.push((Cow::Owned(text(&key)?), to_value(&value).into()));
    }
    Ok(pairs)
}

/// A text, or the empty one for None.
fn text(text: &Bound<'_, PyAny>) -> PyResult<String> {
    match to_value(text) {
        Value::Str(text) => Ok(text),
        Value::Empty => Ok(String::new()),
        other => Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "{other:?} stands where a text belongs"
        ))),
    }
}

/// Nanoseconds since 1970; zero where the SDK has none, or one before that.
fn nanos(time: &Bound<'_, PyAny>) -> PyResult<u64> {
    let time: Option<i128> = time.extract()?;
    let time = time.unwrap_or_default().max(0);
    Ok(u64::try_from(time).unwrap_or(u64::MAX))
}

/// The SDK numbers kinds from zero, OTLP from one.
fn kind(kind: &Bound<'_, PyAny>) -> PyResult<Kind> {
    let number: u8 = kind.getattr(intern!(kind.py(), "value"))?.extract()?;
    Ok(Kind::from_otlp(number.saturating_add(1)))
}

fn status_code(code: &Bound<'_, PyAny>) -> PyResult<Status> {
    let number: u8 = code.getattr(intern!(code.py(), "value"))?.extract()?;
    Ok(Status::from_otlp(number))
}
