//! Who a span talks to, and where it runs.

use std::io::Write as _;
use std::net::IpAddr;

use hiq_core::value::ValueRef;

/// An endpoint as Zipkin knows it; what is empty or `None` is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint<'a> {
    pub(crate) service: &'a str,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
}

impl Endpoint<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The address as text, `ipv4` or `ipv6` before it.
    pub(crate) fn ip_text<'s>(&self, scratch: &'s mut Vec<u8>) -> Option<(&'static str, &'s str)> {
        let ip = self.ip?;
        scratch.clear();
        let name = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        // A vector takes everything.
        let _ = write!(scratch, "{ip}");
        Some((name, std::str::from_utf8(scratch).unwrap_or_default()))
    }
}

/// Keys that may say who the far side is, the strongest first; those of an address with the key of its port.
const PEERS: [(&str, Option<&str>); 11] = [
    ("peer.service", None),
    ("server.address", None),
    ("net.peer.name", None),
    ("network.peer.address", Some("network.peer.port")),
    ("server.socket.domain", None),
    ("server.socket.address", Some("server.socket.port")),
    ("net.sock.peer.name", None),
    ("net.sock.peer.addr", Some("net.sock.peer.port")),
    ("peer.hostname", None),
    ("peer.address", None),
    ("db.name", None),
];

/// All keys that [`Remote::note`] looks at.
pub(crate) fn peer_keys() -> impl Iterator<Item = &'static str> {
    PEERS
        .iter()
        .flat_map(|(key, port)| std::iter::once(*key).chain(*port))
}

/// What the attributes of a span say about the far side.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Remote<'a> {
    /// Values by their place in [`PEERS`], and the ports that belong to them.
    names: [Option<&'a str>; PEERS.len()],
    ports: [Option<u16>; PEERS.len()],
    is_known: bool,
}

impl<'a> Remote<'a> {
    /// Remembers what an attribute says, if it says anything.
    pub(crate) fn note(&mut self, key: &str, value: &ValueRef<'a>) {
        for (place, (name, port)) in PEERS.iter().enumerate() {
            if key == *name {
                self.names[place] = text(value);
                self.is_known = true;
            } else if Some(key) == *port {
                self.ports[place] = number(value);
            }
        }
    }

    /// The far side: the strongest name, or the strongest address where that is stronger. An address comes along with any name.
    pub(crate) fn endpoint(&self) -> Option<Endpoint<'a>> {
        if !self.is_known {
            return None;
        }
        let found = |is_address: bool| {
            let known = PEERS.iter().zip(&self.names).enumerate();
            known
                .filter(move |(_, ((_, port), _))| port.is_some() == is_address)
                .find_map(|(place, (_, name))| Some((place, (*name)?)))
        };
        let (name, address) = (found(false), found(true));
        let mut endpoint = Endpoint::default();
        if let Some((place, text)) = address {
            endpoint.ip = text.parse().ok();
            endpoint.port = self.ports[place];
            if endpoint.ip.is_none() {
                endpoint.service = text;
            }
        }
        if let Some((place, name)) = name
            && address.is_none_or(|(stronger, _)| place < stronger)
        {
            endpoint.service = name;
        }
        Some(endpoint).filter(|endpoint| !endpoint.is_empty())
    }
}

fn text<'a>(value: &ValueRef<'a>) -> Option<&'a str> {
    let text = match value {
        ValueRef::Text(text) => text.as_str(),
        ValueRef::Str(text) => text,
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// A port, as a number or as text.
pub(crate) fn number(value: &ValueRef<'_>) -> Option<u16> {
    let port = match value {
        ValueRef::Int(port) => u16::try_from(*port).ok(),
        other => text(other).and_then(|text| text.parse().ok()),
    };
    port.filter(|port| *port != 0)
}

/// An IP address.
pub(crate) fn address(value: &ValueRef<'_>) -> Option<IpAddr> {
    text(value)?.parse().ok()
}
