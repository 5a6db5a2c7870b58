//! Counts, keeps a journal of what it counted, and pushes its metrics where it is told.
//!
//! ```text
//! measure serve [--functions]
//! measure otlp|remote-write|pushgateway|kafka [--histograms] [--one-too-old] [--series N] [--exit SECONDS]
//! ```
//!
//! Addresses come from the environment, as for any program with hiq. On standard output it writes one JSON object: `journal`,
//! each single measurement as the program itself knows it, and `ledger`, what hiq says became of the points; on standard
//! error stands what hiq says to its user. `serve` waits for scrapes until it is killed, and writes `address` in place of
//! `ledger`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings, Settings};
use hiq_core::detect;
use hiq_core::export::Exporter;
use hiq_core::ledger::LedgerSnapshot;
use hiq_core::metric::MetricBatch;
use hiq_core::metric::reader::MetricReader;
use hiq_core::metric::record::{CollectOptions, Registry};
use hiq_core::value::Value;
use hiq_kafka::{KafkaEncoding, KafkaExporter, KafkaOptions, KafkaSettings};
use hiq_otlp::{OtlpMetricsExporter, OtlpMetricsJsonEncoder, OtlpMetricsProtoEncoder};
use hiq_prometheus::{
    PushgatewayExporter, PushgatewayOptions, PushgatewaySettings, RemoteWriteExporter,
    RemoteWriteOptions, RemoteWriteSettings, ScrapeOptions, ScrapeServer, ScrapeSettings,
};
use serde_json::{Value as Json, json};

mod functions;
mod work;

type Failure = Box<dyn std::error::Error>;
type Build = Box<dyn Fn() -> Result<Box<dyn Exporter<MetricBatch>>, String> + Send + Sync>;

fn main() -> Result<(), Failure> {
    let asked = Asked::from_arguments(std::env::args().skip(1))?;
    let env = Env::process();
    let settings = Settings::from_env(&env);
    let own = [("shop.region".to_owned(), Value::from("north"))];
    let registry = Registry::of(Arc::new(detect::resource(&settings.resource, own)));
    if asked.to == "serve" {
        return serve(&registry, &asked, &env);
    }
    let mut collect = CollectOptions::default();
    collect.sketches = asked.histograms;
    let build = exporter(&asked.to, &env)?;
    let reader = MetricReader::builder(registry)
        .exporter(asked.to.as_str(), collect, build)
        .build();
    let journal = work::measure(reader.registry(), &asked)?;
    let report = reader.shutdown(Duration::from_secs(asked.exit_seconds));
    let said = json!({
        "journal": journal,
        "ledger": ledger(&report.exporters()[0].ledger),
    });
    writeln!(std::io::stdout(), "{said}")?;
    Ok(())
}

fn serve(registry: &Registry, asked: &Asked, env: &Env) -> Result<(), Failure> {
    let settings = ScrapeSettings::new(&ScrapeOptions::default(), env, &mut Vec::new());
    let server = ScrapeServer::start(registry, &settings)?;
    let journal = if asked.functions {
        functions::call(registry)?
    } else {
        work::measure(registry, asked)?
    };
    let said = json!({"journal": journal, "address": server.address().to_string()});
    writeln!(std::io::stdout(), "{said}")?;
    loop {
        std::thread::park();
    }
}

/// What the command line says.
#[derive(Debug)]
struct Asked {
    to: String,
    /// Summaries leave as histograms.
    histograms: bool,
    /// One more point, of yesterday.
    one_too_old: bool,
    /// Series of one more counter.
    series: usize,
    /// In place of all else, what hiq counts of functions by itself.
    functions: bool,
    /// Given to the last snapshot.
    exit_seconds: u64,
}

impl Asked {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut asked = Self {
            to: String::new(),
            histograms: false,
            one_too_old: false,
            series: 0,
            functions: false,
            exit_seconds: 20,
        };
        let number = |arguments: &mut dyn Iterator<Item = String>| -> Result<u64, Failure> {
            Ok(arguments.next().ok_or("a number is missing")?.parse()?)
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--histograms" => asked.histograms = true,
                "--functions" => asked.functions = true,
                "--one-too-old" => asked.one_too_old = true,
                "--series" => asked.series = usize::try_from(number(&mut arguments)?)?,
                "--exit" => asked.exit_seconds = number(&mut arguments)?,
                _ => asked.to = argument,
            }
        }
        Ok(asked)
    }
}

fn exporter(to: &str, env: &Env) -> Result<Build, Failure> {
    let mut warnings = Vec::new();
    let proxies = ProxySettings::from_env(env, &mut warnings);
    let text = |error: hiq_core::config::ConfigError| error.to_string();
    Ok(match to {
        "otlp" => {
            let options = OtlpOptions::default();
            let settings = OtlpSettings::for_metrics(&options, env, &mut warnings)?;
            let otlp = OtlpMetricsExporter::new(settings, proxies)?;
            Box::new(move || otlp.build().map_err(text))
        }
        "remote-write" => {
            let options = RemoteWriteOptions::default();
            let settings = RemoteWriteSettings::new(&options, env, &mut warnings)?;
            let write = RemoteWriteExporter::new(settings, proxies)?;
            Box::new(move || write.build().map_err(text))
        }
        "pushgateway" => {
            let mut options = PushgatewayOptions::default();
            options.grouping = vec![("instance".to_owned(), "a/1".to_owned())];
            let settings = PushgatewaySettings::new(&options, env, &mut warnings)?;
            let push = PushgatewayExporter::new(settings, proxies)?;
            Box::new(move || push.build().map_err(text))
        }
        "kafka" => {
            let options = KafkaOptions::default();
            let settings = KafkaSettings::for_metrics(&options, env, &mut warnings)?;
            let is_json = settings.encoding == KafkaEncoding::OtlpJson;
            let kafka = KafkaExporter::new(settings)?;
            if is_json {
                Box::new(move || kafka.build(OtlpMetricsJsonEncoder::new()).map_err(text))
            } else {
                Box::new(move || kafka.build(OtlpMetricsProtoEncoder::new()).map_err(text))
            }
        }
        other => {
            return Err(format!("`{other}`: otlp, remote-write, pushgateway or kafka?").into());
        }
    })
}

fn ledger(ledger: &LedgerSnapshot) -> Json {
    let dropped: serde_json::Map<_, _> = ledger
        .dropped
        .iter()
        .filter(|(_, items)| *items > 0)
        .map(|(reason, items)| (reason.name().to_owned(), items.into()))
        .collect();
    json!({
        "balances": ledger.balances(),
        "offered": ledger.offered,
        "exported": ledger.exported,
        "rejected": ledger.rejected,
        "dropped": dropped,
        "unsettled": ledger.unsettled(),
    })
}
