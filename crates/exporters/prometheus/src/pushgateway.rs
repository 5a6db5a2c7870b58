//! The exporter to a Pushgateway: a snapshot replaces the group that it belongs to.

use std::time::Duration;

use hiq_core::config::{ConfigError, ProxySettings};
use hiq_core::deliver::{DeliveryOptions, EncodedExporter};
use hiq_core::encode::{DropReason, Encoded, Encoder, Encoding, Limits, Verdict};
use hiq_core::export::{Deadline, Exporter};
use hiq_core::judge::Judge;
use hiq_core::metric::{MetricBatch, MetricCursor};
use hiq_core::transport::{
    HttpReply, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
};
use hiq_http::{HttpOptions, Method};

use crate::clash::told;
use crate::exposition::expose_beside;
use crate::form::{Form, Format};
use crate::{PushMethod, PushgatewaySettings};

/// Sends metrics to a Pushgateway, for jobs that end before they could be scraped.
///
/// Each snapshot is one request in the protobuf form, with native histograms, whatever its size: half of it would replace
/// the other half.
///
/// ```
/// use hiq_core::config::{Env, ProxySettings};
/// use hiq_prometheus::{PushgatewayExporter, PushgatewayOptions, PushgatewaySettings};
///
/// let env = Env::from_pairs([("HIQ_PUSHGATEWAY_JOB", "nightly")]);
/// let settings = PushgatewaySettings::new(&PushgatewayOptions::default(), &env, &mut Vec::new())?;
/// let push = PushgatewayExporter::new(settings, ProxySettings::default())?;
/// assert_eq!(push.target(), "http://localhost:9091/metrics/job/nightly");
/// let exporter = push.build()?; // opens nothing, starts nothing
/// # drop(exporter);
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PushgatewayExporter {
    settings: PushgatewaySettings,
    http: HttpOptions,
    delivery: DeliveryOptions,
}

impl PushgatewayExporter {
    /// Checks the settings, certificate files included. Opens no socket and starts no thread.
    pub fn new(settings: PushgatewaySettings, proxies: ProxySettings) -> Result<Self, ConfigError> {
        let mut http = HttpOptions::new(settings.endpoint.clone());
        http.server = "a Pushgateway";
        http.headers.clone_from(&settings.headers);
        http.certificate.clone_from(&settings.certificate);
        http.client_identity.clone_from(&settings.client_identity);
        http.proxies = proxies;
        http.max_payload_bytes = usize::MAX;
        http.method = match settings.method {
            PushMethod::Put => Method::Put,
            PushMethod::Post => Method::Post,
        };
        http.build()?;
        let mut delivery = DeliveryOptions::default();
        delivery.timeout = settings.timeout;
        Ok(Self {
            settings,
            http,
            delivery,
        })
    }

    /// How payloads are delivered: retries and compression. Limits of their size do not count.
    pub fn delivery_mut(&mut self) -> &mut DeliveryOptions {
        &mut self.delivery
    }

    /// Where it sends, for messages: without user, password and query.
    pub fn target(&self) -> String {
        self.settings.endpoint.to_string()
    }

    /// The exporter. A reader calls this on its thread, in each process anew.
    pub fn build(&self) -> Result<Box<dyn Exporter<MetricBatch>>, ConfigError> {
        let transport = self.http.build()?;
        let encoder = GroupEncoder {
            labels: self.settings.labels.clone(),
            clash: None,
        };
        let exporter = EncodedExporter::new(encoder, transport, self.delivery.clone());
        Ok(Box::new(exporter))
    }

    /// Deletes the group with all its metrics: for a job whose last numbers nobody is to see any more. Blocks for at most
    /// `timeout`; tries once.
    pub fn delete(&self, timeout: Duration) -> Result<(), TransportError> {
        let mut http = self.http.clone();
        http.method = Method::Delete;
        let invalid = |error: ConfigError| {
            TransportError::new(TransportErrorKind::Invalid, error.to_string())
        };
        let mut transport = http.build().map_err(invalid)?;
        let deadline = Deadline::never().within(timeout);
        let mut outcomes = Vec::new();
        transport.submit(PayloadId(1), &Payload::new(b"", CONTENT_TYPE, 0), &deadline);
        transport.poll(&deadline, &mut outcomes);
        transport.shutdown(&deadline);
        let reply = outcomes.pop().map(|outcome| outcome.result);
        match reply.transpose()?.map(|reply| JUDGE.judge(&reply)) {
            Some(
                Verdict::Rejected { message }
                | Verdict::Retry { message, .. }
                | Verdict::TooLarge { message }
                | Verdict::Unauthorized { message },
            ) => Err(TransportError::new(TransportErrorKind::Protocol, message)),
            _ => Ok(()),
        }
    }
}

const FORM: Form = Form::new(Format::Proto);
const CONTENT_TYPE: &str = FORM.content_type();
const JUDGE: Judge = Judge::of("Pushgateway").advises_http(advice);

/// The whole of a snapshot in one payload.
#[derive(Debug)]
struct GroupEncoder {
    /// Those of the group.
    labels: Vec<String>,
    /// Why the last snapshot is not whole.
    clash: Option<String>,
}

impl Encoder<MetricBatch> for GroupEncoder {
    fn encoding(&self) -> Encoding {
        Encoding::new("prometheus_proto", CONTENT_TYPE)
    }

    fn encode(
        &mut self,
        cursor: &mut MetricCursor<'_>,
        _limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Encoded {
        let mut encoded = Encoded::default();
        let points = cursor.remaining();
        if points == 0 {
            return encoded;
        }
        let start = out.len();
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        let exposed = expose_beside(&labels, cursor.batch(), FORM, out);
        let left_out = exposed.left_out;
        self.clash = told(&exposed.clashes);
        while cursor.next_point().is_some() {}
        encoded.items = points - left_out;
        if left_out > 0 {
            encoded.leave_out(DropReason::Invalid, left_out);
        }
        if encoded.items == 0 {
            out.truncate(start);
        }
        encoded
    }

    fn why_left_out(&self) -> Option<String> {
        self.clash.clone()
    }

    fn judge(&self, reply: &Reply, _items: usize) -> Verdict {
        match JUDGE.judge(reply) {
            // Half of it would replace the other half.
            Verdict::TooLarge { message } => Verdict::Rejected { message },
            other => other,
        }
    }
}

fn advice(reply: &HttpReply) -> Option<&'static str> {
    Some(match reply.status {
        401 | 403 => "check the credentials in the exporter's headers",
        404 | 405 => "is this a Pushgateway (usually port 9091)?",
        _ => return None,
    })
}
