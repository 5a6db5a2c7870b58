//! A Rust program whose spans become metrics behind a scrape: `cargo run -p hiq-prometheus --example prometheus`
//!
//! Records three checkouts every second, answers scrapes at `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT` (default
//! `http://localhost:9464/metrics`) and ends with its standard input. Start it twice: both are behind one address. Only every
//! tenth trace is recorded for exporters of spans; metrics count all of them.

#![allow(
    clippy::print_stdout,
    reason = "a program that talks to whoever runs it"
)]

use std::io::{BufRead, stdin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use hiq_core::config::{Env, MetricSettings};
use hiq_core::metric::record::{Registry, Spec};
use hiq_core::metric::trees::{TreeMetrics, TreeMetricsOptions};
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::Tracer;
use hiq_core::resource::Resource;
use hiq_core::sample::{RootSampler, Sampler};
use hiq_core::span::Status;
use hiq_core::value::Value;
use hiq_prometheus::{ScrapeGroup, ScrapeOptions, ScrapeSettings};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let env = Env::process();
    let shop = Arc::new(Resource::new([("service.name", Value::from("shop"))]));
    let registry = Registry::of(Arc::clone(&shop));
    let (settings, _) = MetricSettings::from_env(&env);
    let counted = TreeMetrics::new(&registry, TreeMetricsOptions::of(&settings))?;
    let pipeline = Pipeline::builder()
        .resource(shop)
        .sampler(Sampler::new(RootSampler::trace_id_ratio(0.1), true))
        .exporter_before_sampling("metrics", counted.builder())
        .build();
    let settings = ScrapeSettings::new(&ScrapeOptions::default(), &env, &mut Vec::new());
    let group = ScrapeGroup::join(&registry, &settings)?;
    match group.address() {
        Some(address) => println!("http://{address}/metrics"),
        None => println!("behind another process of the shop"),
    }
    work(&Tracer::new(pipeline.clone()), &registry)?;
    pipeline.shutdown(pipeline.shutdown_timeout());
    println!("{}", pipeline.stats());
    Ok(())
}

/// Three checkouts a second, until the standard input ends.
fn work(tracer: &Tracer, registry: &Registry) -> Result<(), Failure> {
    let sizes = Spec::new("shop.cart.size").with_unit("{item}");
    let sizes = registry.exponential_histogram(sizes)?;
    let sizes = sizes.with([("city", "Hà Nội")]);
    let over = end_of_input();
    while over.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        for items in [1, 3, 20] {
            checkout(tracer, items);
            sizes.observe(f64::from(items));
        }
    }
    Ok(())
}

/// A cart of more than ten items cannot be paid.
fn checkout(tracer: &Tracer, items: u32) {
    let _checkout = tracer.span("checkout");
    let mut payment = tracer.span("pay");
    if items > 10 {
        payment.set_status(Status::Error, "the card was refused");
    }
}

fn end_of_input() -> Receiver<()> {
    let (tell, hear) = channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            if line.is_err() {
                break;
            }
        }
        // The program has ended by itself when nobody hears it.
        let _ = tell.send(());
    });
    hear
}
