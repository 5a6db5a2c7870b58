//! `hiq-bench encode|compress|jaeger|zipkin|record|deliver|import|kafka|metrics` measures what its runner asks for; `hiq-bench sink [silent|grpc|kafka]` is the server.

use std::process::ExitCode;

use hiq_bench::{
    compress, deliver, encode, grpc, import, jaeger, kafka, metrics, record, sink, zipkin,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["encode"] => encode::main(),
        ["compress"] => compress::main(),
        ["jaeger"] => jaeger::main(),
        ["zipkin"] => zipkin::main(),
        ["record"] => record::main(),
        ["deliver"] => deliver::main(),
        ["import"] => import::main(),
        ["kafka"] => kafka::main(),
        ["metrics"] => metrics::main(),
        ["sink"] => return sink::main(false).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        ["sink", "silent"] => {
            return sink::main(true).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        ["sink", "grpc"] => {
            return grpc::sink().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        ["sink", "kafka"] => {
            return kafka::broker().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        _ => {
            eprintln!(
                "hiq-bench: give one of encode, compress, jaeger, zipkin, record, deliver, import, kafka, metrics, sink"
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
