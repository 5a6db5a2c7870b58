//! A `Span` of `jaeger.api_v2` in JSON, as protobuf's own mapping has it: ids and bytes in base64, large numbers and times as texts.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::decode::{DecodeError, LooseAttributes, LooseValue};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::value::Value;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::batch::{Batch, Log, Process, Reference, Span};
use super::json::{FORMAT, located};

/// A span by itself.
pub(super) fn read(payload: &[u8]) -> Result<Batch<'static>, DecodeError> {
    let message: Message =
        serde_json::from_slice(payload).map_err(|error| located(payload, &error))?;
    let batch = message.read();
    batch.map_err(|problem| DecodeError::new(FORMAT, 0, problem))
}

/// What has the value that protobuf takes for the usual is missing; unknown fields are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    operation_name: String,
    #[serde(default)]
    references: Vec<JsonReference>,
    #[serde(default)]
    flags: u64,
    start_time: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    logs: Vec<JsonLog>,
    process: Option<JsonProcess>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonReference {
    trace_id: String,
    span_id: String,
    ref_type: Option<String>,
}

#[derive(Deserialize)]
struct JsonLog {
    timestamp: Option<String>,
    #[serde(default)]
    fields: Vec<Tag>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonProcess {
    #[serde(default)]
    service_name: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

/// The value is that of the type that is named.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tag {
    #[serde(default)]
    key: String,
    v_type: Option<String>,
    #[serde(default)]
    v_str: String,
    #[serde(default)]
    v_bool: bool,
    v_int64: Option<Number>,
    v_float64: Option<Number>,
    #[serde(default)]
    v_binary: String,
}

/// Integers of 64 bits are texts, and floats that no number of JSON is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Int(i64),
    Float(f64),
    Text(String),
}

impl Message {
    fn read(self) -> Result<Batch<'static>, String> {
        let process = self.process.unwrap_or_default();
        let references = self.references.iter().map(JsonReference::read);
        let mut tags = read_tags(self.tags)?;
        for warning in self.warnings {
            tags.push(("jaeger.warning".into(), Value::Str(warning).into()));
        }
        let span = Span {
            trace_id: trace_id(&self.trace_id)?,
            id: span_id(&self.span_id)?,
            name: self.operation_name.into(),
            references: references.collect::<Result<_, _>>()?,
            flags: self.flags,
            start_nanos: self.start_time.as_deref().map_or(Ok(0), unix_nanos)?,
            duration_nanos: self.duration.as_deref().map_or(Ok(0), nanos)?,
            tags,
            logs: self
                .logs
                .into_iter()
                .map(JsonLog::read)
                .collect::<Result<_, _>>()?,
            ..Span::default()
        };
        Ok(Batch {
            process: Process {
                name: process.service_name.into(),
                tags: read_tags(process.tags)?,
            },
            spans: vec![span],
        })
    }
}

impl JsonReference {
    fn read(&self) -> Result<Reference, String> {
        Ok(Reference {
            follows_from: self.ref_type.as_deref() == Some("FOLLOWS_FROM"),
            trace_id: trace_id(&self.trace_id)?,
            span_id: span_id(&self.span_id)?,
        })
    }
}

impl JsonLog {
    fn read(self) -> Result<Log<'static>, String> {
        Ok(Log {
            nanos: self.timestamp.as_deref().map_or(Ok(0), unix_nanos)?,
            fields: read_tags(self.fields)?,
        })
    }
}

fn read_tags(tags: Vec<Tag>) -> Result<LooseAttributes<'static>, String> {
    tags.into_iter().map(Tag::read).collect()
}

impl Tag {
    fn read(self) -> Result<(Cow<'static, str>, LooseValue<'static>), String> {
        let kind = self.v_type.as_deref().unwrap_or("STRING");
        let value = match kind {
            "STRING" => Some(Value::Str(self.v_str)),
            "BOOL" => Some(Value::Bool(self.v_bool)),
            "INT64" => self.v_int64.map_or(Some(0), Number::int).map(Value::Int),
            "FLOAT64" => self
                .v_float64
                .map_or(Some(0.0), Number::float)
                .map(Value::F64),
            "BINARY" => STANDARD.decode(&self.v_binary).ok().map(Value::Bytes),
            _ => None,
        };
        let key = self.key;
        let value = value.ok_or_else(|| format!("tag `{}` is no {}", shown(&key), shown(kind)))?;
        Ok((key.into(), value.into()))
    }
}

impl Number {
    fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Float(_) => None,
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// `Infinity`, `-Infinity` and `NaN` are words.
    fn float(self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a float that is whole")]
            Self::Int(number) => Some(number as f64),
            Self::Float(number) => Some(number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// Before 1970 is 1970.
fn unix_nanos(text: &str) -> Result<u64, String> {
    let time: Option<Timestamp> = text.parse().ok();
    let time = time.ok_or_else(|| format!("`{}` is no time", shown(text)))?;
    Ok(not_negative(time.as_nanosecond()))
}

/// `1.5s`; below zero is zero.
fn nanos(text: &str) -> Result<u64, String> {
    let duration: Option<SignedDuration> = text.parse().ok();
    let duration = duration.ok_or_else(|| format!("`{}` is no duration", shown(text)))?;
    Ok(not_negative(duration.as_nanos()))
}

fn not_negative(nanos: i128) -> u64 {
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

/// Of 16 bytes, or of the 8 that older clients had.
fn trace_id(text: &str) -> Result<TraceId, String> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let mut id = [0; 16];
    match bytes.len() {
        8 => id[8..].copy_from_slice(&bytes),
        16 => id.copy_from_slice(&bytes),
        _ => return Err(no_id(text, "16 bytes")),
    }
    Ok(TraceId(id))
}

fn span_id(text: &str) -> Result<SpanId, String> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let bytes = bytes.try_into().map_err(|_| no_id(text, "8 bytes"))?;
    Ok(SpanId(u64::from_be_bytes(bytes)))
}

fn no_id(text: &str, length: &str) -> String {
    format!("id `{}` is not base64 of {length}", shown(text))
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
