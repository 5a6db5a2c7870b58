//! What a server's reply means: the usual, and what to do about it.

use hiq_core::judge::Judge;
use hiq_core::transport::HttpReply;

/// Servers answer 500 also when they are only busy, and 400 for a payload of which one span is bad.
pub(crate) const JUDGE: Judge = Judge::of("Zipkin server").splits().advises_http(advice);

fn advice(reply: &HttpReply) -> Option<&'static str> {
    Some(match reply.status {
        401 | 403 => "check the credentials in the exporter's headers",
        404 | 405 => {
            "Zipkin takes spans at /api/v2/spans (v1: /api/v1/spans), usually on port 9411: set OTEL_EXPORTER_ZIPKIN_ENDPOINT to that"
        }
        415 => "it does not take this format: try another of v2, v1 and proto",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
