//! How payloads are delivered.

use std::time::Duration;

use super::Compression;
use crate::encode::Cut;

/// How an [`EncodedExporter`](super::EncodedExporter) delivers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryOptions {
    /// Compression of payloads, once, before the first attempt. Default: none.
    pub compression: Compression,
    /// How long one series of attempts may last; `None`: without limit. A series that ends does not give up its payload:
    /// it stays and a new series follows. Default: 10 s (`OTEL_EXPORTER_OTLP_TIMEOUT`).
    pub timeout: Option<Duration>,
    /// When an attempt is repeated.
    pub retry: RetryPolicy,
    /// How long an item is kept, counted from when it was offered. Default: 5 min. What is spooled follows the spool's limit.
    pub max_age: Duration,
    /// Bytes of one payload, uncompressed, where the transport's own limit is not lower. Default: 4 MiB less a margin, which is
    /// what gRPC servers take unless told otherwise.
    pub max_payload_bytes: usize,
    /// Items of one payload. Default: no limit.
    pub max_payload_items: usize,
    /// Where a payload must end even if there is room. Default: only where the batch ends.
    pub cut: Cut,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            timeout: Some(Duration::from_secs(10)),
            retry: RetryPolicy::default(),
            max_age: Duration::from_secs(300),
            max_payload_bytes: (4 << 20) - (64 << 10),
            max_payload_items: usize::MAX,
            cut: Cut::Batch,
        }
    }
}

/// Exponential backoff with full jitter: before attempt n + 1 a wait between zero and `initial * 2^n`, at most `max`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Upper bound of the first wait. Default: 1 s.
    pub initial: Duration,
    /// Upper bound of any wait that we choose. Default: 30 s.
    pub max: Duration,
    /// Upper bound of a wait that the server asks for; longer wishes are cut to it. Default: 2 min.
    pub max_server_wish: Duration,
    /// Draws from 0 to 1: what part of the upper bound is waited. Default: at random.
    pub jitter: fn() -> f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(30),
            max_server_wish: Duration::from_secs(120),
            jitter: random_fraction,
        }
    }
}

impl RetryPolicy {
    /// The wait that we choose after `failures` failed attempts in a row.
    pub fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let bound = self.initial.saturating_mul(1 << doublings).min(self.max);
        bound.mul_f64((self.jitter)().clamp(0.0, 1.0))
    }

    /// The part of a server's wish that is granted.
    pub fn honoured(&self, server_wish: Duration) -> Duration {
        server_wish.min(self.max_server_wish)
    }
}

/// Where the operating system has no randomness to give, the full wait is the polite one.
fn random_fraction() -> f64 {
    let bits = getrandom::u32().unwrap_or(u32::MAX) >> 8;
    f64::from(bits) / f64::from(u32::MAX >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_jitter_spreads_over_the_whole_bound() {
        let waits: Vec<_> = (0..200)
            .map(|_| RetryPolicy::default().backoff(1))
            .collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(300)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(700)));
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let policy = RetryPolicy {
            jitter: || 1.0,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.backoff(0), Duration::from_secs(1));
        assert_eq!(policy.backoff(u32::MAX), policy.max);
    }
}
