//! What a collector's reply means: the usual, and what to do about it.

use hiq_core::judge::Judge;
use hiq_core::transport::{GrpcReply, HttpReply};

/// A collector that cannot store answers 500, also when it is only busy; one that cannot read a payload answers 400.
pub(crate) const JUDGE: Judge = Judge::of("Jaeger collector")
    .splits()
    .advises_http(http_advice)
    .advises_grpc(grpc_advice);

fn http_advice(reply: &HttpReply) -> Option<&'static str> {
    Some(match reply.status {
        401 | 403 => "check OTEL_EXPORTER_JAEGER_USER and OTEL_EXPORTER_JAEGER_PASSWORD",
        404 | 405 => {
            "Jaeger takes thrift at /api/traces, usually on port 14268: set OTEL_EXPORTER_JAEGER_ENDPOINT to that"
        }
        415 => "it does not take thrift: is this the collector's port for it, usually 14268?",
        _ => return None,
    })
}

fn grpc_advice(reply: &GrpcReply) -> Option<&'static str> {
    Some(match reply.code {
        7 | 16 => "check OTEL_EXPORTER_JAEGER_USER and OTEL_EXPORTER_JAEGER_PASSWORD",
        12 => "is this a Jaeger collector's gRPC port, usually 14250?",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
