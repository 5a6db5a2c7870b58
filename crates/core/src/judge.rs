//! What replies mean to backends that have no rules of their own about trying again: one [`Judge`] for all of them, and what
//! each format's crate adds to it.
//!
//! OTLP lists the answers that are worth another attempt, and judges by itself. Zipkin, Jaeger, Prometheus' remote write and
//! OCI list none; their servers answer 500 also when they are only busy.
//!
//! | HTTP | gRPC | verdict |
//! |---|---|---|
//! | 200 to 299 | 0 | delivered; with an HTML page, rejected |
//! | 429, 500 to 599 | 1, 2, 4, 8, 10, 13, 14 | again, after `Retry-After` or `RetryInfo` |
//! | 413 | 8, 11 in words about size | too large |
//! | 400 | 3 | rejected; halved where [`Judge::splits`] |
//! | 401 | 16 | unauthorized |
//! | any other | any other | rejected |

use crate::encode::Verdict;
use crate::transport::{GrpcReply, HttpReply, Reply};

/// Judges the replies of one kind of server.
///
/// ```
/// use hiq_core::encode::Verdict;
/// use hiq_core::judge::Judge;
/// use hiq_core::transport::{HttpReply, Reply};
///
/// const LOKI: Judge = Judge::of("Loki server")
///     .splits()
///     .advises_http(|reply| (reply.status == 404).then_some("Loki takes lines at /loki/api/v1/push"));
///
/// let busy = LOKI.judge(&Reply::Http(HttpReply::new(503)));
/// assert!(matches!(busy, Verdict::Retry { .. }));
/// let message = "the server answered 404 not found; Loki takes lines at /loki/api/v1/push".to_owned();
/// let lost = LOKI.judge(&Reply::Http(HttpReply::new(404)));
/// assert_eq!(lost, Verdict::Rejected { message });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    server: &'static str,
    splits: bool,
    http_advice: fn(&HttpReply) -> Option<&'static str>,
    grpc_advice: fn(&GrpcReply) -> Option<&'static str>,
}

impl Judge {
    /// Of the replies of a `server`, a name for messages without an article: `Zipkin server`. A bad request is final, and
    /// there is no advice but [`usual_advice`].
    pub const fn of(server: &'static str) -> Self {
        Self {
            server,
            splits: false,
            http_advice: |_| None,
            grpc_advice: |_| None,
        }
    }

    /// One bad item makes the server refuse the whole payload as a bad request, so that halving finds it.
    #[must_use]
    pub const fn splits(mut self) -> Self {
        self.splits = true;
        self
    }

    /// What the user can do about a reply, where this knows more than [`usual_advice`], which it beats.
    #[must_use]
    pub const fn advises_http(mut self, advice: fn(&HttpReply) -> Option<&'static str>) -> Self {
        self.http_advice = advice;
        self
    }

    /// What the user can do about a status of a call.
    #[must_use]
    pub const fn advises_grpc(mut self, advice: fn(&GrpcReply) -> Option<&'static str>) -> Self {
        self.grpc_advice = advice;
        self
    }

    /// Decides what `reply` means. Its message names who answered, what, in the server's words, and the advice.
    pub fn judge(&self, reply: &Reply) -> Verdict {
        match reply {
            Reply::Http(reply) => self.judge_http(reply),
            Reply::Grpc(reply) => self.judge_grpc(reply),
            Reply::Acknowledged => DELIVERED,
            Reply::Unconfirmed => Verdict::SentUnconfirmed,
        }
    }

    fn judge_http(&self, reply: &HttpReply) -> Verdict {
        let message = || self.http_message(reply);
        match reply.status {
            200..=299 if is_html(reply) => Verdict::Rejected {
                message: self.not_the_server(reply),
            },
            200..=299 => DELIVERED,
            429 | 500..=599 => Verdict::Retry {
                after: reply.retry_after,
                message: message(),
            },
            // Halving would not help: no payload of ours is right for a port that expects TLS.
            400 if self.splits && !expects_tls(reply) => Verdict::Split { message: message() },
            413 => Verdict::TooLarge { message: message() },
            401 => Verdict::Unauthorized { message: message() },
            _ => Verdict::Rejected { message: message() },
        }
    }

    fn not_the_server(&self, reply: &HttpReply) -> String {
        format!(
            "{} answered {} with an HTML page: this is no {}, or something before it asks for a login",
            reply.asked(),
            reply.status,
            self.server
        )
    }

    fn http_message(&self, reply: &HttpReply) -> String {
        let words = if is_html(reply) {
            "an HTML page".into()
        } else {
            String::from_utf8_lossy(&reply.body)
        };
        let advice = (self.http_advice)(reply).or_else(|| usual_advice(reply));
        with_advice(reply.said(&words), advice)
    }

    fn judge_grpc(&self, reply: &GrpcReply) -> Verdict {
        let message = || with_advice(reply.said(), (self.grpc_advice)(reply));
        match reply.code {
            0 => DELIVERED,
            3 if self.splits => Verdict::Split { message: message() },
            _ if reply.says_too_large() => Verdict::TooLarge { message: message() },
            16 => Verdict::Unauthorized { message: message() },
            // CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE: servers name a full
            // queue by any of these.
            1 | 2 | 4 | 8 | 10 | 13 | 14 => Verdict::Retry {
                after: reply.retry_delay,
                message: message(),
            },
            _ => Verdict::Rejected { message: message() },
        }
    }
}

const DELIVERED: Verdict = Verdict::Delivered {
    rejected: 0,
    message: None,
};

/// A login page or a proxy's greeting is no success, whatever its status: it would hide that everything is lost.
fn is_html(reply: &HttpReply) -> bool {
    reply.content_type == "text/html" || reply.body.trim_ascii_start().starts_with(b"<")
}

/// `Client sent an HTTP request to an HTTPS server.` and its like.
fn expects_tls(reply: &HttpReply) -> bool {
    let words = reply.body.to_ascii_lowercase();
    reply.status == 400 && words.windows(5).any(|window| window == b"https")
}

/// What the user can do about a reply, whoever gave it.
pub fn usual_advice(reply: &HttpReply) -> Option<&'static str> {
    Some(match reply.status {
        300..=399 => "redirects are not followed: set the endpoint to the final address",
        400 if expects_tls(reply) => {
            "the port seems to speak TLS: write the endpoint with https://"
        }
        407 => "put user and password into HTTPS_PROXY",
        _ => return None,
    })
}

fn with_advice(said: String, advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("{said}; {advice}"),
        None => said,
    }
}

#[cfg(test)]
mod tests;
