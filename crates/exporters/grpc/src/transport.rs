//! The transport: one payload, one call, one outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::export::Deadline;
use hiq_core::fork;
use hiq_core::transport::{
    GrpcReply, Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};
use hiq_net::progress::{Progress, Stage};
use hiq_net::secrets::Secrets;
use http::{HeaderMap, HeaderValue};
use rustls::ClientConfig;

use crate::config::Target;
use crate::error::{self, Attempt};
use crate::outgoing::Outgoing;
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
    /// Opened by the first payload, and again after an attempt that failed and in a forked child.
    wire: Option<Wire>,
    /// What the certificate files held; read again after a TLS error.
    tls: Option<ClientConfig>,
    outgoing: Outgoing,
    progress: Progress,
    settled: Vec<Outcome>,
    /// The process that all this belongs to.
    generation: u32,
}

impl GrpcTransport {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            wire: None,
            tls: None,
            outgoing: Outgoing::default(),
            progress: Progress::default(),
            settled: Vec::new(),
            generation: fork::generation(),
        }
    }
}

impl Transport for GrpcTransport {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(self.target.max_payload_bytes)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        self.leave_parents_wire();
        let result = self.attempt(payload, deadline);
        if let Err(error) = &result {
            self.start_over(error.kind);
        }
        self.settled.push(Outcome::new(id, result.map(Reply::Grpc)));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }

    fn shutdown(&mut self, _deadline: &Deadline) {
        if let Some(wire) = self.wire.take() {
            wire.close_properly();
        }
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        self.close_wire();
    }
}

impl GrpcTransport {
    fn attempt(
        &mut self,
        payload: &Payload<'_>,
        deadline: &Deadline,
    ) -> Result<GrpcReply, TransportError> {
        let began = Instant::now();
        self.progress.is_at(Stage::Connecting);
        let headers = self.headers(payload, deadline)?;
        self.open_wire()?;
        let Some(wire) = &mut self.wire else {
            return Err(error::invalid(&self.target, "the wire is not open"));
        };
        let is_gzip = payload.content_encoding.is_some();
        let body = self.outgoing.load(payload.body, is_gzip, &self.progress);
        let exchanged = wire.exchange(&self.target, headers, body, deadline);
        match exchanged {
            Ok(raw) => {
                let secrets = Secrets::of(&self.target.headers);
                Ok(raw.into_reply(Arc::clone(&self.target.shown), &secrets))
            }
            Err(trouble) => {
                let stage = self.progress.stage();
                Err(Attempt::new(&self.target, deadline, began, stage).error(&trouble))
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
                error::invalid(&self.target, "the payload's encoding is no header value")
            })?;
            all.insert("grpc-encoding", encoding);
        }
        if let Some(left) = deadline.remaining() {
            all.insert("grpc-timeout", timeout(left));
        }
        Ok(all)
    }

    fn open_wire(&mut self) -> Result<(), TransportError> {
        if self.wire.is_none() {
            let config = self.tls_config()?;
            self.wire = Some(Wire::open(&self.target, config, &self.progress)?);
        }
        Ok(())
    }

    fn tls_config(&mut self) -> Result<Option<ClientConfig>, TransportError> {
        if self.tls.is_none()
            && let Some(files) = &self.target.tls_files
        {
            let loaded = files.load();
            self.tls = Some(loaded.map_err(|wrong| error::tls_files(&self.target, &wrong))?);
        }
        Ok(self.tls.clone())
    }

    /// A connection that failed is of no more use, and what led to it may have changed: names, certificates, proxies.
    fn start_over(&mut self, kind: TransportErrorKind) {
        self.close_wire();
        if kind == TransportErrorKind::Tls {
            self.tls = None;
        }
    }

    /// In a forked child everything under way is the parent's business.
    fn leave_parents_wire(&mut self) {
        let generation = fork::generation();
        if self.generation != generation {
            self.generation = generation;
            self.close_wire();
            self.tls = None;
            self.outgoing = Outgoing::default();
            self.progress = Progress::default();
        }
    }

    fn close_wire(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.close();
        }
    }
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
