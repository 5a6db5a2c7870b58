//! A small HTTP service that traces itself: `cargo run -p hiq-otlp --example rust_service`
//!
//! It answers `GET /price/<item>` on a free port of 127.0.0.1, asks itself a few times as a client would, and sends its spans to
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (default `http://localhost:4318`), or appends them to a file: `-- trace.otlp.jsonl`.
//! With `-- trace.otlp.jsonl --serve` it keeps serving.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to whoever runs it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use hiq_core::config::{Env, OtlpOptions, OtlpSettings, ProxySettings, Settings};
use hiq_core::context::Context;
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::{Key, SpanOptions, Tracer};
use hiq_core::span::{Kind, Status};
use hiq_core::value::Value;
use hiq_otlp::{OtlpExporter, OtlpFileExporter};

type Failure = Box<dyn std::error::Error>;

static METHOD: Key = Key::new("http.request.method");
static PATH: Key = Key::new("url.path");
static STATUS_CODE: Key = Key::new("http.response.status_code");

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (flags, files): (Vec<_>, Vec<_>) = arguments
        .into_iter()
        .partition(|argument| argument == "--serve");
    let tracer = Tracer::with_settings(
        pipeline(files.first())?,
        &Settings::from_env(&Env::process()),
    );
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let server = {
        let tracer = tracer.clone();
        std::thread::spawn(move || serve(&listener, &tracer))
    };
    println!("serving on http://{address}");
    for item in ["apple", "pear", "unknown"] {
        println!("{item}: {}", ask(&tracer, &address, item)?);
    }
    if flags.is_empty() {
        // The request that ends the loop in `serve`.
        TcpStream::connect(&address)?.write_all(b"QUIT / HTTP/1.1\r\n\r\n")?;
    }
    let served = server.join();
    let report = tracer.pipeline().shutdown(Duration::from_secs(5));
    println!("{}", tracer.pipeline().stats());
    if served.is_err() || !report.is_complete() {
        return Err("not everything was delivered; is a collector listening?".into());
    }
    Ok(())
}

/// Exports to a file when one is given, else by OTLP as the environment says.
fn pipeline(file: Option<&String>) -> Result<Pipeline, Failure> {
    let env = Env::process();
    let settings = Settings::from_env(&env);
    let own = [("service.name".to_owned(), Value::from("price-service"))];
    let resource = hiq_core::detect::resource(&settings.resource, own);
    let builder = Pipeline::builder()
        .resource(resource)
        .sampler(settings.sampler)
        .settings(settings.pipeline);
    Ok(match file {
        Some(path) => {
            let exporter = OtlpFileExporter::new(path)?;
            builder.exporter("file", move || exporter.build()).build()
        }
        None => {
            let mut warnings = Vec::new();
            let otlp = OtlpSettings::for_traces(&OtlpOptions::default(), &env, &mut warnings)?;
            let exporter = OtlpExporter::new(otlp, ProxySettings::from_env(&env, &mut warnings))?;
            for warning in &warnings {
                eprintln!("{warning}");
            }
            builder.exporter("otlp", move || exporter.build()).build()
        }
    })
}

/// A thread for each connection, until somebody asks to quit.
fn serve(listener: &TcpListener, tracer: &Tracer) {
    for connection in listener.incoming().flatten() {
        let Ok(request) = Request::read(&connection) else {
            continue;
        };
        if request.method == "QUIT" {
            return;
        }
        let tracer = tracer.clone();
        std::thread::spawn(move || answer(&tracer, &request, connection));
    }
}

/// The server's span hangs under the client's, whose place came in the headers.
fn answer(tracer: &Tracer, request: &Request, mut connection: TcpStream) {
    let parent = Context::extract(|name| request.header(name));
    let mut span = tracer.span_with(
        "GET /price/{item}",
        &SpanOptions::kind(Kind::Server).under(parent.as_ref()),
    );
    span.set_attribute(&METHOD, request.method.as_str())
        .set_attribute(&PATH, request.path.as_str());
    let item = request.path.trim_start_matches("/price/");
    let (code, body) = match price(tracer, item) {
        Ok(cents) => (200, format!("{cents} cents")),
        Err(error) => {
            span.record_error(&error);
            (404, error.to_string())
        }
    };
    span.set_attribute(&STATUS_CODE, code);
    let reply = format!(
        "HTTP/1.1 {code} \r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    if let Err(error) = connection.write_all(reply.as_bytes()) {
        span.record_error(&error);
    }
}

#[derive(Debug)]
struct NoSuchItem(String);

impl std::fmt::Display for NoSuchItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no item is called {}", self.0)
    }
}

impl std::error::Error for NoSuchItem {}

fn price(tracer: &Tracer, item: &str) -> Result<i64, NoSuchItem> {
    let mut span = tracer.span("price");
    span.set_attribute("item", item);
    let prices = [("apple", 30), ("pear", 45)];
    let found = prices.iter().find(|(name, _)| *name == item);
    span.add_event("looked up", &[("found", Value::from(found.is_some()))]);
    match found {
        Some((_, cents)) => Ok(*cents),
        None => {
            span.set_status(Status::Error, "unknown item");
            Err(NoSuchItem(item.to_owned()))
        }
    }
}

/// The client's side: its place travels in the headers.
fn ask(tracer: &Tracer, address: &str, item: &str) -> Result<String, Failure> {
    let mut span = tracer.span_with("GET", &SpanOptions::kind(Kind::Client));
    span.set_attribute("server.address", address);
    let mut headers = String::new();
    if let Some(context) = span.context() {
        context.inject(|name, value| headers += &[name, ": ", &value, "\r\n"].concat());
    }
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(
        format!("GET /price/{item} HTTP/1.1\r\nhost: {address}\r\n{headers}\r\n").as_bytes(),
    )?;
    let mut reply = String::new();
    connection.read_to_string(&mut reply)?;
    let body = reply.split("\r\n\r\n").nth(1).unwrap_or_default();
    Ok(body.to_owned())
}

struct Request {
    method: String,
    path: String,
    headers: Arc<[(String, String)]>,
}

impl Request {
    fn read(connection: &TcpStream) -> std::io::Result<Self> {
        let mut lines = BufReader::new(connection).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut words = first.split(' ').map(str::to_owned);
        let headers = lines
            .map_while(|line| line.ok().filter(|line| !line.is_empty()))
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect();
        let (method, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        Ok(Self {
            method,
            path,
            headers,
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}
