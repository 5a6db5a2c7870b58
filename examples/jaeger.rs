//! A Rust program whose spans go to Jaeger: `cargo run -p hiq-jaeger --example jaeger`
//!
//! The protocol is an argument: `-- udp/thrift.compact`, `-- udp/thrift.binary`, `-- http/thrift.binary` or `-- grpc`; without it, and for
//! the addresses, `OTEL_EXPORTER_JAEGER_*` decide. Prints where to look for the trace and what became of the spans; those sent by
//! UDP are never confirmed.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to whoever runs it"
)]

use std::time::Duration;

use hiq_core::config::{Env, ProxySettings, Settings};
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::{Key, SpanOptions, Tracer};
use hiq_core::span::{Kind, Status};
use hiq_core::value::Value;
use hiq_jaeger::{JaegerExporter, JaegerOptions, JaegerSettings};

type Failure = Box<dyn std::error::Error>;

static LITRES: Key = Key::new("batch.litres");

fn main() -> Result<(), Failure> {
    let env = Env::process();
    let settings = Settings::from_env(&env);
    let exporter = exporter(&env)?.with_pipeline_settings(&settings.pipeline);
    println!("sending to {}", exporter.target());
    let own = [("service.name".to_owned(), Value::from("brewery"))];
    let pipeline = Pipeline::builder()
        .resource(hiq_core::detect::resource(&settings.resource, own))
        .settings(settings.pipeline.clone())
        .exporter("jaeger", move || exporter.build())
        .build();
    let tracer = Tracer::with_settings(pipeline, &settings);
    let trace_id = brew(&tracer);
    println!("look for it at http://localhost:16686/trace/{trace_id}");
    let report = tracer.pipeline().shutdown(Duration::from_secs(5));
    println!("{}", tracer.pipeline().stats());
    if !report.is_complete() {
        return Err("not everything was delivered; is Jaeger listening?".into());
    }
    Ok(())
}

fn exporter(env: &Env) -> Result<JaegerExporter, Failure> {
    let mut options = JaegerOptions::default();
    if let Some(protocol) = std::env::args().nth(1) {
        options.protocol = Some(protocol.parse()?);
    }
    let mut warnings = Vec::new();
    let settings = JaegerSettings::new(&options, env, &mut warnings)?;
    let exporter = JaegerExporter::new(settings, ProxySettings::from_env(env, &mut warnings))?;
    for warning in &warnings {
        eprintln!("{warning}");
    }
    Ok(exporter)
}

/// One batch of beer, in three steps, the last of which fails.
fn brew(tracer: &Tracer) -> String {
    let mut batch = tracer.span_with("brew", &SpanOptions::kind(Kind::Consumer));
    batch.set_attribute(&LITRES, 400_i64);
    for step in ["mash", "boil", "ferment"] {
        let mut span = tracer.span(step);
        if step == "ferment" {
            span.add_event("yeast pitched", &[("grams", Value::from(200_i64))]);
            span.set_status(Status::Error, "too warm");
        }
    }
    let context = batch.context();
    context.map_or_else(String::new, |context| context.trace_id.to_string())
}
