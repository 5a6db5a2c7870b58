//! Instance principals: a compute instance shows the certificates of its metadata service and is given a token.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hiq_core::config::{ConfigError, Endpoint, ProxySettings, Secret};
use hiq_core::export::Deadline;
use hiq_core::transport::{
    HttpReply, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind as Kind,
};
use hiq_http::{Authorizer, Draft, HttpOptions, Method};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::key::{self, SigningKey};
use crate::sign::{Signed, signature};

/// Where an instance learns who it is.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) base: Endpoint,
    /// The service that gives tokens; `None`: the region's own.
    pub(crate) auth: Option<Endpoint>,
    /// On the way to that. The metadata service is asked without.
    pub(crate) proxies: ProxySettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegionInfo {
    region_identifier: String,
    realm_domain_component: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    certificate: &'a str,
    public_key: String,
    intermediate_certificates: [&'a str; 1],
}

#[derive(Deserialize)]
struct Answer {
    token: String,
}

impl Metadata {
    /// Asks the metadata service, then the service that gives tokens.
    pub(crate) fn identity(&self, deadline: &Deadline) -> Result<Identity, TransportError> {
        let certificate = Certificate::parse(&self.ask("identity/cert.pem", deadline)?)
            .ok_or_else(|| self.odd("its certificate names no tenancy"))?;
        let intermediate = one_line(&self.ask("identity/intermediate.pem", deadline)?)
            .ok_or_else(|| self.odd("its intermediate certificate is none"))?;
        let key = self.ask("identity/key.pem", deadline)?;
        let key = SigningKey::from_pem("the instance's key", &key, None)
            .map_err(|wrong| self.odd(&wrong.problem))?;
        let session = key::generate().ok_or_else(|| self.odd("no key could be made"))?;
        let request = Request {
            certificate: &certificate.line,
            public_key: BASE64_STANDARD.encode(session.public_key()),
            intermediate_certificates: [&intermediate],
        };
        let body =
            serde_json::to_vec(&request).map_err(|_| self.odd("no request could be made"))?;
        let signer = CertificateSigner {
            key_id: Secret::new(certificate.key_id()),
            key,
        };
        let token = self.token(&body, signer, deadline)?;
        Ok(Identity::of_token(&token, session))
    }

    fn ask(&self, path: &str, deadline: &Deadline) -> Result<Vec<u8>, TransportError> {
        let mut options = HttpOptions::new(self.base.clone().join_path(path));
        options.method = Method::Get;
        options.headers = vec![("authorization".to_owned(), Secret::new("Bearer Oracle"))];
        let reply = exchange(&options, None, b"", deadline).map_err(|error| {
            let hint = "instance principals work on OCI compute instances only";
            TransportError::new(error.kind, format!("{}; {hint}", error.message))
        })?;
        Ok(reply.body)
    }

    fn token(
        &self,
        body: &[u8],
        signer: CertificateSigner,
        deadline: &Deadline,
    ) -> Result<String, TransportError> {
        let endpoint = match &self.auth {
            Some(endpoint) => endpoint.clone(),
            None => self.auth_of_region(deadline)?,
        };
        let mut options = HttpOptions::new(endpoint.join_path("v1/x509"));
        options.proxies.clone_from(&self.proxies);
        let reply = exchange(&options, Some(Box::new(signer)), body, deadline)?;
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| {
            TransportError::new(Kind::Protocol, format!("{} gave no token", reply.asked()))
        })?;
        Ok(answer.token)
    }

    fn auth_of_region(&self, deadline: &Deadline) -> Result<Endpoint, TransportError> {
        let text = self.ask("instance/regionInfo", deadline)?;
        let region: RegionInfo =
            serde_json::from_slice(&text).map_err(|_| self.odd("it does not tell its region"))?;
        let (name, domain) = (region.region_identifier, region.realm_domain_component);
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        if !name.bytes().chain(domain.bytes()).all(is_of_name) {
            return Err(self.odd("it names a region that cannot be"));
        }
        Endpoint::parse("region", &format!("https://auth.{name}.{domain}")).map_err(invalid)
    }

    fn odd(&self, what: &str) -> TransportError {
        TransportError::new(Kind::Io, format!("{}: {what}", self.base))
    }
}

fn invalid(wrong: ConfigError) -> TransportError {
    TransportError::new(Kind::Invalid, wrong.to_string())
}

/// One request; anything but a success is an error.
fn exchange(
    options: &HttpOptions,
    authorizer: Option<Box<dyn Authorizer>>,
    body: &[u8],
    deadline: &Deadline,
) -> Result<HttpReply, TransportError> {
    let mut transport = options.build().map_err(invalid)?;
    if let Some(authorizer) = authorizer {
        transport = transport.with_authorizer(authorizer);
    }
    transport.submit(
        PayloadId(0),
        &Payload::new(body, "application/json", 1),
        deadline,
    );
    let mut outcomes = Vec::new();
    transport.poll(deadline, &mut outcomes);
    transport.shutdown(deadline);
    let outcome = outcomes.pop().map(|outcome| outcome.result);
    match outcome.unwrap_or_else(|| Err(TransportError::new(Kind::Timeout, "no answer")))? {
        Reply::Http(reply) if (200..300).contains(&reply.status) => Ok(reply),
        Reply::Http(reply) => {
            let words = String::from_utf8_lossy(&reply.body);
            Err(TransportError::new(Kind::Connect, reply.said(&words)))
        }
        _ => Err(TransportError::new(Kind::Protocol, "no HTTP answer")),
    }
}

/// An instance's certificate.
struct Certificate {
    /// Base64 in one line, as the service wants it.
    line: String,
    tenancy: String,
    der: Vec<u8>,
}

impl Certificate {
    fn parse(text: &[u8]) -> Option<Self> {
        let der = pem::parse(text).ok()?.into_contents();
        Some(Self {
            line: BASE64_STANDARD.encode(&der),
            tenancy: tenancy(&der)?,
            der,
        })
    }

    /// `<tenancy>/fed-x509/<SHA-1 of the certificate>`.
    fn key_id(&self) -> String {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der);
        let pairs: Vec<String> = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        format!("{}/fed-x509/{}", self.tenancy, pairs.join(":"))
    }
}

/// The part of the subject that begins with `opc-tenant:` or `opc-identity:`; its length stands before it.
fn tenancy(der: &[u8]) -> Option<String> {
    [&b"opc-tenant:"[..], b"opc-identity:"]
        .iter()
        .find_map(|prefix| {
            let found = der
                .windows(prefix.len())
                .position(|window| window == *prefix)?;
            let length = usize::from(*der.get(found.checked_sub(1)?)?);
            let value = der.get(found..found + length)?.strip_prefix(*prefix)?;
            let value = std::str::from_utf8(value).ok()?;
            value.starts_with("ocid1.").then(|| value.to_owned())
        })
}

fn one_line(text: &[u8]) -> Option<String> {
    let block = pem::parse(text).ok()?;
    (block.tag() == "CERTIFICATE").then(|| BASE64_STANDARD.encode(block.contents()))
}

/// Signs the request for a token with the certificate's key.
#[derive(Debug)]
struct CertificateSigner {
    key_id: Secret,
    key: SigningKey,
}

impl Authorizer for CertificateSigner {
    fn headers(&mut self, draft: &Draft<'_>) -> Result<Vec<(String, Secret)>, TransportError> {
        signature(draft, Signed::WithoutHost, &self.key_id, &self.key)
    }
}
