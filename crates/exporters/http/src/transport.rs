//! The transport: one payload, one request, one outcome.

use std::sync::Arc;
use std::time::Instant;

use hiq_core::export::Deadline;
use hiq_core::fork;
use hiq_core::transport::{
    HttpReply, Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};
use hiq_net::progress::{Progress, Stage};
use hiq_net::secrets::Secrets;
use hiq_net::{headers, tls};
use reqwest::Request;
use reqwest::header::{self, HeaderMap, HeaderValue};
use rustls::ClientConfig;

use crate::config::Target;
use crate::error::Attempt;
use crate::outgoing::Outgoing;
use crate::wire::Wire;
use crate::{Authorizer, Draft, Method, error};

/// Sends each payload as one HTTP/1.1 request and hands back the raw reply. Made by [`HttpOptions`](crate::HttpOptions).
///
/// Blocking, so it belongs on a thread of its own, such as a pipeline's worker. On one that runs async code
/// [`Transport::submit`] panics, as all waiting does there.
#[derive(Debug)]
pub struct HttpTransport {
    target: Target,
    authorizer: Option<Box<dyn Authorizer>>,
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

impl HttpTransport {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            authorizer: None,
            wire: None,
            tls: None,
            outgoing: Outgoing::default(),
            progress: Progress::default(),
            settled: Vec::new(),
            generation: fork::generation(),
        }
    }

    /// Asks `authorizer` for headers before each attempt, and for new credentials when they are refused.
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: Box<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self
    }
}

impl Transport for HttpTransport {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(self.target.max_payload_bytes)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        self.leave_parents_wire();
        let result = self.attempt(payload, deadline);
        if let Err(error) = &result {
            self.start_over(error.kind);
        }
        self.settled.push(Outcome::new(id, result.map(Reply::Http)));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }

    fn renew_credentials(&mut self, deadline: &Deadline) -> bool {
        self.authorizer
            .as_mut()
            .is_some_and(|authorizer| authorizer.renew(deadline))
    }

    fn shutdown(&mut self, _deadline: &Deadline) {
        if let Some(wire) = self.wire.take() {
            wire.close_properly();
        }
    }
}

impl Drop for HttpTransport {
    fn drop(&mut self) {
        self.close_wire();
    }
}

impl HttpTransport {
    fn attempt(
        &mut self,
        payload: &Payload<'_>,
        deadline: &Deadline,
    ) -> Result<HttpReply, TransportError> {
        let began = Instant::now();
        self.progress.is_at(Stage::Connecting);
        let headers = self.headers(payload)?;
        self.open_wire()?;
        let Some(wire) = &mut self.wire else {
            return Err(error::invalid(&self.target, "the wire is not open"));
        };
        let body = self.outgoing.load(payload.body, &self.progress);
        let secrets = Secrets::of(&headers).and_query_of(&self.target.url);
        let mut request = Request::new(self.target.method.into(), self.target.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body);
        let exchanged = wire.exchange(request, deadline);
        let attempt = Attempt::new(&self.target, deadline, began, self.progress.stage());
        match exchanged {
            Ok(raw) => {
                let mut reply = raw.into_reply(Arc::clone(&self.target.shown))?;
                secrets.mask(&mut reply.body);
                Ok(reply)
            }
            Err(trouble) => Err(attempt.error(&trouble)),
        }
    }

    fn headers(&mut self, payload: &Payload<'_>) -> Result<HeaderMap, TransportError> {
        let mut all = self.target.headers.clone();
        all.insert(header::CONTENT_TYPE, self.value(payload.content_type)?);
        if let Some(encoding) = payload.content_encoding {
            all.insert(header::CONTENT_ENCODING, self.value(encoding)?);
        }
        let Some(authorizer) = &mut self.authorizer else {
            return Ok(all);
        };
        let draft = Draft {
            method: self.target.method,
            endpoint: &self.target.endpoint,
            content_type: payload.content_type,
            body: payload.body,
        };
        for (name, value) in authorizer.headers(&draft)? {
            let (name, value) = headers::parse(&name, &value)
                .map_err(|wrong| error::invalid(&self.target, &wrong.problem))?;
            all.insert(name, value);
        }
        Ok(all)
    }

    fn value(&self, text: &str) -> Result<HeaderValue, TransportError> {
        let wrong = |_| error::invalid(&self.target, "the payload's type is no header value");
        HeaderValue::from_str(text).map_err(wrong)
    }

    fn open_wire(&mut self) -> Result<(), TransportError> {
        if self.wire.is_none() {
            let config = self.tls_config()?;
            self.wire = Some(Wire::open(&self.target, config, &self.progress)?);
        }
        Ok(())
    }

    fn tls_config(&mut self) -> Result<ClientConfig, TransportError> {
        if let Some(config) = &self.tls {
            return Ok(config.clone());
        }
        let config = match &self.target.tls_files {
            Some(files) => files.load(),
            None => tls::none(),
        };
        let config = config.map_err(|wrong| error::tls_files(&self.target, &wrong))?;
        self.tls = Some(config.clone());
        Ok(config)
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

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
        }
    }
}
