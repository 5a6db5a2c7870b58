//! What a trace file makes of spans, said without a look at any encoder.
#![allow(dead_code, reason = "each test uses its part")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::span::{Span, Status};
use hiq_core::tree::SpanTree;
use hiq_core::value::{Value, ValueRef};
use hiq_testkit::spans::{Attributes, BatchIn, EventIn, LinkIn, Origin, Plain, SpanOut};

const DAY: u64 = 24 * 3_600 * 1_000_000_000;
const NOON: u64 = 1_700_000_000_123_456_789;

/// The same spans at times of one month, which a double tells apart, with ids that are none of the unset one.
pub(crate) fn tamed(mut batch: BatchIn) -> BatchIn {
    for tree in &mut batch.trees {
        for span in &mut tree.spans {
            span.end -= span.start;
            span.start = NOON + span.start % (30 * DAY);
            span.end = span.start + span.end % DAY;
            for event in &mut span.events {
                event.time = NOON + event.time % (30 * DAY);
            }
        }
    }
    batch
}

/// What is lost, by the table of the crate: the order of events, schema URLs, dropped counts of resources and scopes, kinds of values that JSON lacks.
pub(crate) fn normalised(spans: Vec<SpanOut>, lost: Lost) -> Vec<SpanOut> {
    spans
        .into_iter()
        .map(|mut span| {
            for (origin, lost) in [(&mut span.resource, Lost::InJson), (&mut span.scope, lost)] {
                origin.schema_url.clear();
                origin.dropped = 0;
                origin.attributes = plain(&origin.attributes, lost);
            }
            span.attributes = plain(&span.attributes, lost);
            for event in &mut span.events {
                event.attributes = plain(&event.attributes, lost);
            }
            span.events
                .sort_by_key(|event| (event.time, event.name.clone()));
            for link in &mut span.links {
                link.attributes = plain(&link.attributes, lost);
            }
            span
        })
        .collect()
}

/// Which kinds of values a format lacks.
#[derive(Clone, Copy)]
pub(crate) enum Lost {
    /// JSON: the doubles that are no numbers.
    InJson,
    /// Debug annotations: lists and maps of nothing. Resources travel as JSON there too.
    InAnnotations,
}

fn plain(attributes: &Attributes, lost: Lost) -> Attributes {
    let pairs = attributes.iter();
    pairs
        .map(|(key, value)| (key.clone(), plain_value(value, lost)))
        .collect()
}

fn plain_value(value: &Plain, lost: Lost) -> Plain {
    match (value, lost) {
        (Plain::F64(bits), Lost::InJson) => match f64::from_bits(*bits) {
            double if double.is_finite() => Plain::F64(*bits),
            double if double.is_nan() => Plain::text("NaN"),
            double if double > 0.0 => Plain::text("Infinity"),
            _ => Plain::text("-Infinity"),
        },
        (Plain::F64(_), Lost::InAnnotations) => value.with_one_nan(),
        (Plain::Array(items), Lost::InAnnotations) if items.is_empty() => Plain::Empty,
        (Plain::Map(pairs), Lost::InAnnotations) if pairs.is_empty() => Plain::Empty,
        (Plain::Bytes(bytes), _) => Plain::Str(STANDARD.encode(bytes)),
        (Plain::Array(items), _) => {
            Plain::Array(items.iter().map(|item| plain_value(item, lost)).collect())
        }
        (Plain::Map(pairs), _) => Plain::Map(plain(pairs, lost)),
        (other, _) => other.clone(),
    }
}

/// What stands in a tree.
pub(crate) fn read_trees(tree: &SpanTree) -> Vec<SpanOut> {
    let mut spans: Vec<_> = tree.spans().map(read_span).collect();
    for span in &mut spans {
        span.events
            .sort_by_key(|event| (event.time, event.name.clone()));
    }
    spans
}

fn read_span(span: Span<'_>) -> SpanOut {
    let remote = if span.has_remote_parent() { 0x200 } else { 0 };
    let status = match span.status() {
        Status::Unset => None,
        status => {
            let message = span.status_message();
            let message = message.map_or_else(String::new, |text| text.as_str().to_owned());
            Some((status as i32, message))
        }
    };
    let dropped = span.dropped();
    let scope = span.scope();
    let text = |text: Option<hiq_core::wire::Text<'_>>| {
        text.map_or_else(String::new, |text| text.as_str().to_owned())
    };
    SpanOut {
        resource: Origin {
            attributes: read(span.tree().resource().attributes()),
            ..Origin::default()
        },
        scope: Origin {
            name: text(scope.name()),
            version: text(scope.version()),
            attributes: read(scope.attributes()),
            ..Origin::default()
        },
        trace_id: span.trace_id().0.to_vec(),
        span_id: span.id().0.to_be_bytes().to_vec(),
        parent_id: span
            .parent_id()
            .map_or_else(Vec::new, |id| id.0.to_be_bytes().to_vec()),
        trace_state: text(span.trace_state()),
        flags: 0x100 | remote | u32::from(span.trace_flags()),
        name: span.name().as_str().to_owned(),
        kind: span.kind() as i32,
        start: span.start().0,
        end: span.end().0,
        attributes: read(span.attributes()),
        events: span
            .events()
            .map(|event| EventIn {
                time: event.time().0,
                name: event.name().as_str().to_owned(),
                attributes: read(event.attributes()),
            })
            .collect(),
        links: span
            .links()
            .map(|link| LinkIn {
                trace_id: link.trace_id().0,
                span_id: link.span_id().0,
                trace_state: text(link.trace_state()),
                flags: link.flags(),
                attributes: read(link.attributes()),
            })
            .collect(),
        status,
        dropped: [dropped.attributes, dropped.events, dropped.links],
    }
}

fn read<'a>(
    attributes: impl Iterator<Item = (hiq_core::wire::Text<'a>, ValueRef<'a>)>,
) -> Attributes {
    attributes
        .map(|(key, value)| (key.as_str().to_owned(), of_value(&value.to_value())))
        .collect()
}

fn of_value(value: &Value) -> Plain {
    match value {
        Value::Str(text) => Plain::Str(text.clone()),
        Value::Bool(bool) => Plain::Bool(*bool),
        Value::Int(int) => Plain::Int(*int),
        Value::F64(double) => Plain::f64(*double),
        Value::Bytes(bytes) => Plain::Bytes(bytes.clone()),
        Value::Array(items) => Plain::Array(items.iter().map(of_value).collect()),
        Value::Map(pairs) => Plain::Map(
            pairs
                .iter()
                .map(|(key, value)| (key.clone(), of_value(value)))
                .collect(),
        ),
        _ => Plain::Empty,
    }
}
