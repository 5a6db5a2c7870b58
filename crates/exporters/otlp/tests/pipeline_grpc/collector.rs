//! A collector that follows a script: tonic decodes what it is sent, and answers.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use hiq_core::id::SpanId;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// What a collector does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Full,
    Partial {
        rejected: i64,
        words: &'static str,
    },
    Status(Status),
    /// Nothing, until the client gives up.
    Stall,
    /// The connection is closed.
    HangUp,
}

/// A request, as tonic and prost have read it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) ids: Vec<SpanId>,
    pub(crate) metadata: MetadataMap,
}

/// Listens on a free port of this machine, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Receiver<Seen>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Manners {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) takes_gzip: bool,
    pub(crate) max_message_bytes: Option<usize>,
}

type Script = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

impl Collector {
    /// `script` gets the number of the request, from 0.
    pub(crate) fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(Manners::default(), script)
    }

    /// Answers like this once, and then takes everything.
    pub(crate) fn first(answer: Answer) -> Self {
        Self::start(move |number| match number {
            0 => answer.clone(),
            _ => Answer::Full,
        })
    }

    pub(crate) fn with(
        manners: Manners,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (tell, seen) = channel();
        let service = Service {
            script: Arc::new(script),
            tell,
            requests: Arc::default(),
            hang_up: Arc::default(),
        };
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((stream, _)) = listener.accept().await {
                    counter.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(welcome(stream, manners.clone(), service.clone()));
                }
            });
        });
        Self {
            address,
            connections,
            seen,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.recv().unwrap()
    }

    /// Requests that were not asked for yet.
    pub(crate) fn further(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}

async fn welcome(stream: TcpStream, manners: Manners, service: Service) {
    match manners.tls.clone() {
        None => serve(stream, &manners, service).await,
        Some(config) => {
            let mut config = (*config).clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            if let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                serve(stream, &manners, service).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    manners: &Manners,
    service: Service,
) {
    let hang_up = Arc::clone(&service.hang_up);
    let mut server = TraceServiceServer::new(service);
    if manners.takes_gzip {
        server = server
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
    }
    if let Some(bytes) = manners.max_message_bytes {
        server = server.max_decoding_message_size(bytes);
    }
    let connection = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(server));
    let mut connection = std::pin::pin!(connection);
    let mut hung_up = std::pin::pin!(hang_up.notified());
    std::future::poll_fn(|context| {
        if hung_up.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        connection.as_mut().poll(context).map(|_| ())
    })
    .await;
}

#[derive(Clone)]
struct Service {
    script: Script,
    tell: Sender<Seen>,
    requests: Arc<AtomicUsize>,
    hang_up: Arc<Notify>,
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let answer = (self.script)(self.requests.fetch_add(1, Ordering::SeqCst));
        let ids = ids(&message);
        let _ = self.tell.send(Seen { ids, metadata });
        let mut response = ExportTraceServiceResponse::default();
        match answer {
            Answer::Full => {}
            Answer::Partial { rejected, words } => {
                response.partial_success = Some(ExportTracePartialSuccess {
                    rejected_spans: rejected,
                    error_message: words.to_owned(),
                });
            }
            Answer::Status(status) => return Err(status),
            Answer::Stall => pending::<()>().await,
            Answer::HangUp => {
                self.hang_up.notify_one();
                pending::<()>().await;
            }
        }
        Ok(Response::new(response))
    }
}

fn ids(message: &ExportTraceServiceRequest) -> Vec<SpanId> {
    let scopes = message.resource_spans.iter().flat_map(|of| &of.scope_spans);
    let spans = scopes.flat_map(|of| &of.spans);
    let id = |bytes: &[u8]| SpanId(u64::from_be_bytes(bytes.try_into().unwrap()));
    spans.map(|span| id(&span.span_id)).collect()
}
