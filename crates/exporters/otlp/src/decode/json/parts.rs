//! What spans and metrics share: documents one after the other, resources and scopes, attributes, ids.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::decode::{DecodeError, LooseAttributes};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::value::{MAX_VALUE_DEPTH, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::decode::model::Origin;
use crate::json::{Double, Int64};

const FORMAT: &str = "OTLP JSON";

/// Brackets inside each other: a value's level takes four, all around the values up to sixteen.
const MAX_NESTING: usize = MAX_VALUE_DEPTH * 4 + 20;

/// What a document's part becomes, or what is wrong with it.
pub(super) type Made<T> = Result<T, String>;

/// Hands each document of `payload` to `take`, whose message becomes an error at that document's start.
pub(super) fn each_document<D: DeserializeOwned>(
    payload: &[u8],
    mut take: impl FnMut(D) -> Made<()>,
) -> Result<(), DecodeError> {
    check_nesting(payload)?;
    let mut reader = serde_json::Deserializer::from_slice(payload);
    // The depth has just been checked.
    reader.disable_recursion_limit();
    let mut documents = reader.into_iter::<D>();
    loop {
        let start = documents.byte_offset();
        let Some(document) = documents.next() else {
            return Ok(());
        };
        let document = document.map_err(|error| located(payload, &error))?;
        take(document).map_err(|message| DecodeError::new(FORMAT, start, message))?;
    }
}

/// The parser calls itself for each bracket, so their depth must be known to be harmless before it starts.
fn check_nesting(payload: &[u8]) -> Result<(), DecodeError> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (offset, byte) in payload.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            let message = "a value is nested deeper than 64 levels";
            return Err(DecodeError::new(FORMAT, offset, message));
        }
    }
    Ok(())
}

/// The parser's error at its byte instead of line and column.
fn located(payload: &[u8], error: &serde_json::Error) -> DecodeError {
    let before = payload.split_inclusive(|byte| *byte == b'\n');
    let line_start: usize = before
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let offset = line_start + error.column().saturating_sub(1);
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = text.strip_suffix(&place).unwrap_or(&text);
    DecodeError::new(FORMAT, offset.min(payload.len()), message)
}

/// A `Resource`, which has no name, or an `InstrumentationScope`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JsonOrigin {
    name: Option<String>,
    version: Option<String>,
    attributes: Option<Vec<KeyValue>>,
    #[serde(alias = "dropped_attributes_count")]
    dropped_attributes_count: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct KeyValue {
    key: Option<String>,
    value: Option<AnyValue>,
}

/// One of them is set, or none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
struct AnyValue {
    #[serde(alias = "string_value")]
    string_value: Option<String>,
    #[serde(alias = "bool_value")]
    bool_value: Option<bool>,
    #[serde(alias = "int_value")]
    int_value: Option<Int64>,
    #[serde(alias = "double_value")]
    double_value: Option<Double>,
    #[serde(alias = "array_value")]
    array_value: Option<List<AnyValue>>,
    #[serde(alias = "kvlist_value")]
    kvlist_value: Option<List<KeyValue>>,
    #[serde(alias = "bytes_value")]
    bytes_value: Option<String>,
}

#[derive(Deserialize)]
struct List<T> {
    values: Option<Vec<T>>,
}

impl JsonOrigin {
    pub(super) fn make(self) -> Made<Origin<'static>> {
        Ok(Origin {
            name: text(self.name),
            version: text(self.version),
            attributes: attributes(self.attributes)?,
            dropped: self.dropped_attributes_count.unwrap_or_default(),
        })
    }
}

impl KeyValue {
    fn make(self) -> Made<(String, Value)> {
        let value = self.value.map_or(Ok(Value::Empty), AnyValue::make)?;
        Ok((self.key.unwrap_or_default(), value))
    }
}

impl AnyValue {
    fn make(self) -> Made<Value> {
        if let Some(text) = self.string_value {
            return Ok(Value::Str(text));
        }
        if let Some(bool) = self.bool_value {
            return Ok(Value::Bool(bool));
        }
        if let Some(int) = self.int_value {
            return Ok(Value::Int(int.0));
        }
        if let Some(double) = self.double_value {
            return Ok(Value::F64(double.0));
        }
        if let Some(list) = self.array_value {
            let items = list.values.unwrap_or_default().into_iter();
            return items.map(Self::make).collect::<Made<_>>().map(Value::Array);
        }
        if let Some(list) = self.kvlist_value {
            let pairs = list.values.unwrap_or_default().into_iter();
            return pairs
                .map(KeyValue::make)
                .collect::<Made<_>>()
                .map(Value::Map);
        }
        let Some(text) = self.bytes_value else {
            return Ok(Value::Empty);
        };
        let bytes = STANDARD.decode(text);
        bytes
            .map(Value::Bytes)
            .map_err(|error| format!("bytesValue is not base64: {error}"))
    }
}

pub(super) fn attributes(attributes: Option<Vec<KeyValue>>) -> Made<LooseAttributes<'static>> {
    let pairs = attributes.unwrap_or_default().into_iter();
    let make = |pair: KeyValue| {
        let (key, value) = pair.make()?;
        Ok((Cow::Owned(key), value.into()))
    };
    pairs.map(make).collect()
}

pub(super) fn text(text: Option<String>) -> Cow<'static, str> {
    text.unwrap_or_default().into()
}

/// The number of an enumeration; those beyond a byte are unknown all alike.
pub(super) fn small(number: Option<i64>) -> u8 {
    u8::try_from(number.unwrap_or_default()).unwrap_or(u8::MAX)
}

pub(super) fn trace_id(text: Option<String>) -> Made<TraceId> {
    hex("a trace id", text).map(TraceId)
}

pub(super) fn span_id(text: Option<String>) -> Made<SpanId> {
    hex("a span id", text).map(|id| SpanId(u64::from_be_bytes(id)))
}

/// An id in hex of either case; empty or missing for none.
fn hex<const BYTES: usize>(what: &str, text: Option<String>) -> Made<[u8; BYTES]> {
    let text = text.unwrap_or_default();
    let mut id = [0; BYTES];
    if text.is_empty() {
        return Ok(id);
    }
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let digits: Option<Vec<u32>> = text.as_bytes().iter().map(digit).collect();
    let Some(digits) = digits.filter(|digits| digits.len() == 2 * BYTES) else {
        let shown: String = text.chars().take(64).collect();
        return Err(format!(
            "{what} must be {} hex digits, not `{shown}`",
            2 * BYTES
        ));
    };
    for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::try_from(pair[0] << 4 | pair[1]).unwrap_or_default();
    }
    Ok(id)
}
