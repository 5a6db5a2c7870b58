//! What a reply means: the only place of Jaeger that decides about trying again.

use hiq_core::encode::Verdict;
use hiq_core::transport::{GrpcReply, HttpReply, Reply, one_line};

/// Judges `reply`, whatever it answers.
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

/// A collector that cannot store answers 500, also when it is only busy; one that cannot read a payload answers 400.
fn judge_http(reply: &HttpReply) -> Verdict {
    let message = http_message(reply);
    match reply.status {
        200..=299 if is_html(reply) => Verdict::Rejected {
            message: format!(
                "{} answered {} with an HTML page: this is no Jaeger collector, or something before it asks for a login",
                reply.asked(),
                reply.status
            ),
        },
        200..=299 => DELIVERED,
        429 | 500..=599 => Verdict::Retry {
            after: reply.retry_after,
            message,
        },
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
        401 | 403 => "check OTEL_EXPORTER_JAEGER_USER and OTEL_EXPORTER_JAEGER_PASSWORD",
        404 | 405 => {
            "Jaeger takes thrift at /api/traces, usually on port 14268: set OTEL_EXPORTER_JAEGER_ENDPOINT to that"
        }
        407 => "put user and password into HTTPS_PROXY",
        415 => "it does not take thrift: is this the collector's port for it, usually 14268?",
        _ => return None,
    })
}

fn judge_grpc(reply: &GrpcReply) -> Verdict {
    let words = one_line(&reply.message);
    let message = format!("the server answered gRPC status {}: {words}", reply.code);
    match reply.code {
        0 => DELIVERED,
        3 => Verdict::Split { message },
        8 if reply.message.contains("larger than max") => Verdict::TooLarge { message },
        12 => Verdict::Rejected {
            message: format!("{message}; is this a Jaeger collector's gRPC port, usually 14250?"),
        },
        16 => Verdict::Unauthorized { message },
        // CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE: collectors name a full
        // queue by any of these.
        1 | 2 | 4 | 8 | 10 | 13 | 14 => Verdict::Retry {
            after: reply.retry_delay,
            message,
        },
        _ => Verdict::Rejected { message },
    }
}

#[cfg(test)]
mod tests;
