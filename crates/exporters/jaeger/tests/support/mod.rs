//! Spans as Jaeger has them: what independent readers found in a payload, and what they must find.
#![allow(dead_code, reason = "each test file uses its part of this module")]

pub(crate) mod expected;
pub(crate) mod read_proto;
pub(crate) mod read_thrift;

use hiq_testkit::spans::Plain;

/// A tag's value. Doubles by their bits; JSON as what it says, since the same may be written in many ways.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Str(String),
    Json(serde_json::Value),
    Bool(bool),
    Int(i64),
    F64(u64),
    Bytes(Vec<u8>),
}

pub(crate) type Tags = Vec<(String, Value)>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) process: Tags,
    pub(crate) trace_id: [u8; 16],
    pub(crate) id: u64,
    /// 0 for none.
    pub(crate) parent: u64,
    pub(crate) name: String,
    pub(crate) references: Vec<Reference>,
    pub(crate) flags: i64,
    /// In the format's own unit.
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) tags: Tags,
    pub(crate) logs: Vec<(u64, Tags)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) follows_from: bool,
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: u64,
}

impl Value {
    /// A text; one that is a JSON list or map is taken for one, on both sides of a comparison.
    pub(crate) fn text(text: &str) -> Self {
        if !text.starts_with(['[', '{']) {
            return Self::Str(text.to_owned());
        }
        match serde_json::from_str(text) {
            Ok(json) => Self::Json(json),
            Err(_) => Self::Str(text.to_owned()),
        }
    }

    pub(crate) fn of(value: &Plain) -> Self {
        match value {
            Plain::Str(text) => Self::text(text),
            Plain::Bool(bool) => Self::Bool(*bool),
            Plain::Int(int) => Self::Int(*int),
            Plain::F64(bits) => Self::F64(*bits),
            Plain::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Plain::Array(_) | Plain::Map(_) => Self::Json(json(value)),
            Plain::Empty => Self::text(""),
        }
    }
}

fn json(value: &Plain) -> serde_json::Value {
    use base64::Engine as _;
    match value {
        Plain::Str(text) => text.clone().into(),
        Plain::Bool(bool) => (*bool).into(),
        Plain::Int(int) => (*int).into(),
        Plain::F64(bits) => match f64::from_bits(*bits) {
            double if double.is_finite() => double.into(),
            double if double.is_nan() => "NaN".into(),
            double if double > 0.0 => "Infinity".into(),
            _ => "-Infinity".into(),
        },
        Plain::Bytes(bytes) => base64::engine::general_purpose::STANDARD
            .encode(bytes)
            .into(),
        Plain::Array(items) => items.iter().map(json).collect(),
        Plain::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.clone(), json(value)))
            .collect(),
        Plain::Empty => serde_json::Value::Null,
    }
}

/// Nothing depends on the order of tags, references and logs keep theirs.
pub(crate) fn normal(mut spans: Vec<Span>) -> Vec<Span> {
    for span in &mut spans {
        let logs = span.logs.iter_mut().map(|(_, fields)| fields);
        for tags in logs.chain([&mut span.tags, &mut span.process]) {
            tags.sort_by_key(|(key, value)| (key.clone(), format!("{value:?}")));
        }
    }
    spans.sort_by_key(|span| span.id);
    spans
}
