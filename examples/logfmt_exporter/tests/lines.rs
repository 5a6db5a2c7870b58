//! The exporter in a pipeline, read by a program that takes lines.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::time::Duration;

use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::Tracer;
use hiq_core::resource::Resource;
use hiq_core::span::Status;
use hiq_core::value::Value;
use logfmt_exporter::LogfmtExporter;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn spans_arrive_as_lines_and_the_ledger_balances() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let logfmt = LogfmtExporter::new(&listener.local_addr().unwrap().to_string()).unwrap();
    let pipeline = Pipeline::builder()
        .resource(Resource::new([("service.name", Value::from("till"))]))
        .exporter("logfmt", move || logfmt.build())
        .build();
    let tracer = Tracer::new(pipeline.clone());
    let trace_id = {
        let mut order = tracer.span("an order");
        order.set_attribute("items", 3_i64);
        let mut pay = tracer.span("pay");
        pay.set_status(Status::Error, "declined");
        drop(pay);
        order.context().unwrap().trace_id.to_string()
    };
    assert!(pipeline.shutdown(PATIENCE).is_complete());
    let (connection, _) = listener.accept().unwrap();
    let lines: Vec<String> = BufReader::new(connection)
        .lines()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with(&format!("trace_id={trace_id} ")))
    );
    assert!(
        lines[0].contains(r#"service=till name="an order" duration_ns="#),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with(" items=3"), "{}", lines[0]);
    assert!(
        lines[1].contains(" name=pay ") && lines[1].ends_with(" error=true"),
        "{}",
        lines[1]
    );
    let stats = pipeline.stats();
    let ledger = stats.ledger("logfmt").unwrap();
    assert!(ledger.balances());
    assert_eq!(ledger.sent_unconfirmed, 2);
}

#[test]
fn an_address_that_is_none_is_refused() {
    let error = LogfmtExporter::new("nowhere").unwrap_err().to_string();
    assert!(error.contains("`nowhere` is no address"), "{error}");
    assert!(error.contains("write it as 127.0.0.1:5170"), "{error}");
}
