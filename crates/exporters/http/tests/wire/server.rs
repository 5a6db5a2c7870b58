//! A server that follows a script, over plain sockets: it shares no code with the client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Both directions of a connection, TLS or not.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Listens on a free port of this machine. Each connection is served on a thread of its own.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    events: Receiver<Event>,
}

/// What a script told the test.
#[derive(Debug)]
pub(crate) enum Event {
    Request(Request),
    /// The client closed its side; TLS: with a goodbye.
    Closed {
        properly: bool,
    },
}

/// A request as it was on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) first_line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// One connection, as the script sees it.
pub(crate) struct Conversation {
    stream: BufReader<Box<dyn Stream>>,
    events: Sender<Event>,
}

impl Server {
    /// Runs `script` for each connection; it ends when the script returns.
    pub(crate) fn start(script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        Self::wrapped(|stream| Some(Box::new(stream)), script)
    }

    /// As [`Server::start`], with `wrap` between socket and script.
    pub(crate) fn wrapped(
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
        script: impl Fn(&mut Conversation) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, events) = channel();
        let counter = Arc::clone(&connections);
        let shared = Arc::new((wrap, script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                let events = sender.clone();
                std::thread::spawn(move || {
                    if let Some(stream) = shared.0(stream) {
                        let stream = BufReader::new(stream);
                        shared.1(&mut Conversation { stream, events });
                    }
                });
            }
        });
        Self {
            address,
            connections,
            events,
        }
    }

    /// Answers every request with these bytes and keeps the connection.
    pub(crate) fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |talk| {
            while talk.request().is_some() {
                talk.say(&bytes);
            }
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request that a script has read.
    pub(crate) fn request(&self) -> Request {
        match self.events.recv().unwrap() {
            Event::Request(request) => request,
            Event::Closed { .. } => panic!("closed before a request"),
        }
    }

    /// Waits until a script has seen its client go; true when it said goodbye where TLS wants that.
    pub(crate) fn wait_for_close(&self) -> bool {
        loop {
            if let Event::Closed { properly } = self.events.recv().unwrap() {
                return properly;
            }
        }
    }

    /// Requests that were read and not asked for yet.
    pub(crate) fn further_requests(&self) -> usize {
        let events = self.events.try_iter();
        events
            .filter(|event| matches!(event, Event::Request(_)))
            .count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Conversation {
    /// Reads a whole request and tells the test; `None` when the client has gone.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let request = self.head().and_then(|(first_line, headers)| {
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.map_or(0, |(_, value)| value.parse().unwrap());
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).ok()?;
            Some(Request {
                first_line,
                headers,
                body,
            })
        });
        if let Some(request) = &request {
            let _ = self.events.send(Event::Request(request.clone()));
        }
        request
    }

    /// Reads a request's head; its body stays where it is.
    pub(crate) fn head(&mut self) -> Option<(String, Vec<(String, String)>)> {
        let first_line = self.line()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some((first_line, headers));
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end_matches("\r\n").to_owned())
    }

    /// Writes `bytes`; false when the client does not listen any more.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = self.stream.get_mut();
        stream
            .write_all(bytes.as_ref())
            .and_then(|()| stream.flush())
            .is_ok()
    }

    /// Waits until the client has gone, and tells the test.
    pub(crate) fn until_closed(&mut self) {
        let properly = io::copy(&mut self.stream, &mut io::sink()).is_ok();
        let _ = self.events.send(Event::Closed { properly });
    }

    /// Bytes that the client sends, `count` of them.
    pub(crate) fn raw(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let _ = self.stream.read_exact(&mut bytes);
        bytes
    }
}

impl Request {
    /// The values of the headers of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// A response with `Content-Length`, and `more` header lines, each with its line end.
pub(crate) fn response(status: &str, more: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{more}content-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// An address of this machine where nobody listens.
pub(crate) fn deserted_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// An address that takes no connection, as long as the sockets are kept.
pub(crate) fn unanswering_address() -> (SocketAddr, impl Sized) {
    let listener = narrow_listener();
    let queue = fill_queue(&listener);
    (listener.local_addr().unwrap(), (listener, queue))
}

/// A listener whose queue is short.
pub(crate) fn narrow_listener() -> TcpListener {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    listen(&listener, 0).unwrap();
    TcpListener::from(listener)
}

/// Connections that wait to be accepted, so many that the kernel leaves further ones without an answer.
pub(crate) fn fill_queue(listener: &TcpListener) -> Vec<TcpStream> {
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
    std::iter::from_fn(connect).collect()
}
