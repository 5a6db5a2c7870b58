//! Spans read off decoded trees.

use std::collections::BTreeMap;
use std::sync::Arc;

use hiq_core::decode::{DecodeError, Decoder};
use hiq_core::span::{Kind, Status};
use hiq_core::tree::SpanTree;
use hiq_core::value::Value;

/// A decoded span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Back {
    pub(crate) service: String,
    pub(crate) scope: (String, String),
    pub(crate) trace_id: String,
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) events: Vec<(u64, String, BTreeMap<String, Value>)>,
    pub(crate) links: Vec<(String, String, String, BTreeMap<String, Value>)>,
    pub(crate) status: (Status, String),
    pub(crate) trace_state: String,
    pub(crate) dropped: [u32; 3],
}

pub(crate) fn decode(
    mut decoder: impl Decoder,
    payload: &[u8],
) -> (Vec<Arc<SpanTree>>, Result<(), DecodeError>) {
    let mut trees = Vec::new();
    let result = decoder.decode(payload, &mut |tree| trees.push(tree));
    (trees, result)
}

/// The spans of a payload that is right, by their ids.
pub(crate) fn decoded(decoder: impl Decoder, payload: &[u8]) -> Vec<Back> {
    let (trees, result) = decode(decoder, payload);
    result.unwrap();
    let mut spans: Vec<Back> = trees.iter().flat_map(|tree| all(tree)).collect();
    spans.sort_by(|a, b| a.id.cmp(&b.id));
    spans
}

fn all(tree: &SpanTree) -> Vec<Back> {
    let text = |text: Option<hiq_core::wire::Text<'_>>| {
        text.map_or_else(String::new, |text| text.as_str().to_owned())
    };
    let pairs = |attributes: hiq_core::span::Attributes<'_>| {
        let pairs = attributes.map(|(key, value)| (key.as_str().to_owned(), value.to_value()));
        pairs.collect()
    };
    let back = |span: hiq_core::span::Span<'_>| Back {
        service: tree.resource().service_name().to_owned(),
        scope: (text(span.scope().name()), text(span.scope().version())),
        trace_id: span.trace_id().to_string(),
        id: span.id().to_string(),
        parent: span.parent_id().map(|id| id.to_string()),
        name: span.name().as_str().to_owned(),
        kind: span.kind(),
        start: span.start().0,
        end: span.end().0,
        attributes: pairs(span.own_attributes()),
        events: span
            .events()
            .map(|event| {
                let name = event.name().as_str().to_owned();
                (event.time().0, name, pairs(event.attributes()))
            })
            .collect(),
        links: span
            .links()
            .map(|link| {
                let ids = (link.trace_id().to_string(), link.span_id().to_string());
                (
                    ids.0,
                    ids.1,
                    text(link.trace_state()),
                    pairs(link.attributes()),
                )
            })
            .collect(),
        status: (span.status(), text(span.status_message())),
        trace_state: text(span.trace_state()),
        dropped: [
            span.dropped().attributes,
            span.dropped().events,
            span.dropped().links,
        ],
    };
    tree.spans().map(back).collect()
}
