//! The scrape endpoint: HTTP on a thread of its own.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};

use hiq_core::config::ConfigError;
use hiq_core::metric::record::Registry;

use crate::exposition::ClashReport;
use crate::inherited::{Inherited, Watched};
use crate::scrape::{Page, Scrape};
use crate::scrape_config::{self, ScrapeSettings};

/// Connections that are served at a time; others wait.
const MAX_CONNECTIONS: usize = 64;
/// A scraper that has not sent its request by then is hung up on.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers scrapes at an address until it is dropped.
///
/// ```no_run
/// use hiq_core::config::Env;
/// use hiq_core::metric::record::Registry;
/// use hiq_prometheus::{ScrapeOptions, ScrapeServer, ScrapeSettings};
///
/// let registry = Registry::new();
/// let env = Env::process();
/// let settings = ScrapeSettings::new(&ScrapeOptions::default(), &env, &mut Vec::new());
/// let server = ScrapeServer::start(&registry, &settings)?;
/// assert!(server.address().ip().is_loopback());
/// # Ok::<(), hiq_core::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct ScrapeServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    /// In a forked child the listener is closed and the thread does not exist.
    process: Inherited,
}

impl ScrapeServer {
    /// Listens at the address of `settings` and answers scrapes of `registry`. Fails when the address cannot be listened
    /// at: somebody else does, or it is not of this machine.
    pub fn start(registry: &Registry, settings: &ScrapeSettings) -> Result<Self, ConfigError> {
        let scrape = Scrape::new(registry.clone())
            .with_alphabet(settings.alphabet)
            .with_native_summaries(settings.native_summaries)
            .with_clash_report(ClashReport::to(settings.status.clone()));
        let listener = listen(settings).map_err(|error| cannot_listen(settings, &error))?;
        let answer: Arc<Answer> = Arc::new(move |asked| {
            asked.answer(|| scrape.answer(asked.accept, asked.accept_encoding))
        });
        Self::serve(listener, answer).map_err(|error| cannot_listen(settings, &error))
    }

    pub(crate) fn serve(listener: TcpListener, answer: Arc<Answer>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let (process, watched) = (Inherited::new(), Watched::new(&listener));
        let thread = std::thread::Builder::new()
            .name("hiq-prometheus".to_owned())
            .spawn(move || run(listener, watched, answer, stopped))?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
            process,
        })
    }

    /// Where it listens, with the port that was chosen if any would do.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ScrapeServer {
    fn drop(&mut self) {
        let thread = self.thread.take();
        if self.process.is_inherited() {
            // Its thread did not come along.
            std::mem::forget(thread);
            return;
        }
        self.stop.send_replace(true);
        if let Some(thread) = thread {
            // It has nothing to wait for but the answer that it is writing.
            let _ = thread.join();
        }
    }
}

/// What a request is answered with.
pub(crate) type Answer = dyn Fn(&Asked<'_>) -> Answered + Send + Sync;

/// A request, as far as it matters.
pub(crate) struct Asked<'r> {
    pub(crate) method: &'r Method,
    pub(crate) path: &'r str,
    pub(crate) accept: &'r str,
    pub(crate) accept_encoding: &'r str,
}

/// An answer.
pub(crate) enum Answered {
    Page(Page),
    NotFound,
    NotAllowed,
}

impl Asked<'_> {
    /// `page` for a scrape of `/metrics`; whoever looks by hand may ask for `/`.
    pub(crate) fn answer(&self, page: impl FnOnce() -> Page) -> Answered {
        match (self.method, self.path) {
            (&(Method::GET | Method::HEAD), "/metrics" | "/") => Answered::Page(page()),
            (_, "/metrics" | "/") => Answered::NotAllowed,
            _ => Answered::NotFound,
        }
    }
}

/// The first address of the host that can be listened at.
pub(crate) fn listen(settings: &ScrapeSettings) -> io::Result<TcpListener> {
    let addresses: Vec<_> = (settings.host.as_str(), settings.port)
        .to_socket_addrs()?
        .collect();
    // Where a name has both kinds, IPv4 is what scrapers are told most often.
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in first.into_iter().chain(second) {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

pub(crate) fn cannot_listen(settings: &ScrapeSettings, error: &io::Error) -> ConfigError {
    let (place, fix) = match error.kind() {
        io::ErrorKind::AddrInUse => (scrape_config::PORT, "give a free port"),
        io::ErrorKind::AddrNotAvailable => (
            scrape_config::HOST,
            "that is no address of this machine: give localhost, one of its addresses, or 0.0.0.0 for all",
        ),
        _ => (
            scrape_config::HOST,
            "give a host of this machine and, in OTEL_EXPORTER_PROMETHEUS_PORT, a port that is free to this user",
        ),
    };
    let problem = format!(
        "cannot listen at {}:{}: {error}",
        settings.host, settings.port
    );
    ConfigError::new(place, problem, fix)
}

fn run(
    listener: TcpListener,
    watched: Watched,
    answer: Arc<Answer>,
    stopped: watch::Receiver<bool>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    // Without descriptors for it there is nothing that could be served.
    if let Ok(runtime) = runtime {
        runtime.block_on(accept(listener, answer, stopped, watched));
    }
}

async fn accept(
    listener: TcpListener,
    answer: Arc<Answer>,
    mut stopped: watch::Receiver<bool>,
    watched: Watched,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            _ = stopped.changed() => break,
        };
        match connection {
            Ok((stream, _)) => {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        std::future::ready(Ok::<_, Infallible>(respond(&*answer, &request)))
                    });
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new());
                    http.header_read_timeout(REQUEST_TIMEOUT);
                    // What goes wrong on a connection is the scraper's to say.
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    drop(place);
                });
            }
            // Too many open files, for the most part: others may close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    drop(watched);
    drop(listener);
}

fn respond(answer: &Answer, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let answered = answer(&Asked {
        method: request.method(),
        path: request.uri().path(),
        accept: &header(request, &ACCEPT),
        accept_encoding: &header(request, &ACCEPT_ENCODING),
    });
    match answered {
        Answered::Page(page) => response(page),
        Answered::NotFound => short(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
        Answered::NotAllowed => {
            let mut response = short(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            response
        }
    }
}

/// All values of a header, as one list.
fn header(request: &Request<Incoming>, name: &HeaderName) -> String {
    let values = request.headers().get_all(name).iter();
    let texts: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    texts.join(",")
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(encoding) = page.content_encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn short(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
