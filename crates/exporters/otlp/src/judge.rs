//! What a reply means: the only place of OTLP that decides about trying again.

use std::fmt::Write as _;

use hiq_core::encode::{Encoding, Verdict};
use hiq_core::judge::usual_advice;
use hiq_core::transport::{GrpcReply, HttpReply, Reply, one_line};

mod response;

use crate::signal::Signal;
use response::{Form, Response};

/// Judges `reply` to a payload of `items` items of `signal` in `encoding`.
pub(crate) fn judge(reply: &Reply, items: usize, encoding: Encoding, signal: &Signal) -> Verdict {
    match reply {
        Reply::Http(reply) => judge_http(reply, items, encoding, signal),
        Reply::Grpc(reply) => judge_grpc(reply, items, signal),
        Reply::Acknowledged => delivered(Response::default(), items),
        _ => Verdict::SentUnconfirmed,
    }
}

fn judge_http(reply: &HttpReply, items: usize, encoding: Encoding, signal: &Signal) -> Verdict {
    let message = || http_message(reply, encoding, signal);
    match reply.status {
        200..=299 => judge_success(reply, items, encoding, signal),
        429 | 502 | 503 | 504 => Verdict::Retry {
            after: reply.retry_after,
            message: message(),
        },
        413 => Verdict::TooLarge { message: message() },
        401 => Verdict::Unauthorized { message: message() },
        _ => Verdict::Rejected { message: message() },
    }
}

/// A login page or a proxy's greeting is no success, whatever its status: it would hide that everything is lost.
fn judge_success(reply: &HttpReply, items: usize, encoding: Encoding, signal: &Signal) -> Verdict {
    if reply.body.is_empty() {
        return delivered(Response::default(), items);
    }
    let Some(form) = Form::of(reply, encoding) else {
        return Verdict::Rejected {
            message: not_otlp(reply),
        };
    };
    match Response::parse(&reply.body, form) {
        Ok(response) => delivered(response, items),
        Err(problem) => Verdict::Delivered {
            rejected: 0,
            message: Some(format!(
                "{} answered {}, but its body is no OTLP response ({problem}); the {} count as delivered",
                reply.asked(),
                reply.status,
                signal.items
            )),
        },
    }
}

fn delivered(response: Response, items: usize) -> Verdict {
    let rejected = usize::try_from(response.rejected).unwrap_or(0).min(items);
    let words = Some(one_line(&response.message)).filter(|words| !words.is_empty());
    let silence = (rejected > 0).then(|| "it gave no reason".to_owned());
    Verdict::Delivered {
        rejected,
        message: words.or(silence),
    }
}

fn not_otlp(reply: &HttpReply) -> String {
    let what = match reply.content_type.as_str() {
        "text/html" => "an HTML page",
        "" => "a page without a content type",
        other => other,
    };
    format!(
        "{} answered {} with {what}, not with an OTLP response: this is no OTLP endpoint, or something before it asks for a login",
        reply.asked(),
        reply.status
    )
}

fn http_message(reply: &HttpReply, encoding: Encoding, signal: &Signal) -> String {
    let words = response::words(reply, encoding).unwrap_or_default();
    let mut message = reply.said(&words);
    if let Some(advice) = advice(reply, encoding, signal) {
        let _ = write!(message, "; {advice}");
    }
    message
}

/// What the user can do about it.
fn advice(reply: &HttpReply, encoding: Encoding, signal: &Signal) -> Option<String> {
    Some(match reply.status {
        401 | 403 => "check the credentials in OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
        404 | 405 => advice_on_path(&reply.url, signal),
        415 => format!(
            "it does not take {}: try the other of http/protobuf and http/json",
            encoding.content_type
        ),
        _ => usual_advice(reply)?.to_owned(),
    })
}

fn advice_on_path(url: &str, signal: &Signal) -> String {
    if url.ends_with(signal.path) {
        return "is this an OTLP server with its HTTP receiver on (usually port 4318)?".to_owned();
    }
    format!(
        "OTLP is usually served at {}: set OTEL_EXPORTER_OTLP_ENDPOINT to the server's base address, to which that is added, \
         or {} to the whole one",
        signal.path, signal.endpoint_variable
    )
}

fn judge_grpc(reply: &GrpcReply, items: usize, signal: &Signal) -> Verdict {
    let message = || grpc_message(reply);
    match reply.code {
        0 => judge_grpc_success(reply, items, signal),
        _ if reply.says_too_large() => Verdict::TooLarge { message: message() },
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
        1 | 4 | 10 | 11 | 14 | 15 => Verdict::Retry {
            after: reply.retry_delay,
            message: message(),
        },
        // RESOURCE_EXHAUSTED: worth another attempt only where the server says when.
        8 if reply.retry_delay.is_some() => Verdict::Retry {
            after: reply.retry_delay,
            message: message(),
        },
        16 => Verdict::Unauthorized { message: message() },
        _ => Verdict::Rejected { message: message() },
    }
}

fn judge_grpc_success(reply: &GrpcReply, items: usize, signal: &Signal) -> Verdict {
    match Response::parse(&reply.body, Form::Proto) {
        Ok(response) => delivered(response, items),
        Err(problem) => Verdict::Delivered {
            rejected: 0,
            message: Some(format!(
                "{} answered OK, but not with an OTLP response ({problem}); the {} count as delivered",
                reply.asked(),
                signal.items
            )),
        },
    }
}

fn grpc_message(reply: &GrpcReply) -> String {
    let mut message = reply.said();
    let advice = match reply.code {
        7 | 16 => "check the credentials in OTEL_EXPORTER_OTLP_HEADERS",
        12 if reply.message.contains("gzip") => {
            "it takes no gzip: unset OTEL_EXPORTER_OTLP_COMPRESSION"
        }
        12 => "is this an OTLP server with its gRPC receiver on (usually port 4317)?",
        _ => return message,
    };
    let _ = write!(message, "; {advice}");
    message
}

#[cfg(test)]
mod tests;
