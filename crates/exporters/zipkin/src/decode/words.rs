//! Texts of annotations and tags that say more than a text.

use std::borrow::Cow;

use hiq_core::decode::{LooseAttributes, LooseEvent, LooseLink};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::value::Value;

use crate::encode_json_v1::MARKS;

/// An event of the text of an annotation: in OpenTelemetry's form, in a Collector's, else its bare name.
pub(super) fn event(time_micros: u64, text: Cow<'_, str>) -> LooseEvent<'_> {
    let bare = LooseEvent {
        time: time_micros.saturating_mul(1_000),
        ..LooseEvent::default()
    };
    if let Some((name, attributes)) = specified(&text) {
        return LooseEvent {
            name: name.into(),
            attributes,
            ..bare
        };
    }
    if let Some((name, attributes, dropped_attributes)) = of_collector(&text) {
        return LooseEvent {
            name: name.to_owned().into(),
            attributes,
            dropped_attributes,
            ..bare
        };
    }
    LooseEvent { name: text, ..bare }
}

/// `"name": {...}`, and `"cs"` and its like.
fn specified(text: &str) -> Option<(String, LooseAttributes<'static>)> {
    if !text.starts_with('"') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = values.next()?.ok()?;
    let rest = &text[values.byte_offset()..];
    if rest.is_empty() {
        return MARKS.contains(&name.as_str()).then(|| (name, Vec::new()));
    }
    Some((name, object(rest.strip_prefix(": ")?)?))
}

/// `name|{...}|dropped`
fn of_collector(text: &str) -> Option<(&str, LooseAttributes<'static>, u32)> {
    let (name, rest) = text.split_once('|')?;
    let (attributes, dropped) = rest.rsplit_once('|')?;
    Some((name, object(attributes)?, dropped.parse().ok()?))
}

/// A link of the text of its tag: `trace|span|state|{...}|dropped`.
pub(super) fn link(text: &str) -> Option<LooseLink<'static>> {
    let mut parts = text.splitn(4, '|');
    let mut part = || parts.next();
    let (trace_id, span_id, state) = (part()?, part()?, part()?);
    let (attributes, dropped) = part()?.rsplit_once('|')?;
    Some(LooseLink {
        trace_id: trace_id_of(trace_id)?,
        span_id: span_id_of(span_id)?,
        trace_state: state.to_owned().into(),
        flags: 0,
        attributes: object(attributes)?,
        dropped_attributes: dropped.parse().ok()?,
    })
}

/// An id of up to 32 hex digits of either case, zeros before those that are missing.
pub(super) fn trace_id_of(text: &str) -> Option<TraceId> {
    let id = is_hex(text, 32).then(|| u128::from_str_radix(text, 16).ok())??;
    Some(TraceId(id.to_be_bytes()))
}

/// An id of up to 16 hex digits of either case, zeros before those that are missing.
pub(super) fn span_id_of(text: &str) -> Option<SpanId> {
    is_hex(text, 16).then(|| u64::from_str_radix(text, 16).ok().map(SpanId))?
}

/// The parsers would take a sign.
fn is_hex(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn object(text: &str) -> Option<LooseAttributes<'static>> {
    let pairs: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let pairs = pairs.into_iter();
    Some(
        pairs
            .map(|(key, value)| (key.into(), value_of(value).into()))
            .collect(),
    )
}

/// The parser lets nothing through that is deeper than 128 levels.
fn value_of(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Empty,
        Json::Bool(bool) => Value::Bool(bool),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::F64(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Str(text),
        Json::Array(items) => Value::Array(items.into_iter().map(value_of).collect()),
        Json::Object(pairs) => {
            let pairs = pairs.into_iter();
            Value::Map(pairs.map(|(key, value)| (key, value_of(value))).collect())
        }
    }
}
