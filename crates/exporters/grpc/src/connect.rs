//! From an address to a connection that has proven to speak HTTP/2.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec::IntoIter;

use bytes::Bytes;
use hiq_core::config::Endpoint;
use hiq_net::outgoing::Body;
use hiq_net::progress::Progress;
use hiq_net::resolve::addresses;
use http::{Method, Request, header};
use http_body::{Frame, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::config::{Proxy, Target};
use crate::error::Trouble;
use crate::greeting::Overheard;

/// The system probes a silent peer after this long: middle boxes forget idle connections.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where calls are made.
pub(crate) type Sender = http2::SendRequest<Body>;

/// Connects to `target`, through its proxy where it has one.
pub(crate) async fn connect(
    target: &Target,
    tls: &ClientConfig,
    progress: &Progress,
) -> Result<Sender, Trouble> {
    let stream = reach(target, tls, progress).await?;
    let stream: Box<dyn Stream> = if target.endpoint.is_https() {
        let mut config = tls.clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let agreed = agree_on_tls(stream, &target.endpoint, config).await;
        Box::new(agreed.map_err(Trouble::Tls)?)
    } else {
        stream
    };
    greet(stream).await
}

/// Both directions of a connection, whatever is below.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream to the target itself.
async fn reach(
    target: &Target,
    tls: &ClientConfig,
    progress: &Progress,
) -> Result<Box<dyn Stream>, Trouble> {
    let Some(proxy) = &target.proxy else {
        return open(&target.uri, progress).await;
    };
    let stream = open(&proxy.uri, progress).await?;
    let stream: Box<dyn Stream> = if proxy.endpoint.is_https() {
        let agreed = agree_on_tls(stream, &proxy.endpoint, tls.clone()).await;
        Box::new(agreed.map_err(Trouble::ProxyTls)?)
    } else {
        stream
    };
    tunnel(stream, proxy, &target.endpoint).await
}

async fn open(uri: &http::Uri, progress: &Progress) -> Result<Box<dyn Stream>, Trouble> {
    let mut connector = HttpConnector::new_with_resolver(Resolver(progress.clone()));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(TCP_KEEP_ALIVE));
    let stream = connector.call(uri.clone()).await;
    let stream = stream.map_err(|error| Trouble::Unconnected(error.into()))?;
    Ok(Box::new(stream.into_inner()))
}

async fn agree_on_tls(
    stream: Box<dyn Stream>,
    with: &Endpoint,
    config: ClientConfig,
) -> io::Result<TlsStream<Box<dyn Stream>>> {
    let name = ServerName::try_from(with.host().to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await
}

/// Asks `proxy` for a way to `endpoint`.
async fn tunnel(
    stream: Box<dyn Stream>,
    proxy: &Proxy,
    endpoint: &Endpoint,
) -> Result<Box<dyn Stream>, Trouble> {
    let unanswered = |error: hyper::Error| Trouble::NoTunnel(Some(error));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(unanswered)?;
    tokio::spawn(connection.with_upgrades());
    let request = connect_request(proxy, endpoint)?;
    let response = sender.send_request(request).await.map_err(unanswered)?;
    if !response.status().is_success() {
        return Err(Trouble::TunnelRefused(response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(unanswered)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

fn connect_request(proxy: &Proxy, endpoint: &Endpoint) -> Result<Request<Nothing>, Trouble> {
    let host = endpoint.host();
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let authority = format!("{host}:{}", endpoint.port());
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(header::HOST, &authority);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    request.body(Nothing).map_err(|_| Trouble::NoTunnel(None))
}

/// Begins HTTP/2 and waits for the far side to do so too: what it is told before may go to anybody.
async fn greet(stream: Box<dyn Stream>) -> Result<Sender, Trouble> {
    let (stream, greeting) = Overheard::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(Trouble::Broken)?;
    tokio::spawn(connection);
    greeting.is_http2().await.map_err(Trouble::NotHttp2)?;
    Ok(sender)
}

/// A body of nothing.
struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// The system's own, see [`addresses`].
#[derive(Clone, Debug)]
struct Resolver(Progress);

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(addresses(name.as_str().to_owned(), self.0.clone()))
    }
}
