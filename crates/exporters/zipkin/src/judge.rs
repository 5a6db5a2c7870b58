//! What a reply means: the only place of Zipkin that decides about trying again.

use hiq_core::encode::Verdict;
use hiq_core::transport::{GrpcReply, HttpReply, Reply, one_line};

/// Judges `reply` to a payload of `items` spans.
pub(crate) fn judge(reply: &Reply) -> Verdict {
    match reply {
        Reply::Http(reply) => judge_http(reply),
        Reply::Grpc(reply) => judge_grpc(reply),
        Reply::Acknowledged => DELIVERED,
        _ => Verdict::SentUnconfirmed,
    }
}

const DELIVERED: Verdict = Verdict::Delivered {
    rejected: 0,
    message: None,
};

/// Servers answer 500 also when they are only busy, and 400 for a payload of which one span is bad.
fn judge_http(reply: &HttpReply) -> Verdict {
    let message = http_message(reply);
    match reply.status {
        200..=299 if is_html(reply) => Verdict::Rejected {
            message: format!(
                "{} answered {} with an HTML page: this is no Zipkin server, or something before it asks for a login",
                reply.asked(),
                reply.status
            ),
        },
        200..=299 => DELIVERED,
        429 | 500..=599 => Verdict::Retry {
            after: reply.retry_after,
            message,
        },
        // Halving would not help: no payload of ours is right for this port.
        400 if speaks_tls(reply) => Verdict::Rejected { message },
        400 => Verdict::Split { message },
        413 => Verdict::TooLarge { message },
        401 => Verdict::Unauthorized { message },
        _ => Verdict::Rejected { message },
    }
}

/// A login page or a proxy's greeting is no success, whatever its status: it would hide that every span is lost.
fn is_html(reply: &HttpReply) -> bool {
    reply.content_type == "text/html" || reply.body.trim_ascii_start().starts_with(b"<")
}

/// `Client sent an HTTP request to an HTTPS server.` and its like.
fn speaks_tls(reply: &HttpReply) -> bool {
    let words = reply.body.to_ascii_lowercase();
    words.windows(5).any(|window| window == b"https")
}

fn http_message(reply: &HttpReply) -> String {
    let words = if is_html(reply) {
        "an HTML page".into()
    } else {
        String::from_utf8_lossy(&reply.body)
    };
    let said = reply.said(&words);
    match advice(reply) {
        Some(advice) => format!("{said}; {advice}"),
        None => said,
    }
}

/// What the user can do about it.
fn advice(reply: &HttpReply) -> Option<&'static str> {
    Some(match reply.status {
        300..=399 => "redirects are not followed: set the endpoint to the final address",
        400 if speaks_tls(reply) => "the port seems to speak TLS: write the endpoint with https://",
        401 | 403 => "check the credentials in the exporter's headers",
        404 | 405 => {
            "Zipkin takes spans at /api/v2/spans (v1: /api/v1/spans), usually on port 9411: set OTEL_EXPORTER_ZIPKIN_ENDPOINT to that"
        }
        407 => "put user and password into HTTPS_PROXY",
        415 => "it does not take this format: try another of v2, v1 and proto",
        _ => return None,
    })
}

/// `zipkin.proto3.SpanService` and brokers in between.
fn judge_grpc(reply: &GrpcReply) -> Verdict {
    let words = one_line(&reply.message);
    let message = format!("the server answered gRPC status {}: {words}", reply.code);
    match reply.code {
        0 => DELIVERED,
        3 => Verdict::Split { message },
        8 if reply.message.contains("larger than max") => Verdict::TooLarge { message },
        16 => Verdict::Unauthorized { message },
        1 | 2 | 4 | 8 | 10 | 13 | 14 => Verdict::Retry {
            after: reply.retry_delay,
            message,
        },
        _ => Verdict::Rejected { message },
    }
}

#[cfg(test)]
mod tests;
