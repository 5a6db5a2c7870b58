//! A span in JSON of version 1, whose kind and sides are told by marks.

use std::borrow::Cow;

use hiq_core::span::Kind;

use super::json_v2::{JsonEndpoint, Text, parent, span_id, trace_id};
use super::model::{EndpointIn, SpanIn};
use crate::encode_json_v1::ADDRESSES_AND_MARKS;

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonSpan<'p> {
    #[serde(borrow)]
    trace_id: Text<'p>,
    #[serde(borrow)]
    id: Text<'p>,
    #[serde(borrow)]
    parent_id: Option<Text<'p>>,
    #[serde(borrow)]
    name: Option<Text<'p>>,
    timestamp: Option<u64>,
    duration: Option<u64>,
    #[serde(borrow)]
    annotations: Option<Vec<Annotation<'p>>>,
    #[serde(borrow)]
    binary_annotations: Option<Vec<BinaryAnnotation<'p>>>,
    debug: Option<bool>,
}

#[derive(serde::Deserialize)]
struct Annotation<'p> {
    timestamp: u64,
    #[serde(borrow)]
    value: Text<'p>,
    #[serde(borrow)]
    endpoint: Option<JsonEndpoint<'p>>,
}

#[derive(serde::Deserialize)]
struct BinaryAnnotation<'p> {
    #[serde(borrow)]
    key: Text<'p>,
    #[serde(borrow)]
    value: Option<Held<'p>>,
    #[serde(borrow)]
    endpoint: Option<JsonEndpoint<'p>>,
}

/// Readers know texts, and `true` for an address; all else is ignored.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Held<'p> {
    #[serde(borrow)]
    Text(Text<'p>),
    Bool(bool),
    Other(serde::de::IgnoredAny),
}

/// Times of one side: when it began and ended, as far as it said, and where it runs.
#[derive(Default)]
struct Side<'p> {
    kind: Option<Kind>,
    begin: u64,
    end: u64,
    local: EndpointIn<'p>,
}

impl<'p> Side<'p> {
    fn mark(&mut self, kind: Kind, time: u64, is_begin: bool, local: &EndpointIn<'p>) {
        self.kind = Some(kind);
        let place = if is_begin {
            &mut self.begin
        } else {
            &mut self.end
        };
        *place = time;
        self.local.clone_from(local);
    }
}

impl<'p> JsonSpan<'p> {
    /// The span; two where both sides marked their times.
    pub(super) fn make(self) -> Result<Vec<SpanIn<'p>>, String> {
        let mut span = SpanIn {
            trace_id: trace_id(&self.trace_id.0)?,
            id: span_id("an id", &self.id.0)?,
            parent: parent(self.parent_id.as_ref())?,
            name: self.name.unwrap_or_default().0,
            timestamp: self.timestamp.unwrap_or_default(),
            duration: self.duration.unwrap_or_default(),
            debug: self.debug.unwrap_or_default(),
            ..SpanIn::default()
        };
        let [asks, answers] = sides(self.annotations.unwrap_or_default(), &mut span);
        let mut theirs = Vec::new();
        read_binary(
            self.binary_annotations.unwrap_or_default(),
            &mut span,
            |endpoint| asks.kind.is_some() && *endpoint == answers.local && *endpoint != asks.local,
            &mut theirs,
        );
        let mut other = None;
        if asks.kind.is_some() && answers.kind.is_some() {
            other = Some(SpanIn {
                name: span.name.clone(),
                tags: theirs,
                annotations: Vec::new(),
                shared: true,
                timestamp: 0,
                duration: 0,
                remote: EndpointIn::default(),
                ..span.clone()
            });
        } else {
            span.tags.append(&mut theirs);
        }
        if let Some(other) = &mut other {
            take_side(other, answers);
            take_side(&mut span, asks);
        } else {
            let is_answer = answers.kind.is_some();
            let has_times = self.timestamp.is_some() || self.duration.is_some();
            span.shared = is_answer && !has_times;
            take_side(&mut span, if is_answer { answers } else { asks });
        }
        Ok(std::iter::once(span).chain(other).collect())
    }
}

/// Reads marks; what is none becomes an annotation of `span`.
fn sides<'p>(annotations: Vec<Annotation<'p>>, span: &mut SpanIn<'p>) -> [Side<'p>; 2] {
    let [mut asks, mut answers] = <[Side<'p>; 2]>::default();
    for each in annotations {
        let Some(endpoint) = each.endpoint else {
            span.annotations.push((each.timestamp, each.value.0));
            continue;
        };
        let endpoint = endpoint.make();
        let mut asks = |kind, is_begin| asks.mark(kind, each.timestamp, is_begin, &endpoint);
        let mut answers = |kind, is_begin| answers.mark(kind, each.timestamp, is_begin, &endpoint);
        match each.value.0.as_ref() {
            "cs" => asks(Kind::Client, true),
            "cr" => asks(Kind::Client, false),
            "ms" => asks(Kind::Producer, true),
            "ws" => asks(Kind::Producer, false),
            "sr" => answers(Kind::Server, true),
            "ss" => answers(Kind::Server, false),
            "mr" => answers(Kind::Consumer, true),
            "wr" => {}
            _ => {
                if span.local == EndpointIn::default() {
                    span.local = endpoint;
                }
                span.annotations.push((each.timestamp, each.value.0));
            }
        }
    }
    [asks, answers]
}

/// Reads tags and addresses; tags of the other side go to `theirs`.
fn read_binary<'p>(
    annotations: Vec<BinaryAnnotation<'p>>,
    span: &mut SpanIn<'p>,
    is_theirs: impl Fn(&EndpointIn<'p>) -> bool,
    theirs: &mut Vec<(Cow<'p, str>, Cow<'p, str>)>,
) {
    for each in annotations {
        let endpoint = each.endpoint.map(JsonEndpoint::make).unwrap_or_default();
        match (each.key.0.as_ref(), each.value) {
            ("sa" | "ca" | "ma", Some(Held::Bool(true) | Held::Text(_))) => span.remote = endpoint,
            (key, Some(Held::Text(value))) => {
                let is_mark = key == "lc" && value.0.is_empty();
                let to = if is_theirs(&endpoint) {
                    &mut *theirs
                } else {
                    &mut span.tags
                };
                if !is_mark {
                    to.push((renamed(each.key.0), value.0));
                }
                if span.local == EndpointIn::default() {
                    span.local = endpoint;
                }
            }
            _ => {}
        }
    }
}

/// Tags of the marks' names have `tag.` before them.
fn renamed(key: Cow<'_, str>) -> Cow<'_, str> {
    match key.strip_prefix("tag.") {
        Some(name) if ADDRESSES_AND_MARKS.contains(&name) => Cow::Owned(name.to_owned()),
        _ => key,
    }
}

fn take_side<'p>(span: &mut SpanIn<'p>, side: Side<'p>) {
    let Some(kind) = side.kind else { return };
    span.kind = Some(kind);
    span.local = side.local;
    if span.timestamp == 0 {
        span.timestamp = side.begin;
    }
    if span.duration == 0 && side.begin > 0 {
        span.duration = side.end.saturating_sub(side.begin);
    }
}
