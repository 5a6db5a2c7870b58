//! Spans over OTLP/gRPC: `cargo run -p hiq-otlp --example otlp_grpc`
//!
//! Sends to `OTEL_EXPORTER_OTLP_ENDPOINT` (default `http://localhost:4317`) and says what became of every span. Headers,
//! certificates, gzip and proxies come from the usual variables; anything can be set in code instead, as the timeout is here.

#![allow(
    clippy::print_stdout,
    reason = "a program that talks to whoever runs it"
)]

use std::time::Duration;

use hiq_core::config::{Env, OtlpOptions, OtlpSettings, Protocol, ProxySettings, Settings};
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::{Key, Tracer};
use hiq_core::value::Value;
use hiq_otlp::OtlpExporter;

type Failure = Box<dyn std::error::Error>;

static NUMBER: Key = Key::new("order.number");

fn main() -> Result<(), Failure> {
    run(&Env::process())
}

/// Sends ten orders to where `env` says.
pub(crate) fn run(env: &Env) -> Result<(), Failure> {
    let settings = Settings::from_env(env);
    let tracer = Tracer::with_settings(pipeline(env, &settings)?, &settings);
    for number in 0..10 {
        order(&tracer, number);
    }
    let report = tracer.pipeline().shutdown(Duration::from_secs(5));
    println!("{}", tracer.pipeline().stats());
    if report.is_complete() {
        Ok(())
    } else {
        Err("not everything was delivered; is a collector listening?".into())
    }
}

fn pipeline(env: &Env, settings: &Settings) -> Result<Pipeline, Failure> {
    let mut options = OtlpOptions::default();
    options.protocol = Some(Protocol::Grpc);
    options.timeout = Some(Duration::from_secs(3));
    let mut warnings = Vec::new();
    let otlp = OtlpSettings::for_traces(&options, env, &mut warnings)?;
    let proxies = ProxySettings::from_env(env, &mut warnings);
    let exporter = OtlpExporter::new(otlp, proxies)?.with_pipeline_settings(&settings.pipeline);
    for warning in warnings {
        println!("{warning}");
    }
    println!("sending to {}", exporter.target());
    let own = [("service.name".to_owned(), Value::from("orders"))];
    Ok(Pipeline::builder()
        .resource(hiq_core::detect::resource(&settings.resource, own))
        .settings(settings.pipeline.clone())
        .exporter("otlp", move || exporter.build())
        .build())
}

/// An order is a trace: a root with two steps below.
fn order(tracer: &Tracer, number: i64) {
    let mut order = tracer.span("order");
    order.set_attribute(&NUMBER, number);
    for step in ["check stock", "charge card"] {
        let _until_here = tracer.span(step);
    }
}
