//! From the SDK into a pipeline.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hiq_core::decode::{LooseAttributes, LooseEvent, LooseLink, LooseSpan, hand_out};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::pipeline::{Pipeline, PipelineReport};
use hiq_core::resource::{Resource, Scope};
use hiq_core::span::{Dropped, Kind, Status};
use opentelemetry::trace::{Event, Link, SpanContext, SpanKind};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::value::from_sdk;

/// Scopes that are remembered; a program has a handful.
const MAX_SCOPES: usize = 1_024;

/// A span exporter of the SDK that offers what it is given to a hiq pipeline.
///
/// Exporting never waits and never fails: the pipeline's queues and ledgers say what became of the spans. Flushing and
/// shutting down wait for the pipeline, which goes on: it is shut down by its owner, or with its last handle.
#[derive(Debug)]
pub struct HiqSpanExporter {
    pipeline: Pipeline,
    resource: Arc<Resource>,
    scopes: Mutex<HashMap<InstrumentationScope, Arc<Scope>>>,
    is_shut_down: AtomicBool,
}

impl HiqSpanExporter {
    /// Feeds `pipeline`. The spans carry the resource of the SDK's provider.
    pub fn new(pipeline: Pipeline) -> Self {
        Self {
            resource: Arc::clone(pipeline.resource()),
            pipeline,
            scopes: Mutex::default(),
            is_shut_down: AtomicBool::new(false),
        }
    }

    fn offer(&self, batch: Vec<SpanData>) {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let spans = batch.into_iter().map(|span| {
            let scope = shared(&mut scopes, &span.instrumentation_scope);
            (scope, loose(span))
        });
        hand_out(&self.resource, spans, &mut |tree| {
            self.pipeline.offer_shared(tree);
        });
    }
}

impl SpanExporter for HiqSpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        if self.is_shut_down.load(Ordering::Relaxed) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        self.offer(batch);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if self.is_shut_down.swap(true, Ordering::Relaxed) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        complete(&self.pipeline.flush(timeout), timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        let timeout = self.pipeline.shutdown_timeout();
        complete(&self.pipeline.flush(timeout), timeout)
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        let attributes = resource.iter();
        let attributes = attributes.map(|(key, value)| (key.as_str(), from_sdk(value.clone())));
        let ours = Resource::new(attributes);
        self.resource = Arc::new(match resource.schema_url() {
            Some(url) => ours.with_schema_url(url),
            None => ours,
        });
    }
}

fn complete(report: &PipelineReport, timeout: Duration) -> OTelSdkResult {
    if report.is_complete() {
        return Ok(());
    }
    Err(OTelSdkError::Timeout(timeout))
}

fn shared(
    scopes: &mut HashMap<InstrumentationScope, Arc<Scope>>,
    scope: &InstrumentationScope,
) -> Arc<Scope> {
    if let Some(known) = scopes.get(scope) {
        return Arc::clone(known);
    }
    if scopes.len() == MAX_SCOPES {
        scopes.clear();
    }
    let attributes = scope.attributes().cloned();
    let ours = Scope::new(scope.name(), scope.version().unwrap_or_default())
        .with_attributes(attributes.map(|pair| (pair.key.to_string(), from_sdk(pair.value))));
    let ours = Arc::new(match scope.schema_url() {
        Some(url) => ours.with_schema_url(url),
        None => ours,
    });
    scopes.insert(scope.clone(), Arc::clone(&ours));
    ours
}

fn loose(span: SpanData) -> LooseSpan<'static> {
    let context = &span.span_context;
    let (status, message) = match span.status {
        opentelemetry::trace::Status::Unset => (Status::Unset, "".into()),
        opentelemetry::trace::Status::Ok => (Status::Ok, "".into()),
        opentelemetry::trace::Status::Error { description } => (Status::Error, description),
    };
    LooseSpan {
        trace_id: trace_id(context),
        id: span_id(context),
        parent: SpanId(u64::from_be_bytes(span.parent_span_id.to_bytes())),
        parent_is_remote: span.parent_span_is_remote,
        trace_state: context.trace_state().header().into(),
        trace_flags: context.trace_flags().to_u8(),
        is_debug: false,
        name: span.name,
        kind: kind(&span.span_kind),
        start: unix_nanos(span.start_time),
        end: unix_nanos(span.end_time),
        attributes: attributes(span.attributes),
        dropped: Dropped {
            attributes: span.dropped_attributes_count,
            events: span.events.dropped_count,
            links: span.links.dropped_count,
        },
        events: span.events.into_iter().map(event).collect(),
        links: span.links.into_iter().map(link).collect(),
        status,
        message,
    }
}

fn event(event: Event) -> LooseEvent<'static> {
    LooseEvent {
        time: unix_nanos(event.timestamp),
        name: event.name,
        attributes: attributes(event.attributes),
        dropped_attributes: event.dropped_attributes_count,
    }
}

fn link(link: Link) -> LooseLink<'static> {
    const IS_REMOTE_KNOWN: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    let context = &link.span_context;
    let remote = if context.is_remote() { IS_REMOTE } else { 0 };
    LooseLink {
        trace_id: trace_id(context),
        span_id: span_id(context),
        trace_state: context.trace_state().header().into(),
        flags: u32::from(context.trace_flags().to_u8()) | IS_REMOTE_KNOWN | remote,
        attributes: attributes(link.attributes),
        dropped_attributes: link.dropped_attributes_count,
    }
}

fn attributes(pairs: Vec<KeyValue>) -> LooseAttributes<'static> {
    let pairs = pairs.into_iter();
    pairs
        .map(|pair| (pair.key.to_string().into(), from_sdk(pair.value).into()))
        .collect()
}

fn trace_id(context: &SpanContext) -> TraceId {
    TraceId(context.trace_id().to_bytes())
}

fn span_id(context: &SpanContext) -> SpanId {
    SpanId(u64::from_be_bytes(context.span_id().to_bytes()))
}

fn kind(kind: &SpanKind) -> Kind {
    match kind {
        SpanKind::Client => Kind::Client,
        SpanKind::Server => Kind::Server,
        SpanKind::Producer => Kind::Producer,
        SpanKind::Consumer => Kind::Consumer,
        SpanKind::Internal => Kind::Internal,
    }
}

/// Nanoseconds since 1970; zero before it.
fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
