//! UDP: a packet a payload, to an agent that never answers.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use hiq_core::export::Deadline;
use hiq_core::fork;
use hiq_core::transport::{
    Outcome, Payload, PayloadId, Reply, Transport, TransportError, TransportErrorKind,
    TransportLimits,
};

/// What one packet may hold: agents read 65,000 bytes and cut the rest off in silence; macOS sends no more than 9,216.
pub const MAX_PACKET_BYTES: usize = if cfg!(target_vendor = "apple") {
    9_216
} else {
    65_000
};

/// Sends each payload as one packet.
///
/// Nothing is ever confirmed. But where nobody listens, the far host may say so (ICMP), and on this machine the kernel does at
/// once: then the packet counts as not delivered, and is sent again like any other. The name is looked up for the first packet, and again after
/// a failure. Never waits for the wire longer than 100 ms.
#[derive(Debug)]
pub struct UdpTransport {
    host: Arc<str>,
    port: u16,
    max_packet_bytes: usize,
    socket: Option<UdpSocket>,
    /// The last packet was refused: the next answer is worth waiting for.
    refused: bool,
    settled: Vec<Outcome>,
    /// The process that the socket belongs to.
    generation: u32,
}

/// How long a full send buffer, or the answer of a host that has refused packets before, is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

impl UdpTransport {
    /// To `port` of `host`, a name or an address, IPv4 or IPv6. Opens nothing yet.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.trim_matches(['[', ']']).into(),
            port,
            max_packet_bytes: MAX_PACKET_BYTES,
            socket: None,
            refused: false,
            settled: Vec::new(),
            generation: fork::generation(),
        }
    }

    /// The same with packets of at most so many bytes; [`MAX_PACKET_BYTES`] unless said otherwise.
    #[must_use]
    pub fn with_max_packet_bytes(mut self, bytes: usize) -> Self {
        self.max_packet_bytes = bytes;
        self
    }

    fn attempt(&mut self, packet: &[u8], deadline: &Deadline) -> Result<Reply, TransportError> {
        if self.generation != fork::generation() {
            // The parent's.
            self.socket = None;
            self.generation = fork::generation();
        }
        if let Some(socket) = self.socket.take()
            && self.send(&socket, packet, deadline).is_ok()
        {
            self.socket = Some(socket);
            return Ok(Reply::Unconfirmed);
        }
        let addresses = self.look_up(deadline)?;
        self.attempt_anew(&addresses, packet, deadline)
    }

    /// Of a name with several addresses, those where nobody listens are passed over.
    fn attempt_anew(
        &mut self,
        addresses: &[SocketAddr],
        packet: &[u8],
        deadline: &Deadline,
    ) -> Result<Reply, TransportError> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            let sent = connected(*address).and_then(|socket| {
                self.send(&socket, packet, deadline)?;
                Ok(socket)
            });
            match sent {
                Ok(socket) => {
                    self.socket = Some(socket);
                    return Ok(Reply::Unconfirmed);
                }
                Err(error) => last = error,
            }
        }
        Err(self.error(&last))
    }

    fn send(&self, socket: &UdpSocket, packet: &[u8], deadline: &Deadline) -> io::Result<()> {
        const STEP: Duration = Duration::from_millis(1);
        let patience = deadline.within(PATIENCE);
        loop {
            match socket.send(packet) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience.sleep(STEP) => {
                }
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        self.wait_for_refusal(socket)
    }

    /// An agent does not answer; only the word that nobody is there comes back.
    fn wait_for_refusal(&self, socket: &UdpSocket) -> io::Result<()> {
        if !self.refused {
            return socket.take_error()?.map_or(Ok(()), Err);
        }
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let received = loop {
            match socket.recv(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        socket.set_nonblocking(true)?;
        match received {
            Err(error) if is_refusal(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The system's own look-up knows no time limit, so it gets a thread of its own, which ends with it.
    fn look_up(&self, deadline: &Deadline) -> Result<Vec<SocketAddr>, TransportError> {
        if let Ok(address) = self.host.parse() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let (sender, answers) = mpsc::channel();
        let waker = Waker::from(Arc::new(Pulled(sender.clone())));
        let _guard = deadline.wake_when_pulled(&waker);
        let target = (self.host.to_string(), self.port);
        let lookup = thread::Builder::new().name("hiq-lookup".to_owned());
        let spawned = lookup.spawn(move || {
            let found = target.to_socket_addrs().map(Iterator::collect);
            // Nobody waits any more when the deadline has passed.
            let _ = sender.send(Some(found));
        });
        spawned.map_err(|error| self.error(&error))?;
        loop {
            let left = deadline.remaining().unwrap_or(Duration::from_secs(60));
            match answers.recv_timeout(left) {
                Ok(Some(Ok(mut found))) => {
                    // As Jaeger's own clients: agents often listen on IPv4 alone.
                    found.sort_by_key(SocketAddr::is_ipv6);
                    return Ok(found);
                }
                Ok(Some(Err(error))) => {
                    let message = format!("{}: the name is not known: {error}", self.shown());
                    return Err(TransportError::new(TransportErrorKind::Dns, message));
                }
                Ok(None) if !deadline.is_over() => {}
                Ok(None) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let message = format!("{}: the name was not found in time", self.shown());
                    return Err(TransportError::new(TransportErrorKind::Dns, message));
                }
            }
        }
    }

    fn shown(&self) -> String {
        shown(&self.host, self.port)
    }

    fn error(&self, error: &io::Error) -> TransportError {
        let target = self.shown();
        if is_refusal(error) {
            let message = format!("nobody listens at {target}: is a Jaeger agent running there?");
            return TransportError::new(TransportErrorKind::Connect, message);
        }
        match error.raw_os_error() {
            Some(code) if code == MESSAGE_TOO_LONG => {
                let message = format!(
                    "{target}: the system does not send packets of {} bytes; set max_packet_bytes lower",
                    self.max_packet_bytes
                );
                TransportError::new(TransportErrorKind::Invalid, message)
            }
            _ => TransportError::new(TransportErrorKind::Io, format!("{target}: {error}")),
        }
    }
}

/// `EMSGSIZE`.
const MESSAGE_TOO_LONG: i32 = if cfg!(target_vendor = "apple") {
    40
} else {
    90
};

/// `udp://host:port`.
pub(crate) fn shown(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("udp://[{host}]:{port}")
    } else {
        format!("udp://{host}:{port}")
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// A connected socket is told when packets are refused.
fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

type Found = io::Result<Vec<SocketAddr>>;

/// Tells who waits for an answer that the deadline was pulled forward.
struct Pulled(Sender<Option<Found>>);

impl Wake for Pulled {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(None);
    }
}

impl Transport for UdpTransport {
    fn limits(&self) -> TransportLimits {
        TransportLimits::one_at_a_time(self.max_packet_bytes)
    }

    fn submit(&mut self, id: PayloadId, payload: &Payload<'_>, deadline: &Deadline) {
        let result = self.attempt(payload.body, deadline);
        self.refused = match &result {
            Err(error) => error.kind == TransportErrorKind::Connect,
            Ok(_) => false,
        };
        self.settled.push(Outcome::new(id, result));
    }

    fn poll(&mut self, _deadline: &Deadline, outcomes: &mut Vec<Outcome>) {
        outcomes.append(&mut self.settled);
    }

    fn shutdown(&mut self, _deadline: &Deadline) {
        self.socket = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `localhost` is two addresses on most machines, and agents often listen at one.
    #[test]
    fn of_several_addresses_the_first_where_somebody_listens_gets_the_packet() {
        let [deserted, listener] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = [&deserted, &listener].map(|socket| socket.local_addr().unwrap());
        drop(deserted);
        let patience = Duration::from_secs(30);
        listener.set_read_timeout(Some(patience)).unwrap();
        let mut transport = UdpTransport::new("unused", 1);
        for packet in [b"one", b"two"] {
            let sent = transport.attempt_anew(&addresses, packet, &Deadline::never());
            assert_eq!(sent.unwrap(), Reply::Unconfirmed);
            let mut read = [0; 10];
            assert_eq!(listener.recv(&mut read).unwrap(), 3);
            assert_eq!(&read[..3], packet);
        }
    }

    #[test]
    fn a_look_up_ends_when_the_deadline_is_pulled_forward() {
        let deadline = Deadline::never();
        deadline.pull_forward(std::time::Instant::now());
        let error = UdpTransport::new("no-such-host.invalid", 1).look_up(&deadline);
        assert_eq!(error.unwrap_err().kind, TransportErrorKind::Dns);
    }

    #[test]
    fn a_packet_that_the_system_does_not_send_is_given_up_with_the_fix() {
        let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = agent.local_addr().unwrap().port();
        let mut transport = UdpTransport::new("127.0.0.1", port);
        let error = transport.attempt(&vec![0; 70_000], &Deadline::never());
        let error = error.unwrap_err();
        assert_eq!(error.kind, TransportErrorKind::Invalid);
        assert!(error.message.contains("max_packet_bytes"), "{error}");
    }
}
