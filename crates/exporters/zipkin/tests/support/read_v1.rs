//! Reads JSON of version 1 with serde, and makes of it what a Zipkin server would.

use super::read_json::JsonEndpoint;
use super::{Endpoint, ZipkinSpan};

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Span {
    trace_id: String,
    id: String,
    parent_id: Option<String>,
    name: String,
    timestamp: Option<u64>,
    duration: Option<u64>,
    annotations: Option<Vec<Annotation>>,
    binary_annotations: Option<Vec<BinaryAnnotation>>,
    debug: Option<bool>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotation {
    timestamp: u64,
    value: String,
    endpoint: Option<JsonEndpoint>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BinaryAnnotation {
    key: String,
    value: Text,
    endpoint: Option<JsonEndpoint>,
}

/// Readers take texts, and `true` for an address.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Text {
    Address(bool),
    Text(String),
}

/// The spans of a payload.
pub(crate) fn spans(payload: &[u8]) -> Vec<ZipkinSpan> {
    let spans: Vec<Span> = serde_json::from_slice(payload).unwrap();
    spans.into_iter().map(Span::plain).collect()
}

impl Span {
    fn plain(self) -> ZipkinSpan {
        let mut span = ZipkinSpan {
            trace_id: self.trace_id,
            id: self.id,
            parent: self.parent_id,
            name: self.name,
            timestamp: self.timestamp,
            duration: self.duration,
            debug: self.debug.unwrap_or_default(),
            ..ZipkinSpan::default()
        };
        let mut marks = Vec::new();
        for each in self.annotations.unwrap_or_default() {
            match each.endpoint {
                Some(endpoint) => {
                    local(&mut span.local, endpoint.plain());
                    marks.push((each.value, each.timestamp));
                }
                None => span.annotations.push((each.timestamp, each.value)),
            }
        }
        for each in self.binary_annotations.unwrap_or_default() {
            let endpoint = each.endpoint.expect("an endpoint").plain();
            match (each.key.as_str(), each.value) {
                ("sa" | "ma" | "ca", Text::Address(true)) => span.remote = endpoint,
                ("lc", Text::Text(text)) if text.is_empty() => local(&mut span.local, endpoint),
                (_, Text::Text(text)) => {
                    local(&mut span.local, endpoint);
                    span.tags.push((each.key, text));
                }
                _ => panic!("{} has no text", each.key),
            }
        }
        span.kind = kind(&marks, &span);
        span.shared = span.timestamp.is_none() && !marks.is_empty() && span.duration.is_none();
        span
    }
}

fn local(known: &mut Endpoint, found: Endpoint) {
    assert!(
        *known == Endpoint::default() || *known == found,
        "two local endpoints"
    );
    *known = found;
}

/// The kind that the marks stand for; they stand at the span's ends.
fn kind(marks: &[(String, u64)], span: &ZipkinSpan) -> Option<String> {
    let names: Vec<&str> = marks.iter().map(|(name, _)| name.as_str()).collect();
    let kind = match names[..] {
        ["cs", "cr"] => "CLIENT",
        ["sr", "ss"] => "SERVER",
        ["ms"] => "PRODUCER",
        ["mr"] => "CONSUMER",
        [] => return None,
        _ => panic!("{names:?} is no kind"),
    };
    if let (Some(start), Some(duration)) = (span.timestamp, span.duration) {
        let ends = [start, start + duration];
        assert!(marks.iter().zip(ends).all(|((_, time), end)| *time == end));
    }
    Some(kind.to_owned())
}
