//! Reads `zipkin.proto3.ListOfSpans` with prost; the messages are written down from the API's definition.

use std::net::{Ipv4Addr, Ipv6Addr};

use hiq_testkit::spans::hex;
use prost::Message;

use super::ZipkinSpan;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListOfSpans {
    #[prost(message, repeated, tag = "1")]
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) parent_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) id: Vec<u8>,
    #[prost(int32, tag = "4")]
    pub(crate) kind: i32,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    #[prost(fixed64, tag = "6")]
    pub(crate) timestamp: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) duration: u64,
    #[prost(message, optional, tag = "8")]
    pub(crate) local_endpoint: Option<Endpoint>,
    #[prost(message, optional, tag = "9")]
    pub(crate) remote_endpoint: Option<Endpoint>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) annotations: Vec<Annotation>,
    /// A map on the wire is a list of entries: so a key that comes twice is seen.
    #[prost(message, repeated, tag = "11")]
    pub(crate) tags: Vec<Entry>,
    #[prost(bool, tag = "12")]
    pub(crate) debug: bool,
    #[prost(bool, tag = "13")]
    pub(crate) shared: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Endpoint {
    #[prost(string, tag = "1")]
    pub(crate) service_name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) ipv4: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) ipv6: Vec<u8>,
    #[prost(int32, tag = "4")]
    pub(crate) port: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Annotation {
    #[prost(fixed64, tag = "1")]
    pub(crate) timestamp: u64,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// The spans of a payload.
pub(crate) fn spans(payload: &[u8]) -> Vec<ZipkinSpan> {
    let list = ListOfSpans::decode(payload).unwrap();
    list.spans.into_iter().map(Span::plain).collect()
}

impl Span {
    fn plain(self) -> ZipkinSpan {
        let kind =
            ["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"][usize::try_from(self.kind).unwrap()];
        let some = |value: u64| (value != 0).then_some(value);
        assert_eq!((self.trace_id.len(), self.id.len()), (16, 8));
        ZipkinSpan {
            trace_id: hex(&self.trace_id),
            id: hex(&self.id),
            parent: (!self.parent_id.is_empty()).then(|| hex(&self.parent_id)),
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            name: self.name,
            timestamp: some(self.timestamp),
            duration: some(self.duration),
            local: self.local_endpoint.unwrap_or_default().plain(),
            remote: self.remote_endpoint.unwrap_or_default().plain(),
            annotations: self
                .annotations
                .into_iter()
                .map(|each| (each.timestamp, each.value))
                .collect(),
            tags: self
                .tags
                .into_iter()
                .map(|each| (each.key, each.value))
                .collect(),
            debug: self.debug,
            shared: self.shared,
        }
    }
}

impl Endpoint {
    fn plain(self) -> super::Endpoint {
        let v4 = <[u8; 4]>::try_from(self.ipv4).map(|ip| Ipv4Addr::from(ip).to_string());
        let v6 = <[u8; 16]>::try_from(self.ipv6).map(|ip| Ipv6Addr::from(ip).to_string());
        super::Endpoint {
            service: self.service_name,
            ip: v4.or(v6).unwrap_or_default(),
            port: u64::try_from(self.port).unwrap(),
        }
    }
}
