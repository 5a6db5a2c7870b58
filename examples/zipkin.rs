//! A Rust program whose spans go to Zipkin: `cargo run -p hiq-zipkin --example zipkin`
//!
//! Sends to `OTEL_EXPORTER_ZIPKIN_ENDPOINT` (default `http://localhost:9411/api/v2/spans`); the format is an argument: `-- v2`
//! (default), `-- v1` or `-- proto`. Prints the trace id to look for and what became of the spans.

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
use hiq_zipkin::{ZipkinExporter, ZipkinOptions, ZipkinSettings};

type Failure = Box<dyn std::error::Error>;

static PEER: Key = Key::new("peer.service");
static ITEMS: Key = Key::new("cart.items");

fn main() -> Result<(), Failure> {
    let env = Env::process();
    let settings = Settings::from_env(&env);
    let tracer = Tracer::with_settings(pipeline(&env, &settings)?, &settings);
    println!("trace {}", checkout(&tracer, 3));
    let report = tracer.pipeline().shutdown(Duration::from_secs(5));
    println!("{}", tracer.pipeline().stats());
    if !report.is_complete() {
        return Err("not everything was delivered; is a Zipkin server listening?".into());
    }
    Ok(())
}

fn pipeline(env: &Env, settings: &Settings) -> Result<Pipeline, Failure> {
    let mut options = ZipkinOptions::default();
    options.format = match std::env::args().nth(1) {
        Some(format) => Some(format.parse()?),
        None => None,
    };
    let mut warnings = Vec::new();
    let zipkin = ZipkinSettings::new(&options, env, &mut warnings)?;
    let proxies = ProxySettings::from_env(env, &mut warnings);
    let exporter = ZipkinExporter::new(zipkin, proxies)?.with_pipeline_settings(&settings.pipeline);
    for warning in &warnings {
        eprintln!("{warning}");
    }
    println!("sending to {}", exporter.target());
    let own = [("service.name".to_owned(), Value::from("checkout"))];
    Ok(Pipeline::builder()
        .resource(hiq_core::detect::resource(&settings.resource, own))
        .settings(settings.pipeline.clone())
        .exporter("zipkin", move || exporter.build())
        .build())
}

/// Handles a request, asks another service, fails to reach a third.
fn checkout(tracer: &Tracer, items: i64) -> String {
    let mut request = tracer.span_with("POST /checkout", &SpanOptions::kind(Kind::Server));
    request.set_attribute(&ITEMS, items);
    {
        let mut payment = tracer.span_with("charge", &SpanOptions::kind(Kind::Client));
        payment.set_attribute(&PEER, "payment");
        payment.add_event("answered", &[("attempts", Value::from(2_i64))]);
    }
    {
        let mut mail = tracer.span_with("send receipt", &SpanOptions::kind(Kind::Producer));
        mail.set_attribute(&PEER, "mail-queue");
        mail.set_status(Status::Error, "queue is full");
    }
    let context = request.context();
    context.map_or_else(String::new, |context| context.trace_id.to_string())
}
