//! What a request carries, by its looks: requests of all signals have the same form, and no name in protobuf.

use hiq_core::decode::proto::{Field, Fields, Wire};

const TRACE_ID_BYTES: usize = 16;
const SPAN_ID_BYTES: usize = 8;

/// What a request of OTLP carries.
///
/// ```
/// use hiq_otlp::OtlpSignal;
///
/// let request = br#"{"resourceMetrics": []}"#;
/// assert_eq!(OtlpSignal::of_json(request), Some(OtlpSignal::Metrics));
/// assert_eq!(OtlpSignal::of_json(b"[]"), None);
/// assert_eq!(OtlpSignal::of_proto(b""), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OtlpSignal {
    /// An `ExportTraceServiceRequest`.
    Traces,
    /// An `ExportMetricsServiceRequest`.
    Metrics,
    /// An `ExportLogsServiceRequest`, which hiq does not read.
    Logs,
}

impl OtlpSignal {
    /// The signal of a request in JSON: its one field says it. `None`: it is no such request.
    pub fn of_json(payload: &[u8]) -> Option<Self> {
        let payload = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload);
        let field = payload.trim_ascii_start().strip_prefix(b"{")?;
        let name = field.trim_ascii_start().strip_prefix(b"\"")?;
        let end = name.iter().position(|byte| *byte == b'"')?;
        match &name[..end] {
            b"resourceSpans" | b"resource_spans" => Some(Self::Traces),
            b"resourceMetrics" | b"resource_metrics" => Some(Self::Metrics),
            b"resourceLogs" | b"resource_logs" => Some(Self::Logs),
            _ => None,
        }
    }

    /// The signal of a request in protobuf, where only the first span, metric or log record in it can tell: by fields whose
    /// wire types the others do not have, else by whether its ids are ids. `None`: there is none, or it is no such request.
    pub fn of_proto(payload: &[u8]) -> Option<Self> {
        let of_resource = messages(Fields::new(payload, 0), 1);
        let of_scope = of_resource.flat_map(|fields| messages(fields, 2));
        let mut items = of_scope.flat_map(|fields| messages(fields, 2));
        items.find_map(|item| of_item(&item))
    }
}

/// The messages in the fields of this number, up to where the bytes are no protobuf.
fn messages(fields: Fields<'_>, number: u64) -> impl Iterator<Item = Fields<'_>> {
    let fields = fields.map_while(Result::ok);
    let own = fields.filter(move |field| field.number == number);
    own.filter_map(|field| field.message().ok())
}

fn of_item(item: &Fields<'_>) -> Option<OtlpSignal> {
    let fields: Vec<Field<'_>> = item.clone().map_while(Result::ok).collect();
    fields
        .iter()
        .find_map(by_wire_type)
        .or_else(|| by_ids(&fields))
}

/// Of `Span`: kind, times, dropped counts, links, status, flags. Of `LogRecord`: times, severity, flags. `Metric` has messages and
/// texts alone.
fn by_wire_type(field: &Field<'_>) -> Option<OtlpSignal> {
    Some(match (field.number, field.value) {
        (7 | 8, Wire::Fixed64(_))
        | (6 | 10 | 12 | 14, Wire::Varint(_))
        | (13 | 15, Wire::Bytes(_))
        | (16, Wire::Fixed32(_)) => OtlpSignal::Traces,
        (1 | 11, Wire::Fixed64(_)) | (2, Wire::Varint(_)) | (8, Wire::Fixed32(_)) => {
            OtlpSignal::Logs
        }
        _ => return None,
    })
}

/// A span begins with a trace id and a span id, a metric with its name and description. Ids that are texts by chance are as
/// good as impossible.
fn by_ids(fields: &[Field<'_>]) -> Option<OtlpSignal> {
    let bytes = |number| {
        let field = fields.iter().find(|field| field.number == number)?;
        field.bytes().ok()
    };
    let is_id = |bytes: &[u8], length| {
        let is_text = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(char::is_control));
        bytes.len() == length && !is_text
    };
    fields.first()?;
    let is_span = bytes(1).is_some_and(|name| is_id(name, TRACE_ID_BYTES))
        && bytes(2).is_none_or(|description| description.len() == SPAN_ID_BYTES);
    Some(if is_span {
        OtlpSignal::Traces
    } else {
        OtlpSignal::Metrics
    })
}
