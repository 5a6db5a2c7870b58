//! A format that a person can read: one line a span.

use hiq_core::batch::{BatchCursor, TreeBatch};
use hiq_core::encode::{DropReason, Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::id::SpanId;
use hiq_core::transport::{HttpReply, Reply};

/// Writes `span_id name` a line.
#[derive(Clone, Debug, Default)]
pub struct LineEncoder {
    bisects: bool,
    forgets: bool,
    ignores_limits: bool,
}

impl LineEncoder {
    /// Takes a 400 as final, as OTLP does.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a 400 as a sign of one bad span, as Zipkin and Jaeger do.
    pub fn that_bisects() -> Self {
        Self {
            bisects: true,
            ..Self::default()
        }
    }

    /// Passes over one span of each payload without a word: a defective encoder.
    pub fn that_forgets() -> Self {
        Self {
            forgets: true,
            ..Self::default()
        }
    }

    /// Writes everything into one payload, whatever its size: a defective encoder.
    pub fn that_ignores_limits() -> Self {
        Self {
            ignores_limits: true,
            ..Self::default()
        }
    }

    /// Size of the line of a span with this name.
    pub fn line_bytes(name: &str) -> usize {
        16 + 1 + name.len() + 1
    }
}

/// The span ids in a payload, in its order.
///
/// # Panics
/// When the payload is not of [`LineEncoder`].
pub fn span_ids(payload: &[u8]) -> Vec<SpanId> {
    let text = std::str::from_utf8(payload).expect("lines are text");
    let id = |line: &str| line.split(' ').next().and_then(|id| id.parse().ok());
    text.lines()
        .map(|line| id(line).expect("a line begins with a span id"))
        .collect()
}

impl Encoder<TreeBatch> for LineEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("lines", "text/plain")
    }

    fn encode(
        &mut self,
        cursor: &mut BatchCursor<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let mut encoded = Encoded::default();
        if self.forgets {
            cursor.next_span();
        }
        let mut first = None;
        while encoded.items < limits.items()
            && let Some(span) = cursor.peek()
        {
            let first = *first.get_or_insert(span.tree());
            if encoded.items > 0 && limits.cut.parts(first, span.tree()) {
                break;
            }
            encoded.key = limits.cut.key(first);
            let line = format!("{} {}\n", span.id(), span.name().as_str());
            if self.ignores_limits || out.len() + line.len() <= limits.max_bytes {
                out.extend_from_slice(line.as_bytes());
                encoded.items += 1;
            } else if encoded.items > 0 {
                break;
            } else {
                encoded.leave_out(DropReason::TooLarge, 1);
            }
            cursor.next_span();
        }
        encoded.more = !cursor.is_done();
        encoded
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        match reply {
            Reply::Http(http) => self.judge_http(http),
            Reply::Unconfirmed => Verdict::SentUnconfirmed,
            _ => Verdict::Delivered {
                rejected: 0,
                message: None,
            },
        }
    }
}

impl LineEncoder {
    /// A 200 may say `rejected N` in its body.
    fn judge_http(&self, http: &HttpReply) -> Verdict {
        let body = String::from_utf8_lossy(&http.body).into_owned();
        let message = format!("status {}", http.status);
        match http.status {
            200 => Verdict::Delivered {
                rejected: rejected(&body),
                message: (!body.is_empty()).then_some(body),
            },
            400 if self.bisects => Verdict::Split { message },
            401 => Verdict::Unauthorized { message },
            413 => Verdict::TooLarge { message },
            429 | 502..=504 => Verdict::Retry {
                after: http.retry_after,
                message,
            },
            _ => Verdict::Rejected { message },
        }
    }
}

fn rejected(body: &str) -> usize {
    let number = body
        .strip_prefix("rejected ")
        .map(|rest| rest.split(' ').next().unwrap_or(rest));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
