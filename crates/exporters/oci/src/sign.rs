//! Oracle's request signatures, version 1.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::config::Secret;
use hiq_core::export::Deadline;
use hiq_core::time::Clock;
use hiq_core::transport::{TransportError, TransportErrorKind};
use hiq_http::{Authorizer, Draft, Method};
use ring::digest::{SHA256, digest};
use url::Url;

use crate::OciSettings;
use crate::identity::{Identity, Source};
use crate::key::SigningKey;

/// Which headers a request with a body signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signed {
    /// Date, request line and host, and the body by its length, type and digest. The rule.
    #[default]
    WithBody,
    /// Date, request line and host. Streaming's `PutMessages` wants it so.
    WithoutBody,
    /// Date and request line, and the body: requests for an instance's token.
    WithoutHost,
}

/// Signs each attempt, with a date of its own. A request that is refused is signed once more where there is something new to
/// sign with: another key in the file, another token.
#[derive(Debug)]
pub struct OciAuthorizer {
    source: Source,
    signed: Signed,
    identity: Option<Identity>,
}

impl OciAuthorizer {
    /// Signs as `settings` say. Reads and asks for nothing before the first request.
    pub fn new(settings: &OciSettings, signed: Signed) -> Self {
        Self {
            source: settings.source.clone(),
            signed,
            identity: None,
        }
    }
}

impl Authorizer for OciAuthorizer {
    fn headers(&mut self, draft: &Draft<'_>) -> Result<Vec<(String, Secret)>, TransportError> {
        let identity = match self.identity.take().filter(|identity| !identity.is_over()) {
            Some(identity) => identity,
            None => self.source.identity(draft.deadline)?,
        };
        let identity = self.identity.insert(identity);
        signature(draft, self.signed, &identity.key_id, &identity.key)
    }

    fn renew(&mut self, deadline: &Deadline) -> bool {
        let Ok(new) = self.source.identity(deadline) else {
            return false;
        };
        let old = self.identity.replace(new);
        match (old, &self.identity) {
            (Some(old), Some(new)) => !old.is(new),
            _ => true,
        }
    }
}

/// A request, as far as it is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    method: Method,
    url: &'a str,
    content_type: &'a str,
    body: &'a [u8],
}

impl<'a> From<&Draft<'a>> for Request<'a> {
    fn from(draft: &Draft<'a>) -> Self {
        Self {
            method: draft.method,
            url: draft.endpoint.expose(),
            content_type: draft.content_type,
            body: draft.body,
        }
    }
}

/// The headers that make a request a signed one, now.
pub(crate) fn signature(
    draft: &Draft<'_>,
    signed: Signed,
    key_id: &Secret,
    key: &SigningKey,
) -> Result<Vec<(String, Secret)>, TransportError> {
    let now = UNIX_EPOCH + Duration::from_nanos(Clock::unix_nanos().0);
    let problem = |what: &str| TransportError::new(TransportErrorKind::Invalid, what);
    let lines = Lines::new(&Request::from(draft), signed, now)
        .ok_or_else(|| problem("cannot sign: this is no address"))?;
    lines
        .headers(key_id, key)
        .ok_or_else(|| problem("cannot sign: the system has no randomness"))
}

/// What is signed: names and values, in order.
struct Lines(Vec<(&'static str, String)>);

impl Lines {
    fn new(request: &Request<'_>, signed: Signed, now: SystemTime) -> Option<Self> {
        let url = Url::parse(request.url).ok()?;
        let mut lines = vec![
            ("date", httpdate::fmt_http_date(now)),
            ("(request-target)", target(request.method, &url)),
        ];
        if signed != Signed::WithoutHost {
            lines.push(("host", host(&url)));
        }
        if signed != Signed::WithoutBody && request.method != Method::Get {
            let digest = digest(&SHA256, request.body);
            lines.push(("content-length", request.body.len().to_string()));
            lines.push(("content-type", request.content_type.to_owned()));
            lines.push(("x-content-sha256", BASE64_STANDARD.encode(digest)));
        }
        Some(Self(lines))
    }

    fn text(&self) -> String {
        let line = |(name, value): &(&str, String)| format!("{name}: {value}");
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Those that the client does not write by itself.
    fn headers(&self, key_id: &Secret, key: &SigningKey) -> Option<Vec<(String, Secret)>> {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        let authorization = format!(
            "Signature algorithm=\"rsa-sha256\",headers=\"{}\",keyId=\"{}\",signature=\"{}\",version=\"1\"",
            names.join(" "),
            key_id.expose(),
            key.sign(self.text().as_bytes())?,
        );
        let is_own = |(name, _): &&(&str, String)| matches!(*name, "date" | "x-content-sha256");
        let own = self.0.iter().filter(is_own);
        let headers = own.map(|(name, value)| ((*name).to_owned(), Secret::new(value)));
        let authorization = ("authorization".to_owned(), Secret::new(authorization));
        Some(headers.chain([authorization]).collect())
    }
}

fn target(method: Method, url: &Url) -> String {
    let method = method.name().to_ascii_lowercase();
    match url.query() {
        Some(query) => format!("{method} {}?{query}", url.path()),
        None => format!("{method} {}", url.path()),
    }
}

/// As the client writes it: with the port, where that is not the scheme's own.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests;
