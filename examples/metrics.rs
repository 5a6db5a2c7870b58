//! Metrics for Prometheus: `cargo run -p hiq-prometheus --example metrics`
//!
//! Takes a hundred orders and counts them. Prometheus may scrape <http://localhost:9464/metrics> until Enter is pressed; where
//! `HIQ_REMOTE_WRITE_ENDPOINT` names a server, they are written there as well, every minute and at the end.

#![allow(
    clippy::print_stdout,
    reason = "a program that talks to whoever runs it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::config::{Env, ProxySettings, Settings};
use hiq_core::detect;
use hiq_core::metric::reader::MetricReader;
use hiq_core::metric::record::{CollectOptions, Registry, Spec};
use hiq_core::value::Value;
use hiq_prometheus::{
    RemoteWriteExporter, RemoteWriteOptions, RemoteWriteSettings, ScrapeOptions, ScrapeServer,
    ScrapeSettings,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let env = Env::process();
    let own = [("service.name".to_owned(), Value::from("orders"))];
    let resource = detect::resource(&Settings::from_env(&env).resource, own);
    let registry = Registry::of(Arc::new(resource));
    let settings = ScrapeSettings::new(&ScrapeOptions::default(), &env, &mut Vec::new());
    let server = ScrapeServer::start(&registry, &settings)?;
    let reader = reader(&registry, &env)?;
    take_orders(&registry)?;
    println!("http://{}/metrics; Enter ends", server.address());
    std::io::stdin().read_line(&mut String::new())?;
    let report = reader.shutdown(Duration::from_secs(5));
    println!("{}", reader.stats());
    if report.is_complete() {
        Ok(())
    } else {
        Err("not everything was delivered; does the server take remote write?".into())
    }
}

/// Writes to where `env` says, if it says so.
fn reader(registry: &Registry, env: &Env) -> Result<MetricReader, Failure> {
    let mut reader = MetricReader::builder(registry.clone());
    if env.text("HIQ_REMOTE_WRITE_ENDPOINT").is_some() {
        let mut warnings = Vec::new();
        let settings =
            RemoteWriteSettings::new(&RemoteWriteOptions::default(), env, &mut warnings)?;
        let proxies = ProxySettings::from_env(env, &mut warnings);
        let write = RemoteWriteExporter::new(settings, proxies)?;
        for warning in warnings {
            println!("{warning}");
        }
        println!("writing to {}", write.target());
        let collect = CollectOptions::default();
        reader = reader.exporter("remote write", collect, move || write.build());
    }
    Ok(reader.build())
}

fn take_orders(registry: &Registry) -> Result<(), Failure> {
    let orders = registry.counter(Spec::new("orders").with_unit("{order}"))?;
    let duration = registry.summary(Spec::new("orders.duration").with_unit("s"))?;
    let duration = duration.plain();
    for number in 0..100_u32 {
        let began = Instant::now();
        let city = if number % 4 == 0 {
            "Huế"
        } else {
            "Hà Nội"
        };
        orders.with([("city", city)]).add(1);
        duration.observe(began.elapsed().as_secs_f64());
    }
    Ok(())
}
