//! A server of HTTP/2 that follows a script, frame by frame where that matters.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

/// Listens on a free port of this machine, on a thread of its own.
#[derive(Debug)]
pub(crate) struct GrpcServer {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    events: Receiver<Event>,
}

#[derive(Debug)]
enum Event {
    Call(Call),
    Closed { with_goodbye: bool },
}

/// A call as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) headers: HeaderMap,
    /// The first byte of the frame.
    pub(crate) flag: u8,
    pub(crate) message: Vec<u8>,
    /// Which one of this server's, from 0.
    pub(crate) number: usize,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// What a server does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A message in gRPC's frame, then status OK.
    Ok(Vec<u8>),
    /// No message: head and status in one.
    Status(u8, &'static str),
    /// This head, this body, these trailers.
    Raw(Head, Vec<u8>, Option<Head>),
    /// A head and this body, and then nothing.
    Stall(Vec<u8>),
    /// A head and this body, and then an end of this kind.
    Break(Vec<u8>, Reason),
    /// An end of this kind instead of an answer.
    Reset(Reason),
    /// The connection is closed instead.
    HangUp,
    /// As `Ok`, and then goodbye.
    OkAndGoAway,
    /// As `Ok`, and then the connection is closed without a word.
    OkAndHangUp,
}

pub(crate) type Head = Vec<(&'static str, String)>;

/// A message in gRPC's frame.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

pub(crate) fn grpc_head() -> Head {
    vec![
        (":status", "200".to_owned()),
        ("content-type", "application/grpc".to_owned()),
    ]
}

pub(crate) fn status(code: &str) -> Head {
    vec![("grpc-status", code.to_owned())]
}

type Script = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

impl GrpcServer {
    pub(crate) fn start(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(None, script)
    }

    pub(crate) fn tls(
        config: &ServerConfig,
        script: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self::tls_as_it_is(config, script)
    }

    pub(crate) fn tls_as_it_is(
        config: ServerConfig,
        script: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(TlsAcceptor::from(Arc::new(config))), script)
    }

    fn with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Call) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, events) = channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            tls,
            script: Arc::new(script),
            tell,
            connections: Arc::clone(&connections),
            calls: Arc::default(),
        };
        std::thread::spawn(move || shared.run(&runtime, &listener));
        Self {
            address,
            connections,
            events,
        }
    }

    /// Answers every call with this message.
    pub(crate) fn answering(message: &'static [u8]) -> Self {
        Self::start(|_| Answer::Ok(message.to_vec()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next call that was read.
    pub(crate) fn call(&self) -> Call {
        loop {
            if let Event::Call(call) = self.events.recv().unwrap() {
                return call;
            }
        }
    }

    /// Calls that were read and not asked for yet.
    pub(crate) fn further_calls(&self) -> usize {
        let events = self.events.try_iter();
        events
            .filter(|event| matches!(event, Event::Call(_)))
            .count()
    }

    /// Waits until a client has gone; true when it said goodbye as HTTP/2 wants it.
    pub(crate) fn wait_for_close(&self) -> bool {
        loop {
            if let Event::Closed { with_goodbye } = self.events.recv().unwrap() {
                return with_goodbye;
            }
        }
    }
}

#[derive(Clone)]
struct Shared {
    tls: Option<TlsAcceptor>,
    script: Script,
    tell: Sender<Event>,
    connections: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

/// What a call wants of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    HangUp,
    HangUpLater,
    GoAway,
}

impl Shared {
    fn run(&self, runtime: &Runtime, listener: &TcpListener) {
        runtime.block_on(async {
            while let Ok((stream, _)) = listener.accept().await {
                self.connections.fetch_add(1, Ordering::SeqCst);
                let shared = self.clone();
                tokio::spawn(async move { shared.welcome(stream).await });
            }
        });
    }

    async fn welcome(self, stream: TcpStream) {
        match self.tls.clone() {
            None => self.serve(stream).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    self.serve(stream).await;
                }
            }
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Ok(mut connection) = h2::server::handshake(stream).await else {
            return;
        };
        let (wish, mut wishes) = tokio::sync::mpsc::unbounded_channel();
        let mut may_wish = true;
        let with_goodbye = loop {
            match next(&mut connection, &mut wishes, may_wish).await {
                Next::Call(call) => {
                    let (shared, wish) = (self.clone(), wish.clone());
                    let (request, respond) = *call;
                    tokio::spawn(async move { shared.answer(request, respond, &wish).await });
                }
                Next::Wish(Wish::HangUp) => return,
                Next::Wish(Wish::HangUpLater) => {
                    flush(&mut connection).await;
                    drop(connection);
                    break false;
                }
                Next::Wish(Wish::GoAway) => {
                    may_wish = false;
                    connection.graceful_shutdown();
                }
                Next::End { properly } => break properly,
            }
        };
        let _ = self.tell.send(Event::Closed { with_goodbye });
    }

    async fn answer(
        self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        wish: &tokio::sync::mpsc::UnboundedSender<Wish>,
    ) -> Option<()> {
        let call = self.read(request).await?;
        let answer = (self.script)(&call);
        self.tell.send(Event::Call(call)).ok()?;
        let mut send = |head: &Head, end| respond.send_response(response(head), end).ok();
        match answer {
            Answer::Ok(message) => say(
                send(&grpc_head(), false)?,
                framed(&message),
                Some(status("0")),
            ),
            Answer::Status(code, message) => {
                let mut head = grpc_head();
                head.extend(status(&code.to_string()));
                head.push(("grpc-message", message.to_owned()));
                send(&head, true).map(|_| ())
            }
            Answer::Raw(head, body, trailers) => say(send(&head, false)?, body, trailers),
            Answer::Stall(body) => {
                let mut stream = send(&grpc_head(), false)?;
                stream.send_data(body.into(), false).ok()?;
                // Until the client gives up.
                poll_fn(|context| stream.poll_reset(context))
                    .await
                    .ok()
                    .map(|_| ())
            }
            Answer::Break(body, reason) => {
                let mut stream = send(&grpc_head(), false)?;
                stream.send_data(body.into(), false).ok()?;
                stream.send_reset(reason);
                Some(())
            }
            Answer::Reset(reason) => {
                respond.send_reset(reason);
                Some(())
            }
            Answer::HangUp => wish.send(Wish::HangUp).ok(),
            Answer::OkAndGoAway | Answer::OkAndHangUp => {
                say(send(&grpc_head(), false)?, framed(b""), Some(status("0")));
                let goes_away = matches!(answer, Answer::OkAndGoAway);
                wish.send(if goes_away {
                    Wish::GoAway
                } else {
                    Wish::HangUpLater
                })
                .ok()
            }
        }
    }

    async fn read(&self, request: Request<RecvStream>) -> Option<Call> {
        let (head, mut body) = request.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.ok()?;
            body.flow_control().release_capacity(chunk.len()).ok()?;
            bytes.extend_from_slice(&chunk);
        }
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        assert_eq!(length as usize, bytes.len() - 5, "one whole frame");
        Some(Call {
            path: head.uri.path().to_owned(),
            authority: head.uri.authority().unwrap().to_string(),
            headers: head.headers,
            flag: bytes[0],
            message: bytes.split_off(5),
            number: self.calls.fetch_add(1, Ordering::SeqCst),
        })
    }
}

enum Next {
    Call(Box<(Request<RecvStream>, SendResponse<Bytes>)>),
    Wish(Wish),
    End { properly: bool },
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S, Bytes>,
    wishes: &mut tokio::sync::mpsc::UnboundedReceiver<Wish>,
    may_wish: bool,
) -> Next {
    poll_fn(|context| {
        if may_wish && let Poll::Ready(Some(wish)) = wishes.poll_recv(context) {
            return Poll::Ready(Next::Wish(wish));
        }
        connection
            .poll_accept(context)
            .map(|accepted| match accepted {
                Some(Ok(call)) => Next::Call(Box::new(call)),
                Some(Err(_)) => Next::End { properly: false },
                None => Next::End { properly: true },
            })
    })
    .await
}

/// Lets what is said leave: a few turns are plenty on this machine's own network.
async fn flush<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S, Bytes>) {
    for _ in 0..10 {
        poll_fn(|context| {
            let _ = connection.poll_accept(context);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
}

fn say(mut stream: SendStream<Bytes>, body: Vec<u8>, trailers: Option<Head>) -> Option<()> {
    stream.send_data(body.into(), trailers.is_none()).ok()?;
    match trailers {
        Some(trailers) => stream.send_trailers(fields(&trailers)).ok(),
        None => Some(()),
    }
}

fn response(head: &Head) -> Response<()> {
    let mut response = Response::new(());
    let status = head.iter().find(|(name, _)| *name == ":status");
    *response.status_mut() = status.unwrap().1.parse().unwrap();
    *response.headers_mut() = fields(head);
    response
}

fn fields(head: &Head) -> HeaderMap {
    let named = head.iter().filter(|(name, _)| !name.starts_with(':'));
    named
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        })
        .collect()
}
