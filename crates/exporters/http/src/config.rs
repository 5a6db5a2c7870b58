//! What a transport is told, and what it makes of it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hiq_core::config::{
    ClientIdentity, ConfigError, Endpoint, OtlpSettings, ProxySettings, Secret,
};
use hiq_net::headers::user_agent;
use hiq_net::peer::Peer;
use hiq_net::tls;
use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::{HttpTransport, headers, proxy};

/// Where and how payloads are sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// The full address. A user and password in it become basic authorization.
    pub endpoint: Endpoint,
    /// The method; `POST` unless said otherwise.
    pub method: Method,
    /// Headers of every request. Those of the payload and of the connection cannot be set.
    pub headers: Vec<(String, Secret)>,
    /// `User-Agent`, also towards a proxy; `hiq/<version>` unless said otherwise.
    pub user_agent: String,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key, for servers that ask for them.
    pub client_identity: Option<ClientIdentity>,
    /// Proxies; none unless said otherwise.
    pub proxies: ProxySettings,
    /// How long looking up the name, connecting and TLS may take together; 3 s unless said otherwise, zero: as long as the
    /// attempt.
    pub connect_timeout: Duration,
    /// Bytes of one uncompressed payload; 64 MiB unless said otherwise.
    pub max_payload_bytes: usize,
    /// Who should listen there, for messages: `a collector` unless said otherwise.
    pub server: &'static str,
    /// Headers of replies that the encoder's judge wants to see, in lower case; none unless said otherwise.
    pub kept_headers: &'static [&'static str],
}

impl HttpOptions {
    /// `POST` to `endpoint`, and the defaults.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            method: Method::Post,
            headers: Vec::new(),
            user_agent: concat!("hiq/", env!("CARGO_PKG_VERSION")).to_owned(),
            certificate: None,
            client_identity: None,
            proxies: ProxySettings::default(),
            connect_timeout: Duration::from_secs(3),
            max_payload_bytes: 64 << 20,
            server: "a collector",
            kept_headers: &[],
        }
    }

    /// What an exporter of OTLP over HTTP was told.
    pub fn for_otlp(settings: &OtlpSettings, proxies: &ProxySettings) -> Self {
        Self {
            headers: settings.headers.clone(),
            user_agent: concat!("OTel-OTLP-Exporter-hiq/", env!("CARGO_PKG_VERSION")).to_owned(),
            certificate: settings.certificate.clone(),
            client_identity: settings.client_identity.clone(),
            proxies: proxies.clone(),
            ..Self::new(settings.endpoint.clone())
        }
    }

    /// A transport that has checked all this, certificate files included. It opens no socket and starts no thread before
    /// its first payload.
    pub fn build(&self) -> Result<HttpTransport, ConfigError> {
        Target::new(self).map(HttpTransport::new)
    }
}

/// How payloads are carried, and what carries none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `POST`.
    #[default]
    Post,
    /// `PUT`.
    Put,
    /// `GET`: asks for something; the payload is left out.
    Get,
    /// `DELETE`: the payload is left out.
    Delete,
}

impl Method {
    /// As on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Get => "GET",
            Self::Delete => "DELETE",
        }
    }

    /// True for those that carry a payload.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

/// Checked options, in the forms that requests are made of.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) peer: Peer,
    pub(crate) url: Url,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) user_agent: reqwest::header::HeaderValue,
    pub(crate) proxy: Option<Endpoint>,
    pub(crate) tls_files: Option<tls::Files>,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_payload_bytes: usize,
    pub(crate) kept_headers: &'static [&'static str],
}

impl Target {
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, ConfigError> {
        let endpoint = options.endpoint.clone();
        let (url, credentials) = headers::split_credentials(&endpoint)?;
        let proxy = options.proxies.proxy_for(&endpoint).cloned();
        if let Some(proxy) = &proxy {
            proxy::client_side(proxy)?;
        }
        let speaks_tls = endpoint.is_https() || proxy.as_ref().is_some_and(Endpoint::is_https);
        let (certificate, identity) = (
            options.certificate.as_ref(),
            options.client_identity.as_ref(),
        );
        let tls_files = tls::Files::checked(speaks_tls, certificate, identity)?;
        Ok(Self {
            peer: Peer::new(
                endpoint.to_string(),
                &endpoint,
                proxy.as_ref(),
                tls_files.as_ref(),
                "accept a connection",
            )
            .called(options.server),
            url,
            method: options.method,
            headers: headers::constant(&options.headers, credentials)?,
            user_agent: user_agent(&options.user_agent)?,
            proxy,
            tls_files,
            connect_timeout: options.connect_timeout,
            max_payload_bytes: options.max_payload_bytes,
            kept_headers: options.kept_headers,
            endpoint,
        })
    }
}

/// By hand: the parts of a URL are no secrets to its own type.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint)
            .field("method", &self.method)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("proxy", &self.proxy)
            .field("tls_files", &self.tls_files)
            .finish_non_exhaustive()
    }
}
