//! The transport: one payload, one call, one outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::export::Deadline;
use hiq_core::transport::{
    GrpcReply, Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportLimits,
};
use hiq_net::attempt::Attempt;
use hiq_net::line::Line;
use hiq_net::secrets::Secrets;
use http::{HeaderMap, HeaderValue};

use crate::config::Target;
use crate::wire::Wire;

/// The largest number that `grpc-timeout` can hold: eight digits.
const MAX_TIMEOUT: u128 = 99_999_999;

/// Sends each payload as one unary gRPC call and hands back the raw status. Made by [`GrpcOptions`](crate::GrpcOptions).
///
/// Blocking, so it belongs on a thread of its own, such as a pipeline's worker. On one that runs async code
/// [`Transport::submit`] panics, as all waiting does there.
#[derive(Debug)]
pub struct GrpcTransport {
    target: Target,
    line: Line<Wire>,
    settled: Vec<Outcome>,
}

impl GrpcTransport {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            line: Line::default(),
            settled: Vec::new(),
        }
    }
}

impl Transport for GrpcTransport {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(self.target.max_payload_bytes)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        self.line.leave_parents();
        let result = self.attempt(payload, deadline);
        if let Err(error) = &result {
            self.line.start_over(error.kind);
        }
        self.settled.push(Outcome::new(id, result.map(Reply::Grpc)));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }

    fn shutdown(&mut self, _deadline: &Deadline) {
        self.line.close_properly();
    }
}

impl GrpcTransport {
    fn attempt(
        &mut self,
        payload: &Payload<'_>,
        deadline: &Deadline,
    ) -> Result<GrpcReply, TransportError> {
        let began = Instant::now();
        let headers = self.headers(payload, deadline)?;
        let target = &self.target;
        let line = self
            .line
            .ready(&target.peer, target.tls_files.as_ref(), |tls, progress| {
                Wire::open(target, tls, progress)
            })?;
        let head = frame_head(payload);
        let body = line.outgoing.load(&[&head, payload.body], line.progress);
        match line.wire.exchange(target, headers, body, deadline) {
            Ok(raw) => {
                let secrets = Secrets::of(&target.headers);
                Ok(raw.into_reply(Arc::clone(&target.peer.shown), &secrets))
            }
            Err(trouble) => {
                let attempt = Attempt::new(&target.peer, deadline, began, line.progress.stage());
                Err(trouble.error(&attempt, target))
            }
        }
    }

    fn headers(
        &self,
        payload: &Payload<'_>,
        deadline: &Deadline,
    ) -> Result<HeaderMap, TransportError> {
        let mut all = self.target.headers.clone();
        if let Some(encoding) = payload.content_encoding {
            let encoding = HeaderValue::from_str(encoding).map_err(|_| {
                self.target
                    .peer
                    .invalid("the payload's encoding is no header value")
            })?;
            all.insert("grpc-encoding", encoding);
        }
        if let Some(left) = deadline.remaining() {
            all.insert("grpc-timeout", timeout(left));
        }
        Ok(all)
    }
}

/// What goes before the message: whether it is compressed, and its length.
fn frame_head(payload: &Payload<'_>) -> [u8; 5] {
    // Our limits are far below what this field can say.
    let length = u32::try_from(payload.body.len()).unwrap_or(u32::MAX);
    let [a, b, c, d] = length.to_be_bytes();
    [u8::from(payload.content_encoding.is_some()), a, b, c, d]
}

/// How long the server need not bother any more: at most eight digits and a unit, rounded up.
fn timeout(left: Duration) -> HeaderValue {
    let millis = left.as_nanos().div_ceil(1_000_000).max(1);
    let text = if millis <= MAX_TIMEOUT {
        format!("{millis}m")
    } else {
        format!("{}S", millis.div_ceil(1_000).min(MAX_TIMEOUT))
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("1m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The protocol: a positive integer of at most eight digits, then a unit.
    #[test]
    fn a_timeout_has_at_most_eight_digits_and_is_never_zero() {
        let cases = [
            (Duration::ZERO, "1m"),
            (Duration::from_nanos(1), "1m"),
            (Duration::from_millis(10_000), "10000m"),
            (Duration::from_micros(1_500), "2m"),
            (Duration::from_millis(99_999_999), "99999999m"),
            (Duration::from_millis(100_000_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ];
        for (left, expected) in cases {
            assert_eq!(timeout(left), expected, "{left:?}");
        }
    }
}
