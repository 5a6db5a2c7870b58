//! Spans of the OpenTelemetry SDK by hiq: `cargo run -p hiq-opentelemetry --example opentelemetry_sdk`
//!
//! Sends them over OTLP/HTTP to `OTEL_EXPORTER_OTLP_ENDPOINT` (default `http://localhost:4318`) twice, so that both can be
//! compared there: through a hiq pipeline, and by `opentelemetry-otlp`.

#![allow(
    clippy::print_stdout,
    reason = "a program that talks to whoever runs it"
)]

use std::time::{Duration, SystemTime};

use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings};
use hiq_core::pipeline::Pipeline;
use hiq_opentelemetry::HiqSpanExporter;
use hiq_otlp::OtlpExporter;
use opentelemetry::trace::{
    Event, Link, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::SdkTracerProvider;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // For their client: of two users of `reqwest`, hiq brings a provider of its own along, and they none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pipeline = pipeline(&Env::process())?;
    let theirs = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(HiqSpanExporter::new(pipeline.clone()))
        .with_simple_exporter(theirs)
        .build();
    order(&provider)?;
    provider.shutdown()?;
    let report = pipeline.shutdown(Duration::from_secs(5));
    println!("{}", pipeline.stats());
    if report.is_complete() {
        Ok(())
    } else {
        Err("not everything was delivered; is a collector listening?".into())
    }
}

fn pipeline(env: &Env) -> Result<Pipeline, Failure> {
    let mut warnings = Vec::new();
    let settings = OtlpSettings::for_traces(&OtlpOptions::default(), env, &mut warnings)?;
    let proxies = ProxySettings::from_env(env, &mut warnings);
    let exporter = OtlpExporter::new(settings, proxies)?;
    Ok(Pipeline::builder()
        .exporter("otlp", move || exporter.build())
        .build())
}

/// An order on a caller's trace, with all that the SDK lets spans carry.
fn order(provider: &SdkTracerProvider) -> Result<(), Failure> {
    let scope = InstrumentationScope::builder("shop")
        .with_version("1.2")
        .with_attributes([KeyValue::new("team", "orders")])
        .build();
    let tracer = provider.tracer_with_scope(scope);
    let caller = caller()?;
    let above = Context::new().with_remote_span_context(caller.clone());
    let mut order = SpanBuilder::from_name("order").with_kind(SpanKind::Server);
    order.attributes = Some(attributes());
    order.links = Some(vec![Link::new(
        caller,
        vec![KeyValue::new("why", "queued")],
        0,
    )]);
    let looked_up = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    let event = Event::new("cache", looked_up, vec![KeyValue::new("hit", false)], 0);
    order.events = Some(vec![event]);
    let inside = above.with_span(tracer.build_with_context(order, &above));
    for (name, kind, status) in [
        (
            "check stock",
            SpanKind::Client,
            Status::error("out of stock"),
        ),
        ("charge card", SpanKind::Producer, Status::Ok),
        ("print receipt", SpanKind::Internal, Status::Unset),
    ] {
        let span = SpanBuilder::from_name(name).with_kind(kind);
        let child = tracer.build_with_context(span, &inside);
        let child = Context::new().with_span(child);
        child.span().set_status(status);
    }
    Ok(())
}

/// Who asks for the order.
fn caller() -> Result<SpanContext, Failure> {
    let trace_id = TraceId::from_bytes(hiq_core::id::TraceId::random().0);
    let state = TraceState::from_key_value([("vendor", "1"), ("other", "2")])?;
    let span_id = SpanId::from_bytes([7; 8]);
    Ok(SpanContext::new(
        trace_id,
        span_id,
        TraceFlags::SAMPLED,
        true,
        state,
    ))
}

fn attributes() -> Vec<KeyValue> {
    let texts = vec![StringValue::from("a"), StringValue::from("b")];
    vec![
        KeyValue::new("text", "\u{e4}\"\n"),
        KeyValue::new("integer", i64::MIN),
        KeyValue::new("double", -0.25),
        KeyValue::new("truth", true),
        KeyValue::new("texts", Value::Array(Array::String(texts))),
        KeyValue::new("integers", Value::Array(Array::I64(vec![1, -2]))),
        KeyValue::new("doubles", Value::Array(Array::F64(vec![0.5]))),
        KeyValue::new("truths", Value::Array(Array::Bool(vec![true, false]))),
    ]
}
