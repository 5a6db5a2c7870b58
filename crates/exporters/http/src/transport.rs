//! The transport: one payload, one request, one outcome.

use std::time::Instant;

use hiq_core::export::Deadline;
use hiq_core::transport::{
    HttpReply, Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportLimits,
};
use hiq_net::attempt::Attempt;
use hiq_net::headers;
use hiq_net::line::Line;
use hiq_net::secrets::Secrets;
use reqwest::Request;
use reqwest::header::{self, HeaderMap, HeaderValue};

use crate::config::Target;
use crate::wire::Wire;
use crate::{Authorizer, Draft, Method};

/// Sends each payload as one HTTP/1.1 request and hands back the raw reply. Made by [`HttpOptions`](crate::HttpOptions).
///
/// Blocking, so it belongs on a thread of its own, such as a pipeline's worker. On one that runs async code
/// [`Transport::submit`] panics, as all waiting does there.
#[derive(Debug)]
pub struct HttpTransport {
    target: Target,
    authorizer: Option<Box<dyn Authorizer>>,
    line: Line<Wire>,
    settled: Vec<Outcome>,
}

impl HttpTransport {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            authorizer: None,
            line: Line::default(),
            settled: Vec::new(),
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
        self.line.leave_parents();
        let result = self.attempt(payload, deadline);
        if let Err(error) = &result {
            self.line.start_over(error.kind);
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
        self.line.close_properly();
    }
}

impl HttpTransport {
    fn attempt(
        &mut self,
        payload: &Payload<'_>,
        deadline: &Deadline,
    ) -> Result<HttpReply, TransportError> {
        let began = Instant::now();
        let headers = self.headers(payload, deadline)?;
        let target = &self.target;
        let line = self
            .line
            .ready(&target.peer, target.tls_files.as_ref(), |tls, progress| {
                Wire::open(target, tls, progress)
            })?;
        let has_body = target.method.has_body();
        let body = has_body.then(|| line.outgoing.load(&[payload.body], line.progress));
        let secrets = Secrets::of(&headers).and_query_of(&target.url);
        let mut request = Request::new(target.method.into(), target.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(reqwest::Body::wrap);
        match line.wire.exchange(request, deadline) {
            Ok(raw) => {
                let mut reply = raw.into_reply(&target.peer, target.kept_headers)?;
                secrets.mask(&mut reply.body);
                Ok(reply)
            }
            Err(trouble) => {
                let attempt = Attempt::new(&target.peer, deadline, began, line.progress.stage());
                Err(trouble.error(&attempt, target))
            }
        }
    }

    fn headers(
        &mut self,
        payload: &Payload<'_>,
        deadline: &Deadline,
    ) -> Result<HeaderMap, TransportError> {
        let mut all = self.target.headers.clone();
        if self.target.method.has_body() {
            all.insert(header::CONTENT_TYPE, self.value(payload.content_type)?);
        }
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
            deadline,
        };
        for (name, value) in authorizer.headers(&draft)? {
            let (name, value) = headers::parse(&name, &value)
                .map_err(|wrong| self.target.peer.invalid(&wrong.problem))?;
            all.insert(name, value);
        }
        Ok(all)
    }

    fn value(&self, text: &str) -> Result<HeaderValue, TransportError> {
        let wrong = |_| {
            self.target
                .peer
                .invalid("the payload's type is no header value")
        };
        HeaderValue::from_str(text).map_err(wrong)
    }
}

impl From<Method> for reqwest::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Get => Self::GET,
            Method::Delete => Self::DELETE,
        }
    }
}
