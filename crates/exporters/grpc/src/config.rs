//! What a transport is told, and what it makes of it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hiq_core::config::{
    ClientIdentity, ConfigError, Endpoint, OtlpSettings, ProxySettings, Secret,
};
use hiq_net::peer::Peer;
use hiq_net::{headers, tls};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::GrpcTransport;

/// They belong to HTTP/2 or gRPC, as do names that begin with `grpc-` or end with `-bin`.
const OURS: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Where and how payloads are sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GrpcOptions {
    /// Scheme, host and port; `https` is TLS, `http` is plain text. A path is of no meaning and left out.
    pub endpoint: Endpoint,
    /// The method's path: `/package.Service/Method`.
    pub method: String,
    /// Metadata of every call, in ASCII. What gRPC and HTTP/2 use themselves cannot be set.
    pub headers: Vec<(String, Secret)>,
    /// `User-Agent`; `hiq/<version>` unless said otherwise.
    pub user_agent: String,
    /// PEM file of the authorities to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's certificate and key, for servers that ask for them.
    pub client_identity: Option<ClientIdentity>,
    /// Proxies, which are asked for a tunnel (`CONNECT`) also where the endpoint is plain; none unless said otherwise.
    pub proxies: ProxySettings,
    /// How long looking up the name, connecting, TLS and HTTP/2's greeting may take together; 3 s unless said otherwise,
    /// zero: as long as the attempt.
    pub connect_timeout: Duration,
    /// Bytes of one uncompressed payload; 4 MiB unless said otherwise, which is what servers take unless told otherwise.
    pub max_payload_bytes: usize,
}

impl GrpcOptions {
    /// Calls of `method` (`/package.Service/Method`) at `endpoint`, and the defaults.
    pub fn new(endpoint: Endpoint, method: impl Into<String>) -> Self {
        Self {
            endpoint,
            method: method.into(),
            headers: Vec::new(),
            user_agent: concat!("hiq/", env!("CARGO_PKG_VERSION")).to_owned(),
            certificate: None,
            client_identity: None,
            proxies: ProxySettings::default(),
            connect_timeout: Duration::from_secs(3),
            max_payload_bytes: 4 << 20,
        }
    }

    /// What an exporter of OTLP over gRPC was told.
    pub fn for_otlp(
        settings: &OtlpSettings,
        proxies: &ProxySettings,
        method: impl Into<String>,
    ) -> Self {
        Self {
            headers: settings.headers.clone(),
            user_agent: concat!("OTel-OTLP-Exporter-hiq/", env!("CARGO_PKG_VERSION")).to_owned(),
            certificate: settings.certificate.clone(),
            client_identity: settings.client_identity.clone(),
            proxies: proxies.clone(),
            ..Self::new(settings.endpoint.clone(), method)
        }
    }

    /// A transport that has checked all this, certificate files included. It opens no socket and starts no thread before
    /// its first payload.
    pub fn build(&self) -> Result<GrpcTransport, ConfigError> {
        Target::new(self).map(GrpcTransport::new)
    }
}

/// Checked options, in the forms that calls are made of.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) peer: Peer,
    pub(crate) uri: Uri,
    /// Metadata, and what every call has.
    pub(crate) headers: HeaderMap,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) tls_files: Option<tls::Files>,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_payload_bytes: usize,
}

/// Who is asked for a tunnel.
pub(crate) struct Proxy {
    pub(crate) endpoint: Endpoint,
    pub(crate) uri: Uri,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Target {
    pub(crate) fn new(options: &GrpcOptions) -> Result<Self, ConfigError> {
        let endpoint = options.endpoint.clone();
        if endpoint.has_credentials() {
            let problem = format!("`{endpoint}` holds credentials, which gRPC does not send");
            let fix = "put them into an authorization header";
            return Err(ConfigError::new("endpoint", problem, fix));
        }
        let uri = address("endpoint", &endpoint, &options.method)?;
        let proxy = options.proxies.proxy_for(&endpoint);
        let proxy = proxy.map(Proxy::new).transpose()?;
        let speaks_tls = endpoint.is_https()
            || proxy
                .as_ref()
                .is_some_and(|proxy| proxy.endpoint.is_https());
        let (certificate, identity) = (
            options.certificate.as_ref(),
            options.client_identity.as_ref(),
        );
        let tls_files = tls::Files::checked(speaks_tls, certificate, identity)?;
        let before = proxy.as_ref().map(|proxy| &proxy.endpoint);
        Ok(Self {
            peer: Peer::new(
                shown(&uri),
                &endpoint,
                before,
                tls_files.as_ref(),
                "begin to speak HTTP/2",
            ),
            uri,
            headers: constant(options)?,
            proxy,
            tls_files,
            connect_timeout: options.connect_timeout,
            max_payload_bytes: options.max_payload_bytes,
            endpoint,
        })
    }
}

impl Proxy {
    fn new(endpoint: &Endpoint) -> Result<Self, ConfigError> {
        let wrong = || not_usable("proxies", endpoint);
        let url = Url::parse(endpoint.expose()).map_err(|_| wrong())?;
        let authorization = if endpoint.has_credentials() {
            let user: Vec<u8> = percent_decode_str(url.username()).collect();
            let password: Vec<u8> =
                percent_decode_str(url.password().unwrap_or_default()).collect();
            Some(headers::basic(&user, &password).ok_or_else(wrong)?)
        } else {
            None
        };
        Ok(Self {
            endpoint: endpoint.clone(),
            uri: address("proxies", endpoint, "/")?,
            authorization,
        })
    }
}

fn address(place: &'static str, endpoint: &Endpoint, path: &str) -> Result<Uri, ConfigError> {
    let path: PathAndQuery = path.parse().map_err(|_| {
        let problem = format!("`{}` is no method", path.escape_debug());
        ConfigError::new("method", problem, "write it as /package.Service/Method")
    })?;
    let wrong = || not_usable(place, endpoint);
    let url = Url::parse(endpoint.expose()).map_err(|_| wrong())?;
    let host = url.host_str().ok_or_else(wrong)?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let uri = Uri::builder().scheme(url.scheme()).authority(authority);
    uri.path_and_query(path).build().map_err(|_| wrong())
}

fn not_usable(place: &'static str, endpoint: &Endpoint) -> ConfigError {
    let problem = format!("`{endpoint}` is no address that can be used");
    ConfigError::new(place, problem, "write it as http://host:port")
}

fn shown(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}")
}

/// Headers that are the same for all calls.
fn constant(options: &GrpcOptions) -> Result<HeaderMap, ConfigError> {
    let mut all = HeaderMap::with_capacity(options.headers.len() + 6);
    all.insert(
        header::USER_AGENT,
        headers::user_agent(&options.user_agent)?,
    );
    for (name, value) in &options.headers {
        let (name, value) = headers::parse(name, value)?;
        let text = name.as_str();
        if OURS.contains(&text) || text.starts_with("grpc-") || text.ends_with("-bin") {
            let problem = format!("header `{name}` is kept by gRPC for itself");
            return Err(ConfigError::new("headers", problem, "leave it out"));
        }
        if value.to_str().is_err() {
            let problem = format!("the value of header `{name}` is not ASCII, as gRPC wants it");
            return Err(ConfigError::new("headers", problem, "percent-encode it"));
        }
        all.insert(name, value);
    }
    all.insert(header::TE, HeaderValue::from_static("trailers"));
    all.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    all.insert(
        "grpc-accept-encoding",
        HeaderValue::from_static("identity,gzip"),
    );
    Ok(all)
}

/// By hand: the parts of an address are no secrets to their own type.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint)
            .field("method", &self.uri.path())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("proxy", &self.proxy.as_ref().map(|proxy| &proxy.endpoint))
            .field("tls_files", &self.tls_files)
            .finish_non_exhaustive()
    }
}
