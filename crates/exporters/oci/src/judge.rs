//! What replies of Oracle's services mean: the only place of this crate that decides about trying again.
//!
//! The answers that are worth another attempt are those of [`Judge`]: 429 and all of 500 to 599. A failure inside a 200 is the
//! service's own: Streaming names each message that it did not take, Monitoring each series.

use std::fmt::Write as _;

use hiq_core::encode::{Encodable, Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::judge::Judge;
use hiq_core::transport::{HttpReply, Reply, one_line};
use serde::Deserialize;

const APM: Judge = Judge::of("data upload endpoint of OCI APM")
    .splits()
    .advises_http(|reply| {
        Some(match reply.status {
            401 | 403 => {
                "check the data key of the APM domain, and whether it is the public or the private one"
            }
            404 | 405 => {
                "APM_BASE_URL is the domain's data upload endpoint, without a path: https://<id>.apm-agt.<region>.oci.oraclecloud.com"
            }
            _ => return None,
        })
    });

const STREAMING: Judge = Judge::of("messages endpoint of OCI Streaming").advises_http(|reply| {
    Some(match reply.status {
        400 => "is OCI_STM_OCID a stream's OCID, and its messages endpoint the address?",
        401 => REFUSED_SIGNATURE,
        403 | 404 => {
            "check OCI_STM_OCID and the stream's messages endpoint, and that a policy lets this user use stream-push there"
        }
        _ => return None,
    })
});

const MONITORING: Judge = Judge::of("ingestion endpoint of OCI Monitoring")
    .splits()
    .advises_http(|reply| {
        Some(match reply.status {
            401 => REFUSED_SIGNATURE,
            403 | 404 => {
                "check the compartment, that a policy lets this user use metrics there, and that the address is that of telemetry-ingestion"
            }
            _ => return None,
        })
    });

const REFUSED_SIGNATURE: &str = "check user, tenancy, fingerprint and key in the profile, and that the key is on the user's list";

/// Oracle takes a signature whose date is at most this far from its own clock.
const MAX_SKEW_SECONDS: u64 = 300;

/// Services, as far as their replies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Apm,
    Streaming,
    Monitoring,
}

/// Judges `reply` to a payload of `items` items.
pub(crate) fn judge(service: Service, reply: &Reply, items: usize) -> Verdict {
    if let Reply::Http(reply) = reply
        && (200..300).contains(&reply.status)
        && let Some(verdict) = inside_success(service, reply, items)
    {
        return verdict;
    }
    let judge = match service {
        Service::Apm => APM,
        Service::Streaming => STREAMING,
        Service::Monitoring => MONITORING,
    };
    match (judge.judge(reply), reply) {
        (Verdict::Unauthorized { message }, Reply::Http(reply)) => Verdict::Unauthorized {
            message: with_skew(message, reply),
        },
        (verdict, _) => verdict,
    }
}

/// Of all reasons for a refused signature a wrong clock is the hardest to see.
fn with_skew(mut message: String, reply: &HttpReply) -> String {
    let Some(ahead) = reply.clock_ahead_seconds else {
        return message;
    };
    if ahead.unsigned_abs() > MAX_SKEW_SECONDS {
        let side = if ahead > 0 { "behind" } else { "ahead of" };
        let seconds = ahead.unsigned_abs();
        let _ = write!(
            message,
            "; this machine's clock is {seconds} s {side} the server's, and more than {MAX_SKEW_SECONDS} s are refused: set it"
        );
    }
    message
}

fn inside_success(service: Service, reply: &HttpReply, items: usize) -> Option<Verdict> {
    match service {
        Service::Apm => None,
        Service::Streaming => {
            let entry: Entry = serde_json::from_slice(&reply.body).ok()?;
            let message = entry.problem(reply.asked())?;
            Some(Verdict::Retry {
                after: None,
                message,
            })
        }
        Service::Monitoring => {
            let summary: FailureSummary = serde_json::from_slice(&reply.body).ok()?;
            let first = summary.failed_metrics.first();
            let words = first.map_or("it gave no reason", |failed| failed.message.as_str());
            let failed = summary.failed_metrics_count;
            (failed > 0).then(|| Verdict::Delivered {
                // Histograms and summaries are several series each.
                rejected: failed.min(items),
                message: Some(format!(
                    "{} did not take {failed} series: {}",
                    reply.asked(),
                    one_line(words)
                )),
            })
        }
    }
}

/// What became of one message that Streaming was given.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Entry {
    /// The partition that holds it.
    pub partition: Option<String>,
    /// Where in the partition.
    pub offset: Option<u64>,
    /// When it was taken, in RFC 3339.
    pub timestamp: Option<String>,
    /// The code of what went wrong, where it was not taken.
    pub error: Option<String>,
    /// That in words.
    pub error_message: Option<String>,
}

impl Entry {
    /// Why it was not taken, for messages; `None`: it was.
    pub fn problem(&self, asked: &str) -> Option<String> {
        let error = self.error.as_deref().filter(|error| !error.is_empty())?;
        let words = self.error_message.as_deref().unwrap_or_default();
        let words = one_line(&format!("{error}: {words}"));
        Some(format!("{asked} did not take a message: {words}"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailureSummary {
    #[serde(default)]
    failed_metrics_count: usize,
    #[serde(default)]
    failed_metrics: Vec<FailedMetric>,
}

#[derive(Deserialize)]
struct FailedMetric {
    #[serde(default)]
    message: String,
}

/// Another format's encoder, whose payloads Oracle answers.
#[derive(Debug)]
pub(crate) struct Judged<B: Encodable> {
    encoder: Box<dyn Encoder<B>>,
    service: Service,
}

impl<B: Encodable> Judged<B> {
    pub(crate) fn new(encoder: Box<dyn Encoder<B>>, service: Service) -> Self {
        Self { encoder, service }
    }
}

impl<B: Encodable> Encoder<B> for Judged<B> {
    fn encoding(&self) -> Encoding {
        self.encoder.encoding()
    }

    fn encode(
        &mut self,
        cursor: &mut B::Cursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        self.encoder.encode(cursor, limits, out)
    }

    fn why_left_out(&self) -> Option<String> {
        self.encoder.why_left_out()
    }

    fn judge(&self, reply: &Reply, items: usize) -> Verdict {
        judge(self.service, reply, items)
    }
}

#[cfg(test)]
mod tests;
