//! A Rust program whose spans go to Kafka: `cargo run -p hiq-kafka --example kafka`
//!
//! The exporter knows no format: the encoder is handed in, here OTLP's. Where the brokers are and how to log in, `HIQ_KAFKA_*` say. Prints
//! what became of the spans: each counts as exported once the broker has acknowledged its message.

#![allow(
    clippy::print_stdout,
    reason = "a program that talks to whoever runs it"
)]

use std::time::Duration;

use hiq_core::config::{Env, Settings};
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::{Key, Tracer};
use hiq_core::value::Value;
use hiq_kafka::{KafkaExporter, KafkaOptions, KafkaSettings};
use hiq_otlp::OtlpProtoEncoder;

static NUMBER: Key = Key::new("basket.number");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let env = Env::process();
    let settings = Settings::from_env(&env);
    let kafka = KafkaSettings::new(&KafkaOptions::default(), &env, &mut Vec::new())?;
    let exporter = KafkaExporter::new(kafka)?.with_pipeline_settings(&settings.pipeline);
    println!("sending to {}", exporter.target());
    let own = [("service.name".to_owned(), Value::from("orchard"))];
    let pipeline = Pipeline::builder()
        .resource(hiq_core::detect::resource(&settings.resource, own))
        .settings(settings.pipeline.clone())
        .exporter("kafka", move || exporter.build(OtlpProtoEncoder::new()))
        .build();
    let tracer = Tracer::with_settings(pipeline, &settings);
    for basket in 0..10_i64 {
        let mut pick = tracer.span("pick");
        pick.set_attribute(&NUMBER, basket);
        drop(tracer.span("weigh"));
    }
    let report = tracer.pipeline().shutdown(Duration::from_secs(20));
    println!("{}", tracer.pipeline().stats());
    if !report.is_complete() {
        return Err("not everything was delivered; is the broker running?".into());
    }
    Ok(())
}
