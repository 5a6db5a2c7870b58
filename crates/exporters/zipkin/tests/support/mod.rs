//! A Zipkin span as plain data: what independent readers found in a payload, and what must be found there.
#![allow(dead_code, reason = "each test file uses its part of this module")]

pub(crate) mod expect;
pub(crate) mod read_json;
pub(crate) mod read_proto;
pub(crate) mod read_trees;
pub(crate) mod read_v1;

use hiq_core::batch::TreeBatch;
use hiq_core::encode::{Encoder, Limits};
use hiq_testkit::spans::{BatchIn, Origin, Plain, SpanIn, TreeIn};
use hiq_zipkin::{ZipkinJsonEncoder, ZipkinMapping, ZipkinProtoEncoder};

/// What a payload says of a span, whatever its format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ZipkinSpan {
    pub(crate) trace_id: String,
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) timestamp: Option<u64>,
    pub(crate) duration: Option<u64>,
    pub(crate) local: Endpoint,
    pub(crate) remote: Endpoint,
    pub(crate) annotations: Vec<(u64, String)>,
    /// In the order of the payload.
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) debug: bool,
    pub(crate) shared: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) service: String,
    pub(crate) ip: String,
    pub(crate) port: u64,
}

impl ZipkinSpan {
    #[track_caller]
    pub(crate) fn tag(&self, key: &str) -> &str {
        let found = self.tags.iter().find(|(known, _)| known == key);
        &found
            .unwrap_or_else(|| panic!("no tag {key:?}: {:?}", self.tags))
            .1
    }

    pub(crate) fn has_tag(&self, key: &str) -> bool {
        self.tags.iter().any(|(known, _)| known == key)
    }
}

/// All payloads of `batch`, each within the limit, and how many spans were left out.
pub(crate) fn payloads(
    encoder: &mut impl Encoder<TreeBatch>,
    batch: &TreeBatch,
    limits: Limits,
) -> (Vec<Vec<u8>>, usize) {
    let (mut cursor, mut payloads, mut left_out) = (batch.cursor(), Vec::new(), 0);
    loop {
        let mut out = b"before".to_vec();
        let encoded = encoder.encode(&mut cursor, &limits, &mut out);
        let payload = out.split_off(6);
        assert!(payload.len() <= limits.max_bytes, "over the limit");
        assert_eq!(
            encoded.items == 0,
            payload.is_empty(),
            "an envelope without spans"
        );
        left_out += encoded.items_left_out();
        if !payload.is_empty() {
            payloads.push(payload);
        }
        if !encoded.more {
            return (payloads, left_out);
        }
    }
}

/// The one payload of `batch`, of which nothing is left out.
pub(crate) fn payload(encoder: &mut impl Encoder<TreeBatch>, batch: &TreeBatch) -> Vec<u8> {
    let (mut payloads, left_out) = payloads(encoder, batch, Limits::bytes(usize::MAX));
    assert_eq!((payloads.len(), left_out), (1, 0));
    payloads.remove(0)
}

/// A batch of one tree with these spans, of service `svc` and an unnamed scope.
pub(crate) fn batch_of(spans: Vec<SpanIn>) -> BatchIn {
    let service = ("service.name".to_owned(), Plain::text("svc"));
    let resource = Origin {
        attributes: vec![service],
        ..Origin::default()
    };
    BatchIn {
        resources: vec![resource],
        scopes: vec![Origin::default()],
        trees: vec![TreeIn {
            trace_id: TRACE,
            parent: 0,
            parent_is_remote: false,
            flags: 1,
            trace_state: String::new(),
            resource: 0,
            scope: 0,
            spans,
        }],
    }
}

pub(crate) const TRACE: [u8; 16] =
    *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c";

/// A span with these attributes.
pub(crate) fn span_with(attributes: &[(&str, Plain)]) -> SpanIn {
    let mut span = SpanIn::new(0xb7ad_6b71_6920_3331, "op");
    let owned = attributes
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    span.attributes = owned.collect();
    span
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.trim().as_bytes().chunks(2).map(digits).collect()
}

/// The one span of `span`'s payload in v2 JSON, which protobuf must say too.
pub(crate) fn written(span: SpanIn, mapping: &ZipkinMapping) -> ZipkinSpan {
    let batch = batch_of(vec![span]).build();
    let json = payload(
        &mut ZipkinJsonEncoder::with_mapping(mapping.clone()),
        &batch,
    );
    let proto = payload(
        &mut ZipkinProtoEncoder::with_mapping(mapping.clone()),
        &batch,
    );
    let found = read_json::spans(&json).remove(0);
    assert_eq!(read_proto::spans(&proto), std::slice::from_ref(&found));
    found
}
