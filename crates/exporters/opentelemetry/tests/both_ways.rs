//! The SDK's own record of its spans is what must come out behind a pipeline.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::future::pending;
use std::time::{Duration, SystemTime};

use hiq_core::encode::DropReason;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::Tracer as HiqTracer;
use hiq_core::resource::Resource as HiqResource;
use hiq_core::value::Value as HiqValue;
use hiq_opentelemetry::{HiqSpanExporter, SdkExporter};
use hiq_testkit::{PATIENCE, assert_balances, recorded_status};
use opentelemetry::trace::{
    Event, Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt,
    TraceFlags, TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData, SpanExporter};

/// A pipeline with one exporter of the SDK.
fn pipeline_to<E: SpanExporter + Clone + 'static>(exporter: E) -> Pipeline {
    let build = move || Ok::<_, std::io::Error>(exporter.clone());
    Pipeline::builder()
        .exporter("sdk", move || {
            SdkExporter::new(build.clone()).map(SdkExporter::boxed)
        })
        .build()
}

/// Shuts down; the account of the exporter.
fn settled(pipeline: &Pipeline) -> LedgerSnapshot {
    pipeline.shutdown(PATIENCE);
    let stats = pipeline.stats();
    let ledger = stats.ledger("sdk").unwrap();
    assert_balances(ledger);
    ledger.clone()
}

fn in_order(mut spans: Vec<SpanData>) -> Vec<SpanData> {
    spans.sort_by_key(|span| span.span_context.span_id().to_bytes());
    spans
}

/// Spans with all that the SDK lets them carry.
fn work(provider: &SdkTracerProvider) {
    let scope = InstrumentationScope::builder("shop")
        .with_version("1.2")
        .with_schema_url("https://opentelemetry.io/schemas/1.40.0")
        .with_attributes([KeyValue::new("team", "orders")])
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let state = TraceState::from_key_value([("vendor", "1"), ("other", "2")]).unwrap();
    let remote = SpanContext::new(
        TraceId::from_bytes(rand_bytes()),
        SpanId::from_bytes([7; 8]),
        TraceFlags::SAMPLED,
        true,
        state,
    );
    let parent = Context::new().with_remote_span_context(remote.clone());
    let mut root = SpanBuilder::from_name("root").with_kind(SpanKind::Server);
    root.attributes = Some(vec![
        KeyValue::new("text", "ä\"\n"),
        KeyValue::new("integer", i64::MIN),
        KeyValue::new("double", -0.25),
        KeyValue::new("truth", true),
        KeyValue::new(
            "texts",
            Value::Array(Array::String(vec![StringValue::from("a"), "b".into()])),
        ),
        KeyValue::new("integers", Value::Array(Array::I64(vec![1, -2]))),
        KeyValue::new("doubles", Value::Array(Array::F64(vec![0.5]))),
        KeyValue::new("truths", Value::Array(Array::Bool(vec![true, false]))),
    ]);
    let link = Link::new(remote, vec![KeyValue::new("why", "queued")], 3);
    root.links = Some(vec![link]);
    let event = Event::new(
        "cache",
        SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
        vec![KeyValue::new("hit", false)],
        2,
    );
    root.events = Some(vec![event]);
    let root = tracer.build_with_context(root, &parent);
    let inside = parent.with_span(root);
    let mut child = tracer.start_with_context("child", &inside);
    child.set_status(Status::error("out of stock"));
    child.end();
    tracer
        .start_with_context("another child", &inside)
        .set_status(Status::Ok);
    drop(inside);
    provider.tracer("other").in_span("alone", |_| ());
}

fn rand_bytes() -> [u8; 16] {
    hiq_core::id::TraceId::random().0
}

#[test]
fn through_a_pipeline_and_back_a_span_is_what_the_sdk_says_it_is() {
    let (direct, behind) = (
        InMemorySpanExporter::default(),
        InMemorySpanExporter::default(),
    );
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(direct.clone())
        .build();
    work(&provider);
    let mut expected = in_order(direct.get_finished_spans().unwrap());
    assert_eq!(expected.len(), 4);
    // The SDK counts these by its limits, which nobody here reaches.
    for span in &mut expected {
        span.dropped_attributes_count = 1;
        span.events.dropped_count = 2;
        span.links.dropped_count = 3;
        for event in &mut span.events.events {
            event.dropped_attributes_count = 4;
        }
        for link in &mut span.links.links {
            link.dropped_attributes_count = 5;
        }
    }
    let pipeline = pipeline_to(behind.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let bridge = HiqSpanExporter::new(pipeline.clone());
    runtime.block_on(bridge.export(expected.clone())).unwrap();
    bridge.force_flush().unwrap();
    assert_eq!(in_order(behind.get_finished_spans().unwrap()), expected);
    assert_eq!(settled(&pipeline).exported, 4);
}

#[test]
fn a_batch_processor_hands_all_its_spans_over() {
    let behind = InMemorySpanExporter::default();
    let pipeline = pipeline_to(behind.clone());
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(HiqSpanExporter::new(pipeline.clone()))
        .build();
    for _ in 0..300 {
        work(&provider);
    }
    provider.shutdown().unwrap();
    pipeline.flush(PATIENCE);
    assert_eq!(behind.get_finished_spans().unwrap().len(), 1_200);
    assert_eq!(settled(&pipeline).exported, 1_200);
}

#[test]
fn the_resource_of_the_provider_comes_along() {
    let behind = Recorder::default();
    let pipeline = pipeline_to(behind.clone());
    let resource = Resource::builder_empty()
        .with_schema_url(
            [
                KeyValue::new("service.name", "till"),
                KeyValue::new("shelf", 7),
            ],
            "https://example.org/1",
        )
        .build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_simple_exporter(HiqSpanExporter::new(pipeline.clone()))
        .build();
    provider.tracer("t").in_span("one", |_| ());
    provider.shutdown().unwrap();
    assert_eq!(settled(&pipeline).exported, 1);
    assert_eq!(behind.resources(), [resource]);
}

#[test]
fn values_that_the_sdk_does_not_know_come_as_text() {
    let behind = InMemorySpanExporter::default();
    let resource = HiqResource::new([("service.name", HiqValue::from("till"))]);
    let pipeline = {
        let exporter = behind.clone();
        let build = move || Ok::<_, std::io::Error>(exporter.clone());
        Pipeline::builder()
            .resource(resource)
            .exporter("sdk", move || {
                SdkExporter::new(build.clone()).map(SdkExporter::boxed)
            })
            .build()
    };
    let tracer = HiqTracer::new(pipeline.clone());
    let mut span = tracer.span("odd");
    span.set_attribute("bytes", &HiqValue::from(vec![1_u8, 2, 255]));
    span.set_attribute(
        "mixed",
        &HiqValue::from(vec![HiqValue::from(1), HiqValue::from("a")]),
    );
    span.set_attribute(
        "map",
        &HiqValue::Map(vec![("k".to_owned(), HiqValue::Bool(true))]),
    );
    drop(span);
    pipeline.flush(PATIENCE);
    let found = behind.get_finished_spans().unwrap();
    assert_eq!(settled(&pipeline).exported, 1);
    let texts: Vec<_> = found[0]
        .attributes
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.to_string()))
        .collect();
    let expected = [
        ("bytes", "AQL/"),
        ("mixed", r#"[1,"a"]"#),
        ("map", r#"{"k":true}"#),
    ];
    for (key, text) in expected {
        assert!(texts.contains(&(key, text.to_owned())), "{key}: {texts:?}");
    }
}

/// Keeps the resources that it is told of.
#[derive(Clone, Debug, Default)]
struct Recorder(std::sync::Arc<std::sync::Mutex<Vec<Resource>>>);

impl Recorder {
    fn resources(&self) -> Vec<Resource> {
        self.0.lock().unwrap().clone()
    }
}

impl SpanExporter for Recorder {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.lock().unwrap().push(resource.clone());
    }
}

/// Refuses everything.
#[derive(Clone, Debug)]
struct Broken;

impl SpanExporter for Broken {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        Err(OTelSdkError::InternalFailure(
            "no such collector".to_owned(),
        ))
    }
}

#[test]
fn what_an_exporter_fails_to_send_is_counted_and_said() {
    let (status, lines) = recorded_status();
    let pipeline = Pipeline::builder()
        .exporter("sdk", || {
            SdkExporter::new(|| Ok::<_, std::io::Error>(Broken)).map(SdkExporter::boxed)
        })
        .status(status)
        .build();
    drop(HiqTracer::new(pipeline.clone()).span("lost"));
    let ledger = settled(&pipeline);
    assert_eq!(ledger.dropped[DropReason::ExporterFailed], 1);
    let line = lines.wait_for(|lines| lines.first().cloned());
    assert!(line.contains("no such collector"), "{line}");
}

/// Never answers.
#[derive(Clone, Debug)]
struct Stuck;

impl SpanExporter for Stuck {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        pending().await
    }
}

#[test]
fn an_exporter_that_never_answers_does_not_hold_up_the_exit() {
    let pipeline = pipeline_to(Stuck);
    drop(HiqTracer::new(pipeline.clone()).span("stuck"));
    pipeline.shutdown(Duration::from_millis(200));
    let stats = pipeline.stats();
    let ledger = stats.ledger("sdk").unwrap();
    assert_balances(ledger);
    assert_eq!(ledger.dropped.total(), 1);
}

#[test]
fn a_provider_that_is_shut_down_takes_nothing_more() {
    let pipeline = Pipeline::builder().build();
    let exporter = HiqSpanExporter::new(pipeline);
    assert!(exporter.shutdown().is_ok());
    assert!(matches!(
        exporter.shutdown(),
        Err(OTelSdkError::AlreadyShutdown)
    ));
}
