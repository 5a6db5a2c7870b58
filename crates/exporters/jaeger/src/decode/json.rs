//! The JSON of Jaeger's query API and page.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hiq_core::decode::{DecodeError, LooseAttributes, LooseValue};
use hiq_core::id::{SpanId, TraceId};
use hiq_core::value::Value;
use serde::Deserialize;

use super::batch::{Batch, Log, Process, Reference, Span, nanos_of_micros};

pub(super) const FORMAT: &str = "Jaeger JSON";

/// Hands the spans of each process of each trace to `take`.
pub(super) fn each_batch(
    payload: &[u8],
    mut take: impl FnMut(Batch<'_>),
) -> Result<(), DecodeError> {
    let mut documents = serde_json::Deserializer::from_slice(payload).into_iter::<Document>();
    loop {
        let start = documents.byte_offset();
        let Some(document) = documents.next() else {
            return Ok(());
        };
        let document = document.map_err(|error| located(payload, &error))?;
        let traces = document.traces().ok_or_else(|| {
            let message = "there is neither `data` nor `spans`: this is no trace of Jaeger's";
            DecodeError::new(FORMAT, start, message)
        })?;
        for trace in traces {
            let batches = trace.batches();
            let batches = batches.map_err(|problem| DecodeError::new(FORMAT, start, problem))?;
            batches.into_iter().for_each(&mut take);
        }
    }
}

/// The parser's error at its byte instead of line and column.
pub(super) fn located(payload: &[u8], error: &serde_json::Error) -> DecodeError {
    let before = payload.split_inclusive(|byte| *byte == b'\n');
    let lines = before.take(error.line().saturating_sub(1));
    let line_start: usize = lines.map(<[u8]>::len).sum();
    let offset = line_start + error.column().saturating_sub(1);
    DecodeError::new(FORMAT, offset.min(payload.len()), error.to_string())
}

/// An answer, which has data, or a trace by itself. Every field may be missing or `null`; unknown ones are ignored.
#[derive(Deserialize)]
struct Document {
    data: Option<Vec<Trace>>,
    spans: Option<Vec<JsonSpan>>,
    #[serde(default)]
    processes: HashMap<String, JsonProcess>,
}

impl Document {
    fn traces(self) -> Option<Vec<Trace>> {
        let alone = self.spans.map(|spans| Trace {
            spans: Some(spans),
            processes: self.processes,
        });
        self.data.or_else(|| alone.map(|trace| vec![trace]))
    }
}

#[derive(Deserialize)]
struct Trace {
    spans: Option<Vec<JsonSpan>>,
    #[serde(default)]
    processes: HashMap<String, JsonProcess>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonProcess {
    service_name: Option<String>,
    tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(rename = "parentSpanID")]
    parent_span_id: Option<String>,
    operation_name: Option<String>,
    references: Option<Vec<JsonReference>>,
    flags: Option<u64>,
    start_time: Option<i64>,
    duration: Option<i64>,
    tags: Option<Vec<Tag>>,
    logs: Option<Vec<JsonLog>>,
    #[serde(rename = "processID")]
    process_id: Option<String>,
    process: Option<JsonProcess>,
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonReference {
    ref_type: Option<String>,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct JsonLog {
    timestamp: Option<i64>,
    fields: Option<Vec<Tag>>,
}

#[derive(Clone, Deserialize)]
struct Tag {
    key: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    value: serde_json::Value,
}

/// What a span with its own process, or of none that is listed, is grouped under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Of {
    Listed(String),
    Own(usize),
}

impl Trace {
    fn batches(self) -> Result<Vec<Batch<'static>>, String> {
        let (mut batches, mut places) = (Vec::new(), HashMap::new());
        let mut homes = HashMap::new();
        for (index, span) in self.spans.into_iter().flatten().enumerate() {
            let of = span.of(index);
            let place = *places.entry(of.clone()).or_insert(batches.len());
            if place == batches.len() {
                let listed = match &of {
                    Of::Listed(id) => self.processes.get(id).cloned(),
                    Of::Own(_) => span.process.clone(),
                };
                batches.push(Batch {
                    process: listed
                        .map(JsonProcess::read)
                        .transpose()?
                        .unwrap_or_default(),
                    spans: Vec::new(),
                });
            }
            let span = span.read()?;
            homes.insert(span.id, place);
            batches[place].spans.push(span);
        }
        for (place, batch) in batches.iter_mut().enumerate() {
            for span in &mut batch.spans {
                span.find_parent();
                let home = homes.get(&span.parent);
                span.parent_is_remote = home.is_some_and(|home| *home != place);
            }
        }
        Ok(batches)
    }
}

impl JsonProcess {
    fn read(self) -> Result<Process<'static>, String> {
        Ok(Process {
            name: self.service_name.unwrap_or_default().into(),
            tags: read_tags(self.tags)?,
        })
    }
}

impl JsonSpan {
    fn of(&self, index: usize) -> Of {
        match (&self.process, &self.process_id) {
            (None, Some(id)) => Of::Listed(id.clone()),
            (None, None) => Of::Listed(String::new()),
            (Some(_), _) => Of::Own(index),
        }
    }

    fn read(self) -> Result<Span<'static>, String> {
        let parent = self.parent_span_id.filter(|id| !id.is_empty());
        let references = self.references.unwrap_or_default().into_iter();
        let logs = self.logs.unwrap_or_default().into_iter();
        let mut tags = read_tags(self.tags)?;
        for warning in self.warnings.unwrap_or_default() {
            tags.push(("jaeger.warning".into(), Value::Str(warning).into()));
        }
        Ok(Span {
            trace_id: trace_id(&self.trace_id)?,
            id: span_id(&self.span_id)?,
            parent: parent.map_or(Ok(SpanId::INVALID), |id| span_id(&id))?,
            parent_is_remote: false,
            name: self.operation_name.unwrap_or_default().into(),
            references: references
                .map(JsonReference::read)
                .collect::<Result<_, _>>()?,
            // The API leaves out what it takes for the usual: sampled.
            flags: self.flags.unwrap_or(1),
            start_nanos: nanos_of_micros(self.start_time.unwrap_or(0)),
            duration_nanos: nanos_of_micros(self.duration.unwrap_or(0)),
            tags,
            logs: logs.map(JsonLog::read).collect::<Result<_, _>>()?,
        })
    }
}

impl JsonReference {
    fn read(self) -> Result<Reference, String> {
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
            nanos: nanos_of_micros(self.timestamp.unwrap_or(0)),
            fields: read_tags(self.fields)?,
        })
    }
}

fn read_tags(tags: Option<Vec<Tag>>) -> Result<LooseAttributes<'static>, String> {
    let tags = tags.unwrap_or_default().into_iter();
    tags.map(Tag::read).collect()
}

impl Tag {
    /// Numbers come as texts too, where JavaScript could not hold them.
    fn read(self) -> Result<(Cow<'static, str>, LooseValue<'static>), String> {
        let kind = self.kind.as_deref().unwrap_or("string");
        let text = self.value.as_str();
        let value = match kind.to_ascii_lowercase().as_str() {
            "bool" => match text {
                Some(text) => text.parse().ok(),
                None => self.value.as_bool(),
            }
            .map(Value::Bool),
            "int64" => match text {
                Some(text) => text.parse().ok(),
                None => self.value.as_i64(),
            }
            .map(Value::Int),
            "float64" => match text {
                Some(text) => text.parse().ok(),
                None => self.value.as_f64(),
            }
            .map(Value::F64),
            "binary" => text
                .and_then(|text| STANDARD.decode(text).ok())
                .map(Value::Bytes),
            _ => Some(match text {
                Some(text) => text.into(),
                None if self.value.is_null() => "".into(),
                None => self.value.to_string().into(),
            }),
        };
        let key = self.key;
        let value = value.ok_or_else(|| {
            let shown: String = self.value.to_string().chars().take(64).collect();
            format!("tag `{key}` is no {kind}: {shown}")
        })?;
        Ok((key.into(), value.into()))
    }
}

/// Hex, without leading zeros.
fn hex(text: &str, max_digits: usize) -> Result<u128, String> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok();
    let number = number.filter(|_| is_hex && text.len() <= max_digits);
    number.ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        format!("id `{shown}` is not at most {max_digits} hex digits")
    })
}

fn trace_id(text: &str) -> Result<TraceId, String> {
    Ok(TraceId(hex(text, 32)?.to_be_bytes()))
}

#[expect(clippy::cast_possible_truncation, reason = "sixteen digits")]
fn span_id(text: &str) -> Result<SpanId, String> {
    Ok(SpanId(hex(text, 16)? as u64))
}
